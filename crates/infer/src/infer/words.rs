//! The words part of a fit alone: it answers from the words of a text, with probabilities, and no language model is loaded.

use std::sync::Arc;
use std::time::Instant;

use super::ask::{Ask, Turn};
use super::closed::{self, Spelling};
use super::fit::text_alone;
use super::pieces::{End, Finding, Finished};
use super::reply::Reply;
use super::{Defaults, InferError};
use crate::decide::ModelFit;
use slm_engine::{Counts, Detail, Finish, Timings};
use slm_values::contract::{Contract, Form};
use slm_values::digest::Hasher;

/// A fit that needs no model, with the settings of the model that has it.
#[derive(Debug)]
pub struct WordsModel {
    fit: Arc<ModelFit>,
    defaults: Defaults,
}

impl WordsModel {
    /// `None` where the fit needs a model.
    #[must_use]
    pub fn new(fit: Arc<ModelFit>, defaults: Defaults) -> Option<WordsModel> {
        let defaults = Defaults { fit: Some(fit.clone()), ..defaults };
        (!fit.fit().needs_model()).then_some(WordsModel { fit, defaults })
    }

    #[must_use]
    pub fn fit(&self) -> &ModelFit {
        &self.fit
    }

    /// What the Modelfile says about every request.
    #[must_use]
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// Answers at once.
    ///
    /// # Errors
    /// It is nothing that words alone can be asked: another format, instructions of its own, or a conversation.
    pub(super) fn ask(&self, ask: Ask) -> Result<Reply, InferError> {
        let started = Instant::now();
        let Ask::Turn(turn) = ask else { return Err(not_there("answers in its own format and nothing else")) };
        let Form::Closed(contract) = &turn.form else {
            return Err(not_there("answers in its own format and nothing else"));
        };
        let finished = self.finished(&turn, contract, started)?;
        Ok(Reply::of_work(async move { Ok(finished) }))
    }

    fn finished(&self, turn: &Turn, contract: &Contract, started: Instant) -> Result<Finished, InferError> {
        let text = text_alone(turn, self.defaults.system.as_ref())?;
        let answer =
            self.fit.of_text(contract, text).ok_or(not_there("knows other labels than those that are asked for"))?;
        let spelling = Spelling { label: turn.spelling, abstained: turn.abstained.clone() };
        let tokens = match turn.detail {
            Detail::Likely { n } => closed::tokens(&answer, usize::from(n), &spelling),
            _ => Vec::new(),
        };
        let text = closed::text(&answer, &spelling);
        let end = End {
            finish: Finish::Stop,
            stopped_by: None,
            counts: Counts::default(),
            timings: Timings::default(),
            elapsed: started.elapsed(),
            finding: Finding::Closed(answer),
            fields: None,
            prompt_digest: self.prompt_digest(contract),
            // Words have the same probabilities on every machine.
            evaluation_id: Some(self.identity()),
            prompt_tokens: Vec::new(),
            state: None,
            context: Vec::new(),
            cost: None,
            path: Vec::new(),
            review: None,
        };
        Ok(Finished { text, tokens, thinking: String::new(), calls: Vec::new(), end: Box::new(end) })
    }

    /// Identifies what computes the answers: the fit alone.
    #[must_use]
    pub(super) fn identity(&self) -> String {
        self.fit.id().to_owned()
    }

    pub(super) fn prompt_digest(&self, contract: &Contract) -> String {
        let mut hash = Hasher::new();
        hash.update(self.fit.id().as_bytes());
        hash.update(
            Form::Closed(Arc::new(contract.clone()))
                .schema()
                .map(|schema| schema.to_string())
                .unwrap_or_default()
                .as_bytes(),
        );
        hash.finish().id()
    }
}

fn not_there(what: &'static str) -> InferError {
    InferError::Elsewhere { who: "fit of words", what }
}
