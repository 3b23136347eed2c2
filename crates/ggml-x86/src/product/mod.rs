//! The product of quantized weights with rows of numbers.
//!
//! Rows of numbers become blocks of 8-bit integers as in ggml (Q8_K for K-quants, Q8_0 for the others), products of integers are
//! exact, and scales are applied in 32-bit floats. What differs is the order of the work: a panel of eight rows of weights is
//! unpacked to bytes once and multiplied with all rows of numbers before the next ([`kernel`]), so that unpacking costs little
//! from a few rows on, and the multiplier is what limits. A [`kernel::Shape`] says how: [`long`] has the K-quants, [`short`]
//! what has a scale for every 32 weights, with a way of its own for a single row.
//!
//! Formats: ggml's `ggml-common.h`.

mod blocks;
mod kernel;
mod long;
mod rows;
mod short;
#[cfg(test)]
pub mod tests;
mod vector;

pub use blocks::Format;

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::ops::Range;

use blocks::{Iq4nl, LONG, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
use kernel::Shape;
use long::Long;
use rows::{LongRow, ShortRow};
use short::{Fused, Short, ShortShape};

/// Rows of weights that are unpacked together.
pub const PANEL_ROWS: usize = 8;

/// Panels that are unpacked before they are multiplied: with their blocks as much as the second-level cache holds beside
/// the rows.
const PANELS_AT_ONCE: usize = 4;

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Weights in memory: `n_out` rows of `n_in` numbers.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    pub format: Format,
    pub data: *const u8,
    /// Bytes from a row to the next.
    pub row_bytes: usize,
    /// A multiple of [`Format::block`].
    pub n_in: usize,
    /// A multiple of [`PANEL_ROWS`].
    pub n_out: usize,
}

/// Bytes that `n_rows` rows of `n_in` numbers take when quantized for weights of a format.
#[must_use]
pub fn row_bytes(format: Format, n_in: usize, n_rows: usize) -> usize {
    let n_blocks = n_in / format.block() * n_rows;
    n_blocks * if format.block() == LONG { size_of::<LongRow>() } else { size_of::<ShortRow>() }
}

/// Quantizes one of `parts` equal parts of `n_rows` rows of `n_in` numbers, `stride` numbers apart.
///
/// # Safety
/// [`super::is_supported`]; `numbers` has all rows, `rows` room for [`row_bytes`], aligned to 32 bytes, and no other part is
/// the same.
pub unsafe fn quantize(
    format: Format,
    (numbers, stride): (*const f32, usize),
    (n_in, n_rows): (usize, usize),
    rows: *mut u8,
    (part, parts): (usize, usize),
) {
    // SAFETY: the caller's.
    unsafe { quantize_for(Way::best(), format, (numbers, stride), (n_in, n_rows), rows, (part, parts)) };
}

/// How products of bytes are added up; the results are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In 16 bits, which all processors with AVX2 can.
    Pairs,
    /// In 32 bits, with AVX-VNNI.
    Fused,
}

impl Way {
    /// The faster one of those that this processor has.
    fn best() -> Way {
        if std::arch::is_x86_feature_detected!("avxvnni") { Way::Fused } else { Way::Pairs }
    }
}

/// As [`quantize`], for one way.
unsafe fn quantize_for(
    way: Way,
    format: Format,
    (numbers, stride): (*const f32, usize),
    (n_in, n_rows): (usize, usize),
    rows: *mut u8,
    (part, parts): (usize, usize),
) {
    let n = n_in / format.block() * n_rows;
    let offset = match format {
        Format::Q4_0 => 8,
        Format::Q5_0 => 16,
        Format::Q8_0 | Format::Iq4nl if way == Way::Fused => short::SIGN,
        _ => 0,
    };
    for at in part * n / parts..(part + 1) * n / parts {
        let (block, row) = (at / n_rows, at % n_rows);
        // SAFETY: the caller's; `at` is below the number of blocks.
        unsafe {
            let numbers = numbers.add(row * stride + block * format.block());
            if format.block() == LONG {
                rows::quantize_long(numbers, rows.cast::<LongRow>().add(at));
            } else {
                rows::quantize_short(numbers, offset, rows.cast::<ShortRow>().add(at));
            }
        }
    }
}

/// Where a thread unpacks weights.
#[repr(C, align(32))]
pub struct Scratch([u8; 48 * 1024]);

/// How many panels a thread takes at a time: enough to read ahead, few enough that no thread waits long for the last.
#[must_use]
pub fn turn(n_panels: usize, n_threads: usize) -> usize {
    (n_panels / (4 * n_threads)).next_multiple_of(PANELS_AT_ONCE).clamp(PANELS_AT_ONCE, 8 * PANELS_AT_ONCE)
}

