//! Who works on the batches of a shelf: one after the other, behind every live request, and after a restart from where it was.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::{StreamExt as _, stream};

use super::asking::{Header, InProcess, Tried};
use super::line::BatchLine;
use super::plan::{IdMark, Plan, PlanError, PlanRules, Planned};
use super::results::{BatchResult, Complete, ResultFile};
use super::shelf::{MAX_REQUESTS, Shelf, ShelfError, seconds};
use super::state::{Counts, Fault, Purpose, Status, StoredBatch, StoredFile};
use crate::api::request_context::PRIORITY;
use crate::api::server::Drain;

/// Requests of batches that are in flight: enough that an engine always has the next one.
const AT_ONCE: usize = 8;
/// How often a request is asked that had no answer in its time, which it may have spent behind others.
const TRIES: usize = 3;
/// How much work a loss of power may cost.
const SAVED_EVERY: Duration = Duration::from_secs(1);
const SWEPT_EVERY: Duration = Duration::from_secs(3600);
/// A full disk may have room again.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
const HEADERS: [Header; 1] = [(PRIORITY, "batch")];

/// What the runner works with.
#[derive(Debug, Clone)]
pub struct Runner {
    pub shelf: Arc<Shelf>,
    pub service: InProcess,
    pub drain: Drain,
}

impl Runner {
    /// Works until the server drains.
    pub async fn run(self) {
        for batch in self.shelf.unchecked() {
            check(&self.shelf, batch).await;
        }
        let mut swept: Option<Instant> = None;
        while !self.drain.is_draining() {
            if swept.is_none_or(|swept| swept.elapsed() >= SWEPT_EVERY) {
                swept = Some(Instant::now());
                let shelf = Arc::clone(&self.shelf);
                tell(&blocking(move || Ok(shelf.sweep(SystemTime::now())?)).await.map_err(|error| error.to_string()));
            }
            let Some(batch) = self.shelf.next() else {
                self.rest(SWEPT_EVERY).await;
                continue;
            };
            let id = batch.id.clone();
            self.shelf.runs(Some(id.clone()));
            let worked = self.work(batch).await;
            self.shelf.runs(None);
            if let Err(error) = worked {
                tracing::error!("the batch `{id}` waits: {error}");
                tokio::select! {
                    () = tokio::time::sleep(AFTER_FAILURE) => {}
                    () = self.drain.begun() => {}
                }
            }
        }
    }

    async fn rest(&self, longest: Duration) {
        tokio::select! {
            () = self.shelf.changed() => {}
            () = tokio::time::sleep(longest) => {}
            () = self.drain.begun() => {}
        }
    }

    /// Asks the requests of a batch that have no result yet, and ends it.
    async fn work(&self, batch: StoredBatch) -> Result<(), ShelfError> {
        let (shelf, id) = (Arc::clone(&self.shelf), batch.id.clone());
        let opened = blocking(move || Opened::of(&shelf, &batch)).await?;
        let Opened { batch, plan, input, mut results } = match opened {
            Ok(opened) => opened,
            Err(faults) => return fail(&self.shelf, &id, faults).await,
        };
        let counts = results.counts(plan.n_all);
        self.shelf.count(&id, |known| *known = counts);
        self.ask_all(&batch, plan.requests.clone(), &input, &mut results).await?;
        let left: Vec<Planned> = plan.requests.into_iter().filter(|request| !results.has(request.id)).collect();
        let ending = match self.shelf.status(&id) {
            None => return Ok(()),
            Some(status) if status.is_final() => return Ok(()),
            Some(Status::Cancelling) => Status::Cancelled,
            Some(_) if left.is_empty() => Status::Completed,
            Some(_) if seconds(SystemTime::now()) >= batch.expires_at => Status::Expired,
            // The server ends, and goes on with it after its next start.
            Some(_) => return results.sync().map_err(ShelfError::from),
        };
        let (shelf, ended) = (Arc::clone(&self.shelf), Ended { batch, input, results, left, ending });
        blocking(move || ended.finalize(&shelf)).await
    }

