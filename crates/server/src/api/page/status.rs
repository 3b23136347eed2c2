//! `/page/status`: what the page at `/` shows of the server, and how far a request has come that a person waits for.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::api::service::Service;
use crate::api::stage::Stage;
use crate::residents::{Resident, State as Residence};

/// The path, which needs the server's key.
pub const STATUS: &str = "/page/status";

#[derive(OpenApi)]
#[openapi(paths(status))]
pub struct Document;

/// What a page asks about.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatusQuery {
    /// The `x-request-id` of a request in flight.
    request: Option<String>,
}

/// How the server is.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = page::ServerStatus)]
pub struct ServerStatus {
    pub version: &'static str,
    pub models: Vec<ModelInMemory>,
    /// The models that are being loaded.
    pub loading: Vec<String>,
    pub queue: Queue,
    pub totals: Totals,
    /// How far the request has come that was asked about; `null` where none in flight has its id.
    #[schema(required)]
    pub request: Option<Progress>,
}

/// A model in memory.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = page::ModelInMemory)]
pub struct ModelInMemory {
    pub name: String,
    /// Bytes of its engine; of one that several models share, this model's part.
    pub size: u64,
    /// Tokens of context.
    pub context_length: u32,
    /// When it is unloaded if nobody asks for it any more, as RFC 3339; `null` is never.
    #[schema(required)]
    pub expires_at: Option<String>,
    /// Requests that it answers now.
    pub answering: usize,
}

/// Requests for models.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = page::Queue)]
pub struct Queue {
    /// Waiting for their turn.
    pub waiting: usize,
    /// The most that may wait.
    pub limit: usize,
    /// At work.
    pub running: usize,
}

/// Counts since the server's start.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = page::Totals)]
pub struct Totals {
    /// Requests for models that have had their turn.
    pub requests: u64,
    /// Tokens of prompts that were evaluated.
    pub evaluated: u64,
    /// Tokens of prompts that had been evaluated for earlier ones.
    pub reused: u64,
    pub generated: u64,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "stage", rename_all = "lowercase")]
#[schema(as = page::Progress)]
pub enum Progress {
    /// It is being read.
    Received,
    /// It waits for its turn; so many that wait have theirs before it.
    Waiting { before: usize },
    /// It waits for its model to be loaded.
    Loading,
    /// Its model works on it.
    Answering,
}

/// Tells the page at `/` how the server is. It is neither logged nor counted as a request.
#[utoipa::path(get, path = "/page/status", tag = "operations", params(StatusQuery),
    responses((status = 200, body = ServerStatus)))]
pub async fn status(State(service): State<Arc<Service>>, Query(asked): Query<StatusQuery>) -> Json<ServerStatus> {
    let request = asked.request.and_then(|id| progress(&service, &id));
    let residents = service.residents().list().await;
    let timestamp = service.settings().timestamp;
    let (line, tokens) = (service.admission().snapshot(), service.metrics().tokens());
    let is_loading = |base: &&Resident| matches!(base.state, Residence::Loading { .. });
    let loading = residents.iter().filter(is_loading).flat_map(|base| &base.tenants);
    Json(ServerStatus {
        version: env!("CARGO_PKG_VERSION"),
        loading: loading.map(|state| state.tenant.name.to_string()).collect(),
        models: residents.iter().filter(|base| !is_loading(base)).flat_map(|base| in_memory(base, timestamp)).collect(),
        queue: Queue { waiting: line.n_queued, limit: service.settings().max_queue, running: line.n_running },
        totals: Totals {
            requests: line.admitted,
            evaluated: tokens.prefilled,
            reused: tokens.reused,
            generated: tokens.decoded,
        },
        request,
    })
}

fn progress(service: &Service, id: &str) -> Option<Progress> {
    Some(match service.stages().find(id)? {
        Stage::Received => Progress::Received,
        // Let in a moment ago, it waits for its model.
        Stage::InLine(ticket) => {
            service.admission().n_before(ticket).map_or(Progress::Loading, |before| Progress::Waiting { before })
        }
        Stage::Loading => Progress::Loading,
        Stage::Answering => Progress::Answering,
    })
}

fn in_memory(base: &Resident, timestamp: fn(SystemTime) -> String) -> impl Iterator<Item = ModelInMemory> {
    base.tenants.iter().enumerate().map(move |(number, state)| ModelInMemory {
        name: state.tenant.name.to_string(),
        size: base.share(base.size.unwrap_or(base.estimate), number),
        context_length: base.n_ctx,
        expires_at: state.expires_at.map(timestamp),
        answering: state.n_answering,
    })
}
