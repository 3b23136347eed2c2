//! The card of a tuned model: what its adapter was trained on and how, and what it gained on rows that the training never saw.

use serde::{Deserialize, Serialize};

use super::event::Best;
use super::job::{JobFile, RowCounts};
use super::rows::FieldCounts;
use super::settings::Settings;

/// The card, as a layer of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuningCard {
    pub format: u32,
    pub tool: String,
    pub date: String,
    /// The model that was tuned.
    pub model: String,
    pub weights_digest: String,
    pub data_digest: String,
    pub rows: RowCounts,
    pub labels: Vec<FieldCounts>,
    pub settings: Settings,
    /// `None` where the adapter was trained elsewhere.
    pub training: Option<Training>,
    pub adapter_bytes: u64,
    /// On the held-out rows; none where there were none.
    pub figures: Vec<Accuracy>,
    /// The tuned model against each other one, on the same rows.
    pub comparisons: Vec<Gain>,
    pub is_better: bool,
}

/// How the training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    pub device: String,
    pub torch: String,
    pub seconds: f64,
    pub epochs: u64,
    pub best: Best,
}

/// A share of right rows, with its 95 % interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    pub subject: String,
    pub accuracy: f64,
    pub low: f64,
    pub high: f64,
}

/// How much more rows are right, with its 95 % interval, and the paired test's p-value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    pub over: String,
    pub difference: f64,
    pub low: f64,
    pub high: f64,
    pub p: f64,
}

impl TuningCard {
    /// What is known before anything was trained or measured.
    #[must_use]
    pub fn of(job: &JobFile, date: String) -> TuningCard {
        TuningCard {
            format: 1,
            tool: job.tool.clone(),
            date,
            model: job.model.clone(),
            weights_digest: job.weights_digest.clone(),
            data_digest: job.data_digest.clone(),
            rows: job.rows,
            labels: job.labels.clone(),
            settings: job.settings.clone(),
            training: None,
            adapter_bytes: 0,
            figures: Vec::new(),
            comparisons: Vec::new(),
            is_better: false,
        }
    }

    /// For people.
    #[must_use]
    pub fn page(&self) -> String {
        let Settings { rank, alpha, learning_rate, .. } = self.settings;
        let RowCounts { train, valid, held_out, left_out } = self.rows;
        let mut lines = vec![
            format!("made on {} with slm {}, of {}", self.date, self.tool, self.model),
            format!("rows: {train} taught, {valid} said when to stop, {held_out} held out, {left_out} left out"),
            format!("data {}", self.data_digest),
            format!("rank {rank}, alpha {alpha}, learning rate {learning_rate}"),
        ];
        if let Some(Training { device, seconds, epochs, best, .. }) = &self.training {
            let Best { epoch, accuracy, .. } = best;
            lines.push(format!(
                "trained for {seconds:.0} s and {epochs} epochs on {device}; epoch {epoch} is kept ({accuracy:.3} of the validation right)"
            ));
        }
        for Accuracy { subject, accuracy, low, high } in &self.figures {
            lines.push(format!("{subject}: {accuracy:.3} right (95 % {low:.3} to {high:.3})"));
        }
        for Gain { over, difference, low, high, p } in &self.comparisons {
            lines.push(format!("against {over}: {difference:+.3} (95 % {low:+.3} to {high:+.3}, p = {p:.3})"));
        }
        if !self.figures.is_empty() && !self.is_better {
            lines
                .push("it is not better than the model without it, and was kept because that was asked for".to_owned());
        }
        lines.join("\n")
    }

    /// One line of it.
    #[must_use]
    pub fn summary(&self) -> String {
        let on = format!("on {} rows of {}", self.rows.train, self.model);
        match self.comparisons.first() {
            Some(gain) => format!("{on}, {:+.3} against {}", gain.difference, gain.over),
            None => on,
        }
    }
}
