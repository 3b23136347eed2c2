//! HTTP: one service behind the dialects that clients already speak.
//!
//! A dialect is two pure conversions around [`service::Service`], and one's types never reach another.

pub mod admission;
pub mod anthropic;
pub mod aside;
pub mod batches;
pub mod body;
pub mod choices;
pub mod decision_log;
pub mod decisions;
pub mod dialect;
pub mod extra;
pub mod fields;
pub mod guard;
pub mod idle_fields;
pub mod ledger;
pub mod local;
pub mod logging;
pub mod metrics;
pub mod ollama;
pub mod openai;
pub mod openapi;
pub mod operations;
pub mod page;
pub mod panics;
pub mod problem;
pub mod refusal;
pub mod request_context;
pub mod server;
pub mod server_tools;
pub mod service;
pub mod stage;
pub mod stream;
pub mod tokenizer;
pub mod vectors;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use batches::Batches;
use body::MaxBody;
use guard::{Caller, Rules};
use logging::{Observer, Prompts};
use problem::{Kind, Problem};
use request_context::RequestContext;
use server::Drain;
use service::Service;
use slm_infer::infer::Hosted;

/// What every request meets on its way to the service.
#[derive(Debug, Clone)]
pub struct Front {
    pub rules: Arc<Rules>,
    /// Asked whether the server takes requests still.
    pub drain: Drain,
    /// The longest body of JSON.
    pub max_body: MaxBody,
    pub prompts: Prompts,
    pub batches: Batches,
}

/// Every route, behind the rules of who may ask.
pub fn router(service: Arc<Service>, front: Front) -> Router {
    let observer = Observer { metrics: service.metrics().clone(), stages: service.stages().clone() };
    Router::new()
        .merge(ollama::routes())
        .merge(openai::routes())
        .merge(anthropic::routes())
        .merge(decisions::routes())
        .merge(batches::routes())
        .merge(page::routes())
        .merge(operations::routes())
        .merge(tokenizer::routes())
        .route("/openapi.json", get(openapi::serve))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(idle_fields::told))
        .layer(middleware::from_fn_with_state(service.clone(), called))
        .layer(middleware::from_fn_with_state(front.rules, guard::guard))
        .layer(Extension(front.drain))
        .layer(Extension(front.max_body))
        .layer(Extension(front.prompts))
        .layer(Extension(front.batches))
        .layer(middleware::from_fn(panics::answered))
        .layer(middleware::from_fn(refusal::write))
        .layer(middleware::from_fn_with_state(observer, logging::observe))
        .with_state(service)
}

/// Keeps what holds for a request beside it, and what may take long beside the threads that serve others.
async fn called(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let client = request.extensions().get::<Caller>().map_or_else(String::new, |caller| caller.0.clone());
    let drain = request.extensions().get::<Drain>().cloned().unwrap_or_default();
    let hosted = request.extensions().get::<Hosted>().cloned();
    match RequestContext::read(request.headers(), client, service.settings().request_timeout) {
        Ok(context) => {
            let may_take_long = aside::may_take_long(request.headers());
            let answer = RequestContext { drain, hosted, ..context }.scope(request, next);
            if may_take_long { aside::aside(answer).await } else { answer.await }
        }
        Err(problem) => problem.into_response(),
    }
}

async fn unknown(request: Request) -> Problem {
    let path = request.uri().path();
    Problem::new(Kind::NoSuchPath, format!("there is nothing at `{path}`; see /openapi.json for what there is"))
}

async fn wrong_method(request: Request) -> Problem {
    let (path, method) = (request.uri().path(), request.method());
    Problem::new(Kind::WrongMethod, format!("`{path}` does not take {method}"))
}
