//! How long threads that compute together wait for each other before they sleep: a judge of what their decodes had of the
//! machine. It asks no clock and tells no thread.
//!
//! A thread that turns in a loop until the others come is the fastest way to wait while all of them run. Where other work has the
//! processor of the one that is awaited, the turning keeps it from coming: sleeping is then many times faster.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Threads that all run are awaited for less than this in nearly every operation of a decode; a turn of the scheduler is
/// dozens of times as long.
pub const LONG: Duration = Duration::from_micros(50);
/// Beside other work: those that are there already are met, the others are given the processor.
pub const SHORT: Duration = Duration::from_micros(1);

/// How the threads of an engine wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// For [`LONG`], and beside other work for [`SHORT`].
    Learned,
    /// For so many turns of a loop, as the environment of the engine's process says.
    Set { n_turns: u64 },
    /// One thread waits for nobody; other runtimes than GNU's wait as they are made.
    Unknown,
}

/// Time of decodes that is judged at once: the system counts other threads' time in steps of some milliseconds.
const WINDOW: Duration = Duration::from_millis(40);
/// Of the processors that its threads could use, a decode alone has nine tenths or more, and one beside as much work half.
const CROWDED_BELOW: f64 = 0.7;
const CALM_ABOVE: f64 = 0.85;
/// Windows with the short wait before the long one is tried: threads that sleep much use less of a machine, even alone.
const FIRST_PATIENCE: u32 = 16;
const MOST_PATIENCE: u32 = 64;

/// What the decodes of a process had lately, and the wait that follows from it.
#[derive(Debug)]
pub struct Watch {
    n_threads: u32,
    wait: Duration,
    used: Duration,
    elapsed: Duration,
    n_short: u32,
    patience: u32,
}

impl Watch {
    #[must_use]
    pub fn new(n_threads: u32) -> Watch {
        let (used, elapsed) = (Duration::ZERO, Duration::ZERO);
        Watch { n_threads: n_threads.max(1), wait: LONG, used, elapsed, n_short: 0, patience: FIRST_PATIENCE }
    }

    /// How long threads wait now.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// Notes the processors' time that the process had during a decode, and how long that took.
    pub fn learn(&mut self, used: Duration, elapsed: Duration) {
        self.used += used;
        self.elapsed += elapsed;
        if self.elapsed < WINDOW {
            return;
        }
        let part = self.used.as_secs_f64() / (self.elapsed.as_secs_f64() * f64::from(self.n_threads));
        (self.used, self.elapsed) = (Duration::ZERO, Duration::ZERO);
        if self.wait == LONG {
            self.judge_long(part);
        } else {
            self.judge_short(part);
        }
    }

    fn judge_long(&mut self, part: f64) {
        if part < CROWDED_BELOW {
            (self.wait, self.n_short) = (SHORT, 0);
        } else {
            self.patience = FIRST_PATIENCE;
        }
    }

    fn judge_short(&mut self, part: f64) {
        self.n_short += 1;
        if part > CALM_ABOVE {
            self.wait = LONG;
        } else if self.n_short >= self.patience {
            (self.wait, self.patience) = (LONG, (self.patience * 2).min(MOST_PATIENCE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Lets decodes of 10 ms have a part of the processors for `n_windows`, and says how many of these waited long.
    fn long_windows(watch: &mut Watch, n_windows: u32, part: impl Fn(Duration) -> f64) -> u32 {
        (0..n_windows)
            .map(|_| {
                let is_long = watch.wait() == LONG;
                let used = (10 * MS * watch.n_threads).mul_f64(part(watch.wait()));
                (0..4).for_each(|_| watch.learn(used, 10 * MS));
                u32::from(is_long)
            })
            .sum()
    }

    #[test]
    fn an_engine_alone_waits_long() {
        for (n_threads, part) in [(2, 1.0), (2, 0.9), (16, 0.88), (1, 1.0), (4, 1.3)] {
            assert_eq!(long_windows(&mut Watch::new(n_threads), 100, |_| part), 100, "{n_threads} {part}");
        }
    }

    #[test]
    fn beside_other_work_it_waits_short_within_a_window_and_tries_again_seldom() {
        for part in [0.1, 0.5, 0.65] {
            let mut watch = Watch::new(2);
            assert_eq!(long_windows(&mut watch, 1, |_| part), 1);
            assert_eq!(watch.wait(), SHORT);
            let n_long = long_windows(&mut watch, 1000, |_| part);
            assert!((10..40).contains(&n_long), "{part}: {n_long}");
        }
    }

    /// Alone again, it waits long again: at once where threads that sleep use the machine well, else when it is tried.
    #[test]
    fn it_forgets_other_work_that_has_gone() {
        for when_short in [0.9, 0.4] {
            let mut watch = Watch::new(8);
            long_windows(&mut watch, 500, |_| 0.5);
            let n_long = long_windows(&mut watch, 100, |wait| if wait == LONG { 0.95 } else { when_short });
            assert!(n_long >= 100 - MOST_PATIENCE, "{when_short}: {n_long}");
            assert_eq!(watch.wait(), LONG);
        }
    }
}
