//! Products of matrices, 16-bit floats unpacked, and exponentials, eight numbers at a time.

use std::arch::x86_64::*;

use super::CELLS;

/// Rows of a product that fill the registers.
const PRODUCT_ROWS: usize = 6;

/// `c = a b`, or `c += a b`: matrices with their strides; `(rows of a, columns of a, columns of b)`, the last a multiple of 8.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn multiply<const ADD: bool>(
    (c, c_stride): (*mut f32, usize),
    (a, a_stride): (*const f32, usize),
    (b, b_stride): (*const f32, usize),
    (n_rows, depth, n_columns): (usize, usize, usize),
) {
    for row in (0..n_rows).step_by(PRODUCT_ROWS) {
        let mut column = 0;
        while column < n_columns {
            // SAFETY: the caller's; rows and columns are within the matrices.
            unsafe {
                let c = (c.add(row * c_stride + column), c_stride);
                let a = (a.add(row * a_stride), a_stride);
                let b = (b.add(column), b_stride);
                let rows = n_rows - row;
                column += if n_columns - column >= 16 {
                    multiply_columns::<ADD, 2>(c, a, b, depth, rows)
                } else {
                    multiply_columns::<ADD, 1>(c, a, b, depth, rows)
                };
            }
        }
    }
}

/// The same for `8 * V` columns and as many rows as fit; returns the columns.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn multiply_columns<const ADD: bool, const V: usize>(
    c: (*mut f32, usize),
    a: (*const f32, usize),
    b: (*const f32, usize),
    depth: usize,
    n_rows: usize,
) -> usize {
    // SAFETY: the caller's.
    unsafe {
        match n_rows {
            1 => multiply_tile::<ADD, 1, V>(c, a, b, depth),
            2 => multiply_tile::<ADD, 2, V>(c, a, b, depth),
            3 => multiply_tile::<ADD, 3, V>(c, a, b, depth),
            4 => multiply_tile::<ADD, 4, V>(c, a, b, depth),
            5 => multiply_tile::<ADD, 5, V>(c, a, b, depth),
            _ => multiply_tile::<ADD, PRODUCT_ROWS, V>(c, a, b, depth),
        }
    }
    8 * V
}

#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn multiply_tile<const ADD: bool, const R: usize, const V: usize>(
    (c, c_stride): (*mut f32, usize),
    (a, a_stride): (*const f32, usize),
    (b, b_stride): (*const f32, usize),
    depth: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); V]; R];
        if ADD {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm256_loadu_ps(c.add(r * c_stride + 8 * v));
                }
            }
        }
        for k in 0..depth {
            let mut columns = [_mm256_setzero_ps(); V];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = _mm256_loadu_ps(b.add(k * b_stride + 8 * v));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = _mm256_set1_ps(*a.add(r * a_stride + k));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = _mm256_fmadd_ps(factor, column, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                _mm256_storeu_ps(c.add(r * c_stride + 8 * v), sum);
            }
        }
    }
}

/// Vectors of cells as floats, the cells' numbers side by side; zeros after the last cell.
#[target_feature(enable = "avx2,f16c")]
pub unsafe fn transpose(from: *const u16, stride: usize, size: usize, n_cells: usize, into: *mut f32) {
    for cell in (0..CELLS).step_by(8) {
        for at in (0..size).step_by(8) {
            let mut eight = [_mm256_setzero_ps(); 8];
            // SAFETY: the caller's; no more cells are read than there are.
            unsafe {
                for (i, vector) in eight.iter_mut().enumerate().take(n_cells.saturating_sub(cell)) {
                    *vector = _mm256_cvtph_ps(_mm_loadu_si128(from.add((cell + i) * stride + at).cast()));
                }
                for (i, vector) in transposed(eight).into_iter().enumerate() {
                    _mm256_storeu_ps(into.add((at + i) * CELLS + cell), vector);
                }
            }
        }
    }
}

