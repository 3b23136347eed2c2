//! `/v1/responses`, stateless between requests.

mod event;
mod events;
pub mod items;
mod output;
pub mod output_item;
pub mod reply;
pub mod request;
pub mod tools;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::{Refusals, new_id, unix};
use crate::api::body::Body;
use crate::api::choices::{self, Calls};
use crate::api::problem::Problem;
use crate::api::service::Service;
use crate::api::stream;
use event::NumberedEvent;
use events::Events;
use reply::ResponseReply;
use request::{Delivery, Echo, ParsedResponses, ResponseRequest};

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/v1/responses",
    tag = "openai",
    request_body = ResponseRequest,
    responses(
        (
            status = 200,
            description = "the answer; with `stream` a sequence of named events",
            content((ResponseReply = "application/json"), (NumberedEvent = "text/event-stream"))
        ),
        Refusals
    )
)]
pub async fn respond(
    State(service): State<Arc<Service>>,
    Body(request): Body<ResponseRequest>,
) -> Result<Response, Problem> {
    let wanted = service.read(&request.model.clone(), request.wanted())?;
    let ParsedResponses { mut ask, n_top, calls, delivery, echo } = wanted;
    let opened = service.open_for(&ask).await?;
    service.relax_thinking(&opened, &mut ask, "reasoning.effort")?;
    let ready = service.ready(&opened, ask).await?;
    let answering = service.send(opened, ready)?;
    let head = ResponseHead { id: new_id("resp_"), created: unix(SystemTime::now()), n_top, calls, echo };
    match delivery {
        Delivery::Whole => Ok(Json(output::whole(head, choices::whole(answering).await?)).into_response()),
        Delivery::Streamed => stream::response(answering, Events::new(head), stream::SERVER_SENT_EVENTS).await,
    }
}

/// What every state of a response says, and how its items are told.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    id: String,
    created: u64,
    /// Likely tokens that are told of each token; `None` tells no probabilities.
    n_top: Option<u8>,
    calls: Calls,
    echo: Echo,
}
