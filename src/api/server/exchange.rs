//! How far a connection is with its request: what its wire, its handler and its watcher tell each other.

use super::head::{Refusal, Version};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

/// One connection's present request. All of it happens in one task, so that the lock never waits.
#[derive(Debug)]
pub(super) struct Exchange(Mutex<Now>);

#[derive(Debug)]
struct Now {
    stage: Stage,
    /// No request, or not all of its head, since then.
    idle_since: Option<Instant>,
    version: Version,
    refusal: Option<Refusal>,
    /// Whether all that was written has gone to the kernel.
    flushed: bool,
    on_flushed: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Between requests, or reading a head.
    Between,
    /// The head is handed over, the body not all.
    Reading,
    /// The request is read and its answer not begun.
    Waiting,
    Answering,
}

impl Exchange {
    pub(super) fn new() -> Exchange {
        Exchange(Mutex::new(Now {
            stage: Stage::Between,
            idle_since: Some(Instant::now()),
            version: Version::Http11,
            refusal: None,
            flushed: true,
            on_flushed: None,
        }))
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A head was handed over.
    pub(super) fn begun(&self, version: Version) {
        let mut now = self.now();
        now.stage = Stage::Reading;
        now.version = version;
        now.idle_since = None;
        now.flushed = false;
    }

    /// The request's last byte was handed over.
    pub(super) fn whole(&self) {
        let mut now = self.now();
        if now.stage == Stage::Reading {
            now.stage = Stage::Waiting;
        }
    }

    /// The answer's head is about to be written.
    pub(super) fn answering(&self) {
        self.now().stage = Stage::Answering;
    }

    /// The next request is awaited.
    pub(super) fn ended(&self) {
        let mut now = self.now();
        if now.idle_since.is_none() {
            now.stage = Stage::Between;
            now.idle_since = Some(Instant::now());
        }
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.now().idle_since
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.now().refusal = Some(refusal);
    }

    pub(super) fn take_refusal(&self) -> Option<Refusal> {
        self.now().refusal.take()
    }

    pub(super) fn wrote(&self) {
        self.now().flushed = false;
    }

    pub(super) fn flushed(&self) {
        let mut now = self.now();
        now.flushed = true;
        if let Some(waker) = now.on_flushed.take() {
            waker.wake();
        }
    }

    /// Whether the request is read whole, so that what a client sends now is of its next one.
    pub(super) fn is_read(&self) -> bool {
        matches!(self.now().stage, Stage::Waiting | Stage::Answering)
    }

    /// Whether an interim answer may be written at this moment: the answer has not begun, nothing else is on its way, and
    /// the client knows that there are interim answers. Where only the second is in the way, `waker` is told once it is not.
    pub(super) fn may_interrupt(&self, waker: &Waker) -> bool {
        let mut now = self.now();
        if now.stage != Stage::Waiting || now.version == Version::Http10 {
            return false;
        }
        if !now.flushed {
            now.on_flushed = Some(waker.clone());
        }
        now.flushed
    }
}
