//! A reply as a body that grows: each piece is encoded by its dialect and handed on at once; a stream always gets its end.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream;

use super::problem::Problem;
use super::service::Answering;
use crate::infer::Piece;

/// How a dialect writes a reply's parts. What it writes is sent as it is.
pub trait Encoder: Send + 'static {
    /// What comes before the first piece.
    fn start(&mut self, _out: &mut String) {}

    /// One piece; the stream ends behind [`Piece::End`].
    fn piece(&mut self, piece: Piece, out: &mut String);

    /// What ended the reply too early; nothing comes after it.
    fn problem(&mut self, problem: &Problem, out: &mut String);
}

/// The media types of streams.
pub const JSON_LINES: &str = "application/x-ndjson";
pub const SERVER_SENT_EVENTS: &str = "text/event-stream";

/// A response that sends the reply as it comes. Dropping its body cancels the reply.
#[must_use]
pub fn response(answering: Answering, encoder: impl Encoder, media_type: &'static str) -> Response {
    struct Streaming<E>(Answering, E);
    let mut first = String::new();
    let mut encoder = encoder;
    encoder.start(&mut first);
    let state = Some((first, Streaming(answering, encoder)));
    let pieces = stream::unfold(state, |state| async {
        let (mut out, mut streaming) = state?;
        let Streaming(answering, encoder) = &mut streaming;
        loop {
            let goes_on = match answering.next().await {
                Ok(Some(piece)) => {
                    let goes_on = !matches!(piece, Piece::End(_));
                    encoder.piece(piece, &mut out);
                    goes_on
                }
                Ok(None) => false,
                Err(problem) => {
                    encoder.problem(&problem, &mut out);
                    false
                }
            };
            if goes_on && out.is_empty() {
                continue;
            }
            let next = goes_on.then(|| (String::new(), streaming));
            return Some((Ok::<_, Infallible>(Bytes::from(out)), next));
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
