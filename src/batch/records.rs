//! An input as records: one line each, one row of a table, or one element of a JSON array, in any encoding that a person's text
//! has, bounded in length, bad ones named.

use std::fmt;
use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::boundary::Boundary;
use super::element::{After, ElementEnd};
use crate::digest::{Digest, Hasher};
use crate::encoding::{self, Utf8Reader};

/// A longer line is not a record: it is skipped, not held in memory.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// One line of input, one row of a table, or one element of an array.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub place: RecordPlace,
    /// Bytes of input up to and with this record.
    pub end: u64,
    /// The digest of the record as UTF-8, without what ends it.
    pub digest: Digest,
    /// The record without its end, or why it cannot be used.
    pub text: Result<String, String>,
}

/// Where in the input a record is, as people count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPlace {
    /// That of its first line, from 1.
    pub line: u64,
    /// Its number in a JSON array, from 1; `None` where the input is not one.
    pub element: Option<u64>,
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.element {
            Some(element) => write!(f, "element {element} (line {})", self.line),
            None => write!(f, "line {}", self.line),
        }
    }
}

impl Record {
    /// What the record holds of memory.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        size_of::<Record>() + self.text.as_ref().map_or(0, String::len)
    }
}

/// The records of a reader.
#[derive(Debug)]
pub struct Records<R> {
    reader: Utf8Reader<R>,
    layout: Layout,
    /// Lines that were read.
    n_lines: u64,
    blank: BlankLines,
    /// The next record, where it was looked at.
    peeked: Option<Record>,
}

