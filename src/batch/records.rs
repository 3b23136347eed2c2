//! An input as records: one line each, bounded in length, bad ones named.

use std::io::BufRead;

use crate::digest::{Digest, Hasher};

/// A longer line is not a record: it is skipped, not held in memory.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// From 1.
    pub line: u64,
    /// Bytes of input up to and with this line.
    pub end: u64,
    /// The digest of the line's bytes without the line feed.
    pub digest: Digest,
    /// The line without its end, or why it cannot be used.
    pub text: Result<String, String>,
}

impl Record {
    /// What the record holds of memory.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        size_of::<Record>() + self.text.as_ref().map_or(0, String::len)
    }
}

/// A line's bytes, or why it is not a record.
type Line = Result<Vec<u8>, String>;

/// The lines of a reader.
#[derive(Debug)]
pub struct Records<R> {
    reader: R,
    line: u64,
    end: u64,
}

impl<R: BufRead> Records<R> {
    pub fn new(reader: R) -> Self {
        Records { reader, line: 0, end: 0 }
    }

    /// Bytes of input that were read as records.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The next line's digest and bytes, or `None` behind the last.
    fn next_line(&mut self) -> std::io::Result<Option<(Digest, Line)>> {
        let mut hasher = Hasher::new();
        let mut bytes = Vec::new();
        let mut n_bytes = 0;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            let (taken, is_end) = match buffer.iter().position(|&byte| byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), false),
            };
            hasher.update(buffer[..taken].strip_suffix(b"\n").unwrap_or(&buffer[..taken]));
            if n_bytes + taken <= MAX_LINE_BYTES {
                bytes.extend_from_slice(&buffer[..taken]);
            }
            n_bytes += taken;
            self.reader.consume(taken);
            if is_end {
                break;
            }
        }
        if n_bytes == 0 {
            return Ok(None);
        }
        self.line += 1;
        self.end += n_bytes as u64;
        let line = if n_bytes > MAX_LINE_BYTES {
            Err(format!("the line has {n_bytes} bytes, more than {MAX_LINE_BYTES}"))
        } else {
            Ok(bytes)
        };
        Ok(Some((hasher.finish(), line)))
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = std::io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let (digest, line) = match self.next_line() {
            Ok(line) => line?,
            Err(error) => return Some(Err(error)),
        };
        let number = self.line;
        let text = line.and_then(|bytes| {
            let text = String::from_utf8(bytes)
                .map_err(|error| format!("the line is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))?;
            let text = if number == 1 { text.strip_prefix('\u{feff}').unwrap_or(&text) } else { &text };
            let text = text.strip_suffix('\n').unwrap_or(text);
            Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
        });
        Some(Ok(Record { line: number, end: self.end, digest, text }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Result<String, String>> {
        Records::new(std::io::BufReader::with_capacity(7, bytes)).map(|record| record.unwrap().text).collect()
    }

    #[test]
    fn lines_end_with_or_without_a_newline() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(read(b"\xef\xbb\xbfa\r\n\nlonger than one buffer"), [ok("a"), ok(""), ok("longer than one buffer")]);
        assert_eq!(read(b""), []);
    }

    #[test]
    fn a_bad_line_is_named_and_the_next_one_is_read() {
        assert_eq!(read(b"ab\xff\nc\n"), [Err("the line is not UTF-8 at byte 2".to_owned()), Ok("c".to_owned())]);
    }

    #[test]
    fn a_line_has_one_digest_with_and_without_its_end() {
        let digests = |bytes: &[u8]| -> Vec<Digest> {
            Records::new(std::io::BufReader::with_capacity(3, bytes)).map(|record| record.unwrap().digest).collect()
        };
        assert_eq!(digests(b"abc\nd\xff"), [Digest::of(b"abc"), Digest::of(b"d\xff")]);
        assert_eq!(digests(b"abc\nd\xff\n"), digests(b"abc\nd\xff"));
    }

    #[test]
    fn a_line_without_end_is_not_held_in_memory() {
        let mut input = vec![b'x'; MAX_LINE_BYTES + 1];
        input.extend_from_slice(b"\ny");
        let lines: Vec<_> = Records::new(input.as_slice()).map(|record| record.unwrap()).collect();
        assert_eq!(lines[0].text, Err("the line has 16777218 bytes, more than 16777216".to_owned()));
        assert_eq!((lines[1].text.clone(), lines[1].end), (Ok("y".to_owned()), 16_777_219));
    }
}
