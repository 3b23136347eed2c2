//! A model's text, as it comes, to the calls in it and what is left as text; it knows no tokens.
//!
//! However the text is cut into pieces, the result is the same: a decision rests on what was written before it alone. Held
//! back is only what may begin a call. What turns out to be none, is broken or stays unfinished is given back as text; no
//! byte gets lost but those of calls, of their marks, and of white space around them.

use super::form::{Body, FUNCTOOLS, Form, PYTHON_TAG};
use super::gemma::GemmaScan;
use super::read::is_name;
use super::scan::{JsonScan, PythonScan, Step};
use super::tags::{self, TagScan};
use super::written::{CALL_KEYS, Known};
use super::{Tool, ToolCall};

/// The most bytes of one call, or of one list of them; what is longer is text.
const MAX_CALL: usize = 256 << 10;
/// The most bytes of what stands before the arguments of [`Body::Named`].
const MAX_HEAD: usize = 1 << 10;

/// A part of what was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text that belongs to no call; `at` is the place of its first byte in all that was written.
    Text { text: String, at: usize },
    /// A whole call of one of the tools. It has no id.
    Call(ToolCall),
}

/// Reads calls of known tools out of one answer.
#[derive(Debug, Clone)]
pub struct CallReader {
    form: Form,
    tools: Known,
    /// What is not yet decided.
    held: String,
    /// Bytes before `held`.
    n_before: usize,
    before: Before,
    /// The call that `held` begins with, as far as it was looked through.
    open: Option<Open>,
}

/// What stands before what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Text,
    Call,
}

/// A call that is still being written.
#[derive(Debug, Clone)]
struct Open {
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
    /// The arguments behind a name.
    Arguments(String, JsonScan),
}

/// What can be said of the beginning of what is held.
enum Decision {
    /// Nothing before more is written.
    Wait,
    /// So many bytes are text.
    Text(usize),
    /// So many bytes are these calls.
    Calls(usize, Vec<ToolCall>),
    /// So many bytes say nothing: marks, and white space behind calls.
    Nothing(usize),
}

impl CallReader {
    /// A reader of one answer in the form that the model writes; only calls of these tools are calls.
    #[must_use]
    pub fn new(form: Form, tools: &[Tool]) -> Self {
        let tools = Known::new(tools);
        CallReader { form, tools, held: String::new(), n_before: 0, before: Before::Nothing, open: None }
    }

    /// Takes the next piece of the answer and gives what is decided by it.
    pub fn push(&mut self, piece: &str) -> Vec<Part> {
        self.held.push_str(piece);
        self.decide(End::Later)
    }

    /// Gives what is left when nothing more comes.
    #[must_use]
    pub fn finish(mut self) -> Vec<Part> {
        self.decide(End::Here)
    }

    fn decide(&mut self, end: End) -> Vec<Part> {
        let mut held = std::mem::take(&mut self.held);
        let mut parts = Vec::new();
        let mut from = 0;
        while from < held.len() {
            let rest = &held[from..];
            let (n_bytes, before) = match self.next(rest, end) {
                Decision::Wait => break,
                Decision::Text(n_bytes) => {
                    push_text(&mut parts, &rest[..n_bytes], self.n_before);
                    (n_bytes, Before::Text)
                }
                Decision::Calls(n_bytes, calls) => {
                    parts.extend(calls.into_iter().map(Part::Call));
                    (n_bytes, Before::Call)
                }
                Decision::Nothing(n_bytes) => (n_bytes, self.before),
            };
            (self.open, self.before) = (None, before);
            self.n_before += n_bytes;
            from += n_bytes;
        }
        held.drain(..from);
        self.held = held;
        parts
    }

    fn next(&mut self, rest: &str, end: End) -> Decision {
        if self.open.is_some() {
            return self.go_on(rest, end);
        }
        if self.before == Before::Text {
            return self.behind_text(rest, end);
        }
        let after = rest.trim_start_matches(|c| self.is_gap(c));
        let gap = rest.len() - after.len();
        let Form { close, .. } = self.form;
        if self.before == Before::Call && !close.is_empty() && after.starts_with(close) {
            return Decision::Nothing(gap + close.len());
        }
        if let Some(mark) = self.marks().find(|mark| after.starts_with(mark)) {
            return self.begin(rest, gap, mark, end);
        }
        match after.bytes().next() {
            None if end == End::Here && self.before == Before::Call => Decision::Nothing(gap),
            _ if end == End::Later && self.may_be_mark(after) => Decision::Wait,
            Some(b'{' | b'[') => self.begin(rest, gap, "", end),
            _ => Decision::Text(gap),
        }
    }

    /// White space, and what Llama writes between two calls.
    fn is_gap(&self, c: char) -> bool {
        c.is_ascii_whitespace() || (self.before == Before::Call && self.form == Form::BARE && matches!(c, ';' | ','))
    }

