//! Why a file cannot take answers. What a person can do about it says who knows how the work was asked for.

use std::io;
use std::path::PathBuf;

/// Why a file cannot take answers.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("`{}` already exists", .0.display())]
    Exists(PathBuf),
    #[error("another slm is writing `{}`", .0.display())]
    Busy(PathBuf),
    #[error("`{}` is not a regular file, so answers cannot be appended to it", .0.display())]
    NoFile(PathBuf),
    #[error("cannot continue `{path}`: {why}", path = .path.display())]
    Foreign { path: PathBuf, why: Foreign },
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
    #[error("no space left to write `{}`; its {n_lines} complete lines are kept", .path.display())]
    DiskFull { path: PathBuf, n_lines: u64 },
    #[error("cannot {action} `{}`", .path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

/// Why a file's answers are not those of this work.
#[derive(Debug, thiserror::Error)]
pub enum Foreign {
    #[error("`{}`, which says what was asked, is missing or damaged", .0.display())]
    NoNotes(PathBuf),
    #[error("`{}`, which says what was asked, was written by another version of slm that says it in another way", .0.display())]
    OtherVersion(PathBuf),
    #[error("it was begun with another model ({0})")]
    Model(String),
    #[error("it was begun with other rows: another field is read, or answers are written in another way")]
    Rows,
    #[error("it was begun with another format or other limits")]
    Form,
    #[error("it was begun with other adapters")]
    Adapters,
    #[error("it was begun with another prompt: another system message, template or examples")]
    Prompt,
    #[error("it was begun with other sampling parameters")]
    Sampling,
    #[error(
        "it was begun under the evaluation id `{then}`, and here it is `{now}`: another build, processor or number of threads \
         gives other probabilities"
    )]
    EvaluationId { then: String, now: String },
    #[error("it has {n_lines} complete lines where {n_written} were written, or they were changed")]
    Changed { n_lines: u64, n_written: u64 },
    #[error("its first {0} lines answer other records than the input has")]
    Input(u64),
    #[error("its line {0} answers another record than the input has")]
    Line(u64),
    #[error("the first {0} requests of the input are not those that it was begun with")]
    Requests(u64),
    #[error("it has {n_bytes} bytes of complete results where {n_written} were written, or they were changed")]
    Shorter { n_bytes: u64, n_written: u64 },
    #[error("it has more lines ({n_lines}) than the input has records ({n_records})")]
    Longer { n_lines: u64, n_records: u64 },
}
