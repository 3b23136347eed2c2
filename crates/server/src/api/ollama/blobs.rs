//! `/api/blobs`: uploads of files that models are made of, named by their digests.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, mpsc};

use super::types::Errors;
use crate::api::fields::InPath;
use crate::api::problem::{Kind, Problem};
use crate::api::service::Service;
use slm_store::store::{Store, StoreError};
use slm_values::digest::Digest;

/// Uploads at once; each has a thread.
const MAX_AT_ONCE: usize = 8;
/// Pieces that wait for the disk.
const AHEAD: usize = 4;
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What comes from the network for the thread that writes.
enum Coming {
    Piece(Bytes),
    End,
}

/// Says whether a blob is stored.
#[utoipa::path(head, path = "/api/blobs/{digest}", tag = "ollama",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits", pattern = "^sha256:[0-9a-f]{64}$")),
    responses((status = 200, description = "It is stored."), (status = 404, description = "It is not stored.")))]
pub async fn has(State(service): State<Arc<Service>>, InPath(digest): InPath) -> Result<StatusCode, Problem> {
    let digest = parsed(&digest)?;
    let is_here = service.in_store(move |store| Ok::<_, Problem>(store.has_blob(&digest))).await?;
    Ok(if is_here { StatusCode::OK } else { StatusCode::NOT_FOUND })
}

/// Uploads a blob. Content that does not match the digest is refused and not stored.
#[utoipa::path(post, path = "/api/blobs/{digest}", tag = "ollama",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits", pattern = "^sha256:[0-9a-f]{64}$")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "It is stored now."),
        (status = 200, description = "It was already stored."),
        Errors
    ))]
pub async fn take(
    State(service): State<Arc<Service>>,
    InPath(digest): InPath,
    request: Request,
) -> Result<StatusCode, Problem> {
    static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(MAX_AT_ONCE));
    let digest = parsed(&digest)?;
    if service.in_store(move |store| Ok::<_, Problem>(store.has_blob(&digest))).await? {
        return Ok(StatusCode::OK);
    }
    let Ok(_place) = PLACES.try_acquire() else {
        let message = format!("{MAX_AT_ONCE} uploads are already in progress; try again when one is done");
        return Err(Problem::new(Kind::Busy { retry_after: RETRY_AFTER }, message));
    };
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let (pieces, coming) = mpsc::channel(AHEAD);
    let written = service.in_store(move |store| write(store, digest, length, coming));
    let (sent, written) = futures_util::future::join(send(request, pieces), written).await;
    // The disk's reason comes first: it is why nothing more was sent.
    written?;
    sent?;
    Ok(StatusCode::CREATED)
}

fn parsed(digest: &str) -> Result<Digest, Problem> {
    let parsed = digest.parse().ok().or_else(|| Digest::from_file_name(digest));
    let none =
        || Problem::invalid(format!("`{digest}` is not a digest: give `sha256:` and 64 hex digits")).of("digest");
    parsed.ok_or_else(none)
}

/// Hands on what comes, as fast as it is written.
async fn send(request: Request, pieces: mpsc::Sender<Coming>) -> Result<(), Problem> {
    let mut body = request.into_body().into_data_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| Problem::invalid(format!("the upload ended early: {error}")))?;
        if pieces.send(Coming::Piece(piece)).await.is_err() {
            break;
        }
    }
    // A body that broke off, or a client that left, has no such end.
    let _ = pieces.send(Coming::End).await;
    Ok(())
}

fn write(
    store: &Store,
    digest: Digest,
    length: Option<u64>,
    mut coming: mpsc::Receiver<Coming>,
) -> Result<(), StoreError> {
    let mut incoming = store.receive(digest, length)?;
    loop {
        match coming.blocking_recv() {
            Some(Coming::Piece(piece)) => incoming.write(&piece)?,
            Some(Coming::End) => return store.keep(incoming),
            // Dropped with the client: nothing is kept, and nobody asks.
            None => return Ok(()),
        }
    }
}
