//! How models write calls: the families' formats, which one a chat template uses, and calls written in it.

use serde_json::{Value as Json, json};

use super::call::ToolCall;
use super::{gemma, python, tags};
use crate::spaced::spaced;

/// The format in which a family of models writes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallFormat {
    /// The mark before a call, or before a list of calls; empty where the format has none.
    pub(super) open: &'static str,
    /// The mark after it; empty where the format has none.
    pub(super) close: &'static str,
    pub(super) body: CallBody,
}

/// What is between a format's marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallBody {
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

impl CallFormat {
    /// Qwen's, Hermes' and many others', and that of a model whose template does not support tools.
    pub const TAGGED: CallFormat =
        CallFormat { open: "<tool_call>", close: "</tool_call>", body: CallBody::Object { arguments: "arguments" } };
    /// Qwen3-Coder's and Qwen3.5's.
    pub const TAGS: CallFormat = CallFormat { open: "<tool_call>", close: "</tool_call>", body: CallBody::Tags };
    /// Llama 3's.
    pub const BARE: CallFormat = CallFormat { open: "", close: "", body: CallBody::Object { arguments: "parameters" } };
    /// Mistral's, to version 3 of its tokenizer.
    pub const MISTRAL: CallFormat = CallFormat { open: "[TOOL_CALLS]", close: "", body: CallBody::List };
    /// Mistral's later one.
    pub const MISTRAL_NAMED: CallFormat = CallFormat { open: "[TOOL_CALLS]", close: "", body: CallBody::Named };
    /// Phi-4-mini's.
    pub const PHI: CallFormat = CallFormat { open: "<|tool_call|>", close: "<|/tool_call|>", body: CallBody::List };
    /// Granite 3's.
    pub const GRANITE: CallFormat = CallFormat { open: "<|tool_call|>", close: "", body: CallBody::List };
    /// Nemotron's.
    pub const NEMOTRON: CallFormat = CallFormat { open: "<TOOLCALL>", close: "</TOOLCALL>", body: CallBody::List };
    /// Gemma 4's.
    pub const GEMMA: CallFormat = CallFormat { open: "<|tool_call>", close: "<tool_call|>", body: CallBody::Gemma };
    /// MiniCPM5's.
    pub const MINICPM: CallFormat = CallFormat { open: tags::NAMED_FUNCTION, close: "", body: CallBody::NamedTags };
    /// LFM2's.
    pub const LFM: CallFormat =
        CallFormat { open: "<|tool_call_start|>", close: "<|tool_call_end|>", body: CallBody::Python };

    /// The format that a chat template's source mentions; [`CallFormat::TAGGED`] where it mentions none.
    #[must_use]
    pub fn of(template: &str) -> CallFormat {
        let says = |text: &str| template.contains(text);
        match () {
            () if says("<function=") => CallFormat::TAGS,
            () if says(tags::NAMED_FUNCTION) => CallFormat::MINICPM,
            () if says("<tool_call|>") => CallFormat::GEMMA,
            () if says("[TOOL_CALLS]") && says("[ARGS]") => CallFormat::MISTRAL_NAMED,
            () if says("[TOOL_CALLS]") => CallFormat::MISTRAL,
            () if says("<|tool_call_start|>") || says("<|tool_list_start|>") || says("List of tools: [") => {
                CallFormat::LFM
            }
            () if says("<|/tool_call|>") || says("<|/tool|>") => CallFormat::PHI,
            () if says("<|tool_call|>") => CallFormat::GRANITE,
            () if says("<TOOLCALL>") => CallFormat::NEMOTRON,
            () if says("<tool_call>") => CallFormat::TAGGED,
            () if says("<|python_tag|>") || (says("<|start_header_id|>") && says("parameters")) => CallFormat::BARE,
            () => CallFormat::TAGGED,
        }
    }

