//! `slm serve`: the server, with what the environment says.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::args::ServeArgs;
use super::environment::{Environment, timestamp, today};
use crate::api::{self, service};
use crate::engine::compute::Compute;
use crate::engine::{Engine, EngineError, Options};
use crate::failure::{Exit, Failure, Outcome};
use crate::residents::{self, Means, Residents};

/// Serves until it is told to stop.
///
/// # Errors
/// The address cannot be had.
pub fn run(args: &ServeArgs, environment: &Environment) -> Outcome {
    let settings =
        service::Settings { store: environment.store()?, compute: Compute::default(), n_ctx: None, today, timestamp };
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot tell where slm itself is: {error}")))?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::failed(format!("no threads could be started: {error}")))?;
    runtime.block_on(async {
        let means = Means { load: Arc::new(load(program)), free: Arc::new(residents::free_memory) };
        let residents = Residents::start(residents::Settings::default(), means);
        let router = api::router(Arc::new(service::Service::new(settings, residents)));
        let failed = |error| Failure::failed(format!("cannot listen on `{}`: {error}", args.host));
        let listener = tokio::net::TcpListener::bind(&args.host).await.map_err(failed)?;
        axum::serve(listener, router).await.map_err(failed)?;
        Ok(Exit::Done)
    })
}

/// Loads a model in a process of its own.
fn load(program: PathBuf) -> impl Fn(Options) -> BoxFuture<'static, Result<Engine, EngineError>> + Send + Sync {
    move |options| Engine::spawn(program.clone(), options).boxed()
}
