//! What a suite demands of its figures: bounds, and the level of the test against a baseline.

use serde_json::{Map, Value};
use serde_yaml::Spanned;

use super::error::{SuiteError, list};
use super::metric::Metric;
use super::yaml::invalid;

/// What must hold for a run to pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    pub bounds: Vec<Bound>,
    /// The level of the paired test against a baseline: how often it may say `worse` of a model that is not.
    pub level: f64,
}

/// One bound of one figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// As the suite names it: `accuracy`, or `queue.macro_f1` of one field.
    pub name: String,
    /// `None` is over all fields: whole rows.
    pub field: Option<String>,
    pub metric: Metric,
    pub limit: Limit,
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// Which number is held against the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Value,
    /// The lower or upper end of its 95 % interval.
    Lower,
    Upper,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { bounds: Vec::new(), level: 0.05 }
    }
}

impl Limit {
    #[must_use]
    pub fn is_kept(self, value: f64) -> bool {
        match self {
            Limit::AtLeast(least) => value >= least,
            Limit::AtMost(most) => value <= most,
        }
    }
}

/// The value of `gate`.
///
/// # Errors
///
/// It names a metric that does not exist, or a bound is not valid.
pub fn parse(value: Spanned<Value>) -> Result<Gate, SuiteError> {
    let Value::Object(map) = &value.value else {
        return invalid("gate", &value, "is not a map of figures to bounds, such as `accuracy: {at_least: 0.9}`");
    };
    let mut gate = Gate::default();
    for (name, said) in map {
        if name == "level" {
            match said.as_f64() {
                Some(level) if level > 0.0 && level < 1.0 => gate.level = level,
                _ => return invalid("gate", &value, format!("has the level `{said}`; give a share such as `0.05`")),
            }
            continue;
        }
        gate.bounds.push(bound(name, said, &value)?);
    }
    Ok(gate)
}

fn bound(name: &str, said: &Value, at: &Spanned<Value>) -> Result<Bound, SuiteError> {
    // A field's name may have dots; a metric's has none.
    let (field, metric) = match name.rsplit_once('.') {
        Some((field, metric)) => (Some(field.to_owned()), metric),
        None => (None, name),
    };
    let Ok(metric) = metric.parse::<Metric>() else {
        let hint = match Metric::near(metric) {
            Some(near) => format!("did you mean `{}`?", near.name()),
            None => format!("the figures are {}", list(Metric::ALL.iter().map(|metric| metric.name()))),
        };
        return invalid("gate", at, format!("names the figure `{metric}`, which does not exist; {hint}"));
    };
    let Value::Object(said) = said else {
        return invalid(
            "gate",
            at,
            format!("of `{name}` is not a bound; write `{{at_least: 0.9}}` or `{{at_most: 200}}`"),
        );
    };
    let (limit, end) = (limit(name, said, at)?, end(name, said, at)?);
    if let Some(key) = said.keys().find(|key| !["at_least", "at_most", "bound"].contains(&key.as_str())) {
        return invalid(
            "gate",
            at,
            format!("of `{name}` has an unknown key `{key}`; it has `at_least` or `at_most`, and `bound`"),
        );
    }
    Ok(Bound { name: name.to_owned(), field, metric, limit, end })
}

fn limit(name: &str, said: &Map<String, Value>, at: &Spanned<Value>) -> Result<Limit, SuiteError> {
    match (said.get("at_least").map(Value::as_f64), said.get("at_most").map(Value::as_f64)) {
        (Some(Some(least)), None) => Ok(Limit::AtLeast(least)),
        (None, Some(Some(most))) => Ok(Limit::AtMost(most)),
        _ => invalid("gate", at, format!("of `{name}` needs one number: `at_least` or `at_most`")),
    }
}

fn end(name: &str, said: &Map<String, Value>, at: &Spanned<Value>) -> Result<End, SuiteError> {
    match said.get("bound").map(Value::as_str) {
        None | Some(Some("value")) => Ok(End::Value),
        Some(Some("lower")) => Ok(End::Lower),
        Some(Some("upper")) => Ok(End::Upper),
        _ => invalid(
            "gate",
            at,
            format!("of `{name}`: `bound` is {}; it can be `lower`, `upper` or `value`", said["bound"]),
        ),
    }
}
