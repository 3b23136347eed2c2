//! How likely a prompt's own tokens are: every one of them is read, in chunks of [`MAX_ROWS`] from the beginning.
//!
//! The chunks depend on the prompt alone, and every row of them is read whatever is told of it: equal prompts have equal
//! log-probabilities, to the last bit. Nothing is taken over from other questions, whose rows were not read, and nothing is
//! left to them. No more than [`MAX_ROWS`] rows of logits are in memory, however long the prompt is.

use std::time::{Duration, Instant};

use super::super::super::caller::Caller;
use super::super::super::chunks::chunks;
use super::super::super::scoring::{Logits, MAX_ROWS};
use super::super::super::{
    AdapterSet, Counts, EngineError, Finish, NextLogprob, NextToken, PromptLogprobs, PromptTokenLogprob, Timings, Token,
};
use super::super::Model;
use super::super::adapters::Adapters;
use super::super::generating::likely;
use super::super::sampler::Sampler;
use super::ScoreLane;

/// A prompt that is ready to be read: tokenized, known to fit.
pub struct PromptPlan {
    /// At least one.
    pub tokens: Vec<Token>,
    pub n_likely: u8,
    pub next: Option<NextToken>,
    pub adapters: AdapterSet,
}

impl<'m> ScoreLane<'m> {
    /// The log-probability of every token, and the token that comes next where it is wanted. The lane is empty afterwards.
    ///
    /// # Errors
    /// A decode failed, or the request was cancelled.
    pub fn read_prompt(
        &mut self,
        plan: &PromptPlan,
        adapters: &mut Adapters<'m>,
        caller: &Caller,
    ) -> Result<PromptLogprobs, EngineError> {
        let queued = caller.waited();
        let started = Instant::now();
        self.apply(&plan.adapters, adapters)?;
        self.take_snapshot();
        self.clear();
        let read = self.read_chunks(plan, caller);
        self.clear();
        let (tokens, next) = read?;
        let n_generated = usize::from(next.as_ref().is_some_and(|next| !next.token.bytes.is_empty()));
        Ok(PromptLogprobs {
            counts: Counts { prompt: tokens.len(), generated: n_generated, ..Counts::default() },
            timings: Timings { queued, prompt: started.elapsed(), generation: Duration::ZERO },
            tokens,
            next,
        })
    }

    fn read_chunks(
        &mut self,
        plan: &PromptPlan,
        caller: &Caller,
    ) -> Result<(Vec<PromptTokenLogprob>, Option<NextLogprob>), EngineError> {
        let PromptPlan { tokens, n_likely, next, .. } = plan;
        let model = self.model;
        let spelling = |token: Token| model.tokenizer().spelling(token);
        let mut read = Vec::with_capacity(tokens.len());
        let (id, bytes) = (tokens[0], spelling(tokens[0]));
        read.push(PromptTokenLogprob { id, bytes, logprob: None, likely: Vec::new() });
        let mut chosen = None;
        for chunk in chunks(tokens.len(), 0, MAX_ROWS) {
            caller.check()?;
            self.batch.clear();
            for position in chunk.clone() {
                self.add(tokens[position], position, &[0], Logits::Read)?;
            }
            self.decode()?;
            for (index, position) in (0..).zip(chunk) {
                let logits = self.context.get_logits_ith(index);
                if let Some(&id) = tokens.get(position + 1) {
                    let told = likely(model, logits, id, *n_likely, spelling(id))?;
                    let (logprob, likely) = (Some(told.logprob), told.likely);
                    read.push(PromptTokenLogprob { id, bytes: told.bytes, logprob, likely });
                } else if let Some(next) = next {
                    chosen = Some(choose(model, tokens, logits, next, *n_likely)?);
                }
            }
        }
        Ok((read, chosen))
    }
}

/// Chooses the token after a prompt from the logits of its last one.
fn choose(
    model: &Model,
    prompt: &[Token],
    logits: &[f32],
    next: &NextToken,
    n_likely: u8,
) -> Result<NextLogprob, EngineError> {
    let NextToken { sampling, bias } = next;
    let tokenizer = model.tokenizer();
    let id = Sampler::new(model, sampling, bias.clone(), prompt).pick(logits, None)?;
    let stopped = |by: &String| Stopped { n_kept: 0, by: Some(by.clone()) };
    let ends = sampling.stop.iter().find(|stop| tokenizer.known(stop) == Some(id)).map(stopped);
    let ends = ends.or_else(|| tokenizer.is_end(id).then_some(Stopped { n_kept: 0, by: None }));
    let mut bytes = tokenizer.piece(id);
    let ends = ends.or_else(|| stop_in(&bytes, &sampling.stop));
    if let Some(stopped) = &ends {
        bytes.truncate(stopped.n_kept);
    }
    Ok(NextLogprob {
        token: likely(model, logits, id, n_likely, bytes)?,
        finish: if ends.is_some() { Finish::Stop } else { Finish::Length },
        stopped_by: ends.and_then(|stopped| stopped.by),
    })
}

/// Where an answer of one token ends before its own end.
struct Stopped {
    /// Bytes of the token before that.
    n_kept: usize,
    by: Option<String>,
}

/// The first stop string in a token's text.
fn stop_in(bytes: &[u8], stops: &[String]) -> Option<Stopped> {
    let at = |stop: &String| bytes.windows(stop.len()).position(|window| window == stop.as_bytes());
    let found = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| Some((at(stop)?, stop))).min();
    found.map(|(n_kept, by)| Stopped { n_kept, by: Some(by.clone()) })
}