/// Multiplies some panels of the weights with all rows: panel `p` gives the results `8 * p` to `8 * p + 7` of every row.
///
/// # Safety
/// [`super::is_supported`]; `weights` describes memory that is there; `rows` are `n_rows` rows by [`quantize`] for its format; `out`
/// has `n_rows` rows of `n_out` numbers, `stride` apart, and nothing else writes those of these panels.
pub unsafe fn multiply(
    weights: &Weights,
    panels: Range<usize>,
    rows: (*const u8, usize),
    out: (*mut f32, usize),
    scratch: &mut Scratch,
) {
    // SAFETY: the caller's.
    unsafe { multiply_by(Way::best(), weights, panels, rows, out, scratch) };
}

/// As [`multiply`], in one way, for which the rows were quantized.
unsafe fn multiply_by(
    way: Way,
    weights: &Weights,
    panels: Range<usize>,
    rows: (*const u8, usize),
    out: (*mut f32, usize),
    scratch: &mut Scratch,
) {
    // SAFETY: the caller's; the shape is that of the format.
    unsafe {
        match weights.format {
            Format::Q4K => multiply_as::<Long<Q4K>>(weights, panels, rows, out, scratch),
            Format::Q5K => multiply_as::<Long<Q5K>>(weights, panels, rows, out, scratch),
            Format::Q6K => multiply_as::<Long<Q6K>>(weights, panels, rows, out, scratch),
            Format::Q4_0 => multiply_short::<Q4_0>(way, weights, panels, rows, out, scratch),
            Format::Q4_1 => multiply_short::<Q4_1>(way, weights, panels, rows, out, scratch),
            Format::Q5_0 => multiply_short::<Q5_0>(way, weights, panels, rows, out, scratch),
            Format::Q5_1 => multiply_short::<Q5_1>(way, weights, panels, rows, out, scratch),
            Format::Q8_0 => multiply_short::<Q8_0>(way, weights, panels, rows, out, scratch),
            Format::Iq4nl => multiply_short::<Iq4nl>(way, weights, panels, rows, out, scratch),
        }
    }
}

unsafe fn multiply_short<S: ShortShape>(
    way: Way,
    weights: &Weights,
    panels: Range<usize>,
    rows: (*const u8, usize),
    out: (*mut f32, usize),
    scratch: &mut Scratch,
) {
    // SAFETY: the caller's.
    unsafe {
        match way {
            _ if rows.1 == 1 => short::multiply_single::<S>(weights, panels, rows.0.cast(), out.0),
            Way::Pairs => multiply_as::<Short<S>>(weights, panels, rows, out, scratch),
            Way::Fused => multiply_as::<Fused<S>>(weights, panels, rows, out, scratch),
        }
    }
}

unsafe fn multiply_as<S: Shape>(
    weights: &Weights,
    panels: Range<usize>,
    (rows, n_rows): (*const u8, usize),
    (out, stride): (*mut f32, usize),
    scratch: &mut Scratch,
) {
    const { assert!(size_of::<[S::Panel; PANELS_AT_ONCE]>() * S::BLOCKS_AT_ONCE <= size_of::<Scratch>()) };
    const { assert!(align_of::<S::Panel>() <= align_of::<Scratch>()) };
    // SAFETY: as many fit, as was checked, and panels are made of numbers, for which any bytes will do.
    let scratch: &mut [S::Panel] =
        unsafe { std::slice::from_raw_parts_mut(scratch.0.as_mut_ptr().cast(), PANELS_AT_ONCE * S::BLOCKS_AT_ONCE) };
    let n_blocks = weights.n_in / S::BLOCK;
    for first_panel in panels.clone().step_by(PANELS_AT_ONCE) {
        let n_panels = PANELS_AT_ONCE.min(panels.end - first_panel);
        let next = (first_panel + n_panels)..panels.end.min(first_panel + n_panels + PANELS_AT_ONCE);
        let n_steps = n_blocks.div_ceil(S::BLOCKS_AT_ONCE) * n_rows.div_ceil(kernel::TILE_ROWS);
        let mut ahead = Ahead::new(weights, next, n_steps);
        for first_block in (0..n_blocks).step_by(S::BLOCKS_AT_ONCE) {
            let depth = S::BLOCKS_AT_ONCE.min(n_blocks - first_block);
            // SAFETY: the caller's; panels and blocks are within the weights, rows within the blocks and the results.
            unsafe {
                for (panel, unpacked) in scratch.chunks_exact_mut(depth).take(n_panels).enumerate() {
                    let rows = weights.data.add((first_panel + panel) * PANEL_ROWS * weights.row_bytes);
                    for (block, place) in unpacked.iter_mut().enumerate() {
                        S::unpack(rows, weights.row_bytes, first_block + block, place);
                    }
                }
                let tiles = kernel::Tiles::<S> {
                    panels: &scratch[..n_panels * depth],
                    depth,
                    rows: rows.cast::<S::Row>().add(first_block * n_rows),
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
    fn new(weights: &Weights, panels: Range<usize>, n_steps: usize) -> Ahead {
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
