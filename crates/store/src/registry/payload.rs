//! The bytes of a request: few in memory, or a stream of many that is made again for each try.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes as they are read.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// What is sent with a request.
#[derive(Clone, Default)]
pub struct Payload {
    n_bytes: u64,
    content: Content,
    /// What the line has taken.
    sent: Arc<AtomicU64>,
}

#[derive(Clone, Default)]
enum Content {
    #[default]
    Nothing,
    Memory(Bytes),
    Stream(Arc<dyn Fn() -> Pieces + Send + Sync>),
}

impl Payload {
    /// As many bytes as `open` gives each time.
    #[must_use]
    pub fn stream(n_bytes: u64, open: impl Fn() -> Pieces + Send + Sync + 'static) -> Payload {
        Payload { n_bytes, content: Content::Stream(Arc::new(open)), sent: Arc::default() }
    }

    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// How many bytes of the last try the line has taken.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The body of one try.
    pub(super) fn body(&self) -> reqwest::Body {
        self.sent.store(0, Ordering::Relaxed);
        match &self.content {
            Content::Nothing => reqwest::Body::default(),
            Content::Memory(bytes) => {
                self.sent.store(self.n_bytes, Ordering::Relaxed);
                bytes.clone().into()
            }
            Content::Stream(open) => {
                let sent = Arc::clone(&self.sent);
                let counted = open().inspect(move |piece| {
                    if let Ok(piece) = piece {
                        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    }
                });
                reqwest::Body::wrap_stream(counted)
            }
        }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload { n_bytes: bytes.len() as u64, content: Content::Memory(bytes.into()), sent: Arc::default() }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.n_bytes)
    }
}
