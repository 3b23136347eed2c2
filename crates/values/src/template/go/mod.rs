//! Go's text/template with Ollama's variables, functions and turns; it knows nothing of authors.
//!
//! The semantics are those of `template/template.go` of Ollama's repository: a template that reads `.Messages` is
//! executed once; another one turn by turn with `.System`, `.Prompt` and `.Response`, and the last turn ends at the first
//! `.Response`. gotmpl parses and executes; what it leaves unchecked is checked in [`syntax`], and [`meter`] bounds what a
//! template may cost.

mod functions;
mod meter;
mod nodes;
mod printed;
mod syntax;
mod values;

use gotmpl::parse::ListNode;
use gotmpl::{Template, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use super::error::TemplateError;
use super::language::Language;
use super::renderer::{Conversation, MAX_OUTPUT, PROBE, PROBE_USER, Renderer};
use crate::chat::{Message, Role};
use meter::Meter;
use printed::{list, text};

/// The names under which the whole template and the one of the last turn are executed; no source can write them.
const WHOLE: &str = "#whole";
const LAST: &str = "#last";

/// One parsed template.
#[derive(Debug)]
pub(super) struct Go {
    /// What may be executed, by its name, with the meter's calls written in.
    bodies: Vec<(String, ListNode)>,
    style: Style,
    /// The texts in quotes, which the template may look for in a content.
    literals: Vec<String>,
    /// The names of its variables and fields.
    names: Vec<String>,
}

/// What a template is executed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// All messages at once.
    Messages,
    /// One system text, prompt and response after the other.
    Turns,
}

impl Go {
    pub(super) fn parse(source: &str) -> Result<Self, TemplateError> {
        let language = Language::Go.as_str();
        let refused = |reason| TemplateError::Syntax { language, reason };
        let syntax::Parsed { mut whole, named } = syntax::parse(source).map_err(refused)?;
        let mut names = Vec::new();
        let bodies = || std::iter::once(&whole).chain(named.values());
        bodies().for_each(|body| nodes::identifiers(body, &mut names));
        let reads = |variable: &str| names.iter().any(|name| name.eq_ignore_ascii_case(variable));
        let style = if reads("Messages") { Style::Messages } else { Style::Turns };
        let mut literals = Vec::new();
        bodies().for_each(|body| nodes::literals(body, &mut literals));
        literals.sort_unstable();
        literals.dedup();
        if style == Style::Turns && !reads("Response") {
            whole.nodes.push(nodes::response());
        }
        let mut bodies: Vec<(String, ListNode)> = named.into_iter().collect();
        if style == Style::Turns {
            bodies.push((LAST.to_owned(), nodes::cut_at_response(&whole)));
        }
        bodies.push((WHOLE.to_owned(), whole));
        bodies.iter_mut().for_each(|(_, body)| meter::write_into(body));
        Ok(Go { bodies, style, literals, names })
    }

    pub(super) fn literals(&self) -> Vec<String> {
        self.literals.clone()
    }

    /// The template ready to be executed once or more, for one rendering.
    fn executable(&self, conversation: &Conversation, meter: &Arc<Meter>) -> Template {
        let functions = functions::all(conversation.inputs.date, meter, conversation.twins);
        let template = Template::new("").max_range_iters(meter::STEPS).funcs(functions);
        self.bodies.iter().fold(template, |template, (name, body)| template.add_parse_tree(name, body.clone()))
    }
}

