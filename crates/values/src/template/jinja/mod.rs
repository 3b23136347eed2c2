//! Jinja as the transformers library sets it up: Python's spelling, lenient values, limits. It knows nothing of authors.

mod context;
mod json;
mod python;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};
use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use super::error::TemplateError;
use super::language::Language;
use super::renderer::{Conversation, MAX_OUTPUT, Originals, PROBE, PROBE_USER, Renderer};
use crate::chat::{Message, Role};
use context::{ToolsAt, context};
use json::to_json;
use python::{Sides, method, python_str, strip};

pub(super) use python::is_python_space;

/// Instructions that one rendering may execute: a conversation of a thousand turns takes a tenth of it.
const FUEL: u64 = 5_000_000;
/// Nested calls of macros and blocks.
const RECURSION: usize = 64;

const NAME: &str = "chat";

/// One parsed template.
#[derive(Debug)]
pub(super) struct Jinja {
    env: Environment<'static>,
    /// The variables that the template reads and does not set.
    undeclared: HashSet<String>,
    tools_at: ToolsAt,
}

/// The message of a template's `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl Jinja {
    pub(super) fn parse(source: &str) -> Result<Self, TemplateError> {
        let language = Language::Jinja.as_str();
        Self::new(source).map_err(|error| TemplateError::Syntax { language, reason: describe(&error) })
    }

    fn new(source: &str) -> Result<Self, Error> {
        let mut env = Environment::new();
        env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        env.set_fuel(Some(FUEL));
        env.set_recursion_limit(RECURSION);
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.set_formatter(|out, _, value| Ok(out.write_str(&python_str(value))?));
        env.set_unknown_method_callback(method);
        env.add_filter("tojson", |value: &Value, kwargs: Kwargs| to_json(value, kwargs, &Originals::default()));
        env.add_filter("string", |value: &Value| python_str(value));
        env.add_filter("trim", |value: &Value, chars: Option<String>| {
            strip(&python_str(value), chars.as_deref(), Sides::Both).to_owned()
        });
        // To Python a text is a sequence too.
        env.add_test("iterable", |value: &Value| {
            value.kind() == ValueKind::String || (!value.is_none() && value.try_iter().is_ok())
        });
        env.add_test("sequence", |value: &Value| {
            matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map)
        });
        env.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message)))
        });
        env.add_template_owned(NAME, without_generation_tags(source))?;
        let undeclared = env.get_template(NAME)?.undeclared_variables(false);
        let tools_at = if undeclared.contains("tools") { ToolsAt::Variable } else { ToolsAt::of(source) };
        Ok(Jinja { env, undeclared, tools_at })
    }
}

impl Renderer for Jinja {
    fn render(&self, conversation: &Conversation) -> Result<String, TemplateError> {
        let mut out = BoundedBytes(Vec::new());
        let mut env = Cow::Borrowed(&self.env);
        if !conversation.twins.is_empty() {
            let twins = Arc::clone(conversation.twins);
            env.to_mut().add_filter("tojson", move |value: &Value, kwargs: Kwargs| to_json(value, kwargs, &twins));
        }
        let written = env.get_template(NAME).and_then(|template| {
            template.render_captured_to(context(conversation, self.tools_at), &mut out)?;
            Ok(())
        });
        written.map_err(|error| failure(&error))?;
        String::from_utf8(out.0).map_err(|_| TemplateError::Failed { reason: "its output is not UTF-8".to_owned() })
    }

    fn reads(&self, variable: &str) -> bool {
        self.undeclared.contains(variable)
    }

    fn names(&self, variable: &str) -> bool {
        self.reads(variable)
    }

    fn finished(&self) -> Vec<Message> {
        vec![Message::new(Role::User, PROBE_USER), Message::new(Role::Assistant, PROBE)]
    }
}

fn failure(error: &minijinja::Error) -> TemplateError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return TemplateError::Refused { message: message.clone() };
        }
        cause = current.source();
    }
    TemplateError::Failed { reason: describe(error) }
}

/// The error and its causes in one line.
fn describe(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(current) = cause {
        text.push_str(": ");
        text.push_str(&current.to_string());
        cause = current.source();
    }
    text
}

struct BoundedBytes(Vec<u8>);

impl io::Write for BoundedBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other(format!("the template writes more than {MAX_OUTPUT} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Replaces the tags `generation` and `endgeneration`, which only mark what a trainer learns from, by a block that
/// always holds; the dashes beside them keep trimming as they did.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, after) = tag.split_at(end);
        let inner = tag.trim_start_matches("{%").trim_end_matches("%}");
        match inner.trim_matches(|c: char| c == '-' || c == '+' || c.is_whitespace()) {
            "generation" => out.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => {
                // Only the opening is consumed: a text inside the tag may hold `%}`.
                out.push_str("{%");
                rest = &rest[at + 2..];
                continue;
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The texts in quotes within the template's tags: what it may look for in a content.
pub(super) fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = source.chars().peekable();
    let mut inside = false;
    while let Some(c) = chars.next() {
        match (inside, c, chars.peek()) {
            (false, '{', Some('{' | '%')) => inside = true,
            (true, '}' | '%', Some('}')) => inside = false,
            (true, '\'' | '"', _) => {
                let mut literal = String::new();
                while let Some(d) = chars.next() {
                    match d {
                        '\\' => match chars.next() {
                            Some('n') => literal.push('\n'),
                            Some('t') => literal.push('\t'),
                            Some(other) => literal.push(other),
                            None => break,
                        },
                        d if d == c => break,
                        d => literal.push(d),
                    }
                }
                found.push(literal);
            }
            _ => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
