//! Long operations that report their progress: any number of clients watch one, each at its own speed, and it is cancelled when
//! the last of them has left. Two that want the same share it.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::watch;

use crate::api::problem::{Kind, Problem};
use crate::api::stream::Source;
use slm_store::transfer::{Direction, Event, Listener, StatusReporter, TransferStatus};
use slm_values::progress::Progress;

/// Pieces of work at once; each has a thread.
const MAX_AT_ONCE: usize = 16;
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What tells work from other work; what has the same key is the same.
pub type Key = (&'static str, String);

/// All work that is going on. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Works(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    shared: HashMap<Key, Arc<watch::Sender<Log>>>,
    n: usize,
}

/// What a piece of work has told so far. What is told of one thing again takes the place of what was told before.
#[derive(Debug, Default)]
struct Log {
    /// With the revision in which each was told last.
    lines: Vec<(u64, TransferStatus)>,
    revision: u64,
    outcome: Option<Result<(), Problem>>,
}

/// A client's view of a piece of work. Dropping the last one gives the work up.
#[derive(Debug)]
pub struct Watched {
    log: watch::Receiver<Log>,
    /// What this client knows.
    revision: u64,
    ready: VecDeque<TransferStatus>,
}

/// Tells how a piece of work goes.
#[derive(Debug, Clone)]
pub struct Telling(Arc<watch::Sender<Log>>);

impl Works {
    /// Begins work on a thread of its own, or watches what others have begun under the same key.
    ///
    /// # Errors
    /// There is too much going on already.
    pub fn begin<W>(
        &self,
        key: Option<Key>,
        work: impl FnOnce(Telling) -> W + Send + 'static,
    ) -> Result<Watched, Problem>
    where
        W: Future<Output = Result<(), Problem>>,
    {
        let mut running = self.running();
        if let Some(log) = key.as_ref().and_then(|key| running.shared.get(key)) {
            return Ok(Watched::new(log.subscribe()));
        }
        if running.n == MAX_AT_ONCE {
            let message = format!(
                "{MAX_AT_ONCE} models are already being downloaded, uploaded or created; try again when one is done"
            );
            return Err(Problem::new(Kind::Busy { retry_after: RETRY_AFTER }, message));
        }
        let (sender, receiver) = watch::channel(Log::default());
        let sender = Arc::new(sender);
        let place = WorkEntry { works: self.clone(), key: key.clone() };
        let telling = Telling(sender.clone());
        let thread = std::thread::Builder::new().name("work".to_owned());
        let started = thread.spawn(move || run(&place, telling, work));
        started.map_err(|error| Problem::new(Kind::Failed, format!("cannot start a thread: {error}")))?;
        running.n += 1;
        running.shared.extend(key.map(|key| (key, sender)));
        Ok(Watched::new(receiver))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a piece of work is known; dropped, it is not any more.
struct WorkEntry {
    works: Works,
    key: Option<Key>,
}

impl WorkEntry {
    /// Whether nobody watches any more. Then nobody can come either.
    fn is_deserted(&self, log: &watch::Sender<Log>) -> bool {
        let mut running = self.works.running();
        let is_deserted = log.receiver_count() == 0;
        if is_deserted && let Some(key) = &self.key {
            running.shared.remove(key);
        }
        is_deserted
    }
}

impl Drop for WorkEntry {
    fn drop(&mut self) {
        let mut running = self.works.running();
        running.n -= 1;
        if let Some(key) = &self.key {
            running.shared.remove(key);
        }
    }
}

fn run<W: Future<Output = Result<(), Problem>>>(place: &WorkEntry, telling: Telling, work: impl FnOnce(Telling) -> W) {
    let log = telling.0.clone();
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Err(error) => Err(Problem::new(Kind::Failed, format!("the network cannot be used: {error}"))),
        Ok(runtime) => runtime.block_on(async {
            let work = std::pin::pin!(work(telling));
            let deserted = std::pin::pin!(async {
                loop {
                    log.closed().await;
                    if place.is_deserted(&log) {
                        break;
                    }
                }
            });
            match select(work, deserted).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => Err(Problem::new(Kind::Failed, "the client disconnected")),
            }
        }),
    };
    log.send_modify(|log| log.outcome = Some(outcome));
}

