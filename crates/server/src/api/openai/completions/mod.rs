//! `/v1/completions`: prompts that their writers made, without a chat template.

mod chunks;
pub mod logprobs;
pub mod reply;
pub mod request;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::{Refusals, new_id, unix};
use crate::api::body::Body;
use crate::api::choices::{Choices, all_whole, ask_all};
use crate::api::problem::Problem;
use crate::api::service::Service;
use crate::api::stream;
use chunks::Chunks;
use reply::Completion;
use request::CompletionRequest;
use slm_values::sampling::Parameters;

/// Most tokens of an answer where neither the request nor the model's Modelfile says, as many as OpenAI gives.
const MAX_TOKENS: i32 = 16;

/// Continues prompts.
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "openai",
    request_body = CompletionRequest,
    responses(
        (
            status = 200,
            description = "the answers; with `stream` their parts, one per event, and `[DONE]` after the last",
            content((Completion = "application/json"), (Completion = "text/event-stream"))
        ),
        Refusals
    )
)]
pub async fn complete(
    State(service): State<Arc<Service>>,
    Body(request): Body<CompletionRequest>,
) -> Result<Response, Problem> {
    let mut wanted = service.read(&request.model.clone(), request.wanted())?;
    let opened = Arc::new(service.open(&wanted.model, &Parameters::default(), None).await?);
    let own = opened.session.defaults().parameters.num_predict;
    // Answers are short where nobody says how long they may be.
    for ask in &mut wanted.asks {
        let n = &mut ask.turn.parameters.num_predict;
        *n = n.or(own).or(Some(MAX_TOKENS));
    }
    let answering = ask_all(&service, &opened, wanted.asks, wanted.n_each)?;
    let head = CompletionHead {
        id: new_id("cmpl-"),
        created: unix(SystemTime::now()),
        model: wanted.model,
        system_fingerprint: answering.first().and_then(|first| first.evaluation_id()).map(str::to_owned),
        n_top: wanted.n_top,
        n_each: wanted.n_each,
        echoed: wanted.echoed,
    };
    if let Some(with_usage) = wanted.stream {
        let chunks = Chunks::new(head, answering.len(), with_usage);
        return stream::response(Choices::new(answering), chunks, stream::SERVER_SENT_EVENTS).await;
    }
    Ok(Json(Completion::new(head, all_whole(answering).await?)).into_response())
}

/// What every part of the answers says.
#[derive(Debug, Clone)]
pub struct CompletionHead {
    id: String,
    created: u64,
    model: String,
    system_fingerprint: Option<String>,
    /// Likely tokens that are told of each token; `None` tells no probabilities.
    n_top: Option<u8>,
    /// Answers to each prompt.
    n_each: usize,
    /// The prompts, where answers begin with them.
    echoed: Vec<String>,
}

impl CompletionHead {
    /// What the answer of this number begins with.
    fn echo(&self, index: usize) -> String {
        self.echoed.get(index / self.n_each).cloned().unwrap_or_default()
    }
}
