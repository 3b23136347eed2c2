//! How many written answers keep the limits that a suite sets.

use serde::{Deserialize, Serialize};

use super::rate::Rate;
use crate::eval::record::Records;
use crate::eval::suite::{TextLimit, TextLimits};

/// Of all rows: one without an answer keeps no limit. A limit that is not set is null.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LimitFigures {
    /// Every limit at once.
    pub kept: Rate,
    pub words: Option<Rate>,
    pub sentences: Option<Rate>,
    pub characters: Option<Rate>,
    pub pattern: Option<Rate>,
}

/// The figures of a field's limits.
#[must_use]
pub fn figures_of(records: &Records, subject: usize, nth: usize, limits: &TextLimits) -> LimitFigures {
    let broken = |row: &crate::eval::record::Record| {
        let fields = row.answers[subject].as_ref()?.fields.as_ref().ok()?;
        limits.broken(&fields[nth].value)
    };
    let rows: Vec<Option<Vec<TextLimit>>> = records.rows.iter().map(broken).collect();
    let kept = |limit: TextLimit| {
        let is_kept = |row: &Option<Vec<TextLimit>>| row.as_ref().is_some_and(|broken| !broken.contains(&limit));
        limits.has(limit).then(|| Rate::of(rows.iter().map(is_kept)))
    };
    LimitFigures {
        kept: Rate::of(rows.iter().map(|row| row.as_ref().is_some_and(Vec::is_empty))),
        words: kept(TextLimit::Words),
        sentences: kept(TextLimit::Sentences),
        characters: kept(TextLimit::Characters),
        pattern: kept(TextLimit::Pattern),
    }
}
