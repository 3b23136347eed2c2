//! The folder of a job: what it is (`job.json`), its rows, the trainer, and what the trainer leaves there. Files are written whole or
//! not at all.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::{FieldCounts, LeftOut};
use super::settings::Settings;
use crate::chat::Message;
use crate::digest::{Digest, Hasher};

/// Raised where an older slm could not read a job.
pub const JOB_FORMAT: u32 = 1;
/// The trainer, which needs no slm.
pub const TRAINER: &str = include_str!("train.py");
/// Where `mlx_lm.lora` puts the adapter, as its configuration says.
const MLX_ADAPTER: &str = "mlx/adapters";
/// How a job is run on another machine.
const README: &str = include_str!("README.job.md");

/// What a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFile {
    pub format: u32,
    /// Of the rows that teach, the settings and the weights: another id is another job.
    pub id: String,
    pub tool: String,
    /// The model that is tuned, and what it was then.
    pub model: String,
    pub model_digest: String,
    pub weights_digest: String,
    /// The name that the tuned model is to have.
    pub name: String,
    pub engine: Trainer,
    pub weights: WeightsFile,
    pub settings: Settings,
    pub rows: RowCounts,
    pub labels: Vec<FieldCounts>,
    /// The answers that the rows have, where the model itself says nothing of its answers.
    pub schema: Option<Value>,
    /// What the evaluation expects, as a suite says it.
    pub expect: Value,
    /// Of the data, all of it.
    pub data_digest: String,
    /// Of the longest row that teaches.
    pub longest_tokens: usize,
}

/// Who trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Trainer {
    /// TRL with PEFT: NVIDIA's and AMD's GPUs, and CPUs.
    Peft,
    /// MLX-LM: Apple's processors.
    Mlx,
}

/// The weights that the adapter is trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsFile {
    pub kind: WeightsKind,
    /// Absolute, or relative to the job's folder.
    pub path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightsKind {
    Gguf,
    /// A folder with `config.json` and safetensors.
    HuggingFace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    pub train: usize,
    pub valid: usize,
    pub held_out: usize,
    pub left_out: usize,
}

/// A row that teaches, as a line of `train.jsonl` or `valid.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Teaching {
    /// The conversation as the template gets it, with the answer.
    pub messages: Vec<Turn>,
    /// The prompt as slm renders it, and the answer that follows it.
    pub prompt: String,
    pub answer: String,
    /// Both as tokens, with the end of the turn; the first of them are given, and the others count in the loss.
    pub tokens: Vec<i32>,
    pub n_given: usize,
    pub weight: f64,
}

/// A message in the field's own form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    pub role: String,
    pub content: String,
}

impl From<&Message> for Turn {
    fn from(message: &Message) -> Turn {
        Turn { role: message.role.as_str().to_owned(), content: message.content.clone() }
    }
}

/// Everything that is written before the trainer starts.
#[derive(Debug)]
pub struct NewJob<'a> {
    pub file: &'a JobFile,
    pub train: &'a [Teaching],
    pub valid: &'a [Teaching],
    /// Texts with what is expected of them, as rows of a suite: those that teach or say when to stop, and those held out.
    pub labelled: &'a [Value],
    pub held_out: &'a [Value],
    pub left_out: &'a [LeftOut],
}

/// Why a job's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("`{path}` holds no tuning job; a job's folder has a job.json")]
    Missing { path: PathBuf },
    #[error("cannot {verb} `{path}`: {source}")]
    File { verb: &'static str, path: PathBuf, source: std::io::Error },
    #[error("`{path}` cannot be read: {source}")]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("the job in `{path}` has the format {found}, and this slm reads {JOB_FORMAT}; update slm")]
    Format { path: PathBuf, found: u32 },
}

/// A job's folder.
#[derive(Debug, Clone)]
pub struct JobFolder {
    path: PathBuf,
}

impl JobFolder {
    /// What the trainer said of itself, for the card.
    pub const TRAINING: &'static str = "training.json";

    #[must_use]
    pub fn at(path: &Path) -> JobFolder {
        JobFolder { path: path.to_owned() }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where PEFT's best adapter is.
    #[must_use]
    pub fn adapter(&self) -> PathBuf {
        self.path.join("adapter")
    }

    /// Where the trainer's messages go that are not progress.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("train.log")
    }

