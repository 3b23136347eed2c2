//! A LoRA adapter's header, and that it fits a base model: checked before native code sees the file. It reads no weights.
//!
//! The format is what llama.cpp's `convert_lora_to_gguf.py` writes and `src/llama-adapter.cpp` reads: for a base tensor
//! `W` of `n_in x n_out` the tensors `W.lora_a` of `n_in x rank` and `W.lora_b` of `rank x n_out`, and one
//! `adapter.lora.alpha`; what is added to `W` is `scale * alpha / rank * B * A`. Shapes that llama.cpp does not compare
//! end in an assertion of ggml's matrix product, and so in an abort of the process: they are compared here.

use super::error::GgufError;
use super::header::Header;
use super::tensor::{TensorInfo, shape_text};
use super::value::MetadataValue;
use std::collections::BTreeMap;
use std::io::Read;

const TOKEN_EMBEDDING: &str = "token_embd.weight";
const A: &str = ".lora_a";
const B: &str = ".lora_b";

/// What an adapter file says about itself.
#[derive(Debug, Clone)]
pub struct AdapterHeader {
    pub header: Header,
    /// The numerator of the adapter's own scale; 0 means that the file has none, and its products are added unscaled.
    pub alpha: f32,
    /// In the order of their names.
    pub pairs: Vec<LoraPair>,
}

/// The two factors of what is added to one base tensor.
#[derive(Debug, Clone)]
pub struct LoraPair {
    /// The base tensor's name.
    pub name: String,
    pub a: TensorInfo,
    pub b: TensorInfo,
}

impl LoraPair {
    #[must_use]
    pub fn rank(&self) -> u64 {
        self.b.dimensions[0]
    }

    /// Whether the factors are those of an embedding: looked up by token, so that A lies the other way round.
    #[must_use]
    pub fn is_embedding(&self) -> bool {
        self.name == TOKEN_EMBEDDING
    }

    /// What the product is multiplied with before it is added, without the scale that a request chooses.
    #[must_use]
    pub fn scale(&self, alpha: f32) -> f32 {
        if alpha == 0.0 { 1.0 } else { alpha / self.rank() as f32 }
    }
}

impl AdapterHeader {
    /// Reads and checks an adapter's header from the start of a file of `file_len` bytes.
    ///
    /// # Errors
    ///
    /// [`GgufError`] where the file cannot be read, is not a GGUF file or not a LoRA adapter.
    pub fn read(reader: impl Read, file_len: u64) -> Result<AdapterHeader, GgufError> {
        let header = Header::read_parts(reader, file_len)?;
        for (key, expected) in [("general.type", "adapter"), ("adapter.type", "lora")] {
            let value = header.text(key).unwrap_or(if key == "general.type" { "model" } else { "" });
            if value != expected {
                let value = value.escape_default().take(100).collect();
                return Err(GgufError::NotAnAdapter { key, value, expected });
            }
        }
        if header.text("general.architecture").is_none() {
            return Err(GgufError::MissingKey("general.architecture".to_owned()));
        }
        if header.get("adapter.alora.invocation_tokens").is_some() {
            return Err(GgufError::ActivatedAdapter);
        }
        let alpha = alpha(&header)?;
        let pairs = pairs(&header)?;
        Ok(AdapterHeader { header, alpha, pairs })
    }

    /// Checks that the adapter can be added to a base model.
    ///
    /// # Errors
    ///
    /// [`GgufError`] with the tensor that does not fit.
    pub fn check_base(&self, base: &Header) -> Result<(), GgufError> {
        let (adapter, own) = (self.header.architecture(), base.architecture());
        if adapter != own {
            let adapter = adapter.escape_default().take(100).collect();
            return Err(GgufError::AdapterArchitecture { adapter, base: own.to_owned() });
        }
        self.pairs.iter().try_for_each(|pair| check_pair(pair, base))
    }
}

fn alpha(header: &Header) -> Result<f32, GgufError> {
    const KEY: &str = "adapter.lora.alpha";
    match header.get(KEY) {
        None => Ok(0.0),
        Some(&MetadataValue::F32(alpha)) if alpha.is_finite() && (0.0..=1e6).contains(&alpha) => Ok(alpha),
        Some(value) => Err(GgufError::Key {
            key: KEY.to_owned(),
            value: value.describe(),
            expected: "a 32-bit fraction from 0 to 1000000".to_owned(),
        }),
    }
}

