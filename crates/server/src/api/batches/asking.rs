//! A request of a batch on its way through a router in this process: the same way as one that comes over a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::line::BatchLine;
use super::results::HttpAnswer;
use crate::api::logging::REQUEST_ID;
use crate::api::server::{Local, Peer};
use slm_infer::infer::{Hosted, HostedBatch};

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    Answered(HttpAnswer),
    /// The server has no place for it now.
    Busy {
        retry_after: Duration,
    },
}

/// A header of a request, as this program writes it.
pub type Header = (&'static str, &'static str);

/// A router in this process.
#[derive(Debug, Clone)]
pub struct InProcess(Router);

impl InProcess {
    #[must_use]
    pub fn new(router: Router) -> InProcess {
        InProcess(router)
    }

    /// Sends a request once, with more headers.
    pub async fn ask(&self, line: &BatchLine, headers: &[Header]) -> Tried {
        ask(self.0.clone(), line, headers, None).await
    }

    /// The same, with its questions to the remotes of a cascade going through a hosted batch.
    pub async fn ask_hosted(&self, line: &BatchLine, headers: &[Header], batch: &Arc<HostedBatch>) -> Tried {
        let hosted = Hosted { custom_id: line.custom_id.as_str().into(), batch: batch.clone() };
        ask(self.0.clone(), line, headers, Some(hosted)).await
    }
}

async fn ask(router: Router, line: &BatchLine, headers: &[Header], hosted: Option<Hosted>) -> Tried {
    let body = serde_json::to_vec(&line.body).expect("an object of JSON");
    let mut request = Request::post(line.endpoint.path())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len())
        // Who may write into this process's memory needs no key.
        .extension(Local::Own)
        .extension(Peer::Unix);
    if let Some(hosted) = hosted {
        request = request.extension(hosted);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body)).expect("a path and headers of our own");
    let Ok(response) = router.oneshot(request).await;
    let (parts, body) = response.into_parts();
    let text = |name: &header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(busy) = busy(parts.status.as_u16(), text(&header::RETRY_AFTER)) {
        return busy;
    }
    let request_id = text(&REQUEST_ID).unwrap_or_default().to_owned();
    let body = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => format!("the answer broke off: {error}").into(),
    };
    Tried::Answered(HttpAnswer { status: parts.status.as_u16(), request_id, body })
}

/// Whether an answer only says that the server is busy.
#[must_use]
pub fn busy(status: u16, retry_after: Option<&str>) -> Option<Tried> {
    let seconds = retry_after.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(1);
    let retry_after = Duration::from_secs(seconds).clamp(Duration::from_secs(1), Duration::from_secs(60));
    (status == 503).then_some(Tried::Busy { retry_after })
}
