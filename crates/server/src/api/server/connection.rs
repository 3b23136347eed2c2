//! One connection, from its first byte to its last: hyper reads its requests in turn, and refuses heads that can be read in
//! two ways.

use super::Server;
use super::listen::Accepted;
use super::socket::{Peer, Socket, Stream};
use super::table::{Busy, TableEntry};
use crate::api::metrics::Metrics;
use crate::api::problem::{Kind, Problem};
use crate::api::refusal;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use slm_values::causes::with_causes;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tower::ServiceExt as _;
use tower_http::timeout::TimeoutBody;

const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Bounds what is held for a client that reads slowly.
const BUFFER_BYTES: usize = 64 * 1024;
/// What a client still sends after its answer is read for so long: unread, the answer could be lost with a reset.
const LINGER: Duration = Duration::from_secs(10);
const LINGER_SILENCE: Duration = Duration::from_secs(1);
/// For a head that is half there when its connection is told to end.
const HALF_A_HEAD: Duration = Duration::from_millis(500);

/// Serves a connection until it ends, of itself or because the server does. A client that closes its side, or half of it, has
/// left: what is done for it ends at once.
pub(super) async fn serve(accepted: Accepted, server: &Server, place: TableEntry) {
    let Server { router, settings, drain, metrics, .. } = server;
    let Accepted { stream, peer, local } = accepted;
    let (activity, patience) = (&place.activity, settings.patience);
    let socket = Socket::new(stream, patience.write, Arc::clone(activity));
    let service = service_fn(|request| {
        let mut request = request.map(|body| Body::new(TimeoutBody::new(patience.body, body)));
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(local.clone());
        answer(request, router.clone(), metrics.clone(), activity.asked())
    });
    let mut connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let told = async {
        tokio::select! {
            () = activity.close.notified() => {}
            () = drain.begun() => {}
        }
    };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = told => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = activity.idle_for(HALF_A_HEAD) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        note(&error, peer, metrics);
    }
    // What was in flight is dropped here.
    let Socket { mut stream, .. } = connection.into_parts().io.into_inner();
    activity.flushed();
    tokio::select! {
        () = linger(&mut stream) => {}
        () = activity.close.notified() => {}
    }
}

async fn answer(
    request: Request<Body>,
    router: Router,
    metrics: Metrics,
    busy: Busy,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = axum::Error>>, Infallible> {
    let response = match strange(request.method(), request.headers()) {
        Some((status, message)) => {
            metrics.answered("other", "refused", status.as_u16(), Duration::ZERO);
            let problem = Problem::new(Kind::Protocol(status), message);
            let mut response = refusal::answer(request.uri().path(), &problem);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
        None => router.oneshot(request).await?,
    };
    Ok(response.map(|body| {
        body.map_err(move |error| {
            // Held as long as the body.
            let _ = &busy;
            error
        })
    }))
}

/// What hyper takes and this server does not: of several transfer codings a proxy before it may have read another than hyper
/// does, and so another body.
fn strange(method: &Method, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    if method == Method::CONNECT {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "this server is not a proxy: CONNECT is not supported"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_known = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if is_known && codings.next().is_none() {
        return None;
    }
    Some((StatusCode::NOT_IMPLEMENTED, "the only supported transfer coding is `chunked`"))
}

/// hyper has answered what it could not read.
fn note(error: &hyper::Error, peer: Peer, metrics: &Metrics) {
    if error.is_parse() {
        let status = if error.is_parse_too_large() { 431 } else { 400 };
        metrics.answered("other", "refused", status, Duration::ZERO);
    }
    tracing::debug!(client = %peer, "a connection ended: {}", with_causes(error));
}

/// Says that there is no room for one more, without reading what it wants.
pub(super) async fn turn_away(mut stream: Box<dyn Stream>) {
    let body = "{\"error\":\"too many connections; try again in a moment\"}";
    let head =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        linger(&mut stream).await;
    }
}

/// Says that nothing more comes, and reads away what the client still sends: closing over it would reset the connection, and
/// the client might never see its answer.
async fn linger(stream: &mut Box<dyn Stream>) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let drain = async {
        let mut piece = vec![0; 16 * 1024];
        while let Ok(Ok(1..)) = timeout(LINGER_SILENCE, stream.read(&mut piece)).await {}
    };
    let _ = timeout(LINGER, drain).await;
}