    /// What a call begins with.
    fn marks(&self) -> impl Iterator<Item = &'static str> + use<> {
        let other = match self.form {
            Form::BARE => PYTHON_TAG,
            Form::PHI => FUNCTOOLS,
            // Models leave the mark around it away.
            Form::TAGS => tags::FUNCTION,
            _ => "",
        };
        [self.form.open, other].into_iter().filter(|mark| !mark.is_empty())
    }

    /// Whether more could make a mark of this.
    fn may_be_mark(&self, text: &str) -> bool {
        let closing = Some(self.form.close).filter(|_| self.before == Before::Call);
        self.marks().chain(closing).any(|mark| mark.starts_with(text))
    }

    fn behind_text(&mut self, rest: &str, end: End) -> Decision {
        let found = self.marks().filter_map(|mark| Some((rest.find(mark)?, mark))).min_by_key(|&(at, _)| at);
        match found {
            Some((0, mark)) => self.begin(rest, 0, mark, end),
            Some((at, _)) => Decision::Text(at),
            None if end == End::Here => Decision::Text(rest.len()),
            None => {
                let longest = self.marks().map(str::len).max().unwrap_or(0);
                let is_begun = |from: &usize| rest.is_char_boundary(*from) && self.may_be_mark(&rest[*from..]);
                let begun = (rest.len().saturating_sub(longest)..rest.len()).find(is_begun);
                match begun.unwrap_or(rest.len()) {
                    0 => Decision::Wait,
                    n_bytes => Decision::Text(n_bytes),
                }
            }
        }
    }

    fn begin(&mut self, rest: &str, gap: usize, mark: &'static str, end: End) -> Decision {
        let mark_end = gap + mark.len();
        // What a function's tag begins is its body, too.
        let body = if [tags::FUNCTION, tags::NAMED_FUNCTION].contains(&mark) { gap } else { mark_end };
        self.open = Some(Open { mark, mark_end, body, at: body, scan: Scan::Nothing });
        self.go_on(rest, end)
    }

    /// Goes on through a call that is being written.
    fn go_on(&mut self, rest: &str, end: End) -> Decision {
        let Some(open) = &mut self.open else { return Decision::Wait };
        let bytes = rest.as_bytes();
        while open.at < bytes.len() {
            if open.at - open.body >= MAX_CALL {
                let boundary = (0..=open.at).rev().find(|&at| rest.is_char_boundary(at));
                return Decision::Text(boundary.unwrap_or(0));
            }
            let byte = bytes[open.at];
            let step = match &mut open.scan {
                Scan::Nothing if byte.is_ascii_whitespace() => Step::More,
                Scan::Nothing => match scan_of(self.form, byte, open.mark) {
                    Some(scan) => {
                        (open.scan, open.body) = (scan, open.at);
                        continue;
                    }
                    None => Step::Bad,
                },
                Scan::Json(json) | Scan::Arguments(_, json) => json.step(byte),
                Scan::Python(python) => python.step(byte),
                Scan::Gemma(gemma) => gemma.step(byte),
                Scan::Tags(tags) => tags.step(byte),
                Scan::Name => match name(&rest[open.body..]) {
                    Name::Unfinished => break,
                    Name::None => return Decision::Text(open.mark_end),
                    Name::Whole { name, arguments } => {
                        open.at = open.body + arguments;
                        open.body = open.at;
                        open.scan = Scan::Arguments(name, JsonScan::of_any_object());
                        continue;
                    }
                },
            };
            match step {
                Step::More => open.at += 1,
                Step::Bad => return Decision::Text(open.given_up(rest)),
                Step::End => {
                    let n_bytes = open.at + 1;
                    let body = &rest[open.body..n_bytes];
                    let is_marked = !open.mark.is_empty() || self.before == Before::Call;
                    let calls = match &open.scan {
                        Scan::Json(_) => self.tools.json(body, is_marked),
                        Scan::Python(_) => self.tools.python(body).or_else(|| self.tools.json(body, is_marked)),
                        Scan::Gemma(_) => self.tools.gemma(body),
                        Scan::Tags(_) => self.tools.tags(body),
                        Scan::Arguments(name, _) => self.tools.named(name, body),
                        Scan::Nothing | Scan::Name => None,
                    };
                    return calls.map_or(Decision::Text(n_bytes), |calls| Decision::Calls(n_bytes, calls));
                }
            }
        }
        if end == End::Here { Decision::Text(rest.len()) } else { Decision::Wait }
    }
}

impl Open {
    /// How much is text where this is no call. A mark may begin at the byte that says so, or at a bracket before it.
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

/// Whether more is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Later,
    Here,
}

/// How a body that begins with this byte is scanned.
fn scan_of(form: Form, byte: u8, mark: &str) -> Option<Scan> {
    match (byte, form.body) {
        // Llama was taught this, too.
        (b'[', _) if form == Form::BARE => Some(Scan::Python(PythonScan::default())),
        (b'[', Body::Python) => Some(Scan::Python(PythonScan::default())),
        (b'{' | b'[', _) => Some(Scan::Json(JsonScan::new(CALL_KEYS))),
        (b'<', Body::Tags | Body::Object { .. }) => Some(Scan::Tags(TagScan::new(tags::FUNCTION))),
        (b'<', Body::NamedTags) => Some(Scan::Tags(TagScan::new(tags::NAMED_FUNCTION))),
        (b'c', Body::Gemma) => Some(Scan::Gemma(GemmaScan::default())),
        (_, Body::Named) if !mark.is_empty() => Some(Scan::Name),
        _ => None,
    }
}

/// What stands before the arguments of [`Body::Named`].
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
        if let Some(behind) = rest.strip_prefix(mark) {
            rest = behind.trim_start_matches(|c: char| {
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

/// Adds text, to that before it where nothing is between them.
fn push_text(parts: &mut Vec<Part>, more: &str, place: usize) {
    match parts.last_mut() {
        _ if more.is_empty() => {}
        Some(Part::Text { text, at }) if *at + text.len() == place => text.push_str(more),
        _ => parts.push(Part::Text { text: more.to_owned(), at: place }),
    }
}
