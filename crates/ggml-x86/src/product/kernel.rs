//! Unpacked panels times quantized rows.

use std::arch::x86_64::*;

use super::{Ahead, PANEL_ROWS};

/// Rows that are multiplied together: their sums fill the registers.
pub const TILE_ROWS: usize = 4;

/// How weights of a format are unpacked and multiplied.
pub trait Shape {
    /// A block of a row of numbers.
    type Row;
    /// A block of eight rows of weights.
    type Panel;

    /// Numbers in a block.
    const BLOCK: usize;
    /// Blocks of a panel that are unpacked before they are multiplied.
    const BLOCKS_AT_ONCE: usize;

    /// Unpacks a block of the eight rows from `rows` on, which are `row_bytes` apart.
    ///
    /// # Safety
    /// The processor has AVX2 and F16C, and the rows have that block.
    unsafe fn unpack(rows: *const u8, row_bytes: usize, block: usize, into: &mut Self::Panel);

    /// Adds the product of a panel's blocks with `N` rows to their results; blocks of rows are `n_rows` apart.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA, and what the shape is made for; the rows have as many blocks.
    unsafe fn add<const N: usize>(
        panel: &[Self::Panel],
        rows: *const Self::Row,
        n_rows: usize,
        results: &mut [__m256; N],
    );
}

/// Panels of the same blocks, and the rows that all of them are multiplied with.
pub struct Tiles<'a, S: Shape> {
    /// For each panel its blocks.
    pub panels: &'a [S::Panel],
    /// Blocks of a panel.
    pub depth: usize,
    /// For each block those of all rows.
    pub rows: *const S::Row,
    pub n_rows: usize,
    pub out: *mut f32,
    /// Numbers from a row of the results to the next.
    pub stride: usize,
    /// Whether nothing was added to the results yet.
    pub is_first: bool,
}

impl<S: Shape> Tiles<'_, S> {
    /// Multiplies all of them; `ahead` steps once for every tile of rows.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA, and what is described is there.
    pub unsafe fn multiply(&self, ahead: &mut Ahead) {
        for row in (0..self.n_rows).step_by(TILE_ROWS) {
            ahead.step();
            for (at, panel) in self.panels.chunks_exact(self.depth).enumerate() {
                // SAFETY: the caller's; rows are within the blocks and the results.
                unsafe {
                    let rows = self.rows.add(row);
                    let out = self.out.add(row * self.stride + at * PANEL_ROWS);
                    match self.n_rows - row {
                        1 => self.tile::<1>(panel, rows, out),
                        2 => self.tile::<2>(panel, rows, out),
                        3 => self.tile::<3>(panel, rows, out),
                        _ => self.tile::<TILE_ROWS>(panel, rows, out),
                    }
                }
            }
        }
    }

    /// Adds the product of a panel with `N` rows to their results.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn tile<const N: usize>(&self, panel: &[S::Panel], rows: *const S::Row, out: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            let mut results = [_mm256_setzero_ps(); N];
            if !self.is_first {
                for (n, result) in results.iter_mut().enumerate() {
                    *result = _mm256_loadu_ps(out.add(n * self.stride));
                }
            }
            S::add(panel, rows, self.n_rows, &mut results);
            for (n, result) in results.into_iter().enumerate() {
                _mm256_storeu_ps(out.add(n * self.stride), result);
            }
        }
    }
}
