//! A Modelfile's text cut into instructions and unquoted values; it does not know what an instruction means.

use super::error::{ModelfileError, ModelfileFault};
use crate::encoding;
use serde_json::Value;

/// One instruction, and where its keyword begins (line and column from 1, in characters).
pub(super) struct Instruction {
    pub keyword: Keyword,
    pub value: String,
    pub line: usize,
    pub column: usize,
}

/// An instruction's keyword, with the word after it where it takes one.
#[derive(PartialEq)]
pub(super) enum Keyword {
    From,
    Parameter(String),
    Template,
    System,
    Message(String),
    Examples,
    License,
    Format,
    Adapter,
    Requires,
    Renderer,
    Parser,
    Draft,
}

const KEYWORDS: [&str; 13] = [
    "FROM",
    "PARAMETER",
    "TEMPLATE",
    "SYSTEM",
    "MESSAGE",
    "EXAMPLES",
    "LICENSE",
    "FORMAT",
    "ADAPTER",
    "REQUIRES",
    "RENDERER",
    "PARSER",
    "DRAFT",
];

/// What begins a value that is written as a JSON string, because quotes cannot hold it.
const ENCODED: &str = "json:\"";

/// The instructions of `text`, in order.
pub(super) fn instructions(text: &str) -> Result<Vec<Instruction>, ModelfileError> {
    // A file from Windows, or from an old Macintosh, means the same.
    let text = encoding::without_mark(text).replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.split('\n').collect();
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(line) = lines.get(next) {
        let line_number = next + 1;
        next += 1;
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let column = |rest: &str| line.chars().count() - rest.chars().count() + 1;
        let at = |reason, rest: &str| ModelfileError { line: line_number, column: column(rest), reason };
        let (word, after) = first_word(trimmed);
        let name = keyword_name(word).map_err(|reason| at(reason, trimmed))?;
        let (keyword, value_start) = keyword_with_argument(name, after).map_err(|reason| at(reason, after))?;
        let (value, n_lines) = unquote(value_start, &lines[next..]).map_err(|reason| at(reason, value_start))?;
        // What is empty in quotes was meant so; what is empty without them was forgotten.
        if value.is_empty() && value_start.is_empty() {
            return Err(at(ModelfileFault::NoValue(name), trimmed));
        }
        next += n_lines;
        found.push(Instruction { keyword, value, line: line_number, column: column(trimmed) });
    }
    Ok(found)
}

/// `value` as it is written in a Modelfile, so that it is read back as it is: bare where that is possible, else in three
/// quotes, else as a JSON string, which slm alone reads.
pub(super) fn quoted(value: &str) -> String {
    let is_one_line = !value.contains(['\n', '\r']);
    if is_one_line && !value.is_empty() && value == value.trim() && !value.starts_with('"') && encoded(value).is_none()
    {
        return value.to_owned();
    }
    let in_quotes = format!("\"\"\"{value}\"\"\"");
    let mut lines = in_quotes.split('\n');
    let first = lines.next().unwrap_or_default();
    let following: Vec<&str> = lines.collect();
    match unquote(first, &following) {
        Ok((read, n_lines)) if read == value && n_lines == following.len() && !value.contains('\r') => in_quotes,
        _ => format!("json:{}", Value::from(value)),
    }
}

/// The value of a JSON string after `json:`.
fn encoded(text: &str) -> Option<String> {
    let json = text.starts_with(ENCODED).then(|| &text[ENCODED.len() - 1..])?;
    serde_json::from_str(json.trim_end()).ok()
}

fn first_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    // Spaces at a line's end belong to a value whose quotes are still open.
    (word, rest.trim_start())
}

fn keyword_name(word: &str) -> Result<&'static str, ModelfileFault> {
    if let Some(name) = KEYWORDS.iter().find(|name| name.eq_ignore_ascii_case(word)) {
        return Ok(name);
    }
    let word: String = word.chars().take(100).collect();
    let nearest = KEYWORDS
        .into_iter()
        .min_by_key(|name| strsim::levenshtein(name, &word.to_ascii_uppercase()))
        .expect("there are keywords");
    Err(ModelfileFault::Instruction { name: word, nearest })
}

/// The keyword of that name, and where its value starts.
fn keyword_with_argument<'a>(name: &'static str, after: &'a str) -> Result<(Keyword, &'a str), ModelfileFault> {
    let (argument, value) = match name {
        "PARAMETER" | "MESSAGE" => first_word(after),
        _ => ("", after),
    };
    let keyword = match name {
        "FROM" => Keyword::From,
        "PARAMETER" => Keyword::Parameter(argument.to_owned()),
        "TEMPLATE" => Keyword::Template,
        "SYSTEM" => Keyword::System,
        "MESSAGE" => Keyword::Message(argument.to_owned()),
        "EXAMPLES" => Keyword::Examples,
        "LICENSE" => Keyword::License,
        "FORMAT" => Keyword::Format,
        "ADAPTER" => Keyword::Adapter,
        "REQUIRES" => Keyword::Requires,
        "RENDERER" => Keyword::Renderer,
        "PARSER" => Keyword::Parser,
        "DRAFT" => Keyword::Draft,
        _ => return Err(ModelfileFault::NoValue(name)),
    };
    Ok((keyword, value))
}

/// A value, and how many of the `following` lines it took. As in Ollama's parser a quoted value ends at the first line
/// end where what was read so far ends in the quotes that opened it; quotes before that belong to the value.
fn unquote(start: &str, following: &[&str]) -> Result<(String, usize), ModelfileFault> {
    let quotes = match start {
        _ if start.starts_with("\"\"\"") => "\"\"\"",
        _ if start.starts_with('"') => "\"",
        _ => return Ok((encoded(start).unwrap_or_else(|| start.trim_end().to_owned()), 0)),
    };
    // The trimmed text ends a value only where the whitespace after the quotes is dropped with it.
    let closed = |text: &str| {
        let text = text.trim_end();
        let inner = text.get(quotes.len()..)?.strip_suffix(quotes)?;
        Some(inner.to_owned())
    };
    if let Some(value) = closed(start) {
        return Ok((value, 0));
    }
    // Only the last line can close the value, so that a long one is looked at once a line.
    let mut text = start.to_owned();
    for (n_lines, line) in following.iter().enumerate() {
        text.push('\n');
        text.push_str(line);
        if line.trim_end().ends_with(quotes)
            && let Some(value) = closed(&text)
        {
            return Ok((value, n_lines + 1));
        }
    }
    Err(ModelfileFault::Unclosed(quotes))
}
