//! One connection, from its first byte to its last: requests in turn, each watched for its client's departure.

use super::departure::{Gone, Watch, Watched};
use super::drain::Drain;
use super::exchange::Exchange;
use super::socket::{Peer, Socket};
use super::table::Place;
use super::wire::Wire;
use super::{Local, Server};
use crate::api::metrics::Metrics;
use crate::api::refusal::refuse;
use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response, StatusCode};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tower::ServiceExt as _;

/// Bounds what is held for a client that reads slowly.
const BUFFER_BYTES: usize = 64 * 1024;
/// What a client may still send after its answer: without it being read, the answer could be lost with a reset.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(10);
const LINGER_SILENCE: Duration = Duration::from_secs(1);

/// A connection that was accepted, and what it needs.
#[derive(Debug)]
pub(super) struct Accepted {
    pub socket: Arc<Socket>,
    pub exchange: Arc<Exchange>,
    pub peer: Peer,
    pub local: Local,
}

/// Serves a connection until it ends, of itself or because the server does.
pub(super) async fn serve(accepted: Accepted, server: &Server, place: Place) {
    let Server { router, settings, drain, metrics, .. } = server;
    let Accepted { socket, exchange, peer, local } = accepted;
    socket.prepare(settings.patience.write);
    let wire = Wire::new(Arc::clone(&socket), Arc::clone(&exchange), settings);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(local.clone());
        let watch = Watch::new(Arc::clone(&socket), Arc::clone(&exchange));
        answer(request, router.clone(), Arc::clone(&exchange), watch, metrics.clone())
    });
    let mut builder = Builder::new();
    // The wire has its own times and limits; hyper's are not reached.
    builder.half_close(true).timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(wire), service));
    let (mut told, mut is_closing) = (pin!(leave(&place, drain)), false);
    let ended = poll_fn(|cx| {
        if !is_closing && told.as_mut().poll(cx).is_ready() {
            is_closing = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(client = %peer, "a connection ended: {}", causes(&error));
    }
    exchange.ended();
    tokio::select! {
        () = linger(&socket) => {}
        () = place.close.notified() => {}
    }
}

/// Until the connection is to end when its request has.
async fn leave(place: &Place, drain: &Drain) {
    tokio::select! {
        () = place.close.notified() => {}
        () = drain.begun() => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    router: Router,
    exchange: Arc<Exchange>,
    mut watch: Watch,
    metrics: Metrics,
) -> Result<Response<Watched>, Gone> {
    if let Some(refusal) = exchange.take_refusal() {
        metrics.answered("other", "refused", refusal.status.as_u16(), Duration::ZERO);
        let mut response = refuse(&refusal.path, refusal.status, &refusal.message);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(response.map(|body| Watched::new(body, watch)));
    }
    let path = request.uri().path().to_owned();
    let response = {
        let mut answering = pin!(AssertUnwindSafe(router.oneshot(request.map(Body::new))).catch_unwind());
        poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Ok(answered)),
            Poll::Pending => watch.poll(cx).map(Err),
        })
        .await?
    };
    let response = match response {
        Ok(Ok(response)) => response,
        // The panic itself has said where it was.
        Err(_) => refuse(&path, StatusCode::INTERNAL_SERVER_ERROR, "slm failed at this request; its log says where"),
    };
    exchange.answering();
    Ok(response.map(|body| Watched::new(body, watch)))
}

/// Says that there is no room for one more, without reading what it wants.
pub(super) async fn turn_away(socket: Socket) {
    let body = "{\"error\":\"too many connections; try again in a moment\"}";
    let head =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n";
    let _ = socket.try_write(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    linger(&socket).await;
}

/// Says that nothing more comes, and reads away what the client still sends: closing over it would reset the connection, and
/// the client might never see its answer.
async fn linger(socket: &Socket) {
    if socket.finish().is_err() {
        return;
    }
    let mut left = LINGER_BYTES;
    let drain = async {
        let mut piece = vec![0; 16 * 1024];
        while left > 0 {
            let read = poll_fn(|cx| socket.poll_read(cx, &mut piece));
            match tokio::time::timeout(LINGER_SILENCE, read).await {
                Ok(Ok(n_bytes)) if n_bytes > 0 => left = left.saturating_sub(n_bytes),
                _ => return,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

fn causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", causes(cause)),
        None => error.to_string(),
    }
}
