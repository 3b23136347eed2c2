//! Bytes of an encoding that their beginning tells, to UTF-8, piece by piece.

/// Byte order marks.
const UTF8: [u8; 3] = [0xEF, 0xBB, 0xBF];
const UTF16_LE: [u8; 2] = [0xFF, 0xFE];
const UTF16_BE: [u8; 2] = [0xFE, 0xFF];

/// How bytes are characters.
#[derive(Debug, Clone, Copy)]
enum Encoding {
    Utf8,
    Utf16(fn([u8; 2]) -> u16),
}

/// Decodes bytes as they come. What is not text comes out as bytes that are not UTF-8: a surrogate alone in three bytes, the
/// half of a unit at the end as one.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Known once the first bytes are.
    encoding: Option<Encoding>,
    /// Of the mark, where there is one.
    n_mark_bytes: u64,
    /// What cannot be decoded before the next bytes come.
    held: Vec<u8>,
    /// The first half of a pair.
    high: Option<u16>,
}

impl Decoder {
    /// Tells the encoding from an input's first bytes and gives those after the mark; `None` where they may be a mark that
    /// has not come whole.
    pub fn begin<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let marks: [(&[u8], Encoding); 3] = [
            (&UTF8, Encoding::Utf8),
            (&UTF16_LE, Encoding::Utf16(u16::from_le_bytes)),
            (&UTF16_BE, Encoding::Utf16(u16::from_be_bytes)),
        ];
        if marks.iter().any(|(mark, _)| bytes.len() < mark.len() && mark.starts_with(bytes)) {
            return None;
        }
        let found = marks.into_iter().find(|(mark, _)| bytes.starts_with(mark));
        let (mark, encoding) = found.unwrap_or((&[], Encoding::Utf8));
        (self.encoding, self.n_mark_bytes) = (Some(encoding), mark.len() as u64);
        Some(&bytes[mark.len()..])
    }

    pub fn is_utf8(&self) -> bool {
        matches!(self.encoding, Some(Encoding::Utf8))
    }

    /// Appends the text of the bytes that come next.
    pub fn push(&mut self, bytes: &[u8], text: &mut Vec<u8>) {
        match self.encoding {
            None => {
                self.held.extend_from_slice(bytes);
                let begun = std::mem::take(&mut self.held);
                match self.begin(&begun) {
                    Some(rest) => self.push(rest, text),
                    None => self.held = begun,
                }
            }
            Some(Encoding::Utf8) => text.extend_from_slice(bytes),
            Some(Encoding::Utf16(unit_of)) => self.push_units(bytes, unit_of, text),
        }
    }

    fn push_units(&mut self, mut bytes: &[u8], unit_of: fn([u8; 2]) -> u16, text: &mut Vec<u8>) {
        if let (&[first], [second, rest @ ..]) = (self.held.as_slice(), bytes) {
            self.held.clear();
            self.push_unit(unit_of([first, *second]), text);
            bytes = rest;
        }
        let (units, rest) = bytes.as_chunks::<2>();
        units.iter().for_each(|unit| self.push_unit(unit_of(*unit), text));
        self.held.extend_from_slice(rest);
    }

    fn push_unit(&mut self, unit: u16, text: &mut Vec<u8>) {
        if let Some(high) = self.high.take() {
            match char::decode_utf16([high, unit]).next() {
                Some(Ok(whole)) => return push_char(whole, text),
                _ => push_surrogate(high, text),
            }
        }
        match char::from_u32(unit.into()) {
            Some(whole) => push_char(whole, text),
            None if (0xD800..0xDC00).contains(&unit) => self.high = Some(unit),
            None => push_surrogate(unit, text),
        }
    }

    /// Appends what is left of an input that has ended.
    pub fn finish(&mut self, text: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if let Some(high) = self.high.take() {
            push_surrogate(high, text);
        }
        match self.encoding {
            Some(Encoding::Utf16(_)) => text.extend(held.iter().map(|_| 0xFF)),
            // The beginning of a mark and no more.
            Some(Encoding::Utf8) | None => text.extend_from_slice(&held),
        }
    }

    /// How many bytes the mark has.
    pub fn n_mark_bytes(&self) -> u64 {
        self.n_mark_bytes
    }

    /// How many bytes of the input became this piece of its text.
    pub fn n_bytes_of(&self, text: &[u8]) -> u64 {
        if self.is_utf8() || self.encoding.is_none() {
            return text.len() as u64;
        }
        // A character of four bytes is a pair of units; others are one.
        let n_units = |byte: &u8| match byte {
            0x80..0xC0 => 0,
            0xF0..0xF8 => 2,
            _ => 1,
        };
        2 * text.iter().map(n_units).sum::<u64>()
    }
}

fn push_char(whole: char, text: &mut Vec<u8>) {
    text.extend_from_slice(whole.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Half of a pair as the three bytes that UTF-8 would have for it, and forbids.
fn push_surrogate(unit: u16, text: &mut Vec<u8>) {
    let [high, low] = unit.to_be_bytes();
    text.extend_from_slice(&[0xE0 | high >> 4, 0x80 | (high & 0x0F) << 2 | low >> 6, 0x80 | low & 0x3F]);
}
