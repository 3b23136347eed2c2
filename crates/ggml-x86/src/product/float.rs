//! Weights that are floats of 16 bits: unpacked to 32 bits and multiplied with the numbers as they are.

use std::arch::x86_64::*;

use super::PANEL_ROWS;
use super::blocks::SHORT;
use super::kernel::Shape;
use super::vector::interleave;

/// 32 numbers of a row.
pub type FloatRow = [f32; SHORT];

/// How a format's halves become floats of 32 bits.
pub trait Halves {
    /// Eight of them.
    ///
    /// # Safety
    /// The processor has AVX2 and F16C.
    unsafe fn to_floats(halves: __m128i) -> __m256;
}

/// IEEE 754's 16 bits.
pub struct F16;

impl Halves for F16 {
    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    unsafe fn to_floats(halves: __m128i) -> __m256 {
        _mm256_cvtph_ps(halves)
    }
}

/// The upper 16 bits of 32.
pub struct Bf16;

impl Halves for Bf16 {
    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    unsafe fn to_floats(halves: __m128i) -> __m256 {
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
    }
}

/// The shape of a format's products.
pub struct Float<H>(std::marker::PhantomData<H>);

/// 32 weights of eight rows: the first of each row, then the second of each, and so on.
#[repr(C, align(32))]
pub struct Panel([[f32; PANEL_ROWS]; SHORT]);

impl<H: Halves> Shape for Float<H> {
    type Row = FloatRow;
    type Panel = Panel;

    const BLOCK: usize = SHORT;
    const BLOCKS_AT_ONCE: usize = 8;

    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    unsafe fn unpack(rows: *const u8, row_bytes: usize, block: usize, into: &mut Panel) {
        for (at, eight) in into.0.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let mut floats = [_mm256_setzero_ps(); PANEL_ROWS];
            for (row, floats) in floats.iter_mut().enumerate() {
                // SAFETY: the caller's; eight halves of the block's 32.
                *floats = unsafe {
                    let halves = rows.add(row * row_bytes).cast::<u16>().add(block * SHORT + 8 * at);
                    H::to_floats(_mm_loadu_si128(halves.cast()))
                };
            }
            for (place, floats) in eight.iter_mut().zip(transposed(floats)) {
                // SAFETY: eight numbers, aligned as the panel is.
                unsafe { _mm256_store_ps(place.as_mut_ptr(), floats) };
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn add<const N: usize>(panel: &[Panel], rows: *const FloatRow, n_rows: usize, results: &mut [__m256; N]) {
        // Two sums for each row, so that additions wait less for the ones before them.
        let mut others = [_mm256_setzero_ps(); N];
        for (block, weights) in panel.iter().enumerate() {
            // SAFETY: the caller's; weights are aligned as the panel is.
            unsafe {
                let rows = rows.add(block * n_rows);
                for at in (0..SHORT).step_by(2) {
                    let even = _mm256_load_ps(weights.0[at].as_ptr());
                    let odd = _mm256_load_ps(weights.0[at + 1].as_ptr());
                    for n in 0..N {
                        let numbers = &*rows.add(n);
                        results[n] = _mm256_fmadd_ps(even, _mm256_set1_ps(numbers[at]), results[n]);
                        others[n] = _mm256_fmadd_ps(odd, _mm256_set1_ps(numbers[at + 1]), others[n]);
                    }
                }
            }
        }
        for (result, other) in results.iter_mut().zip(others) {
            *result = _mm256_add_ps(*result, other);
        }
    }
}

/// Rows of eight numbers as columns.
#[target_feature(enable = "avx2")]
#[inline]
fn transposed(rows: [__m256; 8]) -> [__m256; 8] {
    let mut bits = [_mm256_setzero_si256(); 8];
    for (bits, row) in bits.iter_mut().zip(rows) {
        *bits = _mm256_castps_si256(row);
    }
    let mut columns = [_mm256_setzero_ps(); 8];
    for (column, bits) in columns.iter_mut().zip(interleave(bits)) {
        *column = _mm256_castsi256_ps(bits);
    }
    columns
}
