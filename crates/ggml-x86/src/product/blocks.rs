//! ggml's formats of weights, as they are in memory.

/// How weights are in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Q4K,
    Q5K,
    Q6K,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Iq4nl,
}

impl Format {
    /// Bytes of a block of one row.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            Format::Q4K => size_of::<Q4K>(),
            Format::Q5K => size_of::<Q5K>(),
            Format::Q6K => size_of::<Q6K>(),
            Format::Q4_0 | Format::Iq4nl => size_of::<Q4_0>(),
            Format::Q4_1 => size_of::<Q4_1>(),
            Format::Q5_0 => size_of::<Q5_0>(),
            Format::Q5_1 => size_of::<Q5_1>(),
            Format::Q8_0 => size_of::<Q8_0>(),
        }
    }

    /// Numbers in a block of one row.
    #[must_use]
    pub fn block(self) -> usize {
        match self {
            Format::Q4K | Format::Q5K | Format::Q6K => LONG,
            _ => SHORT,
        }
    }

    /// Rows of numbers from which this is faster than ggml's kernels, which unpack what they multiply for every row again.
    #[must_use]
    pub fn least_rows(self) -> usize {
        match self {
            Format::Q4K | Format::Q5K | Format::Q6K => 4,
            _ => 1,
        }
    }

    /// Bytes of so many numbers of a row, a multiple of [`Format::block`].
    #[must_use]
    pub fn row_bytes(self, n_in: usize) -> usize {
        n_in / self.block() * self.block_bytes()
    }
}

/// Numbers in a block of a K-quant, and of the rows that it is multiplied with.
pub const LONG: usize = 256;

/// Numbers in a block of the other formats.
pub const SHORT: usize = 32;

/// What a block of weights `d * scale * q - dmin * min` begins with: eight scales and mins of six bits.
#[repr(C)]
pub struct Scales {
    pub d: u16,
    pub dmin: u16,
    pub packed: [u8; 12],
}

/// 256 weights with `q` of four bits.
#[repr(C)]
pub struct Q4K {
    pub scales: Scales,
    /// Of every 64 weights the first 32 in the low halves of 32 bytes, the others in the high ones.
    pub q: [u8; 128],
}

/// As [`Q4K`], with a fifth bit.
#[repr(C)]
pub struct Q5K {
    pub scales: Scales,
    /// Bit `i` of byte `l` belongs to the weight `32 * i + l`.
    pub high: [u8; 32],
    pub q: [u8; 128],
}

impl AsRef<Scales> for Q4K {
    fn as_ref(&self) -> &Scales {
        &self.scales
    }
}

impl AsRef<Scales> for Q5K {
    fn as_ref(&self) -> &Scales {
        &self.scales
    }
}

/// 256 weights `d * scale * (q - 32)`: sixteen scales of eight bits, `q` of six.
#[repr(C)]
pub struct Q6K {
    /// Of every 128 weights: 64 bytes, the first 64 weights in the low halves, the others in the high ones.
    pub low: [u8; 128],
    /// Of every 128 weights: 32 bytes, two bits of a weight of each 32.
    pub high: [u8; 64],
    /// Signed.
    pub scales: [u8; 16],
    pub d: u16,
}

/// 32 weights `d * (q - 8)` with `q` of four bits.
#[repr(C)]
pub struct Q4_0 {
    pub d: u16,
    /// The first 16 weights in the low halves, the others in the high ones, as in all blocks of 32.
    pub q: [u8; 16],
}

/// 32 weights `d * q + m` with `q` of four bits.
#[repr(C)]
pub struct Q4_1 {
    pub d: u16,
    pub m: u16,
    pub q: [u8; 16],
}

/// 32 weights `d * (q - 16)` with `q` of five bits.
#[repr(C)]
pub struct Q5_0 {
    pub d: u16,
    /// The fifth bits, that of the first weight lowest.
    pub high: [u8; 4],
    pub q: [u8; 16],
}

/// 32 weights `d * q + m` with `q` of five bits.
#[repr(C)]
pub struct Q5_1 {
    pub d: u16,
    pub m: u16,
    pub high: [u8; 4],
    pub q: [u8; 16],
}

/// 32 weights `d * q` with `q` of eight bits and a sign.
#[repr(C)]
pub struct Q8_0 {
    pub d: u16,
    pub q: [i8; 32],
}

/// 32 weights, `d` times what [`IQ4_NL`] has for `q`, in a block like that of Q4_0.
#[repr(transparent)]
pub struct Iq4nl(pub Q4_0);

/// What IQ4_NL's integers stand for.
pub const IQ4_NL: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

const _: () = assert!(size_of::<Q4K>() == 144 && size_of::<Q5K>() == 176 && size_of::<Q6K>() == 210);
const _: () = assert!(size_of::<Q4_0>() == 18 && size_of::<Q4_1>() == 20);
const _: () = assert!(size_of::<Q5_0>() == 22 && size_of::<Q5_1>() == 24 && size_of::<Q8_0>() == 34);

/// The eight scales and the eight mins, one byte each, of twelve bytes.
#[must_use]
pub fn scales_and_mins(packed: [u8; 12]) -> (u64, u64) {
    let word = |at: usize| u32::from_le_bytes([packed[at], packed[at + 1], packed[at + 2], packed[at + 3]]);
    let (low, mid, high) = (word(0), word(4), word(8));
    let scales = u64::from(low & 0x3f3f_3f3f) | u64::from(high & 0x0f0f_0f0f | (low >> 2) & 0x3030_3030) << 32;
    let mins = u64::from(mid & 0x3f3f_3f3f) | u64::from((high >> 4) & 0x0f0f_0f0f | (mid >> 2) & 0x3030_3030) << 32;
    (scales, mins)
}
