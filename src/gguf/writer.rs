//! Writes GGUF files of version 3 (ggml's `docs/gguf.md`); it does not know what their keys and tensors mean.

use super::{DEFAULT_ALIGNMENT, TensorType};

const TYPE_U32: u32 = 4;
const TYPE_F32: u32 = 6;
const TYPE_TEXT: u32 = 8;

/// A file in the making.
#[derive(Debug, Default)]
pub struct Writer {
    n_entries: u64,
    entries: Vec<u8>,
    n_tensors: u64,
    tensors: Vec<u8>,
    data: Vec<u8>,
}

impl Writer {
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    pub fn text(&mut self, key: &str, text: &str) {
        self.entry(key, TYPE_TEXT, &string(text));
    }

    pub fn number(&mut self, key: &str, number: u32) {
        self.entry(key, TYPE_U32, &number.to_le_bytes());
    }

    pub fn float(&mut self, key: &str, number: f32) {
        self.entry(key, TYPE_F32, &number.to_le_bytes());
    }

    fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.n_entries += 1;
        self.entries.extend(string(key));
        self.entries.extend(kind.to_le_bytes());
        self.entries.extend(value);
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

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Header;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::new();
        writer.text("general.architecture", "llama");
        writer.number("a", 7);
        writer.float("b", 0.5);
        writer.tensor("x", &[3, 2], TensorType::F32, &[1; 24]);
        writer.tensor("y", &[2], TensorType::F16, &[2; 4]);
        let bytes = writer.into_bytes();
        let header = Header::read_parts(bytes.as_slice(), bytes.len() as u64).unwrap();
        assert_eq!((header.architecture(), header.number("a")), ("llama", Some(7)));
        assert_eq!(header.get("b").and_then(crate::gguf::Value::as_f64), Some(0.5));
        let shapes: Vec<_> =
            header.tensors.iter().map(|t| (t.name.as_str(), t.dimensions.clone(), t.kind.name)).collect();
        assert_eq!(shapes, [("x", vec![3, 2], "F32"), ("y", vec![2], "F16")]);
        let y = (header.data_offset + header.tensors[1].offset) as usize;
        assert_eq!(bytes[y..y + 4], [2; 4]);
    }
}