impl Watched {
    fn new(log: watch::Receiver<Log>) -> Watched {
        Watched { log, revision: 0, ready: VecDeque::new() }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What the work failed with.
    pub async fn end(mut self) -> Result<(), Problem> {
        while self.next().await?.is_some() {}
        Ok(())
    }
}

impl Source for Watched {
    type Item = TransferStatus;

    async fn next(&mut self) -> Result<Option<TransferStatus>, Problem> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return Ok(Some(told));
            }
            {
                let log = self.log.borrow_and_update();
                let new = log.lines.iter().filter(|(revision, _)| *revision > self.revision);
                self.ready.extend(new.map(|(_, told)| told.clone()));
                self.revision = log.revision;
                if let Some(outcome) = log.outcome.clone().filter(|_| self.ready.is_empty()) {
                    return outcome.map(|()| None);
                }
            }
            if self.ready.is_empty() && self.log.changed().await.is_err() {
                return Err(Problem::new(Kind::Failed, "the operation ended without a result; see the server's log"));
            }
        }
    }
}

impl Telling {
    pub fn tell(&self, told: TransferStatus) {
        // The last word is the outcome's.
        if told != TransferStatus::success() {
            self.0.send_modify(|log| log.tell(told));
        }
    }

    /// Tells how a model comes or goes.
    #[must_use]
    pub fn of(self, direction: Direction) -> impl Listener {
        Transfer { telling: self, teller: RefCell::new(StatusReporter::of(direction)) }
    }
}

impl Log {
    fn tell(&mut self, told: TransferStatus) {
        self.revision += 1;
        let known = match &told {
            // A blob that moves on.
            TransferStatus { total: Some(_), .. } => {
                let is_same = |known: &TransferStatus| (&known.status, known.digest) == (&told.status, told.digest);
                self.lines.iter().position(|(_, known)| is_same(known))
            }
            // A wait after a wait.
            TransferStatus { status, .. } => {
                let is_wait = |status: &str| status.starts_with("retrying in ");
                let is_again = self.lines.last().is_some_and(|(_, last)| is_wait(&last.status) && is_wait(status));
                is_again.then(|| self.lines.len() - 1)
            }
        };
        match known {
            Some(at) => self.lines[at] = (self.revision, told),
            None => self.lines.push((self.revision, told)),
        }
    }
}

struct Transfer {
    telling: Telling,
    teller: RefCell<StatusReporter>,
}

impl Listener for Transfer {
    fn event(&self, event: Event<'_>) {
        if let Some(told) = self.teller.borrow_mut().tell(event) {
            self.telling.tell(told);
        }
    }
}

/// Tells how bytes of this machine are read or copied, a step of a hundredth at a time.
pub struct Steps {
    telling: Telling,
    step: RefCell<Option<TransferStatus>>,
}

impl Steps {
    #[must_use]
    pub fn of(telling: Telling) -> Steps {
        Steps { telling, step: RefCell::default() }
    }
}

impl Progress for Steps {
    fn start(&self, what: &str, total_bytes: u64) {
        let told = TransferStatus { total: Some(total_bytes), completed: Some(0), ..TransferStatus::status(what) };
        self.telling.tell(told.clone());
        *self.step.borrow_mut() = Some(told);
    }

    fn advance(&self, n_bytes: u64) {
        if let Some(TransferStatus { total: Some(total), completed: Some(completed), .. }) =
            self.step.borrow_mut().as_mut()
        {
            let hundredths = |n: u64| n.saturating_mul(100) / (*total).max(1);
            let before = *completed;
            *completed += n_bytes;
            if hundredths(before) == hundredths(*completed) {
                return;
            }
        }
        if let Some(told) = self.step.borrow().as_ref() {
            self.telling.tell(told.clone());
        }
    }

