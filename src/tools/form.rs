//! How models write calls: the families' forms, which one a chat template speaks, and calls written in it.

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Value as Json, json};
use std::io;

use super::ToolCall;

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
    /// A list of calls as Python writes them.
    Python,
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
    /// LFM2's.
    pub const LFM: Form = Form { open: "<|tool_call_start|>", close: "<|tool_call_end|>", body: Body::Python };

    /// The form that a chat template's source speaks of; [`Form::TAGGED`] where it speaks of none.
    #[must_use]
    pub fn of(template: &str) -> Form {
        let says = |text: &str| template.contains(text);
        match () {
            () if says("<function=") => Form::TAGS,
            () if says("[TOOL_CALLS]") && says("[ARGS]") => Form::MISTRAL_NAMED,
            () if says("[TOOL_CALLS]") => Form::MISTRAL,
            () if says("<|tool_call_start|>") || says("<|tool_list_start|>") || says("List of tools: [") => Form::LFM,
            () if says("<|/tool_call|>") => Form::PHI,
            () if says("<|tool_call|>") => Form::GRANITE,
            () if says("<TOOLCALL>") => Form::NEMOTRON,
            () if says("<tool_call>") => Form::TAGGED,
            () if says("<|python_tag|>") || (says("<|start_header_id|>") && says("parameters")) => Form::BARE,
            () => Form::TAGGED,
        }
    }

    /// The special tokens that begin or end a call. Where a vocabulary holds one as a CONTROL token, its text must come
    /// out of the engine too, or a call is seen only where it is the whole answer.
    #[must_use]
    pub fn marks(&self) -> Vec<&'static str> {
        let named = if self.body == Body::Named { &["[CALL_ID]", "[ARGS]"][..] } else { &[] };
        let bare = if *self == Form::BARE { &[PYTHON_TAG][..] } else { &[] };
        [self.open, self.close].iter().chain(named).chain(bare).copied().filter(|mark| !mark.is_empty()).collect()
    }

    /// What stands before the object of a call that is certain.
    pub(super) fn lead(&self) -> String {
        match self.body {
            Body::Object { .. } if self.open.is_empty() => String::new(),
            Body::Object { .. } | Body::Tags => format!("{}\n", self.open),
            Body::List | Body::Python => format!("{}[", self.open),
            Body::Named => self.open.to_owned(),
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
                let one = |call: &ToolCall| format!("{open}\n{}\n{close}", tags(call));
                calls.iter().map(one).collect::<Vec<_>>().join("\n")
            }
            Body::Python => {
                let calls: Vec<String> = calls.iter().map(super::python::write).collect();
                format!("{open}[{}]{close}", calls.join(", "))
            }
        }
    }
}

/// What Llama 3 may write before a call.
pub(super) const PYTHON_TAG: &str = "<|python_tag|>";

fn object(call: &ToolCall, arguments: &str) -> Json {
    json!({"name": call.name, arguments: call.arguments})
}

fn tags(call: &ToolCall) -> String {
    let argument = |(name, value): (&String, &Json)| {
        let value = value.as_str().map_or_else(|| spaced(value), str::to_owned);
        format!("<parameter={name}>\n{value}\n</parameter>\n")
    };
    let arguments: String = call.arguments.iter().map(argument).collect();
    format!("<function={}>\n{arguments}</function>", call.name)
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
