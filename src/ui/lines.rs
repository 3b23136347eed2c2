//! The progress of downloads and uploads: bars for people, lines of JSON for programs.

use std::cell::RefCell;

use serde_json::json;

use super::output::Output;
use super::progress::Layers;
use crate::transfer::{Direction, Event, Listener, StatusReporter};

/// Who shows how a model comes or goes.
#[derive(Debug)]
pub enum Shown {
    /// Nothing moves.
    Nobody,
    /// For a person.
    Bars(Layers),
    /// For a program.
    Lines(Lines),
}

impl Listener for Shown {
    fn event(&self, event: Event<'_>) {
        match self {
            Shown::Nobody => {}
            Shown::Bars(bars) => bars.event(event),
            Shown::Lines(lines) => lines.event(event),
        }
    }
}

/// Events as lines of JSON in Ollama's words, for scripts.
#[derive(Debug, Default)]
pub struct Lines(RefCell<StatusReporter>);

impl Lines {
    #[must_use]
    pub fn of(direction: Direction) -> Lines {
        Lines(RefCell::new(StatusReporter::of(direction)))
    }
}

impl Listener for Lines {
    fn event(&self, event: Event<'_>) {
        if let Some(told) = self.0.borrow_mut().tell(event) {
            // If the reader has closed the pipe, nothing more is written, but the work continues.
            let _ = Output::default().json(&json!(told));
        }
    }
}
