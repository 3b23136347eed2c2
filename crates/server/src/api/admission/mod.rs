//! A place in line: how many requests an engine has at once, and who comes next. It knows clients by a name and engines by a
//! key, and nothing of what is asked.
//!
//! The decisions are [`gates`]'; this is who waits for them. A [`Permit`] is a place inside, dropping it gives the place
//! to the next, and dropping an [`InLine`] gives up a place in line.

pub mod gates;

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use gates::{Gates, Outcome, Priority, Ticket};

/// Requests that may wait, where nobody says another number.
pub const DEFAULT_MAX_QUEUE: usize = 512;

/// What stands for an engine.
pub trait Key: Clone + Debug + Eq + Hash + Send + 'static {}

impl<K: Clone + Debug + Eq + Hash + Send + 'static> Key for K {}

/// All gates of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission<K: Key> {
    shared: Arc<Mutex<Shared<K>>>,
}

/// Where a request wants to go.
#[derive(Debug, Clone)]
pub struct Entry<K> {
    pub gate: K,
    /// Requests that this gate lets in at once, or more where someone else who is there said more; at least one.
    pub n_permits: usize,
    /// The same for all requests of one client.
    pub client: Arc<str>,
    pub priority: Priority,
    /// When it is given up; `None` never.
    pub deadline: Option<Instant>,
}

/// A place inside; dropping it gives it to the next.
#[derive(Debug)]
pub struct Permit<K: Key> {
    admission: Admission<K>,
    gate: K,
    priority: Priority,
    waited: Duration,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the server is busy: {n_queued} requests are already waiting; try again in {} seconds", .retry_after.as_secs())]
    Busy { n_queued: usize, retry_after: Duration },
    #[error("the request timed out after {} ms in the queue", .waited.as_millis())]
    TimedOut { waited: Duration },
}

/// What is the case and what has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub n_queued: usize,
    pub n_running: usize,
    pub admitted: u64,
    pub busy: u64,
    pub timed_out: u64,
    /// Requests that went away while they waited.
    pub withdrawn: u64,
}

#[derive(Debug)]
struct Shared<K: Key> {
    gates: Gates<K>,
    /// Those who wait or are about to be told.
    waiting: HashMap<Ticket, Waiting<K>>,
    n_tickets: u64,
    counts: Snapshot,
}

#[derive(Debug)]
struct Waiting<K: Key> {
    gate: K,
    priority: Priority,
    since: Instant,
    reply: oneshot::Sender<Result<Permit<K>, Refused>>,
}

/// A place in line; dropping it gives it up.
#[derive(Debug)]
pub struct InLine<'a, K: Key> {
    admission: &'a Admission<K>,
    ticket: Ticket,
    since: Instant,
    deadline: Option<Instant>,
    answer: oneshot::Receiver<Result<Permit<K>, Refused>>,
}

