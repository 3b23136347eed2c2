//! The body of an answer as it goes to the network: counted, slowed down, damaged, or ended as no good server ends it.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use bytes::Bytes;
use futures_util::Stream;
use tokio::net::{TcpListener, TcpSocket};

/// Small, so that little is on its way that a killed client never sees, and is counted all the same.
const PIECE_BYTES: u64 = 16 << 10;

/// The other end of a connection.
#[derive(Clone)]
pub struct Peer(Arc<std::net::TcpStream>);

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Peer {
        let descriptor = stream.io().as_fd().try_clone_to_owned().expect("a free descriptor");
        Peer(Arc::new(descriptor.into()))
    }
}

impl Peer {
    /// Makes the end of the connection a reset, whenever it comes.
    fn reset_at_end(&self) {
        if let Ok(stream) = self.0.try_clone() {
            let _ = TcpSocket::from_std_stream(stream).set_zero_linger();
        }
    }
}

/// How a body ends; places are those of the blob.
#[derive(Clone, Copy, PartialEq)]
pub enum Ending {
    Whole,
    Cut { at: u64 },
    Reset { at: u64 },
    Stall { at: u64 },
    Never,
}

/// What is still to be sent.
pub struct Sending {
    pub bytes: Bytes,
    pub at: u64,
    pub end: u64,
    pub ending: Ending,
    /// Bytes per second.
    pub pace: Option<u64>,
    /// The place of a byte that is sent as another.
    pub flip: Option<u64>,
    pub sent: Arc<AtomicU64>,
    pub peer: Peer,
}

impl Sending {
    pub fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        futures_util::stream::unfold(self, |mut sending| async move { Some((sending.piece().await?, sending)) })
    }

    async fn piece(&mut self) -> Option<io::Result<Bytes>> {
        let stop = match self.ending {
            Ending::Cut { at } | Ending::Reset { at } | Ending::Stall { at } => at.min(self.end),
            Ending::Whole | Ending::Never => self.end,
        };
        let broken = || Some(Err(io::Error::from(io::ErrorKind::BrokenPipe)));
        if self.at >= stop {
            // What came before goes out first: hyper would drop it with the connection.
            if matches!(self.ending, Ending::Cut { .. } | Ending::Reset { .. }) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return match self.ending {
                Ending::Whole => None,
                Ending::Never => Some(Ok(self.count(Bytes::from(vec![b' '; PIECE_BYTES as usize])))),
                Ending::Cut { .. } => broken(),
                Ending::Reset { .. } => {
                    self.peer.reset_at_end();
                    broken()
                }
                Ending::Stall { .. } => match std::future::pending::<Infallible>().await {},
            };
        }
        let mut n = PIECE_BYTES.min(stop - self.at);
        if let Some(pace) = self.pace {
            n = n.min((pace / 20).max(1));
            tokio::time::sleep(Duration::from_secs_f64(n as f64 / pace as f64)).await;
        }
        let mut piece = self.bytes.slice(self.at as usize..(self.at + n) as usize);
        if let Some(flip) = self.flip.filter(|flip| (self.at..self.at + n).contains(flip)) {
            let mut damaged = piece.to_vec();
            damaged[(flip - self.at) as usize] ^= 1;
            piece = damaged.into();
        }
        self.at += n;
        Some(Ok(self.count(piece)))
    }

    fn count(&self, piece: Bytes) -> Bytes {
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        piece
    }
}
