//! Attention of several tokens over keys and values in 16-bit floats: softmax(q k / √d + mask) v, block by block of cells
//! with a running maximum (Rabe and Staats, *Self-attention Does Not Need O(n²) Memory*, 2021).
//!
//! The heads that share a head of keys and values are rows of one matrix, as are the tokens of a tile, so that each block of
//! cells is unpacked once for all of them and both products are products of matrices.

#[cfg(test)]
pub mod tests;
mod vector;

use std::arch::x86_64::*;

use vector::{exp, lanes, multiply, scale, tanh, transpose, unpack};

/// Cells of a block.
const CELLS: usize = 64;

/// Rows (tokens times heads that share keys) of a tile, at most.
pub const TILE_ROWS: usize = 48;

/// The largest heads that tiles are made for.
pub const GREATEST_HEAD: usize = 256;

/// 16-bit minus infinity.
const MASKED: u16 = 0xfc00;

/// Vectors of heads: of tokens (queries) or of cells (keys, values). Strides are in numbers.
#[derive(Debug, Clone, Copy)]
pub struct Heads<T> {
    pub data: *const T,
    /// Numbers of a head, a multiple of 8.
    pub size: usize,
    pub n_heads: usize,
    /// From a token or cell to the next.
    pub stride: usize,
    /// From a head to the next.
    pub head_stride: usize,
}

/// One layer's attention.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    pub queries: Heads<f32>,
    pub n_tokens: usize,
    pub keys: Heads<u16>,
    pub values: Heads<u16>,
    pub n_cells: usize,
    /// For each token what is added to its score of each cell, in 16-bit floats, and the numbers from a token to the next.
    pub mask: Option<(*const u16, usize)>,
    pub scale: f32,
    /// Scores are `cap * tanh(score / cap)`; 0 is without.
    pub soft_cap: f32,
    /// The heads of a token side by side, one token after the other.
    pub out: *mut f32,
}

/// Where the parts of a thread's memory after the queries begin, in numbers.
struct ScratchLayout {
    keys: usize,
    scores: usize,
    values: usize,
    results: usize,
    end: usize,
}

impl Attention {
    /// Heads of queries for one of keys.
    fn group(&self) -> usize {
        self.queries.n_heads / self.keys.n_heads
    }

    fn tile_tokens(&self) -> usize {
        TILE_ROWS / self.group()
    }

    fn n_tiles(&self) -> usize {
        self.n_tokens.div_ceil(self.tile_tokens())
    }

    /// Into how many parts it falls that can be computed side by side.
    #[must_use]
    pub fn n_parts(&self) -> usize {
        self.keys.n_heads * self.n_tiles()
    }

    fn layout(&self) -> ScratchLayout {
        let (key, value) = (self.keys.size, self.values.size);
        let keys = TILE_ROWS * key;
        let scores = keys + key * CELLS;
        let values = scores + TILE_ROWS * CELLS;
        let results = values + CELLS * value;
        ScratchLayout { keys, scores, values, results, end: results + TILE_ROWS * value }
    }

