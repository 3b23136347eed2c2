//! A block of eight rows of 32 weights, unpacked to bytes in the order in which the kernel reads them.

use std::arch::x86_64::*;

use super::super::PANEL_ROWS;
use super::super::blocks::{IQ4_NL, Iq4nl, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, SHORT};
use super::super::vector::{Rows, floats, interleave, low_halves, store};
use super::{Bytes, ShortShape};

/// Eight rows of 32 weights. Weight `k` of row `r` is `d[r] * q + m[r]`, less what rows start with.
#[repr(C, align(32))]
pub struct Panel {
    /// For every four weights: those of the eight rows.
    pub q: [[u8; 4 * PANEL_ROWS]; SHORT / 4],
    pub d: [f32; PANEL_ROWS],
    pub m: [f32; PANEL_ROWS],
}

impl ShortShape for Q4_0 {
    const RUN: usize = 8;
    const BYTES: Bytes = Bytes::Unsigned;

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn bytes(&self) -> __m256i {
        halves(&self.q)
    }

    fn scale_and_min(&self) -> (u16, u16) {
        (self.d, 0)
    }
}

impl ShortShape for Q4_1 {
    const RUN: usize = 8;
    const BYTES: Bytes = Bytes::WithMin;

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn bytes(&self) -> __m256i {
        halves(&self.q)
    }

    fn scale_and_min(&self) -> (u16, u16) {
        (self.d, self.m)
    }
}

impl ShortShape for Q5_0 {
    const RUN: usize = 4;
    const BYTES: Bytes = Bytes::Unsigned;

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn bytes(&self) -> __m256i {
        _mm256_or_si256(halves(&self.q), fifth_bits(self.high))
    }

    fn scale_and_min(&self) -> (u16, u16) {
        (self.d, 0)
    }
}

impl ShortShape for Q5_1 {
    const RUN: usize = 4;
    const BYTES: Bytes = Bytes::WithMin;

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn bytes(&self) -> __m256i {
        _mm256_or_si256(halves(&self.q), fifth_bits(self.high))
    }

    fn scale_and_min(&self) -> (u16, u16) {
        (self.d, self.m)
    }
}

impl ShortShape for Q8_0 {
    const RUN: usize = 1;
    const BYTES: Bytes = Bytes::Signed;

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn bytes(&self) -> __m256i {
        // SAFETY: 32 bytes.
        unsafe { _mm256_loadu_si256(self.q.as_ptr().cast()) }
    }

    fn scale_and_min(&self) -> (u16, u16) {
        (self.d, 0)
    }
}

impl ShortShape for Iq4nl {
    const RUN: usize = 1;
    const BYTES: Bytes = Bytes::Signed;

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn bytes(&self) -> __m256i {
        of_table(halves(&self.0.q))
    }

    fn scale_and_min(&self) -> (u16, u16) {
        (self.0.d, 0)
    }
}

/// As [`Shape::unpack`](super::super::kernel::Shape::unpack).
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub unsafe fn unpack<B: ShortShape>(rows: *const u8, row_bytes: usize, block: usize, into: &mut Panel) {
    // SAFETY: the caller's; blocks are aligned to no more than two bytes, and so are tensors.
    let rows = unsafe { Rows::<B>::new(rows, row_bytes, block) };
    let (mut bytes, mut d, mut m) = ([_mm256_setzero_si256(); 8], [0; 8], [0; 8]);
    for (i, row) in rows.0.into_iter().enumerate() {
        // SAFETY: the caller's.
        bytes[i] = unsafe { row.bytes() };
        (d[i], m[i]) = row.scale_and_min();
    }
    for (place, fours) in into.q.iter_mut().zip(interleave(bytes)) {
        store(place, fours);
    }
    (into.d, into.m) = (floats(d), floats(m));
}

/// The low halves of 16 bytes, then the high ones.
#[target_feature(enable = "avx2")]
#[inline]
fn halves(bytes: &[u8; 16]) -> __m256i {
    // SAFETY: 16 bytes.
    let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    low_halves(_mm256_set_m128i(_mm_srli_epi16::<4>(bytes), bytes))
}

/// For each of 32 bits 16 or 0.
#[target_feature(enable = "avx2")]
#[inline]
fn fifth_bits(bits: [u8; 4]) -> __m256i {
    let byte_of = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let bit_of = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
    let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(i32::from_le_bytes(bits)), byte_of);
    let is_set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of), bit_of);
    _mm256_and_si256(is_set, _mm256_set1_epi8(0x10))
}

#[target_feature(enable = "avx2")]
#[inline]
fn of_table(halves: __m256i) -> __m256i {
    // SAFETY: 16 bytes.
    let table = unsafe { _mm_loadu_si128(IQ4_NL.as_ptr().cast()) };
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), halves)
}
