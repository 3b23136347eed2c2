//! A cascade: its tiers in order and what holds for all of them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use slm_values::digest::Digest;
use slm_values::model_ref::ModelRef;

use crate::certificate::Certificate;
use crate::handing::HandOn;
use crate::labels::Labels;
use crate::privacy::Privacy;

/// What a cascade file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Cascade {
    /// At least one; asked in this order.
    pub tiers: Vec<Tier>,
    /// With these labels an answer of any tier but the last goes on, however sure it is.
    pub always_on: Labels,
    pub on_exhausted: Exhausted,
    pub budget: Budget,
    pub privacy: Privacy,
    /// The contract of its answers, where the file gives one: a JSON Schema, or `@file` with one.
    pub format: Option<Value>,
    /// What rows said of its thresholds, where `slm fit` set them.
    pub promise: Option<Certificate>,
}

/// A tier: who is asked, and which of its answers are taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    /// How replies and metrics call it; no two of a cascade have one name.
    pub name: String,
    pub whom: Whom,
    pub accept: Accept,
    /// What it is told of the answers before it.
    pub given: HandOn,
    /// A longer text is not asked here.
    pub max_characters: Option<usize>,
    /// Instructions where the request brings none.
    pub system: Option<String>,
    /// After so many answers of it that are spread otherwise than its fit's rows were, all goes on.
    pub drift: Option<usize>,
    /// Where the file names it.
    pub line: u64,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Whom {
    /// A model of the store; `digest` is that of the manifest for which the thresholds were chosen.
    Model {
        name: ModelRef,
        digest: Option<Digest>,
    },
    Remote(TierRemote),
    /// The words part alone of the fit of a model of the store, which is not loaded.
    Words {
        name: ModelRef,
        digest: Option<Digest>,
    },
}

/// Where it is said how a remote is reached; whether that is right is not checked here.
#[derive(Debug, Clone, PartialEq)]
pub enum TierRemote {
    /// A file, relative to that of the cascade.
    File(PathBuf),
    /// The keys of such a file.
    Keys(Map<String, Value>),
}

/// Which answers of a tier are taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Accept {
    /// Every one that keeps its contract.
    Anything,
    /// Those that the model's fit does not withhold.
    Fitted,
    Above(Threshold),
}

/// What the fields of a closed answer must have. An answer without probabilities has none of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The probability of the answer.
    pub probability: Option<f64>,
    /// That probability less the second one's.
    pub margin: Option<f64>,
    /// The fields that count; empty: all.
    pub fields: Vec<String>,
}

/// What becomes of a text whose answer no tier could give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exhausted {
    /// A person is to look at it: the answer is withheld, with the last one as the best guess.
    #[default]
    Review,
    /// The answer of the last tier that had one.
    Best,
    Error,
}

/// What a cascade may cost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Budget {
    /// No remote is asked on a day that has cost so much; in the currency of the remotes' prices.
    pub dollars_per_day: Option<f64>,
    /// The part of the texts that may reach a second tier.
    pub share: Option<f64>,
    /// How long a text may take with all its tiers.
    pub limit: Option<Duration>,
}

impl Exhausted {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Exhausted::Review => "review",
            Exhausted::Best => "best",
            Exhausted::Error => "error",
        }
    }
}

/// In words for people.
impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Accept::Anything => f.write_str("anything"),
            Accept::Fitted => f.write_str("what its fit does not withhold"),
            Accept::Above(Threshold { probability, margin, fields }) => {
                let parts = [("a probability", probability), ("a margin", margin)];
                let parts = parts.into_iter().filter_map(|(name, of)| of.map(|of| format!("{name} of {of} or more")));
                f.write_str(&parts.collect::<Vec<_>>().join(" and "))?;
                if fields.is_empty() { Ok(()) } else { write!(f, " for {}", fields.join(", ")) }
            }
        }
    }
}

impl Tier {
    /// Whether no language model is asked here.
    #[must_use]
    pub fn is_words(&self) -> bool {
        matches!(self.whom, Whom::Words { .. })
    }

    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self.whom, Whom::Remote(_))
    }
}
