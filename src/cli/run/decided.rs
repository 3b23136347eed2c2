//! Decisions of `slm run` on their way to a log (`--decisions`), as `slm serve` writes them.

use std::time::SystemTime;

use super::RunArgs;
use crate::api::decision_log::{DecisionLine, DecisionLog, Input, new_id};
use crate::cli::decisions::say_dropped;
use crate::cli::environment::{Environment, timestamp};
use crate::contract::Form;
use crate::failure::Failure;
use crate::infer::{End, Responder};
use crate::store::Model;

/// The log, and what all decisions of a run have. Dropping it waits until all lines are written.
pub struct Decisions {
    log: DecisionLog,
    head: DecisionLine,
}

impl Decisions {
    /// Opens the log, where one is wanted and answers are chosen.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn begin(
        args: &RunArgs,
        form: &Form,
        (model, responder): (&Model, &Responder),
        environment: &Environment,
    ) -> Result<Option<Decisions>, Failure> {
        let Form::Closed(contract) = form else { return Ok(None) };
        let Some(log) = args.decisions.open(environment)? else { return Ok(None) };
        let head = DecisionLine {
            model: model.name.to_string(),
            manifest: model.digest.to_string(),
            task: DecisionLine::task_of(contract),
            ..DecisionLine::head(String::new(), responder, &model.weights_digest)
        };
        Ok(Some(Decisions { log, head }))
    }

    /// Writes a decision about a text down.
    pub fn take(&self, text: &str, end: &End) {
        if DecisionLine::is_of(end) {
            let head = DecisionLine { id: new_id(), input: Input::of(text, &self.log), ..self.head.clone() };
            self.log.record(&head.answered(end, timestamp(SystemTime::now())));
        }
    }
}

impl Drop for Decisions {
    fn drop(&mut self) {
        say_dropped(&self.log);
    }
}
