//! What a person at a command line can do about an error: the one place that knows which flag changes what.

use crate::contract::Violation;
use crate::engine::EngineError;
use crate::engine::compute::ComputeError;
use crate::engine::memory::{Saving, Shortage};
use crate::infer::{InferError, StaleFit};
use crate::load_spec::LoadSpecError;
use crate::registry::{Forbidden, RegistryError};
use crate::store::{StoreError, Unknown};
use crate::transfer::{PushError, TransferError};

pub(super) fn engine(error: &EngineError) -> Option<String> {
    match error {
        EngineError::Context { .. } => Some("raise --num-ctx or shorten it with --truncate".to_owned()),
        EngineError::TextTooLong { limit, n_ctx_train, .. } => {
            let raise = if limit < n_ctx_train { "raise --num-ctx or " } else { "" };
            Some(format!("{raise}shorten it with --truncate"))
        }
        EngineError::Compute(error) => compute(error),
        EngineError::Memory(shortage) => Some(memory(shortage)),
        _ => None,
    }
}

pub(super) fn compute(error: &ComputeError) -> Option<String> {
    let advice = match error {
        ComputeError::UbatchAboveBatch { .. } => "raise --num-batch or lower --num-ubatch",
        ComputeError::NoSuchGpu { .. } => "choose another with --main-gpu",
        ComputeError::LayersWithoutDevice { .. } => "remove --num-gpu or --device",
        ComputeError::QuantizedWithoutFlashAttention(_)
        | ComputeError::NoSuchDevice { .. }
        | ComputeError::NoSuchKvType(_)
        | ComputeError::NoSuchFlashAttention(_)
        | ComputeError::NoSuchKernels(_) => return None,
    };
    Some(advice.to_owned())
}

/// What to do about a fit that does not hold.
pub(super) fn stale_fit(error: &InferError) -> String {
    let first = match error {
        InferError::StaleFit(StaleFit::Computation { .. }) => "check it on labelled rows with `slm fit --check`",
        _ => "fit the model again with `slm fit`",
    };
    format!("{first}, or use the model's own probabilities with --no-fit")
}

fn memory(shortage: &Shortage) -> String {
    let way = |saving: Saving| match saving {
        Saving::FewerTokens => "lower --num-ctx",
        Saving::SmallerCells => "use --kv-type q8_0",
        Saving::FewerAtOnce => "lower --num-ubatch",
        Saving::SmallerWeights => "use a smaller quantization",
    };
    let ways: Vec<&str> = shortage.savings().into_iter().map(way).collect();
    if ways.is_empty() { "make room".to_owned() } else { ways.join(", or ") }
}

pub(super) fn loading(error: &LoadSpecError) -> Option<String> {
    if let LoadSpecError::Store(error) = error { store(error) } else { None }
}

pub(super) fn store(error: &StoreError) -> Option<String> {
    match error {
        StoreError::NotFound(unknown) if unknown.existing.is_empty() => {
            Some("make one with `slm create NAME -f Modelfile`".to_owned())
        }
        StoreError::NotFound(unknown) if unknown.existing.len() > Unknown::MAX_SHOWN => {
            Some("see `slm list`".to_owned())
        }
        _ => None,
    }
}

pub(super) fn registry(error: &RegistryError) -> Option<String> {
    let insecure = |host: &str| format!("if you trust the network, use `--insecure {host}`");
    match error {
        RegistryError::Plain { host } => Some(insecure(host)),
        RegistryError::Forbidden { to, why, .. } => match why {
            Forbidden::NotPublic | Forbidden::ForeignRealm => {
                Some(format!("if you trust that host, use `--allow-host {to}`"))
            }
            Forbidden::NoTls => Some(insecure(to)),
            Forbidden::NotWeb => None,
        },
        RegistryError::Expired { source, .. } => registry(source),
        _ => None,
    }
}

pub(super) fn transfer(error: &TransferError) -> Option<String> {
    match error {
        TransferError::Registry { source, .. } | TransferError::Broken { source, .. } => registry(source),
        TransferError::Store { source, .. } => store(source),
        TransferError::NoName { .. } => Some("choose one with `--as NAME`".to_owned()),
        TransferError::Manifest { .. } | TransferError::NoModel { .. } => None,
    }
}

pub(super) fn push(error: &PushError) -> Option<String> {
    match error {
        PushError::Registry { source, .. } | PushError::Broken { source, .. } => registry(source),
        PushError::Store(source) => store(source),
        PushError::Damaged { .. } | PushError::Unreadable { .. } | PushError::Pinned { .. } => None,
    }
}

/// How an answer breaks its contract, and what can be done about it.
#[must_use]
pub fn violation(violation: &Violation) -> String {
    match violation {
        Violation::Length => format!("{violation}; raise --num-predict or --num-ctx"),
        Violation::NotJson(_) | Violation::Schema { .. } | Violation::Regex => violation.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn advice_names_the_flags_that_help() {
        let told = |error: EngineError| Failure::from(error).message;
        assert_eq!(
            told(EngineError::Context { needed: 9000, n_ctx: 8192 }),
            "the prompt is too long: 9000 tokens are needed, the context has 8192; raise --num-ctx or shorten it with --truncate"
        );
        let long = |limit| told(EngineError::TextTooLong { n_tokens: 2000, limit, n_ctx_train: 1024 });
        let text =
            |limit| format!("the text has 2000 tokens with the model's start and end tokens, and at most {limit} fit");
        assert_eq!(long(600), format!("{}; raise --num-ctx or shorten it with --truncate", text(600)));
        // No context is longer than what the model was trained for.
        assert_eq!(long(1024), format!("{}; shorten it with --truncate", text(1024)));
        let plain = RegistryError::Plain { host: "a:5000".to_owned() };
        assert_eq!(
            Failure::from(TransferError::Registry { name: "x".to_owned(), source: plain }).message,
            "cannot pull `x`: `a:5000` would be contacted without TLS; if you trust the network, use `--insecure a:5000`"
        );
    }
}
