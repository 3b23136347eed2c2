//! ggml's formats of weights, as they lie in memory.

/// How weights lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Q4K,
    /// Eight rows of [`Format::Q4K`] interleaved, as ggml repacks them for its own kernels.
    Q4Kx8,
    Q5K,
    Q6K,
}

impl Format {
    /// Bytes of a block of one row.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            Format::Q4K | Format::Q4Kx8 => size_of::<Q4K>(),
            Format::Q5K => size_of::<Q5K>(),
            Format::Q6K => size_of::<Q6K>(),
        }
    }
}

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

/// Eight [`Q4K`] of eight rows.
#[repr(C)]
pub struct Q4Kx8 {
    pub d: [u16; 8],
    pub dmin: [u16; 8],
    /// For each of the eight scales the eight rows' scales and mins, packed as those of a [`Q4K`].
    pub scales: [[u8; 12]; 8],
    /// Eight bytes of each row in turn.
    pub q: [u8; 1024],
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

const _: () = assert!(size_of::<Q4K>() == 144 && size_of::<Q4Kx8>() == 8 * 144);
const _: () = assert!(size_of::<Q5K>() == 176 && size_of::<Q6K>() == 210);

/// The eight scales and the eight mins, one byte each, of twelve bytes.
#[must_use]
pub fn scales_and_mins(packed: [u8; 12]) -> (u64, u64) {
    let word = |at: usize| u32::from_le_bytes([packed[at], packed[at + 1], packed[at + 2], packed[at + 3]]);
    let (low, mid, high) = (word(0), word(4), word(8));
    let scales = u64::from(low & 0x3f3f_3f3f) | u64::from(high & 0x0f0f_0f0f | (low >> 2) & 0x3030_3030) << 32;
    let mins = u64::from(mid & 0x3f3f_3f3f) | u64::from((high >> 4) & 0x0f0f_0f0f | (mid >> 2) & 0x3030_3030) << 32;
    (scales, mins)
}
