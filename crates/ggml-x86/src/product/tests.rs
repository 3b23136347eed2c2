//! Products against sums in double precision over weights that are unpacked one by one, as ggml's formats define them.

use super::blocks::scales_and_mins;
use super::*;
use crate::is_supported;
use crate::testing::Random;

pub const FORMATS: [Format; 4] = [Format::Q4K, Format::Q4Kx8, Format::Q5K, Format::Q6K];

/// A matrix of any bytes, but for its scales in 16-bit floats, which are small numbers.
pub struct Matrix {
    format: Format,
    bytes: Vec<u8>,
    n_in: usize,
    n_out: usize,
}

impl Matrix {
    pub fn new(format: Format, (n_in, n_out): (usize, usize), mut byte: impl FnMut() -> u8) -> Matrix {
        let mut bytes: Vec<u8> = (0..n_in / BLOCK * n_out * format.block_bytes()).map(|_| byte()).collect();
        let halves = |at: std::ops::Range<usize>| at.step_by(2).map(|at| at + 1);
        let (size, highs): (usize, Vec<usize>) = match format {
            Format::Q4K | Format::Q5K => (format.block_bytes(), halves(0..4).collect()),
            Format::Q4Kx8 => (8 * format.block_bytes(), halves(0..32).collect()),
            Format::Q6K => (format.block_bytes(), vec![209]),
        };
        for block in bytes.chunks_exact_mut(size) {
            for &high in &highs {
                // An exponent of at most 2^-8, either sign.
                block[high] = block[high] & 0x83 | 0x18;
            }
        }
        Matrix { format, bytes, n_in, n_out }
    }

    fn weights(&self) -> Weights {
        let row_bytes = self.n_in / BLOCK * self.format.block_bytes();
        Weights { format: self.format, data: self.bytes.as_ptr(), row_bytes, n_in: self.n_in, n_out: self.n_out }
    }

    /// The weight `k` of a row.
    fn weight(&self, row: usize, k: usize) -> f64 {
        let (block, k) = (k / BLOCK, k % BLOCK);
        let size = self.format.block_bytes();
        let n_blocks = self.n_in / BLOCK;
        let plain = &self.bytes[(row * n_blocks + block) * size..];
        let half = |at: &[u8]| half::f16::from_le_bytes([at[0], at[1]]).to_f64();
        let nibble = |byte: u8, is_high: bool| f64::from(if is_high { byte >> 4 } else { byte & 15 });
        let scale = |packed: &[u8], at: usize| {
            let (scales, mins) = scales_and_mins(packed[..12].try_into().unwrap());
            (f64::from(scales.to_le_bytes()[at]), f64::from(mins.to_le_bytes()[at]))
        };
        // Where the nibbles of 64 weights are.
        let (byte, is_high) = (k / 64 * 32 + k % 32, k % 64 >= 32);
        match self.format {
            Format::Q4K => {
                let (scale, min) = scale(&plain[4..], k / 32);
                half(plain) * scale * nibble(plain[16 + byte], is_high) - half(&plain[2..]) * min
            }
            Format::Q5K => {
                let (scale, min) = scale(&plain[4..], k / 32);
                let fifth = f64::from(plain[16 + k % 32] >> (k / 32) & 1);
                half(plain) * scale * (nibble(plain[48 + byte], is_high) + 16.0 * fifth) - half(&plain[2..]) * min
            }
            Format::Q4Kx8 => {
                let eight = &self.bytes[(row / 8 * n_blocks + block) * 8 * size..];
                let row = row % 8;
                let (scales, mins) = scales_and_mins(eight[32 + k / 32 * 12..][..12].try_into().unwrap());
                let (scale, min) = (f64::from(scales.to_le_bytes()[row]), f64::from(mins.to_le_bytes()[row]));
                let q = nibble(eight[128 + byte / 8 * 64 + row * 8 + byte % 8], is_high);
                half(&eight[2 * row..]) * scale * q - half(&eight[16 + 2 * row..]) * min
            }
            Format::Q6K => {
                let (part, l) = (k / 128, k % 128);
                let low = nibble(plain[64 * part + l % 64], l >= 64);
                let high = f64::from(plain[128 + 32 * part + l % 32] >> (2 * (l / 32)) & 3);
                let scale = f64::from(plain[192 + k / 16] as i8);
                half(&plain[208..]) * scale * (low + 16.0 * high - 32.0)
            }
        }
    }
}

/// Rows of numbers as blocks, in three parts.
fn quantize_all(numbers: &[f32], n_in: usize) -> Vec<RowBlock> {
    let n_rows = numbers.len() / n_in;
    let mut blocks: Vec<RowBlock> = Vec::with_capacity(row_blocks(n_in, n_rows));
    // SAFETY: everything is as large as said, and the parts are all blocks.
    unsafe {
        for part in 0..3 {
            quantize((numbers.as_ptr(), n_in), (n_in, n_rows), blocks.as_mut_ptr(), (part, 3));
        }
        blocks.set_len(row_blocks(n_in, n_rows));
    }
    blocks
}

