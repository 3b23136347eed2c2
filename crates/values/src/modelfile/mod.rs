//! What a person writes to make a model: Ollama's Modelfile with our `FORMAT` and `EXAMPLES`; it reads no other file.
//!
//! The syntax is that of Ollama's `parser` package, described in `docs/modelfile.mdx` of its repository.

mod adapter;
mod error;
mod examples;
mod lexer;

pub use adapter::{AdapterSource, scale};
pub use error::{ModelfileError, ModelfileFault};
pub use examples::{ExamplesSource, FoundBy, MAX_EXAMPLES};

use crate::chat::{Message, Role};
use crate::encoding;
use crate::sampling::Parameters;
use crate::source::{self, Reference, SourceError};
use lexer::{Instruction, Keyword};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// A Modelfile's instructions.
#[derive(Debug, Clone, PartialEq)]
pub struct Modelfile {
    pub from: BaseSource,
    pub parameters: Parameters,
    /// A chat template in Go's language, or in Jinja where it has a `{%`.
    pub template: Option<String>,
    pub system: Option<String>,
    /// Example turns before the user's, in order.
    pub messages: Vec<Message>,
    /// Labelled texts of which the nearest to a text come before it.
    pub examples: Option<ExamplesSource>,
    pub licenses: Vec<String>,
    pub format: Option<Format>,
    /// LoRA adapters, GGUF files or PEFT's folders, relative to the Modelfile.
    pub adapters: Vec<AdapterSource>,
    /// The version of Ollama that the model asks for, as in `0.14.0`.
    pub requires: Option<String>,
    /// The name of a renderer of Ollama's, which writes the prompt instead of TEMPLATE; slm has no renderers.
    pub renderer: Option<String>,
    /// The name of a parser of Ollama's, which reads the answer; slm has no such parsers.
    pub parser: Option<String>,
    /// A smaller model for speculative decoding; slm drafts from the text and does not use it.
    pub draft: Option<String>,
}

/// What a model is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseSource {
    /// A model by its name, pinned to a digest or not.
    Name(Reference),
    /// A GGUF file or the YAML of a remote, absolute or relative to the Modelfile: what begins with `/`, `./`, `../` or `~`, or
    /// ends in `.gguf`, `.yaml` or `.yml`.
    Path(String),
}

/// What an answer may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// Any JSON.
    Json,
    /// A JSON Schema, an object; whether it is supported is checked elsewhere.
    Schema(Value),
    /// A file that holds a schema, relative to the Modelfile.
    File(String),
}

impl Modelfile {
    /// A Modelfile that only says what it is made from.
    #[must_use]
    pub fn new(from: BaseSource) -> Modelfile {
        Modelfile {
            from,
            parameters: Parameters::default(),
            template: None,
            system: None,
            messages: Vec::new(),
            examples: None,
            licenses: Vec::new(),
            format: None,
            adapters: Vec::new(),
            requires: None,
            renderer: None,
            parser: None,
            draft: None,
        }
    }

    /// A Modelfile's text.
    ///
    /// # Errors
    ///
    /// [`ModelfileError`] with the line and the column of what is wrong.
    pub fn parse(text: &str) -> Result<Modelfile, ModelfileError> {
        let mut from = None;
        let mut rest = Modelfile::new(BaseSource::Path(String::new()));
        for instruction in lexer::instructions(text)? {
            let at = |reason| ModelfileError { line: instruction.line, column: instruction.column, reason };
            if instruction.keyword == Keyword::From {
                once(&mut from, instruction.value.parse().map_err(ModelfileFault::From).map_err(at)?, "FROM")
                    .map_err(at)?;
            } else {
                rest.apply(&instruction).map_err(at)?;
            }
        }
        let end = |reason| ModelfileError { line: text.lines().count().max(1), column: 1, reason };
        Ok(Modelfile { from: from.ok_or_else(|| end(ModelfileFault::NoFrom))?, ..rest })
    }

