//! Progress bars on standard error, only when a person is looking at it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{DecimalBytes, HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::output::harmless;
use super::table::counted;
use crate::digest::Digest;
use crate::manifest;
use crate::progress::Progress;
use crate::transfer::{Direction, Event, Listener};

/// Rows answered, with rate and, where the total is known, the time left.
#[derive(Debug)]
pub struct Rows(Option<ProgressBar>);

impl Rows {
    /// A bar over `total` units (rows, or bytes of input); a spinner if the total is not known.
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

    /// The time left is estimated from this run only.
    pub fn begin_at(&self, position: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(position);
            bar.reset_eta();
        }
    }

    /// `position` units are done, and `n_rows` rows of them by this run; `more` is appended.
    pub fn at(&self, position: u64, n_rows: u64, more: impl FnOnce() -> String) {
        if let Some(bar) = &self.0 {
            bar.set_position(position);
            let rate = n_rows as f64 / bar.elapsed().as_secs_f64().max(1e-3);
            bar.set_message(harmless(&format!("{}  {rate:.1}/s{}", counted(n_rows, "row"), more())));
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
        let style = "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left";
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

/// A bar for each blob that is downloaded or uploaded; it starts with the bytes that were already there.
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

    fn begin(&self, id: Digest, name: &str, total: u64, done: u64) {
        if total < MIN_BAR_BYTES {
            return;
        }
        // Speed and time left count only what this process transfers.
        let rate = move |state: &ProgressState| {
            state.pos().saturating_sub(done) as f64 / state.elapsed().as_secs_f64().max(1e-3)
        };
        let speed = move |state: &ProgressState, out: &mut dyn Write| {
            let _ = write!(out, "{:>9}/s", DecimalBytes(rate(state) as u64).to_string());
        };
        let left = move |state: &ProgressState, out: &mut dyn Write| {
            let n_bytes = total.saturating_sub(state.pos()) as f64;
            let _ = match rate(state) {
                rate if rate > 0.0 => {
                    write!(out, "{:#}", HumanDuration(Duration::from_secs_f64((n_bytes / rate).min(1e9))))
                }
                _ => write!(out, "?"),
            };
        };
        // Whole in a line of 80 columns.
        let template = "{msg:22} {wide_bar} {decimal_bytes:>9}/{decimal_total_bytes:9} {speed}  {left} left";
        let style = ProgressStyle::with_template(template).expect("a fixed template");
        // Set before it is shown, so that bytes that exist are never shown as missing.
        let bar = ProgressBar::new(total)
            .with_style(style.with_key("speed", speed).with_key("left", left))
            .with_message(harmless(name))
            .with_position(done);
        let bar = self.all.add(bar);
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
                Direction::Push => "asking what the registry has",
            }),
            Event::Blob { id, digest, media_type, total, done } => {
                self.hush();
                let kind = manifest::kind(media_type);
                let name = digest.map_or_else(|| kind.to_owned(), |digest| format!("{} {kind}", digest.short()));
                self.begin(*id, &name, total, done);
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
                self.say("received damaged bytes; downloading them again");
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
