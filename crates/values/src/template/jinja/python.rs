//! Values as Python spells them, and the methods of Python's texts.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};
use std::fmt::Write as _;

/// Nested lists and objects that are written as Python writes them.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Copy)]
pub(super) enum Sides {
    Left,
    Right,
    Both,
}

/// Python's white space: Unicode's, and four separators that Rust does not count.
pub(in super::super) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

pub(super) fn strip<'a>(text: &'a str, chars: Option<&str>, sides: Sides) -> &'a str {
    let gone = |c: char| chars.map_or_else(|| is_python_space(c), |chars| chars.contains(c));
    match sides {
        Sides::Left => text.trim_start_matches(gone),
        Sides::Right => text.trim_end_matches(gone),
        Sides::Both => text.trim_matches(gone),
    }
}

/// Python's methods: those that differ from minijinja-contrib's or are missing there, then minijinja-contrib's.
pub(super) fn method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        let first = args.first().and_then(Value::as_str);
        let or_none = args.first().is_none_or(|arg| arg.is_none() || arg.as_str().is_some());
        match (method, first) {
            ("strip", _) if or_none => return Ok(Value::from(strip(text, first, Sides::Both))),
            ("lstrip", _) if or_none => return Ok(Value::from(strip(text, first, Sides::Left))),
            ("rstrip", _) if or_none => return Ok(Value::from(strip(text, first, Sides::Right))),
            ("removeprefix", Some(cut)) => return Ok(Value::from(text.strip_prefix(cut).unwrap_or(text))),
            ("removesuffix", Some(cut)) => return Ok(Value::from(text.strip_suffix(cut).unwrap_or(text))),
            ("partition", Some(at)) if !at.is_empty() => {
                let (head, tail, found) = text.split_once(at).map_or((text, "", ""), |(h, t)| (h, t, at));
                return Ok([head, found, tail].into_iter().map(Value::from).collect());
            }
            ("rpartition", Some(at)) if !at.is_empty() => {
                let (head, tail, found) = text.rsplit_once(at).map_or(("", text, ""), |(h, t)| (h, t, at));
                return Ok([head, found, tail].into_iter().map(Value::from).collect());
            }
            ("rsplit", Some(at)) if !at.is_empty() => {
                let most = args.get(1).and_then(Value::as_i64).and_then(|n| usize::try_from(n).ok());
                let mut parts: Vec<&str> = match most {
                    Some(n) => text.rsplitn(n.saturating_add(1), at).collect(),
                    None => text.rsplit(at).collect(),
                };
                parts.reverse();
                return Ok(parts.into_iter().map(Value::from).collect());
            }
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}

/// A value as Python's `str` writes it, which is how Jinja2 prints it.
pub(super) fn python_str(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_undefined() => String::new(),
        None => {
            let mut out = String::new();
            python_repr(value, 0, &mut out);
            out
        }
    }
}

fn python_repr(value: &Value, depth: usize, out: &mut String) {
    match value.kind() {
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::None => out.push_str("None"),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq if depth < MAX_DEPTH => {
            out.push('[');
            for (i, item) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                python_repr(&item, depth + 1, out);
            }
            out.push(']');
        }
        ValueKind::Map if depth < MAX_DEPTH => {
            out.push('{');
            for (i, key) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                python_repr(&key, depth + 1, out);
                out.push_str(": ");
                python_repr(&value.get_item(&key).unwrap_or_default(), depth + 1, out);
            }
            out.push('}');
        }
        ValueKind::Seq | ValueKind::Map => out.push_str("..."),
        // Writing to a text cannot fail.
        _ => drop(write!(out, "{value}")),
    }
}

fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == mark => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push(mark);
}
