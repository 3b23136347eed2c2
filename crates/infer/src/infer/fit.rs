//! Whether a model's fit holds for a request: it was made for one way of asking, and with another its numbers would be wrong.

use std::sync::Arc;

use super::ask::{Before, FitUse, Turn};
use super::{InferError, Scoring, Session};
use crate::decide::{Answer, EarlyAnswer, ModelFit, Row, Wording, answer, fitted_answer};
use slm_engine::{GroupScores, Reading, Search, StateAt};
use slm_fit::{Depth, FieldFit, Pins};
use slm_values::chat::Role;
use slm_values::contract::{Contract, Form};

/// What a request has that the fit was not made for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StaleFit {
    #[error("it was made for other weights")]
    Weights,
    #[error("it was made with other adapters")]
    Adapters,
    #[error("it was made for the model's own chat template")]
    Template,
    #[error("it was made with other instructions (another system message, or none)")]
    Instructions,
    #[error("it was made for a text alone, and here other messages come before it")]
    Conversation,
    #[error("it was made for answers that nobody has begun")]
    Beginning,
    #[error("it was made for the model's own prompt, and here the request writes the prompt")]
    Given,
    #[error("it was made for another form of the answer in the prompt")]
    Wording,
    #[error("it was made for another prompt: other instructions, template, examples, or descriptions in the format")]
    Prompt,
    #[error("it was made for probabilities of choices that are searched best first, and here they are read otherwise")]
    Reading,
    #[error(
        "it was made where probabilities are computed otherwise (evaluation id `{made}`, here `{here}`: another processor, \
         number of threads, or version), and nobody has checked that it holds here"
    )]
    Computation { made: String, here: String },
}

/// A fit that holds for a request.
#[derive(Debug, Clone)]
pub(super) struct Applied {
    pub fit: Arc<ModelFit>,
    /// What the answer is about.
    pub text: String,
}

impl Applied {
    /// The hidden state that the fit reads.
    pub fn state(&self) -> Option<StateAt> {
        self.fit.fit().needs_state().then(StateAt::default)
    }

    /// The final answer that the candidates' scores give.
    ///
    /// # Errors
    /// The fit reads a hidden state that is not there, or of another length.
    pub fn answer(
        &self,
        contract: &Contract,
        scores: &[GroupScores],
        state: Option<&[f32]>,
    ) -> Result<Answer, InferError> {
        check_state(&self.fit.fit().fields, state)?;
        Ok(fitted_answer(contract, answer(contract, scores), &self.fit, Row { text: &self.text, state }))
    }

    /// The part of the layers that is asked first, where there is one.
    pub fn depth(&self) -> Option<Depth> {
        self.fit.fit().early.as_ref().map(|early| early.depth)
    }

    /// What that part answers, from the state after it.
    ///
    /// # Errors
    /// As [`Applied::answer`].
    pub fn early(&self, contract: &Contract, state: Option<&[f32]>) -> Result<EarlyAnswer, InferError> {
        check_state(self.fit.fit().early.as_ref().map_or(&[], |early| &early.fields), state)?;
        Ok(EarlyAnswer::of(contract, &self.fit, Row { text: &self.text, state }))
    }
}

/// Holds that a state is as long as these fields want it.
fn check_state(fields: &[FieldFit], state: Option<&[f32]>) -> Result<(), InferError> {
    let found = state.map(<[f32]>::len);
    match fields.iter().find_map(FieldFit::n_state) {
        Some(wanted) if found != Some(wanted) => Err(InferError::FitState { wanted, found }),
        _ => Ok(()),
    }
}

impl Session {
    /// Whether the model's fit was made for answers in this form.
    #[must_use]
    pub fn fits(&self, form: &Form) -> bool {
        matches!((form, &self.defaults.fit), (Form::Closed(contract), Some(fit)) if fit.knows(contract))
    }

    /// What a fit of the answers to this turn belongs to.
    ///
    /// # Errors
    /// As [`Session::ready`].
    pub fn pins(&self, turn: Turn) -> Result<Pins, InferError> {
        let scoring = turn.scoring;
        let ready = self.ready(Turn { fit: FitUse::None, ..turn })?;
        Ok(self.pins_of(&ready.prompt_digest(), scoring))
    }

