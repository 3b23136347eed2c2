//! Why a request got no answer, in no dialect: what a dialect calls a part of the request, and which status it answers with, is
//! the dialect's affair.

mod advice;
mod causes;

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

pub use advice::{Advice, Part};

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    /// What was wrong, with the value.
    pub message: String,
    /// The field of the request that is at fault, as its dialect calls it: whoever read the request found it.
    pub field: Option<String>,
    /// The part of the request that is at fault, where it was found by a room that knows no dialect.
    pub part: Option<Part>,
    /// What can be done about it, beyond what the message says; each dialect has its own words for it.
    pub advice: Vec<Advice>,
}

/// The kinds of problems that a client can distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is invalid or asks for something unsupported.
    Invalid,
    /// A field or a value that is known and not supported.
    Unsupported,
    /// A field that nobody knows.
    Unknown,
    /// The prompt and the answer do not fit the context.
    TooLong,
    /// A key is missing or wrong.
    Unauthorized,
    /// It is understood and not allowed here.
    Forbidden,
    NotFound,
    /// Nothing is served at the path.
    NoSuchPath,
    /// The path does not take the method.
    WrongMethod,
    /// The body is too large.
    TooLarge,
    /// The body did not come in time.
    Late,
    /// The body is encoded, or not in UTF-8.
    Encoding,
    /// Too much waits already; it is worth another try after this time.
    Busy {
        retry_after: Duration,
    },
    /// The request timed out.
    TimedOut,
    /// The model's process crashed, or could not be started.
    Failed,
    /// Another server, a registry for example, did not give what was asked of it.
    Upstream,
    /// What came is not HTTP as this server takes it; the status says what of it.
    Protocol(StatusCode),
}

impl Problem {
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Problem {
        Problem { kind, message: message.into(), field: None, part: None, advice: Vec::new() }
    }

    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Problem {
        Problem::new(Kind::Invalid, message)
    }

    /// The same problem with the request's field that is at fault.
    #[must_use]
    pub fn of(self, field: impl Into<String>) -> Problem {
        Problem { field: Some(field.into()), ..self }
    }

    /// The same problem with the request's part that is at fault.
    #[must_use]
    pub fn of_part(self, part: Part) -> Problem {
        Problem { part: Some(part), ..self }
    }

    /// The same problem with one more thing that can be done about it.
    #[must_use]
    pub fn or(mut self, advice: Advice) -> Problem {
        self.advice.push(advice);
        self
    }

    /// A model was asked for by a name that none can have.
    #[must_use]
    pub fn no_model<E: Into<Problem>>(why: E) -> Problem {
        Problem { kind: Kind::NotFound, ..why.into() }
    }

    /// A field that is understood and cannot be honoured.
    #[must_use]
    pub fn unsupported(field: &str, why: &str) -> Problem {
        Problem::new(Kind::Unsupported, format!("`{field}` is not supported: {why}")).of(field)
    }

    /// A value that is understood and cannot be honoured, at this place.
    #[must_use]
    pub fn unsupported_value(message: String, at: &str) -> Problem {
        Problem::new(Kind::Unsupported, message).of(at)
    }

    /// A field that nobody knows.
    #[must_use]
    pub fn unknown(field: &str) -> Problem {
        Problem::new(Kind::Unknown, format!("`{field}` is not known here; remove it")).of(field)
    }

    /// The work on the request panicked, which the log tells with its place.
    #[must_use]
    pub fn panicked() -> Problem {
        Problem::new(Kind::Failed, "slm failed to handle this request; see its log")
    }

    /// Whether it is the server's, or another's behind it, and not the request's.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        matches!(self.kind, Kind::Busy { .. } | Kind::TimedOut | Kind::Failed | Kind::Upstream)
    }
}

/// A text of at most so many characters: of a longer one the beginning and the end, where errors have their places.
#[must_use]
pub fn shortened(text: &str, n_chars: usize) -> String {
    let n_all = text.chars().count();
    if n_all <= n_chars {
        return text.to_owned();
    }
    let begin: String = text.chars().take(n_chars / 2).collect();
    let end: String = text.chars().skip(n_all - n_chars / 4).collect();
    format!("{begin}...{end}")
}

/// Without a body: who sees the path, around all handlers, writes it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests;
