//! The cost of one answer, reported to the metrics and in the request's log line.

use std::time::{Instant, SystemTime};

use super::decision_log::{DecisionLine, DecisionLog};
use super::logging::{Account, Tokens};
use super::metrics::Metrics;
use slm_infer::infer::{End, InferError, Piece};
use slm_remote::Unanswered;

/// Follows one answer to its end. An answer that is cancelled is not counted: nobody has told what it took.
#[derive(Debug)]
pub struct Ledger {
    metrics: Metrics,
    account: Account,
    model: String,
    /// When its first token came.
    first: Option<Instant>,
    writing: Option<Writing>,
}

/// Where its closed answers are written down.
#[derive(Debug)]
struct Writing {
    log: DecisionLog,
    /// What all of them have.
    head: DecisionLine,
    timestamp: fn(SystemTime) -> String,
}

impl Ledger {
    /// Of an answer to this task's request, by a model of this full name.
    #[must_use]
    pub fn new(metrics: &Metrics, model: impl ToString) -> Ledger {
        let (metrics, account, model) = (metrics.clone(), Account::current(), model.to_string());
        Ledger { metrics, account, model, first: None, writing: None }
    }

    /// The same, with closed answers written down; `head` is what all of them have.
    #[must_use]
    pub fn writing(self, log: DecisionLog, head: DecisionLine, timestamp: fn(SystemTime) -> String) -> Ledger {
        Ledger { writing: Some(Writing { log, head, timestamp }), ..self }
    }

    /// Another piece has come.
    pub fn piece(&mut self, piece: &Piece) {
        match piece {
            Piece::End(end) => self.end(end),
            Piece::Text(_) | Piece::Thinking(_) | Piece::Call(_) if self.first.is_none() => {
                self.first = Some(Instant::now());
                self.metrics.first_token(&self.model, self.account.began().elapsed());
            }
            _ => {}
        }
    }

    fn end(&self, end: &End) {
        let counts = &end.counts;
        self.prefilled(counts.prompt, counts.reused);
        if end.answer().is_some() {
            self.metrics.scored(&self.model, 1);
            end.closed_fields().iter().for_each(|field| self.metrics.decided(&self.model, field));
        }
        if DecisionLine::is_of(end) {
            self.write(end);
        }
        if counts.generated > 0 {
            let took = self.first.map(|first| first.elapsed()).unwrap_or_default();
            self.metrics.decoded(&self.model, counts.generated, took);
        }
        self.paid(end);
        self.account.add(Tokens { prompt: counts.prompt, reused: counts.reused, decoded: counts.generated });
    }

    /// Typed questions were answered.
    pub fn answered<'e>(&self, answers: impl ExactSizeIterator<Item = &'e End>) {
        self.metrics.scored(&self.model, answers.len());
        for end in answers {
            self.write(end);
            self.paid(end);
            let counts = end.counts;
            self.prefilled(counts.prompt, counts.reused);
            self.account.add(Tokens { prompt: counts.prompt, reused: counts.reused, decoded: 0 });
        }
    }

    /// An answer did not come: a remote may have billed it all the same.
    pub fn failed(&self, error: &InferError) {
        if let InferError::Remote(Unanswered { cost: Some(cost), .. }) = error {
            self.metrics.paid(&self.model, *cost);
        }
    }

    /// Counts what an answer cost on another server. A cascade tells of each of its tiers itself.
    fn paid(&self, end: &End) {
        if let Some(cost) = end.cost.filter(|_| end.path.is_empty()) {
            self.metrics.paid(&self.model, cost);
        }
    }

    /// Writes a closed answer down.
    fn write(&self, end: &End) {
        if let Some(Writing { log, head, timestamp }) = &self.writing {
            log.record(&head.clone().answered(end, timestamp(SystemTime::now())));
        }
    }

    /// Texts of so many tokens were embedded.
    pub fn embedded(&self, n_tokens: usize) {
        self.prefilled(n_tokens, 0);
        self.account.add(Tokens { prompt: n_tokens, ..Tokens::default() });
    }

    fn prefilled(&self, n_prompt: usize, n_reused: usize) {
        self.metrics.prefilled(&self.model, n_prompt.saturating_sub(n_reused), n_reused);
    }
}
