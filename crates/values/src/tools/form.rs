//! How models write calls: the families' forms, which one a chat template speaks, and calls written in it.

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Value as Json, json};
use std::io;

use super::{ToolCall, gemma, tags};

/// A form of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// What stands before a call, or before a list of them; empty where nothing does.
    pub(super) open: &'static str,
    /// What stands behind it.
    pub(super) close: &'static str,
    pub(super) body: Body,
}

/// What stands between a form's marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// An object with the name and, under this key, the arguments; one for each pair of marks.
    Object { arguments: &'static str },
    /// A list of such objects.
    List,
    /// The name, `[ARGS]`, and the arguments as an object.
    Named,
    /// `<function=..>` and a `<parameter=..>` for each argument, which is text or JSON.
    Tags,
    /// `<function name="..">` and a `<param name="..">` for each argument.
    NamedTags,
    /// A list of calls as Python writes them.
    Python,
    /// `call:` and the name before the arguments, in JSON with quotes of its own.
    Gemma,
}

impl Form {
    /// Qwen's, Hermes' and many others', and the form of a model whose template knows no tools.
    pub const TAGGED: Form =
        Form { open: "<tool_call>", close: "</tool_call>", body: Body::Object { arguments: "arguments" } };
    /// Qwen3-Coder's and Qwen3.5's.
    pub const TAGS: Form = Form { open: "<tool_call>", close: "</tool_call>", body: Body::Tags };
    /// Llama 3's.
    pub const BARE: Form = Form { open: "", close: "", body: Body::Object { arguments: "parameters" } };
    /// Mistral's, to version 3 of its tokenizer.
    pub const MISTRAL: Form = Form { open: "[TOOL_CALLS]", close: "", body: Body::List };
    /// Mistral's later one.
    pub const MISTRAL_NAMED: Form = Form { open: "[TOOL_CALLS]", close: "", body: Body::Named };
    /// Phi-4-mini's.
    pub const PHI: Form = Form { open: "<|tool_call|>", close: "<|/tool_call|>", body: Body::List };
    /// Granite 3's.
    pub const GRANITE: Form = Form { open: "<|tool_call|>", close: "", body: Body::List };
    /// Nemotron's.
    pub const NEMOTRON: Form = Form { open: "<TOOLCALL>", close: "</TOOLCALL>", body: Body::List };
    /// Gemma 4's.
    pub const GEMMA: Form = Form { open: "<|tool_call>", close: "<tool_call|>", body: Body::Gemma };
    /// MiniCPM5's.
    pub const MINICPM: Form = Form { open: tags::NAMED_FUNCTION, close: "", body: Body::NamedTags };
    /// LFM2's.
    pub const LFM: Form = Form { open: "<|tool_call_start|>", close: "<|tool_call_end|>", body: Body::Python };

    /// The form that a chat template's source speaks of; [`Form::TAGGED`] where it speaks of none.
    #[must_use]
    pub fn of(template: &str) -> Form {
        let says = |text: &str| template.contains(text);
        match () {
            () if says("<function=") => Form::TAGS,
            () if says(tags::NAMED_FUNCTION) => Form::MINICPM,
            () if says("<tool_call|>") => Form::GEMMA,
            () if says("[TOOL_CALLS]") && says("[ARGS]") => Form::MISTRAL_NAMED,
            () if says("[TOOL_CALLS]") => Form::MISTRAL,
            () if says("<|tool_call_start|>") || says("<|tool_list_start|>") || says("List of tools: [") => Form::LFM,
            () if says("<|/tool_call|>") || says("<|/tool|>") => Form::PHI,
            () if says("<|tool_call|>") => Form::GRANITE,
            () if says("<TOOLCALL>") => Form::NEMOTRON,
            () if says("<tool_call>") => Form::TAGGED,
            () if says("<|python_tag|>") || (says("<|start_header_id|>") && says("parameters")) => Form::BARE,
            () => Form::TAGGED,
        }
    }

    /// Every form.
    pub const ALL: [Form; 11] = [
        Form::TAGGED,
        Form::TAGS,
        Form::BARE,
        Form::MISTRAL,
        Form::MISTRAL_NAMED,
        Form::PHI,
        Form::GRANITE,
        Form::NEMOTRON,
        Form::GEMMA,
        Form::MINICPM,
        Form::LFM,
    ];

