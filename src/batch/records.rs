//! An input as records, one line each or one row of a table, in any encoding that a person's text has, bounded in length, bad ones
//! named.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::boundary::Boundary;
use crate::digest::{Digest, Hasher};
use crate::encoding::{self, Utf8Reader};

/// A longer line is not a record: it is skipped, not held in memory.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// One line of input, or one row of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// That of its first line, from 1.
    pub line: u64,
    /// Bytes of input up to and with this line.
    pub end: u64,
    /// The digest of the line as UTF-8, without the line feed.
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

/// The records of a reader.
#[derive(Debug)]
pub struct Records<R> {
    reader: Utf8Reader<R>,
    boundary: Boundary,
    /// Lines that were read.
    n_lines: u64,
    blank: BlankLines,
    /// The next record, where it was looked at.
    peeked: Option<Record>,
}

/// What becomes of lines of nothing but white space.
#[derive(Debug)]
enum BlankLines {
    AreRecords,
    AreSkipped(Skipped),
}

/// Lines that were no records so far, counted while another thread reads them.
#[derive(Debug, Clone, Default)]
pub struct Skipped(Arc<AtomicU64>);

impl Skipped {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<R: BufRead> Records<R> {
    /// Every line is a record.
    pub fn new(reader: R) -> Self {
        Records {
            reader: Utf8Reader::new(reader),
            boundary: Boundary::Lines,
            n_lines: 0,
            blank: BlankLines::AreRecords,
            peeked: None,
        }
    }

    /// Blank lines are no records; the others keep their numbers.
    pub fn without_blank_lines(reader: R, skipped: Skipped) -> Self {
        Records { blank: BlankLines::AreSkipped(skipped), ..Records::new(reader) }
    }

    /// Every row of a table, its header too; blank lines between them are no records.
    pub fn of_table(reader: R, delimiter: u8, skipped: Skipped) -> Self {
        Records { boundary: Boundary::of_table(delimiter), ..Records::without_blank_lines(reader, skipped) }
    }

    /// The first record, which is read all the same.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn peek(&mut self) -> std::io::Result<Option<&Record>> {
        if self.peeked.is_none() {
            self.peeked = self.next().transpose()?;
        }
        Ok(self.peeked.as_ref())
    }

    /// Bytes of input that were read as records.
    pub fn end(&self) -> u64 {
        self.reader.position()
    }

    /// The next record's line, digest and bytes, or `None` after the last.
    fn next_line(&mut self) -> std::io::Result<Option<(u64, Digest, Line)>> {
        let line = self.n_lines + 1;
        let mut hasher = Hasher::new();
        let mut bytes = Vec::new();
        let mut n_bytes = 0;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            let boundary = &mut self.boundary;
            let (taken, is_end) = match buffer.iter().position(|&byte| boundary.ends_with(byte)) {
                Some(at) => (at + 1, true),
                None => (buffer.len(), false),
            };
            let hashed = if is_end { taken - 1 } else { taken };
            hasher.update(&buffer[..hashed]);
            self.n_lines += buffer[..taken].iter().filter(|&&byte| byte == b'\n').count() as u64;
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
        let bytes = if n_bytes > MAX_LINE_BYTES {
            Err(format!("the line has {n_bytes} bytes, more than {MAX_LINE_BYTES}"))
        } else {
            Ok(bytes)
        };
        Ok(Some((line, hasher.finish(), bytes)))
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = std::io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.peeked.take() {
            return Some(Ok(record));
        }
        let (line, digest, bytes) = loop {
            let (line, digest, bytes) = match self.next_line() {
                Ok(read) => read?,
                Err(error) => return Some(Err(error)),
            };
            match &self.blank {
                BlankLines::AreSkipped(skipped) if bytes.as_ref().is_ok_and(|bytes| encoding::is_blank(bytes)) => {
                    skipped.0.fetch_add(1, Ordering::Relaxed);
                }
                BlankLines::AreRecords | BlankLines::AreSkipped(_) => break (line, digest, bytes),
            }
        };
        let text = bytes.and_then(|bytes| {
            let text = encoding::checked(bytes).map_err(|error| error.in_row())?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
        });
        Some(Ok(Record { line, end: self.end(), digest, text }))
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
        let said = "column 3: the text here is neither UTF-8 nor UTF-16 with a byte order mark; save it as UTF-8";
        assert_eq!(read(b"ab\xff\nc\n"), [Err(said.to_owned()), Ok("c".to_owned())]);
        // UTF-16 without a mark, and half of a pair.
        assert_eq!(read(b"a\0b\0")[0], Err(said.replace('3', "2")));
        assert_eq!(read(b"\xff\xfea\0\0\xd8\n\0c\0"), [Err(said.replace('3', "2")), Ok("c".to_owned())]);
    }

    /// The same lines in every encoding: their numbers and digests, and where each ends in the input.
    #[test]
    fn an_inputs_encoding_and_blank_lines_change_no_record() {
        let text = "\u{e9}t\u{e9}\r\n \t\r\n\r\n{\"\u{1f600}\": 1}\r\n\r\n";
        let utf16 =
            |order: fn(u16) -> [u8; 2]| [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(order).collect();
        type Length = fn(&str) -> usize;
        let of_utf16: Length = |begun| 2 + 2 * begun.encode_utf16().count();
        let coats: [(Vec<u8>, Length); 4] = [
            (text.as_bytes().to_vec(), str::len),
            (format!("\u{feff}{text}").into_bytes(), |begun| 3 + begun.len()),
            (utf16(u16::to_le_bytes), of_utf16),
            (utf16(u16::to_be_bytes), of_utf16),
        ];
        let (first, last) = (text.find(" \t").unwrap(), text.len() - 2);
        for (bytes, length) in coats {
            for capacity in 1..9 {
                let reader = std::io::BufReader::with_capacity(capacity, bytes.as_slice());
                let skipped = Skipped::default();
                let records: Vec<Record> =
                    Records::without_blank_lines(reader, skipped.clone()).map(|record| record.unwrap()).collect();
                let record = |line, end, text: &str| Record {
                    line,
                    end: length(end) as u64,
                    digest: Digest::of(format!("{text}\r").as_bytes()),
                    text: Ok(text.to_owned()),
                };
                let expected =
                    [record(1, &text[..first], "\u{e9}t\u{e9}"), record(4, &text[..last], "{\"\u{1f600}\": 1}")];
                assert_eq!((records.as_slice(), skipped.count()), (&expected[..], 3));
            }
        }
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
