//! Blocks of 256 weights, those of K-quants, times blocks of rows.

mod panel;

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::blocks::{LONG, Q4K, Q5K, Q6K};
use super::kernel::Shape;
use super::rows::LongRow;
use super::vector::Rows;
use panel::Panel;

/// The shape of a K-quant.
pub struct Long<S>(PhantomData<S>);

/// What distinguishes one from the others.
pub trait LongShape {
    /// Scales of a block, 8 or 16.
    const SCALES: usize;
    /// Fours of weights whose products fit together into 16 bits: `run * 2 * q * 127 < 2^15`.
    const RUN: usize;
    /// Whether offsets have a factor of their own.
    const HAS_MINS: bool;

    /// As [`Shape::unpack`].
    unsafe fn unpack(rows: *const u8, row_bytes: usize, block: usize, into: &mut Panel);
}

impl LongShape for Q4K {
    const SCALES: usize = 8;
    const RUN: usize = 8;
    const HAS_MINS: bool = true;

    #[target_feature(enable = "avx2,f16c")]
    unsafe fn unpack(rows: *const u8, row_bytes: usize, block: usize, into: &mut Panel) {
        // SAFETY: the caller's; blocks are aligned to no more than two bytes, and so are tensors.
        panel::unpack_q4(&unsafe { Rows::new(rows, row_bytes, block) }, into);
    }
}

impl LongShape for Q5K {
    const SCALES: usize = 8;
    const RUN: usize = 4;
    const HAS_MINS: bool = true;

    #[target_feature(enable = "avx2,f16c")]
    unsafe fn unpack(rows: *const u8, row_bytes: usize, block: usize, into: &mut Panel) {
        // SAFETY: as for Q4_K.
        panel::unpack_q5(&unsafe { Rows::new(rows, row_bytes, block) }, into);
    }
}

impl LongShape for Q6K {
    const SCALES: usize = 16;
    const RUN: usize = 2;
    const HAS_MINS: bool = false;

    #[target_feature(enable = "avx2,f16c")]
    unsafe fn unpack(rows: *const u8, row_bytes: usize, block: usize, into: &mut Panel) {
        // SAFETY: as for Q4_K.
        panel::unpack_q6(&unsafe { Rows::new(rows, row_bytes, block) }, into);
    }
}

impl<S: LongShape> Shape for Long<S> {
    type Row = LongRow;
    type Panel = Panel;

    const BLOCK: usize = LONG;
    const BLOCKS_AT_ONCE: usize = 4;

    #[inline]
    unsafe fn unpack(rows: *const u8, row_bytes: usize, block: usize, into: &mut Panel) {
        // SAFETY: the caller's.
        unsafe { S::unpack(rows, row_bytes, block, into) };
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn add<const N: usize>(panel: &[Panel], rows: *const LongRow, n_rows: usize, results: &mut [__m256; N]) {
        for (at, block) in panel.iter().enumerate() {
            // SAFETY: the caller's; panels are aligned.
            unsafe {
                let rows: [&LongRow; N] = std::array::from_fn(|n| &*rows.add(at * n_rows + n));
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
        }
    }
}

/// The sums of `scale * q * row` over a block, for eight rows of weights by `N` rows.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn products<S: LongShape, const N: usize>(block: &Panel, rows: [&LongRow; N]) -> [__m256i; N] {
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
unsafe fn offsets<S: LongShape, const N: usize>(block: &Panel, rows: [&LongRow; N]) -> [__m256i; N] {
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
