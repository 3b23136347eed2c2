//! Unpacked panels times quantized rows.

use std::arch::x86_64::*;

use super::blocks::Format;
use super::panel::Panel;
use super::rows::RowBlock;
use super::{Ahead, PANEL_ROWS};

/// Rows that are multiplied together: their sums fill the registers.
pub const TILE_ROWS: usize = 4;

/// Panels of the same blocks, and the rows that all of them are multiplied with.
pub struct Tiles<'a> {
    pub format: Format,
    /// For each panel its blocks.
    pub panels: &'a [Panel],
    /// Blocks of a panel.
    pub depth: usize,
    /// For each block those of all rows.
    pub rows: *const RowBlock,
    pub n_rows: usize,
    pub out: *mut f32,
    /// Numbers from a row of the results to the next.
    pub stride: usize,
    /// Whether nothing was added to the results yet.
    pub is_first: bool,
}

impl Tiles<'_> {
    /// Multiplies all of them; `ahead` steps once for every tile of rows.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA, and what is described is there.
    pub unsafe fn multiply(&self, ahead: &mut Ahead) {
        // SAFETY: the caller's.
        unsafe {
            match self.format {
                Format::Q4K | Format::Q4Kx8 => self.multiply_as::<Q4>(ahead),
                Format::Q5K => self.multiply_as::<Q5>(ahead),
                Format::Q6K => self.multiply_as::<Q6>(ahead),
            }
        }
    }

    unsafe fn multiply_as<S: Shape>(&self, ahead: &mut Ahead) {
        for row in (0..self.n_rows).step_by(TILE_ROWS) {
            ahead.step();
            for (at, panel) in self.panels.chunks_exact(self.depth).enumerate() {
                // SAFETY: the caller's; rows are within the blocks and the results.
                unsafe {
                    let rows = self.rows.add(row);
                    let out = self.out.add(row * self.stride + at * PANEL_ROWS);
                    match self.n_rows - row {
                        1 => self.tile::<S, 1>(panel, rows, out),
                        2 => self.tile::<S, 2>(panel, rows, out),
                        3 => self.tile::<S, 3>(panel, rows, out),
                        _ => self.tile::<S, TILE_ROWS>(panel, rows, out),
                    }
                }
            }
        }
    }

    /// Adds the product of a panel with `N` rows to their results.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn tile<S: Shape, const N: usize>(&self, panel: &[Panel], rows: *const RowBlock, out: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            let mut results = [_mm256_setzero_ps(); N];
            if !self.is_first {
                for (n, result) in results.iter_mut().enumerate() {
                    *result = _mm256_loadu_ps(out.add(n * self.stride));
                }
            }
            for (at, block) in panel.iter().enumerate() {
                let rows: [&RowBlock; N] = std::array::from_fn(|n| &*rows.add(at * self.n_rows + n));
                let sums = products::<S, N>(block, rows);
                let offsets = offsets::<S, N>(block, rows);
                let d = _mm256_load_ps(block.d.as_ptr());
                let dmin = _mm256_load_ps(block.dmin.as_ptr());
                for n in 0..N {
                    let row_d = _mm256_set1_ps(rows[n].d);
                    if S::HAS_MINS {
                        let sum = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[n]), d);
                        let sum = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(offsets[n]), dmin, sum);
                        results[n] = _mm256_fmadd_ps(sum, row_d, results[n]);
                    } else {
                        let sum = _mm256_cvtepi32_ps(_mm256_sub_epi32(sums[n], offsets[n]));
                        results[n] = _mm256_fmadd_ps(sum, _mm256_mul_ps(d, row_d), results[n]);
                    }
                }
            }
            for (n, result) in results.into_iter().enumerate() {
                _mm256_storeu_ps(out.add(n * self.stride), result);
            }
        }
    }
}

/// The shape of a format's blocks.
trait Shape {
    /// Scales of a block, 8 or 16.
    const SCALES: usize;
    /// Fours of weights whose products fit together into 16 bits: `run * 2 * q * 127 < 2^15`.
    const RUN: usize;
    /// Whether offsets have a factor of their own.
    const HAS_MINS: bool;
}

struct Q4;
struct Q5;
struct Q6;

impl Shape for Q4 {
    const SCALES: usize = 8;
    const RUN: usize = 8;
    const HAS_MINS: bool = true;
}

impl Shape for Q5 {
    const SCALES: usize = 8;
    const RUN: usize = 4;
    const HAS_MINS: bool = true;
}

impl Shape for Q6 {
    const SCALES: usize = 16;
    const RUN: usize = 2;
    const HAS_MINS: bool = false;
}

/// The sums of `scale * q * row` over a block, for eight rows of weights by `N` rows.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn products<S: Shape, const N: usize>(block: &Panel, rows: [&RowBlock; N]) -> [__m256i; N] {
    let fours = 64 / S::SCALES;
    let mut sums = [_mm256_setzero_si256(); N];
    for scale in 0..S::SCALES {
        // SAFETY: `q` has 64 fours, a row's block 256 integers; the scales are aligned.
        unsafe {
            let scales = _mm256_load_si256(block.scales[scale].as_ptr().cast());
            for run in 0..fours / S::RUN {
                let mut products = [_mm256_setzero_si256(); N];
                for i in 0..S::RUN {
                    let four = scale * fours + run * S::RUN + i;
                    let weights = _mm256_load_si256(block.q[four].as_ptr().cast());
                    for n in 0..N {
                        let row = _mm256_set1_epi32(rows[n].q.as_ptr().add(4 * four).cast::<i32>().read());
                        let product = _mm256_maddubs_epi16(weights, row);
                        products[n] = if i == 0 { product } else { _mm256_add_epi16(products[n], product) };
                    }
                }
                for n in 0..N {
                    sums[n] = _mm256_add_epi32(sums[n], _mm256_madd_epi16(products[n], scales));
                }
            }
        }
    }
    sums
}

/// The sums of `offset * row` over a block.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn offsets<S: Shape, const N: usize>(block: &Panel, rows: [&RowBlock; N]) -> [__m256i; N] {
    let mut sums = [_mm256_setzero_si256(); N];
    for pair in 0..S::SCALES / 2 {
        // SAFETY: two of 8 or 16 sums are read at a time.
        unsafe {
            let offsets = _mm256_load_si256(block.offsets[pair].as_ptr().cast());
            for n in 0..N {
                let row_sums = if S::SCALES == 16 { rows[n].sums16.as_ptr() } else { rows[n].sums32.as_ptr() };
                let row = _mm256_set1_epi32(row_sums.add(2 * pair).cast::<i32>().read());
                sums[n] = _mm256_add_epi32(sums[n], _mm256_madd_epi16(offsets, row));
            }
        }
    }
    sums
}
