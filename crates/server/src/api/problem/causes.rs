//! Errors of lower rooms as problems: the only place that classifies them.

use std::time::Duration;

use super::{Advice, Kind, Part, Problem};
use crate::api::admission::Refused;
use crate::residents::Refusal;
use slm_engine::EngineError;
use slm_engine::compute::ComputeError;
use slm_engine::memory::Saving;
use slm_infer::infer::InferError;
use slm_infer::load_spec::{CheckError, LoadSpecError};
use slm_remote::RemoteError;
use slm_store::registry::{Forbidden, RegistryError};
use slm_store::store::StoreError;
use slm_store::transfer::{PushError, ServerError, TransferError};
use slm_values::causes::with_causes;
use slm_values::contract::ContractError;
use slm_values::model_ref::ModelRefError;
use slm_values::source::SourceError;
use slm_values::tools::ToolError;

impl From<InferError> for Problem {
    fn from(error: InferError) -> Problem {
        let problem = |error: &InferError| Problem::invalid(error.to_string());
        match error {
            InferError::Engine(error) => error.into(),
            InferError::Tools(error) => error.into(),
            InferError::Think(_) => problem(&error).of_part(Part::Think).or(Advice::LeaveAway(Part::Think)),
            InferError::ThinkingAndForm => {
                let problem = problem(&error).of_part(Part::Think).or(Advice::LeaveAway(Part::Think));
                problem.or(Advice::LeaveAway(Part::Form))
            }
            InferError::NoInfill => problem(&error).of_part(Part::Suffix).or(Advice::LeaveAway(Part::Suffix)),
            InferError::ToolsAndForm => {
                let problem = problem(&error).of_part(Part::Tools).or(Advice::LeaveAway(Part::Tools));
                problem.or(Advice::LeaveAway(Part::Form))
            }
            InferError::BiasAndClosed => {
                let problem = Problem::new(Kind::Unsupported, error.to_string()).of_part(Part::Bias);
                problem.or(Advice::LeaveAway(Part::Bias))
            }
            InferError::StaleFit(_) | InferError::FitState { .. } => {
                problem(&error).of_part(Part::Fit).or(Advice::TurnOff(Part::Fit))
            }
            InferError::Template(_) | InferError::Thinking => problem(&error),
            InferError::NoVector => Problem::new(Kind::Failed, error.to_string()),
            InferError::Elsewhere { .. } => Problem::new(Kind::Unsupported, error.to_string()),
            InferError::Remote(unanswered) => unanswered.error.into(),
            InferError::Exhausted { .. } | InferError::Waits | InferError::NotInBatch(_) => {
                Problem::new(Kind::Upstream, error.to_string())
            }
        }
    }
}

