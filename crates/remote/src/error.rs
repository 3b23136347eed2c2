//! Why a remote gave no answer, told apart by what a caller can do.

use std::time::Duration;

use slm_values::contract::Violation;

use crate::key::KeyError;
use crate::usage::Usage;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RemoteError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the connection to `{host}` cannot be set up: {reason}")]
    Setup { host: String, reason: String },
    /// It failed so often that it is left alone for a while.
    #[error(
        "`{host}` is not asked, for it failed {n_failures} times in a row{}: {last}", again(*.again_in)
    )]
    Open { host: String, n_failures: u32, again_in: Duration, last: String },
    /// The question cannot be asked in the remote's dialect.
    #[error("the dialect `{dialect}` cannot ask this: {why}; set `dialect: chat`")]
    Unaskable { dialect: &'static str, why: String },
    /// Asking again would change nothing.
    #[error("`{host}` refused the request with status {status}{}", colon(.said))]
    Refused { host: String, status: u16, said: String },
    #[error(
        "`{host}` leads to `{to}` with status {status}, where no key is sent; if that is the right place, write it as `base_url`"
    )]
    Redirected { host: String, status: u16, to: String },
    #[error(
        "`{host}` wants fewer requests: status {status} {}{}{}; lower `requests_per_minute` or `concurrency`",
        times(*.n_tries), wait(*.retry_after), colon(.said)
    )]
    RateLimited { host: String, status: u16, retry_after: Option<Duration>, said: String, n_tries: u32 },
    #[error("`{host}` failed with status {status} {}{}", times(*.n_tries), colon(.said))]
    Failed { host: String, status: u16, said: String, n_tries: u32 },
    #[error("`{host}` cannot be reached, {}: {reason}", tried(*.n_tries))]
    Unreachable { host: String, reason: String, n_tries: u32 },
    #[error("`{host}` gave no answer within {} seconds, {}; raise `timeout`", .timeout.as_secs_f64(), tried(*.n_tries))]
    TimedOut { host: String, timeout: Duration, n_tries: u32 },
    #[error("the connection to `{host}` broke before the answer was whole, {}: {reason}", tried(*.n_tries))]
    Cut { host: String, reason: String, n_tries: u32 },
    #[error("the answer of `{host}` is larger than {limit} bytes")]
    TooLarge { host: String, limit: usize },
    #[error("`{host}` answered what is not JSON, beginning with {beginning:?}; is `base_url` that of an API?")]
    NotJson { host: String, beginning: String },
    /// JSON, but not an answer of the dialect.
    #[error("the answer of `{host}` has no {missing}; is its dialect `{dialect}`?")]
    WrongShape { host: String, dialect: &'static str, missing: String },
    /// The model answered, and its answer breaks the schema.
    #[error("{0}")]
    Broken(Violation),
    /// The model answered that it does not answer.
    #[error("the model refused to answer{}", colon(.0))]
    Declined(String),
    #[error("the answer reached the remote's limit of tokens and is unfinished")]
    Unfinished,
}

/// Why there is no answer, and what that cost all the same: a remote bills what its model wrote, be it of use or not.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct Unanswered {
    pub error: RemoteError,
    /// `None` where nothing was billed as far as anybody knows.
    pub usage: Option<Usage>,
    /// In the price's currency.
    pub cost: Option<f64>,
}

impl From<RemoteError> for Unanswered {
    fn from(error: RemoteError) -> Unanswered {
        Unanswered { error, usage: None, cost: None }
    }
}

impl RemoteError {
    /// Whether asking again may help, and how long the remote wants to be left alone first.
    pub(crate) fn may_pass(&self) -> Option<Option<Duration>> {
        match self {
            RemoteError::RateLimited { retry_after, .. } => Some(*retry_after),
            RemoteError::Failed { .. }
            | RemoteError::Unreachable { .. }
            | RemoteError::TimedOut { .. }
            | RemoteError::Cut { .. } => Some(None),
            _ => None,
        }
    }

    /// Whether the remote itself is away or wrong, so that the next question would fail alike.
    pub(crate) fn is_of_the_remote(&self) -> bool {
        match self {
            RemoteError::Refused { status, .. } => matches!(status, 401..=404),
            RemoteError::Redirected { .. } | RemoteError::NotJson { .. } | RemoteError::WrongShape { .. } => true,
            error => error.may_pass().is_some(),
        }
    }

    /// The same after so many tries.
    pub(crate) fn after(mut self, n: u32) -> RemoteError {
        match &mut self {
            RemoteError::RateLimited { n_tries, .. }
            | RemoteError::Failed { n_tries, .. }
            | RemoteError::Unreachable { n_tries, .. }
            | RemoteError::TimedOut { n_tries, .. }
            | RemoteError::Cut { n_tries, .. } => *n_tries = n,
            _ => {}
        }
        self
    }
}

fn again(again_in: Duration) -> String {
    if again_in.is_zero() {
        String::new()
    } else {
        format!(", and is tried again in {} seconds", again_in.as_secs() + 1)
    }
}

fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn times(n: u32) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

fn tried(n: u32) -> String {
    if n == 1 { "tried once".to_owned() } else { format!("tried {n} times") }
}

fn wait(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| format!(", at last with a wait of {} seconds", wait.as_secs()))
}
