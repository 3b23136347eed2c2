//! Writes GGUF files of version 3 (ggml's `docs/gguf.md`); it does not know what their keys and tensors mean.

use super::tensor::{DEFAULT_ALIGNMENT, TensorType};
use super::value::{MetadataValue, string};

/// A file in the making.
#[derive(Debug, Default)]
pub struct GgufWriter {
    n_entries: u64,
    entries: Vec<u8>,
    n_tensors: u64,
    tensors: Vec<u8>,
    data: Vec<u8>,
}

impl GgufWriter {
    #[must_use]
    pub fn new() -> GgufWriter {
        GgufWriter::default()
    }

    pub fn text(&mut self, key: &str, text: &str) {
        self.value(key, &MetadataValue::String(text.to_owned()));
    }

    pub fn number(&mut self, key: &str, number: u32) {
        self.value(key, &MetadataValue::U32(number));
    }

    pub fn float(&mut self, key: &str, number: f32) {
        self.value(key, &MetadataValue::F32(number));
    }

    /// A key with any value.
    pub fn value(&mut self, key: &str, value: &MetadataValue) {
        let (kind, bytes) = value.encoded();
        self.n_entries += 1;
        self.entries.extend(string(key));
        self.entries.extend(kind.to_le_bytes());
        self.entries.extend(bytes);
    }

    /// A tensor with its data in the bytes of its type; the length of a row comes first in `dimensions`.
    pub fn tensor(&mut self, name: &str, dimensions: &[u64], kind: TensorType, bytes: &[u8]) {
        self.n_tensors += 1;
        self.tensors.extend(string(name));
        self.tensors.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|n| self.tensors.extend(n.to_le_bytes()));
        self.tensors.extend(kind.id.to_le_bytes());
        self.tensors.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(bytes);
        pad(&mut self.data);
    }

    /// The whole file.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.n_tensors.to_le_bytes());
        file.extend(self.n_entries.to_le_bytes());
        file.extend(self.entries);
        file.extend(self.tensors);
        if self.n_tensors > 0 {
            pad(&mut file);
        }
        file.extend(self.data);
        file
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Header;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = GgufWriter::new();
        writer.text("general.architecture", "llama");
        writer.number("a", 7);
        writer.float("b", 0.5);
        writer.tensor("x", &[3, 2], TensorType::F32, &[1; 24]);
        writer.tensor("y", &[2], TensorType::F16, &[2; 4]);
        let bytes = writer.into_bytes();
        let header = Header::read_parts(bytes.as_slice(), bytes.len() as u64).unwrap();
        assert_eq!((header.architecture(), header.number("a")), ("llama", Some(7)));
        assert_eq!(header.get("b").and_then(crate::gguf::MetadataValue::as_f64), Some(0.5));
        let shapes: Vec<_> =
            header.tensors.iter().map(|t| (t.name.as_str(), t.dimensions.clone(), t.kind.name)).collect();
        assert_eq!(shapes, [("x", vec![3, 2], "F32"), ("y", vec![2], "F16")]);
        let y = (header.data_offset + header.tensors[1].offset) as usize;
        assert_eq!(bytes[y..y + 4], [2; 4]);
    }

    #[test]
    fn keys_of_every_type_are_written_as_they_were_read() {
        let known =
            crate::gguf::testing::tiny_llama().raw("a", 0, vec![7]).raw("b", 1, vec![0xff]).raw("c", 2, vec![7, 1]);
        let known = known.raw("d", 3, vec![7, 0xff]).raw("e", 5, vec![7, 0, 0, 0xff]).raw("f", 7, vec![1]);
        let wide = 7_u64.to_le_bytes().to_vec();
        let known = known.raw("g", 10, wide.clone()).raw("h", 11, wide).raw("i", 12, 0.5_f64.to_le_bytes().to_vec());
        let bytes = known.bytes();
        let header = Header::read(bytes.as_slice(), bytes.len() as u64).unwrap();
        let mut writer = GgufWriter::new();
        header.entries().for_each(|(key, value)| writer.value(key, value));
        let written = writer.into_bytes();
        let again = Header::read(written.as_slice(), written.len() as u64).unwrap();
        assert!(header.entries().eq(again.entries()));
        // Byte for byte, after the counts.
        assert_eq!(bytes[24..written.len()], written[24..]);
    }
}
