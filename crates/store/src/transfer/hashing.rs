//! The hash of a download while it comes: a thread follows the bytes that are there without a hole.

use crate::store::{Download, StoreError};
use slm_values::digest::{Digest, Hasher};
use std::sync::mpsc;
use tokio::sync::oneshot;

const CHUNK_BYTES: usize = 256 << 10;
/// Smaller steps are not worth waking up for.
const STEP_BYTES: u64 = 1 << 20;

/// A thread that hashes a file from its start.
#[derive(Debug)]
pub(super) struct Hashing {
    frontier: mpsc::Sender<u64>,
    told: u64,
    n_bytes: u64,
    outcome: oneshot::Receiver<Result<Digest, StoreError>>,
}

impl Hashing {
    /// Begins with the bytes that are there: those of an earlier process count only once they are hashed again.
    pub(super) fn begin(download: &mut Download) -> Result<Hashing, StoreError> {
        let reader = download.reader()?;
        let (frontier, frontiers) = mpsc::channel::<u64>();
        let (send, outcome) = oneshot::channel();
        let follow = move || {
            let mut hasher = Hasher::new();
            let mut chunk = vec![0; CHUNK_BYTES];
            let mut at = 0;
            let mut hashed = Ok(());
            while let (Ok(()), Ok(mut end)) = (&hashed, frontiers.recv()) {
                while let Ok(later) = frontiers.try_recv() {
                    end = later;
                }
                hashed = reader.hash(at..end, &mut hasher, &mut chunk);
                at = end;
            }
            // Nobody listens where the download was given up.
            let _ = send.send(hashed.map(|()| hasher.finish()));
        };
        std::thread::Builder::new().name("hash".to_owned()).spawn(follow).expect("a thread can be started");
        let mut hashing = Hashing { frontier, told: 0, n_bytes: download.n_bytes(), outcome };
        hashing.advance(download.frontier());
        Ok(hashing)
    }

    /// There is no hole before `frontier`.
    pub(super) fn advance(&mut self, frontier: u64) {
        if frontier >= self.told + STEP_BYTES || frontier == self.n_bytes && frontier > self.told {
            self.told = frontier;
            // A thread that failed has hung up; its error comes at the end.
            let _ = self.frontier.send(frontier);
        }
    }

    /// The digest of everything before the last frontier.
    pub(super) async fn finish(self) -> Result<Digest, StoreError> {
        drop(self.frontier);
        self.outcome.await.expect("the thread always answers")
    }
}
