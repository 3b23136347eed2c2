//! `/api/pull`, `/api/push` and `/api/create`: operations that report their progress.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};

use super::lines::{Delivery, write};
use super::types::Errors;
use super::types::transfer::{CreateRequest, Made, StatusResponse, TransferRequest};
use super::work::{Key, Steps, Telling, Watched, Works};
use crate::api::body::Body;
use crate::api::dialect::Dialect;
use crate::api::problem::{Kind, Problem};
use crate::api::service::Service;
use crate::api::stream::{self, Encoder};
use slm_infer::load_spec;
use slm_store::store::{FitKept, Store, StoreError};
use slm_store::transfer::{self, Direction, Plan, Pull, PullFile, Push, Servers, Sources, Streams, TransferStatus};
use slm_values::modelfile;
use slm_values::source::{Reference, Source};

/// Downloads a model from a registry or URL.
#[utoipa::path(post, path = "/api/pull", tag = "ollama", request_body = TransferRequest, responses(
    (status = 200, description = "The model is stored; unless `stream` is `false`, one line per event.",
     content((StatusResponse = "application/json"), (TransferStatus = "application/x-ndjson"))), Errors))]
pub async fn pull(
    State(service): State<Arc<Service>>,
    Extension(works): Extension<Works>,
    Body(request): Body<TransferRequest>,
) -> Result<Response, Problem> {
    let delivery = Delivery::of(request.stream);
    let (source, insecure) = request.wanted()?;
    let (store, servers) = at(&service, &source, insecure)?;
    let key = key("pull", &source, insecure);
    let work = move |telling: Telling| async move { brought(&store, &servers, source, telling).await };
    watched(works.begin(Some(key), work)?, delivery).await
}

/// Uploads a model to a registry.
#[utoipa::path(post, path = "/api/push", tag = "ollama", request_body = TransferRequest, responses(
    (status = 200, description = "The model was uploaded; unless `stream` is `false`, one line per event.",
     content((StatusResponse = "application/json"), (TransferStatus = "application/x-ndjson"))), Errors))]
pub async fn push(
    State(service): State<Arc<Service>>,
    Extension(works): Extension<Works>,
    Body(request): Body<TransferRequest>,
) -> Result<Response, Problem> {
    let delivery = Delivery::of(request.stream);
    let (source, insecure) = request.wanted()?;
    let Source::Registry(name) = source.clone() else {
        let message = format!("`{source}` is not the name of a model here; give one that `/api/tags` lists");
        return Err(Problem::invalid(message).of("model"));
    };
    let (store, servers) = at(&service, &source, insecure)?;
    let repository = servers.target(&name)?;
    let here = name.name.clone();
    service.in_store(move |store| store.shipment(&here)).await?;
    let push = Push { source: name.clone(), target: name, repository };
    let key = key("push", &source, insecure);
    let work = move |telling: Telling| async move {
        let registry = servers.client()?;
        transfer::push(&registry, &store, &push, Plan::Do, &telling.of(Direction::Push)).await?;
        Ok(())
    };
    watched(works.begin(Some(key), work)?, delivery).await
}

/// Creates a model from another one or from uploaded files.
#[utoipa::path(post, path = "/api/create", tag = "ollama", request_body = CreateRequest, responses(
    (status = 200, description = "The model was created; unless `stream` is `false`, one line per event.",
     content((StatusResponse = "application/json"), (TransferStatus = "application/x-ndjson"))), Errors))]
pub async fn create(
    State(service): State<Arc<Service>>,
    Extension(works): Extension<Works>,
    Body(request): Body<CreateRequest>,
) -> Result<Response, Problem> {
    let delivery = Delivery::of(request.stream);
    let made = request.wanted()?;
    load_spec::check(&made.modelfile)?;
    let digests: Vec<_> = made.files.iter().map(|(_, digest)| *digest).collect();
    let missing =
        service.in_store(move |store| Ok::<_, Problem>(digests.into_iter().find(|digest| !store.has_blob(digest))));
    if let Some(digest) = missing.await? {
        let message = format!("there is no blob `{digest}`; upload it to `/api/blobs/{digest}` first");
        return Err(Problem::invalid(message).of("files"));
    }
    let settings = service.settings();
    let (store, servers) = (settings.store.clone(), settings.servers.clone());
    let work = move |telling: Telling| async move {
        if let modelfile::BaseSource::Name(from) = &made.modelfile.from
            && matches!(store.resolve(&from.name), Err(StoreError::NotFound(_)))
        {
            brought(&store, &servers, Source::Registry(from.clone()), telling.clone()).await?;
        }
        make(&store, &made, telling)
    };
    watched(works.begin(None, work)?, delivery).await
}

