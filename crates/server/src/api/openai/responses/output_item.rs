//! The items of an answer: thinking, messages, and tool calls.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::openai::logprobs::TokenLogprob;
use slm_engine::Finish;

/// The state of a response or of one of its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = openai::ResponseStatus)]
pub enum Status {
    InProgress,
    Completed,
    /// It was cut short.
    Incomplete,
    Failed,
}

/// A thought, a message, or a call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = openai::OutputItem)]
pub enum OutputItem {
    /// What the model thought before it answered.
    Reasoning {
        id: String,
        /// Always empty: thinking is returned as it is.
        summary: Vec<OutputPart>,
        content: Vec<OutputPart>,
        status: Status,
    },
    Message {
        id: String,
        #[schema(pattern = "^assistant$")]
        role: &'static str,
        content: Vec<OutputPart>,
        status: Status,
    },
    FunctionCall {
        id: String,
        /// The id by which the tool's output is matched.
        call_id: String,
        name: String,
        /// An object's JSON as a text.
        arguments: String,
        status: Status,
    },
}

/// A part of an item.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = openai::OutputPart)]
pub enum OutputPart {
    OutputText {
        text: String,
        /// Always empty: models here cite nothing.
        #[schema(value_type = Vec<Object>)]
        annotations: Vec<Value>,
        /// Empty where no probabilities are asked for.
        logprobs: Vec<TokenLogprob>,
    },
    ReasoningText {
        text: String,
    },
}

impl Status {
    /// Of what ended so.
    #[must_use]
    pub fn of(finish: Finish) -> Status {
        match finish {
            Finish::Stop => Status::Completed,
            Finish::Length => Status::Incomplete,
        }
    }
}
