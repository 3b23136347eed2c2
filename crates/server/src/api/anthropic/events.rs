//! A message as server-sent events.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::MessageHead;
use super::reply::{ContentBlock, MessageReply, StopReason, Usage};
use crate::api::dialect::Dialect;
use crate::api::extra::Extra;
use crate::api::problem::Problem;
use crate::api::stream::{self, Encoder};
use slm_infer::infer::Piece;

/// An event of a message.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = anthropic::Event)]
pub enum Event {
    /// The first event, before the answer.
    MessageStart {
        message: Box<MessageReply>,
    },
    ContentBlockStart {
        index: usize,
        content_block: ContentBlock,
    },
    ContentBlockDelta {
        index: usize,
        delta: Delta,
    },
    ContentBlockStop {
        index: usize,
    },
    /// Why the answer ended, and its token counts.
    MessageDelta {
        delta: Ended,
        usage: Usage,
        slm: Box<Extra>,
    },
    MessageStop,
}

/// The new part of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type")]
#[schema(as = anthropic::Delta)]
pub enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
}

/// How a message ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::Ended)]
pub struct Ended {
    pub stop_reason: StopReason,
    #[schema(required)]
    pub stop_sequence: Option<String>,
}

impl Event {
    /// The event's name, which is also its `type`.
    fn name(&self) -> &'static str {
        match self {
            Event::MessageStart { .. } => "message_start",
            Event::ContentBlockStart { .. } => "content_block_start",
            Event::ContentBlockDelta { .. } => "content_block_delta",
            Event::ContentBlockStop { .. } => "content_block_stop",
            Event::MessageDelta { .. } => "message_delta",
            Event::MessageStop => "message_stop",
        }
    }

    fn write(&self, out: &mut String) {
        stream::named_event(self.name(), self, out);
    }
}

/// Writes what happens for each piece.
#[derive(Debug)]
pub struct Events {
    head: MessageHead,
    usage: Usage,
    n_blocks: usize,
    n_calls: usize,
    open: Option<Open>,
}

/// The block that pieces are added to; its index is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
}

impl Events {
    /// `usage` is what is known before the first piece.
    #[must_use]
    pub fn new(head: MessageHead, usage: Usage) -> Events {
        Events { head, usage, n_blocks: 0, n_calls: 0, open: None }
    }

    /// Adds to the open block, or to a new one where it is of another kind.
    fn add(&mut self, kind: Open, text: String, out: &mut String) {
        if self.open != Some(kind) {
            self.close(out);
            let content_block = match kind {
                Open::Text => ContentBlock::Text { text: String::new() },
                Open::Thinking => ContentBlock::Thinking { thinking: String::new(), signature: String::new() },
            };
            self.begin(content_block, out);
            self.open = Some(kind);
        }
        let delta = match kind {
            Open::Text => Delta::Text { text },
            Open::Thinking => Delta::Thinking { thinking: text },
        };
        Event::ContentBlockDelta { index: self.n_blocks - 1, delta }.write(out);
    }

    fn call(&mut self, call: ContentBlock, out: &mut String) {
        self.close(out);
        let ContentBlock::ToolUse { id, name, input } = call else { return };
        self.begin(ContentBlock::ToolUse { id, name, input: serde_json::Map::new() }, out);
        let index = self.n_blocks - 1;
        let delta = Delta::InputJson { partial_json: Value::Object(input).to_string() };
        Event::ContentBlockDelta { index, delta }.write(out);
        Event::ContentBlockStop { index }.write(out);
    }

    fn begin(&mut self, content_block: ContentBlock, out: &mut String) {
        Event::ContentBlockStart { index: self.n_blocks, content_block }.write(out);
        self.n_blocks += 1;
    }

    fn close(&mut self, out: &mut String) {
        if self.open.take().is_some() {
            Event::ContentBlockStop { index: self.n_blocks - 1 }.write(out);
        }
    }
}

impl Encoder for Events {
    fn start(&mut self, out: &mut String) {
        let message = Box::new(MessageReply::begun(self.head.clone(), self.usage));
        Event::MessageStart { message }.write(out);
    }

    fn piece(&mut self, piece: Piece, out: &mut String) {
        match piece {
            Piece::Text(piece) if piece.text.is_empty() => {}
            Piece::Text(piece) => self.add(Open::Text, piece.text, out),
            Piece::Thinking(text) => self.add(Open::Thinking, text, out),
            Piece::Call(_) if self.n_calls == self.head.calls.most() => {}
            Piece::Call(call) => {
                self.n_calls += 1;
                self.call(ContentBlock::call(call), out);
            }
            Piece::End(end) => {
                self.close(out);
                let (stop_reason, stop_sequence) = StopReason::new(&self.head, &end, self.n_calls);
                let delta = Ended { stop_reason, stop_sequence };
                Event::MessageDelta { delta, usage: Usage::from(&*end), slm: Box::new(Extra::from(&*end)) }.write(out);
            }
        }
    }

    fn finish(&mut self, out: &mut String) {
        Event::MessageStop.write(out);
    }

    fn problem(&mut self, problem: &Problem, out: &mut String) {
        stream::named_event("error", &Dialect::Anthropic.body(problem), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::choices::Calls;
    use slm_values::tools::ToolCall;

    fn names(out: &str) -> Vec<String> {
        let event = |event: &str| {
            let (name, data) = event.split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(name.strip_prefix("event: ").unwrap(), data["type"]);
            let index = data["index"].as_u64().map_or_else(String::new, |index| format!(" {index}"));
            format!("{}{index}", data["type"].as_str().unwrap())
        };
        out.trim_end().split("\n\n").map(event).collect()
    }

    #[test]
    fn blocks_follow_each_other_without_gaps() {
        let head = MessageHead { id: "msg_1".into(), model: "m".into(), calls: Calls::One, stop_sequences: vec![] };
        let mut events = Events::new(head, Usage::before(3));
        let mut out = String::new();
        let text = |text: &str| Piece::Text(slm_engine::Piece { text: text.into(), ..slm_engine::Piece::default() });
        let call = || Piece::Call(ToolCall::new("f", serde_json::Map::new()));
        events.start(&mut out);
        for piece in [Piece::Thinking("hm".into()), text(""), text("a"), text("b"), call(), call()] {
            events.piece(piece, &mut out);
        }
        let expected = [
            "message_start",
            "content_block_start 0",
            "content_block_delta 0",
            "content_block_stop 0",
            "content_block_start 1",
            "content_block_delta 1",
            "content_block_delta 1",
            "content_block_stop 1",
            "content_block_start 2",
            "content_block_delta 2",
            "content_block_stop 2",
        ];
        assert_eq!(names(&out), expected);
        out.clear();
        events.problem(&Problem::invalid("no"), &mut out);
        assert_eq!(
            out,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"no\"}}\n\n"
        );
    }
}
