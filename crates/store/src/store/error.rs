//! Errors of the store, and what to do about them.

use slm_values::digest::Digest;
use slm_values::gguf::GgufError;
use slm_values::manifest::ManifestError;
use slm_values::model_ref::ModelRef;
use slm_values::modelfile::ModelfileError;
use slm_values::peft::PeftError;
use std::io;
use std::path::PathBuf;

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} `{path}`: {source}{}", elsewhere(source))]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "no space left to write `{path}`{}; free some, or choose another disk for the store with `SLM_MODELS`",
        sizes(*.needed_bytes, *.free_bytes)
    )]
    DiskFull { path: PathBuf, needed_bytes: Option<u64>, free_bytes: Option<u64> },
    #[error("there is no model `{}`{}", .0.name, known(.0))]
    NotFound(Box<Unknown>),
    #[error(
        "`{name}` could be {}, which differ only in upper and lower case; write the exact name",
        .alike.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
    )]
    Spelling { name: ModelRef, alike: Vec<ModelRef> },
    #[error("the embedded model `{0}` is part of slm and cannot be removed")]
    RemoveEmbedded(ModelRef),
    #[error("`{0}` is not a regular file; give the path of a GGUF file")]
    NotAFile(PathBuf),
    #[error("`{0}` begins with `~`, which only a shell expands; write the full path")]
    HomePath(String),
    #[error("`{path}` is not a model that slm can load: {source}")]
    Gguf { path: PathBuf, source: GgufError },
    #[error(
        "the Modelfile asks for a context of {asked} tokens, but the model was trained for {trained}; give at most {trained}"
    )]
    Context { asked: u32, trained: u64 },
    #[error("`{0}` contains a vocabulary without weights, so it cannot answer; give the GGUF file of a whole model")]
    VocabularyOnly(PathBuf),
    #[error("`{path}` is missing: `{of}` is one of {n_files} files of a model; put all of them into one folder")]
    MissingShard { path: PathBuf, of: PathBuf, n_files: u16 },
    #[error("`{path}` is one of several files of a model; rename it to end with `{ending}`")]
    ShardName { path: PathBuf, ending: String },
    #[error("`{0}` changed while it was copied; try again when no program is writing to it")]
    Changed(PathBuf),
    #[error("the manifest `{path}` is broken: {source}; create or pull the model again")]
    Manifest { path: PathBuf, source: ManifestError },
    #[error("the manifest `{path}` {reason}; create or pull the model again")]
    Layers { path: PathBuf, reason: String },
    #[error("the blob `{path}` {reason}; create or pull the model again")]
    Blob { path: PathBuf, reason: String },
    #[error("the blob `{path}` of a fit {reason}; fit the model again, or remove its fit")]
    Fit { path: PathBuf, reason: String },
    #[error(
        "the manifest `{path}` names {n_cards} cards and {n_numbers} files of numbers for a fit, which has one of each; fit the \
         model again, or remove its fit"
    )]
    FitLayers { path: PathBuf, n_cards: usize, n_numbers: usize },
    #[error(
        "the downloaded bytes have the digest `{found}`, not `{expected}`: they were damaged in transit, or the source is wrong"
    )]
    OtherBytes { expected: Digest, found: Digest },
    #[error("`{path}` is not an adapter that slm can apply: {source}")]
    Adapter { path: PathBuf, source: GgufError },
    #[error("`{path}` cannot be made an adapter: {source}")]
    Peft { path: PathBuf, source: PeftError },
    #[error(
        "`{0}` has neither `adapter_model.safetensors` (PEFT) nor `adapters.safetensors` (MLX), and is not a GGUF file; save the \
         adapter with PEFT's `save_pretrained` or `mlx_lm.lora`"
    )]
    NoAdapter(PathBuf),
    #[error("the adapter `{0}` is given twice; keep one of them, with the scale that it should have")]
    AdapterTwice(PathBuf),
    #[error("the model is a {0} and has no weights of its own, which this needs; name a model that has")]
    NoWeights(&'static str),
    #[error("the schema `{path}` of FORMAT {reason}")]
    Schema { path: PathBuf, reason: String },
    #[error("the file `{path}` of EXAMPLES: {reason}")]
    Examples { path: PathBuf, reason: String },
    #[error("`{name}` cannot find examples: {reason}; give EXAMPLES another embedding model with `by=`, or none")]
    NoEmbedder { name: String, reason: String },
    #[error("the embedded model's Modelfile is wrong: {0}")]
    EmbeddedModelfile(#[from] ModelfileError),
}

/// A name that no model has, and what there is instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    pub name: ModelRef,
    /// Every model's name, in order.
    pub existing: Vec<ModelRef>,
    /// Those that are spelt alike, the nearest first.
    pub nearest: Vec<ModelRef>,
}

impl Unknown {
    /// Names that a message lists at most.
    pub const MAX_SHOWN: usize = 10;
}

/// What to do about a disk that takes nothing.
fn elsewhere(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "; choose a folder that can be written to with `SLM_MODELS`",
        _ => "",
    }
}

fn sizes(needed_bytes: Option<u64>, free_bytes: Option<u64>) -> String {
    match (needed_bytes, free_bytes) {
        (Some(needed), Some(free)) => format!(": {needed} bytes are needed and {free} are free"),
        (Some(needed), None) => format!(": {needed} bytes are needed"),
        _ => String::new(),
    }
}

fn known(Unknown { existing, nearest, .. }: &Unknown) -> String {
    let quoted = |names: &[ModelRef]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = match existing.len() {
        n if n > Unknown::MAX_SHOWN => format!(" and {} more", n - Unknown::MAX_SHOWN),
        _ => String::new(),
    };
    let shown = &existing[..existing.len().min(Unknown::MAX_SHOWN)];
    match (shown.is_empty(), nearest.is_empty()) {
        (true, _) => "; the store is empty".to_owned(),
        (false, true) => format!("; there are {}{more}", quoted(shown)),
        (false, false) => format!("; did you mean {}? There are {}{more}", quoted(nearest), quoted(shown)),
    }
}
