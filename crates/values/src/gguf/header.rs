//! A header's keys and tensors, which fit together as the format says; what they mean is checked elsewhere.

use serde_json::Map;
use std::collections::{HashMap, HashSet};
use std::io::Read;

use super::error::GgufError;
use super::label;
use super::reader::HeaderReader;
use super::tensor::{DEFAULT_ALIGNMENT, TensorInfo, check_layout, padded};
use super::value::{Array, Arrays, MetadataValue};

/// The most keys that a header may hold; real ones have about forty.
const MAX_KEYS: u64 = 16_384;
/// The most tensors that a header may hold; real ones have a few hundred.
pub(super) const MAX_TENSORS: u64 = 65_536;

/// What a GGUF file says about itself, and that its parts fit together.
#[derive(Debug, Clone)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// In the file's order; empty where the file holds a vocabulary only.
    pub tensors: Vec<TensorInfo>,
    /// Where the tensors' data begins, in bytes from the start of the file.
    pub data_offset: u64,
    entries: Vec<(String, MetadataValue)>,
    index: HashMap<String, usize>,
}

impl Header {
    /// The keys and tensors of any GGUF file, which fit together as the format says; what they mean is not checked.
    pub(crate) fn read_parts(reader: impl Read, file_len: u64) -> Result<Header, GgufError> {
        let mut reader = HeaderReader::new(reader, file_len);
        let version = read_version(&mut reader)?;
        let n_tensors = reader.count("tensors", MAX_TENSORS)?;
        let n_keys = reader.count("keys", MAX_KEYS)?;
        let mut header =
            Header { version, tensors: Vec::new(), data_offset: 0, entries: Vec::new(), index: HashMap::new() };
        for _ in 0..n_keys {
            header.read_entry(&mut reader)?;
        }
        let alignment = header.alignment()?;
        header.read_tensors(&mut reader, n_tensors, alignment)?;
        Ok(header)
    }

    /// The tensor of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&MetadataValue> {
        self.index.get(key).map(|&at| &self.entries[at].1)
    }

    /// Every key and its value, in the file's order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &MetadataValue)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The text of a key that holds text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(MetadataValue::as_str)
    }

    /// The value of a key that holds a whole number of zero or more.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(MetadataValue::as_u64)
    }

    /// The architecture, as in `llama`; empty where the file does not say.
    #[must_use]
    pub fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or_default()
    }

    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.text("general.name")
    }

    /// The most tokens that the model was trained on.
    #[must_use]
    pub fn context_length(&self) -> Option<u64> {
        self.number(&self.of_architecture("context_length"))
    }

    #[must_use]
    pub fn embedding_length(&self) -> Option<u64> {
        self.number(&self.of_architecture("embedding_length"))
    }

    #[must_use]
    pub fn block_count(&self) -> Option<u64> {
        self.number(&self.of_architecture("block_count"))
    }

    /// The width of sliding-window attention in tokens, where the model has it.
    #[must_use]
    pub fn sliding_window(&self) -> Option<u64> {
        self.number(&self.of_architecture("attention.sliding_window")).filter(|&n_tokens| n_tokens > 0)
    }

    /// The number of weights.
    #[must_use]
    pub fn n_parameters(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.n_elements))
    }

    /// The bytes of all tensors.
    #[must_use]
    pub fn n_tensor_bytes(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.n_bytes))
    }

    /// Bits of a weight on average, scales included; `None` without weights.
    #[must_use]
    pub fn bits_per_weight(&self) -> Option<f64> {
        let n = self.n_parameters();
        (n > 0).then(|| 8.0 * self.n_tensor_bytes() as f64 / n as f64)
    }

    /// The number of weights as people say it: `1.2B`, `2.6M`, `260K`.
    #[must_use]
    pub fn size_label(&self) -> String {
        label::size(self.n_parameters())
    }

    /// The quantization's name, as in `Q4_K_M`; that of most weights where the file does not say; `unknown` without weights.
    #[must_use]
    pub fn quantization(&self) -> &'static str {
        self.number("general.file_type").and_then(label::file_type).unwrap_or_else(|| label::commonest(&self.tensors))
    }

    /// The Jinja template that the model was trained with.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.text("tokenizer.chat_template")
    }

    /// The tokenizer's kind, as in `gpt2` (byte-pair encoding) or `llama` (SentencePiece).
    #[must_use]
    pub fn tokenizer_model(&self) -> Option<&str> {
        self.text("tokenizer.ggml.model")
    }

    /// The number of tokens in the vocabulary.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        self.get("tokenizer.ggml.tokens").and_then(MetadataValue::as_array).map_or(0, Array::len)
    }

    /// The metadata as JSON: what Ollama's `/api/show` calls `model_info`.
    #[must_use]
    pub fn model_info(&self, arrays: Arrays) -> Map<String, serde_json::Value> {
        self.entries.iter().map(|(key, value)| (key.clone(), value.to_json(arrays))).collect()
    }

    /// A key of the file's architecture: `context_length` to `llama.context_length`.
    pub(super) fn of_architecture(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture())
    }

    fn read_entry(&mut self, reader: &mut HeaderReader<impl Read>) -> Result<(), GgufError> {
        let key = reader.key()?;
        let value = MetadataValue::read(reader, &key)?;
        if self.index.insert(key.clone(), self.entries.len()).is_some() {
            return Err(GgufError::DuplicateKey(key));
        }
        self.entries.push((key, value));
        Ok(())
    }

    fn alignment(&self) -> Result<u64, GgufError> {
        match self.get("general.alignment") {
            None => Ok(DEFAULT_ALIGNMENT),
            Some(&MetadataValue::U32(alignment)) if alignment.is_power_of_two() => Ok(u64::from(alignment)),
            Some(value) => Err(GgufError::Alignment(value.describe())),
        }
    }

    fn read_tensors(
        &mut self,
        reader: &mut HeaderReader<impl Read>,
        n_tensors: u64,
        alignment: u64,
    ) -> Result<(), GgufError> {
        let mut names = HashSet::new();
        for _ in 0..n_tensors {
            let tensor = TensorInfo::read(reader)?;
            if !names.insert(tensor.name.clone()) {
                return Err(GgufError::DuplicateTensor(tensor.name));
            }
            self.tensors.push(tensor);
        }
        self.data_offset = if n_tensors == 0 { reader.position() } else { padded(reader.position(), alignment)? };
        let data_len = reader.file_len().saturating_sub(self.data_offset);
        check_layout(&self.tensors, data_len, alignment)
    }
}

fn read_version(reader: &mut HeaderReader<impl Read>) -> Result<u32, GgufError> {
    let magic: [u8; 4] = reader.array()?;
    if magic != *b"GGUF" {
        return Err(GgufError::Magic(magic.escape_ascii().to_string()));
    }
    match u32::from_le_bytes(reader.array()?) {
        version @ (2 | 3) => Ok(version),
        version if matches!(version.swap_bytes(), 1..=3) => Err(GgufError::BigEndian),
        version => Err(GgufError::Version(version)),
    }
}
