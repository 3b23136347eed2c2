//! How fast this machine reads memory: the ceiling of decoding, where every weight is read for every token.

use std::time::Instant;

/// Maximum number of bytes to read over: beyond the processor's caches, more adds nothing.
const MAX_BYTES: u64 = 1 << 30;
/// Each timed pass reads at least this much, small weights several times: a thread's start must not count.
const PASS_BYTES: u64 = 1 << 28;
const N_PASSES: usize = 3;

/// What a streaming read gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Streamed {
    /// The fastest pass.
    pub bytes_per_second: f64,
    /// Bytes of the memory that was read over.
    pub n_bytes: u64,
}

/// Reads memory of `n_bytes` (at most [`MAX_BYTES`]) in order, a part for each of `n_threads` threads, several times.
#[must_use]
pub fn stream(n_bytes: u64, n_threads: u32) -> Streamed {
    let n_bytes = n_bytes.clamp(1 << 12, MAX_BYTES);
    let words: Vec<u64> = (0..n_bytes / 8).collect();
    let n_rounds = PASS_BYTES.div_ceil(n_bytes);
    let part = words.len().div_ceil(n_threads.max(1) as usize);
    let pass = || {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for part in words.chunks(part) {
                scope.spawn(move || {
                    for _ in 0..n_rounds {
                        std::hint::black_box(sum(std::hint::black_box(part)));
                    }
                });
            }
        });
        (n_bytes * n_rounds) as f64 / started.elapsed().as_secs_f64()
    };
    let fastest = (0..N_PASSES).map(|_| pass()).fold(0.0, f64::max);
    Streamed { bytes_per_second: fastest, n_bytes }
}

/// A sum in several lanes, so that memory and not the addition is waited for.
fn sum(words: &[u64]) -> u64 {
    let (blocks, rest) = words.as_chunks::<16>();
    let mut lanes = [0u64; 16];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block) {
            *lane = lane.wrapping_add(*word);
        }
    }
    lanes.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read() {
        let words: Vec<u64> = (0..1000).collect();
        assert_eq!(sum(&words), 499_500);
        assert_eq!(sum(&words[..7]), 21);
    }

    #[test]
    fn a_read_takes_time() {
        let streamed = stream(1 << 16, 2);
        assert_eq!(streamed.n_bytes, 1 << 16);
        // Between a megabyte and a petabyte a second.
        assert!((1e6..1e15).contains(&streamed.bytes_per_second), "{streamed:?}");
    }
}
