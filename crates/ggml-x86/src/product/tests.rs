//! Products against sums in double precision over weights that are unpacked one by one, as ggml's formats define them.

use super::blocks::{IQ4_NL, LONG, SHORT, scales_and_mins};
use super::*;
use crate::is_supported;
use crate::testing::Random;

pub const FORMATS: [Format; 9] = [
    Format::Q4K,
    Format::Q5K,
    Format::Q6K,
    Format::Q4_0,
    Format::Q4_1,
    Format::Q5_0,
    Format::Q5_1,
    Format::Q8_0,
    Format::Iq4nl,
];

/// Inputs, results and rows; the rows are not whole blocks of 256 where the format does not need them.
pub fn shapes(format: Format) -> [(usize, usize, usize); 4] {
    let odd = LONG - format.block();
    [(256 + odd, 8, 1), (512, 16, 3), (1280 + odd, 104, 9), (2048 + odd, 40, 17)]
}

/// A matrix of any bytes, but for its scales in 16-bit floats, which are small numbers.
pub struct Matrix {
    format: Format,
    bytes: Vec<u8>,
    n_in: usize,
    n_out: usize,
}

impl Matrix {
    pub fn new(format: Format, (n_in, n_out): (usize, usize), mut byte: impl FnMut() -> u8) -> Matrix {
        let mut bytes: Vec<u8> = (0..n_out * format.row_bytes(n_in)).map(|_| byte()).collect();
        let halves = |at: std::ops::Range<usize>| at.step_by(2).map(|at| at + 1);
        let (size, highs): (usize, Vec<usize>) = match format {
            Format::Q4K | Format::Q5K => (format.block_bytes(), halves(0..4).collect()),
            Format::Q6K => (format.block_bytes(), vec![209]),
            Format::Q4_1 | Format::Q5_1 => (format.block_bytes(), halves(0..4).collect()),
            Format::Q4_0 | Format::Q5_0 | Format::Q8_0 | Format::Iq4nl => (format.block_bytes(), vec![1]),
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
        let row_bytes = self.format.row_bytes(self.n_in);
        Weights { format: self.format, data: self.bytes.as_ptr(), row_bytes, n_in: self.n_in, n_out: self.n_out }
    }

    /// The weight `k` of a row.
    fn weight(&self, row: usize, k: usize) -> f64 {
        let (block, k) = (k / self.format.block(), k % self.format.block());
        let size = self.format.block_bytes();
        let n_blocks = self.n_in / self.format.block();
        let plain = &self.bytes[(row * n_blocks + block) * size..];
        let half = |at: &[u8]| half::f16::from_le_bytes([at[0], at[1]]).to_f64();
        let nibble = |byte: u8, is_high: bool| f64::from(if is_high { byte >> 4 } else { byte & 15 });
        let scale = |packed: &[u8], at: usize| {
            let (scales, mins) = scales_and_mins(packed[..12].try_into().unwrap());
            (f64::from(scales.to_le_bytes()[at]), f64::from(mins.to_le_bytes()[at]))
        };
        let fifth_of = |bits: &[u8]| f64::from(16 * (bits[k / 8] >> (k % 8) & 1));
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
            Format::Q6K => {
                let (part, l) = (k / 128, k % 128);
                let low = nibble(plain[64 * part + l % 64], l >= 64);
                let high = f64::from(plain[128 + 32 * part + l % 32] >> (2 * (l / 32)) & 3);
                let scale = f64::from(plain[192 + k / 16] as i8);
                half(&plain[208..]) * scale * (low + 16.0 * high - 32.0)
            }
            Format::Q4_0 => half(plain) * (nibble(plain[2 + k % 16], k >= 16) - 8.0),
            Format::Q4_1 => half(plain) * nibble(plain[4 + k % 16], k >= 16) + half(&plain[2..]),
            Format::Q5_0 => half(plain) * (nibble(plain[6 + k % 16], k >= 16) + fifth_of(&plain[2..]) - 16.0),
            Format::Q5_1 => {
                half(plain) * (nibble(plain[8 + k % 16], k >= 16) + fifth_of(&plain[4..])) + half(&plain[2..])
            }
            Format::Q8_0 => half(plain) * f64::from(plain[2 + k] as i8),
            Format::Iq4nl => half(plain) * f64::from(IQ4_NL[nibble(plain[2 + k % 16], k >= 16) as usize]),
        }
    }
}

