//! The values of a header's keys, stored about as tightly as in the file.

use super::error::GgufError;
use super::reader::HeaderReader;
use std::io::Read;

/// The most elements of an array; the largest real ones have about half a million.
const MAX_ELEMENTS: u64 = 1 << 24;

/// The value of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataValue {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// Which lists are shown; one may have a million elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrays {
    /// Those of a few elements; the others are `null`.
    Short,
    Whole,
}

/// The most elements of a short list.
const SHORT: usize = 16;

/// A list of values of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// The file's own bytes of numbers or flags, and their type.
    Numbers {
        kind: NumberType,
        bytes: Vec<u8>,
    },
    Strings(Strings),
}

/// A list of texts in one piece.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Strings {
    text: String,
    /// Where each text ends in `text`.
    ends: Vec<usize>,
}

/// The type of a number or flag in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;

impl MetadataValue {
    pub(super) fn read(reader: &mut HeaderReader<impl Read>, key: &str) -> Result<MetadataValue, GgufError> {
        let what = || format!("key `{key}`");
        match reader.u32()? {
            TYPE_STRING => reader.string(&what()).map(MetadataValue::String),
            TYPE_ARRAY => Array::read(reader, key).map(MetadataValue::Array),
            kind => {
                let kind = number_type(kind, key)?;
                let mut bytes = Vec::with_capacity(8);
                reader.append(&mut bytes, kind.size(), &what())?;
                Ok(kind.value(&bytes))
            }
        }
    }

    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let MetadataValue::String(text) = self { Some(text) } else { None }
    }

    #[must_use]
    pub fn as_array(&self) -> Option<&Array> {
        if let MetadataValue::Array(array) = self { Some(array) } else { None }
    }

    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let MetadataValue::Bool(flag) = self { Some(*flag) } else { None }
    }

    /// A whole number of any type that is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_i128().and_then(|number| number.try_into().ok())
    }

    /// A floating-point number of any type.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            MetadataValue::F32(number) => Some(f64::from(number)),
            MetadataValue::F64(number) => Some(number),
            _ => None,
        }
    }

    /// A whole number of any type.
    #[must_use]
    pub fn as_i128(&self) -> Option<i128> {
        match *self {
            MetadataValue::U8(number) => Some(number.into()),
            MetadataValue::I8(number) => Some(number.into()),
            MetadataValue::U16(number) => Some(number.into()),
            MetadataValue::I16(number) => Some(number.into()),
            MetadataValue::U32(number) => Some(number.into()),
            MetadataValue::I32(number) => Some(number.into()),
            MetadataValue::U64(number) => Some(number.into()),
            MetadataValue::I64(number) => Some(number.into()),
            _ => None,
        }
    }

    /// The value as JSON.
    #[must_use]
    pub fn to_json(&self, arrays: Arrays) -> serde_json::Value {
        match self {
            MetadataValue::Bool(flag) => (*flag).into(),
            MetadataValue::String(text) => text.as_str().into(),
            MetadataValue::Array(array) if arrays == Arrays::Short && array.len() > SHORT => serde_json::Value::Null,
            MetadataValue::Array(Array::Strings(strings)) => strings.iter().collect(),
            MetadataValue::Array(numbers) => numbers.numbers().map(|number| number.to_json(arrays)).collect(),
            // Through its shortest text, so that 0.1 does not become 0.10000000149011612.
            MetadataValue::F32(number) => number.to_string().parse::<f64>().unwrap_or(f64::NAN).into(),
            MetadataValue::F64(number) => (*number).into(),
            MetadataValue::I64(number) => (*number).into(),
            whole => whole.as_u64().map(Into::into).unwrap_or_else(|| whole.as_i128().map(|n| n as i64).into()),
        }
    }

    /// The number of its type and its bytes, as in a file.
    pub(super) fn encoded(&self) -> (u32, Vec<u8>) {
        let kind = |kind: NumberType| kind as u32;
        match self {
            MetadataValue::U8(n) => (kind(NumberType::U8), n.to_le_bytes().to_vec()),
            MetadataValue::I8(n) => (kind(NumberType::I8), n.to_le_bytes().to_vec()),
            MetadataValue::U16(n) => (kind(NumberType::U16), n.to_le_bytes().to_vec()),
            MetadataValue::I16(n) => (kind(NumberType::I16), n.to_le_bytes().to_vec()),
            MetadataValue::U32(n) => (kind(NumberType::U32), n.to_le_bytes().to_vec()),
            MetadataValue::I32(n) => (kind(NumberType::I32), n.to_le_bytes().to_vec()),
            MetadataValue::F32(n) => (kind(NumberType::F32), n.to_le_bytes().to_vec()),
            MetadataValue::Bool(flag) => (kind(NumberType::Bool), vec![u8::from(*flag)]),
            MetadataValue::U64(n) => (kind(NumberType::U64), n.to_le_bytes().to_vec()),
            MetadataValue::I64(n) => (kind(NumberType::I64), n.to_le_bytes().to_vec()),
            MetadataValue::F64(n) => (kind(NumberType::F64), n.to_le_bytes().to_vec()),
            MetadataValue::String(text) => (TYPE_STRING, string(text)),
            MetadataValue::Array(array) => {
                let (kind, elements) = match array {
                    Array::Numbers { kind: number, bytes } => (kind(*number), bytes.clone()),
                    Array::Strings(strings) => (TYPE_STRING, strings.iter().flat_map(string).collect()),
                };
                (TYPE_ARRAY, [&kind.to_le_bytes()[..], &(array.len() as u64).to_le_bytes(), &elements].concat())
            }
        }
    }

    /// The value in a few words, for an error.
    pub(super) fn describe(&self) -> String {
        match self {
            MetadataValue::Bool(flag) => flag.to_string(),
            MetadataValue::String(text) => format!("`{}`", text.escape_default().take(100).collect::<String>()),
            MetadataValue::Array(array) => format!("an array of {}", array.len()),
            MetadataValue::F32(number) => number.to_string(),
            MetadataValue::F64(number) => number.to_string(),
            whole => whole.as_i128().unwrap_or_default().to_string(),
        }
    }
}

