//! Drafts by prompt lookup, and whether they pay: what followed the last tokens where they stood before.
//!
//! Extraction and summaries copy their input, so an answer's next tokens often are in the prompt already (prompt lookup
//! decoding, Saxena 2023). A draft costs rows in the next decode and saves decodes where it is right; both are measured, and
//! a draft is made only where it is expected to win. Pure: durations come in as numbers.

use std::collections::HashMap;
use std::time::Duration;

use super::Token;

/// The longest draft.
pub const MAX_DRAFT: usize = 8;
/// Tokens that must be before a draft: with fewer the guess is a lottery.
const LENGTHS: [usize; 2] = [3, 2];
/// Rows of a decode for which halves are tried.
const ODD_ROWS: std::ops::Range<usize> = 8..16;
/// How much of an estimate the newest observation is.
const NEWEST: f64 = 0.15;
/// A draft must promise this much more than it costs, since both are estimates.
const MARGIN: f64 = 1.15;
/// Tokens after which a sequence whose drafts failed tries again.
const TRY_AGAIN: usize = 48;

/// Where each short run of tokens was seen last in one request, and how well its drafts did.
#[derive(Debug)]
pub struct Drafter {
    /// For every length of [`LENGTHS`]: the position after the run's last occurrence.
    seen: [HashMap<[Token; 3], usize>; 2],
    n_indexed: usize,
    /// For every length the estimated probability that a draft's next token is right.
    acceptance: [f64; 2],
    /// The length that found the current draft.
    used: usize,
    n_since_try: usize,
}

impl Drafter {
    #[must_use]
    pub fn new() -> Self {
        let seen = [HashMap::new(), HashMap::new()];
        Drafter { seen, n_indexed: 0, acceptance: [0.7, 0.5], used: 0, n_since_try: 0 }
    }

    /// What may come after `tokens`, the request's whole text so far; often nothing.
    ///
    /// `costs` are those of decodes with `n_rows` rows beside this request's draft.
    pub fn draft(&mut self, tokens: &[Token], costs: &Costs, n_rows: usize) -> Vec<Token> {
        let found = self.look_up(tokens);
        self.index(tokens);
        self.n_since_try += 1;
        let Some((which, at)) = found else { return Vec::new() };
        let available = (tokens.len() - at).min(MAX_DRAFT);
        // Where drafts failed so far, a short one now and then finds out whether the text has changed.
        let is_try = self.n_since_try >= TRY_AGAIN;
        let n = match costs.best_draft(self.acceptance[which], available, n_rows) {
            0 if is_try => 1,
            n => n,
        };
        if n > 0 {
            self.used = which;
            self.n_since_try = 0;
        }
        tokens[at..at + n].to_vec()
    }

    /// Notes how many of a draft's tokens were right.
    pub fn learn(&mut self, n_draft: usize, n_accepted: usize) {
        let acceptance = &mut self.acceptance[self.used];
        for index in 0..n_draft.min(n_accepted + 1) {
            let was_right = if index < n_accepted { 1.0 } else { 0.0 };
            *acceptance += NEWEST * (was_right - *acceptance);
        }
    }

    fn look_up(&self, tokens: &[Token]) -> Option<(usize, usize)> {
        let mut lengths = LENGTHS.iter().enumerate();
        lengths.find_map(|(which, &n)| {
            let tail = tokens.len().checked_sub(n).map(|from| &tokens[from..])?;
            self.seen[which].get(&key(tail)).map(|&at| (which, at))
        })
    }

    /// Indexes every run but the last one, which would find itself.
    fn index(&mut self, tokens: &[Token]) {
        for end in self.n_indexed + 1..=tokens.len() {
            for (which, &n) in LENGTHS.iter().enumerate() {
                if let Some(from) = end.checked_sub(n) {
                    self.seen[which].insert(key(&tokens[from..end]), end);
                }
            }
        }
        self.n_indexed = self.n_indexed.max(tokens.len());
    }
}

impl Default for Drafter {
    fn default() -> Self {
        Self::new()
    }
}

fn key(run: &[Token]) -> [Token; 3] {
    let mut key = [-1; 3];
    key[..run.len()].copy_from_slice(run);
    key
}

/// What decodes cost by their number of rows, as measured.
#[derive(Debug, Default)]
pub struct Costs {
    /// Seconds of a decode with `index` rows; 0 where none was measured.
    seconds: Vec<f64>,
}

impl Costs {
    /// Notes a decode.
    pub fn learn(&mut self, n_rows: usize, took: Duration) {
        if n_rows == 0 || n_rows > 128 {
            return;
        }
        if self.seconds.len() <= n_rows {
            self.seconds.resize(n_rows + 1, 0.0);
        }
        let (known, now) = (&mut self.seconds[n_rows], took.as_secs_f64());
        *known = if *known == 0.0 { now } else { *known + NEWEST * (now - *known) };
    }

