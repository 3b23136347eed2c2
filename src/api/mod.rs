//! HTTP: one service behind the dialects that clients already speak.
//!
//! A dialect is two pure conversions around [`service::Service`], and one's types never reach another.

pub mod call;
pub mod choices;
pub mod decisions;
pub mod extra;
pub mod fields;
pub mod guard;
pub mod ollama;
pub mod openai;
pub mod problem;
pub mod refusal;
pub mod server;
pub mod service;
pub mod stream;

use std::sync::Arc;

use axum::Router;

use service::Service;

/// Every route.
pub fn router(service: Arc<Service>) -> Router {
    Router::new().merge(ollama::routes()).merge(openai::routes()).merge(decisions::routes()).with_state(service)
}
