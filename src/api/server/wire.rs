//! What hyper reads and writes: a socket behind a strict reader, which gives it whole heads that can be read in one way
//! only, counts bodies, and has patience that ends.
//!
//! A head that is refused is replaced by another, which asks for nothing and closes the connection; the handler finds the
//! refusal in the exchange and answers with it. So an answer to what was sent before still goes out first.

use super::chunks::Chunks;
use super::exchange::Exchange;
use super::head::{self, Extent, Framing, Refusal, Version};
use super::socket::Socket;
use super::{Patience, Settings};
use axum::http::StatusCode;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What is read at once while looking for the end of a head.
const PIECE_BYTES: usize = 8 * 1024;
const REFUSED: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

#[derive(Debug)]
pub(super) struct Wire {
    socket: Arc<Socket>,
    exchange: Arc<Exchange>,
    patience: Patience,
    reading: Reading,
    /// A head that hyper has not taken yet.
    handing: Handing,
    /// Bytes behind a head or a body: of what comes next.
    ahead: Vec<u8>,
    reads: Timer,
    writes: Timer,
}

#[derive(Debug)]
enum Reading {
    Head {
        bytes: Vec<u8>,
    },
    Body {
        framing: Left,
        /// Bytes since the patience with this body began anew.
        n_bytes: usize,
    },
    /// Nothing more is read.
    Ended,
}

#[derive(Debug)]
enum Left {
    Bytes(u64),
    Chunks(Chunks),
}

#[derive(Debug, Default)]
struct Handing {
    bytes: Vec<u8>,
    taken: usize,
}

