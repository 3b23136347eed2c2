//! A message that answers.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{MessageHead, new_id};
use crate::api::extra::Extra;
use slm_engine::Finish;
use slm_infer::infer::{End, Finished};
use slm_values::tools::ToolCall;

/// A whole answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = anthropic::MessageReply)]
pub struct MessageReply {
    pub id: String,
    #[schema(pattern = "^message$")]
    pub r#type: &'static str,
    #[schema(pattern = "^assistant$")]
    pub role: &'static str,
    pub model: String,
    pub content: Vec<ContentBlock>,
    #[schema(required)]
    pub stop_reason: Option<StopReason>,
    /// The text of `stop_sequences` that ended the answer.
    #[schema(required)]
    pub stop_sequence: Option<String>,
    pub usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slm: Option<Extra>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = anthropic::ContentBlock)]
pub enum ContentBlock {
    Text {
        text: String,
    },
    /// What the model thought before it answered.
    Thinking {
        thinking: String,
        /// Always empty: thinking is not signed here.
        signature: String,
    },
    /// A call of a tool.
    ToolUse {
        id: String,
        name: String,
        #[schema(value_type = Object)]
        input: Map<String, Value>,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = anthropic::StopReason)]
pub enum StopReason {
    EndTurn,
    MaxTokens,
    StopSequence,
    ToolUse,
}

/// The token counts of a request. The prompt's length is the sum of the three input counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::Usage)]
pub struct Usage {
    /// Evaluated for this request.
    pub input_tokens: usize,
    pub output_tokens: usize,
    /// Always 0: caching is free.
    pub cache_creation_input_tokens: usize,
    /// Read from the cache.
    pub cache_read_input_tokens: usize,
}

impl Usage {
    /// Before anything is evaluated, of a prompt of so many tokens.
    #[must_use]
    pub fn before(n_prompt: usize) -> Usage {
        Usage { input_tokens: n_prompt, output_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }
    }
}

impl From<&End> for Usage {
    fn from(end: &End) -> Usage {
        let counts = &end.counts;
        Usage {
            input_tokens: counts.prompt.saturating_sub(counts.reused),
            output_tokens: counts.generated + counts.branch,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: counts.reused,
        }
    }
}

impl StopReason {
    /// Why an answer with so many calls ended, and the text of `stop_sequences` that ended it, where one did.
    #[must_use]
    pub fn new(head: &MessageHead, end: &End, n_calls: usize) -> (StopReason, Option<String>) {
        let by = end.stopped_by.clone().filter(|by| head.stop_sequences.contains(by));
        let reason = match end.finish {
            Finish::Length => StopReason::MaxTokens,
            Finish::Stop if n_calls > 0 => StopReason::ToolUse,
            Finish::Stop if by.is_some() => StopReason::StopSequence,
            Finish::Stop => StopReason::EndTurn,
        };
        (reason, by.filter(|_| reason == StopReason::StopSequence))
    }
}

impl ContentBlock {
    /// A call as a block; it gets an id where it has none.
    #[must_use]
    pub fn call(call: ToolCall) -> ContentBlock {
        let id = call.id.unwrap_or_else(|| new_id("toolu_"));
        ContentBlock::ToolUse { id, name: call.name, input: call.arguments }
    }
}

impl MessageReply {
    #[must_use]
    pub fn new(head: MessageHead, finished: Finished) -> MessageReply {
        let Finished { text, thinking, mut calls, end, .. } = finished;
        calls.truncate(head.calls.most());
        let (stop_reason, stop_sequence) = StopReason::new(&head, &end, calls.len());
        let mut content = Vec::new();
        if !thinking.is_empty() {
            content.push(ContentBlock::Thinking { thinking, signature: String::new() });
        }
        if !text.is_empty() {
            content.push(ContentBlock::Text { text });
        }
        content.extend(calls.into_iter().map(ContentBlock::call));
        let usage = Usage::from(&*end);
        let slm = Some(Extra::from(&*end));
        let begun = MessageReply::begun(head, usage);
        MessageReply { content, stop_reason: Some(stop_reason), stop_sequence, slm, ..begun }
    }

    /// A message of which nothing is known yet but its prompt.
    #[must_use]
    pub fn begun(head: MessageHead, usage: Usage) -> MessageReply {
        MessageReply {
            id: head.id,
            r#type: "message",
            role: "assistant",
            model: head.model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage,
            slm: None,
        }
    }
}