/// Memory that is aligned as rows are.
#[repr(C, align(32))]
#[derive(Clone)]
struct Aligned([u8; 32]);

/// Rows of numbers, quantized in three parts.
struct Quantized {
    format: Format,
    way: Way,
    n_rows: usize,
    memory: Vec<Aligned>,
}

impl Quantized {
    fn new(format: Format, way: Way, numbers: &[f32], n_in: usize) -> Quantized {
        let n_rows = numbers.len() / n_in;
        let mut memory = vec![Aligned([0xff; 32]); row_bytes(format, n_in, n_rows).div_ceil(32)];
        for part in 0..3 {
            // SAFETY: everything is as large as said, and the parts are all blocks.
            unsafe {
                let into = memory.as_mut_ptr().cast();
                quantize_for(way, format, (numbers.as_ptr(), n_in), (n_in, n_rows), into, (part, 3));
            }
        }
        Quantized { format, way, n_rows, memory }
    }

    /// The `at`th block of a row: its scale and integers.
    fn block(&self, row: usize, at: usize) -> (f32, &[i8]) {
        let at = at * self.n_rows + row;
        // SAFETY: rows of that format were written there.
        unsafe {
            if self.format.block() == LONG {
                let block = &*self.memory.as_ptr().cast::<LongRow>().add(at);
                (block.d, &block.q)
            } else {
                let block = &*self.memory.as_ptr().cast::<ShortRow>().add(at);
                (block.d, &block.q)
            }
        }
    }

    fn number(&self, row: usize, k: usize) -> f64 {
        let (d, q) = self.block(row, k / self.format.block());
        f64::from(d) * f64::from(q[k % self.format.block()])
    }
}

/// The results of all rows, eight panels of weights at a time.
pub fn multiply_all(matrix: &Matrix, numbers: &[f32]) -> Vec<f32> {
    multiply_all_by(Way::best(), matrix, numbers)
}

