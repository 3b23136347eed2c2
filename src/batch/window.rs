//! Which record is read, started and delivered next; pure: it knows no threads, no files and no models.

use std::collections::VecDeque;

/// Answers that may wait for their turn, for each record in flight: so many that one long answer rarely leaves the engine
/// without work, and so few that memory stays bounded.
const WAITING: usize = 3;
/// Bytes of records that are held at once; one record alone may be longer.
const MAX_BYTES: usize = 64 << 20;

/// The records between their reading and the delivery of their answers.
#[derive(Debug)]
pub struct Window<R, A> {
    n_parallel: usize,
    /// Read and not started; their places follow those of `slots`.
    unstarted: VecDeque<(R, usize)>,
    /// Started and not delivered, in the records' order.
    slots: VecDeque<Slot<A>>,
    /// The place of the first slot.
    first: u64,
    n_running: usize,
    n_bytes: usize,
}

#[derive(Debug)]
struct Slot<A> {
    answer: Option<A>,
    n_bytes: usize,
}

impl<R, A> Window<R, A> {
    /// A window for `n_parallel` records in flight, at least one.
    #[must_use]
    pub fn new(n_parallel: usize) -> Self {
        let (unstarted, slots) = (VecDeque::new(), VecDeque::new());
        Window { n_parallel: n_parallel.max(1), unstarted, slots, first: 0, n_running: 0, n_bytes: 0 }
    }

    /// Whether there is room for one more record: one is read ahead.
    #[must_use]
    pub fn wants_record(&self) -> bool {
        self.unstarted.is_empty() && self.n_bytes < MAX_BYTES
    }

    /// Takes the next record, which holds `n_bytes` until its answer is delivered.
    pub fn push(&mut self, record: R, n_bytes: usize) {
        self.n_bytes += n_bytes;
        self.unstarted.push_back((record, n_bytes));
    }

    /// The record to start now, with its place; `None` while enough are in flight.
    pub fn start(&mut self) -> Option<(u64, R)> {
        if self.n_running >= self.n_parallel || self.slots.len() >= self.n_parallel * (1 + WAITING) {
            return None;
        }
        let (record, n_bytes) = self.unstarted.pop_front()?;
        let place = self.first + self.slots.len() as u64;
        self.slots.push_back(Slot { answer: None, n_bytes });
        self.n_running += 1;
        Some((place, record))
    }

    /// Takes the answer to the record that was started at `place`.
    pub fn answered(&mut self, place: u64, answer: A) {
        let slot = usize::try_from(place - self.first).ok().and_then(|at| self.slots.get_mut(at));
        let slot = slot.expect("a place is answered once, and delivered after that");
        debug_assert!(slot.answer.is_none());
        slot.answer = Some(answer);
        self.n_running -= 1;
    }

    /// The next answer in the records' order, where it is there.
    pub fn deliver(&mut self) -> Option<A> {
        let answer = self.slots.front_mut()?.answer.take()?;
        if let Some(slot) = self.slots.pop_front() {
            self.n_bytes -= slot.n_bytes;
        }
        self.first += 1;
        Some(answer)
    }

    /// Forgets the records that were not started.
    pub fn forget_unstarted(&mut self) {
        for (_, n_bytes) in self.unstarted.drain(..) {
            self.n_bytes -= n_bytes;
        }
    }

    /// Whether every record that was taken has been delivered or forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unstarted.is_empty() && self.slots.is_empty()
    }

    /// Records that are being answered.
    #[must_use]
    pub fn n_running(&self) -> usize {
        self.n_running
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever finishes first, every record is delivered once and in order, and no bound is passed.
        #[test]
        fn answers_leave_in_order_whatever_finishes_first(
            n_parallel in 1usize..9,
            sizes in proptest::collection::vec(0usize..(40 << 20), 0..60),
            choices in proptest::collection::vec(any::<prop::sample::Index>(), 1..200),
        ) {
            let mut window = Window::new(n_parallel);
            let (mut unread, mut running, mut delivered) = (sizes.iter().copied().enumerate(), Vec::new(), Vec::new());
            for step in 0.. {
                while window.wants_record() && let Some((number, n_bytes)) = unread.next() {
                    window.push(number as u64, n_bytes);
                }
                while let Some((place, record)) = window.start() {
                    prop_assert_eq!(place, record);
                    running.push(place);
                }
                prop_assert!(running.len() <= n_parallel && window.n_running() == running.len());
                prop_assert!(window.slots.len() <= n_parallel * (1 + WAITING));
                prop_assert!(window.n_bytes < MAX_BYTES + (40 << 20));
                if running.is_empty() {
                    break;
                }
                let place = running.swap_remove(choices[step % choices.len()].index(running.len()));
                window.answered(place, place * 2);
                delivered.extend(std::iter::from_fn(|| window.deliver()));
            }
            prop_assert!(window.is_empty() && window.n_bytes == 0);
            prop_assert_eq!(delivered, (0..sizes.len() as u64).map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_was_not_started_can_be_forgotten() {
        let mut window = Window::new(1);
        window.push("a", 1);
        assert_eq!(window.start(), Some((0, "a")));
        window.push("b", 1);
        assert_eq!((window.start(), window.wants_record()), (None, false));
        window.forget_unstarted();
        window.answered(0, 'A');
        assert_eq!((window.deliver(), window.deliver(), window.is_empty()), (Some('A'), None, true));
    }
}