/// The store, and the servers that are known, the source's without TLS where that is said.
fn at(service: &Service, source: &Source, insecure: bool) -> Result<(Store, Servers), Problem> {
    let settings = service.settings();
    let mut servers = settings.servers.clone();
    if insecure {
        servers.named.insecure.extend(match source {
            Source::Registry(reference) => Some(reference.name.host().to_owned()),
            Source::File(file) => file.url().host_str().map(str::to_owned),
            Source::Path(_) => None,
        });
    }
    if let Source::Registry(reference) = source {
        // Before anything is begun.
        servers.repository(reference)?;
    }
    Ok((settings.store.clone(), servers))
}

fn key(what: &'static str, source: &Source, insecure: bool) -> Key {
    (what, format!("{source} {insecure}"))
}

async fn brought(store: &Store, servers: &Servers, source: Source, telling: Telling) -> Result<(), Problem> {
    let registry = servers.client()?;
    let sources = Sources { registry: &registry, store, neighbours: &servers.neighbours, streams: Streams::Adaptive };
    let listener = telling.of(Direction::Pull);
    match source {
        Source::Registry(reference) => {
            let pull = wanted(reference, servers)?;
            transfer::pull(sources, &pull, Plan::Do, &listener).await?;
        }
        Source::File(url) => {
            transfer::pull_file(sources, &PullFile { url, name: None }, Plan::Do, &listener).await?;
        }
        Source::Path(path) => return Err(Problem::invalid(format!("`{path}` is a path")).of("model")),
    }
    Ok(())
}

fn wanted(reference: Reference, servers: &Servers) -> Result<Pull, Problem> {
    let repository = servers.repository(&reference)?;
    Ok(Pull { name: reference.name.clone(), reference, repository })
}

/// Makes the model of blobs under the names that the request gives them.
fn make(store: &Store, made: &Made, telling: Telling) -> Result<(), Problem> {
    // Nobody may remove them meanwhile.
    let _lease = store.lease(made.files.iter().map(|(_, digest)| *digest))?;
    let folder = Workspace::of(store, made)?;
    telling.tell(TransferStatus::status("creating model"));
    let steps = Steps::of(telling.clone());
    let creation = store.begin_creating(&made.modelfile, folder.0.path(), &steps);
    let creation = creation.map_err(|error| folder.problem(error))?;
    if creation.fit() == FitKept::No {
        telling.tell(TransferStatus::status("leaving out the fit, which holds for other prompts"));
    }
    store.finish_creating(&made.name, creation)?;
    telling.tell(TransferStatus::status("writing manifest"));
    Ok(())
}

/// The blobs of a model to be made, under their names, as long as this lives.
struct Workspace(tempfile::TempDir);

impl Workspace {
    fn of(store: &Store, made: &Made) -> Result<Workspace, Problem> {
        let failed = |error: std::io::Error| Problem::new(Kind::Failed, format!("cannot write the files: {error}"));
        let folder = tempfile::tempdir().map_err(failed)?;
        for (name, digest) in &made.files {
            let place = folder.path().join(name);
            std::fs::create_dir_all(place.parent().unwrap_or(folder.path())).map_err(failed)?;
            let blob = std::path::absolute(store.blob_path(digest)).map_err(failed)?;
            link(&blob, &place).map_err(failed)?;
        }
        Ok(Workspace(folder))
    }

    /// An error in the words of who named the files.
    fn problem(&self, error: StoreError) -> Problem {
        let problem = Problem::from(error);
        let folder = format!("{}/./", self.0.path().display());
        Problem { message: problem.message.replace(&folder, ""), ..problem }
    }
}

#[cfg(unix)]
fn link(blob: &Path, place: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(blob, place)
}

#[cfg(not(unix))]
fn link(blob: &Path, place: &Path) -> std::io::Result<()> {
    std::fs::hard_link(blob, place)
}

/// Tells a client what it watches.
async fn watched(watched: Watched, delivery: Delivery) -> Result<Response, Problem> {
    match delivery {
        Delivery::Lines => stream::response(watched, Statuses, stream::JSON_LINES).await,
        Delivery::Whole => {
            watched.end().await?;
            Ok(Json(StatusResponse::SUCCESS).into_response())
        }
    }
}

/// Writes a line for each thing that happens.
struct Statuses;

impl Encoder<TransferStatus> for Statuses {
    fn piece(&mut self, told: TransferStatus, out: &mut String) {
        write(&told, out);
    }

    fn finish(&mut self, out: &mut String) {
        write(&StatusResponse::SUCCESS, out);
    }

    fn problem(&mut self, problem: &Problem, out: &mut String) {
        write(&Dialect::Ollama.body(problem), out);
    }
}
