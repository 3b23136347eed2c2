//! Bytes and scales of eight rows, put in the order of panels.

use std::arch::x86_64::*;

use super::PANEL_ROWS;

/// A block of each of eight rows. What works with it takes no closures: what is written where AVX2 is allowed cannot be inlined
/// where it is not, and would be called for every row.
pub struct Rows<'a, B>(pub [&'a B; PANEL_ROWS]);

impl<B> Rows<'_, B> {
    /// # Safety
    /// There are eight rows, `row_bytes` apart, with that block.
    pub unsafe fn new(first: *const u8, row_bytes: usize, block: usize) -> Self {
        // SAFETY: the caller's.
        Rows(std::array::from_fn(|row| unsafe { &*first.add(row * row_bytes).cast::<B>().add(block) }))
    }
}

#[target_feature(enable = "avx2")]
pub fn low_halves(bytes: __m256i) -> __m256i {
    _mm256_and_si256(bytes, _mm256_set1_epi8(0x0f))
}

#[target_feature(enable = "avx2")]
pub fn high_halves(bytes: __m256i) -> __m256i {
    _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0f))
}

#[target_feature(enable = "avx2")]
pub fn store<T>(place: &mut T, value: __m256i) {
    const { assert!(size_of::<T>() == 32) };
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(std::ptr::from_mut(place).cast(), value) };
}

#[target_feature(enable = "avx2,f16c")]
pub fn floats(halves: [u16; 8]) -> [f32; 8] {
    let mut floats = [0.0; 8];
    // SAFETY: eight halves, eight floats.
    unsafe { _mm256_storeu_ps(floats.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast()))) };
    floats
}

/// 32 bytes of eight rows, from a place in their blocks on: four of each row, and so on.
#[target_feature(enable = "avx2")]
pub fn interleaved<B>(blocks: &Rows<'_, B>, at: usize) -> [__m256i; 8] {
    assert!(at + 32 <= size_of::<B>());
    let mut rows = [_mm256_setzero_si256(); 8];
    for (row, block) in rows.iter_mut().zip(blocks.0) {
        // SAFETY: within the block.
        *row = unsafe { _mm256_loadu_si256(std::ptr::from_ref(block).cast::<u8>().add(at).cast()) };
    }
    interleave(rows)
}

/// Four bytes of each row, and so on.
#[target_feature(enable = "avx2")]
pub fn interleave(rows: [__m256i; 8]) -> [__m256i; 8] {
    let pairs = |a: __m256i, b: __m256i| (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let fours = |(a0, a1): (__m256i, __m256i), (b0, b1): (__m256i, __m256i)| {
        [
            _mm256_unpacklo_epi64(a0, b0),
            _mm256_unpackhi_epi64(a0, b0),
            _mm256_unpacklo_epi64(a1, b1),
            _mm256_unpackhi_epi64(a1, b1),
        ]
    };
    let first = fours(pairs(rows[0], rows[1]), pairs(rows[2], rows[3]));
    let second = fours(pairs(rows[4], rows[5]), pairs(rows[6], rows[7]));
    let low = |i: usize| _mm256_permute2x128_si256::<0x20>(first[i], second[i]);
    let high = |i: usize| _mm256_permute2x128_si256::<0x31>(first[i], second[i]);
    [low(0), low(1), low(2), low(3), high(0), high(1), high(2), high(3)]
}

/// Eight bytes of eight rows: the first bytes of all rows, then the second ones, and so on.
#[target_feature(enable = "avx2")]
pub fn transposed(rows: [u64; 8]) -> [__m128i; 4] {
    let pair = |r: usize| _mm_unpacklo_epi8(_mm_cvtsi64_si128(rows[r] as i64), _mm_cvtsi64_si128(rows[r + 1] as i64));
    let (a, b, c, d) = (pair(0), pair(2), pair(4), pair(6));
    let (first, second) = (_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b));
    let (third, fourth) = (_mm_unpacklo_epi16(c, d), _mm_unpackhi_epi16(c, d));
    [
        _mm_unpacklo_epi32(first, third),
        _mm_unpackhi_epi32(first, third),
        _mm_unpacklo_epi32(second, fourth),
        _mm_unpackhi_epi32(second, fourth),
    ]
}
