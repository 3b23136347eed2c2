//! The progress of a pull or a push as lines of Ollama's API, one for each thing that happens.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::{Direction, Event};
use slm_values::digest::Digest;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TransferStatus {
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
    /// Bytes of the blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Bytes of it that are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
}

impl TransferStatus {
    #[must_use]
    pub fn status(status: impl Into<String>) -> TransferStatus {
        TransferStatus { status: status.into(), digest: None, total: None, completed: None }
    }

    /// The last line of every transfer, and of nothing else.
    #[must_use]
    pub fn success() -> TransferStatus {
        TransferStatus::status("success")
    }
}

/// Makes lines of events; at most ten a second of a blob's progress.
#[derive(Debug, Default)]
pub struct StatusReporter {
    direction: Direction,
    blobs: HashMap<Digest, Blob>,
}

#[derive(Debug)]
struct Blob {
    digest: Option<Digest>,
    total: u64,
    completed: u64,
    told: Instant,
}

const TELL_EVERY: Duration = Duration::from_millis(100);

impl StatusReporter {
    #[must_use]
    pub fn of(direction: Direction) -> StatusReporter {
        StatusReporter { direction, ..StatusReporter::default() }
    }

    /// The line of an event, where it has one.
    pub fn tell(&mut self, event: Event<'_>) -> Option<TransferStatus> {
        let status = |pull: Option<&str>, push: Option<&str>| match self.direction {
            Direction::Pull => pull.map(TransferStatus::status),
            Direction::Push => push.map(TransferStatus::status),
        };
        match event {
            Event::Manifest => status(Some("pulling manifest"), Some("retrieving manifest")),
            Event::Blob { id, digest, total, done, .. } => {
                let new = Blob { digest: digest.copied(), total, completed: done, told: Instant::now() };
                let blob = self.blobs.entry(*id).or_insert(new);
                (blob.total, blob.completed) = (total, done);
                self.blob(id)
            }
            Event::Bytes { id, n_bytes } => self.moved(id, |blob| blob.completed += n_bytes),
            Event::At { id, done } => self.moved(id, |blob| blob.completed = done),
            Event::Discarded { id } => {
                self.blobs.get_mut(id)?.completed = 0;
                None
            }
            Event::Ready { id } => {
                let blob = self.blobs.get_mut(id)?;
                blob.completed = blob.total;
                self.blob(id)
            }
            Event::Elsewhere { .. } => None,
            Event::Retrying { reason, wait } => {
                Some(TransferStatus::status(format!("retrying in {:.1} s: {reason}", wait.as_secs_f64())))
            }
            Event::Verified => status(Some("verifying sha256 digest"), Some("pushing manifest")),
            Event::Manifested => status(Some("writing manifest"), None),
            Event::Success => Some(TransferStatus::success()),
        }
    }

    fn moved(&mut self, id: &Digest, change: impl FnOnce(&mut Blob)) -> Option<TransferStatus> {
        let blob = self.blobs.get_mut(id)?;
        change(blob);
        if blob.told.elapsed() < TELL_EVERY {
            return None;
        }
        self.blob(id)
    }

    fn blob(&mut self, id: &Digest) -> Option<TransferStatus> {
        let blob = self.blobs.get_mut(id)?;
        blob.told = Instant::now();
        let verb = match self.direction {
            Direction::Pull => "pulling",
            Direction::Push => "pushing",
        };
        let what = blob.digest.map_or_else(|| "file".to_owned(), |digest| digest.short());
        let (digest, total, completed) = (blob.digest, Some(blob.total), Some(blob.completed));
        Some(TransferStatus { status: format!("{verb} {what}"), digest, total, completed })
    }
}
