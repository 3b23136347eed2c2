//! Tools as values: what a model may call, what it called, and what a request wants of it; no prompts, no tokens.
//!
//! The wire form is the one that Ollama's and OpenAI's APIs share: `{"type": "function", "function": {..}}`.

mod call;
mod call_format;
mod call_reader;
mod choice;
mod error;
mod forced_call;
mod gemma;
mod known_tools;
mod limits;
mod located;
mod open_call;
mod python;
mod scan;
mod tags;
mod tool;

pub use call::ToolCall;
pub use call_format::CallFormat;
pub use call_reader::{AnswerPart, CallReader};
pub use choice::ToolChoice;
pub use error::ToolError;
pub use forced_call::ForcedCall;
pub use limits::{MAX_BYTES, MAX_CALLS, MAX_DEPTH, MAX_NAME, MAX_TOOLS};
pub use tool::Tool;

#[cfg(test)]
mod call_reader_tests;
#[cfg(test)]
mod tests;
