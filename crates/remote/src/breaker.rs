//! When a remote that keeps failing is left alone, and when it is tried again. Pure: times are given.

use std::time::{Duration, Instant};

/// Questions in a row that fail before nobody is sent any more.
const MAX_FAILURES: u32 = 5;
/// How long a remote is left alone then; after that one question tries it.
const PAUSE: Duration = Duration::from_secs(30);

/// A circuit breaker: closed while the remote answers, open while it is left alone, and half open while one question tries it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Breaker {
    n_failures: u32,
    /// Nobody is sent before this; `None` where it is closed.
    open_until: Option<Instant>,
    /// Whether a question is on its way that tries an open one.
    is_tried: bool,
    /// What the last failure said.
    last: String,
}

/// A question that must not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    pub n_failures: u32,
    /// How long until one is let through.
    pub again_in: Duration,
    pub last: String,
}

impl Breaker {
    /// Lets a question through, or says for how long none is.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<(), Open> {
        let Some(until) = self.open_until else { return Ok(()) };
        let again_in = until.saturating_duration_since(now);
        if !again_in.is_zero() || self.is_tried {
            return Err(Open { n_failures: self.n_failures, again_in, last: self.last.clone() });
        }
        self.is_tried = true;
        Ok(())
    }

    /// A question was answered.
    pub(crate) fn answered(&mut self) {
        *self = Breaker::default();
    }

    /// A question failed, as this says, in a way that others would too.
    pub(crate) fn failed(&mut self, now: Instant, said: String) {
        self.n_failures = self.n_failures.saturating_add(1);
        self.last = said;
        if self.is_tried || self.n_failures >= MAX_FAILURES {
            self.open_until = Some(now + PAUSE);
        }
        self.is_tried = false;
    }

    /// A question was given up before anything came of it.
    pub(crate) fn given_up(&mut self) {
        self.is_tried = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_is_tried_once_after_a_while() {
        let (start, mut breaker) = (Instant::now(), Breaker::default());
        for n in 0..MAX_FAILURES {
            assert_eq!(breaker.admit(start), Ok(()), "after {n} failures");
            breaker.failed(start, format!("down {n}"));
        }
        let open = |again_in| Err(Open { n_failures: MAX_FAILURES, again_in, last: "down 4".to_owned() });
        assert_eq!(breaker.admit(start), open(PAUSE));
        let later = start + PAUSE;
        // One tries it, the others wait for what comes of that.
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.admit(later), open(Duration::ZERO));
        breaker.given_up();
        assert_eq!(breaker.admit(later), Ok(()));
        breaker.failed(later, "still down".to_owned());
        assert!(breaker.admit(later).is_err_and(|open| open.again_in == PAUSE && open.last == "still down"));
        assert_eq!(breaker.admit(later + PAUSE), Ok(()));
        breaker.answered();
        assert!((0..MAX_FAILURES).all(|_| breaker.admit(later + PAUSE).is_ok()));
    }

    proptest! {
        /// Whatever happens: an answer closes it, fewer failures in a row than the most leave it closed, and it is never open
        /// for longer than a pause after the last failure.
        #[test]
        fn it_is_open_only_after_failures(events in prop::collection::vec((0u8..4, 0u64..20), 0..60)) {
            let (mut now, mut breaker, mut in_a_row) = (Instant::now(), Breaker::default(), 0);
            for (event, seconds) in events {
                now += Duration::from_secs(seconds);
                match event {
                    0 => {
                        breaker.answered();
                        in_a_row = 0;
                    }
                    1 | 2 => {
                        breaker.failed(now, String::new());
                        in_a_row += 1;
                    }
                    _ => breaker.given_up(),
                }
                prop_assert_eq!(breaker.clone().admit(now).is_err(), breaker.open_until.is_some_and(|until| until > now));
                prop_assert!(in_a_row >= MAX_FAILURES || breaker.open_until.is_none());
                prop_assert!(breaker.clone().admit(now + PAUSE).is_ok());
            }
        }
    }
}
