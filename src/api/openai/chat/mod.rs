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

use super::{OpenAiProblem, Refusals, new_id, unix};
use crate::api::body::Body;
use crate::api::choices::{Calls, Choices, Finished};
use crate::api::problem::Problem;
use crate::api::service::{Answering, Ask, Service};
use crate::api::stream;
use crate::sampling::Parameters;
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
            description = "the answer; with `stream` its parts, one for each event, and `[DONE]` behind the last",
            content((ChatCompletion = "application/json"), (ChatCompletionChunk = "text/event-stream"))
        ),
        Refusals
    )
)]
pub async fn answer(
    State(service): State<Arc<Service>>,
    Body(request): Body<ChatRequest>,
) -> Result<Response, OpenAiProblem> {
    let wanted = request.wanted()?;
    let answering = ask_all(&service, wanted.ask, wanted.n_choices).await?;
    let head = Head {
        id: new_id("chatcmpl-"),
        created: unix(SystemTime::now()),
        model: wanted.model,
        system_fingerprint: answering.first().map(|first| first.evaluation_id().to_owned()),
        n_top: wanted.n_top,
        calls: wanted.calls,
    };
    if let Some(with_usage) = wanted.stream {
        let chunks = Chunks::new(head, answering.len(), with_usage);
        return Ok(stream::response(Choices::new(answering), chunks, stream::SERVER_SENT_EVENTS).await?);
    }
    let mut finished = Vec::with_capacity(answering.len());
    for answering in answering {
        finished.push(Finished::of(answering).await?);
    }
    Ok(Json(ChatCompletion::new(head, finished)).into_response())
}

/// What every part of an answer says.
#[derive(Debug, Clone)]
pub struct Head {
    id: String,
    created: u64,
    model: String,
    system_fingerprint: Option<String>,
    /// Likely tokens that are told of each token; `None` tells no probabilities.
    n_top: Option<u8>,
    calls: Calls,
}

/// Asks for several answers at once; each but the first with another seed, where one was given.
async fn ask_all(service: &Service, ask: Ask, n_choices: usize) -> Result<Vec<Answering>, Problem> {
    let opened = Arc::new(service.open(&ask.model, &ask.parameters, ask.keep_alive).await?);
    let own_seed = if n_choices > 1 { service.model(&ask.model)?.parameters.seed } else { None };
    let mut answering = Vec::with_capacity(n_choices);
    for number in 0..n_choices {
        let seed = ask.parameters.seed.or(own_seed).map(|seed| nth_seed(seed, number));
        let parameters = Parameters { seed, ..ask.parameters.clone() };
        answering.push(service.ask_opened(opened.clone(), Ask { parameters, ..ask.clone() })?);
    }
    Ok(answering)
}

/// The seed of one of several answers; a negative one is random, and stays so.
fn nth_seed(seed: i64, number: usize) -> i64 {
    if seed < 0 { seed } else { (seed + number as i64) % (i64::from(u32::MAX) + 1) }
}

#[cfg(test)]
mod tests {
    use super::nth_seed;

    #[test]
    fn seeds_follow_each_other() {
        assert_eq!([nth_seed(7, 0), nth_seed(7, 2), nth_seed(-1, 2), nth_seed(u32::MAX.into(), 1)], [7, 9, -1, 0]);
    }
}
