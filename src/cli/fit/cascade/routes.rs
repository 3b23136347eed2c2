//! What the tiers said of each row, as far as it decides where the row ends and whether that is right.

use serde_json::Value;

use super::tiers::{Asked, TierAnswers, labels};
use crate::cascade::{Answered, FieldView, Routed, TierRow};
use crate::contract::Contract;
use crate::eval::answer::{Given, Said, Scores};
use crate::eval::judge;
use crate::eval::record::{Records, RowAnswer};
use slm_fit::faults;

/// The seed of the halves: the same rows give the same thresholds.
const SEED: u64 = 0;

/// Rows with what tells them apart in halves.
pub struct Routes {
    pub rows: Routed,
    /// By row, its text and the number of its label among all that occur.
    keys: Vec<(String, usize)>,
}

/// The readable rows with what the tiers said of them.
#[must_use]
pub fn routed(asked: &Asked<'_>, answers: &[TierAnswers]) -> Routes {
    let records = asked.prepared.records();
    let (mut rows, mut keys, mut known) = (Vec::new(), Vec::new(), Vec::<Vec<Value>>::new());
    for (at, record) in records.rows.iter().enumerate() {
        let Ok(expected) = &record.expected else { continue };
        let label = known.iter().position(|known| known == expected).unwrap_or_else(|| {
            known.push(expected.clone());
            known.len() - 1
        });
        let tier = |(nth, tier): (usize, &TierAnswers)| {
            let row = tier.rows[at].as_ref().map(|given| row(asked, &records, (at, nth), given)).unwrap_or_default();
            TierRow { cost: tier.costs[at], ..row }
        };
        rows.push(answers.iter().enumerate().map(tier).collect());
        keys.push((record.input.clone(), label));
    }
    Routes { rows: Routed { rows, on_exhausted: asked.model.cascade.on_exhausted }, keys }
}

/// The rows in two parts, no text in both: thresholds are found on the first, and figures are of the second.
#[must_use]
pub fn halves(routes: &Routes) -> [Routes; 2] {
    let pairs: Vec<(&str, usize)> = routes.keys.iter().map(|(text, label)| (text.as_str(), *label)).collect();
    faults::halves(&pairs, SEED).map(|places| Routes {
        rows: routes.rows.part(&places),
        keys: places.iter().map(|&at| routes.keys[at].clone()).collect(),
    })
}

/// What a tier said of a row.
fn row(asked: &Asked<'_>, records: &Records, (at, nth): (usize, usize), given: &Given) -> TierRow {
    let (prepared, cascade) = (asked.prepared, &asked.model.cascade);
    let candidates: Vec<Vec<Value>> = records.fields.iter().map(|field| field.candidates.clone()).collect();
    let answer = RowAnswer::of(given, &prepared.subject.form, &prepared.suite.expect, &candidates);
    let is_right = answer.fields.is_ok().then(|| judge::is_right(&records.rows[at], Some(&answer), &records.fields));
    let told = labels(given, &prepared.contract);
    let answered = match &given.said {
        Said::Closed(scores) => Answered::Closed(views(scores, &prepared.contract, &told)),
        Said::Text { .. } | Said::Failed(_) => Answered::Plain(told.clone()),
    };
    TierRow {
        is_right,
        confidence: cascade.confidence(nth, &answered),
        is_taken: is_right.is_some() && cascade.accepts(nth, &answered).is_ok(),
        ms: given.cost.latency_ms,
        cost: 0.0,
    }
}

/// The fields of an answer as a cascade looks at them.
fn views<'a>(scores: &[Scores], contract: &Contract, told: &'a [(Option<String>, Value)]) -> Vec<FieldView<'a>> {
    debug_assert_eq!(scores.len(), contract.fields().len());
    let view = |(scores, (name, label)): (&Scores, &'a (Option<String>, Value))| {
        let probability = scores.probabilities.get(scores.best).copied().unwrap_or_default();
        let others = scores.probabilities.iter().enumerate().filter(|(at, _)| *at != scores.best);
        let second = others.map(|(_, p)| *p).fold(0.0, f64::max);
        FieldView {
            name: name.as_deref(),
            label,
            probability,
            margin: probability - second,
            withheld: scores.is_withheld.then(|| "its fit withholds it".to_owned()),
        }
    };
    scores.iter().zip(told).map(view).collect()
}
