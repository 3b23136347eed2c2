//! How a command fails: the only place that maps errors to exit codes and hints.

mod advice;

use std::process::ExitCode;

use crate::causes::with_causes;
use crate::engine::EngineError;
use crate::infer::InferError;
use crate::load_spec::LoadSpecError;

pub use advice::violation;

/// The ways in which slm ends, as a shell sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    /// A wrong command line, or a schema that is not supported.
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

/// An error message with its exit code: what was wrong, with the value, and what to do next.
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

    /// An error in its own words, and with what can be done about it.
    fn advised(error: &dyn std::error::Error, advice: Option<String>, exit: Exit) -> Failure {
        let message = with_causes(error);
        Failure { message: advice.map_or_else(|| message.clone(), |advice| format!("{message}; {advice}")), exit }
    }
}

macro_rules! exits {
    ($($error:ty => $exit:expr, $advice:expr;)*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::advised(&error, $advice(&error), $exit)
            }
        })*
    };
}

/// Whose message says all.
fn none<E>(_: &E) -> Option<String> {
    None
}

exits! {
    crate::api::guard::RulesError => Exit::Usage, none;
    crate::api::server::ListenError => Exit::Failed, none;
    crate::batch::journal::JournalError => Exit::Failed, none;
    crate::contract::ContractError => Exit::Usage, none;
    crate::engine::compute::ComputeError => Exit::Usage, advice::compute;
    crate::eval::baseline::BaselineError => Exit::Failed, none;
    crate::eval::data::DataError => Exit::Failed, none;
    crate::eval::init::InitError => Exit::Failed, none;
    crate::eval::suite::SuiteError => Exit::Failed, none;
    crate::model_ref::ModelRefError => Exit::Usage, none;
    crate::registry::RegistryError => Exit::Failed, advice::registry;
    crate::sampling::ParameterError => Exit::Usage, none;
    crate::source::SourceError => Exit::Usage, none;
    crate::store::StoreError => Exit::Failed, advice::store;
    crate::transfer::ServerError => Exit::Usage, none;
    crate::transfer::PushError => Exit::Failed, advice::push;
    crate::transfer::TransferError => Exit::Failed, advice::transfer;
    crate::tune::job::JobError => Exit::Failed, none;
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        let exit = if matches!(error, EngineError::Grammar { .. }) { Exit::Usage } else { Exit::Failed };
        Failure::advised(&error, advice::engine(&error), exit)
    }
}

impl From<LoadSpecError> for Failure {
    fn from(error: LoadSpecError) -> Failure {
        let is_format = matches!(error, LoadSpecError::Format { .. } | LoadSpecError::FormatFile { .. });
        Failure::advised(&error, advice::loading(&error), if is_format { Exit::Usage } else { Exit::Failed })
    }
}

impl From<InferError> for Failure {
    fn from(error: InferError) -> Failure {
        match error {
            InferError::Engine(error) => error.into(),
            InferError::StaleFit(_) | InferError::FitState { .. } => {
                Failure::advised(&error, Some(advice::stale_fit(&error)), Exit::Failed)
            }
            error => Failure::failed(with_causes(&error)),
        }
    }
}