impl<K: Key> Admission<K> {
    /// Gates before which at most `max_queue` requests wait together.
    #[must_use]
    pub fn new(max_queue: usize) -> Self {
        let shared =
            Shared { gates: Gates::new(max_queue), waiting: HashMap::new(), n_tickets: 0, counts: Snapshot::default() };
        Admission { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Takes a place in line before a gate.
    #[must_use]
    pub fn line_up(&self, entry: Entry<K>) -> InLine<'_, K> {
        let (reply, answer) = oneshot::channel();
        let since = Instant::now();
        let Entry { gate, n_permits, client, priority, deadline } = entry;
        let (ticket, outcomes) = {
            let mut shared = self.lock();
            let ticket = Ticket(shared.n_tickets);
            shared.n_tickets += 1;
            shared.waiting.insert(ticket, Waiting { gate: gate.clone(), priority, since, reply });
            let outcomes = match priority {
                Priority::Live => shared.gates.enter(&gate, n_permits, &client, ticket, since),
                Priority::Batch => shared.gates.enter_behind(&gate, n_permits, &client, ticket, since),
            };
            (ticket, outcomes)
        };
        let in_line = InLine { admission: self, ticket, since, deadline, answer };
        self.tell(outcomes);
        in_line
    }

    /// How many requests that wait now are let in before this one; `None` where it waits no more.
    #[must_use]
    pub fn n_before(&self, ticket: Ticket) -> Option<usize> {
        let shared = self.lock();
        shared.gates.n_before(&shared.waiting.get(&ticket)?.gate, ticket)
    }

    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let shared = self.lock();
        Snapshot { n_queued: shared.gates.n_queued(), n_running: shared.gates.n_running(), ..shared.counts }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<K>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait; a permit that nobody takes any more goes to the next.
    fn tell(&self, outcomes: Vec<(Ticket, Outcome)>) {
        for (ticket, outcome) in outcomes {
            let waiting = {
                let mut shared = self.lock();
                match outcome {
                    Outcome::Admitted => shared.counts.admitted += 1,
                    Outcome::Busy { .. } => shared.counts.busy += 1,
                }
                shared.waiting.remove(&ticket)
            };
            let Some(Waiting { gate, priority, since, reply }) = waiting else { continue };
            let told = match outcome {
                Outcome::Admitted => Ok(Permit { admission: self.clone(), gate, priority, waited: since.elapsed() }),
                Outcome::Busy { n_queued, retry_after } => Err(Refused::Busy { n_queued, retry_after }),
            };
            // What cannot be sent is dropped here, where nothing is locked: a permit's end locks.
            drop(reply.send(told));
        }
    }
}

impl<K: Key> Permit<K> {
    /// How long it was waited for.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl<K: Key> Drop for Permit<K> {
    fn drop(&mut self) {
        let outcomes = {
            let gates = &mut self.admission.lock().gates;
            match self.priority {
                Priority::Live => gates.leave(&self.gate, Instant::now()),
                Priority::Batch => gates.leave_behind(&self.gate, Instant::now()),
            }
        };
        self.admission.tell(outcomes);
    }
}

impl<K: Key> InLine<'_, K> {
    /// What [`Admission::n_before`] knows this place by.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Waits for the place behind the gate.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn admitted(mut self) -> Result<Permit<K>, Refused> {
        let told = match self.deadline {
            None => (&mut self.answer).await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), &mut self.answer).await {
                Ok(told) => told,
                Err(_) if self.give_up() => {
                    self.admission.lock().counts.timed_out += 1;
                    return Err(Refused::TimedOut { waited: self.since.elapsed() });
                }
                // It was decided at the last moment, and is being told.
                Err(_) => (&mut self.answer).await,
            },
        };
        told.expect("every request is told once, and nobody else removes it while it waits")
    }

    /// Gives up the place in line; `false` where there is none any more.
    fn give_up(&self) -> bool {
        let mut shared = self.admission.lock();
        let Some(gate) = shared.waiting.get(&self.ticket).map(|waiting| waiting.gate.clone()) else { return false };
        // Between the decision and the telling it is in no queue any more: whoever decided tells it.
        let was_waiting = shared.gates.withdraw(&gate, self.ticket);
        if was_waiting {
            shared.waiting.remove(&self.ticket);
        }
        was_waiting
    }
}

