//! One generation as it grows: what its read rows come to. It evaluates nothing and knows no other request.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::caller::Caller;
use super::super::constraint::Constraint;
use super::super::scheduler::Outcome;
use super::super::scoring::{likeliest, logprobs};
use super::super::speculation::{Costs, Drafter};
use super::super::text::{Pushed, TextStream};
use super::super::{
    AdapterSet, Counts, Detail, Drafts, EngineError, Event, Finish, GeneratedToken, Generation, LikelyToken, Timings,
    Token, TokenLogprob,
};
use super::sampler::Sampler;
use super::{Model, PrefixReuse, failed};
use slm_values::sampling::Sampling;

/// A generation that is ready to run: tokenized, its grammar compiled, known to fit.
pub struct GenerationPlan {
    pub tokens: Vec<Token>,
    pub sampling: Sampling,
    pub adapters: AdapterSet,
    pub constraint: Option<Constraint>,
    pub detail: Detail,
    pub drafts: Drafts,
    pub bias: Vec<(Token, f32)>,
    /// Special tokens that are shown.
    pub visible: Vec<Token>,
    /// Special tokens that are stop strings: they end the answer, whether they would be shown or not.
    pub ends: Vec<Token>,
    /// Tokens in all, prompt included, at most.
    pub limit: usize,
}

/// A generation in the lane.
pub struct Generating {
    caller: Caller,
    sampler: Sampler,
    constraint: Option<Constraint>,
    /// `None` where nothing is drafted.
    drafter: Option<Drafter>,
    text: TextStream,
    /// Prompt and answer.
    tokens: Vec<Token>,
    visible: Vec<Token>,
    ends: Vec<Token>,
    /// The stop string that has come.
    stopped_by: Option<String>,
    limit: usize,
    /// Tokens that the grammar has written already and whose probabilities are still to be read: drafts that are right.
    due: VecDeque<Token>,
    detail: Detail,
    details: Vec<GeneratedToken>,
    counts: Counts,
    timings: Timings,
    started: Option<Instant>,
    answering: Option<Instant>,
}

/// What reading rows came to, and how the generation ended if it did.
pub struct Read {
    pub outcome: Outcome,
    pub finish: Option<Finish>,
}

impl Generating {
    pub fn new(model: &Model, prepared: GenerationPlan, caller: Caller) -> Self {
        let GenerationPlan { tokens, sampling, constraint, detail, drafts, bias, visible, ends, limit, .. } = prepared;
        // A recurrent state cannot be rolled back after a wrong draft.
        let may_draft = drafts == Drafts::Auto && model.prefix_reuse != PrefixReuse::Never;
        let n_prompt = tokens.len();
        Generating {
            sampler: Sampler::new(model, &sampling, bias, &tokens),
            constraint,
            drafter: may_draft.then(Drafter::new),
            text: TextStream::new(sampling.stop),
            tokens,
            visible,
            ends,
            stopped_by: None,
            limit,
            due: VecDeque::new(),
            detail,
            details: Vec::new(),
            counts: Counts { prompt: n_prompt, ..Counts::default() },
            timings: Timings::default(),
            started: None,
            answering: None,
            caller,
        }
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Notes that the lane has begun with it, `n_reused` of its tokens taken over.
    pub fn start(&mut self, n_reused: usize) {
        if self.started.is_none() {
            self.started = Some(Instant::now());
            self.timings.queued = self.caller.waited();
            self.counts.reused = n_reused;
        }
    }

    /// Takes the tokens that the read rows say: the row of the last known token, then those of the draft.
    ///
    /// # Errors
    /// The grammar or the model fails, or the request was cancelled.
    pub fn read<'l>(
        &mut self,
        model: &Model,
        rows: impl Iterator<Item = &'l [f32]>,
        draft: &[Token],
        costs: &Costs,
        n_rows: usize,
    ) -> Result<Read, EngineError> {
        self.begin_answer();
        let guessed: &[Token] = if self.due.is_empty() { draft } else { &[] };
        let mut n_accepted = 0;
        let mut sampled = None;
        for logits in rows {
            let token = match self.due.pop_front() {
                Some(token) => token,
                None => self.sampler.pick(logits, self.constraint.as_mut())?,
            };
            if model.tokenizer().is_end(token) || self.ends.contains(&token) {
                let is_stop = self.ends.contains(&token);
                self.stopped_by =
                    is_stop.then(|| String::from_utf8_lossy(&model.tokenizer().spelling(token)).into_owned());
                return Ok(self.finished(n_accepted, Finish::Stop, guessed));
            }
            if let Some(finish) = self.push(model, token, Some(logits))? {
                return Ok(self.finished(n_accepted, finish, guessed));
            }
            if draft.get(n_accepted) != Some(&token) {
                sampled = Some(token);
                break;
            }
            n_accepted += 1;
        }
        self.learn(guessed, n_accepted);
        let mut next: Vec<Token> = sampled.into_iter().collect();
        if matches!(self.detail, Detail::Likely { .. }) {
            self.owe_forced()?;
        } else {
            for token in self.forced()? {
                self.take(token)?;
                next.push(token);
                if let Some(finish) = self.push(model, token, None)? {
                    return Ok(Read { outcome: Outcome::Finished { n_accepted }, finish: Some(finish) });
                }
            }
        }
        let draft = if self.due.is_empty() { self.draft(costs, n_rows)? } else { self.due.iter().copied().collect() };
        Ok(Read { outcome: Outcome::Continue { n_accepted, next, draft }, finish: None })
    }