    /// The line, counted from 1, on which a MESSAGE of a Modelfile's text begins; messages are counted from 0.
    #[must_use]
    pub fn line_of_message(text: &str, number: usize) -> Option<usize> {
        let instructions = lexer::instructions(text).ok()?;
        let is_message = |instruction: &&Instruction| matches!(instruction.keyword, Keyword::Message(_));
        instructions.iter().filter(is_message).nth(number).map(|instruction| instruction.line)
    }

    fn apply(&mut self, instruction: &Instruction) -> Result<(), ModelfileFault> {
        let value = instruction.value.clone();
        match &instruction.keyword {
            // Taken by `parse`, because every Modelfile needs one.
            Keyword::From => Ok(()),
            Keyword::Parameter(name) => self.parameters.set_in_file(name, &value).map_err(ModelfileFault::Parameter),
            // As in Ollama the last one holds.
            Keyword::Template => last(&mut self.template, value),
            Keyword::System => last(&mut self.system, value),
            Keyword::Requires => last(&mut self.requires, version(value)?),
            Keyword::Renderer => last(&mut self.renderer, value),
            Keyword::Parser => last(&mut self.parser, value),
            Keyword::Draft => last(&mut self.draft, value),
            Keyword::Examples => once(&mut self.examples, value.parse()?, "EXAMPLES"),
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
        if let Some(examples) = &self.examples {
            line("EXAMPLES", &examples.to_string())?;
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

impl FromStr for BaseSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<BaseSource, SourceError> {
        if source::Source::is_path(text) {
            Ok(BaseSource::Path(text.to_owned()))
        } else {
            text.parse().map(BaseSource::Name)
        }
    }
}

impl fmt::Display for BaseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BaseSource::Name(name) => {
                name.scheme.map_or(Ok(()), |scheme| write!(f, "{}://", scheme.as_str()))?;
                name.fmt(f)
            }
            BaseSource::Path(path) => path.fmt(f),
        }
    }
}

impl FromStr for Format {
    type Err = ModelfileFault;

    fn from_str(text: &str) -> Result<Format, ModelfileFault> {
        if text.eq_ignore_ascii_case("json") {
            return Ok(Format::Json);
        }
        if let Some(path) = text.strip_prefix('@') {
            return if path.is_empty() { Err(ModelfileFault::FormatPath) } else { Ok(Format::File(path.to_owned())) };
        }
        match serde_json::from_str(encoding::without_mark(text)) {
            Ok(schema @ Value::Object(_)) => Ok(Format::Schema(schema)),
            Ok(other) => Err(ModelfileFault::FormatKind(other.to_string().chars().take(100).collect())),
            Err(error) => Err(ModelfileFault::FormatJson(error.to_string())),
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

fn once<T>(slot: &mut Option<T>, value: T, keyword: &'static str) -> Result<(), ModelfileFault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ModelfileFault::Twice(keyword)),
    }
}

// With a result, so that every instruction is one line where it is applied.
#[allow(clippy::unnecessary_wraps)]
fn last<T>(slot: &mut Option<T>, value: T) -> Result<(), ModelfileFault> {
    *slot = Some(value);
    Ok(())
}

/// A semantic version of at least one number, without the `v` that it may begin with.
///
/// # Errors
/// The text is not a version.
pub fn version(text: String) -> Result<String, ModelfileFault> {
    let plain = text.strip_prefix('v').unwrap_or(&text);
    let core = plain.split(['-', '+']).next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.len() < 10 && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_suffix = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    if core.split('.').count() <= 3 && core.split('.').all(is_number) && plain.chars().all(is_suffix) {
        return Ok(plain.to_owned());
    }
    Err(ModelfileFault::Version(text.chars().take(100).collect()))
}

fn message_role(role: &str) -> Result<Role, ModelfileFault> {
    match role.to_ascii_lowercase().as_str() {
        "system" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        _ => Err(ModelfileFault::Role(role.to_owned())),
    }
}

#[cfg(test)]
mod tests;
