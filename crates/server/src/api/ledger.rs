//! The cost of one answer, reported to the metrics and in the request's log line.

use std::time::{Instant, SystemTime};

use super::decision_log::{DecisionLine, DecisionLog, LineStep};
use super::extra::ExtraField;
use super::logging::{Account, Tokens};
use super::metrics::Metrics;
use slm_infer::infer::{End, Piece};

/// Why a field of a written decision is withheld where a cascade leaves it to a person.
const REVIEW: &str = "no tier's answer was taken";

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
        // A tier that is a remote may tell no probabilities; its answer is a decision all the same.
        if end.answer().is_some() || !end.path.is_empty() {
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

    /// Counts what an answer cost on another server. A cascade tells of each of its tiers itself.
    fn paid(&self, end: &End) {
        if let Some(cost) = end.cost.filter(|_| end.path.is_empty()) {
            self.metrics.paid(&self.model, cost);
        }
    }

    /// Writes a closed answer down.
    fn write(&self, end: &End) {
        let Some(Writing { log, head, timestamp }) = &self.writing else { return };
        let mut fields: Vec<ExtraField> = end.closed_fields().iter().map(ExtraField::from).collect();
        if end.review.is_some() {
            // The path says why, without words that may repeat the text.
            fields.iter_mut().for_each(|field| field.abstained = Some(REVIEW.to_owned()));
        }
        log.record(&DecisionLine {
            time: timestamp(SystemTime::now()),
            prompt: end.prompt_digest.clone(),
            evaluation_id: end.evaluation_id.clone(),
            fit: fields.iter().find_map(|field| field.fit.as_ref()).map(|fit| fit.digest.clone()),
            fields,
            path: end.path.iter().map(LineStep::from).collect(),
            review: end.review.is_some(),
            tokens: end.counts.into(),
            ms: end.elapsed.as_secs_f64() * 1e3,
            ..head.clone()
        });
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
