//! How a model comes or goes, as it is shown: bars for people, lines of JSON for programs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::output::Output;
use super::progress::Layers;
use crate::digest::Digest;
use crate::transfer::{Direction, Event, Listener};

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

/// Events as lines of JSON in Ollama's words, for scripts; a blob's progress ten times a second at most.
#[derive(Debug, Default)]
pub struct Lines {
    direction: Direction,
    blobs: RefCell<HashMap<Digest, Line>>,
}

#[derive(Debug)]
struct Line {
    digest: Option<Digest>,
    total: u64,
    completed: u64,
    told: Instant,
}

const LINE_EVERY: Duration = Duration::from_millis(100);

impl Lines {
    #[must_use]
    pub fn of(direction: Direction) -> Lines {
        Lines { direction, ..Lines::default() }
    }

    /// A reader that has gone is told nothing more; the work goes on all the same.
    fn tell(line: &serde_json::Value) {
        let _ = Output::default().json(line);
    }

    fn status(status: &str) {
        Lines::tell(&json!({ "status": status }));
    }

    fn blob(&self, line: &mut Line) {
        line.told = Instant::now();
        let verb = match self.direction {
            Direction::Pull => "pulling",
            Direction::Push => "pushing",
        };
        let what = line.digest.map_or_else(|| "file".to_owned(), |digest| digest.short());
        let status = format!("{verb} {what}");
        Lines::tell(&match line.digest {
            Some(id) => json!({ "status": status, "digest": id, "total": line.total, "completed": line.completed }),
            None => json!({ "status": status, "total": line.total, "completed": line.completed }),
        });
    }
}

impl Listener for Lines {
    fn event(&self, event: Event<'_>) {
        let mut blobs = self.blobs.borrow_mut();
        match event {
            Event::Manifest if self.direction == Direction::Push => Lines::status("retrieving manifest"),
            Event::Manifest => Lines::status("pulling manifest"),
            Event::Blob { id, digest, total, done, .. } => {
                let new = Line { digest: digest.copied(), total, completed: done, told: Instant::now() };
                let line = blobs.entry(*id).or_insert(new);
                (line.total, line.completed) = (total, done);
                self.blob(line);
            }
            Event::Bytes { id, n_bytes } => {
                if let Some(line) = blobs.get_mut(id) {
                    line.completed += n_bytes;
                    if line.told.elapsed() >= LINE_EVERY {
                        self.blob(line);
                    }
                }
            }
            Event::At { id, done } => {
                if let Some(line) = blobs.get_mut(id) {
                    line.completed = done;
                    if line.told.elapsed() >= LINE_EVERY {
                        self.blob(line);
                    }
                }
            }
            Event::Discarded { id } => {
                if let Some(line) = blobs.get_mut(id) {
                    line.completed = 0;
                }
            }
            Event::Ready { id } => {
                if let Some(line) = blobs.get_mut(id) {
                    line.completed = line.total;
                    self.blob(line);
                }
            }
            Event::Elsewhere { .. } => {}
            Event::Retrying { reason, wait } => {
                Lines::status(&format!("retrying in {:.1} s: {reason}", wait.as_secs_f64()));
            }
            Event::Verified if self.direction == Direction::Push => Lines::status("pushing manifest"),
            Event::Verified => Lines::status("verifying sha256 digest"),
            Event::Manifested if self.direction == Direction::Push => {}
            Event::Manifested => Lines::status("writing manifest"),
            Event::Success => Lines::status("success"),
        }
    }
}