/// A time at which something must have happened.
#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Timer {
    fn stop(&mut self) {
        self.running = false;
    }

    /// Whether the time is up; it begins with the first call.
    fn is_up(&mut self, cx: &mut Context<'_>, after: Duration) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        if !self.running {
            sleep.as_mut().reset(Instant::now() + after);
            self.running = true;
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

impl Wire {
    pub(super) fn new(socket: Arc<Socket>, exchange: Arc<Exchange>, settings: &Settings) -> Wire {
        Wire {
            socket,
            exchange,
            patience: settings.patience,
            reading: Reading::Head { bytes: Vec::new() },
            handing: Handing::default(),
            ahead: Vec::new(),
            reads: Timer::default(),
            writes: Timer::default(),
        }
    }

    /// Bytes from what was read too far, else from the socket.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.ahead.is_empty() {
            return self.socket.poll_read(cx, into);
        }
        let n_bytes = into.len().min(self.ahead.len());
        into[..n_bytes].copy_from_slice(&self.ahead[..n_bytes]);
        self.ahead.drain(..n_bytes);
        if self.ahead.is_empty() {
            // An idle connection holds no buffers.
            self.ahead = Vec::new();
        }
        Poll::Ready(Ok(n_bytes))
    }

    /// Reads until there is a head to hand over, or nothing more to read.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE_BYTES];
        while self.handing.is_empty() {
            let Reading::Head { bytes } = &self.reading else { break };
            let is_begun = !bytes.is_empty();
            let read = self.poll_bytes(cx, &mut piece);
            let Reading::Head { bytes } = &mut self.reading else { break };
            let n_bytes = match read {
                Poll::Ready(Ok(n_bytes)) => n_bytes,
                // A client that is gone between two requests is no error.
                Poll::Ready(Err(_)) if !is_begun => 0,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let patience = if is_begun { self.patience.head } else { self.patience.idle };
                    if !self.reads.is_up(cx, patience) {
                        return Poll::Pending;
                    }
                    if is_begun {
                        let refusal = head::refuse(bytes, "the head of the request did not come in time");
                        self.refuse(Refusal { status: StatusCode::REQUEST_TIMEOUT, ..refusal });
                    } else {
                        self.reading = Reading::Ended;
                    }
                    return Poll::Ready(Ok(()));
                }
            };
            if n_bytes == 0 {
                if is_begun {
                    let refusal = head::refuse(bytes, "the connection ended in the head of the request");
                    self.refuse(refusal);
                } else {
                    self.reading = Reading::Ended;
                }
                return Poll::Ready(Ok(()));
            }
            if !is_begun {
                // From here on it is a head's time.
                self.reads.stop();
            }
            let scanned = bytes.len();
            bytes.extend_from_slice(&piece[..n_bytes]);
            self.look_for_head(scanned);
        }
        Poll::Ready(Ok(()))
    }

    fn look_for_head(&mut self, mut scanned: usize) {
        let Reading::Head { bytes } = &mut self.reading else { return };
        // One empty line before a request is what old clients send behind a body.
        if scanned < 2 && bytes.starts_with(b"\r\n") {
            bytes.drain(..2);
            scanned = 0;
        }
        let judged = match head::extent(bytes, scanned) {
            Ok(Extent::Partial) => return,
            Ok(Extent::Whole(end)) => head::judge(&bytes[..end]).map(|head| (head, end)),
            Err(refusal) => Err(refusal),
        };
        let (head, end) = match judged {
            Ok(found) => found,
            Err(refusal) => return self.refuse(refusal),
        };
        let mut behind = bytes.split_off(end);
        self.handing = Handing { bytes: std::mem::take(bytes), taken: 0 };
        behind.append(&mut self.ahead);
        self.ahead = behind;
        self.reads.stop();
        self.exchange.begun(head.version);
        let left = match head.framing {
            Framing::Nothing | Framing::Length(0) => return self.end_request(),
            Framing::Length(n_bytes) => Left::Bytes(n_bytes),
            Framing::Chunked => Left::Chunks(Chunks::START),
        };
        self.reading = Reading::Body { framing: left, n_bytes: 0 };
    }

    fn end_request(&mut self) {
        self.exchange.whole();
        self.reads.stop();
        self.reading = Reading::Head { bytes: Vec::new() };
    }

    fn refuse(&mut self, refusal: Refusal) {
        tracing::debug!(status = refusal.status.as_u16(), "refused a request: {refusal}");
        self.exchange.refuse(refusal);
        self.exchange.begun(Version::Http10);
        self.exchange.whole();
        self.handing = Handing { bytes: REFUSED.to_vec(), taken: 0 };
        self.ahead = Vec::new();
        self.reading = Reading::Ended;
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = match &self.reading {
            Reading::Body { framing: Left::Bytes(left), .. } => {
                buf.remaining().min(usize::try_from(*left).unwrap_or(usize::MAX))
            }
            _ => buf.remaining(),
        };
        let into = buf.initialize_unfilled_to(room);
        let n_read = match self.poll_bytes(cx, into) {
            Poll::Ready(read) => read?,
            Poll::Pending if self.reads.is_up(cx, self.patience.body) => {
                self.reading = Reading::Ended;
                let message = "the body of the request did not come in time";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
            Poll::Pending => return Poll::Pending,
        };
        let Reading::Body { framing, n_bytes } = &mut self.reading else { return Poll::Ready(Ok(())) };
        *n_bytes += n_read;
        if *n_bytes >= self.patience.body_bytes {
            *n_bytes = 0;
            self.reads.stop();
        }
        let (n_passed, is_done) = match framing {
            Left::Bytes(left) => {
                *left -= n_read as u64;
                (n_read, *left == 0)
            }
            Left::Chunks(chunks) => match chunks.pass(&into[..n_read]) {
                Ok(n_passed) => (n_passed, *chunks == Chunks::Done),
                Err(error) => {
                    self.reading = Reading::Ended;
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            },
        };
        if n_passed < n_read {
            let mut behind = into[n_passed..n_read].to_vec();
            behind.append(&mut self.ahead);
            self.ahead = behind;
        }
        if n_read == 0 {
            self.reading = Reading::Ended;
        } else if is_done {
            self.end_request();
        }
        buf.advance(n_passed);
        Poll::Ready(Ok(()))
    }

    fn poll_writing(&mut self, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.exchange.wrote();
        match self.socket.poll_write(cx, bytes) {
            Poll::Ready(written) => {
                self.writes.stop();
                Poll::Ready(written)
            }
            Poll::Pending if self.writes.is_up(cx, self.patience.write) => {
                let message = "the client did not take its answer in time";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if wire.handing.is_empty() && matches!(wire.reading, Reading::Head { .. }) {
            // hyper asks for a head once the answer before it is written.
            wire.exchange.ended();
            ready!(wire.poll_head(cx))?;
        }
        if !wire.handing.is_empty() {
            wire.handing.give(buf);
            return Poll::Ready(Ok(()));
        }
        match wire.reading {
            Reading::Body { .. } => wire.poll_body(cx, buf),
            Reading::Head { .. } | Reading::Ended => Poll::Ready(Ok(())),
        }
    }
}

impl Handing {
    fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = &self.bytes[self.taken..];
        let n_bytes = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..n_bytes]);
        self.taken += n_bytes;
        if self.is_empty() {
            *self = Handing::default();
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_writing(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper asks for this when all that it had to write is written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.exchange.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is asked on it any more: from here on it may be the one to make room.
        self.exchange.ended();
        Poll::Ready(self.socket.finish())
    }
}
