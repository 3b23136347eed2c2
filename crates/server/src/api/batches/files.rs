//! `/v1/files`: files of requests come, files of results go.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::extract::{Extension, RawQuery};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Batches;
use super::listing::{ListPage, listed};
use super::shelf::{KEPT_SECONDS, Upload, new_id, seconds};
use super::state::{Purpose, StoredFile};
use crate::api::fields::InPath;
use crate::api::guard::Caller;
use crate::api::openai::Refusals;
use crate::api::problem::{Kind, Problem};

/// The shortest time for which a file can be kept.
const MIN_KEPT_SECONDS: u64 = 3600;
/// A field that is not a file.
const MAX_FIELD_BYTES: usize = 1000;
const MAX_NAME_CHARS: usize = 200;
/// Pieces in which a file is sent.
const PIECE_BYTES: usize = 256 << 10;

/// A file to upload, as multipart/form-data.
#[derive(Debug, ToSchema)]
#[schema(as = openai::FileUpload)]
#[allow(dead_code, reason = "it describes the form for the OpenAPI document")]
pub struct FileUpload {
    /// Lines of requests.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// `batch`.
    #[schema(pattern = "^batch$")]
    purpose: String,
}

/// What came of a form's fields.
#[derive(Default)]
struct Form {
    purpose: Option<String>,
    file: Option<(String, Upload)>,
    kept_seconds: Option<u64>,
}

/// Uploads a file of requests, up to 200 MB; it is kept for 30 days.
#[utoipa::path(post, path = "/v1/files", tag = "batches",
    request_body(content = FileUpload, content_type = "multipart/form-data"),
    responses((status = 200, description = "The file", body = Object), Refusals))]
pub async fn upload(
    Extension(batches): Extension<Batches>,
    Extension(caller): Extension<Caller>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<Value>, Problem> {
    let shelf = batches.shelf()?;
    let mut multipart =
        form.map_err(|error| Problem::invalid(format!("the body is not a form: {}", error.body_text())))?;
    let mut form = Form::default();
    while let Some(field) = multipart.next_field().await.map_err(broken)? {
        match field.name().unwrap_or_default() {
            "file" => {
                let filename = field.file_name().unwrap_or("requests.jsonl").chars().take(MAX_NAME_CHARS).collect();
                form.file = Some((filename, receive(field, shelf.upload()?).await?));
            }
            "purpose" => form.purpose = Some(text(field).await?),
            "expires_after[anchor]" => {
                let anchor = text(field).await?;
                if anchor != "created_at" {
                    let message = format!("`expires_after.anchor` is `{anchor}`; give `created_at`");
                    return Err(Problem::invalid(message).of("expires_after.anchor"));
                }
            }
            "expires_after[seconds]" => {
                form.kept_seconds = Some(kept_seconds(&text(field).await?, "expires_after.seconds")?)
            }
            other => return Err(Problem::unknown(&other.chars().take(100).collect::<String>())),
        }
    }
    match form.purpose.as_deref() {
        Some("batch") => {}
        Some(other) => {
            let message = format!("`purpose` is `{}`; give `batch`", other.chars().take(100).collect::<String>());
            return Err(Problem::invalid(message).of("purpose"));
        }
        None => return Err(Problem::invalid("`purpose` is missing; give `batch`").of("purpose")),
    }
    let Some((filename, upload)) = form.file else {
        return Err(Problem::invalid("`file` is missing").of("file"));
    };
    let now = SystemTime::now();
    let file = StoredFile {
        id: new_id("file-", now),
        house: caller.house().to_owned(),
        filename,
        purpose: Purpose::Batch,
        n_bytes: 0,
        created_at: seconds(now),
        expires_at: seconds(now) + form.kept_seconds.unwrap_or(KEPT_SECONDS),
    };
    let file = batches.on_disk(move |shelf| shelf.keep(upload, file)).await?;
    Ok(Json(file.object()))
}

/// How long something is to be kept.
///
/// # Errors
/// It is no number, or too small or large a one.
pub fn kept_seconds(text: &str, field: &str) -> Result<u64, Problem> {
    let seconds = text.trim().parse().ok().filter(|seconds| (MIN_KEPT_SECONDS..=KEPT_SECONDS).contains(seconds));
    seconds.ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        Problem::invalid(format!("`{field}` is `{shown}`; give {MIN_KEPT_SECONDS} to {KEPT_SECONDS} seconds")).of(field)
    })
}

