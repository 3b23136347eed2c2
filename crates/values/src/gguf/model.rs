//! A header of one whole model, checked in all that llama.cpp takes for granted.

use std::io::Read;

use super::error::GgufError;
use super::header::Header;
use super::value::MetadataValue;
use super::{shape, vocabulary};

impl Header {
    /// Reads and checks a model's header from the start of a file of `file_len` bytes. Memory stays within a small
    /// multiple of the bytes that `reader` really gives, whatever they say.
    ///
    /// # Errors
    ///
    /// [`GgufError`] where the file cannot be read, is not a GGUF file, or is one that llama.cpp could not load safely.
    pub fn read(reader: impl Read, file_len: u64) -> Result<Header, GgufError> {
        let header = Header::read_parts(reader, file_len)?;
        match header.get("split.count").map(MetadataValue::as_u64) {
            None | Some(Some(0 | 1)) => checked(header),
            Some(n_files) => Err(GgufError::Split(n_files.unwrap_or_default())),
        }
    }
}

/// A header whose parts are those of one model.
pub(super) fn checked(header: Header) -> Result<Header, GgufError> {
    vocabulary::check(&header)?;
    if !header.tensors.is_empty() {
        shape::check(&header)?;
    }
    Ok(header)
}
