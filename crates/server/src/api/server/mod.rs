//! Sockets and connections: where clients connect, how long they may take, and how the server ends. It knows nothing of what
//! is asked.

mod connection;
mod drain;
mod listen;
mod socket;
mod table;
#[cfg(test)]
mod tests;

pub use drain::Drain;
pub use listen::{Bind, BindError, ListenError, Listeners, Local, SocketFile, SocketMode, bind_unix};
pub use socket::Peer;

use super::metrics::Metrics;
use axum::Router;
use listen::{Accepted, Listener};
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What a server runs by.
#[derive(Debug, Clone)]
pub struct Terms {
    pub settings: Settings,
    /// Begun by whoever wants the server to end.
    pub drain: Drain,
    pub metrics: Metrics,
}

/// How the server treats its connections.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub max_connections: usize,
    pub patience: Patience,
    /// How long what is in flight may take after the drain has begun.
    pub grace: Duration,
}

/// How long the server waits for its clients.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a request's whole head, from the end of the answer before it.
    pub head: Duration,
    /// For the next bytes of a body.
    pub body: Duration,
    /// For a client to take any bytes of its answer.
    pub write: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { max_connections: 4096, patience: Patience::default(), grace: Duration::from_secs(30) }
    }
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            // Longer than the minute for which proxies keep their connections.
            head: Duration::from_secs(90),
            body: Duration::from_secs(30),
            write: Duration::from_secs(60),
        }
    }
}

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All that was in flight has been answered.
    Drained,
    /// The grace was over before that many connections were done.
    CutOff(usize),
    /// Told to end at once.
    AtOnce,
}

/// How many that are turned away are talked to at a time.
const MAX_TURNED_AWAY: usize = 64;
/// For the ends of answers that the server's own end cuts off.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Descriptors for all but connections: models, children, the store.
const OTHER_DESCRIPTORS: usize = 128;

/// Serves until `drain` has begun and what was in flight is done.
pub async fn serve(listeners: Listeners, router: Router, terms: Terms) -> Ended {
    let Terms { settings, drain, metrics } = terms;
    let table = Table::new(bounded(settings.max_connections));
    let server = Arc::new(Server {
        router,
        settings,
        drain,
        metrics,
        table,
        turned_away: Arc::new(Semaphore::new(MAX_TURNED_AWAY)),
    });
    let mut accepting = JoinSet::new();
    let (listening, kept) = listeners.into_parts();
    for listener in listening {
        accepting.spawn(Arc::clone(&server).accept(listener));
    }
    tell_systemd(NotifyState::Ready);
    server.drain.begun().await;
    tell_systemd(NotifyState::Stopping);
    // Closed before the files of the sockets are removed.
    accepting.shutdown().await;
    drop(kept);
    let ended = tokio::select! {
        biased;
        () = server.drain.ended() => Ended::AtOnce,
        () = server.table.emptied() => Ended::Drained,
        () = tokio::time::sleep(server.settings.grace) => Ended::CutOff(server.table.len()),
    };
    // Who waits for more of an answer is told, where the connection takes it. What is left then ends with the runtime.
    server.drain.end();
    let _ = tokio::time::timeout(LAST_WORDS, server.table.emptied()).await;
    ended
}

/// Where systemd started this process and waits for such words; elsewhere nothing happens.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("cannot tell systemd how the server is: {error}");
    }
}

struct Server {
    router: Router,
    settings: Settings,
    drain: Drain,
    metrics: Metrics,
    table: Arc<Table>,
    turned_away: Arc<Semaphore>,
}

impl Server {
    /// Failures never end it: with no descriptors or memory left, it waits for some.
    async fn accept(self: Arc<Server>, listener: Listener) {
        let mut n_failures = 0;
        loop {
            match listener.accept(self.settings.patience.write).await {
                Ok(accepted) => {
                    n_failures = 0;
                    self.take(accepted);
                }
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    tracing::error!("cannot accept connections: {error}; trying again");
                    self.table.evict_idle();
                    n_failures += 1;
                    tokio::time::sleep(Duration::from_millis(10 << n_failures.min(7))).await;
                }
            }
        }
    }

    fn take(self: &Arc<Server>, accepted: Accepted) {
        let Some(place) = self.table.enter() else {
            tracing::warn!(client = %accepted.peer, "turned a connection away: {} are at work", self.table.len());
            // Past that number they are closed without a word.
            if let Ok(permit) = Arc::clone(&self.turned_away).try_acquire_owned() {
                tokio::spawn(async move {
                    connection::turn_away(accepted.stream).await;
                    drop(permit);
                });
            }
            return;
        };
        let server = Arc::clone(self);
        tokio::spawn(async move {
            let _counted = server.metrics.connection();
            let served = connection::serve(accepted, &server, place);
            tokio::select! {
                () = served => {}
                () = server.drain.ended_for(LAST_WORDS) => {}
            }
        });
    }
}

/// Whether one client's connection failed, not the server's listening.
fn is_of_one(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// As many connections as the process may have descriptors for, after it has asked for all that it may have.
fn bounded(max_connections: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised, what there is must do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let n_descriptors =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let bounded = max_connections.min(n_descriptors.saturating_sub(OTHER_DESCRIPTORS)).max(1);
    if bounded < max_connections {
        tracing::warn!(
            "at most {bounded} connections at a time, for the process may open {n_descriptors} files (ulimit -n)"
        );
    }
    bounded
}
