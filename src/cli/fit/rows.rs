//! The rows that a fit learns from or is checked with: what data says, what the model says of it, field by field.

use std::path::Path;

use super::args::FitArgs;
use super::field::FieldRows;
use super::prepared::{Prepared, with_weights};
use super::source::Source;
use crate::cli::environment::Environment;
use crate::engine::{EngineError, StateAt};
use crate::failure::Failure;
use crate::infer::{Cancel, FitUse, InferError, Turn, wait};
use crate::ui::output::say;

/// Rows with what the model says of them.
pub struct Gathered {
    pub source: Source,
    pub fields: Vec<FieldRows>,
    /// Whether hidden states were told.
    pub has_states: bool,
    /// Rows of the data, and those that have no answer to learn from.
    pub n_rows: usize,
    pub n_failed: usize,
}

/// Reads the data, asks the model about every row that is not known, and puts the answers beside the labels.
///
/// # Errors
/// The data or the model cannot be used, or nothing can be learned from them.
pub fn gather(args: &FitArgs, data: &Path, environment: &Environment) -> Result<Gathered, Failure> {
    let model = with_weights(&args.model, environment)?;
    let prepared = Prepared::new(args, data, &model, environment)?;
    let source = Source::open(prepared, environment)?;
    if let Some(depth) = args.depth {
        depth.parts(source.session.engine().info().n_layers)?;
    }
    let state = if args.asking.no_state { None } else { told_state(&source)? };
    let fields = source.fields(state, environment)?;
    let n_rows = source.n_rows();
    let n_failed = n_rows - fields.first().map_or(0, |field| field.rows.len());
    Ok(Gathered { source, fields, has_states: state.is_some(), n_rows, n_failed })
}

/// Which state the model tells; `None` where it cannot, which is said.
fn told_state(Source { prepared, session, .. }: &Source) -> Result<Option<StateAt>, Failure> {
    let Prepared { subject, .. } = prepared;
    let state = Some(StateAt::default());
    let turn = Turn { fit: FitUse::None, state, ..subject.turn(&subject.form, prepared.first_text()) };
    match session.ask(turn).and_then(|reply| wait(reply.whole(), &Cancel::default())) {
        Ok(finished) => Ok(finished.end.state.and(state)),
        Err(InferError::Engine(error @ EngineError::NoState(_))) => {
            say(format_args!("hidden states are left out: {error}"));
            Ok(None)
        }
        // A text that is too long says nothing of the others.
        Err(InferError::Engine(EngineError::Context { .. } | EngineError::TextTooLong { .. })) => Ok(state),
        Err(error) => Err(error.into()),
    }
}
