//! How a failure leaves: the one place that maps errors to exit codes and hints.

use std::process::ExitCode;

/// The ways in which slm ends, as a shell sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    /// A wrong command line, or a schema that cannot be kept.
    Usage,
    /// A gate or a contract was not met.
    NotMet,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotMet => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// A failure with its words: what was wrong, with the value, and what to do next.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub exit: Exit,
}

/// What a command gives back: how it ended, or why it could not.
pub type Outcome = Result<Exit, Failure>;

impl Failure {
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Failure { message: message.into(), exit: Exit::Failed }
    }

    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { message: message.into(), exit: Exit::Usage }
    }
}

macro_rules! exits {
    ($($error:ty => $exit:expr),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure { message: with_causes(&error), exit: $exit }
            }
        })*
    };
}

exits! {
    crate::api::guard::RulesError => Exit::Usage,
    crate::api::server::ListenError => Exit::Failed,
    crate::batch::journal::JournalError => Exit::Failed,
    crate::contract::ContractError => Exit::Usage,
    crate::engine::compute::ComputeError => Exit::Usage,
    crate::eval::data::DataError => Exit::Failed,
    crate::eval::suite::SuiteError => Exit::Failed,
    crate::model_ref::ModelRefError => Exit::Usage,
    crate::registry::RegistryError => Exit::Failed,
    crate::sampling::ParameterError => Exit::Usage,
    crate::source::SourceError => Exit::Usage,
    crate::store::StoreError => Exit::Failed,
    crate::transfer::ServerError => Exit::Usage,
    crate::transfer::PushError => Exit::Failed,
    crate::transfer::TransferError => Exit::Failed,
}

impl From<crate::engine::EngineError> for Failure {
    fn from(error: crate::engine::EngineError) -> Failure {
        let is_grammar = matches!(error, crate::engine::EngineError::Grammar { .. });
        Failure { message: with_causes(&error), exit: if is_grammar { Exit::Usage } else { Exit::Failed } }
    }
}

impl From<crate::load_spec::LoadSpecError> for Failure {
    fn from(error: crate::load_spec::LoadSpecError) -> Failure {
        let is_format = matches!(
            error,
            crate::load_spec::LoadSpecError::Format { .. } | crate::load_spec::LoadSpecError::FormatFile { .. }
        );
        Failure { message: with_causes(&error), exit: if is_format { Exit::Usage } else { Exit::Failed } }
    }
}

impl From<crate::infer::InferError> for Failure {
    fn from(error: crate::infer::InferError) -> Failure {
        match error {
            crate::infer::InferError::Engine(error) => error.into(),
            error => Failure { message: with_causes(&error), exit: Exit::Failed },
        }
    }
}

/// An error's message with those of its causes that it does not repeat.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    message
}
