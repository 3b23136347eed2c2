//! Who answers the requests of a batch: a running `slm serve` of the same store, or the same service within this process.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;

use super::args::BatchArgs;
use crate::api::batches::Batches;
use crate::api::batches::asking::{self, Header, InProcess, Tried};
use crate::api::batches::line::BatchLine;
use crate::api::batches::results::HttpAnswer;
use crate::api::body::{DEFAULT_MAX_BYTES, MaxBody};
use crate::api::guard::{Management, Rules, Said};
use crate::api::local;
use crate::api::logging::{Prompts, REQUEST_ID};
use crate::api::request_context::{LANE, PRIORITY};
use crate::api::server::Drain;
use crate::api::{self, Front, service};
use crate::cli::environment::Environment;
use crate::cli::serve::{self, ServeArgs};
use crate::failure::Failure;
use crate::infer::HostedBatch;
use crate::residents::{Loader, Residents};

/// Who answers.
#[derive(Debug, Clone)]
pub struct Target {
    place: Place,
    headers: Arc<[Header]>,
    /// Through which the remotes of cascades are asked, where that is not at once.
    hosted: Option<Arc<HostedBatch>>,
}

#[derive(Debug, Clone)]
enum Place {
    Here { service: InProcess, residents: Residents },
    Served { client: reqwest::Client, at: String },
}

/// No answer will come any more.
#[derive(Debug, thiserror::Error)]
#[error("the server at `{at}` does not answer: {reason}")]
pub struct Gone {
    at: String,
    reason: String,
}

impl Target {
    /// Finds the server, or starts the service; within a runtime.
    ///
    /// # Errors
    /// A setting of the environment is invalid.
    pub fn open(
        args: &BatchArgs,
        environment: &Environment,
        n_parallel: usize,
        hosted: Option<Arc<HostedBatch>>,
    ) -> Result<Target, Failure> {
        let mut headers = Vec::new();
        if args.throughput {
            headers.push((LANE, "throughput"));
        }
        let served =
            if args.local || hosted.is_some() { None } else { local::http_server(environment.store()?.root()) };
        if served.is_some() && args.decisions.decisions.is_some() {
            return Err(Failure::usage(
                "a running `slm serve` answers these requests and writes a log of its own; --local answers them here, with --decisions",
            ));
        }
        let place = match served {
            Some(socket) => {
                headers.push((PRIORITY, "batch"));
                // Fails where one is there already, which is as good.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let client = reqwest::Client::builder().no_proxy().unix_socket(socket.as_path()).build();
                let client =
                    client.map_err(|error| Failure::failed(format!("cannot start the HTTP client: {error}")))?;
                Place::Served { client, at: socket.display().to_string() }
            }
            None => here(args, environment, n_parallel)?,
        };
        Ok(Target { place, headers: headers.into(), hosted })
    }

    /// Where requests are answered, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.place {
            Place::Here { .. } => "models are loaded by this command".to_owned(),
            Place::Served { at, .. } => format!("requests are answered by the server at `{at}`"),
        }
    }

    /// Asks until there is an answer; a busy server is asked again.
    ///
    /// # Errors
    /// The server has gone.
    pub fn answer(&self, line: BatchLine) -> BoxFuture<'static, Result<HttpAnswer, Gone>> {
        let target = self.clone();
        Box::pin(async move {
            loop {
                let tried = match (&target.place, &target.hosted) {
                    (Place::Here { service, .. }, None) => service.ask(&line, &target.headers).await,
                    (Place::Here { service, .. }, Some(batch)) => {
                        service.ask_hosted(&line, &target.headers, batch).await
                    }
                    (Place::Served { client, at }, _) => {
                        let gone = |error: reqwest::Error| Gone { at: at.clone(), reason: error.to_string() };
                        post(client, &line, &target.headers).await.map_err(gone)?
                    }
                };
                match tried {
                    Tried::Answered(answer) => return Ok(answer),
                    Tried::Busy { retry_after } => tokio::time::sleep(retry_after).await,
                }
            }
        })
    }

    /// Lets the models go.
    pub async fn close(self) {
        if let Place::Here { residents, .. } = self.place {
            residents.drain(Duration::ZERO).await;
        }
    }
}

/// What `slm serve` has, without its sockets.
fn here(args: &BatchArgs, environment: &Environment, n_parallel: usize) -> Result<Place, Failure> {
    let args = ServeArgs { decisions: args.decisions.clone(), ..ServeArgs::default() };
    let settings = serve::settings(&args, environment)?;
    // Nobody else waits here.
    let settings = service::Settings { max_queue: settings.max_queue.max(n_parallel), ..settings };
    let program =
        std::env::current_exe().map_err(|error| Failure::failed(format!("cannot find slm's own binary: {error}")))?;
    let loader = Loader::processes(program, SystemTime::now);
    let residents = Residents::start(serve::residents_settings(&args, environment.serving())?, loader);
    let service = Arc::new(service::Service::new(settings, residents.clone()));
    let rules = Arc::new(Rules::new(&Said { management: Management::Off, ..Said::default() })?);
    let (drain, max_body) = (Drain::default(), MaxBody(DEFAULT_MAX_BYTES));
    let batches = Batches::off("`slm batch` is one already");
    let router = api::router(service, Front { rules, drain, max_body, prompts: Prompts::Kept, batches });
    Ok(Place::Here { service: InProcess::new(router), residents })
}

async fn post(client: &reqwest::Client, line: &BatchLine, headers: &[Header]) -> Result<Tried, reqwest::Error> {
    let body = serde_json::to_vec(&line.body).expect("an object of JSON");
    let mut request = client.post(format!("http://localhost{}", line.endpoint));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.header("content-type", "application/json").body(body).send().await?;
    let status = response.status().as_u16();
    let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(busy) = asking::busy(status, text("retry-after")) {
        return Ok(busy);
    }
    let request_id = text(REQUEST_ID.as_str()).unwrap_or_default().to_owned();
    Ok(Tried::Answered(HttpAnswer { status, request_id, body: response.bytes().await? }))
}