    fn begin_answer(&mut self) {
        if self.answering.is_none() {
            let now = Instant::now();
            self.timings.prompt = self.started.map_or_else(Default::default, |started| now - started);
            self.answering = Some(now);
        }
    }

    fn finished(&mut self, n_accepted: usize, finish: Finish, draft: &[Token]) -> Read {
        self.learn(draft, n_accepted);
        Read { outcome: Outcome::Finished { n_accepted }, finish: Some(finish) }
    }

    fn learn(&mut self, draft: &[Token], n_accepted: usize) {
        self.counts.drafted += draft.len();
        self.counts.accepted += n_accepted.min(draft.len());
        if let Some(drafter) = self.drafter.as_mut().filter(|_| !draft.is_empty()) {
            drafter.learn(draft.len(), n_accepted);
        }
    }

    /// Adds a token that the grammar has taken; says how the generation ends with it, if it does.
    ///
    /// `logits` are those of its place; `None` where the grammar wrote it and the model was not asked.
    fn push(&mut self, model: &Model, token: Token, logits: Option<&[f32]>) -> Result<Option<Finish>, EngineError> {
        self.tokens.push(token);
        self.sampler.accept(token);
        self.counts.generated += 1;
        let piece = self.written(model, token);
        let pushed = match (self.detail, logits) {
            (Detail::Likely { n }, Some(logits)) => self.text.push_token(likely(model, logits, token, n, piece)?),
            (Detail::Tokens, _) => {
                let logprob = logits.map(|logits| logprobs(logits, std::iter::once(token))[0]);
                self.details.push(GeneratedToken { id: token, n_bytes: piece.len(), logprob });
                self.text.push(&piece)
            }
            _ => self.text.push(&piece),
        };
        match pushed {
            Pushed::Text(piece) => self.caller.piece(piece)?,
            Pushed::Stopped { before, n_cut, by } => {
                self.forget(model, n_cut);
                self.stopped_by = Some(by);
                self.caller.piece(before)?;
                return Ok(Some(Finish::Stop));
            }
        }
        if self.due.is_empty() && self.constraint.as_ref().is_some_and(Constraint::is_finished) {
            return Ok(Some(Finish::Stop));
        }
        Ok((self.tokens.len() >= self.limit).then_some(Finish::Length))
    }