/// The results of all rows, eight panels of weights at a time.
pub fn multiply_all(matrix: &Matrix, numbers: &[f32]) -> Vec<f32> {
    let n_rows = numbers.len() / matrix.n_in;
    let blocks = quantize_all(numbers, matrix.n_in);
    let mut out = vec![f32::NAN; n_rows * matrix.n_out];
    let mut scratch = Box::<Scratch>::new_uninit();
    // SAFETY: everything is as large as said, and any bytes are a scratch.
    unsafe {
        let scratch = scratch.assume_init_mut();
        let n_panels = matrix.n_out / PANEL_ROWS;
        for panels in (0..n_panels).step_by(8).map(|first| first..n_panels.min(first + 8)) {
            multiply(&matrix.weights(), panels, (blocks.as_ptr(), n_rows), (out.as_mut_ptr(), matrix.n_out), scratch);
        }
    }
    out
}

#[test]
fn products_are_those_of_the_weights() {
    if !is_supported() {
        return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
    }
    let mut random = Random::new(1);
    for format in FORMATS {
        for (n_in, n_out, n_rows) in [(256, 8, 1), (512, 16, 3), (1280, 104, 9), (2048, 40, 17)] {
            let matrix = Matrix::new(format, (n_in, n_out), || random.byte());
            let numbers: Vec<f32> = (0..n_in * n_rows).map(|_| random.unit() * 4.0 - 2.0).collect();
            let out = multiply_all(&matrix, &numbers);
            let blocks = quantize_all(&numbers, n_in);
            let number = |row: usize, k: usize| {
                let block = &blocks[k / BLOCK * n_rows + row];
                f64::from(block.d) * f64::from(block.q[k % BLOCK])
            };
            for (at, &result) in out.iter().enumerate() {
                let (row, column) = (at / n_out, at % n_out);
                let products = (0..n_in).map(|k| matrix.weight(column, k) * number(row, k));
                let (sum, size) = products.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                let off = (f64::from(result) - sum).abs() / size;
                assert!(off < 1e-5, "{format:?} {n_in}x{n_out}, row {row}, result {column}: {result} for {sum}");
            }
        }
    }
}

#[test]
fn numbers_are_off_by_half_a_step_at_most() {
    if !is_supported() {
        return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
    }
    let mut random = Random::new(4);
    for scale in [1e-30, 1.0, 1e30] {
        let numbers: Vec<f32> = (0..3 * BLOCK).map(|_| (random.unit() - 0.5) * scale).collect();
        for (numbers, block) in numbers.chunks_exact(BLOCK).zip(quantize_all(&numbers, 3 * BLOCK)) {
            for (k, &number) in numbers.iter().enumerate() {
                let off = number - block.d * f32::from(block.q[k]);
                assert!(off.abs() <= block.d * 0.501, "{number} is {} times {}", block.q[k], block.d);
            }
            for (sums, size) in [(&block.sums16[..], 16), (&block.sums32[..], 32)] {
                let all = block.q.chunks_exact(size).map(|q| q.iter().copied().map(i16::from).sum::<i16>());
                assert_eq!(all.collect::<Vec<_>>(), sums);
            }
        }
    }
}

#[test]
fn the_greatest_integers_do_not_overflow() {
    if !is_supported() {
        return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
    }
    for format in FORMATS {
        let matrix = Matrix::new(format, (512, 8), || 0xff);
        for sign in [1.0f32, -1.0] {
            let out = multiply_all(&matrix, &vec![sign; 512 * 8]);
            let exact: f64 = (0..512).map(|k| matrix.weight(0, k) * f64::from(sign)).sum();
            for result in out {
                assert!((f64::from(result) / exact - 1.0).abs() < 1e-5, "{format:?}: {result} for {exact}");
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_every_batch() {
    if !is_supported() {
        return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
    }
    let mut random = Random::new(2);
    for format in FORMATS {
        let matrix = Matrix::new(format, (1536, 24), || random.byte());
        let numbers: Vec<f32> = (0..1536 * 11).map(|_| random.unit() - 0.5).collect();
        let together = multiply_all(&matrix, &numbers);
        for (row, numbers) in numbers.chunks_exact(1536).enumerate() {
            assert_eq!(multiply_all(&matrix, numbers), together[row * 24..][..24], "{format:?}, row {row}");
        }
    }
}

#[test]
fn nan_stays_nan() {
    if !is_supported() {
        return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
    }
    let mut random = Random::new(3);
    let matrix = Matrix::new(Format::Q4K, (512, 8), || random.byte());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut numbers = vec![1.0; 2 * 512];
        numbers[300] = bad;
        let out = multiply_all(&matrix, &numbers);
        assert!(out[..8].iter().all(|x| x.is_nan()) && out[8..].iter().all(|x| x.is_finite()), "{bad}: {out:?}");
    }
    assert!(multiply_all(&matrix, &[0.0; 512]).iter().all(|&x| x == 0.0));
}
