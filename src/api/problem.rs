//! Why a request got no answer, in no dialect; the one place that maps errors to HTTP statuses.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::admission::Refused;
use super::logging::Account;
use crate::contract::ContractError;
use crate::engine::EngineError;
use crate::failure::with_causes;
use crate::infer::InferError;
use crate::load_spec::{CheckError, LoadSpecError};
use crate::model_ref::ModelRefError;
use crate::registry::RegistryError;
use crate::residents::Refusal;
use crate::sampling::ParameterError;
use crate::source::SourceError;
use crate::store::StoreError;
use crate::tools::ToolError;
use crate::transfer::{PushError, ServerError, TransferError};

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    /// What was wrong, with the value, and what to do next.
    pub message: String,
    /// The field of the request that is at fault, where one is.
    pub field: Option<String>,
}

/// The kinds of problems that a client can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be understood or kept.
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
    /// The body is larger than is accepted.
    TooLarge,
    /// Too much waits already; it is worth another try after this time.
    Busy {
        retry_after: Duration,
    },
    /// The request's time was over before its answer.
    TimedOut,
    /// The model's process ended, or could not be started.
    Failed,
    /// Another server, a registry for example, did not give what was asked of it.
    Upstream,
}

impl Problem {
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Problem {
        Problem { kind, message: message.into(), field: None }
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
        Problem::new(Kind::Unknown, format!("`{field}` is not known here; leave it away")).of(field)
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::Invalid | Kind::Unsupported | Kind::Unknown | Kind::TooLong => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Kind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Upstream => StatusCode::BAD_GATEWAY,
        }
    }

    /// Notes in a request's account what failed here. What was wrong with the request itself is told to its client alone: it may
    /// be said in the words of a text.
    pub fn note(&self, account: &Account) {
        if self.status().is_server_error() {
            account.problem(&self.message);
        }
    }

    /// A response with this body in its dialect's own shape, and with the headers that every dialect shares.
    #[must_use]
    pub fn response(&self, body: &serde_json::Value) -> Response {
        self.note(&Account::current());
        let mut response = Response::new(axum::body::Body::from(body.to_string()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.kind {
            Kind::Busy { retry_after } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
            }
            Kind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // What ended a model's process would end it again.
            Kind::Failed => {
                headers.insert("x-should-retry", HeaderValue::from_static("false"));
            }
            _ => {}
        }
        response
    }
}