impl<K: Key> Drop for InLine<'_, K> {
    fn drop(&mut self) {
        if self.give_up() {
            self.admission.lock().counts.withdrawn += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use super::*;

    impl<K: Key> Admission<K> {
        async fn enter(&self, entry: Entry<K>) -> Result<Permit<K>, Refused> {
            self.line_up(entry).admitted().await
        }
    }

    fn entry(client: &str, deadline: Option<Duration>) -> Entry<&'static str> {
        let deadline = deadline.map(|within| Instant::now() + within);
        Entry { gate: "base", n_permits: 1, client: client.into(), priority: Priority::Live, deadline }
    }

    /// Asks a future once; whether it is not done.
    async fn waits<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    fn counts(admission: &Admission<&'static str>) -> (usize, usize) {
        let snapshot = admission.snapshot();
        (snapshot.n_running, snapshot.n_queued)
    }

    #[tokio::test]
    async fn a_permit_goes_to_the_next_and_a_dropped_future_leaves_no_place() {
        let admission = Admission::new(8);
        let first = admission.enter(entry("a", None)).await.unwrap();
        let mut second = Box::pin(admission.enter(entry("a", None)));
        let mut third = Box::pin(admission.enter(entry("b", None)));
        assert!(waits(&mut second).await);
        assert!(waits(&mut third).await);
        assert_eq!(counts(&admission), (1, 2));
        drop(second);
        assert_eq!(counts(&admission), (1, 1));
        drop(first);
        // The place is given before the future is asked again, and given back where that never happens.
        assert_eq!(counts(&admission), (1, 0));
        drop(third);
        assert_eq!(counts(&admission), (0, 0));
        let snapshot = admission.snapshot();
        assert_eq!((snapshot.admitted, snapshot.withdrawn), (2, 1));
    }

    #[tokio::test]
    async fn who_is_too_many_or_too_late_is_told_so() {
        let admission = Admission::new(1);
        let _first = admission.enter(entry("a", None)).await.unwrap();
        let mut second = Box::pin(admission.enter(entry("a", Some(Duration::from_millis(40)))));
        assert!(waits(&mut second).await);
        assert_eq!(
            admission.enter(entry("a", None)).await.unwrap_err().to_string(),
            "the server is busy: 1 requests are already waiting; try again in 2 seconds"
        );
        let late = second.await.unwrap_err();
        assert!(matches!(late, Refused::TimedOut { waited } if waited >= Duration::from_millis(39)), "{late:?}");
        assert_eq!(counts(&admission), (1, 0));
        let snapshot = admission.snapshot();
        assert_eq!((snapshot.busy, snapshot.timed_out, snapshot.withdrawn), (1, 1, 0));
    }

    #[tokio::test]
    async fn a_greedy_clients_youngest_request_makes_place_for_another_client() {
        let admission = Admission::new(2);
        let first = admission.enter(entry("greedy", None)).await.unwrap();
        let mut old = Box::pin(admission.enter(entry("greedy", None)));
        let mut young = Box::pin(admission.enter(entry("greedy", None)));
        assert!(waits(&mut old).await && waits(&mut young).await);
        let mut modest = Box::pin(admission.enter(entry("modest", None)));
        assert!(waits(&mut modest).await);
        assert!(matches!(young.await, Err(Refused::Busy { .. })));
        drop(first);
        drop(old.await.unwrap());
        drop(modest.await.unwrap());
        assert_eq!(counts(&admission), (0, 0));
    }

    /// Tasks on several threads come, wait, lose patience and go: nobody is lost and never are there too many inside.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_place_is_lost_between_threads() {
        let (admission, inside) = (Admission::new(64), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..200_u64).map(|n| {
            let (admission, inside) = (admission.clone(), Arc::clone(&inside));
            tokio::spawn(async move {
                for round in 0..20 {
                    let patience = Duration::from_micros((n * 37 + round * 101) % 900);
                    let deadline = (n % 3 != 0).then(|| Instant::now() + patience);
                    let client = format!("client{}", n % 7).into();
                    let priority = if n % 4 == 1 { Priority::Batch } else { Priority::Live };
                    let entering = admission.enter(Entry { gate: n % 2, n_permits: 3, client, priority, deadline });
                    // Some are dropped while they wait.
                    let entered =
                        if n % 5 == 0 { tokio::time::timeout(patience, entering).await } else { Ok(entering.await) };
                    if let Ok(Ok(_permit)) = entered {
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 6);
                        tokio::task::yield_now().await;
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let Snapshot { n_queued, n_running, admitted, busy, timed_out, withdrawn } = admission.snapshot();
        assert_eq!((n_queued, n_running, admitted + busy + timed_out + withdrawn), (0, 0, 4000));
        assert!(admission.lock().waiting.is_empty());
    }
}
