//! A block of eight rows of weights, unpacked to bytes in the order in which the kernel reads them.

use std::arch::x86_64::*;

use super::blocks::{Format, Q4K, Q4Kx8, Q5K, Q6K, Scales, scales_and_mins};
use super::{BLOCK, PANEL_ROWS, Weights};

/// Eight rows of 256 weights. Weight `k` of row `r` is `d[r] * scale * q - dmin[r] * min` (K-quants with mins) or
/// `d[r] * scale * (q - offset)`.
#[repr(C, align(32))]
pub struct Panel {
    /// For every four weights: those of the eight rows.
    pub q: [[u8; 4 * PANEL_ROWS]; BLOCK / 4],
    /// For every scale: those of the eight rows, each twice.
    pub scales: [[i16; 2 * PANEL_ROWS]; 16],
    /// For every two scales: the eight rows' factors of the sums of what the two cover, side by side.
    pub offsets: [[i16; 2 * PANEL_ROWS]; 8],
    pub d: [f32; PANEL_ROWS],
    pub dmin: [f32; PANEL_ROWS],
}

/// Unpacks a block of a panel.
///
/// # Safety
/// The processor has AVX2 and F16C, and the weights have that panel and block.
#[target_feature(enable = "avx2,f16c")]
pub unsafe fn unpack(weights: &Weights, panel: usize, block: usize, into: &mut Panel) {
    let Weights { format, row_bytes, .. } = *weights;
    // SAFETY: the caller's; blocks are aligned to no more than two bytes, and so are tensors.
    unsafe {
        let rows = weights.data.add(panel * PANEL_ROWS * row_bytes);
        match format {
            Format::Q4K => unpack_q4(&Rows::new(rows, row_bytes, block), into),
            Format::Q4Kx8 => unpack_q4_x8(&*rows.cast::<Q4Kx8>().add(block), into),
            Format::Q5K => unpack_q5(&Rows::new(rows, row_bytes, block), into),
            Format::Q6K => unpack_q6(&Rows::new(rows, row_bytes, block), into),
        }
    }
}

/// A block of each of eight rows. Its functions take no closures: what is written where AVX2 is allowed cannot be inlined where
/// it is not, and would be called for every row.
struct Rows<'a, B>([&'a B; PANEL_ROWS]);

impl<B> Rows<'_, B> {
    /// # Safety
    /// There are eight rows, `row_bytes` apart, with that block.
    unsafe fn new(first: *const u8, row_bytes: usize, block: usize) -> Self {
        // SAFETY: the caller's.
        Rows(std::array::from_fn(|row| unsafe { &*first.add(row * row_bytes).cast::<B>().add(block) }))
    }
}

#[target_feature(enable = "avx2,f16c")]
fn unpack_q4(rows: &Rows<'_, Q4K>, into: &mut Panel) {
    for part in 0..4 {
        let bytes = interleaved(rows, std::mem::offset_of!(Q4K, q) + 32 * part);
        for (i, bytes) in bytes.into_iter().enumerate() {
            store(&mut into.q[16 * part + i], low_halves(bytes));
            store(&mut into.q[16 * part + 8 + i], high_halves(bytes));
        }
    }
    unpack_scales(rows, into);
}

#[target_feature(enable = "avx2,f16c")]
fn unpack_q4_x8(rows: &Q4Kx8, into: &mut Panel) {
    for eight in 0..16 {
        // Eight weights of each row, two rows to 16 bytes.
        let two_rows = |at: usize| {
            // SAFETY: 16 of the 64 bytes.
            unsafe { _mm_loadu_si128(rows.q.as_ptr().add(64 * eight + 16 * at).cast()) }
        };
        let evens = _mm256_castsi256_ps(_mm256_set_m128i(two_rows(2), two_rows(0)));
        let odds = _mm256_castsi256_ps(_mm256_set_m128i(two_rows(3), two_rows(1)));
        let fours = [
            _mm256_castps_si256(_mm256_shuffle_ps::<0x88>(evens, odds)),
            _mm256_castps_si256(_mm256_shuffle_ps::<0xdd>(evens, odds)),
        ];
        let at = 16 * (eight / 4) + 2 * (eight % 4);
        for (i, bytes) in fours.into_iter().enumerate() {
            store(&mut into.q[at + i], low_halves(bytes));
            store(&mut into.q[at + 8 + i], high_halves(bytes));
        }
    }
    for pair in 0..4 {
        let (first, second) = (scales_and_mins(rows.scales[2 * pair]), scales_and_mins(rows.scales[2 * pair + 1]));
        store_scales(pair, _mm_set_epi64x(second.0 as i64, first.0 as i64), into);
        store_offsets(pair, _mm_set_epi64x(second.1 as i64, first.1 as i64), into);
    }
    into.d = floats(rows.d);
    into.dmin = floats(rows.dmin);
}

#[target_feature(enable = "avx2,f16c")]
fn unpack_q5(rows: &Rows<'_, Q5K>, into: &mut Panel) {
    let fifth = _mm256_set1_epi8(0x10);
    let mut high = interleaved(rows, std::mem::offset_of!(Q5K, high));
    for part in 0..4 {
        let bytes = interleaved(rows, std::mem::offset_of!(Q5K, q) + 32 * part);
        for (i, bytes) in bytes.into_iter().enumerate() {
            let first = _mm256_and_si256(_mm256_slli_epi16::<4>(high[i]), fifth);
            let second = _mm256_and_si256(_mm256_slli_epi16::<3>(high[i]), fifth);
            store(&mut into.q[16 * part + i], _mm256_or_si256(low_halves(bytes), first));
            store(&mut into.q[16 * part + 8 + i], _mm256_or_si256(high_halves(bytes), second));
            high[i] = _mm256_srli_epi16::<2>(high[i]);
        }
    }
    unpack_scales(rows, into);
}

