//! A batch from its file to its results: the plan, the files that results are appended to, and how it ends. It asks nothing.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::sync::Arc;
use std::time::SystemTime;

use super::plan::{IdMark, Plan, PlanError, PlanRules, Planned};
use super::results::{BatchResult, Complete, ResultFile};
use super::shelf::{MAX_REQUESTS, Shelf, ShelfError, seconds};
use super::state::{Counts, Fault, Purpose, Status, StoredBatch, StoredFile};

/// Checks the file of a new batch: it is in progress then, or it has failed.
pub async fn check(shelf: &Arc<Shelf>, batch: StoredBatch) {
    let (own, id) = (Arc::clone(shelf), batch.id.clone());
    let checked = blocking(move || match planned(&own, &batch) {
        Ok(Ok((plan, _))) => {
            let now = seconds(SystemTime::now());
            let changed = own.change(&batch.id, |batch| {
                batch.counts = Counts { total: plan.n_lines, ..Counts::default() };
                if batch.status == Status::Validating {
                    batch.becomes(Status::InProgress, now);
                }
            });
            changed.map(|_| None)
        }
        Ok(Err(faults)) => Ok(Some(faults)),
        Err(error) => Err(error),
    });
    let ended = match checked.await {
        Ok(None) => Ok(()),
        Ok(Some(faults)) => fail(shelf, &id, faults).await,
        Err(error) => Err(error),
    };
    tell(&ended.map_err(|error| error.to_string()));
}

/// Logs what kept a batch from going on.
pub(super) fn tell(done: &Result<(), String>) {
    if let Err(error) = done {
        tracing::error!("batches: {error}");
    }
}

/// Says what is wrong with a batch's file, and that nothing of it was asked.
pub(super) async fn fail(shelf: &Arc<Shelf>, id: &str, faults: Vec<Fault>) -> Result<(), ShelfError> {
    let (shelf, id) = (Arc::clone(shelf), id.to_owned());
    let now = seconds(SystemTime::now());
    let change = move |batch: &mut StoredBatch| {
        // It may have been cancelled meanwhile.
        if !batch.status.is_final() {
            batch.faults = faults;
            batch.becomes(Status::Failed, now);
        }
    };
    blocking(move || shelf.change(&id, change).map(|_| ())).await
}

/// Work that waits for the disk, away from the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ShelfError> + Send + 'static,
) -> Result<T, ShelfError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

/// The plan of a batch's requests and the file that they are in, or what is wrong with it.
fn planned(shelf: &Shelf, batch: &StoredBatch) -> Result<Result<(Plan, File), Vec<Fault>>, ShelfError> {
    let fault = |code: &str, message: String| Fault { code: code.to_owned(), line: None, message, param: None };
    let file = match File::open(shelf.content(&batch.input_file_id)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("the file `{}` was deleted", batch.input_file_id);
            return Ok(Err(vec![fault("invalid_input_file", message)]));
        }
        Err(error) => return Err(error.into()),
    };
    let Some(endpoint) = batch.endpoint() else {
        return Ok(Err(vec![fault("invalid_endpoint", format!("`{}` cannot be asked", batch.endpoint))]));
    };
    let rules = PlanRules { endpoint: Some(endpoint), max_requests: Some(MAX_REQUESTS), border: None };
    match Plan::read(BufReader::new(&file), rules, |_| true) {
        Ok(plan) if plan.n_lines == 0 => Ok(Err(vec![fault("empty_file", "the file has no requests".to_owned())])),
        Ok(plan) => Ok(Ok((plan, file))),
        Err(PlanError::Read(error)) => Err(error.into()),
        Err(PlanError::Mistakes { first, .. }) => {
            let faults = first.into_iter().map(|mistake| Fault {
                code: mistake.error.code().to_owned(),
                line: Some(mistake.line),
                message: mistake.error.to_string(),
                param: mistake.error.field().map(str::to_owned),
            });
            Ok(Err(faults.collect()))
        }
    }
}

/// Requests that have no result yet, in the order in which they are asked.
pub(super) struct Left {
    pub(super) requests: Vec<Planned>,
    /// Requests of the whole batch.
    pub(super) n_all: u64,
}

/// A batch with its files.
pub(super) struct Opened {
    pub(super) batch: StoredBatch,
    pub(super) plan: Left,
    pub(super) input: Arc<File>,
    pub(super) results: Results,
}

impl Opened {
    pub(super) fn of(shelf: &Shelf, batch: &StoredBatch) -> Result<Result<Opened, Vec<Fault>>, ShelfError> {
        let (mut plan, file) = match planned(shelf, batch)? {
            Ok(planned) => planned,
            Err(faults) => return Ok(Err(faults)),
        };
        let results = Results::open(shelf, batch)?;
        plan.group();
        plan.requests.retain(|request| !results.has(request.id));
        let left = Left { requests: plan.requests, n_all: plan.n_lines };
        Ok(Ok(Opened { batch: batch.clone(), plan: left, input: Arc::new(file), results }))
    }
}