    /// The special tokens that calls are written with. Where a vocabulary holds one as a CONTROL token, its text must come
    /// out of the engine too, or a call is seen only where it is the whole answer.
    #[must_use]
    pub fn marks(&self) -> Vec<&'static str> {
        let more: &[&str] = match self.body {
            Body::Named => &["[CALL_ID]", "[ARGS]"],
            Body::Gemma => &[gemma::QUOTE],
            _ if *self == Form::BARE => &[PYTHON_TAG],
            _ => &[],
        };
        let own = [self.open, self.close].into_iter().filter(|mark| !mark.is_empty() && self.body != Body::NamedTags);
        own.chain(more.iter().copied()).collect()
    }

    /// The special token with which a model begins what only a tool can say: an answer with calls ends there.
    #[must_use]
    pub fn stop(&self) -> Option<&'static str> {
        (self.body == Body::Gemma).then_some("<|tool_response>")
    }

    /// What stands before the object of a call that is certain.
    pub(super) fn lead(&self) -> String {
        match self.body {
            Body::Object { .. } | Body::Tags if !self.open.is_empty() => format!("{}\n", self.open),
            Body::Object { .. } | Body::Tags | Body::NamedTags => String::new(),
            Body::List | Body::Python => format!("{}[", self.open),
            Body::Named | Body::Gemma => self.open.to_owned(),
        }
    }

    /// What stands before the arguments of a call that is certain, where the form has the tool's name in it.
    pub(super) fn lead_with(&self, name: &str) -> Option<String> {
        match self.body {
            Body::Named => Some(format!("{}{name}[ARGS]", self.open)),
            Body::Gemma => Some(format!("{}call:{name}", self.open)),
            _ => None,
        }
    }

    /// The key of the arguments in a call's object.
    pub(super) fn arguments_key(&self) -> &'static str {
        match self.body {
            Body::Object { arguments } => arguments,
            _ => "arguments",
        }
    }

    /// Calls as a model of this form writes them.
    #[must_use]
    pub fn write(&self, calls: &[ToolCall]) -> String {
        let objects = |arguments: &str| calls.iter().map(|call| spaced(&object(call, arguments))).collect::<Vec<_>>();
        let Form { open, close, .. } = self;
        match self.body {
            Body::Object { arguments } if open.is_empty() => objects(arguments).join("; "),
            Body::Object { arguments } => {
                let one = |object: String| format!("{open}\n{object}\n{close}");
                objects(arguments).into_iter().map(one).collect::<Vec<_>>().join("\n")
            }
            Body::List => format!("{open}[{}]{close}", objects("arguments").join(", ")),
            Body::Named => {
                let one = |call: &ToolCall| format!("{open}{}[ARGS]{}", call.name, spaced(&call.arguments));
                calls.iter().map(one).collect()
            }
            Body::Tags => {
                let one = |call: &ToolCall| format!("{open}\n{}\n{close}", in_tags(call));
                calls.iter().map(one).collect::<Vec<_>>().join("\n")
            }
            Body::NamedTags => {
                let one = |call: &ToolCall| tags::write_named(&call.name, call.arguments.iter().map(in_words));
                calls.iter().map(one).collect::<Vec<_>>().join("\n")
            }
            Body::Gemma => calls.iter().map(|call| format!("{open}{}{close}", gemma::write(call))).collect(),
            Body::Python => {
                let calls: Vec<String> = calls.iter().map(super::python::write).collect();
                format!("{open}[{}]{close}", calls.join(", "))
            }
        }
    }
}

/// What Llama 3 may write before a call.
pub(super) const PYTHON_TAG: &str = "<|python_tag|>";
/// What Phi-4-mini may write before a list of calls.
pub(super) const FUNCTOOLS: &str = "functools";

fn object(call: &ToolCall, arguments: &str) -> Json {
    json!({"name": call.name, arguments: call.arguments})
}

fn in_tags(call: &ToolCall) -> String {
    let argument = |(name, value)| format!("<parameter={name}>\n{value}\n</parameter>\n");
    let arguments: String = call.arguments.iter().map(in_words).map(argument).collect();
    format!("<function={}>\n{arguments}</function>", call.name)
}

/// An argument as tags hold it: text as it is, anything else as JSON.
fn in_words((name, value): (&String, &Json)) -> (String, String) {
    (name.clone(), value.as_str().map_or_else(|| spaced(value), str::to_owned))
}

/// JSON on one line with `, ` and `: `, as Python writes it and models have read it most.
pub(super) fn spaced(json: &impl Serialize) -> String {
    let mut out = Vec::new();
    let written = json.serialize(&mut Serializer::with_formatter(&mut out, Spaced));
    written.expect("JSON has texts for keys, and a vector takes everything");
    String::from_utf8(out).expect("serde_json writes UTF-8")
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
