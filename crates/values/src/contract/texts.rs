//! Texts: their lengths, patterns and formats, and how a grammar writes them.

use serde_json::{Map, Value, json};

use super::error::{ContractError, Pointer};
use super::formats;
use super::rules::{self, Part, Ruled};
use super::validator;

/// The longest text of one pattern.
const MAX_PATTERN_BYTES: usize = 64 << 10;
const LENGTHS: [&str; 2] = ["minLength", "maxLength"];

/// What is asked of a text.
#[derive(Debug, Clone)]
pub(super) struct TextRules {
    /// Characters.
    pub lengths: (u64, Option<u64>),
    /// Regular expressions that are each found in it.
    pub patterns: Vec<String>,
    /// A pattern or a format that cannot be enforced.
    pub unkept: Option<ContractError>,
}

/// The rules that several nodes make together.
///
/// # Errors
/// [`ContractError::Schema`]: the value of a keyword is invalid.
pub(super) fn rules(parts: &[Part<'_, '_>], at: &Pointer) -> Ruled<TextRules> {
    let mut all = TextRules { lengths: (0, None), patterns: Vec::new(), unkept: None };
    for part in parts {
        all.lengths = rules::narrowed(*part, LENGTHS, all.lengths)?;
        for found in [pattern(*part)?, format(*part)?, encoding(*part)?] {
            match found {
                Ok(patterns) => all.patterns.extend(patterns),
                Err(error) => all.unkept = Some(error),
            }
        }
    }
    all.patterns.dedup();
    Ok(rules::crossed(LENGTHS, all.lengths, at).map_or(Ok(all), Err))
}

type Kept = Result<Vec<String>, ContractError>;

fn pattern(part: Part<'_, '_>) -> Result<Kept, ContractError> {
    let Some(pattern) = part.map.get("pattern") else { return Ok(Ok(Vec::new())) };
    let at = part.at.below("pattern");
    let pattern = pattern.as_str().ok_or_else(|| at.refused("`pattern` is not a text"))?;
    if pattern.len() > MAX_PATTERN_BYTES {
        let n = pattern.len();
        return Err(at.refused(format!("the pattern has {n} bytes, at most {MAX_PATTERN_BYTES} are supported")));
    }
    let Ok(validator) = validator::validator(&json!({ "pattern": pattern })) else {
        let shown: String = pattern.chars().take(100).collect();
        return Err(at.refused(format!("`{shown}` is not a regular expression, or a very large one")));
    };
    // A pattern that says in its own way what the format says: one text of every kind that is written must match it.
    let examples = part.map.get("format").and_then(Value::as_str).map(formats::examples).unwrap_or_default();
    let is_said = !examples.is_empty() && examples.iter().all(|text| validator.is_valid(&Value::from(*text)));
    Ok(written(pattern, &at).or_else(|error| if is_said { Ok(Vec::new()) } else { Err(error) }))
}

/// A pattern as the regular expressions that texts are written under.
///
/// # Errors
/// [`ContractError::Schema`]: it looks around, refers back, or is too large.
pub(super) fn written(pattern: &str, at: &Pointer) -> Kept {
    let mut patterns = without_look_ahead(pattern).unwrap_or_else(|| vec![pattern.to_owned()]);
    if !patterns.iter().all(|pattern| validator::is_regular(pattern)) {
        return Err(at.refused(format!(
            "`{:.100}` is not a regular expression that can be enforced (no look-around, no back-references, at most 1 MB compiled)",
            pattern
        )));
    }
    if names_controls(pattern) {
        // llguidance leaves a character that it cannot spell out of the text, where it must leave out the text.
        patterns.push("^[^\\x00-\\x07\\x0b\\x0e-\\x1f\\x7f]*$".to_owned());
    }
    Ok(patterns)
}