/// Vectors of cells as floats, one cell after the other; zeros after the last.
#[target_feature(enable = "avx2,f16c")]
pub unsafe fn unpack(from: *const u16, stride: usize, size: usize, n_cells: usize, into: *mut f32) {
    // SAFETY: the caller's.
    unsafe {
        for cell in 0..n_cells {
            for at in (0..size).step_by(8) {
                let vector = _mm256_cvtph_ps(_mm_loadu_si128(from.add(cell * stride + at).cast()));
                _mm256_storeu_ps(into.add(cell * size + at), vector);
            }
        }
        into.add(n_cells * size).write_bytes(0, (CELLS - n_cells) * size);
    }
}

#[target_feature(enable = "avx2")]
#[inline]
pub unsafe fn scale(from: *const f32, into: *mut f32, n: usize, factor: f32) {
    for at in (0..n).step_by(8) {
        // SAFETY: the caller's; `n` is a multiple of 8.
        unsafe { _mm256_storeu_ps(into.add(at), _mm256_mul_ps(_mm256_loadu_ps(from.add(at)), _mm256_set1_ps(factor))) };
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn transposed(rows: [__m256; 8]) -> [__m256; 8] {
    let pair = |i: usize| (_mm256_unpacklo_ps(rows[i], rows[i + 1]), _mm256_unpackhi_ps(rows[i], rows[i + 1]));
    let four = |(a0, a1): (__m256, __m256), (b0, b1): (__m256, __m256)| {
        [
            _mm256_shuffle_ps::<0x44>(a0, b0),
            _mm256_shuffle_ps::<0xee>(a0, b0),
            _mm256_shuffle_ps::<0x44>(a1, b1),
            _mm256_shuffle_ps::<0xee>(a1, b1),
        ]
    };
    let (first, second) = (four(pair(0), pair(2)), four(pair(4), pair(6)));
    let low = |i: usize| _mm256_permute2f128_ps::<0x20>(first[i], second[i]);
    let high = |i: usize| _mm256_permute2f128_ps::<0x31>(first[i], second[i]);
    [low(0), low(1), low(2), low(3), high(0), high(1), high(2), high(3)]
}

#[target_feature(enable = "avx2")]
#[inline]
pub fn lanes(vector: __m256) -> [f32; 8] {
    let mut lanes = [0.0; 8];
    // SAFETY: eight numbers.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), vector) };
    lanes
}

/// eˣ for x up to 88, within 2 units in the last place; 0 below -87. (The polynomial is that of Cephes' `expf`.)
#[target_feature(enable = "avx2,fma")]
#[inline]
pub fn exp(x: __m256) -> __m256 {
    let least = _mm256_set1_ps(-87.0);
    let is_zero = _mm256_cmp_ps::<_CMP_LT_OQ>(x, least);
    // In this order, a NaN stays a NaN.
    let x = _mm256_max_ps(least, x);
    let power = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_ps(
        x,
        _mm256_set1_ps(std::f32::consts::LOG2_E),
    ));
    // ln 2 in two parts.
    let rest = _mm256_fnmadd_ps(power, _mm256_set1_ps(0.693_359_4), x);
    let rest = _mm256_fnmadd_ps(power, _mm256_set1_ps(-2.121_944_4e-4), rest);
    let mut sum = _mm256_set1_ps(1.987_569_1e-4);
    for factor in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = _mm256_fmadd_ps(sum, rest, _mm256_set1_ps(factor));
    }
    let sum = _mm256_add_ps(_mm256_fmadd_ps(sum, _mm256_mul_ps(rest, rest), rest), _mm256_set1_ps(1.0));
    let exponent = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(power), _mm256_set1_epi32(127)));
    _mm256_andnot_ps(is_zero, _mm256_mul_ps(sum, _mm256_castsi256_ps(exponent)))
}

/// The hyperbolic tangent, 1 - 2 / (e²ˣ + 1).
#[target_feature(enable = "avx2,fma")]
#[inline]
pub fn tanh(x: __m256) -> __m256 {
    let one = _mm256_set1_ps(1.0);
    let bounded = _mm256_max_ps(_mm256_min_ps(x, _mm256_set1_ps(20.0)), _mm256_set1_ps(-20.0));
    let power = exp(_mm256_add_ps(bounded, bounded));
    _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2.0), _mm256_add_ps(power, one)))
}
