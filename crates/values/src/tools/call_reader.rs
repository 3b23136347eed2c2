//! A model's text, as it comes, to the calls in it and what is left as text; it knows no tokens.
//!
//! However the text is cut into pieces, the result is the same: a decision rests on what was written before it alone. Held
//! back is only what may begin a call. What turns out not to be a call, is broken or stays unfinished is given back as text; no
//! byte gets lost but those of calls, of their marks, and of white space around them.

use super::call::ToolCall;
use super::call_format::{CallFormat, FUNCTOOLS, PYTHON_TAG};
use super::known_tools::KnownTools;
use super::open_call::{Advance, OpenCall};
use super::tags;
use super::tool::Tool;

/// A part of what was written.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerPart {
    /// Text that belongs to no call; `at` is the place of its first byte in all that was written.
    Text { text: String, at: usize },
    /// A whole call of one of the tools. It has no id.
    Call(ToolCall),
}

/// Reads calls of known tools out of one answer.
#[derive(Debug, Clone)]
pub struct CallReader {
    format: CallFormat,
    tools: KnownTools,
    /// What is not yet decided.
    held: String,
    /// Bytes before `held`.
    n_before: usize,
    before: Before,
    /// The call that `held` begins with, as far as it was scanned.
    open: Option<OpenCall>,
}

/// What was decided last, before what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Text,
    Call,
}

/// What is decided of the beginning of what is held.
enum Decision {
    /// Nothing before more is written.
    Wait,
    /// So many bytes are text.
    Text(usize),
    /// So many bytes are these calls.
    Calls(usize, Vec<ToolCall>),
    /// So many bytes are dropped: marks, and white space after calls.
    Nothing(usize),
}

impl CallReader {
    /// A reader of one answer in the format that the model writes; only calls of these tools are calls.
    #[must_use]
    pub fn new(format: CallFormat, tools: &[Tool]) -> Self {
        let tools = KnownTools::new(tools);
        CallReader { format, tools, held: String::new(), n_before: 0, before: Before::Nothing, open: None }
    }

    /// Takes the next piece of the answer and gives what is decided by it.
    pub fn push(&mut self, piece: &str) -> Vec<AnswerPart> {
        self.held.push_str(piece);
        self.decide(Stream::Open)
    }

    /// Gives what is left when nothing more comes.
    #[must_use]
    pub fn finish(mut self) -> Vec<AnswerPart> {
        self.decide(Stream::Ended)
    }

    fn decide(&mut self, stream: Stream) -> Vec<AnswerPart> {
        let mut held = std::mem::take(&mut self.held);
        let mut parts = Vec::new();
        let mut from = 0;
        while from < held.len() {
            let rest = &held[from..];
            let (n_bytes, before) = match self.next(rest, stream) {
                Decision::Wait => break,
                Decision::Text(n_bytes) => {
                    push_text(&mut parts, &rest[..n_bytes], self.n_before);
                    (n_bytes, Before::Text)
                }
                Decision::Calls(n_bytes, calls) => {
                    parts.extend(calls.into_iter().map(AnswerPart::Call));
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

    fn next(&mut self, rest: &str, stream: Stream) -> Decision {
        if self.open.is_some() {
            return self.read_on(rest, stream);
        }
        if self.before == Before::Text {
            return self.after_text(rest, stream);
        }
        let after = rest.trim_start_matches(|c| self.is_gap(c));
        let gap = rest.len() - after.len();
        let CallFormat { close, .. } = self.format;
        if self.before == Before::Call && !close.is_empty() && after.starts_with(close) {
            return Decision::Nothing(gap + close.len());
        }
        if let Some(mark) = self.marks().find(|mark| after.starts_with(mark)) {
            return self.begin(rest, gap, mark, stream);
        }
        match after.bytes().next() {
            None if stream == Stream::Ended && self.before == Before::Call => Decision::Nothing(gap),
            _ if stream == Stream::Open && self.may_be_mark(after) => Decision::Wait,
            Some(b'{' | b'[') => self.begin(rest, gap, "", stream),
            _ => Decision::Text(gap),
        }
    }

    /// White space, and what Llama writes between two calls.
    fn is_gap(&self, c: char) -> bool {
        c.is_ascii_whitespace()
            || (self.before == Before::Call && self.format == CallFormat::BARE && matches!(c, ';' | ','))
    }

    /// What a call begins with.
    fn marks(&self) -> impl Iterator<Item = &'static str> + use<> {
        let other = match self.format {
            CallFormat::BARE => PYTHON_TAG,
            CallFormat::PHI => FUNCTOOLS,
            // Models leave out the mark around it.
            CallFormat::TAGS => tags::FUNCTION,
            _ => "",
        };
        [self.format.open, other].into_iter().filter(|mark| !mark.is_empty())
    }

    /// Whether more could make a mark of this.
    fn may_be_mark(&self, text: &str) -> bool {
        let closing = Some(self.format.close).filter(|_| self.before == Before::Call);
        self.marks().chain(closing).any(|mark| mark.starts_with(text))
    }

    fn after_text(&mut self, rest: &str, stream: Stream) -> Decision {
        let found = self.marks().filter_map(|mark| Some((rest.find(mark)?, mark))).min_by_key(|&(at, _)| at);
        match found {
            Some((0, mark)) => self.begin(rest, 0, mark, stream),
            Some((at, _)) => Decision::Text(at),
            None if stream == Stream::Ended => Decision::Text(rest.len()),
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

    fn begin(&mut self, rest: &str, gap: usize, mark: &'static str, stream: Stream) -> Decision {
        let mark_end = gap + mark.len();
        // What a function's tag begins is its body, too.
        let body = if [tags::FUNCTION, tags::NAMED_FUNCTION].contains(&mark) { gap } else { mark_end };
        self.open = Some(OpenCall::new(mark, mark_end, body));
        self.read_on(rest, stream)
    }

    /// Reads on in a call that is being written.
    fn read_on(&mut self, rest: &str, stream: Stream) -> Decision {
        let Some(open) = &mut self.open else { return Decision::Wait };
        match open.advance(rest, self.format) {
            Advance::NotACall(n_bytes) => Decision::Text(n_bytes),
            Advance::Whole(n_bytes) => {
                let calls = open.calls(&rest[..n_bytes], &self.tools, self.before == Before::Call);
                calls.map_or(Decision::Text(n_bytes), |calls| Decision::Calls(n_bytes, calls))
            }
            Advance::Unfinished if stream == Stream::Ended => Decision::Text(rest.len()),
            Advance::Unfinished => Decision::Wait,
        }
    }
}

/// Whether more is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Open,
    Ended,
}

/// Adds text, to that before it where nothing is between them.
fn push_text(parts: &mut Vec<AnswerPart>, more: &str, place: usize) {
    match parts.last_mut() {
        _ if more.is_empty() => {}
        Some(AnswerPart::Text { text, at }) if *at + text.len() == place => text.push_str(more),
        _ => parts.push(AnswerPart::Text { text: more.to_owned(), at: place }),
    }
}
