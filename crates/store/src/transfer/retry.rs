//! When to retry and when to give up; pure except for its random jitter.

use crate::registry::Remedy;
use std::time::Duration;

/// A server that wants to be left alone for longer than this is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(180);
/// Progress that makes up for earlier failures.
const ENOUGH_BYTES: u64 = 256 << 10;

/// How often a server may contradict itself, and what is waited then.
const MAX_CONTRADICTIONS: u32 = 3;
const CONTRADICTION_WAIT: Duration = Duration::from_secs(1);

/// The patience with one piece of work.
#[derive(Debug, Clone)]
pub struct Patience {
    n_failures: u32,
    most: u32,
    progress: u64,
}

impl Patience {
    /// For a first contact, where a wrong name should be told soon.
    #[must_use]
    pub fn short() -> Patience {
        Patience { n_failures: 0, most: 2, progress: 0 }
    }

    /// For a download in progress, on a line that drops: about a minute and a half of nothing.
    #[must_use]
    pub fn long() -> Patience {
        Patience { n_failures: 0, most: 9, progress: 0 }
    }

    /// Bytes came.
    pub fn progressed(&mut self, n_bytes: u64) {
        self.progress += n_bytes;
        if self.progress >= ENOUGH_BYTES {
            (self.n_failures, self.progress) = (0, 0);
        }
    }

    /// How long to wait after a failure; `None`: give up.
    pub fn after(&mut self, remedy: Remedy) -> Option<Duration> {
        match remedy {
            Remedy::Retry { after } => self.wait(after),
            Remedy::OnceMore => {
                self.n_failures += self.most / MAX_CONTRADICTIONS;
                self.wait(None).map(|wait| wait.min(CONTRADICTION_WAIT))
            }
            Remedy::None => None,
        }
    }

    /// How long to wait after a failure: what the server asks for, else twice as long each time, give or take a quarter, so
    /// that many clients do not come back together. `None`: give up.
    fn wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.n_failures += 1;
        if self.n_failures > self.most || asked.is_some_and(|asked| asked > LONGEST_WAIT) {
            return None;
        }
        let exponential = 0.3 * f64::from(1 << self.n_failures.min(6));
        let own = Duration::from_secs_f64(exponential * (0.75 + 0.5 * fastrand::f64()));
        Some(match asked {
            // An address that ran out is asked for at once, but not forever at once.
            Some(Duration::ZERO) if self.n_failures <= 2 => Duration::ZERO,
            Some(asked) if asked > own => asked,
            _ => own,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut patience = Patience::long();
        let waits: Vec<Duration> = std::iter::from_fn(|| patience.wait(None)).collect();
        assert_eq!(waits.len(), 9);
        let total: f64 = waits.iter().map(Duration::as_secs_f64).sum();
        assert!((60.0..150.0).contains(&total), "{total}");
        assert!(waits[4] > waits[0]);
    }

    #[test]
    fn progress_gives_new_patience() {
        let mut patience = Patience::short();
        for _ in 0..20 {
            assert!(patience.wait(None).is_some());
            patience.progressed(ENOUGH_BYTES);
        }
    }

    #[test]
    fn a_contradiction_is_not_heard_often() {
        let mut patience = Patience::long();
        let waits: Vec<Duration> = std::iter::from_fn(|| patience.after(Remedy::OnceMore)).collect();
        assert!(waits.len() == 2 && waits.iter().all(|wait| *wait <= CONTRADICTION_WAIT), "{waits:?}");
        assert!(Patience::short().after(Remedy::OnceMore).is_some());
    }

    #[test]
    fn a_server_says_when() {
        assert!(
            Patience::short().wait(Some(Duration::from_secs(7))).is_some_and(|wait| wait >= Duration::from_secs(7))
        );
        assert_eq!(Patience::short().wait(Some(Duration::from_secs(3600))), None);
        assert_eq!(Patience::short().wait(Some(Duration::ZERO)), Some(Duration::ZERO));
    }
}
