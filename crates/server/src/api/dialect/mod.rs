//! The dialects that clients speak, told by the path: what each answers to a problem, with which status, and what it calls the
//! parts of a request.

pub mod anthropic;
pub mod ollama;
pub mod openai;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::problem::{Advice, Kind, Part, Problem, shortened};

/// The most characters of a message, without its advice.
const MAX_MESSAGE: usize = 2000;

/// The dialect whose clients call a path. OpenAI's has the same errors everywhere, and fields that go by the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Also of everything that is nobody else's.
    Ollama,
    Chat,
    Completions,
    Responses,
    /// OpenAI's other paths.
    OpenAi,
    Anthropic,
    SystemOne,
}

impl Dialect {
    #[must_use]
    pub fn of(path: &str) -> Dialect {
        let begins =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match path {
            _ if begins("/v1/messages") => Dialect::Anthropic,
            _ if begins("/v1/systemone") => Dialect::SystemOne,
            _ if begins("/v1/chat/completions") => Dialect::Chat,
            _ if begins("/v1/completions") => Dialect::Completions,
            _ if begins("/v1/responses") => Dialect::Responses,
            _ if begins("/v1") => Dialect::OpenAi,
            _ => Dialect::Ollama,
        }
    }

    /// The status of an answer that is a problem.
    ///
    /// # Panics
    /// Never: the statuses are constants.
    #[must_use]
    pub fn status(self, kind: Kind) -> StatusCode {
        match kind {
            Kind::Invalid | Kind::Unsupported | Kind::Unknown | Kind::TooLong => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound | Kind::NoSuchPath => StatusCode::NOT_FOUND,
            Kind::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Late => StatusCode::REQUEST_TIMEOUT,
            Kind::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            // Their SDKs know it by this number.
            Kind::Busy { .. } if self == Dialect::Anthropic => StatusCode::from_u16(529).expect("three digits"),
            Kind::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Kind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Upstream => StatusCode::BAD_GATEWAY,
            Kind::Protocol(status) => status,
        }
    }

    /// The body of an answer that is a problem.
    #[must_use]
    pub fn body(self, problem: &Problem) -> Value {
        let (kind, message) = (problem.kind, self.message(problem));
        match self {
            Dialect::Ollama => json!(ollama::ErrorResponse { error: message }),
            Dialect::Chat | Dialect::Completions | Dialect::Responses | Dialect::OpenAi => {
                json!(openai::ErrorBody::new(kind, message, self.field(problem)))
            }
            Dialect::Anthropic => json!(anthropic::ErrorBody::new(kind, message)),
            // System One's client reads `detail`; Ollama's clients, which speak it too, `error`.
            Dialect::SystemOne => json!({ "detail": message, "error": message }),
        }
    }

    /// What was wrong, and what can be done about it.
    #[must_use]
    pub fn message(self, problem: &Problem) -> String {
        // It may show a value of the request, which may have megabytes.
        let mut message = shortened(&problem.message, MAX_MESSAGE);
        if let Some(found) = &problem.field
            && let Some(own) = self.tool_place(found)
        {
            message = message.replace(&format!("`{found}`"), &format!("`{own}`"));
        }
        let advice: Vec<String> = problem.advice.iter().filter_map(|advice| self.advice(advice)).collect();
        if advice.is_empty() { message } else { format!("{message}; {}", advice.join(", or ")) }
    }

    /// The field at fault, as this dialect's clients know it.
    #[must_use]
    pub fn field(self, problem: &Problem) -> Option<String> {
        match &problem.field {
            Some(found) => Some(self.tool_place(found).unwrap_or_else(|| found.clone())),
            None => self.name(problem.part?).map(str::to_owned),
        }
    }

    /// A place in a tool, or in the choice of one, where this dialect has it elsewhere than chat completions, in whose shape
    /// tools are read.
    fn tool_place(self, found: &str) -> Option<String> {
        let is_flat = matches!(self, Dialect::Responses | Dialect::Anthropic);
        let is_of_tools = found.starts_with("tools[") || found.starts_with("tool_choice.");
        let (tool, within) = found.split_once(".function").filter(|_| is_flat && is_of_tools)?;
        match within.strip_prefix(".parameters") {
            Some(within) if self == Dialect::Anthropic => Some(format!("{tool}.input_schema{within}")),
            _ => Some(format!("{tool}{within}")),
        }
    }

