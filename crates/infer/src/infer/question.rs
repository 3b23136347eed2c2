//! Typed questions about one state, each answered by itself.
//!
//! The longer of state and question comes first in a prompt, and the border that the score lane caches by lies between them:
//! many questions about a long state share the state, one long question about many short states shares the question. Which
//! comes first depends on the pair alone, never on what else is asked.

use std::sync::Arc;
use std::time::Instant;

use super::reader::Reader;
use super::ready::{Prompted, Ready};
use super::render::{skip_in_row, thinks, without_thoughts};
use super::{InferError, Scoring, Session};
use crate::decide::Question;
use slm_values::chat::{Message, Role};
use slm_values::prompt::Prompt;
use slm_values::template::{Date, Inputs, SystemRole, fold_system};

impl Session {
    /// Makes the prompt of a question about a state.
    pub(super) fn ready_question(
        &self,
        system: Option<&str>,
        state: &str,
        question: Arc<Question>,
        scoring: Scoring,
    ) -> Result<Ready, InferError> {
        let started = Instant::now();
        let prompt = self.question_prompt(system, state, &question)?;
        let request = self.scored(prompt, vec![question.group(self.lead())], scoring);
        Ok(self.with_prompt(Prompted::Score(request), Reader::Question(question), started))
    }

    fn question_prompt(&self, system: Option<&str>, state: &str, question: &Question) -> Result<Prompt, InferError> {
        let reads_contract = self.template.reads("contract");
        let words = if reads_contract { String::new() } else { question.describe() };
        let order = if reads_contract || words.len() >= state.len() { Order::QuestionFirst } else { Order::StateFirst };
        let system = system.or(self.defaults.system.as_deref()).filter(|system| !system.is_empty());
        let (system, row) = match (order, system) {
            (Order::StateFirst, system) => (system.map(str::to_owned), format!("{state}{BETWEEN}{words}")),
            (Order::QuestionFirst, Some(system)) if !words.is_empty() => {
                (Some(format!("{system}{BETWEEN}{words}")), state.to_owned())
            }
            (Order::QuestionFirst, system) => {
                (Some(system.map_or(words, str::to_owned)).filter(|text| !text.is_empty()), state.to_owned())
            }
        };
        let mut messages: Vec<Message> = system.map(|text| Message::new(Role::System, text)).into_iter().collect();
        messages.extend(self.defaults.messages.iter().cloned());
        messages.push(Message::new(Role::User, row.as_str()));
        if self.has_template() && self.system_role != SystemRole::Native {
            messages = fold_system(&messages);
        }
        let folded = messages.last().and_then(|message| message.content.strip_suffix(&row)).unwrap_or_default();
        let folded = folded.to_owned();
        let schema = question.schema();
        let mut prompt = self.completion.as_ref().unwrap_or(&self.template).render(&Inputs {
            messages: &messages,
            n_beside: 0,
            add_generation_prompt: true,
            date: Date::PINNED,
            variables: &without_thoughts(),
            tools: &[],
            contract: reads_contract.then_some(&schema),
        })?;
        match order {
            Order::QuestionFirst => skip_in_row(&mut prompt, &folded),
            Order::StateFirst => skip_in_row(&mut prompt, &format!("{folded}{state}{BETWEEN}")),
        }
        if thinks(&prompt) {
            return Err(InferError::Thinking);
        }
        Ok(prompt)
    }
}

/// What is between a state and a question in one message.
const BETWEEN: &str = "\n\n";

#[derive(Debug, Clone, Copy)]
enum Order {
    StateFirst,
    QuestionFirst,
}