    /// The folder of the trained adapter, as PEFT or MLX-LM saves it; `None` before there is one.
    #[must_use]
    pub fn trained(&self) -> Option<PathBuf> {
        [self.adapter(), self.path.join(MLX_ADAPTER)].into_iter().find(|folder| folder.exists())
    }

    /// Where the trainer keeps what a later run needs to go on.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    #[must_use]
    pub fn training(&self) -> PathBuf {
        self.path.join(JobFolder::TRAINING)
    }

    /// What the folder's job is.
    ///
    /// # Errors
    /// The folder has no job, or its file cannot be read.
    pub fn read(&self) -> Result<JobFile, JobError> {
        let path = self.path.join("job.json");
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => JobError::Missing { path: self.path.clone() },
            _ => JobError::File { verb: "read", path: path.clone(), source },
        })?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|source| JobError::Json { path: path.clone(), source })?;
        let found = value.get("format").and_then(Value::as_u64).unwrap_or_default();
        if found != u64::from(JOB_FORMAT) {
            return Err(JobError::Format { path: self.path.clone(), found: u32::try_from(found).unwrap_or(u32::MAX) });
        }
        serde_json::from_value(value).map_err(|source| JobError::Json { path, source })
    }

    /// The file of the rows that teach or say when to stop, as a suite has them: what a fit learns from.
    #[must_use]
    pub fn labelled(&self) -> PathBuf {
        self.path.join("labelled.jsonl")
    }

    /// The file of the held-out rows.
    #[must_use]
    pub fn held_out(&self) -> PathBuf {
        self.path.join("held_out.jsonl")
    }

    /// Writes a job. What the trainer left of another one is removed.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, job: &NewJob<'_>) -> Result<(), JobError> {
        let failed = |verb: &'static str| {
            let path = self.path.clone();
            move |source| JobError::File { verb, path, source }
        };
        std::fs::create_dir_all(&self.path).map_err(failed("create"))?;
        for leftover in [self.training(), self.path.join("job.json")] {
            if leftover.exists() {
                std::fs::remove_file(&leftover).map_err(failed("clear"))?;
            }
        }
        for leftover in [self.checkpoints(), self.adapter(), self.path.join("mlx")] {
            if leftover.exists() {
                std::fs::remove_dir_all(&leftover).map_err(failed("clear"))?;
            }
        }
        self.put("train.jsonl", &lines(job.train))?;
        self.put("valid.jsonl", &lines(job.valid))?;
        self.put("labelled.jsonl", &lines(job.labelled))?;
        self.put("held_out.jsonl", &lines(job.held_out))?;
        self.put("left_out.jsonl", &lines(job.left_out))?;
        self.put("train.py", TRAINER)?;
        self.put("README.md", README)?;
        if job.file.engine == Trainer::Mlx {
            self.put_mlx(job)?;
        }
        // The last: a folder with it has all the others.
        self.put("job.json", &pretty(job.file))
    }

    /// The rows as MLX-LM reads them, and its settings.
    fn put_mlx(&self, job: &NewJob<'_>) -> Result<(), JobError> {
        let folder = self.path.join("mlx");
        std::fs::create_dir_all(&folder).map_err(|source| JobError::File {
            verb: "create",
            path: folder.clone(),
            source,
        })?;
        let chats = |rows: &[Teaching]| {
            let chats: Vec<Value> = rows.iter().map(|row| serde_json::json!({"messages": row.messages})).collect();
            lines(&chats)
        };
        self.put("mlx/train.jsonl", &chats(job.train))?;
        self.put("mlx/valid.jsonl", &chats(job.valid))?;
        self.put("mlx/config.yaml", &mlx_config(job.file))
    }

    /// Writes a file of the folder by renaming a whole one.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put(&self, name: &str, text: &str) -> Result<(), JobError> {
        self.put_bytes(name, text.as_bytes())
    }

    /// As [`JobFolder::put`].
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), JobError> {
        let (path, half) = (self.path.join(name), self.path.join(format!("{name}.part")));
        let write = || {
            let mut file = std::fs::File::create(&half)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&half, &path)
        };
        write().map_err(|source| JobError::File { verb: "write", path: path.clone(), source })
    }
}