    /// Asks until all are asked, or until the batch or the server ends; what is in flight then has its result.
    async fn ask_all(
        &self,
        batch: &StoredBatch,
        requests: Vec<Planned>,
        input: &Arc<File>,
        results: &mut Results,
    ) -> Result<(), ShelfError> {
        let asked = stream::iter(requests)
            .take_while(|_| std::future::ready(self.goes_on(batch)))
            .map(|request| self.answer(request, Arc::clone(input)))
            .buffer_unordered(AT_ONCE);
        let mut asked = std::pin::pin!(asked);
        let mut saved = Instant::now();
        while let Some(answered) = asked.next().await {
            let Some((mark, custom_id, result)) = answered? else { continue };
            results.append(mark, &result.line(&custom_id), result.is_failed())?;
            self.shelf.count(
                &batch.id,
                |counts| {
                    if result.is_failed() { counts.failed += 1 } else { counts.completed += 1 }
                },
            );
            if saved.elapsed() >= SAVED_EVERY {
                results.sync()?;
                saved = Instant::now();
            }
        }
        Ok(())
    }

    fn goes_on(&self, batch: &StoredBatch) -> bool {
        let is_wanted = self.shelf.status(&batch.id).is_some_and(|status| status != Status::Cancelling);
        is_wanted && !self.drain.is_draining() && seconds(SystemTime::now()) < batch.expires_at
    }

    /// The result of a request; `None` where the server ends before it has one.
    async fn answer(
        &self,
        request: Planned,
        input: Arc<File>,
    ) -> Result<Option<(IdMark, String, BatchResult)>, ShelfError> {
        let line = blocking(move || Ok(request.fetch(&input)?)).await?;
        let Ok(line) = BatchLine::read(line.as_bytes()) else { return Ok(None) };
        let mut n_late = 0;
        loop {
            match self.service.ask(&line, &HEADERS).await {
                Tried::Answered(answer) if answer.status == 504 && n_late + 1 < TRIES => n_late += 1,
                // Models go with the server; that is not the request's fault.
                Tried::Answered(answer) if answer.status >= 500 && self.drain.is_draining() => return Ok(None),
                Tried::Answered(answer) => {
                    return Ok(Some((request.id, line.custom_id, BatchResult::Answered(answer))));
                }
                Tried::Busy { .. } if self.drain.is_draining() => return Ok(None),
                Tried::Busy { retry_after } => tokio::time::sleep(retry_after).await,
            }
        }
    }
}

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

fn tell(done: &Result<(), String>) {
    if let Err(error) = done {
        tracing::error!("batches: {error}");
    }
}

async fn fail(shelf: &Arc<Shelf>, id: &str, faults: Vec<Fault>) -> Result<(), ShelfError> {
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
async fn blocking<T: Send + 'static>(
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
struct Left {
    requests: Vec<Planned>,
    /// Requests of the whole batch.
    n_all: u64,
}

/// A batch with its files.
struct Opened {
    batch: StoredBatch,
    plan: Left,
    input: Arc<File>,
    results: Results,
}

impl Opened {
    fn of(shelf: &Shelf, batch: &StoredBatch) -> Result<Result<Opened, Vec<Fault>>, ShelfError> {
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
struct Results {
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

    fn has(&self, id: IdMark) -> bool {
        self.done.contains(&id)
    }

    fn counts(&self, total: u64) -> Counts {
        Counts { total, completed: self.output.complete().n_lines, failed: self.errors.complete().n_lines }
    }

    fn append(&mut self, id: IdMark, line: &str, is_failed: bool) -> io::Result<()> {
        if is_failed {
            self.errors.append(line)?
        } else {
            self.output.append(line)?
        }
        self.done.insert(id);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.output.sync().and_then(|()| self.errors.sync())
    }
}

/// A batch whose requests are not asked any more.
struct Ended {
    batch: StoredBatch,
    input: Arc<File>,
    results: Results,
    left: Vec<Planned>,
    ending: Status,
}

impl Ended {
    /// Lets the client have the results, and says how the batch ended.
    fn finalize(mut self, shelf: &Shelf) -> Result<(), ShelfError> {
        let now = seconds(SystemTime::now());
        let id = &self.batch.id;
        if self.ending == Status::Completed {
            shelf.change(id, |batch| batch.becomes(Status::Finalizing, now))?;
        }
        if self.ending == Status::Expired {
            let message = "the completion window was over before the request was answered".to_owned();
            let late = BatchResult::Failed { code: "batch_expired", message };
            for request in &self.left {
                let line = request.fetch(&self.input)?;
                if let Ok(line) = BatchLine::read(line.as_bytes()) {
                    self.results.append(request.id, &late.line(&line.custom_id), true)?;
                }
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
/// There is none of this house, or it has ended.
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