    /// Every format.
    pub const ALL: [CallFormat; 11] = [
        CallFormat::TAGGED,
        CallFormat::TAGS,
        CallFormat::BARE,
        CallFormat::MISTRAL,
        CallFormat::MISTRAL_NAMED,
        CallFormat::PHI,
        CallFormat::GRANITE,
        CallFormat::NEMOTRON,
        CallFormat::GEMMA,
        CallFormat::MINICPM,
        CallFormat::LFM,
    ];

    /// The special tokens that calls are written with. Where a vocabulary holds one as a CONTROL token, its text must come
    /// out of the engine too, or a call is seen only where it is the whole answer.
    #[must_use]
    pub fn marks(&self) -> Vec<&'static str> {
        let more: &[&str] = match self.body {
            CallBody::Named => &["[CALL_ID]", "[ARGS]"],
            CallBody::Gemma => &[gemma::QUOTE],
            _ if *self == CallFormat::BARE => &[PYTHON_TAG],
            _ => &[],
        };
        let own =
            [self.open, self.close].into_iter().filter(|mark| !mark.is_empty() && self.body != CallBody::NamedTags);
        own.chain(more.iter().copied()).collect()
    }

    /// The special token with which a model begins what only a tool can say: an answer with calls ends there.
    #[must_use]
    pub fn stop(&self) -> Option<&'static str> {
        (self.body == CallBody::Gemma).then_some("<|tool_response>")
    }

    /// What is before the object of a forced call.
    pub(super) fn lead(&self) -> String {
        match self.body {
            CallBody::Object { .. } | CallBody::Tags if !self.open.is_empty() => format!("{}\n", self.open),
            CallBody::Object { .. } | CallBody::Tags | CallBody::NamedTags => String::new(),
            CallBody::List | CallBody::Python => format!("{}[", self.open),
            CallBody::Named | CallBody::Gemma => self.open.to_owned(),
        }
    }

    /// What is before the arguments of a forced call, where the format writes the tool's name there.
    pub(super) fn lead_with(&self, name: &str) -> Option<String> {
        match self.body {
            CallBody::Named => Some(format!("{}{name}[ARGS]", self.open)),
            CallBody::Gemma => Some(format!("{}call:{name}", self.open)),
            _ => None,
        }
    }

    /// The key of the arguments in a call's object.
    pub(super) fn arguments_key(&self) -> &'static str {
        match self.body {
            CallBody::Object { arguments } => arguments,
            _ => "arguments",
        }
    }

    /// Calls as a model with this format writes them.
    #[must_use]
    pub fn write(&self, calls: &[ToolCall]) -> String {
        let objects = |arguments: &str| calls.iter().map(|call| spaced(&object(call, arguments))).collect::<Vec<_>>();
        let CallFormat { open, close, .. } = self;
        match self.body {
            CallBody::Object { arguments } if open.is_empty() => objects(arguments).join("; "),
            CallBody::Object { arguments } => {
                let one = |object: String| format!("{open}\n{object}\n{close}");
                objects(arguments).into_iter().map(one).collect::<Vec<_>>().join("\n")
            }
            CallBody::List => format!("{open}[{}]{close}", objects("arguments").join(", ")),
            CallBody::Named => {
                let one = |call: &ToolCall| format!("{open}{}[ARGS]{}", call.name, spaced(&call.arguments));
                calls.iter().map(one).collect()
            }
            CallBody::Tags => {
                let one = |call: &ToolCall| format!("{open}\n{}\n{close}", in_tags(call));
                calls.iter().map(one).collect::<Vec<_>>().join("\n")
            }
            CallBody::NamedTags => {
                let one = |call: &ToolCall| tags::write_named(&call.name, call.arguments.iter().map(in_words));
                calls.iter().map(one).collect::<Vec<_>>().join("\n")
            }
            CallBody::Gemma => calls.iter().map(|call| format!("{open}{}{close}", gemma::write(call))).collect(),
            CallBody::Python => {
                let calls: Vec<String> = calls.iter().map(python::write).collect();
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
