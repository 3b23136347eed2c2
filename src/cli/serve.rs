//! `slm serve`: the server, with what the environment says.

use std::sync::Arc;

use super::args::ServeArgs;
use super::environment::{Environment, timestamp, today};
use crate::api::{self, service};
use crate::engine::compute::Compute;
use crate::failure::{Exit, Failure, Outcome};

/// Serves until it is told to stop.
///
/// # Errors
/// The address cannot be had.
pub fn run(args: &ServeArgs, environment: &Environment) -> Outcome {
    let settings =
        service::Settings { store: environment.store()?, compute: Compute::default(), n_ctx: None, today, timestamp };
    let router = api::router(Arc::new(service::Service::new(settings)));
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::failed(format!("no threads could be started: {error}")))?;
    runtime.block_on(async {
        let failed = |error| Failure::failed(format!("cannot listen on `{}`: {error}", args.host));
        let listener = tokio::net::TcpListener::bind(&args.host).await.map_err(failed)?;
        axum::serve(listener, router).await.map_err(failed)?;
        Ok(Exit::Done)
    })
}
