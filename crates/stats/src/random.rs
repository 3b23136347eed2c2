//! Random rows from a seed: the same numbers on every machine and in every version.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A seeded stream of random numbers: `ChaCha8`, whose output is specified.
#[derive(Debug, Clone)]
pub struct Random(ChaCha8Rng);

impl Random {
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Random(ChaCha8Rng::from_seed(key))
    }

    /// A number below `n`, each equally likely. (Lemire, Fast random integer generation in an interval, ACM TOMACS 29, 2019.)
    ///
    /// # Panics
    ///
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "there is no number below 0");
        let n = n as u64;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(n);
            #[allow(clippy::cast_possible_truncation)] // its lower half
            let low = product as u64;
            if low >= n || low >= n.wrapping_neg() % n {
                #[allow(clippy::cast_possible_truncation)] // below n, which was a usize
                return (product >> 64) as usize;
            }
        }
    }

    /// Fills `rows` with numbers below its length, drawn with replacement.
    pub fn resample(&mut self, rows: &mut [usize]) {
        let n = rows.len();
        rows.fill_with(|| self.below(n));
    }

    /// Puts the items into a random order, each order equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut random = Random::seeded(2026);
        let drawn: Vec<usize> = (0..8).map(|_| random.below(1000)).collect();
        assert_eq!(drawn, [805, 839, 709, 199, 104, 225, 854, 257]);
    }

    #[test]
    fn numbers_are_spread_evenly() {
        let mut random = Random::seeded(1);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[random.below(7)] += 1;
        }
        // Six standard deviations of a binomial count with n = 70,000 and p = 1/7.
        assert!(counts.iter().all(|&n| n.abs_diff(10_000) < 6 * 93), "{counts:?}");
    }
}