    fn finish(&self) {
        self.step.borrow_mut().take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    fn key() -> Option<Key> {
        Some(("pull", "m".to_owned()))
    }

    fn at(completed: u64) -> TransferStatus {
        TransferStatus { total: Some(9), completed: Some(completed), ..TransferStatus::status("pulling a") }
    }

    /// Work that tells three things and ends when it is told to.
    fn begin(works: &Works, until: oneshot::Receiver<Result<(), Problem>>) -> Watched {
        let work = |telling: Telling| async move {
            telling.tell(TransferStatus::status("pulling manifest"));
            telling.tell(at(1));
            telling.tell(at(2));
            until.await.unwrap_or(Ok(()))
        };
        works.begin(key(), work).unwrap()
    }

    async fn all(mut watched: Watched) -> (Vec<TransferStatus>, Result<(), Problem>) {
        let mut told = Vec::new();
        loop {
            match watched.next().await {
                Ok(Some(line)) => told.push(line),
                Ok(None) => return (told, Ok(())),
                Err(problem) => return (told, Err(problem)),
            }
        }
    }

    #[test]
    fn two_share_what_is_the_same_and_both_hear_all_of_it() {
        block_on(async {
            let works = Works::default();
            let (end, until) = oneshot::channel();
            let mut first = begin(&works, until);
            // All is told: what the second hears does not depend on which of the threads is faster.
            while first.next().await.unwrap() != Some(at(2)) {}
            let never = |_: Telling| async { panic!("the work is there already") };
            let second = works.begin(key(), never).unwrap();
            end.send(Ok(())).unwrap();
            let (told, outcome) = all(second).await;
            assert_eq!((told, outcome), (vec![TransferStatus::status("pulling manifest"), at(2)], Ok(())));
            assert_eq!(all(first).await, (Vec::new(), Ok(())));
        });
    }

    #[test]
    fn work_is_given_up_with_its_last_watcher() {
        block_on(async {
            let works = Works::default();
            let (held, mut gone) = oneshot::channel::<()>();
            let work = |telling: Telling| async move {
                let _held = held;
                telling.tell(TransferStatus::status("begun"));
                std::future::pending::<Result<(), Problem>>().await
            };
            let mut first = works.begin(key(), work).unwrap();
            assert_eq!(first.next().await.unwrap(), Some(TransferStatus::status("begun")));
            let second = works.begin(key(), |_| async { panic!("the work is there already") }).unwrap();
            drop(first);
            assert!(tokio::time::timeout(Duration::from_millis(50), &mut gone).await.is_err(), "one still watches");
            drop(second);
            while works.running().n > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The same can be started again.
            assert_eq!(all(works.begin(key(), |_| async { Ok(()) }).unwrap()).await, (Vec::new(), Ok(())));
        });
    }

    #[test]
    fn what_fails_says_so_to_everybody() {
        block_on(async {
            let works = Works::default();
            let (end, until) = oneshot::channel();
            let watched = [begin(&works, until), works.begin(key(), |_| async { Ok(()) }).unwrap()];
            end.send(Err(Problem::invalid("no"))).unwrap();
            for watched in watched {
                assert_eq!(all(watched).await.1, Err(Problem::invalid("no")));
            }
        });
    }

    #[test]
    fn too_much_is_refused() {
        block_on(async {
            let works = Works::default();
            let begin = || works.begin(None, |_| std::future::pending::<Result<(), Problem>>());
            let watched: Vec<Watched> = (0..MAX_AT_ONCE).map(|_| begin().unwrap()).collect();
            assert!(matches!(begin().unwrap_err().kind, Kind::Busy { .. }));
            drop(watched);
            while works.running().n > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(begin().unwrap());
        });
    }

    #[test]
    fn waits_do_not_pile_up() {
        let mut log = Log::default();
        for n in 1..100 {
            log.tell(TransferStatus::status(format!("retrying in {n}.0 s: the line broke")));
            log.tell(at(n));
        }
        assert!(log.lines.len() < 103, "{}", log.lines.len());
    }
}
