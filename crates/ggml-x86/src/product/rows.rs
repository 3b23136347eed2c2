//! Rows of numbers as blocks of 8-bit integers.

use std::arch::x86_64::*;

use super::BLOCK;

/// 256 numbers `d * q`, with the sums that the offsets of weights are multiplied by (ggml's Q8_K).
#[repr(C, align(32))]
#[derive(Debug, Clone)]
pub struct RowBlock {
    pub q: [i8; BLOCK],
    /// Of each 16 integers.
    pub sums16: [i16; 16],
    /// Of each 32 integers.
    pub sums32: [i16; 8],
    pub d: f32,
}

/// Quantizes 256 numbers; where one of them is not finite, `d` is NaN, and so is what is computed with it.
///
/// # Safety
/// The processor has AVX2; 256 numbers are at `numbers`, and `block` can be written.
#[target_feature(enable = "avx2")]
pub unsafe fn quantize(numbers: *const f32, block: *mut RowBlock) {
    // SAFETY: the caller's.
    let (numbers, block) = unsafe { (&*numbers.cast::<[f32; BLOCK]>(), &mut *block) };
    let greatest = greatest(numbers);
    let is_finite = greatest <= f32::MAX;
    block.d = if is_finite { greatest / 127.0 } else { f32::NAN };
    let inverse = if is_finite && greatest >= f32::MIN_POSITIVE { 127.0 / greatest } else { 0.0 };
    let inverse = _mm256_set1_ps(inverse);
    // Packing works within halves of registers: this puts groups of four integers in order.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let ones = _mm256_set1_epi8(1);
    for (at, numbers) in numbers.chunks_exact(32).enumerate() {
        // SAFETY: 32 numbers are read, 32 bytes of 256 written.
        unsafe {
            let integers =
                |i: usize| _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(numbers.as_ptr().add(8 * i)), inverse));
            let low = _mm256_packs_epi32(integers(0), integers(1));
            let high = _mm256_packs_epi32(integers(2), integers(3));
            let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
            _mm256_store_si256(block.q.as_mut_ptr().add(32 * at).cast(), bytes);
            let fours = _mm256_madd_epi16(_mm256_maddubs_epi16(ones, bytes), _mm256_set1_epi16(1));
            let eights = _mm256_hadd_epi32(fours, fours);
            let sixteens = _mm256_hadd_epi32(eights, eights);
            let (first, second) = (_mm256_extract_epi32(sixteens, 0), _mm256_extract_epi32(sixteens, 4));
            block.sums16[2 * at] = first as i16;
            block.sums16[2 * at + 1] = second as i16;
            block.sums32[at] = (first + second) as i16;
        }
    }
}

/// The largest absolute value; NaN if any input is NaN.
#[target_feature(enable = "avx2")]
fn greatest(numbers: &[f32; BLOCK]) -> f32 {
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