impl From<RemoteError> for Problem {
    fn from(error: RemoteError) -> Problem {
        let kind = match &error {
            RemoteError::Key(_) | RemoteError::Setup { .. } => {
                tracing::warn!("a remote cannot be asked: {error}");
                return Problem::new(
                    Kind::Failed,
                    "the remote has no key or cannot be connected to; see the server's log",
                );
            }
            RemoteError::Unaskable { .. } => Kind::Unsupported,
            RemoteError::RateLimited { retry_after, .. } => {
                Kind::Busy { retry_after: retry_after.unwrap_or(Duration::from_secs(1)) }
            }
            RemoteError::Open { again_in, .. } => Kind::Busy { retry_after: *again_in },
            RemoteError::TimedOut { .. } => Kind::TimedOut,
            _ => Kind::Upstream,
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Problem {
        let problem = |kind| Problem::new(kind, error.to_string());
        match &error {
            EngineError::Context { .. } => {
                problem(Kind::TooLong).or(Advice::ShortenPrompt).or(Advice::Raise(Part::Context))
            }
            EngineError::TextTooLong { limit, n_ctx_train, .. } => {
                let problem = problem(Kind::TooLong).or(Advice::ShortenText);
                if limit < n_ctx_train { problem.or(Advice::Raise(Part::Context)) } else { problem }
            }
            EngineError::Compute(error) => error.into(),
            EngineError::Memory(shortage) => {
                shortage.savings().into_iter().fold(problem(Kind::Failed), |problem, saving| {
                    problem.or(match saving {
                        Saving::FewerTokens => Advice::Lower(Part::Context),
                        Saving::SmallerCells => Advice::SmallerCells,
                        Saving::FewerAtOnce => Advice::FewerAtOnce,
                        Saving::SmallerWeights => Advice::SmallerModel,
                    })
                })
            }
            EngineError::SameTokens(..)
            | EngineError::NoSuchToken(_)
            | EngineError::TokenOutOfRange { .. }
            | EngineError::Bias { .. }
            | EngineError::NoTurnEnd
            | EngineError::NoBranches
            | EngineError::NoState(_)
            | EngineError::Layers { .. }
            | EngineError::NoText(_)
            | EngineError::EmptyText
            | EngineError::EmptyPrompt
            | EngineError::Adapter { .. }
            | EngineError::Grammar { .. } => problem(Kind::Invalid),
            EngineError::Load { .. }
            | EngineError::VocabularyOnly
            | EngineError::Decode { .. }
            | EngineError::Crashed { .. }
            | EngineError::Disconnected { .. }
            | EngineError::Unsendable { .. }
            | EngineError::Cancelled
            | EngineError::Stopped => problem(Kind::Failed),
        }
    }
}

impl From<&ComputeError> for Problem {
    fn from(error: &ComputeError) -> Problem {
        let problem = Problem::invalid(error.to_string());
        match error {
            ComputeError::UbatchAboveBatch { .. } => problem.of_part(Part::Batch).or(Advice::Raise(Part::Batch)),
            ComputeError::NoSuchGpu { .. } => problem.of_part(Part::MainGpu).or(Advice::LeaveAway(Part::MainGpu)),
            ComputeError::LayersWithoutDevice { .. } => {
                problem.of_part(Part::GpuLayers).or(Advice::LeaveAway(Part::GpuLayers))
            }
            ComputeError::QuantizedWithoutFlashAttention(_)
            | ComputeError::NoSuchDevice { .. }
            | ComputeError::NoSuchKvType(_)
            | ComputeError::NoSuchFlashAttention(_)
            | ComputeError::NoSuchKernels(_) => problem,
        }
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
            Refusal::TooLarge(_) => {
                let problem = Problem::new(Kind::Failed, refusal.to_string());
                problem.or(Advice::Lower(Part::Context)).or(Advice::SmallerModel)
            }
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
            StoreError::Spelling { .. } => Problem::invalid(error.to_string()).of("model"),
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
            | StoreError::Schema { .. }
            | StoreError::NoWeights(_)
            | StoreError::Examples { .. }
            | StoreError::NoEmbedder { .. }
            | StoreError::Context { .. } => Problem::invalid(error.to_string()),
            StoreError::Io { .. }
            | StoreError::DiskFull { .. }
            | StoreError::Changed(_)
            | StoreError::Manifest { .. }
            | StoreError::Layers { .. }
            | StoreError::Blob { .. }
            | StoreError::Fit { .. }
            | StoreError::FitLayers { .. }
            | StoreError::EmbeddedModelfile(_) => Problem::new(Kind::Failed, error.to_string()),
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
        let problem = Problem::invalid(error.to_string());
        match error {
            CheckError::Format(_) => problem.of_part(Part::Form),
            CheckError::Template(_) => problem.of_part(Part::Template),
            CheckError::Message { number, .. } => problem.of(format!("messages[{number}]")),
        }
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
    let problem = Problem::new(kind, message);
    match source {
        RegistryError::Plain { .. } | RegistryError::Forbidden { why: Forbidden::NoTls, .. } => {
            problem.or(Advice::TrustLine)
        }
        RegistryError::Forbidden { to, why: Forbidden::NotPublic | Forbidden::ForeignRealm, .. } => {
            problem.or(Advice::TrustHost(to.clone()))
        }
        _ => problem,
    }
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
