//! The events of a response's stream.

use serde::Serialize;
use utoipa::ToSchema;

use super::output_item::{OutputItem, OutputPart};
use super::reply::ResponseReply;
use crate::api::openai::logprobs::TokenLogprob;

/// An event of a response.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "type")]
#[schema(as = openai::ResponseEvent)]
pub enum Event {
    /// The first event, before the answer.
    #[serde(rename = "response.created")]
    Created { response: Box<ResponseReply> },
    #[serde(rename = "response.in_progress")]
    InProgress { response: Box<ResponseReply> },
    #[serde(rename = "response.output_item.added")]
    OutputItemAdded { output_index: usize, item: OutputItem },
    #[serde(rename = "response.content_part.added")]
    ContentPartAdded { item_id: String, output_index: usize, content_index: usize, part: OutputPart },
    #[serde(rename = "response.output_text.delta")]
    OutputTextDelta {
        item_id: String,
        output_index: usize,
        content_index: usize,
        delta: String,
        logprobs: Vec<TokenLogprob>,
    },
    #[serde(rename = "response.output_text.done")]
    OutputTextDone {
        item_id: String,
        output_index: usize,
        content_index: usize,
        text: String,
        logprobs: Vec<TokenLogprob>,
    },
    #[serde(rename = "response.reasoning_text.delta")]
    ReasoningTextDelta { item_id: String, output_index: usize, content_index: usize, delta: String },
    #[serde(rename = "response.reasoning_text.done")]
    ReasoningTextDone { item_id: String, output_index: usize, content_index: usize, text: String },
    #[serde(rename = "response.content_part.done")]
    ContentPartDone { item_id: String, output_index: usize, content_index: usize, part: OutputPart },
    /// A call comes whole.
    #[serde(rename = "response.function_call_arguments.delta")]
    FunctionCallArgumentsDelta { item_id: String, output_index: usize, delta: String },
    #[serde(rename = "response.function_call_arguments.done")]
    FunctionCallArgumentsDone { item_id: String, output_index: usize, name: String, arguments: String },
    #[serde(rename = "response.output_item.done")]
    OutputItemDone { output_index: usize, item: OutputItem },
    /// The last, and so are the next two.
    #[serde(rename = "response.completed")]
    Completed { response: Box<ResponseReply> },
    /// The answer was cut short.
    #[serde(rename = "response.incomplete")]
    Incomplete { response: Box<ResponseReply> },
    #[serde(rename = "response.failed")]
    Failed { response: Box<ResponseReply> },
}

impl Event {
    /// The event's name, which is also its `type`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Event::Created { .. } => "response.created",
            Event::InProgress { .. } => "response.in_progress",
            Event::OutputItemAdded { .. } => "response.output_item.added",
            Event::ContentPartAdded { .. } => "response.content_part.added",
            Event::OutputTextDelta { .. } => "response.output_text.delta",
            Event::OutputTextDone { .. } => "response.output_text.done",
            Event::ReasoningTextDelta { .. } => "response.reasoning_text.delta",
            Event::ReasoningTextDone { .. } => "response.reasoning_text.done",
            Event::ContentPartDone { .. } => "response.content_part.done",
            Event::FunctionCallArgumentsDelta { .. } => "response.function_call_arguments.delta",
            Event::FunctionCallArgumentsDone { .. } => "response.function_call_arguments.done",
            Event::OutputItemDone { .. } => "response.output_item.done",
            Event::Completed { .. } => "response.completed",
            Event::Incomplete { .. } => "response.incomplete",
            Event::Failed { .. } => "response.failed",
        }
    }
}

/// An event with its place in the stream.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::NumberedEvent)]
pub struct NumberedEvent {
    #[serde(flatten)]
    pub event: Event,
    /// 0 for the first.
    pub sequence_number: usize,
}
