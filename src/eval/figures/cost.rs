//! What a remote's answers cost, by the tokens that it counted and the prices that its file gives.

use serde::{Deserialize, Serialize};

use crate::eval::record::{Kind, Records};

/// Of a remote with a price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The mean of the counted rows, a thousand times, in the price's currency.
    pub per_thousand_rows: f64,
    /// The answered rows whose tokens the remote counted.
    pub counted_rows: u64,
    /// The day on which the price was looked up, as 2026-01-31.
    pub price_date: String,
}

/// The cost of a subject; `None` where it has no price, or no tokens were counted.
#[must_use]
pub fn cost(records: &Records, subject: usize) -> Option<Cost> {
    let Kind::Remote { price: Some(price), .. } = &records.subjects[subject].kind else { return None };
    let answers = records.rows.iter().filter_map(|row| row.answers[subject].as_ref());
    // A prompt has tokens: none means that they were not counted.
    let counted = answers.filter_map(|answer| answer.cost).filter(|cost| cost.n_prompt > 0);
    let costs: Vec<f64> = counted.map(|cost| price.of(cost.n_prompt, cost.n_written)).collect();
    (!costs.is_empty()).then(|| Cost {
        per_thousand_rows: costs.iter().sum::<f64>() / costs.len() as f64 * 1000.0,
        counted_rows: costs.len() as u64,
        price_date: price.date().to_owned(),
    })
}
