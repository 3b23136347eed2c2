//! Calls as Gemma 4 writes them: `call:name{key:<|"|>text<|"|>,n:3}`, JSON with its own quotes and bare keys.

use serde_json::{Map, Value as Json};

use super::call::ToolCall;
use super::limits::MAX_DEPTH;
use super::scan::{ScanStep, is_name_byte};

/// What is on both sides of a text: one special token.
pub(super) const QUOTE: &str = "<|\"|>";
const BEGIN: &str = "call:";

/// Finds the end of such a call while it is being written.
#[derive(Debug, Clone, Default)]
pub(super) struct GemmaScan {
    n_begun: usize,
    depth: usize,
    /// Bytes of a quote that were just seen.
    n_quoted: usize,
    is_text: bool,
}

impl GemmaScan {
    pub(super) fn step(&mut self, byte: u8) -> ScanStep {
        if self.n_begun < BEGIN.len() {
            let fits = BEGIN.as_bytes()[self.n_begun] == byte;
            self.n_begun += 1;
            return if fits { ScanStep::More } else { ScanStep::Bad };
        }
        if self.depth == 0 && byte != b'{' {
            return if is_name_byte(byte) { ScanStep::More } else { ScanStep::Bad };
        }
        // The quote's first character occurs nowhere else in it, so a match that breaks off starts again at this byte or not at all.
        self.n_quoted = match byte {
            _ if QUOTE.as_bytes()[self.n_quoted] == byte => self.n_quoted + 1,
            b'<' => 1,
            _ => 0,
        };
        if self.n_quoted == QUOTE.len() {
            (self.n_quoted, self.is_text) = (0, !self.is_text);
            return ScanStep::More;
        }
        match byte {
            _ if self.is_text => {}
            b'{' | b'[' if self.depth < MAX_DEPTH => self.depth += 1,
            b'{' | b'[' => return ScanStep::Bad,
            b'}' | b']' if self.depth == 1 => return ScanStep::End,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        ScanStep::More
    }
}

/// A call as the model writes it.
pub(super) fn write(call: &ToolCall) -> String {
    let argument = |(name, value): (&String, &Json)| format!("{name}:{}", written(value));
    let arguments: Vec<String> = call.arguments.iter().map(argument).collect();
    format!("{BEGIN}{}{{{}}}", call.name, arguments.join(","))
}

fn written(value: &Json) -> String {
    match value {
        Json::String(text) => format!("{QUOTE}{text}{QUOTE}"),
        Json::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(",")),
        Json::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, field)| format!("{name}:{}", written(field))).collect();
            format!("{{{}}}", fields.join(","))
        }
        other => other.to_string(),
    }
}

/// The name and the arguments of a whole call.
pub(super) fn parse(text: &str) -> Option<(String, Map<String, Json>)> {
    let (name, arguments) = text.strip_prefix(BEGIN)?.split_once('{')?;
    let mut parser = GemmaParser { rest: &text[text.len() - arguments.len() - 1..] };
    let Json::Object(arguments) = parser.value(MAX_DEPTH)? else { return None };
    parser.rest.is_empty().then(|| (name.to_owned(), arguments))
}

struct GemmaParser<'t> {
    rest: &'t str,
}

impl<'t> GemmaParser<'t> {
    fn take(&mut self, sign: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(sign)?;
        Some(())
    }

    /// A text in the model's quotes, or in JSON's.
    fn quoted(&mut self) -> Option<String> {
        if self.take(QUOTE).is_some() {
            let (text, after) = self.rest.split_once(QUOTE)?;
            self.rest = after;
            return Some(text.to_owned());
        }
        let rest = self.rest.trim_start();
        if !rest.starts_with('"') {
            return None;
        }
        let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let text = texts.next()?.ok()?;
        self.rest = &rest[texts.byte_offset()..];
        Some(text)
    }

    /// What is there without quotes.
    fn bare(&mut self, ends: &[char]) -> Option<&'t str> {
        let at = self.rest.find(ends)?;
        let (text, after) = self.rest.split_at(at);
        self.rest = after;
        Some(text.trim())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        let depth = depth.checked_sub(1)?;
        if let Some(text) = self.quoted() {
            return Some(text.into());
        }
        if self.take("[").is_some() {
            let mut items = Vec::new();
            while self.take("]").is_none() {
                items.push(self.value(depth)?);
                self.separate("]")?;
            }
            return Some(Json::Array(items));
        }
        if self.take("{").is_some() {
            let mut fields = Map::new();
            while self.take("}").is_none() {
                let name = match self.quoted() {
                    Some(name) => name,
                    None => self.bare(&[':', ',', '}'])?.to_owned(),
                };
                self.take(":")?;
                fields.insert(name, self.value(depth)?);
                self.separate("}")?;
            }
            return Some(Json::Object(fields));
        }
        let word = self.bare(&[',', '}', ']'])?;
        (!word.is_empty()).then(|| serde_json::from_str(word).unwrap_or_else(|_| word.into()))
    }

    fn separate(&mut self, end: &str) -> Option<()> {
        self.take(",").or_else(|| self.rest.trim_start().starts_with(end).then_some(()))
    }
}
