//! Which bytes of a blob have not been requested yet; pure.

use crate::store::PART_BYTES;
use std::ops::Range;

/// Ranges that are missing and not asked for, in order, apart from each other. Every one begins where its part's bytes
/// end, and all but the last of the blob end with a part.
#[derive(Debug, Clone, Default)]
pub struct Claims(Vec<Range<u64>>);

impl Claims {
    #[must_use]
    pub fn new(missing: Vec<Range<u64>>) -> Claims {
        Claims(missing)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Takes the first bytes: about `n_bytes`, up to the end of a part.
    pub fn take(&mut self, n_bytes: u64) -> Option<Range<u64>> {
        let first = self.0.first_mut()?;
        let end = first.end.min((first.start + n_bytes.max(1)).next_multiple_of(PART_BYTES));
        let taken = first.start..end;
        if end == first.end {
            self.0.remove(0);
        } else {
            first.start = end;
        }
        Some(taken)
    }

    /// Takes what follows `end` without a hole; gives the end of that.
    pub fn take_behind(&mut self, end: u64) -> u64 {
        match self.0.iter().position(|range| range.start == end) {
            Some(at) => self.0.remove(at).end,
            None => end,
        }
    }

    /// Gives bytes back that did not come.
    pub fn give_back(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let at = self.0.partition_point(|known| known.start < range.start);
        self.0.insert(at, range);
        if at + 1 < self.0.len() && self.0[at].end == self.0[at + 1].start {
            self.0[at].end = self.0.remove(at + 1).end;
        }
        if at > 0 && self.0[at - 1].end == self.0[at].start && self.0[at].start.is_multiple_of(PART_BYTES) {
            self.0[at - 1].end = self.0.remove(at).end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::iter::once;

    #[test]
    fn takes_whole_parts_and_takes_back() {
        let mut claims = Claims::new(once(100..3 * PART_BYTES + 7).collect());
        assert_eq!(claims.take(1), Some(100..PART_BYTES));
        assert_eq!(claims.take(PART_BYTES), Some(PART_BYTES..2 * PART_BYTES));
        claims.give_back(PART_BYTES + 5..2 * PART_BYTES);
        assert_eq!(claims.take(u64::MAX / 2), Some(PART_BYTES + 5..3 * PART_BYTES + 7));
        assert!(claims.is_empty());
    }

    proptest! {
        /// However bytes are taken and given back, each is there once in the end.
        #[test]
        fn no_byte_is_lost_or_doubled(steps in proptest::collection::vec((1u64..4 * PART_BYTES, 0u64..5 * PART_BYTES), 1..40)) {
            let n_bytes = 9 * PART_BYTES + 11;
            let mut claims = Claims::new(once(0..n_bytes).collect());
            let mut done = Vec::new();
            for (asked, came) in steps {
                let Some(range) = claims.take(asked) else { break };
                let end = (range.start + came).min(range.end);
                done.push(range.start..end);
                claims.give_back(end..range.end);
            }
            while let Some(range) = claims.take(PART_BYTES) {
                done.push(range);
            }
            done.retain(|range| !range.is_empty());
            done.sort_by_key(|range| range.start);
            prop_assert!(done.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert_eq!((done.first().map(|range| range.start), done.last().map(|range| range.end)), (Some(0), Some(n_bytes)));
        }
    }
}
