//! Blocks of 32 weights, each with a scale of its own, times blocks of rows.

mod panel;
mod single;

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::blocks::SHORT;
use super::kernel::Shape;
use super::rows::ShortRow;
use panel::Panel;
pub use single::multiply_single;

/// The shape of a format with blocks of 32.
pub struct Short<B>(PhantomData<B>);

/// A block of one row, and what distinguishes its format from the others.
pub trait ShortShape {
    /// Fours of weights whose products fit together into 16 bits: `run * 2 * q * 127 < 2^15`.
    const RUN: usize;
    /// What is in the bytes, beside the scale.
    const BYTES: Bytes;

    /// The 32 weights.
    ///
    /// # Safety
    /// The processor has AVX2.
    unsafe fn bytes(&self) -> __m256i;

    /// The scale, and the number that is added to each weight, as 16-bit floats.
    fn scale_and_min(&self) -> (u16, u16);
}

/// What the bytes of unpacked weights are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// From 0 on; what is too much is in the sum that a row starts with.
    Unsigned,
    /// From 0 on, with a number that is added to each weight.
    WithMin,
    /// With a sign.
    Signed,
}

impl<S: ShortShape> Shape for Short<S> {
    type Row = ShortRow;
    type Panel = Panel;

    const BLOCK: usize = SHORT;
    const BLOCKS_AT_ONCE: usize = 32;

    #[inline]
    unsafe fn unpack(rows: *const u8, row_bytes: usize, block: usize, into: &mut Panel) {
        // SAFETY: the caller's.
        unsafe { panel::unpack::<S>(rows, row_bytes, block, into) };
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn add<const N: usize>(panel: &[Panel], rows: *const ShortRow, n_rows: usize, results: &mut [__m256; N]) {
        for (at, block) in panel.iter().enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let rows: [&ShortRow; N] = std::array::from_fn(|n| &*rows.add(at * n_rows + n));
                scale_and_add::<S, N>(block, rows, products::<S, N>(block, rows), results);
            }
        }
    }
}

/// The same for processors with AVX-VNNI, which add up the products of bytes in 32 bits: bytes with a sign become some without
/// one. The sums of integers are equal, and so are the results.
pub struct Fused<B>(PhantomData<B>);

/// What bytes with a sign are greater by when they have none.
pub const SIGN: i32 = 128;

impl<S: ShortShape> Shape for Fused<S> {
    type Row = ShortRow;
    type Panel = Panel;

    const BLOCK: usize = SHORT;
    const BLOCKS_AT_ONCE: usize = 32;

    #[inline]
    unsafe fn unpack(rows: *const u8, row_bytes: usize, block: usize, into: &mut Panel) {
        // SAFETY: the caller's.
        unsafe { panel::unpack::<S>(rows, row_bytes, block, into) };
        if S::BYTES == Bytes::Signed {
            for byte in into.q.as_flattened_mut() {
                *byte ^= 0x80;
            }
        }
    }

    #[target_feature(enable = "avx2,fma,avxvnni")]
    #[inline]
    unsafe fn add<const N: usize>(panel: &[Panel], rows: *const ShortRow, n_rows: usize, results: &mut [__m256; N]) {
        for (at, block) in panel.iter().enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let rows: [&ShortRow; N] = std::array::from_fn(|n| &*rows.add(at * n_rows + n));
                scale_and_add::<S, N>(block, rows, fused_products::<S, N>(block, rows), results);
            }
        }
    }
}

/// Adds `d * sum`, and what is added to each weight times the sum of the row's numbers.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn scale_and_add<S: ShortShape, const N: usize>(
    panel: &Panel,
    rows: [&ShortRow; N],
    sums: [__m256i; N],
    results: &mut [__m256; N],
) {
    // SAFETY: the panel is aligned.
    let (d, m) = unsafe { (_mm256_load_ps(panel.d.as_ptr()), _mm256_load_ps(panel.m.as_ptr())) };
    for n in 0..N {
        let sum = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[n]), _mm256_set1_ps(rows[n].d));
        results[n] = _mm256_fmadd_ps(sum, d, results[n]);
        if S::BYTES == Bytes::WithMin {
            results[n] = _mm256_fmadd_ps(m, _mm256_set1_ps(rows[n].sum), results[n]);
        }
    }
}

/// As [`products`].
#[target_feature(enable = "avx2,avxvnni")]
#[inline]
unsafe fn fused_products<S: ShortShape, const N: usize>(panel: &Panel, rows: [&ShortRow; N]) -> [__m256i; N] {
    let mut sums = [_mm256_setzero_si256(); N];
    if S::BYTES != Bytes::WithMin {
        for n in 0..N {
            sums[n] = _mm256_set1_epi32(rows[n].start);
        }
    }
    for (four, weights) in panel.q.iter().enumerate() {
        // SAFETY: `q` is aligned, a row's block has 32 integers.
        unsafe {
            let weights = _mm256_load_si256(weights.as_ptr().cast());
            for n in 0..N {
                let row = _mm256_set1_epi32(rows[n].q.as_ptr().add(4 * four).cast::<i32>().read_unaligned());
                sums[n] = _mm256_dpbusd_avx_epi32(sums[n], weights, row);
            }
        }
    }
    sums
}

/// The sums of `q * row` over a block, for eight rows of weights by `N` rows.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn products<S: ShortShape, const N: usize>(panel: &Panel, rows: [&ShortRow; N]) -> [__m256i; N] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); N];
    for run in 0..SHORT / 4 / S::RUN {
        let mut products = [_mm256_setzero_si256(); N];
        for i in 0..S::RUN {
            let four = run * S::RUN + i;
            // SAFETY: `q` has 8 fours, aligned, a row's block 32 integers.
            let weights = unsafe { _mm256_load_si256(panel.q[four].as_ptr().cast()) };
            for n in 0..N {
                // SAFETY: as above.
                let row = unsafe { _mm256_set1_epi32(rows[n].q.as_ptr().add(4 * four).cast::<i32>().read_unaligned()) };
                let product = if S::BYTES == Bytes::Signed {
                    _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(row, weights))
                } else {
                    _mm256_maddubs_epi16(weights, row)
                };
                products[n] = if i == 0 { product } else { _mm256_add_epi16(products[n], product) };
            }
        }
        for n in 0..N {
            let products = _mm256_madd_epi16(products[n], ones);
            sums[n] = if run == 0 { products } else { _mm256_add_epi32(sums[n], products) };
        }
    }
    if S::BYTES == Bytes::Unsigned {
        for n in 0..N {
            sums[n] = _mm256_add_epi32(sums[n], _mm256_set1_epi32(rows[n].start));
        }
    }
    sums
}
