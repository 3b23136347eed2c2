//! Completions as server-sent events.

use super::CompletionHead;
use super::echo::Echo;
use super::logprobs::{CompletionLogprobs, TextOffset};
use super::reply::{Completion, CompletionChoice};
use crate::api::dialect::Dialect;
use crate::api::extra::Extra;
use crate::api::openai::chat::request::WithUsage;
use crate::api::openai::usage::Usage;
use crate::api::problem::Problem;
use crate::api::stream::{Encoder, event};
use slm_infer::infer::Piece;

/// Writes a part for each piece.
#[derive(Debug)]
pub struct Chunks {
    head: CompletionHead,
    /// Where each answer continues.
    places: Vec<TextOffset>,
    with_usage: WithUsage,
    /// For each prompt.
    usages: Vec<Usage>,
}

impl Chunks {
    pub fn new(head: CompletionHead, n_choices: usize, with_usage: WithUsage) -> Chunks {
        let usages = vec![Usage::default(); n_choices.div_ceil(head.n_each)];
        let places = (0..n_choices).map(|index| head.echo(index).end).collect();
        Chunks { head, places, with_usage, usages }
    }

    fn choice(&self, choice: CompletionChoice, out: &mut String) {
        event(&Completion::part(&self.head, vec![choice]), out);
    }
}

impl Encoder<(usize, Piece)> for Chunks {
    fn start(&mut self, out: &mut String) {
        for index in 0..self.places.len() {
            let Echo { text, logprobs, .. } = self.head.echo(index);
            if !text.is_empty() || logprobs.is_some() {
                self.choice(CompletionChoice { logprobs, ..CompletionChoice::part(index, text) }, out);
            }
        }
    }

    fn piece(&mut self, (index, piece): (usize, Piece), out: &mut String) {
        match piece {
            Piece::Text(piece) => {
                let logprobs = CompletionLogprobs::written(&piece.tokens, self.head.n_top, &mut self.places[index]);
                let logprobs = logprobs.filter(|_| !piece.tokens.is_empty());
                self.choice(CompletionChoice { logprobs, ..CompletionChoice::part(index, piece.text) }, out);
            }
            Piece::End(end) => {
                self.usages[index / self.head.n_each].add(&end);
                let (finish_reason, slm) = (Some(end.finish.into()), Some(Extra::from(&*end)));
                let last = CompletionChoice { finish_reason, slm, ..CompletionChoice::part(index, String::new()) };
                self.choice(last, out);
            }
            // A prompt that its writer made is answered with text alone.
            Piece::Thinking(_) | Piece::Call(_) => {}
        }
    }

    fn finish(&mut self, out: &mut String) {
        if self.with_usage == WithUsage::Yes {
            let usage = Some(self.usages.iter().copied().sum());
            event(&Completion { usage, ..Completion::part(&self.head, Vec::new()) }, out);
        }
        *out += "data: [DONE]\n\n";
    }

    fn problem(&mut self, problem: &Problem, out: &mut String) {
        event(&Dialect::Completions.body(problem), out);
    }
}
