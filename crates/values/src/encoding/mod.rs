//! The text of bytes that a person gives: UTF-8 with or without a byte order mark, or UTF-16 with one; it knows no format.
//!
//! Files come whole ([`decode`], [`utf8`]), long inputs as they are read ([`Utf8Reader`]).

mod decoder;
mod reader;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use decoder::Decoder;

pub use reader::Utf8Reader;

/// The byte order mark as a character.
const MARK: char = '\u{feff}';

/// Why bytes are refused, wherever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text here is neither UTF-8 nor UTF-16 with a byte order mark; save it as UTF-8")]
pub struct NotText;

/// The first place where bytes are not text. Both numbers count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {NotText}")]
pub struct EncodingError {
    pub line: usize,
    pub column: usize,
}

/// The text of a whole file, without its byte order mark; line ends stay as they are.
///
/// # Errors
///
/// [`EncodingError`] with the first place that is neither UTF-8 nor UTF-16.
pub fn decode(bytes: &[u8]) -> Result<String, EncodingError> {
    checked(utf8(bytes).into_owned())
}

/// A whole file as UTF-8, without its byte order mark. What is not text in it is not UTF-8 here either, so that a reader of
/// rows can refuse the rows that have it, with [`checked`].
#[must_use]
pub fn utf8(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut decoder = Decoder::default();
    if let Some(rest) = decoder.begin(bytes).filter(|_| decoder.is_utf8()) {
        return Cow::Borrowed(rest);
    }
    let (mut decoder, mut text) = (Decoder::default(), Vec::with_capacity(bytes.len()));
    decoder.push(bytes, &mut text);
    decoder.finish(&mut text);
    Cow::Owned(text)
}

/// The text of bytes that [`utf8`] or [`Utf8Reader`] gave. No text has the character U+0000: bytes with it are UTF-16 without
/// a mark, UTF-32, or no text at all.
///
/// # Errors
///
/// [`EncodingError`] with the first place that is not text.
pub fn checked(bytes: Vec<u8>) -> Result<String, EncodingError> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    match String::from_utf8(bytes) {
        Ok(text) if end == text.len() => Ok(text),
        Ok(text) => Err(EncodingError::after(&text[..end])),
        Err(error) => {
            let n_valid = end.min(error.utf8_error().valid_up_to());
            Err(EncodingError::after(&String::from_utf8_lossy(&error.as_bytes()[..n_valid])))
        }
    }
}

/// A text without the byte order mark that a shell leaves in it, as in `"$(cat schema.json)"`.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Whether a line has nothing but white space.
#[must_use]
pub fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

impl EncodingError {
    /// The error for a row by itself, whose number is told elsewhere.
    #[must_use]
    pub fn in_row(&self) -> String {
        format!("column {}: {NotText}", self.column)
    }

    fn after(text: &str) -> EncodingError {
        let line = text.matches('\n').count() + 1;
        let column = text.chars().rev().take_while(|c| *c != '\n').count() + 1;
        EncodingError { line, column }
    }
}
