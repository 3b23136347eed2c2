//! One generation as it grows: what its read rows come to. It evaluates nothing and knows no other request.

use std::time::Instant;

use super::super::constraint::Constraint;
use super::super::run::Caller;
use super::super::scheduler::Outcome;
use super::super::scoring::logprobs;
use super::super::speculation::{Costs, Drafter};
use super::super::text::{Pushed, TextStream};
use super::super::{
    AdapterSet, Counts, Detail, Drafts, EngineError, Event, Finish, GeneratedToken, Generation, Timings, Token,
};
use super::sampler::Sampler;
use super::{Model, PrefixReuse};
use crate::sampling::Sampling;

/// A generation that is ready to run: tokenized, its grammar compiled, known to fit.
pub struct Prepared {
    pub tokens: Vec<Token>,
    pub sampling: Sampling,
    pub adapters: AdapterSet,
    pub constraint: Option<Constraint>,
    pub detail: Detail,
    pub drafts: Drafts,
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
    limit: usize,
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
    pub fn new(model: &Model, prepared: Prepared, caller: Caller) -> Self {
        let Prepared { tokens, sampling, constraint, detail, drafts, limit, .. } = prepared;
        // A recurrent state cannot be rolled back behind a wrong draft.
        let may_draft = drafts == Drafts::Auto && model.prefix_reuse != PrefixReuse::Never;
        let n_prompt = tokens.len();
        Generating {
            sampler: Sampler::new(model, &sampling, &tokens),
            constraint,
            drafter: may_draft.then(Drafter::new),
            text: TextStream::new(sampling.stop),
            tokens,
            limit,
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
    /// The grammar or the model fails, or nobody listens any more.
    pub fn read<'l>(
        &mut self,
        model: &Model,
        rows: impl Iterator<Item = &'l [f32]>,
        draft: &[Token],
        costs: &Costs,
        n_rows: usize,
    ) -> Result<Read, EngineError> {
        self.begin_answer();
        let mut n_accepted = 0;
        let mut sampled = None;
        for logits in rows {
            let token = self.sampler.pick(logits, self.constraint.as_mut())?;
            if model.tokenizer().is_end(token) {
                return Ok(self.finished(n_accepted, Finish::Stop, draft));
            }
            let logprob = (self.detail == Detail::Tokens).then(|| logprobs(logits, std::iter::once(token))[0]);
            if let Some(finish) = self.push(model, token, logprob)? {
                return Ok(self.finished(n_accepted, finish, draft));
            }
            if draft.get(n_accepted) != Some(&token) {
                sampled = Some(token);
                break;
            }
            n_accepted += 1;
        }
        self.learn(draft, n_accepted);
        let mut next: Vec<Token> = sampled.into_iter().collect();
        for token in self.forced()? {
            self.take(token)?;
            next.push(token);
            if let Some(finish) = self.push(model, token, None)? {
                return Ok(Read { outcome: Outcome::Finished { n_accepted }, finish: Some(finish) });
            }
        }
        let draft = self.draft(costs, n_rows)?;
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
        self.counts.accepted += n_accepted;
        if let Some(drafter) = self.drafter.as_mut().filter(|_| !draft.is_empty()) {
            drafter.learn(draft.len(), n_accepted);
        }
    }

    /// Adds a token that the grammar has taken; says how the generation ends with it, if it does.
    fn push(&mut self, model: &Model, token: Token, logprob: Option<f64>) -> Result<Option<Finish>, EngineError> {
        self.tokens.push(token);
        self.sampler.accept(token);
        self.counts.generated += 1;
        let piece = model.tokenizer().piece(token);
        if self.detail == Detail::Tokens {
            self.details.push(GeneratedToken { id: token, n_bytes: piece.len(), logprob });
        }
        match self.text.push(&piece) {
            Pushed::Text(text) => self.caller.text(text)?,
            Pushed::Stopped(text) => {
                self.caller.text(text)?;
                return Ok(Some(Finish::Stop));
            }
        }
        if self.constraint.as_ref().is_some_and(Constraint::is_finished) {
            return Ok(Some(Finish::Stop));
        }
        Ok((self.tokens.len() >= self.limit).then_some(Finish::Length))
    }

    /// What the grammar says must follow.
    fn forced(&mut self) -> Result<Vec<Token>, EngineError> {
        let Some(constraint) = &mut self.constraint else { return Ok(Vec::new()) };
        let mut forced = constraint.forced()?;
        forced.truncate(self.limit - self.tokens.len());
        self.counts.forced += forced.len();
        Ok(forced)
    }

    fn take(&mut self, token: Token) -> Result<(), EngineError> {
        match self.constraint.as_mut().map_or(Ok(true), |constraint| constraint.take(token))? {
            true => Ok(()),
            false => Err(super::failed("the grammar refused a token that it forces")),
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
        if self.caller.text(rest).is_err() {
            return;
        }
        self.timings.generation = self.answering.map_or_else(Default::default, |at| at.elapsed());
        let generation = Generation {
            finish,
            counts: self.counts,
            timings: self.timings,
            tokens: std::mem::take(&mut self.details),
        };
        self.caller.send(Event::Generated(generation));
    }

    /// Tells the caller that it failed.
    pub fn fail(self, error: EngineError) {
        self.caller.send(Event::Failed(error));
    }
}
