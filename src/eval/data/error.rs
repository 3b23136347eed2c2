//! Why data cannot be used at all; a single row that cannot be read does not end a run.

use std::path::PathBuf;

/// The most bytes that a data file may have: it is held in memory.
pub const MAX_BYTES: u64 = 1 << 30;

/// Why data cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("cannot read the data `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the data `{}` has more than {MAX_BYTES} bytes; split it, or take a sample", path.display())]
    TooLarge { path: PathBuf },
    #[error(
        "the data `{}` is none of `.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`; convert it, or rename it to what it is",
        path.display()
    )]
    UnknownKind { path: PathBuf },
    #[error("the data `{}` cannot be read as Parquet: {reason}", path.display())]
    Parquet { path: PathBuf, reason: String },
    #[error("the data `{}` is not a JSON array of objects: {reason}", path.display())]
    NotAnArray { path: PathBuf, reason: String },
    #[error("the data `{name}` has no rows")]
    Empty { name: String },
    #[error("no row of the data `{name}` is left by {by}")]
    NoneLeft { name: String, by: String },
    #[error("the data `{name}` has no column `{column}`, which the suite reads; its columns are {columns}")]
    MissingColumn { name: String, column: String, columns: String },
    #[error("the data `{}` has the column `{column}` twice; rename one", path.display())]
    RepeatedColumn { path: PathBuf, column: String },
    #[error("no row of the data `{name}` can be read; {place}: {reason}")]
    Unreadable { name: String, place: String, reason: String },
    #[error("the id `{id}` is there twice: {first}, and {second}; ids must differ")]
    RepeatedId { id: String, first: String, second: String },
    #[error("the template `{template}` cannot be used: {reason}")]
    Template { template: String, reason: String },
}
