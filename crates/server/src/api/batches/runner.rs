//! Who works on the batches of a shelf: one after the other, behind every live request, and after a restart from where it was.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::{StreamExt as _, stream};

use super::asking::{Header, InProcess, Tried};
use super::course::{Ended, Opened, Results, blocking, check, fail, tell};
use super::plan::{IdMark, Planned};
use super::results::BatchResult;
use super::shelf::{Shelf, ShelfError, seconds};
use super::state::{Status, StoredBatch};
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
            // The server is stopping; it continues the batch after its next start.
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
        let (line, _) = blocking(move || Ok(request.fetch(&input)?)).await?;
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
