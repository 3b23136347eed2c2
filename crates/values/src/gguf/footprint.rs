//! What a header says about the memory that a model takes: never more than it really takes, so that nothing that would
//! run is refused.

use super::header::Header;
use super::tensor::{TensorInfo, TensorType};
use super::value::MetadataValue;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The numbers that a model's memory follows from; all zero where nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Bytes of all tensors.
    pub weights: u64,
    pub n_layers: u64,
    /// Numbers that one token leaves in the context, over all layers.
    pub keys: u64,
    pub values: u64,
    /// Positions that the model was trained for.
    pub n_ctx_train: u64,
    pub n_vocab: u64,
    /// Bytes of weights that one token reads: of experts only those that are chosen, of the embeddings one row.
    pub read: u64,
    /// Weights of the blocks that one token is multiplied by.
    pub multiplied: u64,
    /// The matrix that is most like the blocks' work.
    pub matrix: Option<Matrix>,
}

/// A matrix of weights: its type and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    pub kind: TensorType,
    pub n_in: u64,
    pub n_out: u64,
}

impl Footprint {
    /// The model's context where it is smaller than so many tokens.
    #[must_use]
    pub fn context_below(&self, n_tokens: u32) -> Option<u64> {
        Some(self.n_ctx_train).filter(|&trained| trained > 0 && trained < u64::from(n_tokens))
    }
}

impl Header {
    /// The memory of this file's model.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        let n_layers = self.block_count().unwrap_or(0);
        let (keys, values) = self.cell(n_layers);
        Footprint {
            weights: self.tensors.iter().map(|tensor| tensor.n_bytes).sum(),
            n_layers,
            keys,
            values,
            n_ctx_train: self.context_length().unwrap_or(0),
            n_vocab: self.n_tokens() as u64,
            read: self.tensors.iter().map(|tensor| self.used(tensor, tensor.n_bytes)).sum(),
            multiplied: self.products().map(|tensor| self.used(tensor, tensor.n_elements)).sum(),
            matrix: self.matrix(),
        }
    }

    /// Of a tensor's `amount`, what one token uses.
    fn used(&self, tensor: &TensorInfo, amount: u64) -> u64 {
        let number = |key: &str| self.number(&self.of_architecture(key));
        let has_output = || self.tensors.iter().any(|tensor| tensor.name == "output.weight");
        match (number("expert_count"), number("expert_used_count")) {
            (Some(all @ 1..), Some(used)) if tensor.name.contains("_exps.") => amount / all * used,
            // Tied embeddings are the output as well, and then all of them are read.
            _ if tensor.name == "token_embd.weight" && has_output() => amount / self.n_tokens().max(1) as u64,
            _ => amount,
        }
    }

    fn products(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter().filter(|tensor| tensor.name.starts_with("blk.") && tensor.dimensions.len() >= 2)
    }

    /// The largest matrix of the type that most of the blocks' weights have.
    fn matrix(&self) -> Option<Matrix> {
        let mut weights: HashMap<TensorType, u64> = HashMap::new();
        self.products().for_each(|tensor| *weights.entry(tensor.kind).or_default() += tensor.n_elements);
        let (&kind, _) = weights.iter().max_by_key(|(kind, n)| (**n, kind.id))?;
        let largest = self.products().filter(|tensor| tensor.kind == kind).max_by_key(|tensor| tensor.n_elements)?;
        let [n_in, n_out] = [largest.dimensions[0], largest.dimensions[1]];
        Some(Matrix { kind, n_in, n_out })
    }

    /// Numbers that the keys and the values of one token are.
    fn cell(&self, n_layers: u64) -> (u64, u64) {
        let number = |key: &str| self.number(&self.of_architecture(key));
        let is_causal = self.get(&self.of_architecture("attention.causal")).and_then(MetadataValue::as_bool);
        let heads = self.of_each_layer("attention.head_count", n_layers);
        let n_heads = heads.iter().copied().max().unwrap_or(0);
        if is_causal == Some(false) || n_heads == 0 {
            return (0, 0);
        }
        let kv_heads = self.of_each_layer("attention.head_count_kv", n_layers);
        let kv_heads = if kv_heads.is_empty() { heads } else { kv_heads };
        // The last layers of some architectures read what earlier ones left.
        let shared = usize::try_from(number("attention.shared_kv_layers").unwrap_or(0)).unwrap_or(usize::MAX);
        let own = kv_heads.len().saturating_sub(shared);
        let n_kv_heads: u64 = kv_heads[..own].iter().sum();
        let head = self.embedding_length().unwrap_or(0) / n_heads;
        // Layers with a window may have smaller heads.
        let size = |name: &str| {
            let wide = number(&format!("attention.{name}")).unwrap_or(head);
            number(&format!("attention.{name}_swa")).map_or(wide, |narrow| narrow.min(wide))
        };
        let keys = n_kv_heads.saturating_mul(size("key_length"));
        // Compressed attention keeps both in one.
        let values = if number("attention.kv_lora_rank").is_some() { 0 } else { size("value_length") };
        (keys, n_kv_heads.saturating_mul(values))
    }

    /// A key that is one number for all layers, or a list.
    fn of_each_layer(&self, key: &str, n_layers: u64) -> Vec<u64> {
        let n_layers = usize::try_from(n_layers).unwrap_or(0);
        match self.get(&self.of_architecture(key)) {
            None => Vec::new(),
            Some(MetadataValue::Array(array)) => array.numbers().filter_map(|n| n.as_u64()).take(n_layers).collect(),
            Some(value) => vec![value.as_u64().unwrap_or(0); n_layers],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Header;
    use super::super::testing::tiny_llama;

    fn footprint(bytes: &[u8]) -> super::Footprint {
        Header::read(bytes, bytes.len() as u64).unwrap().footprint()
    }

    #[test]
    fn a_token_leaves_keys_and_values_in_every_layer_that_has_its_own() {
        let plain = footprint(&tiny_llama().bytes());
        // One head of 8 numbers in one layer.
        assert_eq!((plain.keys, plain.values, plain.n_layers, plain.n_ctx_train), (8, 8, 1, 64));
        assert_eq!([63, 64, 65].map(|n| plain.context_below(n)), [None, None, Some(64)]);
        assert_eq!(super::Footprint::default().context_below(9), None);
        assert!(plain.weights > 260 * 16 * 4);
        // The embeddings are the output too; 16x16 twice, 16x8 twice, 16x32 three times.
        assert_eq!((plain.read, plain.multiplied), (plain.weights, 2304));
        assert_eq!(plain.matrix, Some(super::Matrix { kind: super::TensorType::F32, n_in: 16, n_out: 32 }));
        let untied = footprint(&tiny_llama().tensor("output.weight", &[16, 260]).bytes());
        assert_eq!(untied.read, untied.weights - 259 * 16 * 4);
        let cell = |writer: super::super::testing::Writer| {
            let footprint = footprint(&writer.bytes());
            (footprint.keys, footprint.values)
        };
        assert_eq!(cell(tiny_llama().number("llama.attention.kv_lora_rank", 4)), (8, 0));
        assert_eq!(cell(tiny_llama().number("llama.attention.shared_kv_layers", 1)), (0, 0));
        assert_eq!(cell(tiny_llama().number("llama.attention.key_length_swa", 2)), (2, 8));
    }
}