    /// Seconds of a decode with `n` rows, between what was measured; where nothing larger was, a quarter of one row's for
    /// each more. `None` before the first measurement.
    fn of(&self, n: usize) -> Option<f64> {
        let measured = || self.seconds.iter().enumerate().filter(|(_, seconds)| **seconds > 0.0);
        let below = measured().take_while(|(rows, _)| *rows <= n).last();
        let above = measured().find(|(rows, _)| *rows >= n);
        match (below, above) {
            (Some((a, &at_a)), Some((b, &at_b))) if b > a => {
                Some(at_a + (at_b - at_a) * (n - a) as f64 / (b - a) as f64)
            }
            (Some((_, &seconds)), Some(_)) | (None, Some((_, &seconds))) => Some(seconds),
            (Some((a, &seconds)), None) => Some(seconds * (a as f64 + 3.0 + (n - a) as f64) / (a as f64 + 3.0)),
            (None, None) => None,
        }
    }

    /// How many of `n` rows that wait a decode should take: all of them, or half where halves have proved to be cheaper.
    ///
    /// ggml multiplies 8 to 15 rows in another way than fewer or more, for some kinds of weights at a loss.
    #[must_use]
    pub fn best_step(&self, n: usize) -> usize {
        let half = n.div_ceil(2);
        let per_row = |rows: usize| self.seconds.get(rows).filter(|&&seconds| seconds > 0.0).map(|s| s / rows as f64);
        match (ODD_ROWS.contains(&n), per_row(n), per_row(half)) {
            (true, Some(_), None) => half,
            (true, Some(whole), Some(halved)) if halved < whole => half,
            _ => n,
        }
    }

    /// How many draft tokens win most in a decode that has `n_rows` rows without them, each right with probability `p`.
    fn best_draft(&self, p: f64, available: usize, n_rows: usize) -> usize {
        let n_rows = n_rows.max(1);
        let Some(plain) = self.of(n_rows) else { return 0 };
        let per_token = plain / n_rows as f64;
        let mut expected = 0.0;
        let gain = |n: usize| {
            expected += p.powi(i32::try_from(n).unwrap_or(i32::MAX));
            let cost = self.of(n_rows + n).unwrap_or(f64::MAX) - plain;
            (n, expected * per_token - MARGIN * cost)
        };
        let best = (1..=available).map(gain).max_by(|a, b| a.1.total_cmp(&b.1));
        best.filter(|&(_, gain)| gain > 0.0).map_or(0, |(n, _)| n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(of: &[(usize, u64)]) -> Costs {
        let mut costs = Costs::default();
        for &(rows, ms) in of {
            costs.learn(rows, Duration::from_millis(ms));
        }
        costs
    }

    #[test]
    fn what_stood_behind_the_same_tokens_is_drafted() {
        let mut drafter = Drafter::new();
        let cheap = costs(&[(1, 100), (9, 110)]);
        assert_eq!(drafter.draft(&[1, 2, 3, 4, 5, 6, 9], &cheap, 1).len(), 0);
        assert_eq!(drafter.draft(&[1, 2, 3, 4, 5, 6, 9, 2, 3], &cheap, 1), [4, 5, 6, 9, 2, 3]);
        assert_eq!(drafter.draft(&[1, 2, 3, 4, 5, 6, 9, 2, 3, 7], &cheap, 1).len(), 0);
    }

    #[test]
    fn drafts_that_fail_or_cost_too_much_are_not_made() {
        let text = [1, 2, 3, 4, 5, 6, 1, 2, 3];
        let cheap = costs(&[(1, 100), (9, 110)]);
        let mut drafter = Drafter::new();
        for _ in 0..40 {
            drafter.draft(&text, &cheap, 1);
            drafter.learn(4, 0);
        }
        assert_eq!(drafter.draft(&text, &cheap, 1).len(), 0);
        let dear = costs(&[(1, 100), (2, 200), (9, 900)]);
        assert_eq!(Drafter::new().draft(&text, &dear, 1).len(), 0);
        assert_eq!(Drafter::new().draft(&text, &Costs::default(), 1).len(), 0);
    }

    #[test]
    fn rows_that_are_cheaper_in_halves_go_in_halves() {
        assert_eq!(costs(&[(4, 90)]).best_step(8), 8, "both must be known");
        assert_eq!(costs(&[(8, 210)]).best_step(8), 4);
        assert_eq!(costs(&[(4, 90), (8, 210)]).best_step(8), 4);
        assert_eq!(costs(&[(4, 90), (8, 120)]).best_step(8), 8);
        assert_eq!(costs(&[(2, 1), (4, 90), (16, 900)]).best_step(16), 16);
    }

    #[test]
    fn a_sequence_whose_drafts_failed_tries_again_later() {
        let cheap = costs(&[(1, 100), (9, 110)]);
        let mut drafter = Drafter::new();
        drafter.acceptance = [0.0, 0.0];
        let mut text = vec![1, 2, 3, 4, 5, 6, 1, 2, 3];
        drafter.draft(&text, &cheap, 1);
        let mut tries = Vec::new();
        for _ in 0..TRY_AGAIN {
            text.extend([4, 1, 2, 3]);
            tries.push(drafter.draft(&text, &cheap, 1).len());
        }
        assert_eq!(tries.iter().sum::<usize>(), 1);
    }
}
