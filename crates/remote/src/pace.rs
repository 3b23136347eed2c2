//! How many requests a minute, and a pause for all of them where a remote asks for one. Pure: times are given.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// When the next request may go.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Between two requests; `None` is as they come.
    interval: Option<Duration>,
    /// No request goes before this.
    next: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(per_minute: Option<NonZeroU32>) -> Pace {
        Pace { interval: per_minute.map(|n| Duration::from_secs(60) / n.get()), next: None }
    }

    /// Takes the next place, and tells how long to wait for it.
    pub(crate) fn claim(&mut self, now: Instant) -> Duration {
        let at = self.next.map_or(now, |next| next.max(now));
        if let Some(interval) = self.interval {
            self.next = Some(at + interval);
        }
        at - now
    }

    /// Lets nobody go for this long: the remote has said so to one of many.
    pub(crate) fn pause(&mut self, now: Instant, wait: Duration) {
        let until = now + wait;
        self.next = Some(self.next.map_or(until, |next| next.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spread_over_the_minute() {
        let (start, mut pace) = (Instant::now(), Pace::new(NonZeroU32::new(120)));
        let at = |n_ms| start + Duration::from_millis(n_ms);
        let waits = [0, 0, 100, 5000, 5000].map(|n_ms| pace.claim(at(n_ms)).as_millis());
        assert_eq!(waits, [0, 500, 900, 0, 500]);
        let mut pace = Pace::new(None);
        assert_eq!([pace.claim(at(0)), pace.claim(at(0))], [Duration::ZERO; 2]);
    }

    #[test]
    fn a_pause_is_everybodys() {
        let (now, mut pace) = (Instant::now(), Pace::new(None));
        pace.pause(now, Duration::from_secs(3));
        pace.pause(now, Duration::from_secs(1));
        assert_eq!(pace.claim(now + Duration::from_secs(1)), Duration::from_secs(2));
        assert_eq!(pace.claim(now + Duration::from_secs(9)), Duration::ZERO);
        let mut pace = Pace::new(NonZeroU32::new(60));
        pace.pause(now, Duration::from_secs(3));
        assert_eq!([pace.claim(now), pace.claim(now)].map(|wait| wait.as_secs()), [3, 4]);
    }
}