/// How records follow each other.
#[derive(Debug)]
enum Layout {
    Lines(Boundary),
    /// Lines or one JSON array, as the first byte will say.
    LinesOrArray,
    /// After so many elements of an array.
    Array {
        n_elements: u64,
        after: After,
    },
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

/// A record's bytes as they are read: hashed, and held as far as they are not too many.
struct Piece {
    hasher: Hasher,
    bytes: Vec<u8>,
    n_bytes: usize,
}

impl Piece {
    fn new() -> Piece {
        Piece { hasher: Hasher::new(), bytes: Vec::new(), n_bytes: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.n_bytes += bytes.len();
        if self.n_bytes <= MAX_LINE_BYTES {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The digest and the text; `what` it is, for messages.
    fn finish(self, what: &str) -> (Digest, Result<String, String>) {
        let Piece { hasher, bytes, n_bytes } = self;
        let text = if n_bytes > MAX_LINE_BYTES {
            Err(format!("the {what} has {n_bytes} bytes, more than {MAX_LINE_BYTES}"))
        } else {
            encoding::checked(bytes).map_err(|error| error.in_row())
        };
        (hasher.finish(), text)
    }
}

impl<R: BufRead> Records<R> {
    /// Every line is a record.
    pub fn new(reader: R) -> Self {
        Records {
            reader: Utf8Reader::new(reader),
            layout: Layout::Lines(Boundary::Lines),
            n_lines: 0,
            blank: BlankLines::AreRecords,
            peeked: None,
        }
    }

    /// Every row of a table, its header too; blank lines between them are no records.
    pub fn of_table(reader: R, delimiter: u8, skipped: Skipped) -> Self {
        let (layout, blank) = (Layout::Lines(Boundary::of_table(delimiter)), BlankLines::AreSkipped(skipped));
        Records { layout, blank, ..Records::new(reader) }
    }

    /// Every line of JSON, or every element of one JSON array. Blank lines are no records; the others keep their numbers.
    pub fn of_json(reader: R, skipped: Skipped) -> Self {
        Records { layout: Layout::LinesOrArray, blank: BlankLines::AreSkipped(skipped), ..Records::new(reader) }
    }

    /// The first record, which is read all the same.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn peek(&mut self) -> io::Result<Option<&Record>> {
        if self.peeked.is_none() {
            self.peeked = self.next().transpose()?;
        }
        Ok(self.peeked.as_ref())
    }

    /// Bytes of input that were read as records.
    pub fn end(&self) -> u64 {
        self.reader.position()
    }

    /// The next record; `None` after the last.
    fn read(&mut self) -> io::Result<Option<Record>> {
        loop {
            match self.layout {
                Layout::LinesOrArray => self.layout = self.detect()?,
                Layout::Lines(boundary) => return self.line(boundary),
                Layout::Array { n_elements, after: After::Element } => return self.element(n_elements + 1),
                Layout::Array { after: After::Nothing, .. } => return self.nothing_more().map(|()| None),
            }
        }
    }

    /// Whether an array begins; an empty one is at its end already.
    fn detect(&mut self) -> io::Result<Layout> {
        if self.skip_space()? != Some(b'[') {
            // What was skipped were blank lines, and the space before the first record.
            if let BlankLines::AreSkipped(skipped) = &self.blank {
                skipped.0.fetch_add(self.n_lines, Ordering::Relaxed);
            }
            return Ok(Layout::Lines(Boundary::Lines));
        }
        self.reader.consume(1);
        let is_empty = self.skip_space()? == Some(b']');
        if is_empty {
            self.reader.consume(1);
        }
        let after = if is_empty { After::Nothing } else { After::Element };
        Ok(Layout::Array { n_elements: 0, after })
    }

    /// Reads JSON's white space; the byte after it is not read yet.
    fn skip_space(&mut self) -> io::Result<Option<u8>> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let next = buffer.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            let (n, found) = next.map_or((buffer.len(), None), |at| (at, Some(buffer[at])));
            self.n_lines += n_line_feeds(&buffer[..n]);
            self.reader.consume(n);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn line(&mut self, mut boundary: Boundary) -> io::Result<Option<Record>> {
        loop {
            let line = self.n_lines + 1;
            let (mut piece, mut is_end, mut is_read) = (Piece::new(), false, false);
            while !is_end {
                let buffer = self.reader.fill_buf()?;
                if buffer.is_empty() {
                    break;
                }
                let end = buffer.iter().position(|&byte| boundary.ends_with(byte));
                let n = end.unwrap_or(buffer.len());
                piece.add(&buffer[..n]);
                (is_read, is_end) = (true, end.is_some());
                let taken = n + usize::from(is_end);
                self.n_lines += n_line_feeds(&buffer[..taken]);
                self.reader.consume(taken);
            }
            self.layout = Layout::Lines(boundary);
            if !is_read {
                return Ok(None);
            }
            match &self.blank {
                BlankLines::AreSkipped(skipped)
                    if piece.n_bytes <= MAX_LINE_BYTES && encoding::is_blank(&piece.bytes) =>
                {
                    skipped.0.fetch_add(1, Ordering::Relaxed);
                }
                BlankLines::AreRecords | BlankLines::AreSkipped(_) => {
                    let (digest, text) = piece.finish("line");
                    let text = text.map(|text| text.strip_suffix('\r').map(str::to_owned).unwrap_or(text));
                    let place = RecordPlace { line, element: None };
                    return Ok(Some(Record { place, end: self.end(), digest, text }));
                }
            }
        }
    }

    /// The element of this number, with what ends it.
    fn element(&mut self, number: u64) -> io::Result<Option<Record>> {
        self.skip_space()?;
        let place = RecordPlace { line: self.n_lines + 1, element: Some(number) };
        let (mut piece, mut end) = (Piece::new(), ElementEnd::default());
        let after = loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                let what = if piece.n_bytes == 0 { "is missing" } else { "is not complete" };
                return Err(unreadable(format!("{place} {what}: the array is not closed")));
            }
            let found = buffer.iter().enumerate().find_map(|(at, &byte)| end.at(byte).map(|after| (at, after)));
            let n = found.map_or(buffer.len(), |(at, _)| at);
            piece.add(&buffer[..n]);
            self.n_lines += n_line_feeds(&buffer[..n]);
            self.reader.consume(n + usize::from(found.is_some()));
            if let Some((_, after)) = found {
                break after;
            }
        };
        self.layout = Layout::Array { n_elements: number, after };
        let (digest, text) = piece.finish("element");
        let text = text.and_then(|text| match text.trim_ascii_end() {
            "" => Err("the element is empty; remove a comma".to_owned()),
            text => Ok(text.to_owned()),
        });
        Ok(Some(Record { place, end: self.end(), digest, text }))
    }

