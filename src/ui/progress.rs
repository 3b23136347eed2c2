//! Progress bars on standard error, only when a person is looking at it.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::harmless;
use crate::progress::Progress;

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
        let style = "{msg} {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
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
