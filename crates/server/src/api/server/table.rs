//! The open connections, whose number is bounded: when there are too many, idle ones are closed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Table {
    max: usize,
    connections: Mutex<Vec<Arc<Activity>>>,
    /// Woken when the last one has left.
    empty: Notify,
}

/// A connection's place in the table; dropping it gives it up.
#[derive(Debug)]
pub(super) struct TableEntry {
    table: Arc<Table>,
    pub activity: Arc<Activity>,
}

/// How far a connection is with its request.
#[derive(Debug)]
pub(super) struct Activity {
    stage: Mutex<Stage>,
    /// Told when the connection is to end as soon as it has no request.
    pub close: Notify,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// No request, or not all of its head, since then.
    Idle(Instant),
    /// A request whose answer is not whole.
    Asked,
    /// The end of an answer is being written.
    Answered,
}

/// A connection's request, until all of its answer is handed over or given up.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Table {
    pub(super) fn new(max: usize) -> Arc<Table> {
        Arc::new(Table { max, connections: Mutex::default(), empty: Notify::new() })
    }

    /// A place for one more; of a full table the connection that has been idle longest is told to end. None: all are at work.
    pub(super) fn enter(self: &Arc<Table>) -> Option<TableEntry> {
        let mut connections = locked(&self.connections);
        if connections.len() >= self.max && !evict(&mut connections) {
            return None;
        }
        let activity = Arc::new(Activity { stage: Mutex::new(Stage::Idle(Instant::now())), close: Notify::new() });
        connections.push(Arc::clone(&activity));
        Some(TableEntry { table: Arc::clone(self), activity })
    }

    /// Frees a descriptor where the system has none left.
    pub(super) fn evict_idle(&self) {
        evict(&mut locked(&self.connections));
    }

    pub(super) fn len(&self) -> usize {
        locked(&self.connections).len()
    }

    /// Until nobody is left.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.empty.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// Whether there was one to go. Its place is free at once: it holds nothing but a descriptor for a moment longer.
fn evict(connections: &mut Vec<Arc<Activity>>) -> bool {
    let idle = connections.iter().enumerate().filter_map(|(at, activity)| Some((activity.idle_since()?, at)));
    let Some((_, at)) = idle.min() else { return false };
    connections.swap_remove(at).close.notify_one();
    true
}

impl Drop for TableEntry {
    fn drop(&mut self) {
        let mut connections = locked(&self.table.connections);
        connections.retain(|activity| !Arc::ptr_eq(activity, &self.activity));
        if connections.is_empty() {
            self.table.empty.notify_waiters();
        }
    }
}

impl Activity {
    /// A request has come.
    pub(super) fn asked(self: &Arc<Activity>) -> Busy {
        *locked(&self.stage) = Stage::Asked;
        Busy(Arc::clone(self))
    }

    /// Nothing is left to be written at this moment.
    pub(super) fn flushed(&self) {
        let mut stage = locked(&self.stage);
        if matches!(*stage, Stage::Answered) {
            *stage = Stage::Idle(Instant::now());
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        match *locked(&self.stage) {
            Stage::Idle(since) => Some(since),
            Stage::Asked | Stage::Answered => None,
        }
    }

    /// Until there has been no request for this long.
    pub(super) async fn idle_for(&self, time: Duration) {
        while self.idle_since().is_none_or(|since| since.elapsed() < time) {
            tokio::time::sleep(time).await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *locked(&self.0.stage) = Stage::Answered;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
