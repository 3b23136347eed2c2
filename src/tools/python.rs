//! Calls as Python writes them: `name(key="value", n=3)`.

use serde_json::Value as Json;
use std::fmt::Write as _;

use super::ToolCall;

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
