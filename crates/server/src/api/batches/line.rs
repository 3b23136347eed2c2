//! One line of a batch: which request it asks for. It is checked here, before anything of its file is asked.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::body;

/// The longest line, as long as the body of a request may be.
pub const MAX_LINE_BYTES: usize = body::DEFAULT_MAX_BYTES;
/// The longest id of a request.
const MAX_ID_BYTES: usize = 512;

/// A request of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchLine {
    /// What its result is found by.
    pub custom_id: String,
    pub endpoint: Endpoint,
    /// The model that it names; System One's requests need not name one.
    pub model: Option<String>,
    pub body: Map<String, Value>,
}

/// The paths that a batch can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Decisions,
    SystemOne,
}

/// Why a line is not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("the line has {0} bytes, more than {MAX_LINE_BYTES}")]
    TooLong(usize),
    #[error("the line is not UTF-8: its byte {at} (0x{byte:02x}) begins no character")]
    NotUtf8 { at: usize, byte: u8 },
    #[error("{message}")]
    Json { message: String, field: Option<String> },
    #[error("`custom_id` has {0} bytes; give 1 to {MAX_ID_BYTES}")]
    IdLength(usize),
    #[error("the `custom_id` `{id}` is also that of line {first}; give every request its own")]
    IdTwice { id: String, first: u64 },
    #[error("`method` is `{0}`; give `POST`")]
    Method(String),
    #[error("`url` is `{url}`, which a batch cannot ask; give {}", Endpoint::list())]
    Url { url: String },
    #[error("`url` is `{url}`, and the batch asks `{endpoint}`; give one `url` to all lines of a batch")]
    OtherUrl { url: Endpoint, endpoint: Endpoint },
    #[error("`body.stream` is `true`; remove it, the results of a batch are not streamed")]
    Stream,
    #[error("`body.model` is missing; name a model")]
    NoModel,
    #[error("`body.model` is {0}; give the name of a model")]
    Model(String),
    #[error("there are more than {max} requests; divide the file")]
    TooMany { max: u64 },
}

/// A line as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLine {
    custom_id: String,
    method: String,
    url: String,
    body: Map<String, Value>,
}

impl BatchLine {
    /// # Errors
    /// See [`LineError`].
    pub fn read(bytes: &[u8]) -> Result<BatchLine, LineError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            LineError::NotUtf8 { at, byte: bytes[at] }
        })?;
        let wire: WireLine = body::object(text.trim_start_matches('\u{feff}').trim()).map_err(|problem| {
            let message = problem.message.replacen("the body is", "the line is", 1);
            LineError::Json { message, field: problem.field }
        })?;
        let WireLine { custom_id, method, url, body } = wire;
        if !(1..=MAX_ID_BYTES).contains(&custom_id.len()) {
            return Err(LineError::IdLength(custom_id.len()));
        }
        if method != "POST" {
            return Err(LineError::Method(method));
        }
        let endpoint: Endpoint = url.parse()?;
        if body.get("stream").is_some_and(|stream| *stream != Value::Bool(false) && !stream.is_null()) {
            return Err(LineError::Stream);
        }
        let model = match body.get("model") {
            Some(Value::String(model)) if !model.is_empty() => Some(model.clone()),
            None | Some(Value::Null) if endpoint == Endpoint::SystemOne => None,
            None | Some(Value::Null | Value::String(_)) => return Err(LineError::NoModel),
            Some(other) => return Err(LineError::Model(other.to_string().chars().take(60).collect())),
        };
        Ok(BatchLine { custom_id, endpoint, model, body })
    }

    /// Equal numbers for requests whose prompts begin alike: asked one after the other, they share what was evaluated.
    #[must_use]
    pub fn prompt_beginning(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.endpoint.hash(&mut hasher);
        for name in ["instructions", "tools", "response_format", "text", "questions"] {
            if let Some(value) = self.body.get(name) {
                (name, value.to_string()).hash(&mut hasher);
            }
        }
        // Of a conversation, the last part is what is asked.
        for name in ["messages", "input"] {
            if let Some(Value::Array(parts)) = self.body.get(name)
                && self.endpoint != Endpoint::Embeddings
            {
                let before = parts.split_last().map_or(&[][..], |(_, before)| before);
                before.iter().for_each(|part| part.to_string().hash(&mut hasher));
            }
        }
        hasher.finish()
    }
}

impl LineError {
    /// A word for programs, as OpenAI's errors of batches have one.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            LineError::TooLong(_) => "line_too_long",
            LineError::NotUtf8 { .. } | LineError::Json { .. } => "invalid_json_line",
            LineError::IdLength(_) => "invalid_custom_id",
            LineError::IdTwice { .. } => "duplicate_custom_id",
            LineError::Method(_) => "invalid_method",
            LineError::Url { .. } => "invalid_url",
            LineError::OtherUrl { .. } => "mismatched_url",
            LineError::Stream => "unsupported_stream",
            LineError::NoModel | LineError::Model(_) => "invalid_model",
            LineError::TooMany { .. } => "too_many_requests",
        }
    }

    /// The field at fault.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            LineError::TooLong(_) | LineError::NotUtf8 { .. } | LineError::TooMany { .. } => None,
            LineError::Json { field, .. } => field.as_deref(),
            LineError::IdLength(_) | LineError::IdTwice { .. } => Some("custom_id"),
            LineError::Method(_) => Some("method"),
            LineError::Url { .. } | LineError::OtherUrl { .. } => Some("url"),
            LineError::Stream => Some("body.stream"),
            LineError::NoModel | LineError::Model(_) => Some("body.model"),
        }
    }
}

