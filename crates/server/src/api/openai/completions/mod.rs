//! `/v1/completions`: prompts that their writers made, without a chat template.

mod chunks;
mod echo;
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
use crate::api::service::{Answering, Opened, Service, TurnRequest};
use crate::api::stream;
use chunks::Chunks;
use echo::Echo;
use reply::Completion;
use request::{CompletionRequest, Echoed};
use slm_engine::Detail;
use slm_infer::infer::{Given, NextOf, PromptReading, Turn};
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
    let own = opened.responder.defaults().parameters.num_predict;
    // Answers are short where nobody says how long they may be.
    for ask in &mut wanted.asks {
        let n = &mut ask.turn.parameters.num_predict;
        *n = n.or(own).or(Some(MAX_TOKENS));
    }
    let mut head = CompletionHead {
        id: new_id("cmpl-"),
        created: unix(SystemTime::now()),
        model: wanted.model,
        system_fingerprint: None,
        n_top: wanted.n_top,
        n_each: wanted.n_each,
        echoes: Vec::new(),
    };
    match wanted.echo {
        Echoed::Nothing => {}
        Echoed::Texts(texts) => head.echoes = texts.into_iter().map(Echo::of_text).collect(),
        Echoed::Tokens(prompts) => {
            // At most one token after a prompt is read with it: the prompt is evaluated once.
            let in_one = wanted.stream.is_none() && wanted.n_each == 1;
            let in_one = in_one && wanted.asks.iter().all(|ask| matches!(ask.turn.parameters.num_predict, Some(0 | 1)));
            let read = read_prompts(&service, &opened, &prompts, &wanted.asks)?;
            let evaluation_id = read.first().and_then(|first| first.evaluation_id()).map(str::to_owned);
            let read = all_whole(read).await?;
            let pairs = prompts.iter().zip(&read);
            head.echoes = pairs.map(|(given, read)| Echo::of_tokens(given, &read.end.prompt_tokens)).collect();
            if in_one {
                head.system_fingerprint = evaluation_id;
                return Ok(Json(Completion::new(head, read)).into_response());
            }
        }
    }
    let answering = ask_all(&service, &opened, wanted.asks, wanted.n_each).await?;
    head.system_fingerprint = answering.first().and_then(|first| first.evaluation_id()).map(str::to_owned);
    if let Some(with_usage) = wanted.stream {
        let chunks = Chunks::new(head, answering.len(), with_usage);
        return stream::response(Choices::new(answering), chunks, stream::SERVER_SENT_EVENTS).await;
    }
    Ok(Json(Completion::new(head, all_whole(answering).await?)).into_response())
}

/// Reads the prompts' own tokens, and after each the one that comes next where one alone is wanted.
fn read_prompts(
    service: &Service,
    opened: &Arc<Opened>,
    prompts: &[Given],
    asks: &[TurnRequest],
) -> Result<Vec<Answering>, Problem> {
    let read = |(given, ask): (&Given, &TurnRequest)| {
        let Turn { detail, parameters, bias, .. } = &ask.turn;
        let n_likely = if let Detail::Likely { n } = detail { *n } else { 0 };
        let next = NextOf { parameters: parameters.clone(), bias: bias.clone() };
        let next = (parameters.num_predict == Some(1)).then_some(next);
        service.read_prompt(opened, PromptReading { given: given.clone(), n_likely, next })
    };
    prompts.iter().zip(asks).map(read).collect()
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
    /// For each prompt, where answers begin with them.
    echoes: Vec<Echo>,
}

impl CompletionHead {
    /// What the answer of this number begins with.
    fn echo(&self, index: usize) -> Echo {
        self.echoes.get(index / self.n_each).cloned().unwrap_or_default()
    }
}
