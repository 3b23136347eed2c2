//! `/v1/batches`: a file of requests is answered behind all live requests, and its results become files.

use std::time::SystemTime;

use axum::Json;
use axum::extract::{Extension, RawQuery};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::files::kept_seconds;
use super::line::Endpoint;
use super::listing::{ListPage, listed};
use super::shelf::{KEPT_SECONDS, new_id, seconds};
use super::state::{Counts, Purpose, Status, StoredBatch, Times};
use super::{Batches, course};
use crate::api::body::Body;
use crate::api::fields::InPath;
use crate::api::guard::Caller;
use crate::api::openai::Refusals;
use crate::api::problem::Problem;

/// A request to answer a file.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = openai::BatchRequest)]
pub struct BatchRequest {
    pub input_file_id: String,
    /// The `url` of all its lines.
    pub endpoint: String,
    /// `24h`, or another number of hours (`h`) or days (`d`), at most 30 days.
    pub completion_window: String,
    /// Comes back with the batch.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub metadata: Option<Map<String, Value>>,
    pub output_expires_after: Option<ExpiresAfter>,
}

/// How long the results are kept.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = openai::ExpiresAfter)]
pub struct ExpiresAfter {
    #[schema(pattern = "^created_at$")]
    pub anchor: String,
    pub seconds: u64,
}

/// What a client may note of a batch.
const MAX_METADATA: usize = 16;

/// Begins to answer a file of requests.
#[utoipa::path(post, path = "/v1/batches", tag = "batches", request_body = BatchRequest,
    responses((status = 200, description = "The batch", body = Object), Refusals))]
pub async fn create(
    Extension(batches): Extension<Batches>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<BatchRequest>,
) -> Result<Json<Value>, Problem> {
    let shelf = batches.shelf()?;
    let batch = request.read(caller.house())?;
    let file =
        shelf.file(&batch.house, &batch.input_file_id).map_err(|error| Problem::from(error).of("input_file_id"))?;
    if file.purpose != Purpose::Batch {
        let message = format!("`{}` has results; give a file that was uploaded with `purpose` `batch`", file.id);
        return Err(Problem::invalid(message).of("input_file_id"));
    }
    let kept = batch.clone();
    batches.on_disk(move |shelf| Ok(shelf.add(kept)?)).await?;
    let (own, checked) = (shelf.clone(), batch.clone());
    // Its client asks again until the status is another.
    tokio::spawn(async move { course::check(&own, checked).await });
    Ok(Json(batch.object()))
}

impl BatchRequest {
    fn read(self, house: &str) -> Result<StoredBatch, Problem> {
        let endpoint: Endpoint = self.endpoint.parse().map_err(|error: super::line::LineError| {
            let message = error.to_string().replacen("`url`", "`endpoint`", 1);
            Problem::invalid(message).of("endpoint")
        })?;
        let window = window(&self.completion_window)?;
        let is_text = |(name, value): (&String, &Value)| {
            name.chars().count() <= 64 && value.as_str().is_some_and(|text| text.chars().count() <= 512)
        };
        if let Some(metadata) = &self.metadata
            && !(metadata.len() <= MAX_METADATA && metadata.iter().all(is_text))
        {
            let message = format!(
                "`metadata` has at most {MAX_METADATA} keys of at most 64 characters, each with a text of at most 512"
            );
            return Err(Problem::invalid(message).of("metadata"));
        }
        let results_kept = match &self.output_expires_after {
            None => KEPT_SECONDS,
            Some(expires) if expires.anchor == "created_at" => {
                kept_seconds(&expires.seconds.to_string(), "output_expires_after.seconds")?
            }
            Some(_) => {
                let field = "output_expires_after.anchor";
                return Err(Problem::invalid(format!("`{field}` is `created_at`")).of(field));
            }
        };
        let now = SystemTime::now();
        let created_at = seconds(now);
        Ok(StoredBatch {
            id: new_id("batch_", now),
            house: house.to_owned(),
            endpoint: endpoint.to_string(),
            input_file_id: self.input_file_id,
            completion_window: self.completion_window,
            metadata: self.metadata,
            status: Status::Validating,
            times: Times { created_at, ..Times::default() },
            expires_at: created_at + window,
            results_kept,
            output_file_id: new_id("file-", now),
            error_file_id: new_id("file-", now),
            has_output: false,
            has_errors: false,
            counts: Counts::default(),
            faults: Vec::new(),
        })
    }
}

/// The seconds of a completion window.
fn window(text: &str) -> Result<u64, Problem> {
    let number = |digits: &str| digits.parse::<u64>().ok();
    let seconds = match (text.strip_suffix('h'), text.strip_suffix('d')) {
        (Some(hours), _) => number(hours).and_then(|hours| hours.checked_mul(3600)),
        (_, Some(days)) => number(days).and_then(|days| days.checked_mul(24 * 3600)),
        (None, None) => None,
    };
    seconds.filter(|seconds| (3600..=KEPT_SECONDS).contains(seconds)).ok_or_else(|| {
        let shown: String = text.chars().take(60).collect();
        let message = format!("`completion_window` is `{shown}`; give `24h`, or another from `1h` to `30d`");
        Problem::invalid(message).of("completion_window")
    })
}

/// Lists this client's batches, the newest first.
#[utoipa::path(get, path = "/v1/batches", tag = "batches",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 100), ("after" = Option<String>, Query)),
    responses((status = 200, description = "The batches", body = Object), Refusals))]
pub async fn list(
    Extension(batches): Extension<Batches>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let page = ListPage::read(query.as_deref(), 20, 100)?;
    let all = batches.shelf()?.batches(caller.house());
    Ok(Json(listed(all.iter().map(StoredBatch::object).collect(), &page)))
}

/// How far a batch is.
#[utoipa::path(get, path = "/v1/batches/{id}", tag = "batches", params(("id" = String, Path)),
    responses((status = 200, description = "The batch", body = Object), Refusals))]
pub async fn get(
    Extension(batches): Extension<Batches>,
    Extension(caller): Extension<Caller>,
    InPath(id): InPath,
) -> Result<Json<Value>, Problem> {
    Ok(Json(batches.shelf()?.batch(caller.house(), &id)?.object()))
}

/// Cancels a batch; requests that were answered keep their results.
#[utoipa::path(post, path = "/v1/batches/{id}/cancel", tag = "batches", params(("id" = String, Path)),
    responses((status = 200, description = "The batch", body = Object), Refusals))]
pub async fn cancel(
    Extension(batches): Extension<Batches>,
    Extension(caller): Extension<Caller>,
    InPath(id): InPath,
) -> Result<Json<Value>, Problem> {
    let house = caller.house().to_owned();
    let batch = batches.on_disk(move |shelf| course::cancel(shelf, &house, &id)).await?;
    Ok(Json(batch.object()))
}