/// Writes a file as it comes.
async fn receive(mut field: Field<'_>, mut upload: Upload) -> Result<Upload, Problem> {
    while let Some(bytes) = field.chunk().await.map_err(broken)? {
        // Large bodies are read beside the threads that serve others.
        upload.write(&bytes)?;
    }
    Ok(upload)
}

/// A short field.
async fn text(mut field: Field<'_>) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(more) = field.chunk().await.map_err(broken)? {
        bytes.extend_from_slice(&more);
        if bytes.len() > MAX_FIELD_BYTES {
            let name = field.name().unwrap_or_default().chars().take(100).collect::<String>();
            return Err(Problem::invalid(format!("`{name}` has more than {MAX_FIELD_BYTES} bytes")).of(name));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn broken(error: MultipartError) -> Problem {
    Problem::invalid(format!("the form cannot be read: {}", error.body_text()))
}

/// Lists this client's files, the newest first.
#[utoipa::path(get, path = "/v1/files", tag = "batches",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 10000), ("after" = Option<String>, Query)),
    responses((status = 200, description = "The files", body = Object), Refusals))]
pub async fn list(
    Extension(batches): Extension<Batches>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let page = ListPage::read(query.as_deref(), 10_000, 10_000)?;
    let files = batches.shelf()?.files(caller.house());
    let files = files.iter().filter(|file| page.purpose.as_deref().is_none_or(|wanted| json!(file.purpose) == wanted));
    Ok(Json(listed(files.map(StoredFile::object).collect(), &page)))
}

/// Describes a file.
#[utoipa::path(get, path = "/v1/files/{id}", tag = "batches", params(("id" = String, Path)),
    responses((status = 200, description = "The file", body = Object), Refusals))]
pub async fn get(
    Extension(batches): Extension<Batches>,
    Extension(caller): Extension<Caller>,
    InPath(id): InPath,
) -> Result<Json<Value>, Problem> {
    Ok(Json(batches.shelf()?.file(caller.house(), &id)?.object()))
}

/// Deletes a file that no batch in progress needs.
#[utoipa::path(delete, path = "/v1/files/{id}", tag = "batches", params(("id" = String, Path)),
    responses((status = 200, description = "It is deleted", body = Object), Refusals))]
pub async fn delete(
    Extension(batches): Extension<Batches>,
    Extension(caller): Extension<Caller>,
    InPath(id): InPath,
) -> Result<Json<Value>, Problem> {
    let (own, house) = (id.clone(), caller.house().to_owned());
    batches.on_disk(move |shelf| shelf.delete(&house, &own)).await?;
    Ok(Json(json!({ "id": id, "object": "file", "deleted": true })))
}

/// The content of a file.
#[utoipa::path(get, path = "/v1/files/{id}/content", tag = "batches", params(("id" = String, Path)),
    responses((status = 200, description = "Its lines", content_type = "application/jsonl", body = String), Refusals))]
pub async fn content(
    Extension(batches): Extension<Batches>,
    Extension(caller): Extension<Caller>,
    InPath(id): InPath,
) -> Result<Response, Problem> {
    let house = caller.house().to_owned();
    let (file, content) = batches
        .on_disk(move |shelf| {
            let file = shelf.file(&house, &id)?;
            Ok((file.clone(), File::open(shelf.content(&file.id))?))
        })
        .await?;
    let headers =
        [(header::CONTENT_TYPE, "application/jsonl".to_owned()), (header::CONTENT_LENGTH, file.n_bytes.to_string())];
    Ok((headers, Body::from_stream(pieces(content))).into_response())
}

/// A file's bytes as they are wanted, each piece read away from the threads that serve.
fn pieces(file: File) -> impl stream::Stream<Item = std::io::Result<Bytes>> + Send {
    stream::try_unfold(Arc::new(file), |file| async move {
        let own = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::new();
            (&*own).take(PIECE_BYTES as u64).read_to_end(&mut piece).map(|_| piece)
        });
        let piece = read.await.map_err(std::io::Error::other)??;
        Ok((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
    })
}

impl From<super::shelf::ShelfError> for Problem {
    fn from(error: super::shelf::ShelfError) -> Problem {
        use super::shelf::ShelfError;
        let kind = match &error {
            ShelfError::NotFound { .. } => Kind::NotFound,
            ShelfError::InUse { .. } | ShelfError::Ended { .. } | ShelfError::TooMany | ShelfError::Full { .. } => {
                Kind::Invalid
            }
            ShelfError::TooLarge => Kind::TooLarge,
            ShelfError::Disk(_) => Kind::Failed,
        };
        Problem::new(kind, error.to_string())
    }
}
