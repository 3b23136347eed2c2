//! What `/api/generate` and `/api/chat` answer, whole or in lines.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::extra::Extra;
use crate::api::fields::finite;
use slm_engine::{Finish, Token, TokenLogprob};
use slm_infer::infer::End;
use slm_values::tools::ToolCall;

/// An answer of `/api/generate`, or a part of one.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::GenerateResponse)]
pub struct GenerateResponse {
    pub model: String,
    /// RFC 3339.
    pub created_at: String,
    pub response: String,
    /// What the model thinks before it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// In the last line of an answer to a prompt that is neither raw nor around a gap: the tokens of the conversation so far. A
    /// request with these continues after them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<i32>)]
    pub context: Vec<Token>,
    #[serde(flatten)]
    pub tail: Tail,
}

/// An answer of `/api/chat`, or a part of one.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::ChatResponse)]
pub struct ChatResponse {
    pub model: String,
    /// RFC 3339.
    pub created_at: String,
    pub message: ReplyMessage,
    #[serde(flatten)]
    pub tail: Tail,
}

/// What the model says.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::ReplyMessage)]
pub struct ReplyMessage {
    #[schema(pattern = "^assistant$")]
    pub role: &'static str,
    pub content: String,
    /// What the model thinks before it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ReplyCall>,
}

/// A call of a tool.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::ReplyCall)]
pub struct ReplyCall {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub function: ReplyFunction,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::ReplyFunction)]
pub struct ReplyFunction {
    pub name: String,
    #[schema(value_type = Object)]
    pub arguments: serde_json::Map<String, serde_json::Value>,
}

/// The fields that every line has.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = ollama::Tail)]
pub struct Tail {
    /// Whether this is the last line.
    pub done: bool,
    /// In the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_reason: Option<DoneReason>,
    /// The tokens of this line, if requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<Logprob>,
    #[serde(flatten)]
    #[schema(value_type = LastFigures)]
    pub figures: Option<Figures>,
    /// In the last line of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slm: Option<Slm>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ollama::DoneReason)]
pub enum DoneReason {
    Stop,
    Length,
    /// Nothing was asked; the model is loaded.
    Load,
    /// Nothing was asked; the model goes.
    Unload,
}

/// What an answer took: times in nanoseconds, counts in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ollama::Figures)]
pub struct Figures {
    pub total_duration: u64,
    /// Time that the request waited for the model to load.
    pub load_duration: u64,
    /// All of the prompt's tokens, including cached ones.
    pub prompt_eval_count: usize,
    pub prompt_eval_duration: u64,
    pub eval_count: usize,
    pub eval_duration: u64,
}

/// [`Figures`] as a line has them: in the last line of an answer, and nowhere else.
#[derive(ToSchema)]
#[schema(as = ollama::LastFigures)]
#[allow(dead_code)] // Only described.
pub struct LastFigures {
    /// In nanoseconds, as all times are.
    total_duration: Option<u64>,
    /// Time that the request waited for the model to load.
    load_duration: Option<u64>,
    /// All of the prompt's tokens, including cached ones.
    prompt_eval_count: Option<usize>,
    prompt_eval_duration: Option<u64>,
    eval_count: Option<usize>,
    eval_duration: Option<u64>,
}

/// A token with its natural log-probability.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::Logprob)]
pub struct Logprob {
    pub token: String,
    pub logprob: f64,
    /// The token's bytes: a token may be a part of a character.
    pub bytes: Vec<u8>,
    /// The most likely tokens at this position, the most likely first.
    pub top_logprobs: Vec<TopLogprob>,
}

/// An alternative token.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::TopLogprob)]
pub struct TopLogprob {
    pub token: String,
    pub logprob: f64,
    pub bytes: Vec<u8>,
}

/// Fields of slm's own.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::Slm)]
pub struct Slm {
    #[serde(flatten)]
    pub extra: Extra,
    /// Prompt tokens read from the cache.
    pub reused_tokens: usize,
}

impl Tail {
    /// The tail of a line that only says that nothing was asked.
    #[must_use]
    pub fn nothing_asked(reason: DoneReason) -> Tail {
        Tail { done: true, done_reason: Some(reason), ..Tail::default() }
    }

    /// The tail of an answer's last line.
    #[must_use]
    pub fn end(end: &End, load: std::time::Duration) -> Tail {
        Tail {
            done: true,
            done_reason: Some(match end.finish {
                Finish::Stop => DoneReason::Stop,
                Finish::Length => DoneReason::Length,
            }),
            logprobs: Vec::new(),
            figures: Some(Figures {
                total_duration: nanoseconds(load + end.elapsed),
                load_duration: nanoseconds(load),
                prompt_eval_count: end.counts.prompt,
                prompt_eval_duration: nanoseconds(end.timings.prompt),
                eval_count: end.counts.generated + end.counts.branch,
                eval_duration: nanoseconds(end.timings.generation),
            }),
            slm: Some(Slm { extra: Extra::from(end), reused_tokens: end.counts.reused }),
        }
    }
}

impl From<&TokenLogprob> for Logprob {
    fn from(token: &TokenLogprob) -> Logprob {
        let likely = token.likely.iter().map(|likely| TopLogprob::of(&likely.bytes, likely.logprob));
        let TopLogprob { token: text, logprob, bytes } = TopLogprob::of(&token.bytes, token.logprob);
        Logprob { token: text, logprob, bytes, top_logprobs: likely.collect() }
    }
}

impl TopLogprob {
    fn of(bytes: &[u8], logprob: f64) -> TopLogprob {
        let token = String::from_utf8_lossy(bytes).into_owned();
        TopLogprob { token, logprob: finite(logprob), bytes: bytes.to_owned() }
    }
}

impl From<ToolCall> for ReplyCall {
    fn from(call: ToolCall) -> ReplyCall {
        ReplyCall { id: call.id, function: ReplyFunction { name: call.name, arguments: call.arguments } }
    }
}

/// A time as Go counts it.
#[must_use]
pub fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
