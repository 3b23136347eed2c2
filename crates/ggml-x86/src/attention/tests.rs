//! Attention against its definition in double precision, and the same bits whatever is computed beside it.

use super::*;
use crate::testing::Random;

/// Random heads in 16 bits, one cell after the other, and what they are as floats.
struct Cells(Vec<u16>);

impl Cells {
    fn new(random: &mut Random, n: usize) -> Cells {
        Cells((0..n).map(|_| half::f16::from_f32(random.unit() * 2.0 - 1.0).to_bits()).collect())
    }

    fn get(&self, at: usize) -> f64 {
        half::f16::from_bits(self.0[at]).to_f64()
    }
}

pub struct Case {
    n_heads: usize,
    n_key_heads: usize,
    key: usize,
    value: usize,
    n_tokens: usize,
    n_cells: usize,
    soft_cap: f32,
    queries: Vec<f32>,
    keys: Cells,
    values: Cells,
    mask: Option<Vec<u16>>,
}

impl Case {
    fn new(seed: u64, heads: (usize, usize), sizes: (usize, usize), n_tokens: usize, n_cells: usize) -> Case {
        let mut random = Random::new(seed);
        let ((n_heads, n_key_heads), (key, value)) = (heads, sizes);
        Case {
            n_heads,
            n_key_heads,
            key,
            value,
            n_tokens,
            n_cells,
            soft_cap: 0.0,
            queries: (0..n_tokens * n_heads * key).map(|_| random.unit() * 8.0 - 4.0).collect(),
            keys: Cells::new(&mut random, n_cells * n_key_heads * key),
            values: Cells::new(&mut random, n_cells * n_key_heads * value),
            // Each token sees about half of the cells, and the first one none.
            mask: Some(
                (0..n_tokens * n_cells).map(|at| if at < n_cells || random.bool() { MASKED } else { 0 }).collect(),
            ),
        }
    }

    /// Heads in groups and alone, of odd sizes, with and without a mask, with capped scores.
    pub fn several() -> [Case; 5] {
        [
            Case::new(1, (8, 2), (64, 64), 13, 256),
            Case::new(2, (4, 4), (128, 128), 61, 300),
            Case::new(3, (6, 1), (40, 72), 9, 65),
            Case { soft_cap: 2.0, ..Case::new(4, (4, 2), (256, 256), 8, 70) },
            Case { mask: None, ..Case::new(5, (2, 1), (32, 32), 50, 71) },
        ]
    }

    /// All parts, and the tokens' results.
    pub fn compute(&self) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.n_tokens * self.n_heads * self.value];
        let heads = |cells: &Cells, size| Heads {
            data: cells.0.as_ptr(),
            size,
            n_heads: self.n_key_heads,
            stride: self.n_key_heads * size,
            head_stride: size,
        };
        let attention = Attention {
            queries: Heads {
                data: self.queries.as_ptr(),
                size: self.key,
                n_heads: self.n_heads,
                stride: self.n_heads * self.key,
                head_stride: self.key,
            },
            n_tokens: self.n_tokens,
            keys: heads(&self.keys, self.key),
            values: heads(&self.values, self.value),
            n_cells: self.n_cells,
            mask: self.mask.as_ref().map(|mask| (mask.as_ptr(), self.n_cells)),
            scale: 1.0 / (self.key as f32).sqrt(),
            soft_cap: self.soft_cap,
            out: out.as_mut_ptr(),
        };
        let mut scratch = vec![f32::NAN; attention.scratch_len()];
        for part in 0..attention.n_parts() {
            // SAFETY: all of it is as large as said.
            unsafe { attention.compute(part, scratch.as_mut_ptr()) };
        }
        out
    }

    /// One head of one token, in double precision.
    fn expected(&self, token: usize, head: usize) -> Vec<f64> {
        let key_head = head / (self.n_heads / self.n_key_heads);
        let scores: Vec<f64> = (0..self.n_cells)
            .map(|cell| {
                let key = |i| self.keys.get((cell * self.n_key_heads + key_head) * self.key + i);
                let query = |i| f64::from(self.queries[(token * self.n_heads + head) * self.key + i]);
                let score = (0..self.key).map(|i| query(i) * key(i)).sum::<f64>() / (self.key as f64).sqrt();
                let cap = f64::from(self.soft_cap);
                let score = if cap == 0.0 { score } else { cap * (score / cap).tanh() };
                let mask = self.mask.as_ref().map_or(0, |mask| mask[token * self.n_cells + cell]);
                score + half::f16::from_bits(mask).to_f64()
            })
            .collect();
        let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - greatest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        (0..self.value)
            .map(|i| {
                let value = |cell| self.values.get((cell * self.n_key_heads + key_head) * self.value + i);
                weights.iter().enumerate().map(|(cell, weight)| weight / sum * value(cell)).sum()
            })
            .collect()
    }
}

#[test]
fn attention_is_that_of_its_definition() {
    if !crate::is_supported() {
        return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
    }
    for (at, case) in Case::several().iter().enumerate() {
        let out = case.compute();
        for token in 0..case.n_tokens {
            for head in 0..case.n_heads {
                let found = &out[(token * case.n_heads + head) * case.value..][..case.value];
                if token == 0 && case.mask.is_some() {
                    assert!(found.iter().all(|&x| x == 0.0), "case {at}: a token that sees no cell");
                    continue;
                }
                for (found, expected) in found.iter().zip(case.expected(token, head)) {
                    let off = (f64::from(*found) - expected).abs();
                    assert!(off < 1e-5, "case {at}, token {token}, head {head}: {found} for {expected}");
                }
            }
        }
    }
}

#[test]
fn a_token_has_the_same_bits_in_every_batch_and_with_cells_that_it_does_not_see() {
    if !crate::is_supported() {
        return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
    }
    let together = Case::new(6, (8, 2), (64, 64), 30, 320);
    let out = together.compute();
    let size = 8 * 64;
    for token in [1, 11, 12, 29] {
        let mask = together.mask.as_ref().unwrap()[token * 320..][..320].to_vec();
        let queries = together.queries[token * size..][..size].to_vec();
        let alone = Case { n_tokens: 1, queries, mask: Some(mask), ..Case::new(6, (8, 2), (64, 64), 30, 320) };
        assert_eq!(alone.compute(), out[token * size..][..size], "token {token}");
    }
}

#[test]
fn powers_are_exact_to_two_units_in_the_last_place() {
    if !crate::is_supported() {
        return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
    }
    for at in 0..100_000 {
        let x = -87.0 + at as f32 * 1.5e-3;
        // SAFETY: checked above.
        let found = unsafe { lanes(exp(_mm256_set1_ps(x)))[0] };
        let expected = f64::from(x).exp();
        assert!((f64::from(found) / expected - 1.0).abs() < 2.4e-7, "e^{x}: {found} for {expected}");
    }
    // SAFETY: checked above.
    let of = |x| unsafe { (lanes(exp(_mm256_set1_ps(x)))[0], lanes(tanh(_mm256_set1_ps(x)))[0]) };
    assert_eq!((of(0.0), of(f32::NEG_INFINITY), of(-88.0).0), ((1.0, 0.0), (0.0, -1.0), 0.0));
    for x in [-3.0f32, -0.1, 0.5, 9.0] {
        assert!((of(x).1 - x.tanh()).abs() < 3e-7, "tanh {x}");
    }
}
