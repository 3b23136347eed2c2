//! The tensors of a header: their types, shapes and places; it does not know which tensors a model needs.

use super::error::GgufError;
use super::reader::HeaderReader;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::io::Read;

/// Where tensors begin is a multiple of this, unless the header says another number.
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;

/// ggml keeps names in 64 bytes with a zero at the end.
const MAX_NAME_BYTES: usize = 63;
const MAX_DIMENSIONS: u32 = 4;

/// A tensor's name, shape and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// 1 to 4, the length of a row first, none of them zero.
    pub dimensions: Vec<u64>,
    pub kind: TensorType,
    /// In bytes from the start of the tensors' data.
    pub offset: u64,
    pub n_elements: u64,
    /// The size of its data.
    pub n_bytes: u64,
}

/// How a tensor's numbers are stored: ggml's types that hold weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "u32")]
pub struct TensorType {
    /// ggml's number for it.
    pub id: u32,
    /// ggml's name for it, as in `Q4_K`.
    pub name: &'static str,
    /// The elements of a block.
    block_len: u64,
    /// The bytes of a block.
    block_bytes: u64,
}

impl TensorType {
    pub const F32: TensorType = kind(0, "F32", 1, 4);
    pub const F16: TensorType = kind(1, "F16", 1, 2);
    pub const BF16: TensorType = kind(30, "BF16", 1, 2);
    pub const Q8_0: TensorType = kind(8, "Q8_0", 32, 34);

    /// Every type that weights can have.
    pub fn all() -> impl Iterator<Item = TensorType> {
        TYPES.into_iter()
    }

    /// Whether numbers share a scale with others of their block, so that writing them has lost something.
    #[must_use]
    pub fn is_quantized(self) -> bool {
        self.block_len > 1
    }

    /// Bits of a number, with its part of the block's scales.
    #[must_use]
    pub fn bits(self) -> f64 {
        8.0 * self.block_bytes as f64 / self.block_len as f64
    }
}

const fn kind(id: u32, name: &'static str, block_len: u64, block_bytes: u64) -> TensorType {
    TensorType { id, name, block_len, block_bytes }
}

/// ggml's types for weights with their blocks, after `ggml-common.h`. Whole numbers, `F64`, `Q8_1` and `Q8_K` are not
/// among them: ggml cannot multiply by such weights.
const TYPES: [TensorType; 28] = [
    TensorType::F32,
    TensorType::F16,
    kind(2, "Q4_0", 32, 18),
    kind(3, "Q4_1", 32, 20),
    kind(6, "Q5_0", 32, 22),
    kind(7, "Q5_1", 32, 24),
    TensorType::Q8_0,
    kind(10, "Q2_K", 256, 84),
    kind(11, "Q3_K", 256, 110),
    kind(12, "Q4_K", 256, 144),
    kind(13, "Q5_K", 256, 176),
    kind(14, "Q6_K", 256, 210),
    kind(16, "IQ2_XXS", 256, 66),
    kind(17, "IQ2_XS", 256, 74),
    kind(18, "IQ3_XXS", 256, 98),
    kind(19, "IQ1_S", 256, 50),
    kind(20, "IQ4_NL", 32, 18),
    kind(21, "IQ3_S", 256, 110),
    kind(22, "IQ2_S", 256, 82),
    kind(23, "IQ4_XS", 256, 136),
    kind(29, "IQ1_M", 256, 56),
    TensorType::BF16,
    kind(34, "TQ1_0", 256, 54),
    kind(35, "TQ2_0", 256, 66),
    kind(39, "MXFP4", 32, 17),
    kind(40, "NVFP4", 64, 36),
    kind(41, "Q1_0", 128, 18),
    kind(42, "Q2_0", 64, 18),
];

