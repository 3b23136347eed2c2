//! The connections that there are, so that their number is bounded: when there are too many, those that ask nothing go.

use super::exchange::Exchange;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Table {
    max: usize,
    connections: Mutex<Connections>,
    /// Woken when the last one has left.
    empty: Notify,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    by_number: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    exchange: Arc<Exchange>,
    close: Arc<Notify>,
}

/// A connection's place in the table; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Place {
    table: Arc<Table>,
    number: u64,
    /// Told when the connection is to end as soon as it has no request.
    pub close: Arc<Notify>,
}

impl Table {
    pub(super) fn new(max: usize) -> Arc<Table> {
        Arc::new(Table { max, connections: Mutex::default(), empty: Notify::new() })
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more; of a full table the connection that has been idle longest is told to end. None: all are at work.
    pub(super) fn enter(self: &Arc<Table>, exchange: &Arc<Exchange>) -> Option<Place> {
        let mut connections = self.connections();
        if connections.by_number.len() >= self.max && !evict(&mut connections) {
            return None;
        }
        let number = connections.next;
        connections.next += 1;
        let close = Arc::new(Notify::new());
        let entry = Entry { exchange: Arc::clone(exchange), close: Arc::clone(&close) };
        connections.by_number.insert(number, entry);
        Some(Place { table: Arc::clone(self), number, close })
    }

    /// Frees a descriptor where the system has none left.
    pub(super) fn evict_idle(&self) {
        evict(&mut self.connections());
    }

    pub(super) fn len(&self) -> usize {
        self.connections().by_number.len()
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
fn evict(connections: &mut Connections) -> bool {
    let idle = |(number, entry): (&u64, &Entry)| Some((entry.exchange.idle_since()?, *number));
    let Some((_, number)) = connections.by_number.iter().filter_map(idle).min() else { return false };
    if let Some(entry) = connections.by_number.remove(&number) {
        entry.close.notify_one();
    }
    true
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.table.connections();
        connections.by_number.remove(&self.number);
        if connections.by_number.is_empty() {
            self.table.empty.notify_waiters();
        }
    }
}
