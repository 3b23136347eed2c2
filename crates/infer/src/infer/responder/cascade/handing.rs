//! What a tier of a cascade is asked: with its instructions, with what it is told of the answers before it, and masked where it leaves
//! the machine.

use serde_json::Value;

use super::CascadeModel;
use crate::decide::{Answer, FieldAnswer};
use crate::infer::ask::{Ask, Chat};
use crate::infer::pieces::{Finding, Finished};
use slm_cascade::{Draft, Reason};
use slm_values::chat::{Message, Role};

/// What a tier is asked: with its instructions, with what it is told of the last answer, and masked where it leaves the machine.
pub fn handed(ask: &Ask, model: &CascadeModel, nth: usize, draft: Option<&Draft>) -> Result<Ask, Reason> {
    let (cascade, tier) = (&model.cascade, &model.cascade.tiers[nth]);
    let shown = |text: &str| if tier.is_remote() { cascade.privacy.shown(text) } else { Ok(text.to_owned()) };
    let masked = |text: String| if tier.is_remote() { cascade.privacy.masked(&text) } else { text };
    let asked = |text: &str| Ok(masked(tier.given.added(&shown(text)?, draft)));
    let system = || tier.system.as_ref().or(model.defaults.system.as_ref());
    match ask {
        Ask::Turn(turn) => {
            let mut turn = turn.clone();
            turn.parameters = turn.parameters.over(model.defaults.parameters.clone());
            if let Some(chat) = turn.chat_mut() {
                let last = chat.messages.iter().rposition(|message| message.role == Role::User);
                for (number, message) in chat.messages.iter_mut().enumerate() {
                    message.content = match message.role {
                        Role::User if Some(number) == last => asked(&message.content)?,
                        Role::User => shown(&message.content)?,
                        Role::Assistant | Role::Tool => masked(std::mem::take(&mut message.content)),
                        Role::System => continue,
                    };
                }
                led(chat, system(), &model.defaults.messages);
            }
            Ok(Ask::Turn(turn))
        }
        Ask::Question { system: own, state, question, scoring } => Ok(Ask::Question {
            system: own.clone().or_else(|| system().cloned()),
            state: asked(state)?,
            question: question.clone(),
            scoring: *scoring,
        }),
        other => Ok(other.clone()),
    }
}

/// Puts instructions before a conversation that has none, and examples after them.
fn led(chat: &mut Chat, system: Option<&String>, examples: &[Message]) {
    let has_own = chat.messages.first().is_some_and(|message| message.role == Role::System);
    if let Some(system) = system.filter(|_| !has_own) {
        chat.messages.insert(0, Message::new(Role::System, system.as_str()));
    }
    let behind = usize::from(chat.messages.first().is_some_and(|message| message.role == Role::System));
    chat.messages.splice(behind..behind, examples.iter().cloned());
}

/// What a tier answered, the best guess where it withholds it.
pub fn value(finished: &Finished) -> Option<Value> {
    match &finished.end.finding {
        Finding::Closed(Answer { fields, json }) => match fields.as_slice() {
            [FieldAnswer { name: None, value, .. }] => Some(value.clone()),
            _ => Some(json.clone()),
        },
        Finding::Open(Ok(value)) => Some(value.clone()),
        Finding::Free => Some(finished.text.as_str().into()),
        Finding::Open(Err(_)) | Finding::Vectors(_) => None,
    }
}

/// What may be handed on of an answer.
pub fn draft(finished: &Finished) -> Draft {
    let ranked = |field: &FieldAnswer| {
        let mut of = field.probabilities.clone();
        of.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        (field.name.clone(), of)
    };
    let probabilities = finished.end.closed_fields().iter().map(ranked).collect();
    let value = value(finished).filter(|_| !matches!(finished.end.finding, Finding::Free));
    Draft::new(value, &finished.text, probabilities)
}
