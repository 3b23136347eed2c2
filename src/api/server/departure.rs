//! Notices that a client is gone while its answer is awaited or written, so that nobody computes for it further.
//!
//! A client that closes its socket and one that only says that it will send no more look alike: both send an end. The
//! second reads its answer still. So on an end an interim answer is sent, `100 Continue`, which every client of HTTP/1.1
//! reads over; the system of one that is gone replies with a reset.

use super::exchange::Exchange;
use super::socket::Socket;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::Interest;

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A client went away before its answer was whole.
#[derive(Debug, thiserror::Error)]
#[error("the client went away")]
pub(super) struct Gone;

/// Watches one request's client.
pub(super) struct Watch {
    socket: Arc<Socket>,
    exchange: Arc<Exchange>,
    broken: Pin<Box<dyn Future<Output = ()> + Send>>,
    seen: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// The client sends no more.
    End,
    /// It was asked whether it is there.
    Asked,
}

impl Watch {
    pub(super) fn new(socket: Arc<Socket>, exchange: Arc<Exchange>) -> Watch {
        let watched = Arc::clone(&socket);
        let broken = Box::pin(async move {
            // An error of the readiness itself is the runtime's end.
            let _ = watched.ready(Interest::ERROR).await;
        });
        Watch { socket, exchange, broken, seen: Seen::Nothing }
    }

    /// Ready when the client is gone.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        if self.broken.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Gone);
        }
        // Until the request is read whole, who reads it notices.
        if self.seen == Seen::Nothing && self.exchange.is_read() {
            match self.socket.poll_peek(cx) {
                Poll::Ready(Ok(0)) => self.seen = Seen::End,
                Poll::Ready(Err(_)) => return Poll::Ready(Gone),
                // Of a client that has sent its next request already, only a reset or a failed write tells.
                Poll::Ready(Ok(_)) | Poll::Pending => {}
            }
        }
        if self.seen == Seen::End && self.exchange.may_interrupt(cx.waker()) {
            self.seen = Seen::Asked;
            if !self.socket.try_write(INTERIM).is_ok_and(|n_bytes| n_bytes == INTERIM.len()) {
                return Poll::Ready(Gone);
            }
        }
        Poll::Pending
    }
}

/// An answer's body that ends with an error when its client is gone.
pub(super) struct Watched {
    body: axum::body::Body,
    watch: Watch,
}

impl Watched {
    pub(super) fn new(body: axum::body::Body, watch: Watch) -> Watched {
        Watched { body, watch }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        self.watch.poll(cx).map(|gone| Some(Err(gone.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
