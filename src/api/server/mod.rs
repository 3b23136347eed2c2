//! Sockets and connections: where clients connect, how long they may take, and how the server ends. It knows nothing of what
//! is asked.

mod chunks;
mod connection;
mod departure;
mod drain;
mod exchange;
mod head;
mod listen;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod wire;

pub use drain::Drain;
pub use listen::{Bind, BindError, ListenError, Listeners, Local, SocketFile, SocketMode, bind_unix};
pub use socket::Peer;

use super::metrics::Metrics;
use axum::Router;
use connection::Accepted;
use exchange::Exchange;
use listen::Listener;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    /// For a request on a connection that has none.
    pub idle: Duration,
    /// For a head, from its first byte on.
    pub head: Duration,
    /// For the next `body_bytes` of a body, or its end.
    pub body: Duration,
    pub body_bytes: usize,
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
            idle: Duration::from_secs(120),
            head: Duration::from_secs(15),
            body: Duration::from_secs(30),
            body_bytes: 64 * 1024,
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
    while accepting.join_next().await.is_some() {}
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
    async fn accept(self: Arc<Server>, listener: Listener) {
        let mut trouble = Trouble::default();
        loop {
            let accepted = tokio::select! {
                () = self.drain.begun() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer, local)) => {
                    trouble = Trouble::default();
                    self.take(socket, peer, local);
                }
                Err(error) => {
                    if let Some(pause) = trouble.pause(&error) {
                        self.table.evict_idle();
                        tokio::select! {
                            () = self.drain.begun() => return,
                            () = tokio::time::sleep(pause) => {}
                        }
                    }
                }
            }
        }
    }

    fn take(self: &Arc<Server>, socket: socket::Socket, peer: Peer, local: Local) {
        let exchange = Arc::new(Exchange::new());
        let Some(place) = self.table.enter(&exchange) else {
            tracing::warn!(client = %peer, "turned a connection away: {} are at work", self.table.len());
            // Past that number they are closed without a word.
            if let Ok(permit) = Arc::clone(&self.turned_away).try_acquire_owned() {
                tokio::spawn(async move {
                    connection::turn_away(socket).await;
                    drop(permit);
                });
            }
            return;
        };
        let accepted = Accepted { socket: Arc::new(socket), exchange, peer, local };
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

/// Failures to accept in a row. They never end the server: with no descriptors or memory left, it waits for some.
#[derive(Debug, Default)]
struct Trouble {
    n_failures: u32,
    said: Option<Instant>,
}

impl Trouble {
    /// How long to wait before the next try; not at all where only one client's connection failed.
    fn pause(&mut self, error: &std::io::Error) -> Option<Duration> {
        use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return None;
        }
        if self.said.is_none_or(|said| said.elapsed() > Duration::from_secs(5)) {
            self.said = Some(Instant::now());
            tracing::error!("cannot accept connections: {error}; trying again");
        }
        self.n_failures += 1;
        Some(Duration::from_millis(10 << self.n_failures.min(7)).min(Duration::from_secs(1)))
    }
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
