//! Anthropic's API: messages, and how many tokens they have.

mod error;
mod events;
pub mod messages;
pub mod reply;
pub mod request;
pub mod tools;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use slm_infer::infer::ReadyTurn;
use utoipa::{OpenApi, ToSchema};

use super::body::Body;
use super::choices::whole;
use super::problem::{Kind, Problem};
use super::service::{Opened, Service, TurnRequest};
use super::stream;
use events::Events;
use reply::{MessageReply, Usage};
use request::{CountRequest, MessagesRequest, ParsedMessages};

pub use error::{ErrorBody, ErrorDetail, Refusals};

/// The routes of this dialect.
pub fn routes() -> Router<Arc<Service>> {
    Router::new().route("/v1/messages", post(answer)).route("/v1/messages/count_tokens", post(count))
}

/// This dialect's part of the API's description.
#[derive(Debug, OpenApi)]
#[openapi(paths(answer, count), components(schemas(ErrorBody)))]
pub struct Document;

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/v1/messages",
    tag = "anthropic",
    request_body = MessagesRequest,
    responses(
        (
            status = 200,
            description = "the answer; with `stream` a sequence of named events",
            content((MessageReply = "application/json"), (events::Event = "text/event-stream"))
        ),
        Refusals
    )
)]
pub async fn answer(
    State(service): State<Arc<Service>>,
    Body(request): Body<MessagesRequest>,
) -> Result<Response, Problem> {
    let is_streamed = request.stream == Some(true);
    let wanted = service.read(&request.model.clone(), request.wanted())?;
    let ParsedMessages { model, ask, calls, stop_sequences } = wanted;
    let head = MessageHead { id: new_id("msg_"), model, calls, stop_sequences };
    let (opened, ready) = made(&service, ask).await?;
    if !is_streamed {
        let finished = whole(service.send(opened, ready)?).await?;
        return Ok(Json(MessageReply::new(head, finished)).into_response());
    }
    // The first event says how long the prompt is, before the engine has said anything; of a prompt that is made on another
    // server the last one alone can.
    let events = Events::new(head, Usage::before(service.count(&ready).await?.unwrap_or(0)));
    stream::response(service.send(opened, ready)?, events, stream::SERVER_SENT_EVENTS).await
}

/// Counts the tokens of a conversation as the model sees it, with its template and its own instructions.
#[utoipa::path(
    post,
    path = "/v1/messages/count_tokens",
    tag = "anthropic",
    request_body = CountRequest,
    responses((status = 200, body = Count), Refusals)
)]
pub async fn count(
    State(service): State<Arc<Service>>,
    Body(request): Body<CountRequest>,
) -> Result<Json<Count>, Problem> {
    let model = request.model.clone();
    let ParsedMessages { ask, .. } = service.read(&model, MessagesRequest::from(request).wanted())?;
    let (_opened, ready) = made(&service, ask).await?;
    let elsewhere =
        || Problem::new(Kind::Unsupported, format!("`{model}` makes its prompts on another server, which counts them"));
    Ok(Json(Count { input_tokens: service.count(&ready).await?.ok_or_else(elsewhere)? }))
}

/// A model that is held, and the prompt of what it is asked.
async fn made(service: &Service, mut ask: TurnRequest) -> Result<(Arc<Opened>, ReadyTurn), Problem> {
    let opened = service.open_for(&ask).await?;
    service.relax_thinking(&opened, &mut ask, "thinking")?;
    let ready = service.ready(&opened, ask).await?;
    Ok((opened, ready))
}

/// How many tokens a conversation has.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = anthropic::Count)]
pub struct Count {
    pub input_tokens: usize,
}

/// What every part of an answer says.
#[derive(Debug, Clone)]
pub struct MessageHead {
    id: String,
    model: String,
    calls: super::choices::Calls,
    /// The request's own: what else ends an answer is not told.
    stop_sequences: Vec<String>,
}

/// A name that nothing else has.
fn new_id(prefix: &str) -> String {
    format!("{prefix}{:032x}", fastrand::u128(..))
}
