//! A call that is still being written: byte by byte to its end, or to the byte that shows that it is not a call.

use super::call::ToolCall;
use super::call_format::{CallBody, CallFormat};
use super::gemma::GemmaScan;
use super::known_tools::{CALL_KEYS, KnownTools};
use super::located::is_name;
use super::scan::{JsonScan, PythonScan, ScanStep};
use super::tags::{self, TagScan};

/// The most bytes of one call, or of one list of them; what is longer is text.
const MAX_CALL: usize = 256 << 10;
/// The most bytes before the arguments of [`CallBody::Named`].
const MAX_HEAD: usize = 1 << 10;

/// A call that is still being written.
#[derive(Debug, Clone)]
pub(super) struct OpenCall {
    /// The mark that it begins with, if any, and where that ends.
    mark: &'static str,
    mark_end: usize,
    /// Where the body begins, and the next byte to be looked at.
    body: usize,
    at: usize,
    scan: Scan,
}

#[derive(Debug, Clone)]
enum Scan {
    /// No byte of the body was seen.
    Nothing,
    Json(JsonScan),
    Python(PythonScan),
    Gemma(GemmaScan),
    Tags(TagScan),
    /// A tool's name; arguments in JSON follow.
    Name,
    /// The arguments after a name.
    Arguments(String, JsonScan),
}

/// How far a call has come with what was written so far.
pub(super) enum Advance {
    /// It continues.
    Unfinished,
    /// It is not a call: so many bytes are text.
    NotACall(usize),
    /// It ends after so many bytes.
    Whole(usize),
}

impl OpenCall {
    /// A call whose mark ends, and whose body begins, at these bytes of the text.
    pub(super) fn new(mark: &'static str, mark_end: usize, body: usize) -> Self {
        OpenCall { mark, mark_end, body, at: body, scan: Scan::Nothing }
    }

    /// Looks at the bytes of `text` that were not looked at yet; `text` begins with the call.
    pub(super) fn advance(&mut self, text: &str, format: CallFormat) -> Advance {
        let bytes = text.as_bytes();
        while self.at < bytes.len() {
            if self.at - self.body >= MAX_CALL {
                let boundary = (0..=self.at).rev().find(|&at| text.is_char_boundary(at));
                return Advance::NotACall(boundary.unwrap_or(0));
            }
            let byte = bytes[self.at];
            let step = match &mut self.scan {
                Scan::Nothing if byte.is_ascii_whitespace() => ScanStep::More,
                Scan::Nothing => match scan_of(format, byte, self.mark) {
                    Some(scan) => {
                        (self.scan, self.body) = (scan, self.at);
                        continue;
                    }
                    None => ScanStep::Bad,
                },
                Scan::Json(json) | Scan::Arguments(_, json) => json.step(byte),
                Scan::Python(python) => python.step(byte),
                Scan::Gemma(gemma) => gemma.step(byte),
                Scan::Tags(tags) => tags.step(byte),
                Scan::Name => match name(&text[self.body..]) {
                    Name::Unfinished => break,
                    Name::None => return Advance::NotACall(self.mark_end),
                    Name::Whole { name, arguments } => {
                        self.at = self.body + arguments;
                        self.body = self.at;
                        self.scan = Scan::Arguments(name, JsonScan::of_any_object());
                        continue;
                    }
                },
            };
            match step {
                ScanStep::More => self.at += 1,
                ScanStep::Bad => return Advance::NotACall(self.given_up(text)),
                ScanStep::End => return Advance::Whole(self.at + 1),
            }
        }
        Advance::Unfinished
    }

    /// The calls of a whole text, if they are calls of known tools. `is_next` says that another call is right before it.
    pub(super) fn calls(&self, text: &str, tools: &KnownTools, is_next: bool) -> Option<Vec<ToolCall>> {
        let body = &text[self.body..];
        let is_marked = !self.mark.is_empty() || is_next;
        match &self.scan {
            Scan::Json(_) => tools.json(body, is_marked),
            Scan::Python(_) => tools.python(body).or_else(|| tools.json(body, is_marked)),
            Scan::Gemma(_) => tools.gemma(body),
            Scan::Tags(_) => tools.tags(body),
            Scan::Arguments(name, _) => tools.named(name, body),
            Scan::Nothing | Scan::Name => None,
        }
    }

    /// How many bytes are text where this is not a call. A mark may begin at the byte that shows it, or at a bracket before it.
    fn given_up(&self, rest: &str) -> usize {
        let is_bracket = |byte: u8| byte.is_ascii_whitespace() || byte == b'[' || byte == b'<';
        let from =
            if rest.as_bytes()[self.body..self.at].iter().copied().all(is_bracket) { self.body } else { self.at };
        match from.max(self.mark_end) {
            0 => self.at,
            n_bytes => n_bytes,
        }
    }
}

/// How a body that begins with this byte is scanned.
fn scan_of(format: CallFormat, byte: u8, mark: &str) -> Option<Scan> {
    match (byte, format.body) {
        // Llama was taught this, too.
        (b'[', _) if format == CallFormat::BARE => Some(Scan::Python(PythonScan::default())),
        (b'[', CallBody::Python) => Some(Scan::Python(PythonScan::default())),
        (b'{' | b'[', _) => Some(Scan::Json(JsonScan::new(CALL_KEYS))),
        (b'<', CallBody::Tags | CallBody::Object { .. }) => Some(Scan::Tags(TagScan::new(tags::FUNCTION))),
        (b'<', CallBody::NamedTags) => Some(Scan::Tags(TagScan::new(tags::NAMED_FUNCTION))),
        (b'c', CallBody::Gemma) => Some(Scan::Gemma(GemmaScan::default())),
        (_, CallBody::Named) if !mark.is_empty() => Some(Scan::Name),
        _ => None,
    }
}

/// What is before the arguments of [`CallBody::Named`].
enum Name {
    Unfinished,
    None,
    /// The name, and where the arguments begin.
    Whole {
        name: String,
        arguments: usize,
    },
}

/// Reads `name[ARGS]{` or `name[CALL_ID]id[ARGS]{`; without the marks where a vocabulary does not show them.
fn name(text: &str) -> Name {
    let limit = (0..=MAX_HEAD.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let unfinished = if text.len() > MAX_HEAD { Name::None } else { Name::Unfinished };
    let head = &text[..limit];
    let Some(end) = head.find(['[', '{']) else {
        return if head.is_empty() || is_name(head) { unfinished } else { Name::None };
    };
    let (name, mut rest) = head.split_at(end);
    if !is_name(name) {
        return Name::None;
    }
    for mark in ["[CALL_ID]", "[ARGS]"] {
        if mark.starts_with(rest) {
            return unfinished;
        }
        if let Some(after) = rest.strip_prefix(mark) {
            rest = after.trim_start_matches(|c: char| {
                c.is_ascii_whitespace() || (mark == "[CALL_ID]" && (c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            });
        }
    }
    match rest.bytes().next() {
        None => unfinished,
        Some(b'{') => Name::Whole { name: name.to_owned(), arguments: head.len() - rest.len() },
        Some(_) => Name::None,
    }
}
