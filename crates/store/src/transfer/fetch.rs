//! Many blobs over many streams: one owner of all state decides which bytes are asked for next, and what a failure means.

use super::claims::Claims;
use super::hashing::Hashing;
use super::pace::Pace;
use super::retry::Patience;
use super::{Event, Listener, Streams};
use crate::registry::{Registry, RegistryError, Remedy, Remote};
use crate::store::{Download, PART_BYTES, StoreError};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use slm_values::digest::Digest;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::time::{Duration, Instant};

/// The most bytes of one request; enough to make its cost small, few enough that streams end together.
const MAX_REQUEST_BYTES: u64 = 64 << 20;
/// A server may give less than it is asked for, but not a few bytes for each request.
const FEW_BYTES: u64 = 64 << 10;
const TICK: Duration = Duration::from_millis(500);

/// A blob that is to be downloaded, by several streams of one thread.
#[derive(Debug)]
pub(super) struct DownloadJob {
    pub id: Digest,
    pub remote: Remote,
    /// The entity tag that every part must have.
    pub version: Option<String>,
    pub download: RefCell<Download>,
}

/// Why a download ended.
#[derive(Debug)]
pub(super) enum FetchError {
    /// Before a single byte came.
    Refused(RegistryError),
    /// After some did.
    Broken(RegistryError),
    Store(StoreError),
}

/// A job while it runs.
struct RunningJob<'a> {
    job: &'a DownloadJob,
    claims: RefCell<Claims>,
    hashing: RefCell<Hashing>,
    patience: RefCell<Patience>,
    n_active: Cell<usize>,
    not_before: Cell<Instant>,
    /// When a failure was counted last: what began before it failed with it.
    failed: Cell<Option<Instant>>,
    ranges: Cell<Ranges>,
}

/// Whether a server gives ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ranges {
    Unknown,
    Given,
    /// It sends everything each time.
    Refused,
}

/// How a stream ended.
enum StreamEnd {
    /// With its range, or a part of it.
    Done,
    /// It found that the server knows no ranges while others were asking too.
    NotAlone,
    Failed(RegistryError),
    Store(StoreError),
}

/// Downloads all jobs; gives each download back with the digest of its bytes.
pub(super) async fn fetch(
    registry: &Registry,
    jobs: Vec<DownloadJob>,
    streams: Streams,
    listener: &dyn Listener,
) -> Result<Vec<(Download, Digest)>, FetchError> {
    let now = Instant::now();
    let mut running = Vec::new();
    for job in &jobs {
        let mut download = job.download.borrow_mut();
        running.push(RunningJob {
            job,
            claims: RefCell::new(Claims::new(download.missing())),
            hashing: RefCell::new(Hashing::begin(&mut download).map_err(FetchError::Store)?),
            patience: RefCell::new(Patience::long()),
            n_active: Cell::new(0),
            not_before: Cell::new(now),
            failed: Cell::new(None),
            ranges: Cell::new(Ranges::Unknown),
        });
    }
    if let Err(error) = drive(registry, &running, streams, listener).await {
        drop(running);
        // A download without a byte is nothing to continue.
        let downloads = jobs.into_iter().map(|job| job.download.into_inner());
        downloads.filter(|download| download.done_bytes() == 0).for_each(Download::discard);
        return Err(error);
    }
    let mut hashes = Vec::new();
    for one in running {
        hashes.push(one.hashing.into_inner().finish().await.map_err(FetchError::Store)?);
    }
    Ok(jobs.into_iter().map(|job| job.download.into_inner()).zip(hashes).collect())
}