    /// Drops the tokens that wrote the last `n` bytes, in part or whole.
    fn forget(&mut self, model: &Model, n: usize) {
        let mut left = n;
        while left > 0 && self.tokens.len() > self.counts.prompt {
            let n_bytes = self.tokens.pop().map_or(0, |token| self.written(model, token).len());
            left = left.saturating_sub(n_bytes);
        }
    }

    /// What a token adds to the text.
    fn written(&self, model: &Model, token: Token) -> Vec<u8> {
        let is_shown = self.visible.contains(&token);
        if is_shown { model.tokenizer().spelling(token) } else { model.tokenizer().piece(token) }
    }

    /// What the grammar says must follow.
    fn forced(&mut self) -> Result<Vec<Token>, EngineError> {
        let Some(constraint) = &mut self.constraint else { return Ok(Vec::new()) };
        let mut forced = constraint.forced()?;
        forced.truncate(self.limit - self.tokens.len());
        self.counts.forced += forced.len();
        Ok(forced)
    }

    /// Takes what the grammar says must follow and leaves it due, so that each token's row is read before it is told.
    fn owe_forced(&mut self) -> Result<(), EngineError> {
        if self.due.is_empty() {
            for token in self.forced()? {
                self.take(token)?;
                self.due.push_back(token);
            }
        }
        Ok(())
    }

    fn take(&mut self, token: Token) -> Result<(), EngineError> {
        match self.constraint.as_mut().map_or(Ok(true), |constraint| constraint.take(token))? {
            true => Ok(()),
            false => Err(failed("the grammar refused a token that it forces")),
        }
    }

    fn draft(&mut self, costs: &Costs, n_rows: usize) -> Result<Vec<Token>, EngineError> {
        let Some(drafter) = &mut self.drafter else { return Ok(Vec::new()) };
        let mut draft = drafter.draft(&self.tokens, costs, n_rows);
        if let Some(constraint) = self.constraint.as_mut().filter(|_| !draft.is_empty()) {
            let n_allowed = constraint.n_allowed(&draft)?;
            draft.truncate(n_allowed);
        }
        Ok(draft)
    }

    /// Tells the caller how it ended.
    pub fn end(mut self, finish: Finish) {
        let rest = std::mem::replace(&mut self.text, TextStream::new(Vec::new())).finish();
        if self.caller.piece(rest).is_err() {
            return;
        }
        self.timings.generation = self.answering.map_or_else(Default::default, |at| at.elapsed());
        let generation = Generation {
            finish,
            stopped_by: self.stopped_by.take(),
            counts: self.counts,
            timings: self.timings,
            tokens: std::mem::take(&mut self.details),
            ids: self.tokens.split_off(self.counts.prompt),
        };
        self.caller.send(Event::Generated(generation));
    }

    /// Tells the caller that it failed.
    pub fn fail(self, error: EngineError) {
        self.caller.send(Event::Failed(error));
    }
}

/// A token with its probability and the `n` most likely ones of its place; `bytes` is what it wrote.
///
/// # Errors
/// The logits are not numbers.
pub fn likely(model: &Model, logits: &[f32], token: Token, n: u8, bytes: Vec<u8>) -> Result<TokenLogprob, EngineError> {
    let top = likeliest(logits, usize::from(n));
    let mut known = logprobs(logits, std::iter::once(token).chain(top.iter().copied())).into_iter();
    let logprob = known.next().filter(|logprob| !logprob.is_nan());
    let logprob = logprob.ok_or_else(|| failed("the model's output is not a number; its file may be damaged"))?;
    let likely = top.into_iter().zip(known);
    let likely =
        likely.map(|(id, logprob)| LikelyToken { id, bytes: model.tokenizer().spelling(id), logprob }).collect();
    Ok(TokenLogprob { id: token, bytes, logprob, likely })
}
