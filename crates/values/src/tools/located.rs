//! JSON read with the place of every value, so that an error can name it. It does not know what tools are.

use serde_json::{Map, Value as Json};

use super::error::ToolError;
use super::limits::MAX_NAME;

/// A JSON value and its place in the request.
pub(super) struct Located<'j> {
    pub(super) json: &'j Json,
    pub(super) at: String,
}

impl<'j> Located<'j> {
    pub(super) fn new(json: &'j Json, at: &str) -> Self {
        Located { json, at: at.to_owned() }
    }

    /// The error that the value is of another type.
    pub(super) fn not(&self, expected: &'static str) -> ToolError {
        let found = match self.json {
            Json::Null => "null",
            Json::Bool(_) => "true or false",
            Json::Number(_) => "a number",
            Json::String(_) => "a text",
            Json::Array(_) => "a list",
            Json::Object(_) => "an object",
        };
        ToolError::Type { at: self.at.clone(), found, expected }
    }

    pub(super) fn object(&self) -> Result<&'j Map<String, Json>, ToolError> {
        self.json.as_object().ok_or_else(|| self.not("an object"))
    }

    pub(super) fn text(&self) -> Result<&'j str, ToolError> {
        self.json.as_str().ok_or_else(|| self.not("a text"))
    }

    pub(super) fn boolean(&self) -> Result<bool, ToolError> {
        self.json.as_bool().ok_or_else(|| self.not("true or false"))
    }

    /// The items of a list of at most `limit`.
    pub(super) fn items(&self, limit: usize) -> Result<Vec<Located<'j>>, ToolError> {
        let items = self.json.as_array().ok_or_else(|| self.not("a list"))?;
        if items.len() > limit {
            return Err(ToolError::TooMany { at: self.at.clone(), n: items.len(), limit });
        }
        let item = |(number, json)| Located { json, at: format!("{}[{number}]", self.at) };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// A field that must be there.
    pub(super) fn field(&self, name: &str) -> Result<Located<'j>, ToolError> {
        self.object()?;
        self.optional(name).ok_or_else(|| ToolError::Missing { at: format!("{}.{name}", self.at) })
    }

    /// A field that may be missing; null counts as missing.
    pub(super) fn optional(&self, name: &str) -> Option<Located<'j>> {
        let json = self.json.get(name).filter(|json| !json.is_null())?;
        Some(Located { json, at: format!("{}.{name}", self.at) })
    }

    /// Refuses fields of other names, unless they are null.
    pub(super) fn known(&self, names: &[&str]) -> Result<(), ToolError> {
        let odd = |(name, json): &(&String, &Json)| !names.contains(&name.as_str()) && !json.is_null();
        match self.object()?.iter().find(odd) {
            None => Ok(()),
            Some((name, _)) => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                let known = format!("there can be {}", names.join(", "));
                Err(ToolError::Unknown { at: format!("{}.{name}", self.at), known })
            }
        }
    }

    /// The field `type`, which says `function` where it is there.
    pub(super) fn function_type(&self) -> Result<(), ToolError> {
        let Some(kind) = self.optional("type") else { return Ok(()) };
        match kind.text()? {
            "function" => Ok(()),
            other => Err(ToolError::Value { found: other.to_owned(), at: kind.at, known: "`function`" }),
        }
    }

    /// A text that can name a tool.
    pub(super) fn tool_name(&self) -> Result<&'j str, ToolError> {
        let name = self.text()?;
        if is_name(name) {
            return Ok(name);
        }
        Err(ToolError::Name { at: self.at.clone(), name: name.chars().take(2 * MAX_NAME).collect() })
    }

    /// Refuses what is too large or too deep.
    pub(super) fn bounded(&self, limit_bytes: usize, limit_depth: usize) -> Result<(), ToolError> {
        if is_deeper(self.json, limit_depth) {
            return Err(ToolError::TooDeep { at: self.at.clone(), limit: limit_depth });
        }
        let n_bytes = self.json.to_string().len();
        if n_bytes > limit_bytes {
            return Err(ToolError::TooLarge { at: self.at.clone(), n_bytes, limit: limit_bytes });
        }
        Ok(())
    }
}

/// Whether a text can name a tool.
pub(super) fn is_name(name: &str) -> bool {
    let sign = |c: char| c.is_alphanumeric() || "_-./:".contains(c);
    !name.is_empty() && name.chars().nth(MAX_NAME).is_none() && name.chars().all(sign)
}

fn is_deeper(json: &Json, limit: usize) -> bool {
    let inner = |json: &Json| limit == 0 || is_deeper(json, limit - 1);
    match json {
        Json::Array(items) => items.iter().any(inner),
        Json::Object(fields) => fields.values().any(inner),
        _ => false,
    }
}