impl Endpoint {
    pub const ALL: [Endpoint; 6] = [
        Endpoint::Chat,
        Endpoint::Completions,
        Endpoint::Responses,
        Endpoint::Embeddings,
        Endpoint::Decisions,
        Endpoint::SystemOne,
    ];

    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Endpoint::Chat => "/v1/chat/completions",
            Endpoint::Completions => "/v1/completions",
            Endpoint::Responses => "/v1/responses",
            Endpoint::Embeddings => "/v1/embeddings",
            Endpoint::Decisions => "/v1/decisions",
            Endpoint::SystemOne => "/v1/systemone",
        }
    }

    fn list() -> String {
        let [.., last] = Endpoint::ALL;
        let before: Vec<String> =
            Endpoint::ALL.iter().filter(|one| **one != last).map(|one| format!("`{one}`")).collect();
        format!("{} or `{last}`", before.join(", "))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

impl FromStr for Endpoint {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Endpoint, LineError> {
        let found = Endpoint::ALL.into_iter().find(|endpoint| endpoint.path() == text);
        found.ok_or_else(|| LineError::Url { url: text.chars().take(200).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        BatchLine::read(line.as_bytes()).unwrap_err().to_string()
    }

    fn line(more: &str) -> String {
        format!("{{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\", \"body\": {more}}}")
    }

    #[test]
    fn a_line_is_a_request() {
        let read = BatchLine::read(line("{\"model\": \"m\", \"stream\": false}").as_bytes()).unwrap();
        assert_eq!((read.custom_id.as_str(), read.endpoint, read.model.as_deref()), ("a", Endpoint::Chat, Some("m")));
        let systemone = "{\"custom_id\":\"b\",\"method\":\"POST\",\"url\":\"/v1/systemone\",\"body\":{\"state\":1}}\r";
        assert_eq!(BatchLine::read(systemone.as_bytes()).unwrap().model, None);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_with_the_value() {
        assert_eq!(refused("{\"a"), "the line is not JSON: EOF while parsing a string at line 1 column 3");
        assert_eq!(refused("[]"), "the line is not a JSON object");
        assert_eq!(refused("{\"method\": \"POST\"}"), "`custom_id` is missing");
        assert_eq!(
            refused(&line("{\"model\": \"m\", \"model\": \"n\"}")),
            "`body`: the key `model` is given twice at line 1 column 98"
        );
        assert_eq!(refused(&line("7")), "`body` is 7, a number; give an object");
        assert_eq!(refused(&line("{}, \"priority\": 1")), "`priority` is not known here; remove it");
        assert_eq!(refused(&line("{}")), "`body.model` is missing; name a model");
        assert_eq!(refused(&line("{\"model\": 5}")), "`body.model` is 5; give the name of a model");
        assert_eq!(
            refused(&line("{\"model\": \"m\", \"stream\": true}")),
            "`body.stream` is `true`; remove it, the results of a batch are not streamed"
        );
        assert_eq!(refused(&line("{}").replace("POST", "GET")), "`method` is `GET`; give `POST`");
        assert_eq!(refused(&line("{}").replace("\"a\"", "\"\"")), "`custom_id` has 0 bytes; give 1 to 512");
        assert_eq!(
            refused(&line("{}").replace("chat/completions", "images")),
            "`url` is `/v1/images`, which a batch cannot ask; give `/v1/chat/completions`, `/v1/completions`, `/v1/responses`, \
             `/v1/embeddings`, `/v1/decisions` or `/v1/systemone`"
        );
        let said = BatchLine::read(b"{\"\xff\"}").unwrap_err();
        assert_eq!(said.to_string(), "the line is not UTF-8: its byte 2 (0xff) begins no character");
    }

    #[test]
    fn requests_of_one_task_begin_alike() {
        let beginning = |body: &str| BatchLine::read(line(body).as_bytes()).unwrap().prompt_beginning();
        let chat = |system: &str, user: &str, seed: u32| {
            beginning(&format!(
                "{{\"model\":\"m\",\"seed\":{seed},\"messages\":[{{\"role\":\"system\",\"content\":\"{system}\"}},{{\"role\":\"user\",\"content\":\"{user}\"}}]}}"
            ))
        };
        assert_eq!(chat("s", "one", 1), chat("s", "two", 2));
        assert_ne!(chat("s", "one", 1), chat("t", "one", 1));
    }
}
