//! `/api/embed` and `/api/embeddings`: texts to vectors.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::types::Errors;
use super::types::embed::{EmbedRequest, EmbedResponse, EmbeddingsRequest, EmbeddingsResponse};
use crate::api::body::Body;
use crate::api::problem::Problem;
use crate::api::service::{Embed, Service};
use crate::api::vectors;

/// Embeds a text or several.
#[utoipa::path(post, path = "/api/embed", tag = "ollama", request_body = EmbedRequest,
    responses((status = 200, body = EmbedResponse), Errors))]
pub async fn embed(
    State(service): State<Arc<Service>>,
    Body(request): Body<EmbedRequest>,
) -> Result<Json<EmbedResponse>, Problem> {
    let (embed, dimensions) = service.read(&request.model.clone(), request.wanted())?;
    let model = embed.model.clone();
    if embed.texts.is_empty() {
        let loaded = load(&service, embed).await?;
        return Ok(Json(EmbedResponse { model, load_duration: loaded, ..EmbedResponse::default() }));
    }
    Ok(Json(EmbedResponse::new(model, service.embed(embed).await?, dimensions)?))
}

/// Embeds one text, in the older form.
#[utoipa::path(post, path = "/api/embeddings", tag = "ollama", request_body = EmbeddingsRequest,
    responses((status = 200, body = EmbeddingsResponse), Errors))]
pub async fn embeddings(
    State(service): State<Arc<Service>>,
    Body(request): Body<EmbeddingsRequest>,
) -> Result<Json<EmbeddingsResponse>, Problem> {
    let embed = service.read(&request.model.clone(), request.wanted())?;
    let model = embed.model.clone();
    if embed.texts.is_empty() {
        load(&service, embed).await?;
        return Ok(Json(EmbeddingsResponse { embedding: Vec::new() }));
    }
    let embedded = service.embed(embed).await?;
    let rows = vectors::shortened(&model, embedded.embeddings, None)?;
    Ok(Json(EmbeddingsResponse { embedding: rows.into_iter().next().unwrap_or_default() }))
}

/// Lets a model be there; what that took, in nanoseconds.
async fn load(service: &Service, embed: Embed) -> Result<u64, Problem> {
    let opened = service.open(&embed.model, &embed.parameters, embed.keep_alive).await?;
    Ok(super::types::reply::nanoseconds(opened.load_duration))
}
