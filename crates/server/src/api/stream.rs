//! A reply as a streamed body: each piece is encoded by its dialect and sent at once; a stream always gets its last event.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream;
use serde::Serialize;

use super::logging::Account;
use super::problem::Problem;
use super::service::Answering;
use slm_infer::infer::Piece;

/// What pieces come from.
pub trait Source: Send + 'static {
    type Item: Send;

    /// The next piece; `None` after the last, and nothing after an error.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Item>, Problem>> + Send;
}

impl Source for Answering {
    type Item = Piece;

    async fn next(&mut self) -> Result<Option<Piece>, Problem> {
        Answering::next(self).await
    }
}

/// How a dialect writes a reply's parts. What it writes is sent as it is.
pub trait Encoder<Item = Piece>: Send + 'static {
    /// What comes before the first piece.
    fn start(&mut self, _out: &mut String) {}

    fn piece(&mut self, piece: Item, out: &mut String);

    /// What comes after the last piece.
    fn finish(&mut self, _out: &mut String) {}

    /// What ended the reply too early; nothing comes after it.
    fn problem(&mut self, problem: &Problem, out: &mut String);
}

/// The media types of streams.
pub const JSON_LINES: &str = "application/x-ndjson";
pub const SERVER_SENT_EVENTS: &str = "text/event-stream";

/// A server-sent event with a name.
pub fn named_event(name: &str, data: &impl Serialize, out: &mut String) {
    *out += "event: ";
    *out += name;
    out.push('\n');
    event(data, out);
}

/// A server-sent event without a name. JSON holds no line break, so it is one line.
pub fn event(data: &impl Serialize, out: &mut String) {
    *out += "data: ";
    *out += &serde_json::to_string(data).expect("an event is plain data");
    *out += "\n\n";
}

/// A response that sends the reply as it comes. Dropping its body cancels the reply.
///
/// # Errors
/// What ended the reply before its first piece: it has a status of its own then.
pub async fn response<S: Source>(
    mut source: S,
    mut encoder: impl Encoder<S::Item>,
    media_type: &'static str,
) -> Result<Response, Problem> {
    let mut out = String::new();
    // The body is not of this task.
    let account = Account::current();
    let first = source.next().await?;
    encoder.start(&mut out);
    let goes_on = encode(Ok(first), &mut encoder, &mut out);
    let streaming = goes_on.then_some((source, encoder, account));
    let pieces = stream::unfold((out, streaming), |(mut out, mut streaming)| async {
        while let Some((source, encoder, account)) = &mut streaming
            && out.is_empty()
        {
            let next = source.next().await;
            if let Err(problem) = &next {
                account.failed(problem);
            }
            if !encode(next, encoder, &mut out) {
                streaming = None;
            }
        }
        (!out.is_empty()).then(|| (Ok::<_, Infallible>(Bytes::from(out)), (String::new(), streaming)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Writes what came; says whether there may be more.
fn encode<Item>(next: Result<Option<Item>, Problem>, encoder: &mut impl Encoder<Item>, out: &mut String) -> bool {
    match next {
        Ok(Some(piece)) => {
            encoder.piece(piece, out);
            return true;
        }
        Ok(None) => encoder.finish(out),
        Err(problem) => encoder.problem(&problem, out),
    }
    false
}