    fn pins_of(&self, prompt_digest: &str, scoring: Scoring) -> Pins {
        Pins {
            weights: self.defaults.weights_id.clone(),
            adapters: self.defaults.adapters.evaluation_id("none"),
            prompt: prompt_digest.to_owned(),
            evaluation_id: self.evaluation_id(scoring),
            ..Pins::default()
        }
    }

    /// The fit by which a turn's answer in this contract becomes final; none where nobody wants it, or it is one for another
    /// contract.
    ///
    /// # Errors
    /// It is one for this contract, and was made for another way of asking.
    pub(super) fn fit_for(
        &self,
        turn: &Turn,
        contract: &Contract,
        prompt_digest: impl FnOnce() -> String,
    ) -> Result<Option<Applied>, StaleFit> {
        let fit = self.defaults.fit.as_ref().filter(|fit| turn.fit == FitUse::Own && fit.knows(contract));
        let Some(fit) = fit else { return Ok(None) };
        if !fit.fit().needs_model() {
            let text = text_alone(turn, self.defaults.system.as_ref())?.to_owned();
            return Ok(Some(Applied { fit: fit.clone(), text }));
        }
        let (made, here) = (&fit.fit().card.pins, self.pins_of(&prompt_digest(), turn.scoring));
        if made.weights != here.weights {
            return Err(StaleFit::Weights);
        }
        if made.adapters != here.adapters {
            return Err(StaleFit::Adapters);
        }
        if made.prompt != here.prompt {
            return Err(self.other_prompt(turn));
        }
        if !made.holds_for(&here.evaluation_id) {
            let is_usual = (turn.scoring.reading, turn.scoring.search) == (Reading::Choices, Search::BestFirst);
            let (made, here) = (made.evaluation_id.clone(), here.evaluation_id);
            return Err(if is_usual { StaleFit::Computation { made, here } } else { StaleFit::Reading });
        }
        let text = turn.before.text().unwrap_or_default().to_owned();
        Ok(Some(Applied { fit: fit.clone(), text }))
    }

    /// What makes a turn's prompt another one than the model's own, as far as the turn itself says.
    fn other_prompt(&self, turn: &Turn) -> StaleFit {
        let Before::Chat(chat) = &turn.before else { return StaleFit::Given };
        let (turns, begun) = chat.turns();
        let (system, turns) = match turns.split_first() {
            Some((first, rest)) if first.role == Role::System => (Some(&first.content), rest),
            _ => (None, turns),
        };
        match () {
            () if chat.template.is_some() => StaleFit::Template,
            () if begun.is_some_and(|begun| !begun.is_empty()) => StaleFit::Beginning,
            () if turns.len() > 1 || chat.memory.goes_on() => StaleFit::Conversation,
            () if system.is_some() && system != self.defaults.system.as_ref() => StaleFit::Instructions,
            () if self.wording(turn.scoring.wording) == Wording::CALLERS => StaleFit::Wording,
            () => StaleFit::Prompt,
        }
    }
}

/// The text of a turn that asks about it alone, as a fit of words wants it: with the model's own instructions or none.
///
/// # Errors
/// What else the turn has.
pub(super) fn text_alone<'a>(turn: &'a Turn, system: Option<&String>) -> Result<&'a str, StaleFit> {
    let Before::Chat(chat) = &turn.before else { return Err(StaleFit::Given) };
    let (turns, begun) = chat.turns();
    let (own, turns) = match turns.split_first() {
        Some((first, rest)) if first.role == Role::System => (Some(&first.content), rest),
        _ => (None, turns),
    };
    match turns {
        _ if begun.is_some_and(|begun| !begun.is_empty()) => Err(StaleFit::Beginning),
        _ if own.is_some() && own != system => Err(StaleFit::Instructions),
        [text] if text.role == Role::User && !chat.memory.goes_on() => Ok(&text.content),
        _ => Err(StaleFit::Conversation),
    }
}