fn pairs(header: &Header) -> Result<Vec<LoraPair>, GgufError> {
    let mut halves: BTreeMap<&str, [Option<&TensorInfo>; 2]> = BTreeMap::new();
    for tensor in &header.tensors {
        let (name, at) = match (tensor.name.strip_suffix(A), tensor.name.strip_suffix(B)) {
            (Some(name), _) => (name, 0),
            (_, Some(name)) => (name, 1),
            // llama.cpp skips norms without a word, and refuses the rest.
            _ => return Err(refused(tensor, "is neither `….lora_a` nor `….lora_b`, the only supported tensors")),
        };
        if name.contains(A) || name.contains(B) {
            return Err(refused(tensor, "has two endings of an adapter's tensor"));
        }
        halves.entry(name).or_default()[at] = Some(tensor);
    }
    if halves.is_empty() {
        return Err(GgufError::EmptyAdapter);
    }
    let pair = |(name, halves): (&str, [Option<&TensorInfo>; 2])| match halves {
        [Some(a), Some(b)] => Ok(LoraPair { name: name.to_owned(), a: a.clone(), b: b.clone() }),
        [a, b] => {
            let there = a.or(b).expect("a name comes with a tensor");
            let other = if a.is_some() { B } else { A };
            Err(refused(there, &format!("has no counterpart `{name}{other}`")))
        }
    };
    halves.into_iter().map(pair).collect()
}

fn check_pair(pair: &LoraPair, base: &Header) -> Result<(), GgufError> {
    let LoraPair { name, a, b } = pair;
    let Some(weight) = base.tensor(name) else {
        return Err(refused(a, &format!("changes `{name}`, which the base model does not have")));
    };
    let dimensions = weight.dimensions.as_slice();
    if !(2..=3).contains(&dimensions.len()) || !name.ends_with(".weight") {
        return Err(refused(a, &format!("changes `{name}`, which is not a matrix")));
    }
    if weight.kind.name == "NVFP4" {
        return Err(refused(a, &format!("changes `{name}`, whose type `NVFP4` does not support adapters")));
    }
    if pair.is_embedding() && base.tensor("output.weight").is_none() {
        let why = "changes the embedding, which in this base is the output as well; llama.cpp can apply it to only one";
        return Err(refused(a, why));
    }
    let rank = pair.rank();
    let (n_in, n_out, experts) = (dimensions[0], dimensions[1], &dimensions[2..]);
    let (expected_a, expected_b) = match pair.is_embedding() {
        true => ([&[rank, n_out], experts].concat(), [&[rank, n_in], experts].concat()),
        false => ([&[n_in, rank], experts].concat(), [&[rank, n_out], experts].concat()),
    };
    for (tensor, expected) in [(a, expected_a), (b, expected_b)] {
        if tensor.dimensions != expected {
            let (is, needs) = (shape_text(&tensor.dimensions), shape_text(&expected));
            let of_base = shape_text(dimensions);
            return Err(refused(tensor, &format!("has the shape {is}, but the base's {of_base} needs {needs}")));
        }
    }
    Ok(())
}