fn multiply_all_by(way: Way, matrix: &Matrix, numbers: &[f32]) -> Vec<f32> {
    let rows = Quantized::new(matrix.format, way, numbers, matrix.n_in);
    let n_rows = rows.n_rows;
    let mut out = vec![f32::NAN; n_rows * matrix.n_out];
    let mut scratch = Box::<Scratch>::new_uninit();
    // SAFETY: everything is as large as said, and any bytes are a scratch.
    unsafe {
        let scratch = scratch.assume_init_mut();
        let n_panels = matrix.n_out / PANEL_ROWS;
        let (way, rows) = (rows.way, (rows.memory.as_ptr().cast(), n_rows));
        for panels in (0..n_panels).step_by(8).map(|first| first..n_panels.min(first + 8)) {
            multiply_by(way, &matrix.weights(), panels, rows, (out.as_mut_ptr(), matrix.n_out), scratch);
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
        for (n_in, n_out, n_rows) in shapes(format) {
            let matrix = Matrix::new(format, (n_in, n_out), || random.byte());
            let numbers: Vec<f32> = (0..n_in * n_rows).map(|_| random.unit() * 4.0 - 2.0).collect();
            let out = multiply_all(&matrix, &numbers);
            let rows = Quantized::new(format, Way::best(), &numbers, n_in);
            for (at, &result) in out.iter().enumerate() {
                let (row, column) = (at / n_out, at % n_out);
                let products = (0..n_in).map(|k| matrix.weight(column, k) * rows.number(row, k));
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
    for (format, scale) in [Format::Q4K, Format::Q5_0].into_iter().flat_map(|it| [1e-30, 1.0, 1e30].map(|x| (it, x))) {
        let numbers: Vec<f32> = (0..3 * LONG).map(|_| (random.unit() - 0.5) * scale).collect();
        let rows = Quantized::new(format, Way::best(), &numbers, numbers.len());
        for (at, numbers) in numbers.chunks_exact(format.block()).enumerate() {
            let (d, q) = rows.block(0, at);
            for (number, q) in numbers.iter().zip(q) {
                let off = number - d * f32::from(*q);
                assert!(off.abs() <= d * 0.501, "{number} is {q} times {d}");
            }
        }
    }
}

#[test]
fn rows_have_the_sums_of_their_integers() {
    if !is_supported() {
        return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
    }
    let mut random = Random::new(5);
    let numbers: Vec<f32> = (0..LONG).map(|_| random.unit() - 0.3).collect();
    let mut long = LongRow { q: [0; LONG], sums16: [0; 16], sums32: [0; 8], d: 0.0 };
    // SAFETY: 256 numbers.
    unsafe { rows::quantize_long(numbers.as_ptr(), &raw mut long) };
    for (sums, size) in [(&long.sums16[..], 16), (&long.sums32[..], 32)] {
        let all = long.q.chunks_exact(size).map(|q| q.iter().copied().map(i16::from).sum::<i16>());
        assert_eq!(all.collect::<Vec<_>>(), sums);
    }
    for numbers in numbers.chunks_exact(SHORT) {
        let mut short = ShortRow { q: [0; SHORT], d: 0.0, start: 0, sum: 0.0 };
        // SAFETY: 32 numbers.
        unsafe { rows::quantize_short(numbers.as_ptr(), 16, &raw mut short) };
        let sum: i32 = short.q.iter().copied().map(i32::from).sum();
        assert_eq!((short.start, short.sum), (-16 * sum, short.d * sum as f32));
    }
}

#[test]
fn the_greatest_integers_do_not_overflow() {
    if !is_supported() {
        return slm_testing::skipped!("this processor lacks AVX2, FMA or F16C");
    }
    for (format, byte) in FORMATS.into_iter().flat_map(|format| [(format, 0xff), (format, 0x80), (format, 0)]) {
        let matrix = Matrix::new(format, (512, 8), || byte);
        for sign in [1.0f32, -1.0] {
            let out = multiply_all(&matrix, &vec![sign; 512 * 8]);
            for (column, result) in out.into_iter().enumerate().map(|(at, result)| (at % 8, result)) {
                let products = (0..512).map(|k| matrix.weight(column, k) * f64::from(sign));
                let (sum, size) = products.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                let off = (f64::from(result) - sum).abs();
                assert!(off <= 1e-5 * size, "{format:?}, bytes {byte}, result {column}: {result} for {sum}");
            }
        }
    }
}

#[test]
fn all_ways_give_the_same_bits() {
    if !is_supported() || Way::best() == Way::Pairs {
        return slm_testing::skipped!("this processor has one way only");
    }
    let mut random = Random::new(6);
    for format in FORMATS {
        for (n_in, n_out, n_rows) in shapes(format) {
            let matrix = Matrix::new(format, (n_in, n_out), || random.byte());
            let numbers: Vec<f32> = (0..n_in * n_rows).map(|_| random.unit() * 4.0 - 2.0).collect();
            let [pairs, fused] = [Way::Pairs, Way::Fused].map(|way| multiply_all_by(way, &matrix, &numbers));
            assert_eq!(pairs, fused, "{format:?} {n_in}x{n_out}");
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
        let n_in = 1536 + LONG - format.block();
        let matrix = Matrix::new(format, (n_in, 24), || random.byte());
        let numbers: Vec<f32> = (0..n_in * 11).map(|_| random.unit() - 0.5).collect();
        let together = multiply_all(&matrix, &numbers);
        for (row, numbers) in numbers.chunks_exact(n_in).enumerate() {
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
    for format in FORMATS {
        let matrix = Matrix::new(format, (512, 8), || random.byte());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut numbers = vec![1.0; 2 * 512];
            numbers[300] = bad;
            let out = multiply_all(&matrix, &numbers);
            assert!(out[..8].iter().all(|x| x.is_nan()), "{format:?}, {bad}: {out:?}");
            assert!(out[8..].iter().all(|x| x.is_finite()), "{format:?}, {bad}: {out:?}");
        }
        assert!(multiply_all(&matrix, &[0.0; 512]).iter().all(|&x| x == 0.0), "{format:?}");
    }
}