    /// What this dialect calls a part of a request; `None` where its clients cannot say it.
    #[must_use]
    pub fn name(self, part: Part) -> Option<&'static str> {
        match (self, part) {
            (Dialect::Ollama, Part::Think) => Some("think"),
            (Dialect::Chat, Part::Think) => Some("reasoning_effort"),
            (Dialect::Responses, Part::Think) => Some("reasoning.effort"),
            (Dialect::Anthropic, Part::Think) => Some("thinking"),
            (Dialect::Ollama, Part::Form) => Some("format"),
            (Dialect::Chat, Part::Form) => Some("response_format"),
            (Dialect::Responses, Part::Form) => Some("text.format"),
            (Dialect::Anthropic, Part::Form) => Some("output_config.format"),
            (Dialect::Ollama | Dialect::Chat | Dialect::Responses | Dialect::Anthropic, Part::Tools) => Some("tools"),
            (Dialect::Chat | Dialect::Completions, Part::Bias) => Some("logit_bias"),
            (Dialect::Ollama | Dialect::Completions, Part::Suffix) => Some("suffix"),
            (Dialect::Ollama, Part::AnswerTokens) => Some("options.num_predict"),
            (Dialect::Chat, Part::AnswerTokens) => Some("max_completion_tokens"),
            (Dialect::Completions | Dialect::Anthropic, Part::AnswerTokens) => Some("max_tokens"),
            (Dialect::Responses, Part::AnswerTokens) => Some("max_output_tokens"),
            (Dialect::Ollama, Part::Template) => Some("template"),
            (Dialect::Ollama, Part::Context) => Some("options.num_ctx"),
            (Dialect::Ollama, Part::Batch) => Some("options.num_batch"),
            (Dialect::Ollama, Part::GpuLayers) => Some("options.num_gpu"),
            (Dialect::Ollama, Part::MainGpu) => Some("options.main_gpu"),
            (Dialect::Ollama, Part::Insecure) => Some("insecure"),
            (
                Dialect::Ollama | Dialect::Chat | Dialect::Completions | Dialect::Responses | Dialect::Anthropic,
                Part::Fit,
            ) => Some("fit"),
            _ => None,
        }
    }

    /// Advice in the words of this dialect's clients; `None` where it says nothing to them.
    fn advice(self, advice: &Advice) -> Option<String> {
        let words = match advice {
            Advice::ShortenPrompt => "shorten the prompt",
            Advice::ShortenText => "shorten the text",
            Advice::SmallerCells => "start the server with a smaller KV cache type",
            Advice::FewerAtOnce => "start the server with a smaller physical batch",
            Advice::SmallerModel => "use a smaller quantization",
            Advice::TrustHost(host) => {
                return Some(format!("the server's operator can allow `{host}`, if it is trusted"));
            }
            Advice::TrustLine => {
                let name = self.name(Part::Insecure)?;
                return Some(format!("if you trust the network, set `{name}` to `true`"));
            }
            Advice::Raise(part) => match self.name(*part) {
                Some(name) => return Some(format!("raise `{name}`")),
                None if *part == Part::Context => "start the server with a larger context",
                None => return None,
            },
            Advice::Lower(part) => match self.name(*part) {
                Some(name) => return Some(format!("lower `{name}`")),
                None if *part == Part::Context => "start the server with a smaller context",
                None => return None,
            },
            Advice::TurnOff(part) => {
                return self.name(*part).map(|name| format!("use the model's own probabilities with `{name}: false`"));
            }
            Advice::LeaveAway(part) => return self.name(*part).map(|name| format!("remove `{name}`")),
        };
        Some(words.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::Dialect;

    #[test]
    fn the_path_tells_the_dialect() {
        for (path, dialect) in [
            ("/", Dialect::Ollama),
            ("/api/chat", Dialect::Ollama),
            ("/v1x", Dialect::Ollama),
            ("/v1", Dialect::OpenAi),
            ("/v1/models/x", Dialect::OpenAi),
            ("/v1/decisions", Dialect::OpenAi),
            ("/v1/completionsx", Dialect::OpenAi),
            ("/v1/chat/completions", Dialect::Chat),
            ("/v1/completions", Dialect::Completions),
            ("/v1/responses", Dialect::Responses),
            ("/v1/messages", Dialect::Anthropic),
            ("/v1/messages/count_tokens", Dialect::Anthropic),
            ("/v1/systemone", Dialect::SystemOne),
        ] {
            assert_eq!(Dialect::of(path), dialect, "{path}");
        }
    }
}