fn refused(tensor: &TensorInfo, reason: &str) -> GgufError {
    GgufError::Tensor { tensor: tensor.name.clone(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::testing::{self, tiny_llama};

    fn adapter() -> testing::Writer {
        testing::Writer::default()
            .text("general.type", "adapter")
            .text("general.architecture", "llama")
            .text("adapter.type", "lora")
            .float("adapter.lora.alpha", 8.0)
    }

    fn query() -> testing::Writer {
        adapter().tensor("blk.0.attn_q.weight.lora_a", &[16, 4]).tensor("blk.0.attn_q.weight.lora_b", &[4, 16])
    }

    fn checked(adapter: &testing::Writer) -> Result<AdapterHeader, String> {
        let base = tiny_llama().bytes();
        let base = Header::read(base.as_slice(), base.len() as u64).unwrap();
        let bytes = adapter.bytes();
        let adapter = AdapterHeader::read(bytes.as_slice(), bytes.len() as u64).map_err(|error| error.to_string())?;
        adapter.check_base(&base).map_err(|error| error.to_string())?;
        Ok(adapter)
    }

    #[test]
    fn a_pair_that_fits_is_taken() {
        let adapter = checked(&query()).unwrap();
        let [pair] = adapter.pairs.as_slice() else { panic!("{:?}", adapter.pairs) };
        assert_eq!((pair.name.as_str(), pair.rank(), pair.scale(adapter.alpha)), ("blk.0.attn_q.weight", 4, 2.0));
        assert_eq!(checked(&query().without("adapter.lora.alpha")).unwrap().alpha, 0.0);
        assert_eq!(pair.scale(0.0), 1.0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused = |adapter: testing::Writer| checked(&adapter).unwrap_err();
        let a = |shape: &[u64]| adapter().tensor("blk.0.attn_k.weight.lora_a", shape);
        let pair = |a_shape: &[u64], b_shape: &[u64]| a(a_shape).tensor("blk.0.attn_k.weight.lora_b", b_shape);
        let of = |name: &str| {
            let named = |end: &str| format!("{name}{end}");
            adapter().tensor(&named(".lora_a"), &[16, 4]).tensor(&named(".lora_b"), &[4, 16])
        };
        let expected = [
            (
                query().without("general.type"),
                "it is not a LoRA adapter: its key `general.type` is `model`, not `adapter`",
            ),
            (query().text("adapter.type", "x"), "it is not a LoRA adapter: its key `adapter.type` is `x`, not `lora`"),
            (
                query().text("general.architecture", "qwen2"),
                "it was made for models of the architecture `qwen2`, and this one is `llama`",
            ),
            (
                query().number("adapter.lora.alpha", 8),
                "its key `adapter.lora.alpha` is 8, but must be a 32-bit fraction from 0 to 1000000",
            ),
            (
                query().float("adapter.lora.alpha", f32::NAN),
                "its key `adapter.lora.alpha` is NaN, but must be a 32-bit fraction from 0 to 1000000",
            ),
            (adapter(), "it changes nothing: it has no tensors"),
            (a(&[16, 4]), "its tensor `blk.0.attn_k.weight.lora_a` has no counterpart `blk.0.attn_k.weight.lora_b`"),
            (
                pair(&[8, 4], &[4, 8]),
                "its tensor `blk.0.attn_k.weight.lora_a` has the shape 8 x 4, but the base's 16 x 8 needs 16 x 4",
            ),
            (
                pair(&[16, 4], &[4, 16]),
                "its tensor `blk.0.attn_k.weight.lora_b` has the shape 4 x 16, but the base's 16 x 8 needs 4 x 8",
            ),
            (
                pair(&[16, 3], &[4, 8]),
                "its tensor `blk.0.attn_k.weight.lora_a` has the shape 16 x 3, but the base's 16 x 8 needs 16 x 4",
            ),
            (
                pair(&[16, 4, 2], &[4, 8]),
                "its tensor `blk.0.attn_k.weight.lora_a` has the shape 16 x 4 x 2, but the base's 16 x 8 needs 16 x 4",
            ),
            (
                of("blk.9.attn_q.weight"),
                "its tensor `blk.9.attn_q.weight.lora_a` changes `blk.9.attn_q.weight`, which the base model does not have",
            ),
            (
                of("blk.0.attn_norm.weight"),
                "its tensor `blk.0.attn_norm.weight.lora_a` changes `blk.0.attn_norm.weight`, which is not a matrix",
            ),
            (
                query().tensor("blk.0.attn_norm.weight", &[16]),
                "its tensor `blk.0.attn_norm.weight` is neither `….lora_a` nor `….lora_b`, the only supported tensors",
            ),
            (
                of(TOKEN_EMBEDDING),
                "its tensor `token_embd.weight.lora_a` changes the embedding, which in this base is the output as well; \
                 llama.cpp can apply it to only one",
            ),
        ];
        for (adapter, message) in expected {
            assert_eq!(refused(adapter), message);
        }
    }
}
