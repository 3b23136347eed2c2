//! How weights are to be quantized: llama.cpp's types of whole files, and types of single tensors by pattern.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::gguf::TensorType;

/// A type of file that llama.cpp quantizes to: a mix of tensor types under one name, as in `Q4_K_M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Quantization {
    /// llama.cpp's number for it (`llama_ftype`).
    pub file_type: u32,
    pub name: &'static str,
}

/// The types in the order of `llama-quantize --help`.
const TYPES: [Quantization; 35] = [
    kind(40, "Q1_0"),
    kind(41, "Q2_0"),
    kind(2, "Q4_0"),
    kind(3, "Q4_1"),
    kind(38, "MXFP4_MOE"),
    kind(8, "Q5_0"),
    kind(9, "Q5_1"),
    kind(19, "IQ2_XXS"),
    kind(20, "IQ2_XS"),
    kind(28, "IQ2_S"),
    kind(29, "IQ2_M"),
    kind(24, "IQ1_S"),
    kind(31, "IQ1_M"),
    kind(36, "TQ1_0"),
    kind(37, "TQ2_0"),
    kind(10, "Q2_K"),
    kind(21, "Q2_K_S"),
    kind(23, "IQ3_XXS"),
    kind(26, "IQ3_S"),
    kind(27, "IQ3_M"),
    kind(22, "IQ3_XS"),
    kind(11, "Q3_K_S"),
    kind(12, "Q3_K_M"),
    kind(13, "Q3_K_L"),
    kind(25, "IQ4_NL"),
    kind(30, "IQ4_XS"),
    kind(14, "Q4_K_S"),
    kind(15, "Q4_K_M"),
    kind(16, "Q5_K_S"),
    kind(17, "Q5_K_M"),
    kind(18, "Q6_K"),
    kind(7, "Q8_0"),
    kind(1, "F16"),
    kind(32, "BF16"),
    kind(0, "F32"),
];

/// Short names, as `llama-quantize` has them.
const ALIASES: [(&str, &str); 3] = [("Q3_K", "Q3_K_M"), ("Q4_K", "Q4_K_M"), ("Q5_K", "Q5_K_M")];

const fn kind(file_type: u32, name: &'static str) -> Quantization {
    Quantization { file_type, name }
}

impl Quantization {
    /// Every type that can be made.
    pub fn all() -> impl Iterator<Item = Quantization> {
        TYPES.into_iter()
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl From<Quantization> for String {
    fn from(kind: Quantization) -> String {
        kind.name.to_owned()
    }
}

impl TryFrom<String> for Quantization {
    type Error = QuantizationError;

    fn try_from(text: String) -> Result<Quantization, QuantizationError> {
        text.parse()
    }
}

/// Why a text is no type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantizationError {
    #[error("`{0}` is not a quantization that llama.cpp has; it has {known}", known = names())]
    Unknown(String),
    #[error("`{0}` has no `=`; write PATTERN=TYPE, as in `attn_v=q8_0`")]
    NoType(String),
    #[error("`{0}` has no pattern before the `=`; write a part of a tensor's name, or a regular expression")]
    NoPattern(String),
    #[error("`{0}` is not a type of tensors; ggml has {known}", known = tensor_names())]
    UnknownTensorType(String),
}

fn names() -> String {
    Quantization::all().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ")
}

fn tensor_names() -> String {
    TensorType::all().map(|kind| format!("`{}`", kind.name)).collect::<Vec<_>>().join(", ")
}

impl FromStr for Quantization {
    type Err = QuantizationError;

    fn from_str(text: &str) -> Result<Quantization, QuantizationError> {
        let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(text));
        let name = alias.map_or(text, |(_, name)| name);
        let known = Quantization::all().find(|kind| kind.name.eq_ignore_ascii_case(name));
        known.ok_or_else(|| QuantizationError::Unknown(text.to_owned()))
    }
}

/// A type for the tensors whose names match a pattern, in place of the type that the file's mix has for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorOverride {
    /// A regular expression (ECMAScript's, as C++ has it) that is searched for in names; in lower case, as tensors' names are.
    pub pattern: String,
    pub kind: TensorType,
}

impl FromStr for TensorOverride {
    type Err = QuantizationError;

    fn from_str(text: &str) -> Result<TensorOverride, QuantizationError> {
        let (pattern, kind) = text.rsplit_once('=').ok_or_else(|| QuantizationError::NoType(text.to_owned()))?;
        if pattern.is_empty() {
            return Err(QuantizationError::NoPattern(text.to_owned()));
        }
        let known = TensorType::all().find(|known| known.name.eq_ignore_ascii_case(kind));
        let kind = known.ok_or_else(|| QuantizationError::UnknownTensorType(kind.to_owned()))?;
        Ok(TensorOverride { pattern: pattern.to_lowercase(), kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_by_their_aliases() {
        let read = |text: &str| text.parse::<Quantization>().map(|kind| kind.name);
        assert_eq!(["q4_k_m", "Q4_K", "iq3_xxs", "tq1_0"].map(read), ["Q4_K_M", "Q4_K_M", "IQ3_XXS", "TQ1_0"].map(Ok));
        let error = read("q9").unwrap_err().to_string();
        assert!(error.starts_with("`q9` is not a quantization that llama.cpp has; it has `Q1_0`, `Q2_0`, "), "{error}");
        assert!(read("nvfp4").is_err(), "llama.cpp has no mix for it");
    }

    #[test]
    fn overrides_are_a_pattern_and_a_type() {
        let read = |text: &str| text.parse::<TensorOverride>();
        let expected = TensorOverride { pattern: r"blk\.0\.attn_v".to_owned(), kind: TensorType::Q8_0 };
        assert_eq!(read(r"BLK\.0\.attn_v=q8_0"), Ok(expected));
        assert!(matches!(read("attn_v"), Err(QuantizationError::NoType(_))));
        assert!(matches!(read("=q8_0"), Err(QuantizationError::NoPattern(_))));
        assert!(matches!(read("attn_v=q4_k_m"), Err(QuantizationError::UnknownTensorType(_))));
    }
}
