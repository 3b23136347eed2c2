//! When to ask a remote again, and when to give up. Pure: dice are given.

use std::time::Duration;

/// A remote that wants to be left alone for longer than this is not waited for.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// The first wait, before it is spread; each next one is twice as long.
const FIRST: f64 = 0.5;
/// No wait of one's own is longer.
const LONGEST_WAIT: f64 = 30.0;

/// The patience with one question.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    n_failures: u32,
    retries: u32,
}

impl Patience {
    pub(crate) fn new(retries: u32) -> Patience {
        Patience { n_failures: 0, retries }
    }

    /// How long to wait after a failure; `None`: give up. What the remote asks for holds where it is longer than one's own
    /// wait. `dice` is a number from 0 to 1, so that many who fail together do not come back together.
    pub(crate) fn after(&mut self, asked: Option<Duration>, dice: f64) -> Option<Duration> {
        self.n_failures += 1;
        if self.n_failures > self.retries || asked.is_some_and(|asked| asked > LONGEST_PAUSE) {
            return None;
        }
        let doubled = FIRST * f64::from(1u32 << (self.n_failures - 1).min(16));
        // From half to the whole.
        let own = Duration::from_secs_f64(doubled.min(LONGEST_WAIT) * (0.5 + 0.5 * dice.clamp(0.0, 1.0)));
        // A little more than what is asked for: the others were told the same.
        let asked = asked.map(|asked| asked + Duration::from_secs_f64(0.5 * dice.clamp(0.0, 1.0)));
        Some(asked.map_or(own, |asked| asked.max(own)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_and_end() {
        let mut patience = Patience::new(4);
        let waits: Vec<_> = std::iter::from_fn(|| patience.after(None, 1.0)).map(|wait| wait.as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0]);
        assert_eq!(Patience::new(0).after(None, 0.0), None);
        assert_eq!(Patience::new(1).after(None, 0.0), Some(Duration::from_millis(250)));
    }

    #[test]
    fn a_remote_says_when() {
        let after = |seconds: u64, dice| Patience::new(1).after(Some(Duration::from_secs(seconds)), dice);
        assert_eq!(after(7, 0.0), Some(Duration::from_secs(7)));
        assert_eq!(after(7, 1.0), Some(Duration::from_millis(7500)));
        assert_eq!(after(0, 0.0), Some(Duration::from_millis(250)));
        assert_eq!(after(3600, 0.0), None);
    }

    proptest! {
        #[test]
        fn no_wait_is_endless_or_shorter_than_asked(
            retries in 0u32..60, asked in prop::option::of(0u64..200), dice in -1.0f64..2.0,
        ) {
            let mut patience = Patience::new(retries);
            let asked = asked.map(Duration::from_secs);
            let waits: Vec<_> = std::iter::from_fn(|| patience.after(asked, dice)).collect();
            let n = if asked.is_some_and(|asked| asked > LONGEST_PAUSE) { 0 } else { retries as usize };
            prop_assert_eq!(waits.len(), n);
            for wait in waits {
                prop_assert!(wait >= asked.unwrap_or_default() && wait <= LONGEST_PAUSE + Duration::from_secs(1));
            }
        }
    }
}
