//! What a person writes to make a model: Ollama's Modelfile with our `FORMAT`; it reads no other file.
//!
//! The syntax is that of Ollama's `parser` package, described in `docs/modelfile.mdx` of its repository.

mod adapter;
mod lexer;

pub use adapter::{AdapterSource, scale};

use crate::chat::{Message, Role};
use crate::sampling::{ParameterError, Parameters};
use crate::source::{self, Reference, SourceError};
use lexer::{Instruction, Keyword};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// A Modelfile's instructions.
#[derive(Debug, Clone, PartialEq)]
pub struct Modelfile {
    pub from: Source,
    pub parameters: Parameters,
    /// A chat template in Go's language, or in Jinja where it has a `{%`.
    pub template: Option<String>,
    pub system: Option<String>,
    /// Example turns before the user's, in order.
    pub messages: Vec<Message>,
    pub licenses: Vec<String>,
    pub format: Option<Format>,
    /// LoRA adapters, GGUF files or PEFT's folders, relative to the Modelfile.
    pub adapters: Vec<AdapterSource>,
    /// The version of Ollama that the model asks for, as in `0.14.0`.
    pub requires: Option<String>,
    /// A piece of Ollama that writes the prompt in place of TEMPLATE, by its name; slm has none of them.
    pub renderer: Option<String>,
    /// A piece of Ollama that reads the answer, by its name; slm has none of them.
    pub parser: Option<String>,
    /// A smaller model that guesses ahead; slm guesses from the text and does without.
    pub draft: Option<String>,
}

/// What a model is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A model by its name, pinned to a digest or not.
    Name(Reference),
    /// A GGUF file, absolute or relative to the Modelfile: what begins with `/`, `./`, `../` or `~`, or ends in `.gguf`.
    Path(String),
}

/// What an answer may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// Any JSON.
    Json,
    /// A JSON Schema, an object; whether it is one that can be honoured is checked elsewhere.
    Schema(Value),
    /// A file that holds a schema, relative to the Modelfile.
    File(String),
}

impl Modelfile {
    /// A Modelfile that only says what it is made from.
    #[must_use]
    pub fn new(from: Source) -> Modelfile {
        Modelfile {
            from,
            parameters: Parameters::default(),
            template: None,
            system: None,
            messages: Vec::new(),
            licenses: Vec::new(),
            format: None,
            adapters: Vec::new(),
            requires: None,
            renderer: None,
            parser: None,
            draft: None,
        }
    }

    /// The text of a Modelfile's bytes: UTF-8, or UTF-16 where a byte order mark says so.
    ///
    /// # Errors
    ///
    /// [`ModelfileError`] with the line of the first bytes that are neither.
    pub fn decode(bytes: &[u8]) -> Result<String, ModelfileError> {
        let at = |before: &str, reason| {
            let line = before.chars().filter(|c| *c == '\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            ModelfileError { line, column, reason }
        };
        let from_unit: fn([u8; 2]) -> u16 = match bytes {
            [0xFF, 0xFE, ..] => u16::from_le_bytes,
            [0xFE, 0xFF, ..] => u16::from_be_bytes,
            _ => {
                return match std::str::from_utf8(bytes) {
                    Ok(text) => Ok(text.to_owned()),
                    Err(error) => {
                        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                        Err(at(&before, Reason::Encoding))
                    }
                };
            }
        };
        let (units, rest) = bytes[2..].as_chunks::<2>();
        let mut text = String::with_capacity(units.len());
        for unit in char::decode_utf16(units.iter().map(|unit| from_unit(*unit))) {
            text.push(unit.map_err(|_| at(&text, Reason::Encoding))?);
        }
        if rest.is_empty() { Ok(text) } else { Err(at(&text, Reason::Encoding)) }
    }

    /// A Modelfile's text.
    ///
    /// # Errors
    ///
    /// [`ModelfileError`] with the line and the column of what is wrong.
    pub fn parse(text: &str) -> Result<Modelfile, ModelfileError> {
        let mut from = None;
        let mut rest = Modelfile::new(Source::Path(String::new()));
        for instruction in lexer::instructions(text)? {
            let at = |reason| ModelfileError { line: instruction.line, column: instruction.column, reason };
            if instruction.keyword == Keyword::From {
                once(&mut from, instruction.value.parse().map_err(Reason::From).map_err(at)?, "FROM").map_err(at)?;
            } else {
                rest.apply(&instruction).map_err(at)?;
            }
        }
        let end = |reason| ModelfileError { line: text.lines().count().max(1), column: 1, reason };
        Ok(Modelfile { from: from.ok_or_else(|| end(Reason::NoFrom))?, ..rest })
    }

    fn apply(&mut self, instruction: &Instruction) -> Result<(), Reason> {
        let value = instruction.value.clone();
        match &instruction.keyword {
            // Taken by `parse`, because a Modelfile without one is none.
            Keyword::From => Ok(()),
            Keyword::Parameter(name) => self.parameters.set_in_file(name, &value).map_err(Reason::Parameter),
            // As in Ollama the last one holds.
            Keyword::Template => last(&mut self.template, value),
            Keyword::System => last(&mut self.system, value),
            Keyword::Requires => last(&mut self.requires, version(value)?),
            Keyword::Renderer => last(&mut self.renderer, value),
            Keyword::Parser => last(&mut self.parser, value),
            Keyword::Draft => last(&mut self.draft, value),
            Keyword::Format => once(&mut self.format, value.parse()?, "FORMAT"),
            Keyword::Message(role) => {
                self.messages.push(Message::new(message_role(role)?, value));
                Ok(())
            }
            Keyword::License => {
                self.licenses.push(value);
                Ok(())
            }
            Keyword::Adapter => {
                self.adapters.push(value.parse()?);
                Ok(())
            }
        }
    }
}

/// Parses back to the same Modelfile.
impl fmt::Display for Modelfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |keyword: &str, value: &str| writeln!(f, "{keyword} {}", lexer::quoted(value));
        line("FROM", &self.from.to_string())?;
        for adapter in &self.adapters {
            line("ADAPTER", &adapter.to_string())?;
        }
        let optional = [
            ("DRAFT", &self.draft),
            ("REQUIRES", &self.requires),
            ("RENDERER", &self.renderer),
            ("PARSER", &self.parser),
            ("SYSTEM", &self.system),
            ("TEMPLATE", &self.template),
        ];
        for (keyword, value) in optional {
            value.iter().try_for_each(|value| line(keyword, value))?;
        }
        for (name, value) in self.parameters.to_map() {
            if !Parameters::can_be_written(&name, &value) {
                continue;
            }
            let keyword = format!("PARAMETER {name}");
            match value {
                Value::Array(texts) => {
                    texts.iter().filter_map(Value::as_str).try_for_each(|text| line(&keyword, text))?
                }
                value => line(&keyword, &value.to_string())?,
            }
        }
        for message in &self.messages {
            line(&format!("MESSAGE {}", message.role.as_str()), &message.content)?;
        }
        if let Some(format) = &self.format {
            line("FORMAT", &format.to_string())?;
        }
        self.licenses.iter().try_for_each(|license| line("LICENSE", license))
    }
}

