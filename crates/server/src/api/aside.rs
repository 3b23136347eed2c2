//! Runs the long work of one request so that other requests do not wait for it: a schema with thousands of properties takes seconds to
//! understand, and a server has as many threads as the machine has processors.

use std::future::poll_fn;
use std::pin::pin;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Requests with a longer body may take long; what is shorter is understood at once.
const SHORT_BYTES: u64 = 8 * 1024;

/// Whether a request may take long to understand, by the length that it says its body has; in chunks it may be anything.
#[must_use]
pub fn may_take_long(headers: &HeaderMap) -> bool {
    match headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok()) {
        Some(n_bytes) => n_bytes > SHORT_BYTES,
        None => headers.contains_key(TRANSFER_ENCODING),
    }
}

/// Does work whose steps may be long, each of them beside the threads that serve others.
pub async fn aside<W: Future>(work: W) -> W::Output {
    let mut work = pin!(work);
    // A runtime of one thread, as tests have it, has nobody else to serve.
    let is_shared = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    poll_fn(|cx| if is_shared { block_in_place(|| work.as_mut().poll(cx)) } else { work.as_mut().poll(cx) }).await
}
