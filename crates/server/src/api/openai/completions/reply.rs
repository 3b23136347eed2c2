//! Completions, whole and in parts, which have one shape.

use serde::Serialize;
use utoipa::ToSchema;

use super::CompletionHead;
use super::echo::Echo;
use super::logprobs::CompletionLogprobs;
use crate::api::extra::Extra;
use crate::api::openai::usage::Usage;
use slm_engine::Finish;
use slm_infer::infer::Finished;

/// The answers, or a part of one.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::Completion)]
pub struct Completion {
    pub id: String,
    #[schema(pattern = "^text_completion$")]
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    pub model: String,
    /// The same as `slm.evaluation_id`; left out with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
    /// Empty in the part with the usage.
    pub choices: Vec<CompletionChoice>,
    /// Of all prompts and answers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// One of the answers, or a part of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::CompletionChoice)]
pub struct CompletionChoice {
    /// The prompt's number times `n`, and the number of the answer to it.
    pub index: usize,
    pub text: String,
    #[schema(required)]
    pub logprobs: Option<CompletionLogprobs>,
    /// `null` before an answer's last part.
    #[schema(required)]
    pub finish_reason: Option<CompletionFinish>,
    /// In an answer's last part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slm: Option<Extra>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = openai::CompletionFinish)]
pub enum CompletionFinish {
    Stop,
    Length,
}

impl From<Finish> for CompletionFinish {
    fn from(finish: Finish) -> CompletionFinish {
        match finish {
            Finish::Stop => CompletionFinish::Stop,
            Finish::Length => CompletionFinish::Length,
        }
    }
}

impl Completion {
    pub fn new(head: CompletionHead, answers: Vec<Finished>) -> Completion {
        let mut usages = vec![Usage::default(); answers.len().div_ceil(head.n_each)];
        for (index, finished) in answers.iter().enumerate() {
            usages[index / head.n_each].add(&finished.end);
        }
        let choice = |(index, finished)| CompletionChoice::new(index, finished, &head);
        let choices = answers.into_iter().enumerate().map(choice).collect();
        Completion { usage: Some(usages.into_iter().sum()), ..Completion::part(&head, choices) }
    }

    /// A part without usage.
    pub fn part(head: &CompletionHead, choices: Vec<CompletionChoice>) -> Completion {
        let CompletionHead { id, created, model, system_fingerprint, .. } = head.clone();
        Completion { id, object: "text_completion", created, model, system_fingerprint, choices, usage: None }
    }
}

impl CompletionChoice {
    fn new(index: usize, finished: Finished, head: &CompletionHead) -> CompletionChoice {
        let Finished { text, tokens, end, .. } = finished;
        let Echo { text: before, logprobs: of_prompt, end: mut place } = head.echo(index);
        let written = CompletionLogprobs::written(&tokens, head.n_top, &mut place);
        CompletionChoice {
            index,
            text: before + &text,
            logprobs: written.map(|written| of_prompt.unwrap_or_default().and(written)),
            finish_reason: Some(end.finish.into()),
            slm: Some(Extra::from(&*end)),
        }
    }

    /// A part that says this.
    pub fn part(index: usize, text: String) -> CompletionChoice {
        CompletionChoice { index, text, logprobs: None, finish_reason: None, slm: None }
    }
}