impl Array {
    fn read(reader: &mut HeaderReader<impl Read>, key: &str) -> Result<Array, GgufError> {
        let kind = reader.u32()?;
        let n_elements = reader.count("elements in an array", MAX_ELEMENTS)?;
        match kind {
            TYPE_STRING => Strings::read(reader, key, n_elements).map(Array::Strings),
            // llama.cpp reads no arrays in arrays either, and no model has one.
            TYPE_ARRAY => Err(GgufError::NestedArray(key.to_owned())),
            kind => {
                let kind = number_type(kind, key)?;
                let mut bytes = Vec::new();
                reader.append(&mut bytes, n_elements * kind.size(), &format!("key `{key}`"))?;
                Ok(Array::Numbers { kind, bytes })
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Array::Numbers { kind, bytes } => bytes.len() / kind.size() as usize,
            Array::Strings(strings) => strings.ends.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[must_use]
    pub fn strings(&self) -> Option<&Strings> {
        if let Array::Strings(strings) = self { Some(strings) } else { None }
    }

    /// The elements of a list of numbers or flags; none for a list of texts.
    pub fn numbers(&self) -> impl Iterator<Item = MetadataValue> + '_ {
        let (kind, bytes): (_, &[u8]) = match self {
            Array::Numbers { kind, bytes } => (*kind, bytes),
            Array::Strings(_) => (NumberType::U8, &[]),
        };
        bytes.chunks_exact(kind.size() as usize).map(move |bytes| kind.value(bytes))
    }
}

impl Strings {
    /// These texts in their order.
    #[must_use]
    pub fn of(texts: &[impl AsRef<str>]) -> Strings {
        let mut strings = Strings::default();
        for text in texts {
            strings.text += text.as_ref();
            strings.ends.push(strings.text.len());
        }
        strings
    }

    fn read(reader: &mut HeaderReader<impl Read>, key: &str, n_elements: u64) -> Result<Strings, GgufError> {
        let what = format!("key `{key}`");
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..n_elements {
            let n_bytes = reader.u64()?;
            reader.append(&mut bytes, n_bytes, &what)?;
            ends.push(bytes.len());
        }
        let not_utf8 = || GgufError::NotUtf8 { what: what.clone() };
        let text = String::from_utf8(bytes).map_err(|_| not_utf8())?;
        // The whole is UTF-8; so is each part, unless a character lies over a border.
        if ends.iter().any(|&end| !text.is_char_boundary(end)) {
            return Err(not_utf8());
        }
        Ok(Strings { text, ends })
    }

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().scan(0, |start, &end| {
            let text = &self.text[*start..end];
            *start = end;
            Some(text)
        })
    }

    #[must_use]
    pub fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[start..end])
    }
}

impl NumberType {
    /// The size of one in bytes.
    fn size(self) -> u64 {
        match self {
            NumberType::U8 | NumberType::I8 | NumberType::Bool => 1,
            NumberType::U16 | NumberType::I16 => 2,
            NumberType::U32 | NumberType::I32 | NumberType::F32 => 4,
            NumberType::U64 | NumberType::I64 | NumberType::F64 => 8,
        }
    }

    /// The number in its little-endian bytes, of which there are as many as its size.
    fn value(self, bytes: &[u8]) -> MetadataValue {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(wide);
        // Each cast drops only zero bytes that were added above.
        match self {
            NumberType::U8 => MetadataValue::U8(bits as u8),
            NumberType::I8 => MetadataValue::I8(bits as i8),
            NumberType::U16 => MetadataValue::U16(bits as u16),
            NumberType::I16 => MetadataValue::I16(bits as i16),
            NumberType::U32 => MetadataValue::U32(bits as u32),
            NumberType::I32 => MetadataValue::I32(bits as i32),
            NumberType::F32 => MetadataValue::F32(f32::from_bits(bits as u32)),
            NumberType::Bool => MetadataValue::Bool(bits != 0),
            NumberType::U64 => MetadataValue::U64(bits),
            NumberType::I64 => MetadataValue::I64(bits as i64),
            NumberType::F64 => MetadataValue::F64(f64::from_bits(bits)),
        }
    }
}

/// Text as in a file: its length and its bytes.
pub(super) fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn number_type(kind: u32, key: &str) -> Result<NumberType, GgufError> {
    match kind {
        0 => Ok(NumberType::U8),
        1 => Ok(NumberType::I8),
        2 => Ok(NumberType::U16),
        3 => Ok(NumberType::I16),
        4 => Ok(NumberType::U32),
        5 => Ok(NumberType::I32),
        6 => Ok(NumberType::F32),
        7 => Ok(NumberType::Bool),
        10 => Ok(NumberType::U64),
        11 => Ok(NumberType::I64),
        12 => Ok(NumberType::F64),
        kind => Err(GgufError::ValueType { key: key.to_owned(), kind }),
    }
}
