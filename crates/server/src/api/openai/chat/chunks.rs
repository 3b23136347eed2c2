//! A chat completion as server-sent events.

use super::ChatHead;
use super::reply::{ChatCompletionChunk, ChunkChoice, Delta, FinishReason};
use super::request::WithUsage;
use super::tools::CallChunk;
use crate::api::dialect::Dialect;
use crate::api::extra::Extra;
use crate::api::openai::logprobs::ChatLogprobs;
use crate::api::openai::usage::Usage;
use crate::api::problem::Problem;
use crate::api::stream::{Encoder, event};
use slm_infer::infer::Piece;

/// Writes a part for each piece.
#[derive(Debug)]
pub struct Chunks {
    head: ChatHead,
    /// Calls so far, for each answer.
    n_calls: Vec<usize>,
    with_usage: WithUsage,
    usage: Usage,
}

impl Chunks {
    pub fn new(head: ChatHead, n_choices: usize, with_usage: WithUsage) -> Chunks {
        Chunks { head, n_calls: vec![0; n_choices], with_usage, usage: Usage::default() }
    }

    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatCompletionChunk {
        let ChatHead { id, created, model, system_fingerprint, .. } = self.head.clone();
        let object = "chat.completion.chunk";
        ChatCompletionChunk { id, object, created, model, system_fingerprint, choices, usage: None }
    }

    fn choice(&self, choice: ChunkChoice, out: &mut String) {
        event(&self.chunk(vec![choice]), out);
    }
}

impl Encoder<(usize, Piece)> for Chunks {
    fn start(&mut self, out: &mut String) {
        for index in 0..self.n_calls.len() {
            let delta = Delta { role: Some("assistant"), content: Some(String::new()), ..Delta::default() };
            self.choice(ChunkChoice { index, delta, logprobs: None, finish_reason: None, slm: None }, out);
        }
    }

    fn piece(&mut self, (index, piece): (usize, Piece), out: &mut String) {
        let choice = ChunkChoice { index, delta: Delta::default(), logprobs: None, finish_reason: None, slm: None };
        let delta = match piece {
            Piece::Text(piece) => {
                let logprobs =
                    ChatLogprobs::written(&piece.tokens, self.head.n_top).filter(|_| !piece.tokens.is_empty());
                let delta = Delta { content: Some(piece.text), ..Delta::default() };
                return self.choice(ChunkChoice { delta, logprobs, ..choice }, out);
            }
            Piece::Thinking(text) => Delta { reasoning_content: Some(text), ..Delta::default() },
            Piece::Call(_) if self.n_calls[index] == self.head.calls.most() => return,
            Piece::Call(call) => {
                let call = CallChunk::new(self.n_calls[index], call);
                self.n_calls[index] += 1;
                Delta { tool_calls: vec![call], ..Delta::default() }
            }
            Piece::End(end) => {
                self.usage.add(&end);
                let finish_reason = Some(FinishReason::new(end.finish, self.n_calls[index]));
                let slm = Some(Extra::from(&*end));
                return self.choice(ChunkChoice { finish_reason, slm, ..choice }, out);
            }
        };
        self.choice(ChunkChoice { delta, ..choice }, out);
    }

    fn finish(&mut self, out: &mut String) {
        if self.with_usage == WithUsage::Yes {
            event(&ChatCompletionChunk { usage: Some(self.usage), ..self.chunk(Vec::new()) }, out);
        }
        *out += "data: [DONE]\n\n";
    }

    fn problem(&mut self, problem: &Problem, out: &mut String) {
        event(&Dialect::Chat.body(problem), out);
    }
}
