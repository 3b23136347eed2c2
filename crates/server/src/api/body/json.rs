//! JSON to a type, with errors that say which field they are about. A key that is there twice is refused wherever it stands:
//! one of its two values would be dropped in silence.

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment, Track};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use super::mistake;
use crate::api::problem;

/// Values of others are shown to this length.
const MAX_SHOWN: usize = 400;

/// What is wrong, and with which field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct JsonError {
    message: String,
    field: Option<String>,
}

impl JsonError {
    pub(super) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    read(text, NoKeyTwice).map_err(|(error, path)| of_text(&error, &path))?;
    if !text.trim_start().starts_with('{') {
        // Left to it, serde would take a list for the fields in their order.
        return Err(JsonError { message: "the body is not a JSON object".to_owned(), field: None });
    }
    read(text, PhantomData).map_err(|(error, path)| {
        // It was gone through before.
        of_value(&error.to_string(), &path, &serde_json::from_str(text).unwrap_or_default(), "")
    })
}

/// As [`parse`], for a part of a body that was kept as it is; `at` is its place.
pub(super) fn parse_part<T: DeserializeOwned>(part: &Value, at: &str) -> Result<T, JsonError> {
    let mut track = Track::new();
    let read = T::deserialize(serde_path_to_error::Deserializer::new(part, &mut track));
    read.map_err(|error| of_value(&error.to_string(), &track.path(), part, at))
}

fn read<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Result<S::Value, (serde_json::Error, Path)> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = Track::new();
    let read = seed.deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let value = read.map_err(|error| (error, track.path()))?;
    json.end().map_err(|error| (error, Track::new().path()))?;
    Ok(value)
}

/// What is wrong with a text that is not JSON, or with its keys.
fn of_text(error: &serde_json::Error, path: &Path) -> JsonError {
    let words = error.to_string();
    // serde_json has no other sign of it.
    if words.starts_with("recursion limit exceeded") {
        let message = words.replacen("recursion limit exceeded", "the body is nested more than 128 deep", 1);
        return JsonError { message, field: None };
    }
    if error.classify() != Category::Data {
        return JsonError { message: format!("the body is not JSON: {}", shortened(&words)), field: None };
    }
    let field = place(path);
    let words = shortened(&words);
    let message = field.as_ref().map_or_else(|| words.clone(), |field| format!("`{field}`: {words}"));
    JsonError { message, field }
}

/// What is wrong with a value of a body, or of the part of it at a place.
fn of_value(words: &str, path: &Path, part: &Value, at: &str) -> JsonError {
    let mut value = Some(part);
    let mut words = words;
    for segment in path {
        value = value.and_then(|value| match segment {
            Segment::Seq { index } => value.get(*index),
            Segment::Map { key } => value.get(key),
            Segment::Enum { .. } | Segment::Unknown => Some(value),
        });
        // An object where one of some words must be: serde looks for the word among its keys.
        if let Segment::Enum { .. } = segment {
            words = mistake::NO_WORD;
        }
    }
    let place = match place(path) {
        Some(within) if at.is_empty() => Some(within),
        Some(within) if within.starts_with('[') => Some(format!("{at}{within}")),
        Some(within) => Some(format!("{at}.{within}")),
        None => Some(at.to_owned()).filter(|at| !at.is_empty()),
    };
    let (message, field) = mistake::describe(words, place.as_deref(), value.unwrap_or(&Value::Null));
    JsonError { message: shortened(&message), field }
}

/// A place as messages name it; `None` is the whole body, or a place that nobody could say.
fn place(path: &Path) -> Option<String> {
    let mut place = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => place += &format!("[{index}]"),
            Segment::Map { key } if place.is_empty() => place.clone_from(key),
            Segment::Map { key } => place += &format!(".{key}"),
            Segment::Enum { .. } => break,
            Segment::Unknown => return None,
        }
    }
    (!place.is_empty()).then(|| shortened(&place))
}

fn shortened(text: &str) -> String {
    problem::shortened(text, MAX_SHOWN)
}

/// Goes through a value and keeps nothing of it but the keys of the objects that it is in.
#[derive(Clone, Copy)]
struct NoKeyTwice;

impl<'de> DeserializeSeed<'de> for NoKeyTwice {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NoKeyTwice {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(NoKeyTwice)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format!("the key `{key}` is given twice")));
            }
            keys.insert(key);
            entries.next_value_seed(NoKeyTwice)?;
        }
        Ok(())
    }
}

/// A key as it is in the text, unless it has escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
