//! A block of eight rows of K-quants, unpacked to bytes in the order in which the kernel reads them.

use std::arch::x86_64::*;

use super::super::PANEL_ROWS;
use super::super::blocks::{LONG, Q4K, Q5K, Q6K, Scales, scales_and_mins};
use super::super::vector::{Rows, floats, high_halves, interleaved, low_halves, store, transposed};

/// Eight rows of 256 weights. Weight `k` of row `r` is `d[r] * scale * q - dmin[r] * min` (K-quants with mins) or
/// `d[r] * scale * (q - offset)`.
#[repr(C, align(32))]
pub struct Panel {
    /// For every four weights: those of the eight rows.
    pub q: [[u8; 4 * PANEL_ROWS]; LONG / 4],
    /// For every scale: those of the eight rows, each twice.
    pub scales: [[i16; 2 * PANEL_ROWS]; 16],
    /// For every two scales: the eight rows' factors of the sums of what the two cover, side by side.
    pub offsets: [[i16; 2 * PANEL_ROWS]; 8],
    pub d: [f32; PANEL_ROWS],
    pub dmin: [f32; PANEL_ROWS],
}

#[target_feature(enable = "avx2,f16c")]
pub fn unpack_q4(rows: &Rows<'_, Q4K>, into: &mut Panel) {
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
pub fn unpack_q5(rows: &Rows<'_, Q5K>, into: &mut Panel) {
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
pub fn unpack_q6(rows: &Rows<'_, Q6K>, into: &mut Panel) {
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
