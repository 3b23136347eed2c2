//! Ctrl-C in a session: it ends the answer in progress, and nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use crate::infer::Cancel;

/// The answer that Ctrl-C ends, where one is awaited.
#[derive(Debug, Clone, Default)]
pub struct Interrupts(Arc<Mutex<Option<Waiting>>>);

#[derive(Debug)]
struct Waiting {
    cancel: Arc<Cancel>,
    thread: Thread,
}

/// An answer that this thread waits for; Ctrl-C ends the wait while this is held.
#[derive(Debug)]
pub struct Answering {
    pub cancel: Arc<Cancel>,
    interrupts: Interrupts,
}

/// Whether there was an answer to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Answer,
    Nothing,
}

impl Interrupts {
    /// Ctrl-C was pressed.
    pub fn press(&self) -> Ended {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Waiting { cancel, thread }) => {
                cancel.cancel([thread]);
                Ended::Answer
            }
            None => Ended::Nothing,
        }
    }

    /// This thread begins to wait for an answer.
    #[must_use]
    pub fn answering(&self) -> Answering {
        let cancel = Arc::new(Cancel::default());
        self.set(Some(Waiting { cancel: Arc::clone(&cancel), thread: std::thread::current() }));
        Answering { cancel, interrupts: self.clone() }
    }

    fn set(&self, waiting: Option<Waiting>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.interrupts.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_in_progress_is_ended() {
        let interrupts = Interrupts::default();
        assert_eq!(interrupts.press(), Ended::Nothing);
        let answering = interrupts.answering();
        assert_eq!(interrupts.press(), Ended::Answer);
        assert!(crate::infer::wait(std::future::pending::<Result<(), _>>(), &answering.cancel).is_err());
        drop(answering);
        assert_eq!(interrupts.press(), Ended::Nothing);
    }
}
