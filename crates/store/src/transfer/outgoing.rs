//! A blob being uploaded: read piece by piece, and hashed while it is read, so that damaged bytes are found before a
//! registry has taken the last of them.

use crate::registry::{Payload, Pieces};
use crate::store::{Content, StoreError};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use slm_values::digest::{Digest, Hasher};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

const PIECE_BYTES: usize = 256 << 10;
/// Pieces that are read ahead of the line.
const AHEAD: usize = 4;

/// A blob that is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    content: Content,
    digest: Digest,
    n_bytes: u64,
    hashed: Mutex<Hashed>,
}

/// What is known of the bytes.
#[derive(Debug, Default)]
struct Hashed {
    hasher: Hasher,
    /// All bytes before this one are in the hash.
    n_bytes: u64,
    flaw: Option<Flaw>,
}

/// Why a blob cannot be sent.
#[derive(Debug)]
pub(super) enum Flaw {
    /// Its bytes are those of another digest.
    Other(Digest),
    Unreadable(StoreError),
}

impl Outgoing {
    pub(super) fn new(content: Content, digest: Digest, n_bytes: u64) -> Arc<Outgoing> {
        Arc::new(Outgoing { content, digest, n_bytes, hashed: Mutex::default() })
    }

    /// The bytes of a range for a request, read by a thread of their own. A range that ends with the blob ends in an error
    /// where the blob's bytes are wrong.
    pub(super) fn payload(self: &Arc<Self>, range: Range<u64>) -> Payload {
        if range.is_empty() {
            return Payload::default();
        }
        let outgoing = Arc::clone(self);
        Payload::stream(range.end - range.start, move || Arc::clone(&outgoing).pieces(range.clone()))
    }

    fn pieces(self: Arc<Self>, range: Range<u64>) -> Pieces {
        let (send, receive) = mpsc::channel(AHEAD);
        let read = move || {
            let mut at = range.start;
            while at < range.end {
                let piece = self.piece(at, range.end);
                at += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                let is_last = piece.is_err();
                if send.blocking_send(piece).is_err() || is_last {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("outgoing".to_owned()).spawn(read).expect("a thread can be started");
        stream::unfold(receive, |mut receive| async { receive.recv().await.map(|piece| (piece, receive)) }).boxed()
    }

    /// Reads a piece; what is new of it goes into the hash.
    fn piece(&self, at: u64, end: u64) -> io::Result<Bytes> {
        let n_bytes = usize::try_from(end - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let read = self.content.read(at, n_bytes);
        let mut hashed = self.hashed();
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                let text = error.to_string();
                hashed.flaw.get_or_insert(Flaw::Unreadable(error));
                return Err(io::Error::other(text));
            }
        };
        let end = at + n_bytes as u64;
        if (at..end).contains(&hashed.n_bytes) {
            let known = usize::try_from(hashed.n_bytes - at).expect("less than a piece");
            hashed.hasher.update(&bytes[known..]);
            hashed.n_bytes = end;
        }
        if hashed.n_bytes == self.n_bytes && hashed.flaw.is_none() {
            let found = hashed.hasher.clone().finish();
            if found != self.digest {
                hashed.flaw = Some(Flaw::Other(found));
            }
        }
        match hashed.flaw {
            Some(_) => Err(io::Error::other("the blob is damaged")),
            None => Ok(bytes),
        }
    }

    /// Hashes what comes before `end`, for an upload that continues from there.
    pub(super) async fn catch_up(self: &Arc<Self>, end: u64) {
        let outgoing = Arc::clone(self);
        let (send, receive) = oneshot::channel();
        let read = move || {
            loop {
                let at = outgoing.hashed().n_bytes;
                if at >= end || send.is_closed() || outgoing.piece(at, end).is_err() {
                    break;
                }
            }
            // Nobody waits where the push was given up.
            let _ = send.send(());
        };
        std::thread::Builder::new().name("outgoing".to_owned()).spawn(read).expect("a thread can be started");
        receive.await.expect("the thread always answers");
    }

    /// What is wrong with the bytes, as far as they were read.
    pub(super) fn flaw(&self) -> Option<Flaw> {
        self.hashed().flaw.take()
    }

    fn hashed(&self) -> MutexGuard<'_, Hashed> {
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