/// The id of a job with these rows, settings and weights.
#[must_use]
pub fn id(train: &[Teaching], valid: &[Teaching], settings: &Settings, weights_digest: &str) -> String {
    let mut hash = Hasher::new();
    hash.update(lines(train).as_bytes());
    hash.update(lines(valid).as_bytes());
    // These settings change how long training takes, not what is learned.
    let settings = Settings { threads: None, micro_rows: 0, checkpoint_seconds: 0, ..settings.clone() };
    hash.update(pretty(&settings).as_bytes());
    hash.update(weights_digest.as_bytes());
    hash.finish().id()
}

/// The digest of rows as they are.
#[must_use]
pub fn data_digest(rows: &[Value]) -> String {
    Digest::of(lines(rows).as_bytes()).to_string()
}

/// What `mlx_lm.lora` reads with `--config`; its documentation names the keys.
fn mlx_config(job: &JobFile) -> String {
    let Settings { rank, alpha, dropout, learning_rate, epochs, batch_rows, seed, max_tokens, .. } = &job.settings;
    let n_steps = job.rows.train.div_ceil(*batch_rows as usize) * *epochs as usize;
    let per_epoch = job.rows.train.div_ceil(*batch_rows as usize).max(1);
    let scale = f64::from(*alpha) / f64::from(*rank);
    let model = Value::from(job.weights.path.display().to_string());
    format!(
        "# Settings of mlx_lm.lora for this job.\nmodel: {model}\ntrain: true\ndata: .\nadapter_path: adapters\nfine_tune_type: lora\n\
         mask_prompt: true\nseed: {seed}\nnum_layers: -1\nbatch_size: {batch_rows}\niters: {n_steps}\nval_batches: -1\n\
         steps_per_eval: {per_epoch}\nsave_every: {per_epoch}\nlearning_rate: {learning_rate}\nmax_seq_length: {max_tokens}\n\
         lora_parameters: {{rank: {rank}, scale: {scale}, dropout: {dropout}}}\n"
    )
}

fn lines<T: Serialize>(rows: &[T]) -> String {
    rows.iter().map(|row| json(row) + "\n").collect()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text keys, numbers and text")
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("text keys, numbers and text") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn job() -> JobFile {
        let settings = Settings::for_rows(100);
        JobFile {
            format: JOB_FORMAT,
            id: id(&[], &[], &settings, "w"),
            tool: "0".to_owned(),
            model: "m".to_owned(),
            model_digest: "d".to_owned(),
            weights_digest: "w".to_owned(),
            name: "tuned".to_owned(),
            engine: Trainer::Mlx,
            weights: WeightsFile { kind: WeightsKind::HuggingFace, path: "weights".into() },
            settings,
            rows: RowCounts { train: 100, valid: 10, held_out: 1, left_out: 0 },
            labels: Vec::new(),
            schema: None,
            expect: Value::from("label"),
            data_digest: data_digest(&[]),
            longest_tokens: 12,
        }
    }

    #[test]
    fn a_job_is_read_as_it_was_written_and_clears_what_another_one_left() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = JobFolder::at(folder.path());
        assert!(matches!(place.read(), Err(JobError::Missing { .. })));
        std::fs::create_dir(place.adapter()).unwrap();
        std::fs::create_dir(place.checkpoints()).unwrap();
        std::fs::write(place.training(), "of another job").unwrap();
        let held_out = [serde_json::json!({"text": "a", "label": "b"})];
        let new = NewJob { file: &job(), train: &[], valid: &[], labelled: &[], held_out: &held_out, left_out: &[] };
        place.write(&new).unwrap();
        assert_eq!(place.read().unwrap(), job());
        assert_eq!(std::fs::read_to_string(place.held_out()).unwrap(), "{\"text\":\"a\",\"label\":\"b\"}\n");
        assert!(!place.adapter().exists() && !place.checkpoints().exists() && !place.training().exists());
        let config = std::fs::read_to_string(folder.path().join("mlx/config.yaml")).unwrap();
        let config: Value = serde_yaml::from_str(&config).unwrap();
        assert_eq!(config["iters"], serde_json::json!(130));
        assert_eq!(config["lora_parameters"]["scale"], serde_json::json!(2));
    }

    #[test]
    fn a_job_of_another_format_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("job.json"), r#"{"format": 9}"#).unwrap();
        let error = JobFolder::at(folder.path()).read().unwrap_err();
        assert!(matches!(error, JobError::Format { found: 9, .. }), "{error}");
    }
}
