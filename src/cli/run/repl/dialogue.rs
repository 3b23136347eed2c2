//! The conversation and settings of a session, as plain values: the next turn, and the model that it can be saved as.

use super::command::Switch;
use crate::chat::{Message, Role};
use crate::contract::Form;
use crate::infer::Turn;
use crate::model_ref::ModelRef;
use crate::modelfile::{BaseSource, Format, Modelfile};
use crate::sampling::{ParameterError, Parameters};
use crate::store::Model;

/// A session's settings and its conversation.
#[derive(Debug, Clone, Default)]
pub struct Dialogue {
    /// What holds for every turn; its conversation has no messages.
    template: Turn,
    /// The form that the model's Modelfile gives every answer.
    own_form: Form,
    /// The form that was asked for here, in its place.
    form: Option<Form>,
    /// Replaces the Modelfile's.
    system: Option<String>,
    parameters: Parameters,
    think: Option<bool>,
    turns: Vec<Message>,
}

/// What a session begins with, beside the template of its turns.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub own_form: Form,
    pub form: Option<Form>,
    pub system: Option<String>,
    pub parameters: Parameters,
}

/// Why a session cannot be saved as a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    #[error(
        "a grammar or a regular expression cannot be saved in a model; set a schema or `none` with `/set format`, then save again"
    )]
    Grammar,
    #[error(
        "a model made from `{base}` inherits its FORMAT, so the format `none` cannot be saved; set another with `/set format`"
    )]
    OwnFormat { base: ModelRef },
}

impl Dialogue {
    /// A new session; `template` has the settings of every turn.
    #[must_use]
    pub fn new(template: Turn, settings: Settings) -> Dialogue {
        let Settings { own_form, form, system, parameters } = settings;
        Dialogue { template, own_form, form, system, parameters, think: None, turns: Vec::new() }
    }

    /// The form of the answers.
    #[must_use]
    pub fn form(&self) -> &Form {
        self.form.as_ref().unwrap_or(&self.own_form)
    }

    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    #[must_use]
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// Turns of a person's so far.
    #[must_use]
    pub fn n_turns(&self) -> usize {
        self.turns.iter().filter(|message| message.role == Role::User).count()
    }

    /// The turn that asks a text: after the conversation so far, or alone if the format is closed.
    #[must_use]
    pub fn turn(&self, text: &str) -> Turn {
        let mut turn = self.template.clone();
        turn.form = self.form().clone();
        turn.parameters = self.parameters.clone();
        let earlier = if self.is_closed() { &[][..] } else { &self.turns };
        if let Some(chat) = turn.chat_mut() {
            chat.think = self.think;
            chat.messages.extend(self.system.as_deref().map(|system| Message::new(Role::System, system)));
            chat.messages.extend_from_slice(earlier);
            chat.messages.push(Message::new(Role::User, text));
        }
        turn
    }

    /// Keeps what was said.
    pub fn remember(&mut self, text: &str, answer: &str) {
        self.turns.push(Message::new(Role::User, text));
        self.turns.push(Message::new(Role::Assistant, answer));
    }

    /// Clears the conversation; the settings stay.
    pub fn forget(&mut self) {
        self.turns.clear();
    }

    pub fn set_system(&mut self, system: String) {
        self.system = Some(system);
    }

    pub fn set_form(&mut self, form: Form) {
        self.form = Some(form);
    }

    pub fn set_think(&mut self, switch: Switch) {
        self.think = Some(switch == Switch::On);
    }

    /// Sets a parameter in place of what it was.
    ///
    /// # Errors
    /// The name is unknown, or a value is of the wrong type or range; nothing is changed then.
    pub fn set_parameter(&mut self, name: &str, values: &[String]) -> Result<(), ParameterError> {
        let mut said = Parameters::default();
        values.iter().try_for_each(|value| said.set(name, value))?;
        self.parameters = said.over(std::mem::take(&mut self.parameters));
        Ok(())
    }

