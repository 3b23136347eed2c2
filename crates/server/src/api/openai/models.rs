//! `/v1/models`: the models that can be used. One body serves OpenAI's clients and Anthropic's, which share the path.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Refusals, unix};
use crate::api::fields::InPath;
use crate::api::problem::Problem;
use crate::api::service::Service;
use slm_store::store::Store;
use slm_values::model_ref::ModelRef;

/// All models, on one page.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::Models)]
pub struct Models {
    #[schema(pattern = "^list$")]
    pub object: &'static str,
    pub data: Vec<Model>,
    /// There is never another page.
    pub has_more: bool,
    #[schema(required)]
    pub first_id: Option<String>,
    #[schema(required)]
    pub last_id: Option<String>,
}

/// A model.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::Model)]
pub struct Model {
    /// The name for `model` in requests.
    pub id: String,
    #[schema(pattern = "^model$")]
    pub object: &'static str,
    /// When it was stored, in seconds since 1970; 0 for the model in slm's binary.
    pub created: u64,
    /// The namespace of its name.
    pub owned_by: String,
    #[schema(pattern = "^model$")]
    pub r#type: &'static str,
    pub display_name: String,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(pattern = "^active$")]
    pub lifecycle: &'static str,
}

impl Model {
    fn new(name: &ModelRef, created: Option<SystemTime>, timestamp: fn(SystemTime) -> String) -> Model {
        let created = created.unwrap_or(UNIX_EPOCH);
        Model {
            id: name.to_string(),
            object: "model",
            created: unix(created),
            owned_by: name.namespace().to_owned(),
            r#type: "model",
            display_name: name.to_string(),
            created_at: timestamp(created),
            lifecycle: "active",
        }
    }
}

/// Lists all models.
#[utoipa::path(get, path = "/v1/models", tag = "openai", responses((status = 200, body = Models), Refusals))]
pub async fn list(State(service): State<Arc<Service>>) -> Result<Json<Models>, Problem> {
    let listing = service.in_store(Store::list).await?;
    let timestamp = service.settings().timestamp;
    let data: Vec<Model> =
        listing.models.iter().map(|model| Model::new(&model.name, model.modified, timestamp)).collect();
    let id = |model: Option<&Model>| model.map(|model| model.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    Ok(Json(Models { object: "list", data, has_more: false, first_id, last_id }))
}

/// One model.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    tag = "openai",
    params(("id" = String, Path, description = "the model's name; slashes and colons may be percent-encoded")),
    responses((status = 200, body = Model), Refusals)
)]
pub async fn get(State(service): State<Arc<Service>>, InPath(id): InPath) -> Result<Json<Model>, Problem> {
    let name: ModelRef = id.parse().map_err(Problem::no_model)?;
    let model = service.in_store(move |store| store.resolve(&name)).await?;
    Ok(Json(Model::new(&model.name, model.modified, service.settings().timestamp)))
}
