//! What is kept of files and batches beside their contents, as it lies on disk: plain values, no clock and no disk.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::line::Endpoint;

/// A file that was uploaded, or that a batch has written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredFile {
    pub id: String,
    /// Whose it is: the mark of the key that it came with, empty where there was none.
    pub house: String,
    pub filename: String,
    pub purpose: Purpose,
    pub n_bytes: u64,
    /// Seconds since 1970, here and below.
    pub created_at: u64,
    pub expires_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Batch,
    BatchOutput,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredBatch {
    pub id: String,
    pub house: String,
    pub endpoint: String,
    pub input_file_id: String,
    pub completion_window: String,
    pub metadata: Option<Map<String, Value>>,
    pub status: Status,
    pub times: Times,
    pub expires_at: u64,
    /// Seconds that its results are kept.
    pub results_kept: u64,
    /// The files that its results are written to; they can be read once it has ended.
    pub output_file_id: String,
    pub error_file_id: String,
    /// What was written to each of them, once it has ended.
    pub has_output: bool,
    pub has_errors: bool,
    pub counts: Counts,
    pub faults: Vec<Fault>,
}

/// How far a batch is, in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Validating,
    Failed,
    InProgress,
    Finalizing,
    Completed,
    Expired,
    Cancelling,
    Cancelled,
}

/// When a batch came to be what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    pub created_at: u64,
    pub in_progress_at: Option<u64>,
    pub finalizing_at: Option<u64>,
    pub completed_at: Option<u64>,
    pub failed_at: Option<u64>,
    pub expired_at: Option<u64>,
    pub cancelling_at: Option<u64>,
    pub cancelled_at: Option<u64>,
}

/// Requests of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
}

/// Why a batch failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    pub code: String,
    pub line: Option<u64>,
    pub message: String,
    pub param: Option<String>,
}

impl StoredFile {
    /// The file as OpenAI's clients read it.
    #[must_use]
    pub fn object(&self) -> Value {
        json!({
            "id": self.id,
            "object": "file",
            "bytes": self.n_bytes,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        })
    }
}

impl Status {
    /// Whether nothing more comes of the batch.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Status::Failed | Status::Completed | Status::Expired | Status::Cancelled)
    }

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Status::Validating => "validating",
            Status::Failed => "failed",
            Status::InProgress => "in_progress",
            Status::Finalizing => "finalizing",
            Status::Completed => "completed",
            Status::Expired => "expired",
            Status::Cancelling => "cancelling",
            Status::Cancelled => "cancelled",
        }
    }
}

impl StoredBatch {
    /// Says what became of it at a time.
    pub fn becomes(&mut self, status: Status, now: u64) {
        self.status = status;
        let times = &mut self.times;
        let time = match status {
            Status::Validating => return,
            Status::Failed => &mut times.failed_at,
            Status::InProgress => &mut times.in_progress_at,
            Status::Finalizing => &mut times.finalizing_at,
            Status::Completed => &mut times.completed_at,
            Status::Expired => &mut times.expired_at,
            Status::Cancelling => &mut times.cancelling_at,
            Status::Cancelled => &mut times.cancelled_at,
        };
        *time = Some(now);
    }

    /// The path that its requests ask; `None` where a later version wrote one that this one does not know.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint.parse().ok()
    }

    /// Whether it needs a file still: its input until it has ended, and its results while they are written.
    #[must_use]
    pub fn needs(&self, file_id: &str) -> bool {
        !self.status.is_final()
            && [&self.input_file_id, &self.output_file_id, &self.error_file_id].iter().any(|id| *id == file_id)
    }

    /// The batch as OpenAI's clients read it.
    #[must_use]
    pub fn object(&self) -> Value {
        let times = &self.times;
        let errors = (!self.faults.is_empty()).then(|| json!({ "object": "list", "data": self.faults }));
        json!({
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": errors,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status.word(),
            "output_file_id": self.has_output.then_some(&self.output_file_id),
            "error_file_id": self.has_errors.then_some(&self.error_file_id),
            "created_at": times.created_at,
            "in_progress_at": times.in_progress_at,
            "expires_at": self.expires_at,
            "finalizing_at": times.finalizing_at,
            "completed_at": times.completed_at,
            "failed_at": times.failed_at,
            "expired_at": times.expired_at,
            "cancelling_at": times.cancelling_at,
            "cancelled_at": times.cancelled_at,
            "request_counts": self.counts,
            "metadata": self.metadata,
        })
    }
}
