//! Rows of numbers as blocks of 8-bit integers.

use std::arch::x86_64::*;

use super::blocks::{LONG, SHORT};

/// 256 numbers `d * q`, with the sums that the offsets of weights are multiplied by (ggml's Q8_K).
#[repr(C, align(32))]
#[derive(Debug, Clone)]
pub struct LongRow {
    pub q: [i8; LONG],
    /// Of each 16 integers.
    pub sums16: [i16; 16],
    /// Of each 32 integers.
    pub sums32: [i16; 8],
    pub d: f32,
}

/// 32 numbers `d * q` (ggml's Q8_0 and Q8_1, but with 32 bits for `d`).
#[repr(C)]
#[derive(Debug, Clone)]
pub struct ShortRow {
    pub q: [i8; SHORT],
    pub d: f32,
    /// What the products of the integers with weights start with, whose own integers are too large by one number.
    pub start: i32,
    /// The sum of the numbers.
    pub sum: f32,
}

/// Quantizes 256 numbers; where one of them is not finite, `d` is NaN, and so is what is computed with it.
///
/// # Safety
/// The processor has AVX2; 256 numbers are at `numbers`, and `row` can be written.
#[target_feature(enable = "avx2")]
pub unsafe fn quantize_long(numbers: *const f32, row: *mut LongRow) {
    // SAFETY: the caller's.
    let (numbers, row) = unsafe { (&*numbers.cast::<[f32; LONG]>(), &mut *row) };
    let (d, inverse) = scale(numbers);
    row.d = d;
    for (at, numbers) in numbers.as_chunks().0.iter().enumerate() {
        let bytes = integers(numbers, inverse);
        // SAFETY: 32 bytes of 256, aligned.
        unsafe { _mm256_store_si256(row.q.as_mut_ptr().add(32 * at).cast(), bytes) };
        let (first, second) = sums(bytes);
        row.sums16[2 * at] = first as i16;
        row.sums16[2 * at + 1] = second as i16;
        row.sums32[at] = (first + second) as i16;
    }
}

/// Quantizes 32 numbers in the same way, for weights whose integers are `offset` too large.
///
/// # Safety
/// The processor has AVX2; 32 numbers are at `numbers`, and `row` can be written.
#[target_feature(enable = "avx2")]
pub unsafe fn quantize_short(numbers: *const f32, offset: i32, row: *mut ShortRow) {
    // SAFETY: the caller's.
    let (numbers, row) = unsafe { (&*numbers.cast::<[f32; SHORT]>(), &mut *row) };
    let (d, inverse) = scale(numbers);
    let bytes = integers(numbers, inverse);
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(row.q.as_mut_ptr().cast(), bytes) };
    let (first, second) = sums(bytes);
    row.d = d;
    row.start = -offset * (first + second);
    row.sum = d * (first + second) as f32;
}

/// What integers of up to 127 are multiplied with, and its inverse.
#[target_feature(enable = "avx2")]
#[inline]
fn scale(numbers: &[f32]) -> (f32, __m256) {
    let greatest = greatest(numbers);
    let is_finite = greatest <= f32::MAX;
    let d = if is_finite { greatest / 127.0 } else { f32::NAN };
    let inverse = if is_finite && greatest >= f32::MIN_POSITIVE { 127.0 / greatest } else { 0.0 };
    (d, _mm256_set1_ps(inverse))
}

/// The integers of 32 numbers.
#[target_feature(enable = "avx2")]
#[inline]
fn integers(numbers: &[f32; 32], inverse: __m256) -> __m256i {
    // Packing works within halves of registers: this puts groups of four integers in order.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    // SAFETY: eight of 32 numbers.
    let eight = |i: usize| unsafe { _mm256_loadu_ps(numbers.as_ptr().add(8 * i)) };
    let integers = |i: usize| _mm256_cvtps_epi32(_mm256_mul_ps(eight(i), inverse));
    let low = _mm256_packs_epi32(integers(0), integers(1));
    let high = _mm256_packs_epi32(integers(2), integers(3));
    _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order)
}

/// The sums of the first 16 bytes and of the others.
#[target_feature(enable = "avx2")]
#[inline]
fn sums(bytes: __m256i) -> (i32, i32) {
    let fours = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes), _mm256_set1_epi16(1));
    let eights = _mm256_hadd_epi32(fours, fours);
    let sixteens = _mm256_hadd_epi32(eights, eights);
    (_mm256_extract_epi32::<0>(sixteens), _mm256_extract_epi32::<4>(sixteens))
}

/// The largest absolute value of a multiple of 32 numbers; NaN if any input is NaN.
#[target_feature(enable = "avx2")]
#[inline]
fn greatest(numbers: &[f32]) -> f32 {
    let sign = _mm256_set1_ps(-0.0);
    let mut greatest = [_mm256_setzero_ps(); 4];
    let mut sum = _mm256_setzero_ps();
    for numbers in numbers.chunks_exact(32) {
        for (i, greatest) in greatest.iter_mut().enumerate() {
            // SAFETY: within 32 numbers.
            let distance = _mm256_andnot_ps(sign, unsafe { _mm256_loadu_ps(numbers.as_ptr().add(8 * i)) });
            *greatest = _mm256_max_ps(*greatest, distance);
            // A maximum can lose a NaN, a sum cannot.
            sum = _mm256_add_ps(sum, _mm256_sub_ps(distance, distance));
        }
    }
    let mut lanes = [0.0; 8];
    let mut sums = [0.0; 8];
    let all = _mm256_max_ps(_mm256_max_ps(greatest[0], greatest[1]), _mm256_max_ps(greatest[2], greatest[3]));
    // SAFETY: eight numbers each.
    unsafe {
        _mm256_storeu_ps(lanes.as_mut_ptr(), all);
        _mm256_storeu_ps(sums.as_mut_ptr(), sum);
    }
    lanes.into_iter().fold(0.0, f32::max) + sums.into_iter().sum::<f32>()
}
