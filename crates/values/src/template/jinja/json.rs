//! The filter `tojson`, as the transformers library defines it; twins are escaped for their characters' sake.

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use serde_json::Value as Json;
use std::fmt::Write as _;

use super::super::renderer::Originals;

/// The transformers library's `tojson`: Python's `json.dumps(x, ensure_ascii=False, ..)`, no HTML escapes.
pub(super) fn to_json(value: &Value, kwargs: Kwargs, twins: &Originals) -> Result<Value, Error> {
    let indent: Option<Value> = kwargs.get("indent")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let ascii: Option<bool> = kwargs.get("ensure_ascii")?;
    let sorted: Option<bool> = kwargs.get("sort_keys")?;
    kwargs.assert_all_used()?;
    let indent = match indent {
        Some(value) if value.is_none() => None,
        Some(value) => match (value.as_i64(), value.as_str()) {
            (Some(n), _) => Some(" ".repeat(usize::try_from(n).unwrap_or(0).min(64))),
            (None, Some(text)) => Some(text.to_owned()),
            _ => return Err(Error::new(ErrorKind::InvalidOperation, "`indent` is a number or a text")),
        },
        None => None,
    };
    let (comma, colon) = match separators.as_deref() {
        Some([comma, colon]) => (comma.clone(), colon.clone()),
        _ => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let json = serde_json::to_value(value)
        .map_err(|e| Error::new(ErrorKind::BadSerialization, "cannot be written as JSON").with_source(e))?;
    let mut writer = JsonWriter {
        indent,
        comma,
        colon,
        ascii: ascii.unwrap_or(false),
        sorted: sorted.unwrap_or(false),
        twins,
        out: String::new(),
    };
    writer.write(&json, 1);
    Ok(Value::from(writer.out))
}

/// JSON on one line as `tojson` writes it.
pub(super) fn spaced(json: &Json, twins: &Originals) -> String {
    let (comma, colon) = (", ".to_owned(), ": ".to_owned());
    let mut writer = JsonWriter { indent: None, comma, colon, ascii: false, sorted: false, twins, out: String::new() };
    writer.write(json, 1);
    writer.out
}

/// JSON with Python's separators, which serde_json's formatters cannot mix with sorting and ASCII.
struct JsonWriter<'t> {
    indent: Option<String>,
    comma: String,
    colon: String,
    ascii: bool,
    sorted: bool,
    twins: &'t Originals,
    out: String,
}

impl JsonWriter<'_> {
    fn write(&mut self, json: &Json, depth: usize) {
        match json {
            Json::Array(items) if !items.is_empty() => {
                self.out.push('[');
                for (i, item) in items.iter().enumerate() {
                    self.separate(i, depth);
                    self.write(item, depth + 1);
                }
                self.line(depth - 1);
                self.out.push(']');
            }
            Json::Object(fields) if !fields.is_empty() => {
                self.out.push('{');
                let mut fields: Vec<_> = fields.iter().collect();
                if self.sorted {
                    fields.sort_by_key(|(name, _)| *name);
                }
                for (i, (name, field)) in fields.into_iter().enumerate() {
                    self.separate(i, depth);
                    self.text(name);
                    self.out.push_str(&self.colon);
                    self.write(field, depth + 1);
                }
                self.line(depth - 1);
                self.out.push('}');
            }
            Json::String(text) => self.text(text),
            other => drop(write!(self.out, "{other}")),
        }
    }

    fn separate(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.out.push_str(&self.comma);
        }
        self.line(depth);
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
    }

    /// A text in quotes. A twin is escaped as the character that it stands for would be.
    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            let original = self.twins.get(&c).copied().unwrap_or(c);
            match original {
                '"' | '\\' => self.out.extend(['\\', c]),
                '\0'..' ' => {
                    let quoted = Json::String(original.to_string()).to_string();
                    self.out.push_str(quoted.trim_matches('"'));
                }
                _ if self.ascii && !original.is_ascii() => {
                    for unit in original.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                _ => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}
