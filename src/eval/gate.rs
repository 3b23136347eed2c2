//! Whether a run passes: bounds on its figures, and no model worse than in the baseline.

use serde::{Deserialize, Serialize};

use super::baseline::Change;
use super::figures::{SubjectFigures, SubjectKind};
use super::suite::{Bound, End, Gate, Limit};

/// What was demanded and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    pub passed: bool,
    pub checks: Vec<Check>,
}

/// One demand on one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub subject: String,
    /// As the suite names it: `queue.macro_f1`, or `baseline`.
    pub name: String,
    pub passed: bool,
    /// In words: what is demanded, and what there is.
    pub message: String,
}

/// Holds every model against the gate.
#[must_use]
pub fn gate(gate: &Gate, subjects: &[SubjectFigures], changes: &[Change]) -> GateReport {
    let models = subjects.iter().filter(|subject| subject.kind != SubjectKind::Baseline);
    let mut checks: Vec<Check> =
        models.flat_map(|subject| gate.bounds.iter().map(move |bound| check(subject, bound))).collect();
    checks.extend(changes.iter().map(|change| worse(change, gate.level)));
    GateReport { passed: checks.iter().all(|check| check.passed), checks }
}

fn check(subject: &SubjectFigures, bound: &Bound) -> Check {
    let figure = subject.metric(bound.field.as_deref(), bound.metric);
    let (end, value) = match bound.end {
        End::Value => ("", figure.and_then(|figure| figure.value)),
        End::Lower => (", the lower end of its 95 % interval,", figure.and_then(|figure| figure.low)),
        End::Upper => (", the upper end of its 95 % interval,", figure.and_then(|figure| figure.high)),
    };
    let (demand, limit) = match bound.limit {
        Limit::AtLeast(least) => ("at least", least),
        Limit::AtMost(most) => ("at most", most),
    };
    let name = &bound.name;
    let (passed, message) = match value {
        Some(value) => {
            let passed = bound.limit.is_kept(value);
            let is = if passed { "is" } else { "is only" };
            let is = if matches!(bound.limit, Limit::AtMost(_)) { "is" } else { is };
            // Bytes and long times are no shares.
            let digits = if value.abs() < 1000.0 { 4 } else { 0 };
            (passed, format!("`{name}`{end} {is} {value:.digits$}; {demand} {limit} is demanded"))
        }
        // What cannot be checked has not been met.
        None => (false, format!("`{name}`{end} has no value here; {demand} {limit} is demanded")),
    };
    Check { subject: subject.name.clone(), name: name.clone(), passed, message }
}

fn worse(change: &Change, level: f64) -> Check {
    let Change { rows, broken, fixed, p_worse, .. } = change;
    let difference = change.difference.unwrap_or_default();
    let counts = format!("{broken} of {rows} rows broke, {fixed} got right");
    let message = if change.is_worse {
        format!("worse than the baseline: {counts}, {difference:+.3}, p = {p_worse:.4} is below {level}")
    } else {
        format!("not shown to be worse than the baseline: {counts}, {difference:+.3}, p = {p_worse:.4}")
    };
    Check { subject: change.subject.clone(), name: "baseline".to_owned(), passed: !change.is_worse, message }
}
