//! What happened to a text on its way through the tiers: who was asked, and why each of them did not have the last word.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// A tier that was asked or passed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub tier: String,
    pub outcome: Outcome,
    /// What it answered; `None` where it was not asked or had no answer.
    pub answer: Option<Value>,
    pub elapsed: Duration,
    /// In the currency of the remote's price; `None` where it has none.
    pub cost: Option<f64>,
}

/// What came of a tier.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Its answer is the cascade's.
    Accepted,
    /// Its answer was not taken, or it gave none.
    WentOn(Reason),
    /// It was not asked.
    PassedOver(Reason),
}

impl Outcome {
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::WentOn(_) => "went on",
            Outcome::PassedOver(_) => "passed over",
        }
    }

    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Outcome::Accepted => None,
            Outcome::WentOn(reason) | Outcome::PassedOver(reason) => Some(reason),
        }
    }
}

/// What is held against a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Probability,
    Margin,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Measure::Probability => "probability",
            Measure::Margin => "margin",
        })
    }
}

/// Why a tier did not have the last word.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// A field is not sure enough.
    Below { field: Option<String>, measure: Measure, found: f64, threshold: f64 },
    /// The model's fit withholds a field.
    Withheld { field: Option<String>, why: String },
    /// The tier's answers are lately spread otherwise than when its fit was learned.
    Drift(String),
    /// The label is one that always goes on.
    AlwaysOn { field: Option<String>, label: Value },
    /// There are no probabilities to hold against the threshold.
    NoProbabilities,
    /// The answer breaks its form.
    Broken(String),
    /// It came to its limit of tokens.
    Truncated,
    /// The model said that it does not answer.
    Refused(String),
    /// The text has more characters than the tier takes.
    TooLong { found: usize, most: usize },
    /// The text does not fit the model.
    DoesNotFit(String),
    /// There was no answer.
    Failed(String),
    /// The remote is left alone because it keeps failing.
    Open(String),
    /// What the text or an earlier answer says keeps it on this machine.
    Private(String),
    /// The day's money is spent.
    Money { spent: f64, most: f64 },
    /// More of the texts went on than may.
    Share { most: f64 },
    /// The text had no more time.
    Time { limit: Duration },
}

impl Reason {
    /// A word for metrics and programs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Reason::Below { .. } => "below",
            Reason::Withheld { .. } => "withheld",
            Reason::Drift(_) => "drift",
            Reason::AlwaysOn { .. } => "always_on",
            Reason::NoProbabilities => "no_probabilities",
            Reason::Broken(_) => "broken",
            Reason::Truncated => "truncated",
            Reason::Refused(_) => "refused",
            Reason::TooLong { .. } | Reason::DoesNotFit(_) => "too_long",
            Reason::Failed(_) => "failed",
            Reason::Open(_) => "breaker_open",
            Reason::Private(_) => "private",
            Reason::Money { .. } => "money",
            Reason::Share { .. } => "share",
            Reason::Time { .. } => "time",
        }
    }
}

/// A sentence.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |field: &Option<String>| field.as_ref().map_or_else(String::new, |field| format!("`{field}`: "));
        match self {
            Reason::Below { field, measure, found, threshold } => {
                write!(f, "{}the {measure} is {found:.3}, and {threshold} is asked for", of(field))
            }
            Reason::Withheld { field, why } => write!(f, "{}{why}", of(field)),
            Reason::AlwaysOn { field, label } => write!(f, "{}answers with {label} always go on", of(field)),
            Reason::NoProbabilities => f.write_str("the answer has no probabilities to hold against the threshold"),
            Reason::Broken(why) => write!(f, "the answer breaks its format: {why}"),
            Reason::Truncated => f.write_str("the answer reached its limit of tokens"),
            Reason::Refused(why) | Reason::DoesNotFit(why) | Reason::Failed(why) | Reason::Open(why) => {
                f.write_str(why)
            }
            Reason::Private(why) | Reason::Drift(why) => f.write_str(why),
            Reason::TooLong { found, most } => {
                write!(f, "the text has {found} characters, and at most {most} are asked here")
            }
            Reason::Money { spent, most } => write!(f, "today has cost {spent:.4}, and {most} a day may be spent"),
            Reason::Share { most } => write!(f, "more than {} % of the texts would reach a second tier", most * 100.0),
            Reason::Time { limit } => write!(f, "the text has had its {} milliseconds", limit.as_millis()),
        }
    }
}
