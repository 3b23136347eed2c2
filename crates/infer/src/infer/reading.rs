//! Splits an engine's output as it arrives into thinking, tool calls and text, each with its tokens.

use std::collections::VecDeque;

use super::pieces::Piece;
use slm_engine::{Piece as Written, TokenLogprob};
use slm_values::thinking::{self, Splitter};
use slm_values::tools::{self, CallReader};

/// Reads one answer.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Special tokens whose texts have to be seen.
    pub visible: Vec<String>,
    thoughts: Option<Splitter>,
    calls: Option<CallReader>,
    /// Tokens that belong to text that is not decided yet, each with its first byte in all that was written.
    tokens: VecDeque<(usize, TokenLogprob)>,
    n_written: usize,
    /// Where the answer begins in all that was written, and how much of it went to the reader of calls.
    answer_at: Option<usize>,
}

impl Reading {
    #[must_use]
    pub fn new(visible: Vec<String>, thoughts: Option<Splitter>, calls: Option<CallReader>) -> Reading {
        Reading { visible, thoughts, calls, ..Reading::default() }
    }

    /// Takes the next piece of text and gives what is decided by it.
    pub fn push(&mut self, piece: Written, out: &mut VecDeque<Piece>) {
        if self.thoughts.is_none() && self.calls.is_none() {
            out.push_back(Piece::Text(piece));
            return;
        }
        let at = self.n_written;
        self.n_written += piece.text.len();
        let mut token_at = at;
        for token in piece.tokens {
            let n_bytes = token.bytes.len();
            self.tokens.push_back((token_at, token));
            token_at += n_bytes;
        }
        match &mut self.thoughts {
            Some(thoughts) => {
                let parts = thoughts.push(&piece.text);
                self.told_apart(parts, out);
            }
            None => self.answer(&piece.text, at, out),
        }
    }

    /// Gives what is left when nothing more comes.
    pub fn finish(mut self, out: &mut VecDeque<Piece>) {
        if let Some(thoughts) = self.thoughts.take() {
            let parts = thoughts.finish();
            self.told_apart(parts, out);
        }
        if let Some(calls) = self.calls.take() {
            let parts = calls.finish();
            self.called(parts, out);
        }
    }

    fn told_apart(&mut self, parts: Vec<thinking::ThinkingPart>, out: &mut VecDeque<Piece>) {
        for part in parts {
            match part {
                thinking::ThinkingPart::Thinking(text) => out.push_back(Piece::Thinking(text)),
                thinking::ThinkingPart::Text { text, at } => self.answer(&text, at, out),
            }
        }
    }

    /// A part of the answer, with its place in all that was written.
    fn answer(&mut self, text: &str, at: usize, out: &mut VecDeque<Piece>) {
        self.answer_at.get_or_insert(at);
        match &mut self.calls {
            Some(calls) => {
                let parts = calls.push(text);
                self.called(parts, out);
            }
            None => self.text(text.to_owned(), at, out),
        }
    }

    fn called(&mut self, parts: Vec<tools::AnswerPart>, out: &mut VecDeque<Piece>) {
        for part in parts {
            match part {
                tools::AnswerPart::Text { text, at } => self.text(text, self.answer_at.unwrap_or(0) + at, out),
                tools::AnswerPart::Call(call) => out.push_back(Piece::Call(call)),
            }
        }
    }

    /// Text that is decided, with the tokens that begin in it; those before it wrote thoughts and calls.
    fn text(&mut self, text: String, at: usize, out: &mut VecDeque<Piece>) {
        let end = at + text.len();
        let n_decided = self.tokens.partition_point(|(token_at, _)| *token_at < end);
        let decided = self.tokens.drain(..n_decided);
        let tokens = decided.filter(|(token_at, _)| *token_at >= at).map(|(_, token)| token).collect();
        out.push_back(Piece::Text(Written { text, tokens }));
    }
}
