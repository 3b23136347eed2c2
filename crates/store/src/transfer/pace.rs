//! How many parallel streams to use: more, as long as more are faster; pure.

use super::Streams;

const FIRST: usize = 2;
const MOST: usize = 16;
/// A try must bring this much more to be kept.
const GAIN: f64 = 1.10;
/// Observations between tries once the best number is found.
const REST: u32 = 16;

/// Finds the number of streams by trying: doubled while that helps, then one more now and then.
#[derive(Debug, Clone)]
pub struct Pace {
    target: usize,
    most: usize,
    /// Bytes a second at `kept` streams.
    best: f64,
    kept: usize,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fixed,
    Doubling,
    Resting(u32),
    /// One stream more than what is kept.
    Trying,
}

impl Pace {
    #[must_use]
    pub fn new(streams: Streams) -> Pace {
        let (target, most, phase) = match streams {
            Streams::Adaptive => (FIRST, MOST, Phase::Doubling),
            Streams::Fixed(n) => (n.max(1), n.max(1), Phase::Fixed),
        };
        Pace { target, most, best: 0.0, kept: target, phase }
    }

    /// How many streams there should be.
    #[must_use]
    pub fn target(&self) -> usize {
        self.target
    }

    /// While that many streams ran the whole time, `rate` bytes a second came.
    pub fn observe(&mut self, rate: f64) {
        match self.phase {
            Phase::Fixed => {}
            Phase::Doubling => {
                if rate >= self.best * GAIN && self.target < self.most {
                    (self.best, self.kept) = (rate, self.target);
                    self.target = (self.target * 2).min(self.most);
                } else {
                    self.settle(rate);
                }
            }
            Phase::Resting(n) => {
                self.best = 0.8 * self.best + 0.2 * rate;
                self.phase = Phase::Resting(n + 1);
                if n + 1 >= REST && self.kept < self.most {
                    self.target = self.kept + 1;
                    self.phase = Phase::Trying;
                }
            }
            Phase::Trying => self.settle(rate),
        }
    }

    /// The server has had enough of us.
    pub fn back_off(&mut self) {
        self.target = (self.target / 2).max(1);
        self.kept = self.target;
        if self.phase != Phase::Fixed {
            self.most = self.target;
            self.phase = Phase::Resting(0);
        }
    }

    /// Keeps the number that was tried if it brought more, else goes back.
    fn settle(&mut self, rate: f64) {
        if rate >= self.best * GAIN {
            (self.best, self.kept) = (rate, self.target);
        }
        self.target = self.kept;
        self.phase = Phase::Resting(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of streams after a while on a line of which one stream gets a part.
    fn settled(one: f64, all: f64) -> usize {
        let mut pace = Pace::new(Streams::Adaptive);
        for _ in 0..30 {
            pace.observe((pace.target() as f64 * one).min(all));
        }
        pace.target()
    }

    #[test]
    fn as_many_streams_as_the_line_has_room_for() {
        assert_eq!(settled(1e6, 1e6), 2);
        assert!((7..=9).contains(&settled(1e6, 8e6)), "{}", settled(1e6, 8e6));
        assert_eq!(settled(1e6, 1e9), MOST);
    }

    #[test]
    fn a_server_that_has_had_enough_gets_fewer() {
        let mut pace = Pace::new(Streams::Fixed(4));
        pace.back_off();
        assert_eq!(pace.target(), 2);
        let mut pace = Pace::new(Streams::Adaptive);
        pace.back_off();
        pace.back_off();
        pace.observe(1e9);
        assert_eq!(pace.target(), 1);
    }
}
