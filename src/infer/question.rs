//! Typed questions about one state, each answered by itself.
//!
//! The longer of state and question comes first in a prompt, and the border that the score lane caches by lies between them:
//! many questions about a long state share the state, one long question about many short states shares the question. Which
//! comes first depends on the pair alone, never on what else is asked.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;

use super::{InferError, Session, Task, digest, skip_in_row};
use crate::chat::{Message, Role};
use crate::decide::{FieldAnswer, Question};
use crate::engine::{Counts, EngineError, Event, Request, ScoreRequest, Timings};
use crate::prompt::Prompt;
use crate::template::{Date, Inputs, SystemRole, fold_system};

/// A question on its way. Dropping it cancels it.
#[derive(Debug)]
pub struct Asked {
    question: Arc<Question>,
    events: UnboundedReceiver<Event>,
    prompt_digest: String,
}

/// The answer to a question, with what it took.
#[derive(Debug, Clone)]
pub struct Answered {
    pub answer: FieldAnswer,
    pub counts: Counts,
    pub timings: Timings,
    pub prompt_digest: String,
}

impl Asked {
    /// Waits for the scores and makes the answer of them.
    ///
    /// # Errors
    /// See [`InferError`].
    pub async fn finish(mut self) -> Result<Answered, InferError> {
        let scores = match self.events.recv().await {
            Some(Event::Scored(scores)) => scores,
            Some(Event::Failed(error)) => return Err(error.into()),
            _ => return Err(EngineError::Stopped.into()),
        };
        let answer = self.question.answer(scores.groups.first().map(Vec::as_slice).unwrap_or_default());
        let prompt_digest = self.prompt_digest;
        Ok(Answered { answer, counts: scores.counts, timings: scores.timings, prompt_digest })
    }
}

impl Session {
    /// Sends a question about a state and returns at once.
    ///
    /// # Errors
    /// The prompt cannot be made.
    pub fn ask(
        &self,
        task: &Task,
        system: Option<&str>,
        state: &str,
        question: Arc<Question>,
    ) -> Result<Asked, InferError> {
        let prompt = self.question_prompt(system, state, &question)?;
        let prompt_digest = digest(&prompt);
        let (adapters, turn_end, lane) = (self.adapters(task).clone(), self.turn_end.clone(), task.lane);
        let request = ScoreRequest { prompt, groups: vec![question.group()], adapters, turn_end, lane };
        let events = self.engine.send(Request::Score(request));
        Ok(Asked { question, events, prompt_digest })
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
        if self.has_template && self.system_role != SystemRole::Native {
            messages = fold_system(&messages);
        }
        let folded = messages.last().and_then(|message| message.content.strip_suffix(&row)).unwrap_or_default();
        let folded = folded.to_owned();
        let schema = question.schema();
        let mut prompt = self.template.render(&Inputs {
            messages: &messages,
            add_generation_prompt: true,
            date: Date::PINNED,
            variables: &super::variables(true),
            tools: &[],
            contract: reads_contract.then_some(&schema),
        })?;
        match order {
            Order::QuestionFirst => skip_in_row(&mut prompt, &folded),
            Order::StateFirst => skip_in_row(&mut prompt, &format!("{folded}{state}{BETWEEN}")),
        }
        if super::thinks(&prompt) {
            return Err(InferError::Thinking);
        }
        Ok(prompt)
    }
}

/// What stands between a state and a question in one message.
const BETWEEN: &str = "\n\n";

#[derive(Debug, Clone, Copy)]
enum Order {
    StateFirst,
    QuestionFirst,
}
