//! A chat completion, whole and in parts.

use serde::Serialize;
use utoipa::ToSchema;

use super::ChatHead;
use super::tools::{AnsweredCall, CallChunk};
use crate::api::extra::Extra;
use crate::api::openai::logprobs::ChatLogprobs;
use crate::api::openai::usage::Usage;
use slm_engine::Finish;
use slm_infer::infer::Finished;

/// A whole answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::ChatCompletion)]
pub struct ChatCompletion {
    pub id: String,
    #[schema(pattern = "^chat\\.completion$")]
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    pub model: String,
    pub choices: Vec<ChatChoice>,
    pub usage: Usage,
    /// The same as `slm.evaluation_id`; left out with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
}

/// One of the answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::ChatChoice)]
pub struct ChatChoice {
    pub index: usize,
    pub message: ChatAnswer,
    #[schema(required)]
    pub logprobs: Option<ChatLogprobs>,
    pub finish_reason: FinishReason,
    pub slm: Extra,
}

/// What the model says.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::ChatAnswer)]
pub struct ChatAnswer {
    #[schema(pattern = "^assistant$")]
    pub role: &'static str,
    #[schema(required)]
    pub content: Option<String>,
    /// Always `null`: refusals are part of the text.
    #[schema(required)]
    pub refusal: Option<String>,
    /// What the model thought before it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<AnsweredCall>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = openai::FinishReason)]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
}

impl FinishReason {
    pub fn new(finish: Finish, n_calls: usize) -> FinishReason {
        match finish {
            Finish::Length => FinishReason::Length,
            Finish::Stop if n_calls > 0 => FinishReason::ToolCalls,
            Finish::Stop => FinishReason::Stop,
        }
    }
}

/// A part of an answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::ChatCompletionChunk)]
pub struct ChatCompletionChunk {
    pub id: String,
    #[schema(pattern = "^chat\\.completion\\.chunk$")]
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    pub model: String,
    /// The same as `slm.evaluation_id`; left out with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
    /// Empty in the part with the usage.
    pub choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// A part of one of the answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::ChunkChoice)]
pub struct ChunkChoice {
    pub index: usize,
    pub delta: Delta,
    #[schema(required)]
    pub logprobs: Option<ChatLogprobs>,
    #[schema(required)]
    pub finish_reason: Option<FinishReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slm: Option<Extra>,
}

/// The new part of an answer.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = openai::Delta)]
pub struct Delta {
    /// In an answer's first part only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^assistant$")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What the model thinks before it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<CallChunk>,
}

impl ChatCompletion {
    pub fn new(head: ChatHead, answers: Vec<Finished>) -> ChatCompletion {
        let mut usage = Usage::default();
        answers.iter().for_each(|finished| usage.add(&finished.end));
        let choice = |(index, finished)| ChatChoice::new(index, finished, &head);
        let choices = answers.into_iter().enumerate().map(choice).collect();
        let ChatHead { id, created, model, system_fingerprint, .. } = head;
        ChatCompletion { id, object: "chat.completion", created, model, choices, usage, system_fingerprint }
    }
}

impl ChatChoice {
    fn new(index: usize, finished: Finished, head: &ChatHead) -> ChatChoice {
        let Finished { text, tokens, thinking, mut calls, end } = finished;
        calls.truncate(head.calls.most());
        let said = |text: String| (!text.is_empty()).then_some(text);
        ChatChoice {
            index,
            logprobs: ChatLogprobs::written(&tokens, head.n_top),
            finish_reason: FinishReason::new(end.finish, calls.len()),
            slm: Extra::from(&*end),
            message: ChatAnswer {
                role: "assistant",
                content: if calls.is_empty() { Some(text) } else { said(text) },
                refusal: None,
                reasoning_content: said(thinking),
                tool_calls: calls.into_iter().map(AnsweredCall::from).collect(),
            },
        }
    }
}