/// The two files of results, and whose results are in them.
pub(super) struct Results {
    output: ResultFile,
    errors: ResultFile,
    done: HashSet<IdMark>,
}

impl Results {
    fn open(shelf: &Shelf, batch: &StoredBatch) -> io::Result<Results> {
        let mut done = HashSet::new();
        let mut open = |id: &str| {
            let path = shelf.content(id);
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let complete = Complete::of(&file, |result, _| _ = done.insert(result.id))?;
            ResultFile::continued(file, complete)
        };
        let (output, errors) = (open(&batch.output_file_id)?, open(&batch.error_file_id)?);
        Ok(Results { output, errors, done })
    }

    pub(super) fn has(&self, id: IdMark) -> bool {
        self.done.contains(&id)
    }

    pub(super) fn counts(&self, total: u64) -> Counts {
        Counts { total, completed: self.output.complete().n_lines, failed: self.errors.complete().n_lines }
    }

    pub(super) fn append(&mut self, id: IdMark, line: &str, is_failed: bool) -> io::Result<()> {
        if is_failed {
            self.errors.append(line)?
        } else {
            self.output.append(line)?
        }
        self.done.insert(id);
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.output.sync().and_then(|()| self.errors.sync())
    }
}

/// A batch whose requests are not asked any more.
pub(super) struct Ended {
    pub(super) batch: StoredBatch,
    pub(super) input: Arc<File>,
    pub(super) results: Results,
    pub(super) left: Vec<Planned>,
    pub(super) ending: Status,
}

impl Ended {
    /// Lets the client have the results, and says how the batch ended.
    pub(super) fn finalize(mut self, shelf: &Shelf) -> Result<(), ShelfError> {
        let now = seconds(SystemTime::now());
        let id = &self.batch.id;
        if self.ending == Status::Completed {
            shelf.change(id, |batch| batch.becomes(Status::Finalizing, now))?;
        }
        if self.ending == Status::Expired {
            let message = "the completion window was over before the request was answered".to_owned();
            let late = BatchResult::Failed { code: "batch_expired", message };
            for request in &self.left {
                let (line, _) = request.fetch(&self.input)?;
                self.results.append(request.id, &late.line(&line.custom_id), true)?;
            }
        }
        self.results.sync()?;
        let has_output = keep(shelf, &self.batch, &self.batch.output_file_id, &self.results.output, "output")?;
        let has_errors = keep(shelf, &self.batch, &self.batch.error_file_id, &self.results.errors, "errors")?;
        let counts = self.results.counts(shelf.batch(&self.batch.house, id)?.counts.total);
        let ending = self.ending;
        shelf.change(id, |batch| {
            (batch.has_output, batch.has_errors, batch.counts) = (has_output, has_errors, counts);
            batch.becomes(ending, now);
        })?;
        Ok(())
    }
}

/// Shelves a file of results; an empty one is removed.
fn keep(shelf: &Shelf, batch: &StoredBatch, id: &str, results: &ResultFile, what: &str) -> io::Result<bool> {
    let complete = results.complete();
    if complete.n_lines == 0 {
        return match std::fs::remove_file(shelf.content(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(false),
        };
    }
    let now = seconds(SystemTime::now());
    shelf.shelve(StoredFile {
        id: id.to_owned(),
        house: batch.house.clone(),
        filename: format!("{}_{what}.jsonl", batch.id),
        purpose: Purpose::BatchOutput,
        n_bytes: complete.n_bytes,
        created_at: now,
        expires_at: now + batch.results_kept,
    })?;
    Ok(true)
}

/// Cancels a batch: one whose requests are being asked ends when those in flight are answered.
///
/// # Errors
/// This client has no such batch, or it has ended.
pub fn cancel(shelf: &Shelf, house: &str, id: &str) -> Result<StoredBatch, ShelfError> {
    let batch = shelf.batch(house, id)?;
    if batch.status.is_final() {
        return Err(ShelfError::Ended { id: batch.id, status: batch.status });
    }
    let now = seconds(SystemTime::now());
    let is_running = shelf.is_running(id);
    let batch = shelf.change(id, |batch| {
        if !batch.status.is_final() {
            batch.becomes(Status::Cancelling, now);
        }
    })?;
    if is_running || batch.status.is_final() {
        return Ok(batch);
    }
    // Nobody works on it, so it has what an earlier start of the server has written.
    let results = Results::open(shelf, &batch)?;
    let input = Arc::new(File::open(shelf.content(&batch.input_file_id))?);
    Ended { batch, input, results, left: Vec::new(), ending: Status::Cancelled }.finalize(shelf)?;
    shelf.batch(house, id)
}
