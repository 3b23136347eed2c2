//! `/api/generate` and `/api/chat`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::lines::{Delivery, Lines, Shape};
use super::types::Errors;
use super::types::reply::{ChatResponse, DoneReason, GenerateResponse};
use super::types::request::{ChatRequest, GenerateRequest, RequestPurpose};
use crate::api::body::Body;
use crate::api::choices::whole;
use crate::api::problem::Problem;
use crate::api::service::{Service, TurnRequest};
use crate::api::stream;
use slm_values::keep_alive::KeepAlive;

/// Answers one text. Without a text it only loads the model or, with a `keep_alive` of 0, unloads it.
#[utoipa::path(
    post,
    path = "/api/generate",
    tag = "ollama",
    request_body = GenerateRequest,
    responses(
        (
            status = 200,
            description = "The answer; unless `stream` is `false`, one line for each of its parts.",
            content((GenerateResponse = "application/json"), (GenerateResponse = "application/x-ndjson"))
        ),
        Errors
    )
)]
pub async fn generate(
    State(service): State<Arc<Service>>,
    Body(request): Body<GenerateRequest>,
) -> Result<Response, Problem> {
    let delivery = Delivery::of(request.stream);
    let wanted = service.read(&request.model.clone(), request.wanted())?;
    answer(&service, wanted, delivery, Shape::Generate).await
}

/// Answers a conversation. Without messages it only loads the model or, with a `keep_alive` of 0, unloads it.
#[utoipa::path(
    post,
    path = "/api/chat",
    tag = "ollama",
    request_body = ChatRequest,
    responses(
        (
            status = 200,
            description = "The answer; unless `stream` is `false`, one line for each of its parts.",
            content((ChatResponse = "application/json"), (ChatResponse = "application/x-ndjson"))
        ),
        Errors
    )
)]
pub async fn chat(State(service): State<Arc<Service>>, Body(request): Body<ChatRequest>) -> Result<Response, Problem> {
    let delivery = Delivery::of(request.stream);
    let wanted = service.read(&request.model.clone(), request.wanted())?;
    answer(&service, wanted, delivery, Shape::Chat).await
}

async fn answer(
    service: &Service,
    wanted: RequestPurpose,
    delivery: Delivery,
    shape: Shape,
) -> Result<Response, Problem> {
    let ask = match wanted {
        RequestPurpose::Answer(ask) => *ask,
        RequestPurpose::Nothing(ask) => return without_asking(service, *ask, shape).await,
    };
    let (model, timestamp) = (ask.model.clone(), service.settings().timestamp);
    let answering = service.ask(ask).await?;
    let lines = Lines { shape, model, timestamp, load: answering.load_duration };
    match delivery {
        Delivery::Lines => stream::response(answering, lines, stream::JSON_LINES).await,
        Delivery::Whole => Ok(lines.whole(whole(answering).await?)),
    }
}

/// Lets a model be there, or go.
async fn without_asking(service: &Service, ask: TurnRequest, shape: Shape) -> Result<Response, Problem> {
    let lines = |load| Lines { shape, model: ask.model.clone(), timestamp: service.settings().timestamp, load };
    if ask.keep_alive == Some(KeepAlive::For(Duration::ZERO)) {
        service.unload(&ask.model).await?;
        return Ok(lines(Duration::ZERO).nothing_asked(DoneReason::Unload));
    }
    let opened = service.open_for(&ask).await?;
    Ok(lines(opened.load_duration).nothing_asked(DoneReason::Load))
}
