//! Open text that must keep limits: checked when it is finished, and asked for once more where that is wanted.

use super::{Cancel, Generated, Generating, InferError, Session, Task};
use crate::chat::{Message, Role};
use crate::engine::{EngineError, Finish};
use crate::limits::{Breach, Limits, sentence};

/// What becomes of an answer that breaks a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    #[default]
    Never,
    /// The model gets its answer back with what is wrong about it, and answers again.
    Once,
}

/// A finished answer with what it breaks.
#[derive(Debug, Clone)]
pub struct Limited {
    pub text: String,
    pub generated: Generated,
    /// Empty where the answer keeps every limit.
    pub breaches: Vec<Breach>,
    /// Whether this is a second answer.
    pub retried: bool,
}

impl Session {
    /// Waits for the answer to a text and checks it against the task's limits; may ask once more.
    ///
    /// # Errors
    /// As [`Generating::finish`]. A second question that does not fit is none: the first answer stands.
    pub fn finish_limited(
        &self,
        generating: Generating,
        task: &Task,
        text: &str,
        cancel: &Cancel,
    ) -> Result<Limited, InferError> {
        let started = generating.started;
        let first = checked(generating, &task.limits, cancel)?;
        if first.breaches.is_empty() || task.retry == Retry::Never {
            return Ok(first);
        }
        let complaint =
            format!("This is not what was asked for: {}. Answer again, within this.", sentence(&first.breaches));
        let turns = [Message::new(Role::Assistant, first.text.trim()), Message::new(Role::User, complaint)];
        let second = self.start_following(task, text, &turns).and_then(|second| checked(second, &task.limits, cancel));
        match second {
            Ok(mut second) => {
                second.retried = true;
                second.generated.elapsed = started.elapsed();
                Ok(second)
            }
            Err(InferError::Engine(EngineError::Context { .. })) => Ok(first),
            Err(error) => Err(error),
        }
    }
}

fn checked(generating: Generating, limits: &Limits, cancel: &Cancel) -> Result<Limited, InferError> {
    let (text, generated) = generating.whole(cancel)?;
    let breaches = match generated.generation.finish {
        _ if limits.is_empty() => Vec::new(),
        Finish::Length => vec![Breach::Unfinished { n_tokens: generated.generation.counts.generated }],
        Finish::Stop => limits.check(&text),
    };
    Ok(Limited { text, generated, breaches, retried: false })
}
