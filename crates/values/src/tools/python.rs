//! Calls as Python writes them: `[name(key="value", n=3)]`.

use serde_json::{Map, Value as Json};
use std::fmt::Write as _;

use super::call::ToolCall;
use super::limits::MAX_DEPTH;

/// A call with its arguments by name.
pub(super) fn write(call: &ToolCall) -> String {
    let arguments: Vec<String> =
        call.arguments.iter().map(|(name, value)| format!("{name}={}", Literal(value))).collect();
    format!("{}({})", call.name, arguments.join(", "))
}

/// A JSON value as Python's literal of it.
struct Literal<'j>(&'j Json);

impl std::fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Json::Null => f.write_str("None"),
            Json::Bool(true) => f.write_str("True"),
            Json::Bool(false) => f.write_str("False"),
            Json::Array(items) => {
                f.write_char('[')?;
                for (number, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if number == 0 { "" } else { ", " }, Literal(item))?;
                }
                f.write_char(']')
            }
            Json::Object(fields) => {
                f.write_char('{')?;
                for (number, (name, field)) in fields.iter().enumerate() {
                    let comma = if number == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", Json::from(name.as_str()), Literal(field))?;
                }
                f.write_char('}')
            }
            // A JSON text is a literal of Python's too, and so is a number.
            other => write!(f, "{other}"),
        }
    }
}

/// The calls of a list, each with its name and its arguments, all of them by name; `None` where it is not such a list.
pub(super) fn parse(text: &str) -> Option<Vec<(String, Map<String, Json>)>> {
    let mut parser = PythonParser { rest: text.trim() };
    parser.take('[')?;
    let mut calls = Vec::new();
    while parser.take(']').is_none() {
        let name = parser.name(|c| c.is_alphanumeric() || "_-./:".contains(c))?;
        parser.take('(')?;
        let mut arguments = Map::new();
        while parser.take(')').is_none() {
            let argument = parser.name(|c| c.is_alphanumeric() || c == '_')?;
            parser.take('=')?;
            arguments.insert(argument, parser.value(MAX_DEPTH)?);
            parser.separate(')')?;
        }
        calls.push((name, arguments));
        parser.separate(']')?;
    }
    (parser.rest.is_empty() && !calls.is_empty()).then_some(calls)
}

struct PythonParser<'t> {
    rest: &'t str,
}

impl PythonParser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes a sign, and white space before it.
    fn take(&mut self, sign: char) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(sign)?;
        Some(())
    }

    /// Takes a comma, unless what ends the list comes next.
    fn separate(&mut self, end: char) -> Option<()> {
        self.take(',').or_else(|| self.rest.starts_with(end).then_some(()))
    }

    fn name(&mut self, is_part: impl Fn(char) -> bool) -> Option<String> {
        self.skip_space();
        let after = self.rest.trim_start_matches(is_part);
        let name = &self.rest[..self.rest.len() - after.len()];
        self.rest = after;
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.skip_space();
        let depth = depth.checked_sub(1)?;
        match self.rest.chars().next()? {
            quote @ ('"' | '\'') => self.text(quote).map(Json::from),
            '[' => self.list('[', ']', depth),
            '(' => self.list('(', ')', depth),
            '{' => self.object(depth),
            _ => self.word(),
        }
    }

    fn list(&mut self, begin: char, end: char, depth: usize) -> Option<Json> {
        self.take(begin)?;
        let mut items = Vec::new();
        while self.take(end).is_none() {
            items.push(self.value(depth)?);
            self.separate(end)?;
        }
        Some(Json::Array(items))
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.take('{')?;
        let mut fields = Map::new();
        while self.take('}').is_none() {
            let Json::String(name) = self.value(1)? else { return None };
            self.take(':')?;
            fields.insert(name, self.value(depth)?);
            self.separate('}')?;
        }
        Some(Json::Object(fields))
    }

    /// A number, or a name for a value, in Python's spelling or in JSON's.
    fn word(&mut self) -> Option<Json> {
        let word = self.name(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))?;
        match word.as_str() {
            "True" | "true" => Some(Json::Bool(true)),
            "False" | "false" => Some(Json::Bool(false)),
            "None" | "null" => Some(Json::Null),
            number => serde_json::from_str(number).ok(),
        }
    }

    fn text(&mut self, quote: char) -> Option<String> {
        self.take(quote)?;
        let mut out = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next()? {
                c if c == quote => break,
                '\\' => match chars.next()? {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    'u' => {
                        let digits: String = chars.by_ref().take(4).collect();
                        out.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    c @ ('\\' | '\'' | '"' | '/') => out.push(c),
                    // Python keeps the backslash of what it does not know.
                    other => out.extend(['\\', other]),
                },
                c => out.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(out)
    }
}