impl Renderer for Go {
    fn render(&self, conversation: &Conversation) -> Result<String, TemplateError> {
        let meter = Arc::new(Meter::default());
        let template = self.executable(conversation, &meter);
        let mut out = BoundedText(String::new());
        let mut execute = |name: &str, values: BTreeMap<Arc<str>, Value>| {
            template
                .execute_template_fmt(&mut out, name, &Value::Map(Arc::new(values)))
                .map_err(|error| TemplateError::Failed { reason: meter.describe(&error) })
        };
        let (system, messages) = joined(conversation.messages);
        match self.style {
            Style::Messages => {
                let mut values = common(conversation);
                values.insert("System".into(), text(&system));
                let twins = conversation.twins;
                let messages = messages.iter().map(|message| values::message(message, twins)).collect();
                values.insert("Messages".into(), list(messages));
                let tools = conversation.tools.iter().map(|tool| values::tool(tool, twins)).collect();
                values.insert("Tools".into(), list(tools));
                values.insert("Response".into(), text(""));
                execute(WHOLE, values)?;
            }
            Style::Turns => {
                let mut turn = Turn::default();
                for Message { role, content, .. } in &messages {
                    match role {
                        Role::System if turn.prompt.is_some() || turn.response.is_some() => {
                            execute(WHOLE, std::mem::take(&mut turn).values(conversation))?;
                            turn.system = Some(content);
                        }
                        Role::User if turn.response.is_some() => {
                            execute(WHOLE, std::mem::take(&mut turn).values(conversation))?;
                            turn.prompt = said(content);
                        }
                        Role::System => turn.system = Some(content),
                        Role::User => turn.prompt = said(content),
                        Role::Assistant => turn.response = said(content),
                        // Such a template has no place for a tool's answer.
                        Role::Tool => {}
                    }
                }
                execute(LAST, turn.values(conversation))?;
            }
        }
        Ok(out.0)
    }

    /// Go's templates know no `contract`: it is described to them in the system message.
    fn reads(&self, _: &str) -> bool {
        false
    }

    fn names(&self, variable: &str) -> bool {
        self.names.iter().any(|name| name == variable)
    }

    /// An answer is only ended where another message follows.
    fn finished(&self) -> Vec<Message> {
        let message = Message::new;
        vec![message(Role::User, PROBE_USER), message(Role::Assistant, PROBE), message(Role::User, PROBE_USER)]
    }
}

/// The texts of a turn so far; an empty one counts as missing.
#[derive(Default)]
struct Turn<'a> {
    system: Option<&'a str>,
    prompt: Option<&'a str>,
    response: Option<&'a str>,
}

impl Turn<'_> {
    fn values(self, conversation: &Conversation) -> BTreeMap<Arc<str>, Value> {
        let mut values = common(conversation);
        values.insert("System".into(), text(self.system.unwrap_or_default()));
        values.insert("Prompt".into(), text(self.prompt.unwrap_or_default()));
        values.insert("Response".into(), text(self.response.unwrap_or_default()));
        values
    }
}

fn said(content: &str) -> Option<&str> {
    Some(content).filter(|content| !content.is_empty())
}

/// What every execution is given. Whether a model thinks is the caller's choice, if there is one.
fn common(conversation: &Conversation) -> BTreeMap<Arc<str>, Value> {
    let thinks = conversation.inputs.variables.get("enable_thinking");
    let level = conversation.inputs.variables.get("reasoning_effort").and_then(Json::as_str).unwrap_or_default();
    BTreeMap::from([
        ("Think".into(), Value::Bool(thinks.and_then(Json::as_bool).unwrap_or(false))),
        ("ThinkLevel".into(), text(level)),
        ("IsThinkSet".into(), Value::Bool(thinks.is_some())),
    ])
}

/// The system texts together, and the messages with those of one role in a row joined; tool messages and messages with
/// calls stay apart.
fn joined(messages: &[Message]) -> (String, Vec<Message>) {
    let mut system: Vec<&str> = Vec::new();
    let mut found: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        if message.role == Role::System {
            system.push(&message.content);
        }
        match found.last_mut() {
            Some(last) if last.role == message.role && is_joined(last) && is_joined(message) => {
                last.content.push_str("\n\n");
                last.content.push_str(&message.content);
            }
            _ => found.push(message.clone()),
        }
    }
    (system.join("\n\n"), found)
}

/// Ollama joins messages with calls, too, and loses the calls of all but the first.
fn is_joined(message: &Message) -> bool {
    message.role != Role::Tool && message.tool_calls.is_empty()
}

/// A text that does not grow without end.
struct BoundedText(String);

impl Write for BoundedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_OUTPUT {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