/// Look-ahead at the start as expressions without it: `^(?=A)B` is `^A` and `^B`, `^(?!^[…]*$)B` is `^B` and a character that is
/// not one of those. Zod writes emoji and Pydantic a `Decimal` so.
fn without_look_ahead(pattern: &str) -> Option<Vec<String>> {
    if let Some((ahead, rest)) = pattern.strip_prefix("^(?=").and_then(group) {
        return Some(vec![format!("^{ahead}"), format!("^{rest}")]);
    }
    let (class, rest) = pattern.strip_prefix("^(?!^[")?.split_once("]*$)")?;
    let is_plain = !class.starts_with('^') && !class.contains([']', '[', '\\']);
    is_plain.then(|| vec![format!("^{rest}"), format!("[^{class}]")])
}

/// What is before and after the bracket that closes a group, of which the opening one is read already.
fn group(text: &str) -> Option<(&str, &str)> {
    let (mut depth, mut is_class, mut is_escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ']' => is_class = false,
            _ if is_class => {}
            '[' => is_class = true,
            '(' => depth += 1,
            ')' if depth == 0 => return Some((&text[..at], &text[at + 1..])),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn format(part: Part<'_, '_>) -> Result<Kept, ContractError> {
    let Some(format) = part.map.get("format") else { return Ok(Ok(Vec::new())) };
    let at = part.at.below("format");
    let name = format.as_str().ok_or_else(|| at.refused(format!("`format` is {format}, not a text")))?;
    Ok(match (formats::pattern(name), formats::misspelt(name)) {
        (Some(pattern), _) => Ok(vec![pattern]),
        (None, Some(meant)) => Err(at.refused(format!("`{name}` is not a known format; did you mean `{meant}`?"))),
        (None, None) => Ok(Vec::new()),
    })
}

fn encoding(part: Part<'_, '_>) -> Result<Kept, ContractError> {
    let Some(encoding) = part.map.get("contentEncoding") else { return Ok(Ok(Vec::new())) };
    let at = part.at.below("contentEncoding");
    let pattern = encoding.as_str().and_then(|name| match name {
        "base64" | "base64url" => formats::pattern(name),
        _ => None,
    });
    let refused = || at.refused(format!("`contentEncoding` {encoding} is not supported; `base64` and `base64url` are"));
    Ok(pattern.map(|pattern| vec![pattern]).ok_or_else(refused))
}

/// Whether a pattern may speak of a character that no text of an answer holds.
pub(super) fn names_controls(pattern: &str) -> bool {
    let escapes = ["\\x", "\\u", "\\0", "\\c", "\\a", "\\v", "\\e"];
    pattern.chars().any(is_unspelled) || escapes.iter().any(|escape| pattern.contains(escape))
}

/// Characters that no text of an answer holds: JSON spells them as `\u001b`, which the grammar leaves out.
pub(super) fn is_unspelled(c: char) -> bool {
    c == '\u{7f}' || (c < ' ' && !matches!(c, '\n' | '\r' | '\t' | '\u{8}' | '\u{c}'))
}

impl TextRules {
    /// Whether any text is one.
    pub fn is_free(&self) -> bool {
        self.lengths == (0, None) && self.patterns.is_empty() && self.unkept.is_none()
    }

    /// A regular expression for all of it, where one says all.
    pub fn as_pattern(&self) -> Option<String> {
        match (self.lengths, self.patterns.as_slice()) {
            ((0, None), [pattern]) => Some(pattern.clone()),
            ((least, most), []) => {
                let most = most.map(|n| n.to_string()).unwrap_or_default();
                Some(format!("^[\\s\\S]{{{least},{most}}}$"))
            }
            _ => None,
        }
    }

    /// The schema of what is written.
    pub fn strict(&self) -> Value {
        let mut map = Map::from_iter([("type".to_owned(), Value::from("string"))]);
        let (least, most) = self.lengths;
        map.extend((least > 0).then(|| ("minLength".to_owned(), Value::from(least))));
        map.extend(most.map(|most| ("maxLength".to_owned(), Value::from(most))));
        let mut patterns = self.patterns.iter();
        map.extend(patterns.next().map(|pattern| ("pattern".to_owned(), Value::from(pattern.as_str()))));
        let more: Vec<Value> = patterns.map(|pattern| json!({"type": "string", "pattern": pattern})).collect();
        if !more.is_empty() {
            map.insert("allOf".to_owned(), Value::Array(more));
        }
        Value::Object(map)
    }
}
