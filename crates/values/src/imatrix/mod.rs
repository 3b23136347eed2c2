//! Importance matrices: the mean square of what each column of a weight is multiplied with, in llama.cpp's two formats. It reads
//! bytes and knows no models.
//!
//! The GGUF form (`tools/imatrix` of llama.cpp) has two tensors for each weight `W`, the sums `W.in_sum2` and, for each matrix of
//! the weight (an expert has one of its own), the number of rows in them, `W.counts`. The older form, `.dat`, has one count, in
//! chunks, by which its sums were divided and multiplied again.

mod error;
mod legacy;

use std::collections::BTreeMap;

pub use error::ImatrixError;

use crate::gguf::{Array, GgufWriter, Header, MetadataValue, Strings, TensorInfo, TensorType};

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// What is known of the inputs of a model's weights.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Imatrix {
    /// By the weight's name.
    pub entries: BTreeMap<String, Importance>,
    /// The texts that it was computed from, as whoever made it named them.
    pub datasets: Vec<String>,
    /// Chunks of text, and the tokens of each; 0 where the file does not say.
    pub n_chunks: u32,
    pub chunk_size: u32,
}

/// Of one weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    /// Of each column, of all matrices one after the other: the sum of squares.
    pub sums: Vec<f32>,
    /// Of each matrix: the rows in its sums. One for all where there is one.
    pub counts: Vec<f32>,
}

impl Importance {
    /// The mean squares. A matrix that no text came to counts each of its columns alike.
    #[must_use]
    pub fn means(&self) -> Vec<f32> {
        let width = self.sums.len() / self.counts.len().max(1);
        let mean = |(at, &sum): (usize, &f32)| match self.counts[at / width] {
            // As llama.cpp divides: by a whole number in single precision.
            count if count.round() > 0.0 => sum / count.round(),
            _ => 1.0,
        };
        self.sums.iter().enumerate().map(mean).collect()
    }
}

impl Imatrix {
    /// Reads a file of either form.
    ///
    /// # Errors
    /// It is no importance matrix, or one whose parts do not fit together.
    pub fn parse(bytes: &[u8]) -> Result<Imatrix, ImatrixError> {
        let imatrix = if bytes.starts_with(b"GGUF") { from_gguf(bytes)? } else { legacy::parse(bytes)? };
        if imatrix.entries.is_empty() {
            return Err(ImatrixError::Empty);
        }
        let bad = |(name, entry): (&String, &Importance)| {
            let wrong = entry.sums.iter().chain(&entry.counts).any(|x| !x.is_finite() || *x < 0.0);
            wrong.then(|| ImatrixError::Value(name.clone()))
        };
        imatrix.entries.iter().find_map(bad).map_or(Ok(()), Err)?;
        Ok(imatrix)
    }

    /// The file in the GGUF form, as llama.cpp's own tool writes it.
    #[must_use]
    pub fn to_gguf(&self) -> Vec<u8> {
        let mut file = GgufWriter::new();
        file.text("general.type", "imatrix");
        let datasets = MetadataValue::Array(Array::Strings(Strings::of(&self.datasets)));
        file.value("imatrix.datasets", &datasets);
        file.number("imatrix.chunk_count", self.n_chunks);
        file.number("imatrix.chunk_size", self.chunk_size);
        let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        for (name, Importance { sums, counts }) in &self.entries {
            let n_matrices = counts.len() as u64;
            let width = sums.len() as u64 / n_matrices.max(1);
            file.tensor(&format!("{name}{SUMS}"), &[width, n_matrices], TensorType::F32, &bytes(sums));
            file.tensor(&format!("{name}{COUNTS}"), &[1, n_matrices], TensorType::F32, &bytes(counts));
        }
        file.into_bytes()
    }
}

fn from_gguf(bytes: &[u8]) -> Result<Imatrix, ImatrixError> {
    let header = Header::read_parts(bytes, bytes.len() as u64).map_err(ImatrixError::Gguf)?;
    let kind = header.text("general.type").unwrap_or("model");
    if kind != "imatrix" {
        return Err(ImatrixError::Kind(kind.escape_default().take(100).collect()));
    }
    let number = |key: &str| header.number(key).and_then(|n| u32::try_from(n).ok());
    let (Some(n_chunks), Some(chunk_size)) = (number("imatrix.chunk_count"), number("imatrix.chunk_size")) else {
        return Err(ImatrixError::Metadata);
    };
    let datasets = match header.get("imatrix.datasets") {
        Some(MetadataValue::Array(Array::Strings(texts))) => texts.iter().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let values = |tensor: &TensorInfo| -> Result<Vec<f32>, ImatrixError> {
        if tensor.kind != TensorType::F32 {
            return Err(ImatrixError::Type { tensor: tensor.name.clone(), kind: tensor.kind.name });
        }
        // The header was read of these bytes, and its tensors lie within them.
        let begin = (header.data_offset + tensor.offset) as usize;
        let bytes = &bytes[begin..begin + tensor.n_bytes as usize];
        Ok(bytes.chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect())
    };
    let mut entries = BTreeMap::new();
    for tensor in &header.tensors {
        let Some(name) = tensor.name.strip_suffix(SUMS) else { continue };
        let counts = header.tensor(&format!("{name}{COUNTS}"));
        let counts = values(counts.ok_or_else(|| ImatrixError::NoCounts(name.to_owned()))?)?;
        let sums = values(tensor)?;
        if !sums.len().is_multiple_of(counts.len()) {
            return Err(ImatrixError::Shape(name.to_owned()));
        }
        entries.insert(name.to_owned(), Importance { sums, counts });
    }
    Ok(Imatrix { entries, datasets, n_chunks, chunk_size })
}

#[cfg(test)]
mod tests;