    /// Holds an input to its end after an array.
    fn nothing_more(&mut self) -> io::Result<()> {
        match self.skip_space()? {
            Some(_) => Err(unreadable(format!(
                "line {}: there is more after the end of the array; give one array, or one object per line",
                self.n_lines + 1
            ))),
            None => Ok(()),
        }
    }
}

fn n_line_feeds(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// An input that cannot be taken apart.
fn unreadable(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.peeked.take() {
            Some(record) => Some(Ok(record)),
            None => self.read().transpose(),
        }
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
                    Records::of_json(reader, skipped.clone()).map(|record| record.unwrap()).collect();
                let record = |line, end, text: &str| Record {
                    place: RecordPlace { line, element: None },
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
        assert_eq!(lines[0].text, Err("the line has 16777217 bytes, more than 16777216".to_owned()));
        assert_eq!((lines[1].text.clone(), lines[1].end), (Ok("y".to_owned()), 16_777_219));
    }

    fn array(bytes: &[u8], capacity: usize) -> (Vec<Record>, Option<String>) {
        let (mut records, mut why) = (Vec::new(), None);
        for record in Records::of_json(io::BufReader::with_capacity(capacity, bytes), Skipped::default()) {
            match record {
                Ok(record) => records.push(record),
                Err(error) => {
                    why = Some(error.to_string());
                    break;
                }
            }
        }
        (records, why)
    }

    #[test]
    fn an_array_is_its_elements_whatever_the_buffer_holds() {
        let text = "\u{feff}\n [\n{\"a\": [1,\n2]} ,\"x]\"\n,, 7 ]\n ";
        for capacity in 1..9 {
            let (records, why) = array(text.as_bytes(), capacity);
            let found: Vec<_> =
                records.iter().map(|record| (record.place.to_string(), record.text.as_deref())).collect();
            let empty = "the element is empty; remove a comma".to_owned();
            let expected = [
                ("element 1 (line 3)".to_owned(), Ok("{\"a\": [1,\n2]}")),
                ("element 2 (line 4)".to_owned(), Ok("\"x]\"")),
                ("element 3 (line 5)".to_owned(), Err(&empty)),
                ("element 4 (line 5)".to_owned(), Ok("7")),
            ];
            assert_eq!((found.as_slice(), why), (&expected[..], None));
            let ends: Vec<&str> = records.iter().map(|record| &text[..usize::try_from(record.end).unwrap()]).collect();
            assert!(ends[0].ends_with("2]} ,") && ends[1].ends_with("\"\n,") && ends[2].ends_with(",,"), "{ends:?}");
            assert!(ends[3].ends_with("7 ]"), "{ends:?}");
        }
        for empty in ["[]", " [ \n ] \n"] {
            assert_eq!(array(empty.as_bytes(), 2), (Vec::new(), None));
        }
    }

    #[test]
    fn a_broken_array_says_where() {
        let why = |text: &str| array(text.as_bytes(), 4).1.unwrap();
        assert_eq!(why("[{\"a\":\n1}"), "element 1 (line 1) is not complete: the array is not closed");
        assert_eq!(why("[1,\n"), "element 2 (line 2) is missing: the array is not closed");
        assert_eq!(
            why("[1]\n{}\n"),
            "line 2: there is more after the end of the array; give one array, or one object per line"
        );
        let long = format!("[\"{}\", 1]", "x".repeat(MAX_LINE_BYTES));
        let (records, why) = array(long.as_bytes(), 1 << 16);
        assert_eq!(records[0].text, Err("the element has 16777218 bytes, more than 16777216".to_owned()));
        assert_eq!((records[1].text.as_deref(), why), (Ok("1"), None));
    }
}
