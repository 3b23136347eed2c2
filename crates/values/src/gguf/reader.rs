//! Reads a header's primitives within the bytes that the file has; it does not know what they mean.

use super::error::GgufError;
use std::io::{ErrorKind, Read};

/// The most bytes of one string; the longest real ones are chat templates of about 100 kB.
const MAX_STRING_BYTES: u64 = 16 << 20;
/// The most bytes of a key, by the format.
const MAX_KEY_BYTES: u64 = 65_535;
/// The most bytes of one array: that of a vocabulary of a million long tokens.
const MAX_ARRAY_BYTES: u64 = 256 << 20;

pub(super) struct HeaderReader<R> {
    source: R,
    position: u64,
    file_len: u64,
}

impl<R: Read> HeaderReader<R> {
    pub(super) fn new(source: R, file_len: u64) -> Self {
        HeaderReader { source, position: 0, file_len }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Exactly `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.claim(N as u64)?;
        self.source.read_exact(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.truncated(),
            _ => GgufError::Io(error),
        })?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things that is at most `limit`.
    pub(super) fn count(&mut self, what: &'static str, limit: u64) -> Result<u64, GgufError> {
        match self.u64()? {
            n if n > limit => Err(GgufError::TooMany { what, n, limit }),
            n => Ok(n),
        }
    }

    /// The name of a key: not empty, no control characters (llama.cpp compares keys up to the first zero byte).
    pub(super) fn key(&mut self) -> Result<String, GgufError> {
        let key = self.string_within("key", MAX_KEY_BYTES)?;
        named("key", key)
    }

    /// The name of a tensor.
    pub(super) fn tensor_name(&mut self) -> Result<String, GgufError> {
        let name = self.string_within("tensor name", MAX_KEY_BYTES)?;
        named("tensor name", name)
    }

    /// Text; `what` names it in errors.
    pub(super) fn string(&mut self, what: &str) -> Result<String, GgufError> {
        self.string_within(what, MAX_STRING_BYTES)
    }

    /// Exactly `n_bytes` bytes, appended to `bytes`, which grows only as they come.
    pub(super) fn append(&mut self, bytes: &mut Vec<u8>, n_bytes: u64, what: &str) -> Result<(), GgufError> {
        self.claim(n_bytes)?;
        let limit = MAX_ARRAY_BYTES;
        if n_bytes > limit || bytes.len() as u64 + n_bytes > limit {
            return Err(GgufError::TooLong { what: what.to_owned(), n_bytes, limit });
        }
        let n_read = (&mut self.source).take(n_bytes).read_to_end(bytes)? as u64;
        self.position += n_read;
        if n_read < n_bytes { Err(self.truncated()) } else { Ok(()) }
    }

    /// The length of a string that is at most `limit` bytes and lies within the file.
    fn string_within(&mut self, what: &str, limit: u64) -> Result<String, GgufError> {
        let n_bytes = self.u64()?;
        if n_bytes > limit {
            return Err(GgufError::TooLong { what: what.to_owned(), n_bytes, limit });
        }
        let mut bytes = Vec::new();
        self.append(&mut bytes, n_bytes, what)?;
        String::from_utf8(bytes).map_err(|_| GgufError::NotUtf8 { what: what.to_owned() })
    }

    /// That the file has `n_bytes` more.
    fn claim(&self, n_bytes: u64) -> Result<(), GgufError> {
        if n_bytes > self.file_len.saturating_sub(self.position) { Err(self.truncated()) } else { Ok(()) }
    }

    fn truncated(&self) -> GgufError {
        GgufError::Truncated { file_len: self.file_len }
    }
}

fn named(what: &'static str, name: String) -> Result<String, GgufError> {
    if name.is_empty() || name.contains(char::is_control) {
        let value = name.escape_default().take(100).collect();
        return Err(GgufError::Name { what, value });
    }
    Ok(name)
}
