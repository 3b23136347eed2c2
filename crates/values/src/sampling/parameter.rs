//! The parameters' names and ranges, and what is wrong with those that are refused.

use thiserror::Error;

/// Why a parameter was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParameterError {
    /// No parameter has this name.
    #[error("there is no parameter `{name}`; {}", hint(.nearest))]
    Unknown { name: String, nearest: Option<&'static str> },
    /// The value, as it was written, is of another type or outside of the range.
    #[error("parameter `{name}` cannot be `{value}`: it must be {expected}")]
    Invalid { name: &'static str, value: String, expected: String },
    /// The whole is not a JSON object.
    #[error("parameters must be a JSON object, not `{value}`")]
    NotAnObject { value: String },
}

fn hint(nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the parameters are `{}`", names().collect::<Vec<_>>().join("`, `")),
    }
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum ParameterKind {
    Real { min: f64, max: f64 },
    Whole { min: i64, max: i64 },
    Seed,
    Flag,
    Texts,
}

const LARGEST: i64 = i32::MAX as i64;

/// Every parameter in Ollama's order, with its range.
const PARAMETERS: [(&str, ParameterKind); 19] = [
    ("num_keep", ParameterKind::Whole { min: 0, max: LARGEST }),
    ("seed", ParameterKind::Seed),
    ("num_predict", ParameterKind::Whole { min: -2, max: LARGEST }),
    ("top_k", ParameterKind::Whole { min: 0, max: LARGEST }),
    ("top_p", ParameterKind::Real { min: 0.0, max: 1.0 }),
    ("min_p", ParameterKind::Real { min: 0.0, max: 1.0 }),
    ("typical_p", ParameterKind::Real { min: 0.0, max: 1.0 }),
    ("repeat_last_n", ParameterKind::Whole { min: -1, max: LARGEST }),
    ("temperature", ParameterKind::Real { min: 0.0, max: 100.0 }),
    ("repeat_penalty", ParameterKind::Real { min: 0.001, max: 100.0 }),
    ("presence_penalty", ParameterKind::Real { min: -100.0, max: 100.0 }),
    ("frequency_penalty", ParameterKind::Real { min: -100.0, max: 100.0 }),
    ("stop", ParameterKind::Texts),
    ("num_ctx", ParameterKind::Whole { min: 1, max: LARGEST }),
    ("num_batch", ParameterKind::Whole { min: 1, max: LARGEST }),
    ("num_gpu", ParameterKind::Whole { min: -1, max: LARGEST }),
    ("main_gpu", ParameterKind::Whole { min: 0, max: LARGEST }),
    ("use_mmap", ParameterKind::Flag),
    // As many as ggml has places for; it crashes on more.
    ("num_thread", ParameterKind::Whole { min: 0, max: 512 }),
];

/// Names that Ollama had once, or that this engine has no use for: taken where a Modelfile gives them, never used.
pub(super) const IDLE: [&str; 15] = [
    "embedding_only",
    "f16_kv",
    "logits_all",
    "low_vram",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_gqa",
    "numa",
    "penalize_newline",
    "rope_frequency_base",
    "rope_frequency_scale",
    "tfs_z",
    "use_mlock",
    "vocab_only",
];

/// The parameters' names in Ollama's order.
pub fn names() -> impl Iterator<Item = &'static str> {
    PARAMETERS.iter().map(|(name, _)| *name)
}

pub(super) fn find(name: &str) -> Result<(&'static str, ParameterKind), ParameterError> {
    PARAMETERS
        .iter()
        .find(|(known, _)| *known == name)
        .copied()
        .ok_or_else(|| ParameterError::Unknown { name: name.to_owned(), nearest: nearest(name) })
}

pub(super) fn invalid(name: &'static str, value: String, kind: ParameterKind) -> ParameterError {
    let expected = match kind {
        ParameterKind::Real { min, max } => format!("a number from {min} to {max}"),
        ParameterKind::Seed => "a whole number of at most 64 bits; -1 is random".to_owned(),
        ParameterKind::Whole { min, max: LARGEST } => format!("a whole number of at least {min}"),
        ParameterKind::Whole { min, max } => format!("a whole number from {min} to {max}"),
        ParameterKind::Flag => "`true` or `false`".to_owned(),
        ParameterKind::Texts => "a text or a list of texts, none of them empty".to_owned(),
    };
    ParameterError::Invalid { name, value, expected }
}

/// The known name at the smallest edit distance, if it is near enough to be meant.
fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > 64 {
        return None;
    }
    let plain = name.to_ascii_lowercase().replace('-', "_");
    let (distance, near) = names().map(|known| (strsim::levenshtein(&plain, known), known)).min()?;
    (distance <= 1 + near.len() / 4).then_some(near)
}
