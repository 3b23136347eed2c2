//! Listing, showing, copying and deleting stored models.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;

use super::types::Errors;
use super::types::models::{
    CopyRequest, DeleteRequest, Named, ShowRequest, ShowResponse, TagsResponse, Tensor, VersionResponse,
    parameter_lines,
};
use crate::api::body::Body;
use crate::api::problem::Problem;
use crate::api::service::Service;
use slm_infer::load_spec;
use slm_infer::model_info::{ModelDescription, ModelSummary};
use slm_store::store::{Listed, Listing, Model, Store, StoreError, Weights};
use slm_values::gguf::{Arrays, Header};
use slm_values::source::Reference;

/// The time of what has none, the model in the binary: Go's zero time, which clients of Ollama can read.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Lists the stored models, the newest first.
#[utoipa::path(get, path = "/api/tags", tag = "ollama", responses((status = 200, body = TagsResponse)))]
pub async fn tags(State(service): State<Arc<Service>>) -> Result<Json<TagsResponse>, Problem> {
    let listing = service.in_store(Store::list).await?;
    Ok(Json(listed(listing, service.settings().timestamp)))
}

/// Shows the details of a model.
#[utoipa::path(post, path = "/api/show", tag = "ollama", request_body = ShowRequest,
    responses((status = 200, body = ShowResponse), Errors))]
pub async fn show(
    State(service): State<Arc<Service>>,
    Body(request): Body<ShowRequest>,
) -> Result<Json<ShowResponse>, Problem> {
    let (name, is_verbose) = request.wanted()?;
    let name = name.parse::<Reference>().map_err(Problem::no_model)?.name;
    let arrays = if is_verbose { Arrays::Whole } else { Arrays::Short };
    let timestamp = service.settings().timestamp;
    Ok(Json(service.in_store(move |store| shown(&store.resolve(&name)?, arrays, timestamp)).await?))
}

/// Gives a model a second name.
#[utoipa::path(post, path = "/api/copy", tag = "ollama", request_body = CopyRequest,
    responses((status = 200, description = "Done."), Errors))]
pub async fn copy(State(service): State<Arc<Service>>, Body(request): Body<CopyRequest>) -> Result<(), Problem> {
    let source = request.source.parse::<Reference>().map_err(Problem::no_model)?.name;
    let destination = service.read(&request.source, request.destination.parse().map_err(of("destination")))?;
    // A name copied to itself is as it should be already.
    service.in_store(move |store| store.copy(&source, &destination)).await?;
    Ok(())
}

/// Removes a model, with the blobs that no other model needs.
#[utoipa::path(delete, path = "/api/delete", tag = "ollama", request_body = DeleteRequest,
    responses((status = 200, description = "It was removed."), Errors))]
pub async fn delete(State(service): State<Arc<Service>>, Body(request): Body<DeleteRequest>) -> Result<(), Problem> {
    let name = Named { model: request.model, name: request.name }.one()?;
    let name = name.parse::<Reference>().map_err(Problem::no_model)?.name;
    service.in_store(move |store| store.remove(&name)).await?;
    Ok(())
}

/// Returns slm's version.
#[utoipa::path(get, path = "/api/version", tag = "ollama", responses((status = 200, body = VersionResponse)))]
pub async fn version() -> Json<VersionResponse> {
    Json(VersionResponse { version: env!("CARGO_PKG_VERSION").to_owned() })
}

fn of<E: Into<Problem>>(field: &'static str) -> impl Fn(E) -> Problem {
    move |error| error.into().of(field)
}

fn listed(listing: Listing, timestamp: fn(SystemTime) -> String) -> TagsResponse {
    for broken in &listing.broken {
        tracing::warn!("`{}` is left out of the list: {}", broken.path.display(), broken.error);
    }
    let mut models = listing.models;
    models.sort_by_key(|model| std::cmp::Reverse(model.modified));
    let entry = |model: &Listed| ModelSummary::of(model, Some(time(model.modified, timestamp)));
    TagsResponse { models: models.iter().map(entry).collect() }
}

fn shown(model: &Model, arrays: Arrays, timestamp: fn(SystemTime) -> String) -> Result<ShowResponse, StoreError> {
    let header = match &model.weights {
        Weights::Elsewhere(_) => None,
        weights => Some(weights.header()?),
    };
    let card = ModelDescription::of(model, header.as_ref(), arrays)?;
    Ok(ShowResponse {
        parameters: parameter_lines(&model.parameters),
        modified_at: time(model.modified, timestamp),
        capabilities: header
            .as_ref()
            .map_or_else(|| vec!["completion"], |header| load_spec::capabilities(model, header)),
        tensors: header.as_ref().filter(|_| arrays == Arrays::Whole).map(tensors),
        card,
    })
}

fn time(modified: Option<SystemTime>, timestamp: fn(SystemTime) -> String) -> String {
    modified.map_or_else(|| NO_TIME.to_owned(), timestamp)
}

fn tensors(header: &Header) -> Vec<Tensor> {
    let tensor = |tensor: &slm_values::gguf::TensorInfo| Tensor {
        name: tensor.name.clone(),
        kind: tensor.kind.name.to_owned(),
        shape: tensor.dimensions.clone(),
    };
    header.tensors.iter().map(tensor).collect()
}
