//! The cost of one answer, reported to the metrics and in the request's log line.

use std::time::Instant;

use super::logging::{Account, Tokens};
use super::metrics::Metrics;
use slm_engine::Counts;
use slm_infer::infer::{End, Piece};

/// Follows one answer to its end. An answer that is cancelled is not counted: nobody has told what it took.
#[derive(Debug)]
pub struct Ledger {
    metrics: Metrics,
    account: Account,
    model: String,
    /// When its first token came.
    first: Option<Instant>,
}

impl Ledger {
    /// Of an answer to this task's request, by a model of this full name.
    #[must_use]
    pub fn new(metrics: &Metrics, model: impl ToString) -> Ledger {
        Ledger { metrics: metrics.clone(), account: Account::current(), model: model.to_string(), first: None }
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
        }
        if counts.generated > 0 {
            let took = self.first.map(|first| first.elapsed()).unwrap_or_default();
            self.metrics.decoded(&self.model, counts.generated, took);
        }
        // A cascade tells of each of its tiers.
        if let Some(cost) = end.cost.filter(|_| end.path.is_empty()) {
            self.metrics.paid(&self.model, cost);
        }
        self.account.add(Tokens { prompt: counts.prompt, reused: counts.reused, decoded: counts.generated });
    }

    /// Typed questions were answered.
    pub fn answered(&self, answers: impl ExactSizeIterator<Item = Counts>) {
        self.metrics.scored(&self.model, answers.len());
        for counts in answers {
            self.prefilled(counts.prompt, counts.reused);
            self.account.add(Tokens { prompt: counts.prompt, reused: counts.reused, decoded: 0 });
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
