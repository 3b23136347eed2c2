//! A single row of numbers times weights: these are read once, so they are not unpacked to memory first. Sums of integers are exact, and
//! scales are applied in the order of [`super::Short`]: a row has the bits that it has among others.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::rows::ShortRow;
use super::super::vector::Rows;
use super::super::{Ahead, PANEL_ROWS, Weights};
use super::{Bytes, ShortShape};

/// Multiplies some panels of the weights with a row.
///
/// # Safety
/// The processor has AVX2, FMA and F16C; `weights` describes memory that is there, `row` has its blocks, and `out` room for the
/// results of all panels.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn multiply_single<S: ShortShape>(
    weights: &Weights,
    panels: Range<usize>,
    row: *const ShortRow,
    out: *mut f32,
) {
    let n_blocks = weights.n_in / super::SHORT;
    for panel in panels.clone() {
        let mut ahead = Ahead::new(weights, (panel + 1)..panels.end.min(panel + 2), n_blocks);
        let first = weights.data.wrapping_add(panel * PANEL_ROWS * weights.row_bytes);
        let mut results = _mm256_setzero_ps();
        for block in 0..n_blocks {
            ahead.step();
            // SAFETY: the caller's; the block is within the rows.
            results = unsafe { add(&Rows::<S>::new(first, weights.row_bytes, block), &*row.add(block), results) };
        }
        // SAFETY: eight results of the panel.
        unsafe { _mm256_storeu_ps(out.add(panel * PANEL_ROWS), results) };
    }
}

/// Adds the product of a block of eight rows of weights with one of the row.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn add<S: ShortShape>(weights: &Rows<'_, S>, row: &ShortRow, results: __m256) -> __m256 {
    // SAFETY: 32 integers.
    let numbers = unsafe { _mm256_loadu_si256(row.q.as_ptr().cast()) };
    let (mut products, mut d, mut m) = ([_mm256_setzero_si256(); PANEL_ROWS], [0; PANEL_ROWS], [0; PANEL_ROWS]);
    for (i, block) in weights.0.into_iter().enumerate() {
        // SAFETY: the caller's.
        products[i] = pairs::<S>(unsafe { block.bytes() }, numbers);
        (d[i], m[i]) = block.scale_and_min();
    }
    let mut sums = sums(products);
    if S::BYTES == Bytes::Unsigned {
        sums = _mm256_add_epi32(sums, _mm256_set1_epi32(row.start));
    }
    let sum = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(row.d));
    let results = _mm256_fmadd_ps(sum, floats(d), results);
    match S::BYTES {
        Bytes::WithMin => _mm256_fmadd_ps(floats(m), _mm256_set1_ps(row.sum), results),
        Bytes::Unsigned | Bytes::Signed => results,
    }
}

/// The products of 32 weights, added up by fours.
#[target_feature(enable = "avx2")]
#[inline]
fn pairs<S: ShortShape>(weights: __m256i, numbers: __m256i) -> __m256i {
    let pairs = match S::BYTES {
        Bytes::Signed => _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(numbers, weights)),
        Bytes::Unsigned | Bytes::WithMin => _mm256_maddubs_epi16(weights, numbers),
    };
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

/// The sum of each of eight times eight integers.
#[target_feature(enable = "avx2")]
#[inline]
fn sums(of: [__m256i; 8]) -> __m256i {
    let first = _mm256_hadd_epi32(_mm256_hadd_epi32(of[0], of[1]), _mm256_hadd_epi32(of[2], of[3]));
    let second = _mm256_hadd_epi32(_mm256_hadd_epi32(of[4], of[5]), _mm256_hadd_epi32(of[6], of[7]));
    let (low, high) =
        (_mm256_permute2x128_si256::<0x20>(first, second), _mm256_permute2x128_si256::<0x31>(first, second));
    _mm256_add_epi32(low, high)
}

/// Eight 16-bit floats, put together in a register: through memory they would have to wait for each other.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn floats(halves: [u16; 8]) -> __m256 {
    let [a, b, c, d, e, f, g, h] = halves.map(u16::cast_signed);
    _mm256_cvtph_ps(_mm_setr_epi16(a, b, c, d, e, f, g, h))
}
