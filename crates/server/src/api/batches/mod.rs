//! Batches: requests in a file, and their results in another. The lines are OpenAI's; each is asked as the same request over HTTP
//! would be.
//!
//! `line`, `plan` and `results` are the files' formats, which `slm batch` reads and writes too; `asking` is a request's way through
//! the router. Over HTTP, `files` and `jobs` are the paths, `shelf` keeps on disk what they are told,
//! `course` leads a batch from its file to its results, and `runner` asks its requests.

pub mod asking;
mod course;
mod files;
mod jobs;
pub mod line;
mod listing;
pub mod plan;
pub mod results;
mod runner;
mod shelf;
mod state;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use utoipa::OpenApi;

use super::problem::{Kind, Problem};
use super::service::Service;
use shelf::ShelfError;

pub use runner::Runner;
pub use shelf::Shelf;

/// A server's files and batches, or why it keeps none.
#[derive(Debug, Clone)]
pub struct Batches(Result<Arc<Shelf>, Arc<str>>);

impl Batches {
    /// Opens the folder where they are kept. Where it cannot be had, the server keeps none and says why.
    #[must_use]
    pub fn open(folder: &Path) -> Batches {
        Batches(Shelf::open(folder).map(Arc::new).map_err(|error| {
            let why = format!("`{}`: {error}", folder.display());
            tracing::warn!("this server takes no batches: {why}");
            why.into()
        }))
    }

    /// Of a server that is to keep none.
    #[must_use]
    pub fn off(why: &str) -> Batches {
        Batches(Err(why.into()))
    }

    /// # Errors
    /// None are kept here.
    pub fn shelf(&self) -> Result<&Arc<Shelf>, Problem> {
        let off =
            |why: &Arc<str>| Problem::new(Kind::Forbidden, format!("this server keeps no files and batches: {why}"));
        self.0.as_ref().map_err(off)
    }

    /// Does what waits for the disk, away from the threads that serve.
    ///
    /// # Errors
    /// None are kept here, or those of the work.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> Result<T, ShelfError> + Send + 'static,
    ) -> Result<T, Problem> {
        let shelf = Arc::clone(self.shelf()?);
        let done = tokio::task::spawn_blocking(move || work(&shelf)).await;
        Ok(done.map_err(|error| Problem::new(Kind::Failed, error.to_string()))??)
    }
}

/// The routes; uploads have a limit of their own.
pub fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/files", post(files::upload).get(files::list))
        .route("/v1/files/{id}", get(files::get).delete(files::delete))
        .route("/v1/files/{id}/content", get(files::content))
        .route("/v1/batches", post(jobs::create).get(jobs::list))
        .route("/v1/batches/{id}", get(jobs::get))
        .route("/v1/batches/{id}/cancel", post(jobs::cancel))
        .layer(DefaultBodyLimit::disable())
}

/// The description of these paths.
#[derive(Debug, OpenApi)]
#[openapi(paths(
    files::upload,
    files::list,
    files::get,
    files::delete,
    files::content,
    jobs::create,
    jobs::list,
    jobs::get,
    jobs::cancel
))]
pub struct Document;