    pub fn set_parameters(&mut self, parameters: Parameters) {
        self.parameters = parameters;
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.form(), Form::Closed(_))
    }

    /// The session as a Modelfile on its model. What was said is among its messages, unless each text is answered on its own.
    ///
    /// # Errors
    /// See [`SaveError`].
    pub fn modelfile(&self, model: &Model) -> Result<Modelfile, SaveError> {
        let spoken = !self.turns.is_empty() && !self.is_closed();
        let messages = if spoken { [model.messages.as_slice(), &self.turns].concat() } else { Vec::new() };
        Ok(Modelfile {
            system: self.system.clone(),
            parameters: self.parameters.clone(),
            format: self.format(&model.name)?,
            messages,
            ..Modelfile::new(BaseSource::Name(model.name.clone().into()))
        })
    }

    fn format(&self, base: &ModelRef) -> Result<Option<Format>, SaveError> {
        match (&self.form, &self.own_form) {
            (None, _) | (Some(Form::Free), Form::Free) => Ok(None),
            (Some(Form::Free), _) => Err(SaveError::OwnFormat { base: base.clone() }),
            (Some(form), _) => {
                form.schema().cloned().map(|schema| Some(Format::Schema(schema))).ok_or(SaveError::Grammar)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Contract, Open};
    use std::sync::Arc;

    fn closed() -> Form {
        Form::Closed(Arc::new(Contract::choices("a,b").unwrap()))
    }

    fn roles(turn: &Turn) -> Vec<(&str, &str)> {
        let messages = &turn.chat().unwrap().messages;
        messages.iter().map(|message| (message.role.as_str(), message.content.as_str())).collect()
    }

    #[test]
    fn a_conversation_keeps_what_was_said_until_it_is_forgotten() {
        let mut dialogue = Dialogue::default();
        dialogue.remember("one", "1");
        dialogue.set_system("Count.".to_owned());
        let all = [("system", "Count."), ("user", "one"), ("assistant", "1"), ("user", "two")];
        assert_eq!(roles(&dialogue.turn("two")), all);
        assert_eq!(dialogue.n_turns(), 1);
        dialogue.forget();
        assert_eq!(roles(&dialogue.turn("two")), [("system", "Count."), ("user", "two")]);
    }

    #[test]
    fn a_text_with_a_closed_format_is_asked_on_its_own() {
        let mut dialogue = Dialogue::default();
        dialogue.remember("one", "1");
        dialogue.set_form(closed());
        assert_eq!(roles(&dialogue.turn("two")), [("user", "two")]);
        dialogue.set_form(Form::Free);
        assert_eq!(dialogue.turn("two").chat().unwrap().messages.len(), 3);
    }

    #[test]
    fn a_parameter_takes_the_place_of_its_old_value_and_a_wrong_one_changes_nothing() {
        let mut dialogue = Dialogue::default();
        dialogue.set_parameter("stop", &["a".to_owned(), "b".to_owned()]).unwrap();
        dialogue.set_parameter("stop", &["c".to_owned()]).unwrap();
        dialogue.set_parameter("seed", &["7".to_owned()]).unwrap();
        assert!(dialogue.set_parameter("seed", &["x".to_owned()]).is_err());
        assert!(dialogue.set_parameter("sed", &["1".to_owned()]).is_err());
        let parameters = &dialogue.turn("x").parameters;
        assert_eq!((parameters.seed, parameters.stop.clone()), (Some(7), Some(vec!["c".to_owned()])));
    }

    #[test]
    fn what_a_model_cannot_keep_is_not_saved() {
        let base: ModelRef = "triage".parse().unwrap();
        let format = |own_form: Form, form: Option<Form>| {
            Dialogue::new(Turn::default(), Settings { own_form, form, ..Settings::default() }).format(&base)
        };
        assert_eq!(format(Form::Free, Some(Form::Free)), Ok(None));
        assert_eq!(format(closed(), None), Ok(None));
        let schema = closed().schema().unwrap().clone();
        assert_eq!(format(Form::Free, Some(closed())), Ok(Some(Format::Schema(schema))));
        assert_eq!(format(closed(), Some(Form::Free)), Err(SaveError::OwnFormat { base: base.clone() }));
        let regex = Form::Open(Open::regex("a+").unwrap());
        assert_eq!(format(Form::Free, Some(regex)), Err(SaveError::Grammar));
    }
}
