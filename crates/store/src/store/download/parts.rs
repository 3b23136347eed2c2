//! Which bytes of a download are complete, and the journal that records it: pure arithmetic.

use std::ops::Range;

/// What is lost at most of a part when a process is killed, and the step of the journal.
pub const PART_BYTES: u64 = 4 << 20;

const MAGIC: &[u8; 8] = b"slmpart1";
const HEADER_BYTES: u64 = 16;

/// The parts of a file of so many bytes; each is filled from its start.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts {
    n_bytes: u64,
    /// Bytes of each part, counted from its start.
    done: Vec<u32>,
    /// All parts before this one are whole.
    n_whole: usize,
}

/// Bytes of a journal and where they belong.
pub struct Change {
    pub at: u64,
    pub bytes: [u8; 4],
}

impl Parts {
    /// No byte is there.
    ///
    /// # Panics
    /// The size is beyond the reach of memory: the caller has made sure that the disk has room for it.
    pub fn none(n_bytes: u64) -> Parts {
        let n_parts = usize::try_from(n_bytes.div_ceil(PART_BYTES)).expect("a size in memory's reach");
        Parts { n_bytes, done: vec![0; n_parts], n_whole: 0 }
    }

    /// Reads the journal of a file of that size; `None` where it is another's, or damaged.
    pub fn parse(journal: &[u8], n_bytes: u64) -> Option<Parts> {
        let (magic, rest) = journal.split_first_chunk::<8>()?;
        let (size, counts) = rest.split_first_chunk::<8>()?;
        if magic != MAGIC || u64::from_le_bytes(*size) != n_bytes {
            return None;
        }
        let done: Vec<u32> = counts.as_chunks::<4>().0.iter().map(|count| u32::from_le_bytes(*count)).collect();
        let fits = |(part, &done): (usize, &u32)| {
            let start = part as u64 * PART_BYTES;
            u64::from(done) <= PART_BYTES.min(n_bytes.saturating_sub(start))
        };
        let n_parts = n_bytes.div_ceil(PART_BYTES);
        let is_whole = counts.len() as u64 == 4 * n_parts && done.iter().enumerate().all(fits);
        is_whole.then_some(Parts { n_bytes, done, n_whole: 0 })
    }

    /// The whole journal.
    pub fn journal(&self) -> Vec<u8> {
        let counts = self.done.iter().flat_map(|done| done.to_le_bytes());
        MAGIC.iter().copied().chain(self.n_bytes.to_le_bytes()).chain(counts).collect()
    }

    /// The bytes that are there.
    pub fn done_bytes(&self) -> u64 {
        self.done.iter().map(|&done| u64::from(done)).sum()
    }

    /// The ranges of bytes that are missing, in order.
    pub fn missing(&self) -> Vec<Range<u64>> {
        let mut missing: Vec<Range<u64>> = Vec::new();
        for (part, &done) in self.done.iter().enumerate() {
            let start = part as u64 * PART_BYTES;
            let end = (start + PART_BYTES).min(self.n_bytes);
            let from = start + u64::from(done);
            match missing.last_mut() {
                _ if from >= end => {}
                Some(last) if last.end == from => last.end = end,
                _ => missing.push(from..end),
            }
        }
        missing
    }

    /// How many bytes from the start are there without a hole.
    pub fn frontier(&mut self) -> u64 {
        while self.done.get(self.n_whole).is_some_and(|&done| u64::from(done) == PART_BYTES) {
            self.n_whole += 1;
        }
        let inside = self.done.get(self.n_whole).copied().unwrap_or(0);
        self.n_whole as u64 * PART_BYTES + u64::from(inside)
    }

    /// Counts bytes that were written; gives what the journal says of each of their parts now.
    ///
    /// # Panics
    /// Where the bytes leave a hole in a part: the caller follows [`Parts::missing`].
    pub fn add(&mut self, range: Range<u64>) -> Vec<Change> {
        let (mut at, mut left) = (range.start, range.end - range.start);
        let mut changes = Vec::new();
        while left > 0 {
            let part = usize::try_from(at / PART_BYTES).expect("a part of a file in memory's reach");
            let inside = at % PART_BYTES;
            assert_eq!(inside, u64::from(self.done[part]), "a hole in a part of a download");
            let taken = left.min(PART_BYTES - inside);
            self.done[part] = u32::try_from(inside + taken).expect("a part has few bytes");
            changes.push(Change { at: HEADER_BYTES + 4 * part as u64, bytes: self.done[part].to_le_bytes() });
            (at, left) = (at + taken, left - taken);
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_journal_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..64), n_bytes in any::<u64>()) {
            let _ = Parts::parse(&bytes, n_bytes);
            let mut named = MAGIC.to_vec();
            named.extend_from_slice(&n_bytes.to_le_bytes());
            named.extend_from_slice(&bytes);
            if let Some(parts) = Parts::parse(&named, n_bytes) {
                prop_assert!(parts.done_bytes() <= n_bytes);
                prop_assert_eq!(Parts::parse(&parts.journal(), n_bytes), Some(parts));
            }
        }

        #[test]
        fn changes_of_the_journal_are_the_journal(ends in proptest::collection::vec(1..3 * PART_BYTES, 1..6)) {
            let n_bytes = 4 * PART_BYTES + 9;
            let mut parts = Parts::none(n_bytes);
            let mut journal = parts.journal();
            for n in ends {
                let Some(range) = parts.missing().into_iter().next() else { break };
                for Change { at, bytes } in parts.add(range.start..range.end.min(range.start + n)) {
                    journal[at as usize..at as usize + 4].copy_from_slice(&bytes);
                }
                prop_assert_eq!(&journal, &parts.journal());
                prop_assert_eq!(parts.frontier(), parts.done_bytes());
            }
        }
    }
}
