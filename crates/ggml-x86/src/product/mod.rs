//! The product of quantized weights with several rows of numbers.
//!
//! Rows of numbers become blocks of 8-bit integers as in ggml (Q8_K), products of integers are exact, and scales are applied in
//! 32-bit floats. What differs is the order of the work: a panel of eight rows of weights is unpacked to bytes once ([`panel`])
//! and multiplied with all rows of numbers before the next ([`kernel`]), so that unpacking costs little from a few rows on, and
//! the multiplier is what limits.
//!
//! Formats: ggml's `ggml-common.h`.

mod blocks;
mod kernel;
mod panel;
mod rows;
#[cfg(test)]
pub mod tests;

pub use blocks::Format;
pub use rows::RowBlock;

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

use panel::Panel;

/// Numbers in a block of a K-quant, and in a block of a quantized row.
pub const BLOCK: usize = 256;

/// Rows of weights that are unpacked together.
pub const PANEL_ROWS: usize = 8;

/// Rows of numbers from which this is faster than ggml's kernels.
pub const LEAST_ROWS: usize = 4;

/// Panels and blocks that are unpacked before they are multiplied: together as much as the second-level cache holds beside
/// the rows.
const PANELS_AT_ONCE: usize = 4;
const BLOCKS_AT_ONCE: usize = 4;

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Weights in memory: `n_out` rows of `n_in` numbers.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    pub format: Format,
    pub data: *const u8,
    /// Bytes from a row to the next (for interleaved rows: an eighth of those from one eight to the next).
    pub row_bytes: usize,
    /// A multiple of [`BLOCK`].
    pub n_in: usize,
    /// A multiple of [`PANEL_ROWS`].
    pub n_out: usize,
}

/// Blocks that `n_rows` rows of `n_in` numbers take when quantized.
#[must_use]
pub fn row_blocks(n_in: usize, n_rows: usize) -> usize {
    n_in / BLOCK * n_rows
}

/// Quantizes one of `parts` equal parts of `n_rows` rows of `n_in` numbers, `stride` numbers apart.
///
/// # Safety
/// [`super::is_supported`]; `numbers` has all rows, `blocks` room for [`row_blocks`], aligned as [`RowBlock`] is, and no other part is
/// the same.
pub unsafe fn quantize(
    (numbers, stride): (*const f32, usize),
    (n_in, n_rows): (usize, usize),
    blocks: *mut RowBlock,
    (part, parts): (usize, usize),
) {
    let n = row_blocks(n_in, n_rows);
    for at in part * n / parts..(part + 1) * n / parts {
        let (block, row) = (at / n_rows, at % n_rows);
        // SAFETY: the caller's; `at` is below the number of blocks.
        unsafe { rows::quantize(numbers.add(row * stride + block * BLOCK), blocks.add(at)) };
    }
}

/// Where a thread unpacks weights.
#[repr(C)]
pub struct Scratch {
    panels: [Panel; PANELS_AT_ONCE * BLOCKS_AT_ONCE],
}

/// How many panels a thread takes at a time: enough to read ahead, few enough that no thread waits long for the last.
#[must_use]
pub fn turn(n_panels: usize, n_threads: usize) -> usize {
    (n_panels / (4 * n_threads)).next_multiple_of(PANELS_AT_ONCE).clamp(PANELS_AT_ONCE, 8 * PANELS_AT_ONCE)
}

/// Multiplies some panels of the weights with all rows: panel `p` gives the results `8 * p` to `8 * p + 7` of every row.
///
/// # Safety
/// [`super::is_supported`]; `weights` describes memory that is there; `blocks` are those of `n_rows` rows by [`quantize`]; `out` has
/// `n_rows` rows of `n_out` numbers, `stride` apart, and nothing else writes those of these panels.
pub unsafe fn multiply(
    weights: &Weights,
    panels: std::ops::Range<usize>,
    (blocks, n_rows): (*const RowBlock, usize),
    (out, stride): (*mut f32, usize),
    scratch: &mut Scratch,
) {
    let n_blocks = weights.n_in / BLOCK;
    for first_panel in panels.clone().step_by(PANELS_AT_ONCE) {
        let n_panels = PANELS_AT_ONCE.min(panels.end - first_panel);
        let next = (first_panel + n_panels)..panels.end.min(first_panel + n_panels + PANELS_AT_ONCE);
        let mut ahead =
            Ahead::new(weights, next, n_blocks.div_ceil(BLOCKS_AT_ONCE) * n_rows.div_ceil(kernel::TILE_ROWS));
        for first_block in (0..n_blocks).step_by(BLOCKS_AT_ONCE) {
            let depth = BLOCKS_AT_ONCE.min(n_blocks - first_block);
            // SAFETY: the caller's; panels and blocks are within the weights, rows within the blocks and the results.
            unsafe {
                for (panel, unpacked) in scratch.panels.chunks_exact_mut(depth).take(n_panels).enumerate() {
                    for (block, place) in unpacked.iter_mut().enumerate() {
                        panel::unpack(weights, first_panel + panel, first_block + block, place);
                    }
                }
                let tiles = kernel::Tiles {
                    format: weights.format,
                    panels: &scratch.panels[..n_panels * depth],
                    depth,
                    rows: blocks.add(first_block * n_rows),
                    n_rows,
                    out: out.add(first_panel * PANEL_ROWS),
                    stride,
                    is_first: first_block == 0,
                };
                tiles.multiply(&mut ahead);
            }
        }
    }
}

/// Brings weights into the cache while others are multiplied: a panel's rows are read in pieces, which no processor foresees.
struct Ahead {
    at: *const u8,
    end: *const u8,
    step: usize,
}

impl Ahead {
    /// Of some panels, in so many steps.
    fn new(weights: &Weights, panels: std::ops::Range<usize>, n_steps: usize) -> Ahead {
        let bytes = |panel: usize| panel * PANEL_ROWS * weights.row_bytes;
        let (at, end) = (weights.data.wrapping_add(bytes(panels.start)), weights.data.wrapping_add(bytes(panels.end)));
        Ahead { at, end, step: bytes(panels.len()).div_ceil(n_steps) }
    }

    fn step(&mut self) {
        let until = self.end.min(self.at.wrapping_add(self.step));
        while self.at < until {
            // SAFETY: every processor for which this is compiled has it, and no address is wrong.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(self.at.cast()) };
            self.at = self.at.wrapping_add(LINE);
        }
    }
}
