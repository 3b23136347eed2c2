//! `/v1/chat/completions`.

mod chunks;
pub mod messages;
pub mod reply;
pub mod request;
pub mod tools;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::{Refusals, new_id, unix};
use crate::api::body::Body;
use crate::api::choices::{Calls, Choices, all_whole, ask_all};
use crate::api::problem::Problem;
use crate::api::service::Service;
use crate::api::stream;
use chunks::Chunks;
use reply::{ChatCompletion, ChatCompletionChunk};
use request::ChatRequest;

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "openai",
    request_body = ChatRequest,
    responses(
        (
            status = 200,
            description = "the answer; with `stream` its parts, one per event, and `[DONE]` after the last",
            content((ChatCompletion = "application/json"), (ChatCompletionChunk = "text/event-stream"))
        ),
        Refusals
    )
)]
pub async fn answer(
    State(service): State<Arc<Service>>,
    Body(request): Body<ChatRequest>,
) -> Result<Response, Problem> {
    let mut wanted = service.read(&request.model.clone(), request.wanted())?;
    let opened = service.open_for(&wanted.ask).await?;
    service.relax_thinking(&opened, &mut wanted.ask, "reasoning_effort")?;
    let answering = ask_all(&service, &opened, vec![wanted.ask], wanted.n_choices).await?;
    let head = ChatHead {
        id: new_id("chatcmpl-"),
        created: unix(SystemTime::now()),
        model: wanted.model,
        system_fingerprint: answering.first().and_then(|first| first.evaluation_id()).map(str::to_owned),
        n_top: wanted.n_top,
        calls: wanted.calls,
    };
    if let Some(with_usage) = wanted.stream {
        let chunks = Chunks::new(head, answering.len(), with_usage);
        return stream::response(Choices::new(answering), chunks, stream::SERVER_SENT_EVENTS).await;
    }
    Ok(Json(ChatCompletion::new(head, all_whole(answering).await?)).into_response())
}

/// What every part of an answer says.
#[derive(Debug, Clone)]
pub struct ChatHead {
    id: String,
    created: u64,
    model: String,
    system_fingerprint: Option<String>,
    /// Likely tokens that are told of each token; `None` tells no probabilities.
    n_top: Option<u8>,
    calls: Calls,
}