/// Runs streams until every byte is there.
async fn drive(
    registry: &Registry,
    jobs: &[RunningJob<'_>],
    streams: Streams,
    listener: &dyn Listener,
) -> Result<(), FetchError> {
    let came = Cell::new(0);
    let mut pace = Pace::new(streams);
    let mut active = FuturesUnordered::new();
    let (mut since, mut before, mut is_full) = (Instant::now(), 0, false);
    loop {
        while active.len() < pace.target() {
            let Some((job, range)) = next(jobs, pace.target()) else { break };
            job.n_active.set(job.n_active.get() + 1);
            let came = &came;
            let began = Instant::now();
            active.push(async move { (job, began, stream(registry, job, range, listener, came).await) });
        }
        is_full &= active.len() >= pace.target();
        if active.is_empty() {
            let waiting = jobs.iter().filter(|job| !job.claims.borrow().is_empty());
            let Some(then) = waiting.map(|job| job.not_before.get()).min() else { return Ok(()) };
            tokio::time::sleep_until(then.into()).await;
            continue;
        }
        let ended = tokio::time::timeout(TICK, active.next()).await;
        if since.elapsed() >= TICK {
            let rate = (came.get() - before) as f64 / since.elapsed().as_secs_f64();
            if is_full {
                pace.observe(rate);
            }
            (since, before, is_full) = (Instant::now(), came.get(), true);
        }
        let Ok(Some((job, began, end))) = ended else { continue };
        job.n_active.set(job.n_active.get() - 1);
        match end {
            StreamEnd::Done | StreamEnd::NotAlone => {}
            StreamEnd::Store(error) => return Err(FetchError::Store(error)),
            // One line that drops ends all streams on it; that is one failure.
            StreamEnd::Failed(error)
                if error.remedy() != Remedy::None && job.failed.get().is_some_and(|then| began <= then) => {}
            StreamEnd::Failed(error) => {
                let Some(wait) = job.patience.borrow_mut().after(error.remedy()) else {
                    return Err(if came.get() > 0 { FetchError::Broken(error) } else { FetchError::Refused(error) });
                };
                job.failed.set(Some(Instant::now()));
                if matches!(error, RegistryError::Busy { .. }) {
                    pace.back_off();
                }
                listener.event(Event::Retrying { reason: &error, wait });
                job.not_before.set(job.not_before.get().max(Instant::now() + wait));
            }
        }
    }
}

/// The next bytes to ask for.
fn next<'j, 'a>(jobs: &'j [RunningJob<'a>], n_streams: usize) -> Option<(&'j RunningJob<'a>, Range<u64>)> {
    let now = Instant::now();
    jobs.iter().find_map(|job| {
        // The first answer tells whether more may be asked for at once.
        let is_open = job.ranges.get() == Ranges::Given || job.n_active.get() == 0;
        if !is_open || job.not_before.get() > now {
            return None;
        }
        let mut claims = job.claims.borrow_mut();
        // Smaller towards the end, so that no stream is left alone with much.
        let share = claims.n_bytes() / (2 * n_streams as u64);
        Some((job, claims.take(share.clamp(PART_BYTES, MAX_REQUEST_BYTES))?))
    })
}

/// Downloads a range; what does not come is given back.
async fn stream(
    registry: &Registry,
    running: &RunningJob<'_>,
    mut left: Range<u64>,
    listener: &dyn Listener,
    came: &Cell<u64>,
) -> StreamEnd {
    let end = stream_into(registry, running, &mut left, listener, came).await;
    running.claims.borrow_mut().give_back(left);
    end
}

/// Takes what has come off the beginning of `left`.
async fn stream_into(
    registry: &Registry,
    running: &RunningJob<'_>,
    left: &mut Range<u64>,
    listener: &dyn Listener,
    came: &Cell<u64>,
) -> StreamEnd {
    let job = running.job;
    let mut body = match registry.open(&job.remote, left.clone(), job.version.as_deref()).await {
        Ok(body) => body,
        Err(error) => return StreamEnd::Failed(error),
    };
    if body.is_range() {
        running.ranges.set(Ranges::Given);
    } else {
        running.ranges.set(Ranges::Refused);
        if running.n_active.get() > 1 {
            return StreamEnd::NotAlone;
        }
        // Everything comes anyway.
        left.end = running.claims.borrow_mut().take_behind(left.end);
        body.extend_to(left.clone());
    }
    let began_at = left.start;
    loop {
        let chunk = match body.next().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) if !left.is_empty() && left.start - began_at < FEW_BYTES => {
                return StreamEnd::Failed(body.too_short());
            }
            Ok(None) => return StreamEnd::Done,
            Err(error) => return StreamEnd::Failed(error),
        };
        let n_bytes = chunk.len() as u64;
        let mut download = job.download.borrow_mut();
        if let Err(error) = download.write(left.start, &chunk) {
            return StreamEnd::Store(error);
        }
        left.start += n_bytes;
        running.hashing.borrow_mut().advance(download.frontier());
        running.patience.borrow_mut().progressed(n_bytes);
        came.set(came.get() + n_bytes);
        listener.event(Event::Bytes { id: &job.id, n_bytes });
    }
}
