//! The figures that a gate can name.

use std::str::FromStr;

/// A figure of a subject, over whole rows or of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    Accuracy,
    BalancedAccuracy,
    MacroF1,
    MicroF1,
    WeightedF1,
    Matthews,
    SampleF1,
    NegativeLogLikelihood,
    Brier,
    CalibrationError,
    AreaUnderRiskCoverage,
    FlipRate,
    Wrong,
    Missed,
    Invented,
    RougeL,
    ItemF1,
    ItemPrecision,
    ItemRecall,
    LimitsKept,
    WordsKept,
    SentencesKept,
    CharactersKept,
    PatternKept,
    Failed,
    FormatBroken,
    LatencyP50,
    LatencyP95,
    LatencyP99,
    FirstTokenP50,
    FirstTokenP95,
    PeakMemory,
    CostPerThousand,
}

impl Metric {
    pub const ALL: [Metric; 33] = [
        Metric::Accuracy,
        Metric::BalancedAccuracy,
        Metric::MacroF1,
        Metric::MicroF1,
        Metric::WeightedF1,
        Metric::Matthews,
        Metric::SampleF1,
        Metric::NegativeLogLikelihood,
        Metric::Brier,
        Metric::CalibrationError,
        Metric::AreaUnderRiskCoverage,
        Metric::FlipRate,
        Metric::Wrong,
        Metric::Missed,
        Metric::Invented,
        Metric::RougeL,
        Metric::ItemF1,
        Metric::ItemPrecision,
        Metric::ItemRecall,
        Metric::LimitsKept,
        Metric::WordsKept,
        Metric::SentencesKept,
        Metric::CharactersKept,
        Metric::PatternKept,
        Metric::Failed,
        Metric::FormatBroken,
        Metric::LatencyP50,
        Metric::LatencyP95,
        Metric::LatencyP99,
        Metric::FirstTokenP50,
        Metric::FirstTokenP95,
        Metric::PeakMemory,
        Metric::CostPerThousand,
    ];

    /// The name in a suite's `gate` and in `--json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::BalancedAccuracy => "balanced_accuracy",
            Metric::MacroF1 => "macro_f1",
            Metric::MicroF1 => "micro_f1",
            Metric::WeightedF1 => "weighted_f1",
            Metric::Matthews => "matthews",
            Metric::SampleF1 => "sample_f1",
            Metric::NegativeLogLikelihood => "negative_log_likelihood",
            Metric::Brier => "brier",
            Metric::CalibrationError => "expected_calibration_error",
            Metric::AreaUnderRiskCoverage => "aurc",
            Metric::FlipRate => "flip_rate",
            Metric::Wrong => "wrong",
            Metric::Missed => "missed",
            Metric::Invented => "invented",
            Metric::RougeL => "rouge_l",
            Metric::ItemF1 => "item_f1",
            Metric::ItemPrecision => "item_precision",
            Metric::ItemRecall => "item_recall",
            Metric::LimitsKept => "limits_kept",
            Metric::WordsKept => "words_kept",
            Metric::SentencesKept => "sentences_kept",
            Metric::CharactersKept => "characters_kept",
            Metric::PatternKept => "pattern_kept",
            Metric::Failed => "failed",
            Metric::FormatBroken => "format_broken",
            Metric::LatencyP50 => "latency_p50_ms",
            Metric::LatencyP95 => "latency_p95_ms",
            Metric::LatencyP99 => "latency_p99_ms",
            Metric::FirstTokenP50 => "first_token_p50_ms",
            Metric::FirstTokenP95 => "first_token_p95_ms",
            Metric::PeakMemory => "peak_memory_bytes",
            Metric::CostPerThousand => "cost_per_thousand_rows",
        }
    }
}

impl Metric {
    /// The figure whose name was likely meant.
    #[must_use]
    pub fn near(name: &str) -> Option<Metric> {
        // As alike as this (Jaro and Winkler's likeness, 1 for equal names).
        const NEAR: f64 = 0.85;
        let likeness = |metric: &Metric| strsim::jaro_winkler(&name.to_lowercase().replace('-', "_"), metric.name());
        let best = Metric::ALL.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
        (likeness(&best) >= NEAR).then_some(best)
    }
}

/// That no figure has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownMetric;

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        Metric::ALL.into_iter().find(|metric| metric.name() == name).ok_or(UnknownMetric)
    }
}