impl FromStr for Modelfile {
    type Err = ModelfileError;

    fn from_str(text: &str) -> Result<Modelfile, ModelfileError> {
        Modelfile::parse(text)
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Source, SourceError> {
        if source::Source::is_path(text) { Ok(Source::Path(text.to_owned())) } else { text.parse().map(Source::Name) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Name(name) => {
                name.scheme.map_or(Ok(()), |scheme| write!(f, "{}://", scheme.as_str()))?;
                name.fmt(f)
            }
            Source::Path(path) => path.fmt(f),
        }
    }
}

impl FromStr for Format {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Format, Reason> {
        if text.eq_ignore_ascii_case("json") {
            return Ok(Format::Json);
        }
        if let Some(path) = text.strip_prefix('@') {
            return if path.is_empty() { Err(Reason::FormatPath) } else { Ok(Format::File(path.to_owned())) };
        }
        match serde_json::from_str(text) {
            Ok(schema @ Value::Object(_)) => Ok(Format::Schema(schema)),
            Ok(other) => Err(Reason::FormatKind(other.to_string().chars().take(100).collect())),
            Err(error) => Err(Reason::FormatJson(error.to_string())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::Json => f.write_str("json"),
            Format::Schema(schema) => schema.fmt(f),
            Format::File(path) => write!(f, "@{path}"),
        }
    }
}

/// A Modelfile that cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ModelfileError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    pub reason: Reason,
}

/// What is wrong in a Modelfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("there is no instruction `{name}`; the nearest is `{nearest}`")]
    Instruction { name: String, nearest: &'static str },
    #[error("{0} has no value; write one on the same line, or `\"\"\"` for several lines")]
    NoValue(&'static str),
    #[error("the quotes that open here are never closed; close them with `{0}` at the end of a line")]
    Unclosed(&'static str),
    #[error("{0} is given twice; keep one of them")]
    Twice(&'static str),
    #[error("REQUIRES is `{0}`, but takes a version, as in `0.14.0`")]
    Version(String),
    #[error("what stands here is neither UTF-8 nor UTF-16 with a byte order mark; save the file as UTF-8")]
    Encoding,
    #[error("FROM names neither a GGUF file (`./model.gguf`) nor a model: {0}")]
    From(SourceError),
    #[error("there is no FROM; begin with the model to build on, as in `FROM triage` or `FROM ./model.gguf`")]
    NoFrom,
    #[error("{0}")]
    Parameter(ParameterError),
    #[error("MESSAGE has the role `{0}`, but takes `system`, `user` or `assistant`")]
    Role(String),
    #[error("FORMAT is no JSON: {0}; put a schema of several lines between `\"\"\"`, or in a file with `@schema.json`")]
    FormatJson(String),
    #[error("FORMAT is `{0}`, but takes a JSON Schema (an object), `json` or `@file`")]
    FormatKind(String),
    #[error("the scale `{0}` is none that an adapter can have; give a number from -1000 to 1000")]
    AdapterScale(String),
    #[error("FORMAT has no file after the `@`")]
    FormatPath,
}

fn once<T>(slot: &mut Option<T>, value: T, keyword: &'static str) -> Result<(), Reason> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Reason::Twice(keyword)),
    }
}

// With a result, so that every instruction is one line where it is applied.
#[allow(clippy::unnecessary_wraps)]
fn last<T>(slot: &mut Option<T>, value: T) -> Result<(), Reason> {
    *slot = Some(value);
    Ok(())
}

/// A semantic version without the `v` that may begin it, of one number at least.
///
/// # Errors
/// The text is none.
pub fn version(text: String) -> Result<String, Reason> {
    let plain = text.strip_prefix('v').unwrap_or(&text);
    let core = plain.split(['-', '+']).next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.len() < 10 && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_suffix = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    if core.split('.').count() <= 3 && core.split('.').all(is_number) && plain.chars().all(is_suffix) {
        return Ok(plain.to_owned());
    }
    Err(Reason::Version(text.chars().take(100).collect()))
}

fn message_role(role: &str) -> Result<Role, Reason> {
    match role.to_ascii_lowercase().as_str() {
        "system" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        _ => Err(Reason::Role(role.to_owned())),
    }
}

#[cfg(test)]
mod tests;
