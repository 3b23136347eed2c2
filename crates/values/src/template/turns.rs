//! How a template writes turns: what ends an answer, and what becomes of a system message. Found by rendering some.

use serde_json::Map;

use super::chat_template::ChatTemplate;
use super::error::TemplateError;
use super::probe::inputs;
use super::renderer::{Inputs, PROBE, PROBE_USER};
use crate::chat::{Message, Role};
use crate::prompt::{Prompt, Run};

/// What a template does with a system message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemRole {
    /// It is written into the prompt.
    Native,
    /// The template raises an error.
    Refused,
    /// It is dropped without a word.
    Ignored,
}

impl ChatTemplate {
    /// The special token that the template writes right after an assistant's content: what ends an answer.
    #[must_use]
    pub fn turn_end(&self) -> Option<String> {
        let runs = self.probe(&self.finished()).ok()?.runs;
        let holds = |run: &Run, word: &str| matches!(run, Run::Text { text, .. } if text.contains(word));
        let at = runs.iter().rposition(|run| holds(run, PROBE))?;
        match (&runs[at], runs.get(at + 1)) {
            (Run::Text { text, .. }, Some(end @ Run::Control(token))) if text.trim_end().ends_with(PROBE) => {
                let asked = runs.iter().position(|run| holds(run, PROBE_USER))?;
                // With a question after the answer: what opened the first one opens this one and ends nothing, unless it
                // is also right after the first question.
                let next = runs[at + 1..].iter().position(|run| holds(run, PROBE_USER)).unwrap_or(0);
                let opens = next > 0 && runs[..asked].ends_with(&runs[at + 1..at + 1 + next]);
                let ends_questions = runs[asked + 1..].iter().find(|run| matches!(run, Run::Control(_))) == Some(end);
                (ends_questions || !opens).then(|| token.clone())
            }
            _ => None,
        }
    }

    /// What the template does with a system message, found by rendering one.
    #[must_use]
    pub fn system_role(&self) -> SystemRole {
        let messages = [Message::new(Role::System, PROBE), Message::new(Role::User, PROBE_USER)];
        match self.probe(&messages) {
            Ok(prompt) if prompt.text().contains(PROBE) => SystemRole::Native,
            Ok(_) => SystemRole::Ignored,
            Err(_) => SystemRole::Refused,
        }
    }

    fn probe(&self, messages: &[Message]) -> Result<Prompt, TemplateError> {
        self.render(&Inputs { add_generation_prompt: false, ..inputs(messages, &Map::new()) })
    }
}
