//! Jinja as the transformers library sets it up: Python's spelling, lenient values, limits. It knows no authors.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use super::probe::{PROBE, PROBE_USER};
use super::{Conversation, Date, Inputs, Language, MAX_OUTPUT, Originals, Renderer, TemplateError};
use crate::chat::{Message, Role};
use crate::tools::ToolCall;

/// Instructions that one rendering may execute: a conversation of a thousand turns takes a tenth of it.
const FUEL: u64 = 5_000_000;
/// Nested calls of macros and blocks.
const RECURSION: usize = 64;
/// Nested lists and objects that are written as Python writes them.
const MAX_DEPTH: usize = 64;

const NAME: &str = "chat";

/// One parsed template.
#[derive(Debug)]
pub(super) struct Jinja {
    env: Environment<'static>,
    /// The variables that the template reads and does not set.
    undeclared: HashSet<String>,
}

/// What a template said by `raise_exception`.
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
        Ok(Jinja { env, undeclared })
    }
}

impl Renderer for Jinja {
    fn render(&self, conversation: &Conversation) -> Result<String, TemplateError> {
        let mut out = Limited(Vec::new());
        let mut env = Cow::Borrowed(&self.env);
        if !conversation.twins.is_empty() {
            let twins = Arc::clone(conversation.twins);
            env.to_mut().add_filter("tojson", move |value: &Value, kwargs: Kwargs| to_json(value, kwargs, &twins));
        }
        let written = env.get_template(NAME).and_then(|template| {
            template.render_captured_to(context(conversation), &mut out)?;
            Ok(())
        });
        written.map_err(|error| failure(&error))?;
        String::from_utf8(out.0).map_err(|_| TemplateError::Failed { reason: "it writes no UTF-8".to_owned() })
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

fn context(conversation: &Conversation) -> Value {
    let Conversation { messages, tools, contract, inputs, specials, .. } = *conversation;
    let Inputs { variables, add_generation_prompt, date, .. } = inputs;
    let given = variables.iter().map(|(name, json)| (name.clone(), value(json)));
    let own = [
        ("messages", messages.iter().map(message).collect()),
        ("add_generation_prompt", Value::from(*add_generation_prompt)),
        ("bos_token", Value::from(specials.bos.as_str())),
        ("eos_token", Value::from(specials.eos.as_str())),
        ("strftime_now", strftime_now(*date)),
    ];
    // The reference passes these two as none unless they are given.
    let none = ["tools", "documents"].map(|name| (name.to_owned(), Value::from(())));
    let tools = (!tools.is_empty()).then(|| ("tools".to_owned(), tools.iter().map(value).collect()));
    let contract = contract.map(|json| ("contract".to_owned(), value(json)));
    let own = own.map(|(name, value)| (name.to_owned(), value));
    Value::from_pairs(none.into_iter().chain(given).chain(own).chain(tools).chain(contract))
}

/// A message with the keys that it has something for: templates ask whether one is there.
fn message(message: &Message) -> Value {
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let calls = (!message.tool_calls.is_empty()).then(|| message.tool_calls.iter().map(call).collect());
    let optional = [
        // The first is the transformers library's name; the second that of templates that were made for it alone.
        ("reasoning_content", text(&message.thinking)),
        ("thinking", text(&message.thinking)),
        ("tool_calls", calls),
        ("tool_call_id", text(&message.tool_call_id)),
        ("name", text(&message.tool_name)),
    ];
    let own = [("role", Value::from(message.role.as_str())), ("content", Value::from(message.content.as_str()))];
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Value::from_pairs(own.into_iter().chain(optional))
}

/// A call as the transformers library shows it to templates: the arguments as an object.
fn call(call: &ToolCall) -> Value {
    let arguments = Value::from_pairs(call.arguments.iter().map(|(name, json)| (name.as_str(), value(json))));
    let function = Value::from_pairs([("name", Value::from(call.name.as_str())), ("arguments", arguments)]);
    let own = [("type", Value::from("function")), ("function", function)];
    let id = call.id.as_deref().map(|id| ("id", Value::from(id)));
    Value::from_pairs(id.into_iter().chain(own))
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

/// The function `strftime_now` that always says `date`, at midnight.
fn strftime_now(date: Date) -> Value {
    Value::from_function(move |format: String| date.strftime(&format))
}

/// A JSON value as the template sees it.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => Value::from(n),
            (None, Some(n)) => Value::from(n),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(fields) => Value::from_pairs(fields.iter().map(|(name, field)| (name.as_str(), value(field)))),
    }
}

struct Limited(Vec<u8>);

impl io::Write for Limited {
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

#[derive(Clone, Copy)]
enum Sides {
    Left,
    Right,
    Both,
}

/// Python's white space: Unicode's, and four separators that Rust does not count.
pub(super) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn strip<'a>(text: &'a str, chars: Option<&str>, sides: Sides) -> &'a str {
    let gone = |c: char| chars.map_or_else(|| is_python_space(c), |chars| chars.contains(c));
    match sides {
        Sides::Left => text.trim_start_matches(gone),
        Sides::Right => text.trim_end_matches(gone),
        Sides::Both => text.trim_matches(gone),
    }
}

/// Python's methods: those that differ from minijinja-contrib's or are missing there, then minijinja-contrib's.
fn method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
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
fn python_str(value: &Value) -> String {
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

/// The transformers library's `tojson`: Python's `json.dumps(x, ensure_ascii=False, ..)`, no HTML escapes.
fn to_json(value: &Value, kwargs: Kwargs, twins: &Originals) -> Result<Value, Error> {
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

    /// A text in quotes. The twin of a character that is escaped is written as that character is.
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
