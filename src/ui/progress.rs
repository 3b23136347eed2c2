//! Progress bars on standard error, only when a person is looking at it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::harmless;
use crate::digest::Digest;
use crate::progress::Progress;
use crate::transfer::{Direction, Event, Listener};

/// Rows answered, with rate and, where the total is known, the time left.
#[derive(Debug)]
pub struct Rows(Option<ProgressBar>);

impl Rows {
    /// A bar over `total` units (rows, or bytes of input); a spinner where nobody knows the total.
    #[must_use]
    pub fn new(total: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Rows(None);
        }
        let (bar, style) = match total {
            Some(total) => (ProgressBar::new(total), "{bar:30} {percent:>3} %  {eta} left  {wide_msg}"),
            None => (ProgressBar::new_spinner(), "{spinner} {wide_msg}"),
        };
        bar.set_style(ProgressStyle::with_template(style).expect("a fixed template"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Rows(Some(bar))
    }

    /// What an earlier run has done already tells nothing about the time that is left.
    pub fn begin_at(&self, position: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(position);
            bar.reset_eta();
        }
    }

    /// `position` units are done, and `n_rows` rows of them by this run; `more` is said behind that.
    pub fn at(&self, position: u64, n_rows: u64, more: impl FnOnce() -> String) {
        if let Some(bar) = &self.0 {
            bar.set_position(position);
            let rate = n_rows as f64 / bar.elapsed().as_secs_f64().max(1e-3);
            bar.set_message(harmless(&format!("{n_rows} rows  {rate:.1}/s{}", more())));
        }
    }

    /// Runs what writes to the terminal with the bar out of the way.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Steps of different kinds, each with its name.
#[derive(Debug)]
pub struct Steps(Option<ProgressBar>);

impl Steps {
    #[must_use]
    pub fn new(n_steps: u32) -> Self {
        if !std::io::stderr().is_terminal() {
            return Steps(None);
        }
        let bar = ProgressBar::new(u64::from(n_steps));
        bar.set_style(
            ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {elapsed}").expect("a fixed template"),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        Steps(Some(bar))
    }

    /// The next step begins.
    pub fn next(&self, step: &str) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
            bar.set_message(step.to_owned());
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Bytes copied or hashed, one bar for each piece of work.
#[derive(Debug, Default)]
pub struct Bytes(RefCell<Option<ProgressBar>>);

impl Progress for Bytes {
    fn start(&self, what: &str, total_bytes: u64) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let bar = ProgressBar::new(total_bytes);
        let style = "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("a fixed template"));
        bar.set_message(what.to_owned());
        *self.0.borrow_mut() = Some(bar);
    }

    fn advance(&self, n_bytes: u64) {
        if let Some(bar) = &*self.0.borrow() {
            bar.inc(n_bytes);
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.0.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}

/// A bar for each blob that comes or goes, what was there before shown as there.
#[derive(Debug, Default)]
pub struct Layers {
    direction: Direction,
    all: MultiProgress,
    bars: RefCell<HashMap<Digest, ProgressBar>>,
    /// What is going on beside the bars.
    note: RefCell<Option<ProgressBar>>,
}

/// Smaller blobs come too fast for a bar.
const MIN_BAR_BYTES: u64 = 1 << 20;

impl Layers {
    #[must_use]
    pub fn of(direction: Direction) -> Layers {
        let mut layers = Layers::default();
        layers.direction = direction;
        layers
    }

    fn say(&self, text: &str) {
        let mut note = self.note.borrow_mut();
        let note = note.get_or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new_spinner());
            bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").expect("a fixed template"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        note.set_message(harmless(text));
    }

    fn hush(&self) {
        if let Some(note) = self.note.borrow_mut().take() {
            note.finish_and_clear();
        }
    }

    fn begin(&self, id: Digest, media_type: &str, total: u64, done: u64) {
        if total < MIN_BAR_BYTES {
            return;
        }
        let style =
            "{msg:25} {bar:30} {decimal_bytes:>9}/{decimal_total_bytes:9} {decimal_bytes_per_sec:>11}  {eta} left";
        let kind = media_type.rsplit('.').next().unwrap_or(media_type);
        // Whole before it is shown, so that what is there already is never shown as missing.
        let bar = ProgressBar::new(total)
            .with_style(ProgressStyle::with_template(style).expect("a fixed template"))
            .with_message(harmless(&format!("{} {kind}", id.short())))
            .with_position(done);
        let bar = self.all.add(bar);
        bar.reset_eta();
        if let Some(old) = self.bars.borrow_mut().insert(id, bar) {
            old.finish_and_clear();
        }
    }
}

impl Listener for Layers {
    fn event(&self, event: Event<'_>) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let with_bar = |id: &Digest, act: &dyn Fn(&ProgressBar)| {
            if let Some(bar) = self.bars.borrow().get(id) {
                act(bar);
            }
        };
        match event {
            Event::Manifest => self.say(match self.direction {
                Direction::Pull => "asking for the manifest",
                Direction::Push => "asking what is there",
            }),
            Event::Blob { id, media_type, total, done } => {
                self.hush();
                self.begin(*id, media_type, total, done);
            }
            Event::Bytes { id, n_bytes } => {
                self.hush();
                with_bar(id, &|bar| bar.inc(n_bytes));
            }
            Event::At { id, done } => {
                self.hush();
                with_bar(id, &|bar| bar.set_position(done));
            }
            Event::Discarded { id } => {
                with_bar(id, &|bar| bar.set_position(0));
                self.say("damaged bytes came; downloading them again");
            }
            Event::Elsewhere { id } => {
                self.say(&format!("another slm is downloading {}; waiting for it", id.short()));
            }
            Event::Retrying { reason, wait } => {
                self.say(&format!("{reason}; trying again in {} seconds", wait.as_secs().max(1)));
            }
            Event::Ready { id } => with_bar(id, &ProgressBar::finish),
            Event::Verified => self.say(match self.direction {
                Direction::Pull => "writing the manifest",
                Direction::Push => "pushing the manifest",
            }),
            Event::Manifested | Event::Success => self.hush(),
        }
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        // What comes next is written where the bars were.
        self.hush();
        self.bars.borrow().values().for_each(ProgressBar::finish_and_clear);
        let _ = self.all.clear();
    }
}