    /// Numbers of memory that a thread needs.
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        self.layout().end
    }

    /// Computes a part.
    ///
    /// # Safety
    /// [`super::is_supported`]; what is described is there; heads are of at most [`GREATEST_HEAD`] numbers and groups of at most
    /// [`TILE_ROWS`]; `scratch` has room for [`Attention::scratch_len`] numbers and is this thread's own, as the part is.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub unsafe fn compute(&self, part: usize, scratch: *mut f32) {
        let (head, tile) = (part / self.n_tiles(), part % self.n_tiles());
        let first = tile * self.tile_tokens();
        let tokens = first..self.n_tokens.min(first + self.tile_tokens());
        let n_rows = tokens.len() * self.group();
        let layout = self.layout();
        let (key, value) = (self.keys.size, self.values.size);
        let mut running = [Running::NOTHING; TILE_ROWS];
        // SAFETY: the caller's; each part of the scratch has the size that `layout` gives it.
        unsafe {
            let queries = scratch;
            let keys = scratch.add(layout.keys);
            let scores = scratch.add(layout.scores);
            let values = scratch.add(layout.values);
            let results = scratch.add(layout.results);
            self.copy_queries(head, tokens.clone(), queries);
            results.write_bytes(0, n_rows * value);
            for cell in (0..self.n_cells).step_by(CELLS) {
                let n_cells = CELLS.min(self.n_cells - cell);
                let at = |heads: &Heads<u16>| heads.data.add(cell * heads.stride + head * heads.head_stride);
                let mut is_unpacked = false;
                let mut from = tokens.start;
                // Tokens of different texts see different blocks: runs of those that see something of this one.
                while let Some(run) = self.seeing(from..tokens.end, cell, n_cells) {
                    from = run.end;
                    if !is_unpacked {
                        transpose(at(&self.keys), self.keys.stride, key, n_cells, keys);
                        unpack(at(&self.values), self.values.stride, value, n_cells, values);
                        is_unpacked = true;
                    }
                    let rows = (run.start - first) * self.group()..(run.end - first) * self.group();
                    let n_rows = rows.len();
                    let scores = scores.add(rows.start * CELLS);
                    multiply::<false>(
                        (scores, CELLS),
                        (queries.add(rows.start * key), key),
                        (keys, CELLS),
                        (n_rows, key, CELLS),
                    );
                    for row in rows.clone() {
                        let mask =
                            self.mask.map(|(mask, stride)| mask.add((first + row / self.group()) * stride + cell));
                        let scores = scores.add((row - rows.start) * CELLS);
                        self.weigh(scores, mask, n_cells, &mut running[row], results.add(row * value));
                    }
                    let results = (results.add(rows.start * value), value);
                    multiply::<true>(results, (scores, CELLS), (values, value), (n_rows, CELLS, value));
                }
            }
            for (row, running) in running[..n_rows].iter().enumerate() {
                let (token, head) = (first + row / self.group(), head * self.group() + row % self.group());
                let out = self.out.add((token * self.queries.n_heads + head) * value);
                // A token that sees no cell gets zeros.
                let factor = if running.sum == 0.0 { 0.0 } else { 1.0 / running.sum };
                scale(results.add(row * value), out, value, factor);
            }
        }
    }

    /// The tile's queries, scaled, row by row.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn copy_queries(&self, head: usize, tokens: std::ops::Range<usize>, into: *mut f32) {
        let Heads { data, size, stride, head_stride, .. } = self.queries;
        let factor = if self.soft_cap == 0.0 { self.scale } else { self.scale / self.soft_cap };
        let mut row = into;
        for token in tokens {
            for member in 0..self.group() {
                // SAFETY: the caller's.
                unsafe {
                    let from = data.add(token * stride + (head * self.group() + member) * head_stride);
                    scale(from, row, size, factor);
                    row = row.add(size);
                }
            }
        }
    }

    /// The first run of tokens, each of which sees at least one of a block's cells.
    unsafe fn seeing(
        &self,
        tokens: std::ops::Range<usize>,
        cell: usize,
        n_cells: usize,
    ) -> Option<std::ops::Range<usize>> {
        let sees = |token: usize| {
            let Some((mask, stride)) = self.mask else { return true };
            // SAFETY: the caller's; the mask has all tokens and cells.
            let row = unsafe { std::slice::from_raw_parts(mask.add(token * stride + cell), n_cells) };
            // Not `any`, whose early end keeps the compiler from comparing sixteen at once.
            row.iter().fold(false, |sees, &mask| sees | (mask != MASKED))
        };
        let start = tokens.clone().find(|&token| sees(token))?;
        let end = (start + 1..tokens.end).find(|&token| !sees(token)).unwrap_or(tokens.end);
        Some(start..end)
    }

    /// Makes a row's scores of a block its weights: `exp(score - maximum)`. Where the maximum rises, what was added up before
    /// shrinks.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn weigh(
        &self,
        scores: *mut f32,
        mask: Option<*const u16>,
        n_cells: usize,
        running: &mut Running,
        results: *mut f32,
    ) {
        const N: usize = CELLS / 8;
        let mut all = [_mm256_set1_ps(f32::NEG_INFINITY); N];
        let mut greatest = all[0];
        // SAFETY: the caller's; the mask is read as far as there are cells.
        unsafe {
            for (i, score) in all.iter_mut().enumerate().take(n_cells.div_ceil(8)) {
                let mut found = _mm256_loadu_ps(scores.add(8 * i));
                if self.soft_cap != 0.0 {
                    found = _mm256_mul_ps(tanh(found), _mm256_set1_ps(self.soft_cap));
                }
                let n = (n_cells - 8 * i).min(8);
                if let Some(mask) = mask {
                    let mut halves = [MASKED; 8];
                    mask.add(8 * i).copy_to_nonoverlapping(halves.as_mut_ptr(), n);
                    found = _mm256_add_ps(found, _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast())));
                } else if n < 8 {
                    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                    let is_cell = _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lanes);
                    found = _mm256_blendv_ps(_mm256_set1_ps(f32::NEG_INFINITY), found, _mm256_castsi256_ps(is_cell));
                }
                *score = found;
                greatest = _mm256_max_ps(greatest, found);
            }
            let greatest = lanes(greatest).into_iter().fold(f32::NEG_INFINITY, f32::max);
            if greatest > running.maximum {
                let factor = lanes(exp(_mm256_set1_ps(running.maximum - greatest)))[0];
                running.sum *= factor;
                running.maximum = greatest;
                scale(results, results, self.values.size, factor);
            }
            // While no cell was seen there is nothing to subtract, and every weight is exp(-∞).
            let maximum = if running.maximum == f32::NEG_INFINITY { 0.0 } else { running.maximum };
            let mut sum = _mm256_setzero_ps();
            for (i, score) in all.into_iter().enumerate() {
                let weight = exp(_mm256_sub_ps(score, _mm256_set1_ps(maximum)));
                sum = _mm256_add_ps(sum, weight);
                _mm256_storeu_ps(scores.add(8 * i), weight);
            }
            running.sum += lanes(sum).into_iter().sum::<f32>();
        }
    }
}

/// What is known of a row so far.
#[derive(Clone, Copy)]
struct Running {
    maximum: f32,
    /// Of the weights, relative to the maximum.
    sum: f32,
}

impl Running {
    const NOTHING: Running = Running { maximum: f32::NEG_INFINITY, sum: 0.0 };
}