impl From<InferError> for Problem {
    fn from(error: InferError) -> Problem {
        match error {
            InferError::Engine(error) => error.into(),
            InferError::Think(_) | InferError::ThinkingAndForm => Problem::invalid(error.to_string()).of("think"),
            InferError::NoInfill => Problem::invalid(error.to_string()).of("suffix"),
            InferError::ToolsAndForm | InferError::Tools(_) => Problem::invalid(error.to_string()).of("tools"),
            InferError::BiasAndClosed => Problem::unsupported("logit_bias", &format!("{error}; leave it away")),
            InferError::Template(_) | InferError::Thinking => Problem::invalid(error.to_string()),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Problem {
        let kind = match &error {
            EngineError::Context { needed, n_ctx } => {
                let message = format!(
                    "the prompt is too long: {needed} tokens are needed, the context has {n_ctx}; shorten the prompt or ask \
                     for a larger context (`num_ctx`)"
                );
                return Problem::new(Kind::TooLong, message);
            }
            EngineError::TextTooLong { n_tokens, limit, .. } => {
                let message =
                    format!("the text has {n_tokens} tokens, with the model's own around it, and {limit} fit");
                return Problem::new(Kind::TooLong, message);
            }
            EngineError::Compute(_)
            | EngineError::SameTokens(..)
            | EngineError::NoSuchToken(_)
            | EngineError::TokenOutOfRange { .. }
            | EngineError::Bias { .. }
            | EngineError::NoTurnEnd
            | EngineError::NoBranches
            | EngineError::NoText(_)
            | EngineError::EmptyText
            | EngineError::EmptyPrompt
            | EngineError::Adapter { .. }
            | EngineError::Grammar { .. } => Kind::Invalid,
            _ => Kind::Failed,
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let kind = match refused {
            Refused::Busy { retry_after, .. } => Kind::Busy { retry_after },
            Refused::TimedOut { .. } => Kind::TimedOut,
        };
        Problem::new(kind, refused.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Load(error) => error.into(),
            Refusal::TooLarge(_) => Problem::new(Kind::Failed, refusal.to_string()),
            Refusal::Closing => Problem::new(Kind::Busy { retry_after: Duration::from_secs(1) }, refusal.to_string()),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match &error {
            StoreError::NotFound(unknown) => {
                Problem::new(Kind::NotFound, format!("model '{}' not found", unknown.name)).of("model")
            }
            StoreError::RemoveEmbedded(_) => Problem::new(Kind::Forbidden, error.to_string()).of("model"),
            StoreError::NotAFile(_)
            | StoreError::HomePath(_)
            | StoreError::Gguf { .. }
            | StoreError::VocabularyOnly(_)
            | StoreError::MissingShard { .. }
            | StoreError::ShardName { .. }
            | StoreError::OtherBytes { .. }
            | StoreError::Adapter { .. }
            | StoreError::Peft { .. }
            | StoreError::NoAdapter(_)
            | StoreError::AdapterTwice(_)
            | StoreError::Schema { .. } => Problem::invalid(error.to_string()),
            _ => Problem::new(Kind::Failed, error.to_string()),
        }
    }
}

impl From<LoadSpecError> for Problem {
    fn from(error: LoadSpecError) -> Problem {
        match error {
            LoadSpecError::Store(error) => error.into(),
            error => Problem::invalid(error.to_string()),
        }
    }
}

impl From<CheckError> for Problem {
    fn from(error: CheckError) -> Problem {
        let field = match error {
            CheckError::Format(_) => "format",
            CheckError::Template(_) => "template",
        };
        Problem::invalid(error.to_string()).of(field)
    }
}

impl From<ModelRefError> for Problem {
    fn from(error: ModelRefError) -> Problem {
        Problem::invalid(error.to_string()).of("model")
    }
}

impl From<SourceError> for Problem {
    fn from(error: SourceError) -> Problem {
        Problem::invalid(error.to_string()).of("model")
    }
}

impl From<ServerError> for Problem {
    fn from(error: ServerError) -> Problem {
        Problem::invalid(error.to_string()).of("model")
    }
}

impl From<TransferError> for Problem {
    fn from(error: TransferError) -> Problem {
        let message = with_causes(&error);
        match error {
            TransferError::Registry { source, .. } | TransferError::Broken { source, .. } => {
                of_registry(&source, message)
            }
            TransferError::Store { source, .. } => Problem { message, ..Problem::from(*source) },
            TransferError::NoName { .. } => Problem::invalid(message).of("model"),
            TransferError::Manifest { .. } | TransferError::NoModel { .. } => Problem::new(Kind::Upstream, message),
        }
    }
}

impl From<PushError> for Problem {
    fn from(error: PushError) -> Problem {
        let message = with_causes(&error);
        match error {
            PushError::Registry { source, .. } | PushError::Broken { source, .. } => of_registry(&source, message),
            // In words of its own: the model is one of ours.
            PushError::Store(source) => source.into(),
            PushError::Pinned { .. } => Problem::invalid(message).of("model"),
            PushError::Damaged { .. } | PushError::Unreadable { .. } => Problem::new(Kind::Failed, message),
        }
    }
}

/// What a registry could not give.
fn of_registry(source: &RegistryError, message: String) -> Problem {
    let kind = match source {
        RegistryError::NotFound { .. } => Kind::NotFound,
        RegistryError::Plain { .. } | RegistryError::Forbidden { .. } => Kind::Forbidden,
        RegistryError::Address(_) => Kind::Invalid,
        _ => Kind::Upstream,
    };
    Problem::new(kind, message)
}

impl From<ContractError> for Problem {
    fn from(error: ContractError) -> Problem {
        Problem::invalid(error.to_string())
    }
}

impl From<ToolError> for Problem {
    fn from(error: ToolError) -> Problem {
        let kind = if matches!(error, ToolError::Unknown { .. }) { Kind::Unknown } else { Kind::Invalid };
        Problem { field: Some(error.at().to_owned()), ..Problem::new(kind, error.to_string()) }
    }
}

impl From<ParameterError> for Problem {
    fn from(error: ParameterError) -> Problem {
        let name = match &error {
            ParameterError::Unknown { name, .. } => Some(name.clone()),
            ParameterError::Invalid { name, .. } => Some((*name).to_owned()),
            ParameterError::NotAnObject { .. } => None,
        };
        Problem { field: name, ..Problem::invalid(error.to_string()) }
    }
}
