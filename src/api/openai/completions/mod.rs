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

use super::{OpenAiProblem, Refusals, new_id, unix};
use crate::api::body::Body;
use crate::api::choices::{Choices, Finished, ask_all};
use crate::api::problem::Problem;
use crate::api::service::Service;
use crate::api::stream;
use chunks::Chunks;
use reply::Completion;
use request::{CompletionRequest, Wanted};

/// Most tokens of an answer where neither the request nor the model's Modelfile says, as many as OpenAI gives.
const MAX_TOKENS: i32 = 16;

/// Goes on from prompts.
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "openai",
    request_body = CompletionRequest,
    responses(
        (
            status = 200,
            description = "the answers; with `stream` their parts, one for each event, and `[DONE]` behind the last",
            content((Completion = "application/json"), (Completion = "text/event-stream"))
        ),
        Refusals
    )
)]
pub async fn complete(
    State(service): State<Arc<Service>>,
    Body(request): Body<CompletionRequest>,
) -> Result<Response, OpenAiProblem> {
    let mut wanted = service.read(&request.model.clone(), request.wanted())?;
    limit(&service, &mut wanted)?;
    let answering = ask_all(&service, &wanted.asks, wanted.n_each).await?;
    let head = Head {
        id: new_id("cmpl-"),
        created: unix(SystemTime::now()),
        model: wanted.model,
        system_fingerprint: answering.first().map(|first| first.evaluation_id().to_owned()),
        n_top: wanted.n_top,
        n_each: wanted.n_each,
        echoed: wanted.echoed,
    };
    if let Some(with_usage) = wanted.stream {
        let chunks = Chunks::new(head, answering.len(), with_usage);
        return Ok(stream::response(Choices::new(answering), chunks, stream::SERVER_SENT_EVENTS).await?);
    }
    Ok(Json(Completion::new(head, Finished::all(answering).await?)).into_response())
}

/// Answers are short where nobody says how long they may be.
fn limit(service: &Service, wanted: &mut Wanted) -> Result<(), Problem> {
    if wanted.asks.iter().all(|ask| ask.parameters.num_predict.is_some()) {
        return Ok(());
    }
    let own = service.model(&wanted.model)?.parameters.num_predict;
    wanted.asks.iter_mut().for_each(|ask| ask.parameters.num_predict = own.or(Some(MAX_TOKENS)));
    Ok(())
}

/// What every part of the answers says.
#[derive(Debug, Clone)]
pub struct Head {
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

impl Head {
    /// What the answer of this number begins with.
    fn echo(&self, index: usize) -> String {
        self.echoed.get(index / self.n_each).cloned().unwrap_or_default()
    }
}