/// Types that ggml once had, and those that only intermediate results have.
const REMOVED: [(u32, &str); 15] = [
    (4, "Q4_2"),
    (5, "Q4_3"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (24, "I8"),
    (25, "I16"),
    (28, "F64"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
    (26, "I32"),
    (27, "I64"),
];

impl TensorInfo {
    /// The bytes that its numbers would have in another type; `None` where that type's blocks do not divide its rows.
    #[must_use]
    pub fn n_bytes_as(&self, kind: TensorType) -> Option<u64> {
        size(&self.dimensions, kind).ok().map(|(_, n_bytes)| n_bytes)
    }

    pub(super) fn read(reader: &mut HeaderReader<impl Read>) -> Result<TensorInfo, GgufError> {
        let name = reader.tensor_name()?;
        if name.len() > MAX_NAME_BYTES {
            let n_bytes = name.len() as u64;
            return Err(GgufError::TooLong { what: "tensor name".to_owned(), n_bytes, limit: MAX_NAME_BYTES as u64 });
        }
        let refused = |reason: String| GgufError::Tensor { tensor: name.clone(), reason };
        let n_dimensions = reader.u32()?;
        if !(1..=MAX_DIMENSIONS).contains(&n_dimensions) {
            return Err(refused(format!("has {n_dimensions} dimensions; 1 to {MAX_DIMENSIONS} are possible")));
        }
        let mut dimensions = Vec::new();
        for _ in 0..n_dimensions {
            dimensions.push(reader.u64()?);
        }
        let kind = TensorType::try_from(reader.u32()?).map_err(refused)?;
        let offset = reader.u64()?;
        let (n_elements, n_bytes) = size(&dimensions, kind).map_err(refused)?;
        Ok(TensorInfo { dimensions, kind, offset, n_elements, n_bytes, name })
    }
}

/// `n_bytes` rounded up to the alignment.
pub(super) fn padded(n_bytes: u64, alignment: u64) -> Result<u64, GgufError> {
    n_bytes.checked_next_multiple_of(alignment).ok_or(GgufError::Overflow)
}

/// That the tensors lie one after the other, each at the next aligned place, within `data_len` bytes: the only layout
/// that ggml reads. So none overlap, and none reach beyond the file.
pub(super) fn check_layout(tensors: &[TensorInfo], data_len: u64, alignment: u64) -> Result<(), GgufError> {
    let mut expected = 0;
    for tensor in tensors {
        let refused = |reason: String| GgufError::Tensor { tensor: tensor.name.clone(), reason };
        if tensor.offset != expected {
            return Err(refused(format!("begins at byte {} of the data, not at {expected}", tensor.offset)));
        }
        let end = tensor.offset.checked_add(tensor.n_bytes).ok_or(GgufError::Overflow)?;
        if end > data_len {
            let reason = format!(
                "ends at byte {end} of the data, but the file has only {data_len}; the copy or download is probably \
                 incomplete"
            );
            return Err(refused(reason));
        }
        expected = padded(end, alignment)?;
    }
    Ok(())
}

impl TryFrom<u32> for TensorType {
    /// What is wrong with a tensor of this type.
    type Error = String;

    fn try_from(id: u32) -> Result<TensorType, String> {
        if let Some((_, name)) = REMOVED.iter().find(|(removed, _)| *removed == id) {
            return Err(format!("is of type `{name}`, which weights cannot have; convert the model again"));
        }
        let known = TYPES.into_iter().find(|kind| kind.id == id);
        known.ok_or_else(|| format!("is of the unknown type {id}; it may need a newer slm"))
    }
}

impl<'de> Deserialize<'de> for TensorType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TensorType, D::Error> {
        TensorType::try_from(u32::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl From<TensorType> for u32 {
    fn from(kind: TensorType) -> u32 {
        kind.id
    }
}

/// A shape as people write it: `64 x 8`.
pub(super) fn shape_text(dimensions: &[u64]) -> String {
    dimensions.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ")
}

/// The elements and bytes of a tensor.
fn size(dimensions: &[u64], kind: TensorType) -> Result<(u64, u64), String> {
    let shape = || shape_text(dimensions);
    if dimensions.contains(&0) {
        return Err(format!("has the shape {}, which holds nothing", shape()));
    }
    let row = dimensions[0];
    if !row.is_multiple_of(kind.block_len) {
        return Err(format!("has rows of {row}, not a multiple of the {} of type `{}`", kind.block_len, kind.name));
    }
    let n_elements = dimensions.iter().try_fold(1_u64, |product, &n| product.checked_mul(n));
    // ggml counts in signed numbers.
    n_elements
        .filter(|&n| i64::try_from(n).is_ok())
        .and_then(|n| Some((n, (n / kind.block_len).checked_mul(kind.block_bytes)?)))
        .filter(|&(_, n_bytes)| i64::try_from(n_bytes).is_ok())
        .ok_or_else(|| format!("has the shape {}, larger than any file", shape()))
}