#[target_feature(enable = "avx2,f16c")]
fn unpack_q6(rows: &Rows<'_, Q6K>, into: &mut Panel) {
    let bits = _mm256_set1_epi8(0x30);
    for half in 0..2 {
        let high = interleaved(rows, std::mem::offset_of!(Q6K, high) + 32 * half);
        let first = interleaved(rows, std::mem::offset_of!(Q6K, low) + 64 * half);
        let second = interleaved(rows, std::mem::offset_of!(Q6K, low) + 64 * half + 32);
        for i in 0..8 {
            let q = [
                _mm256_or_si256(low_halves(first[i]), _mm256_and_si256(_mm256_slli_epi16::<4>(high[i]), bits)),
                _mm256_or_si256(low_halves(second[i]), _mm256_and_si256(_mm256_slli_epi16::<2>(high[i]), bits)),
                _mm256_or_si256(high_halves(first[i]), _mm256_and_si256(high[i], bits)),
                _mm256_or_si256(high_halves(second[i]), _mm256_and_si256(_mm256_srli_epi16::<2>(high[i]), bits)),
            ];
            for (part, q) in q.into_iter().enumerate() {
                store(&mut into.q[32 * half + 8 * part + i], q);
            }
        }
    }
    let (mut scales, mut d) = ([[0; 8]; 2], [0; 8]);
    for (i, row) in rows.0.iter().enumerate() {
        for (scales, of_row) in scales.iter_mut().zip(row.scales.as_chunks().0) {
            scales[i] = u64::from_le_bytes(*of_row);
        }
        d[i] = row.d;
    }
    for (half, scales) in scales.into_iter().enumerate() {
        for (i, pair) in transposed(scales).into_iter().enumerate() {
            store_scales_signed(4 * half + i, pair, into);
        }
    }
    into.d = floats(d);
}

/// Scales and mins of six bits.
#[target_feature(enable = "avx2,f16c")]
fn unpack_scales<B: AsRef<Scales>>(rows: &Rows<'_, B>, into: &mut Panel) {
    let (mut scales, mut mins, mut d, mut dmin) = ([0; 8], [0; 8], [0; 8], [0; 8]);
    for (i, row) in rows.0.iter().enumerate() {
        let row = row.as_ref();
        (scales[i], mins[i]) = scales_and_mins(row.packed);
        (d[i], dmin[i]) = (row.d, row.dmin);
    }
    for (pair, scales) in transposed(scales).into_iter().enumerate() {
        store_scales(pair, scales, into);
    }
    for (pair, mins) in transposed(mins).into_iter().enumerate() {
        store_offsets(pair, mins, into);
    }
    (into.d, into.dmin) = (floats(d), floats(dmin));
}

/// Of two scales of eight rows each, a byte each: the eight of the first, then those of the second.
#[target_feature(enable = "avx2")]
fn store_scales(pair: usize, scales: __m128i, into: &mut Panel) {
    store(&mut into.scales[2 * pair], _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(scales, scales)));
    store(&mut into.scales[2 * pair + 1], _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(scales, scales)));
}

#[target_feature(enable = "avx2")]
fn store_offsets(pair: usize, mins: __m128i, into: &mut Panel) {
    store(&mut into.offsets[pair], _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(mins, _mm_srli_si128::<8>(mins))));
}

/// Of two signed scales, whose weights are 32 too large.
#[target_feature(enable = "avx2")]
fn store_scales_signed(pair: usize, scales: __m128i, into: &mut Panel) {
    store(&mut into.scales[2 * pair], _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(scales, scales)));
    store(&mut into.scales[2 * pair + 1], _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(scales, scales)));
    let both = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(scales, _mm_srli_si128::<8>(scales)));
    store(&mut into.offsets[pair], _mm256_slli_epi16::<5>(both));
}

#[target_feature(enable = "avx2")]
fn low_halves(bytes: __m256i) -> __m256i {
    _mm256_and_si256(bytes, _mm256_set1_epi8(0x0f))
}

#[target_feature(enable = "avx2")]
fn high_halves(bytes: __m256i) -> __m256i {
    _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0f))
}

#[target_feature(enable = "avx2")]
fn store<T>(place: &mut T, value: __m256i) {
    const { assert!(size_of::<T>() == 32) };
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(std::ptr::from_mut(place).cast(), value) };
}

#[target_feature(enable = "avx2,f16c")]
fn floats(halves: [u16; 8]) -> [f32; 8] {
    let mut floats = [0.0; 8];
    // SAFETY: eight halves, eight floats.
    unsafe { _mm256_storeu_ps(floats.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast()))) };
    floats
}

/// 32 bytes of eight rows, from a place in their blocks on: four of each row, and so on.
#[target_feature(enable = "avx2")]
fn interleaved<B>(blocks: &Rows<'_, B>, at: usize) -> [__m256i; 8] {
    assert!(at + 32 <= size_of::<B>());
    let mut rows = [_mm256_setzero_si256(); 8];
    for (row, block) in rows.iter_mut().zip(blocks.0) {
        // SAFETY: within the block.
        *row = unsafe { _mm256_loadu_si256(std::ptr::from_ref(block).cast::<u8>().add(at).cast()) };
    }
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
fn transposed(rows: [u64; 8]) -> [__m128i; 4] {
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
