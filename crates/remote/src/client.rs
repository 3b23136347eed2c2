//! Asks a remote: within its limits, again where that may help, and tells what it took. Dropping an answer on its way ends it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

use crate::dialect::{Content, Read, Usage};
use crate::error::RemoteError;
use crate::http::Http;
use crate::pace::Pace;
use crate::patience::Patience;
use crate::question::Question;
use crate::remote::Remote;

/// What a remote answered, and what that took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub content: Content,
    /// `None` where the remote does not count.
    pub usage: Option<Usage>,
    /// In the price's currency; `None` where the remote has no price, or does not count.
    pub cost: Option<f64>,
    /// Of the try that was answered: from its request to the whole answer.
    pub latency: Duration,
    pub n_tries: u32,
}

/// A connection to a remote. Cheap to clone; clones share its limits.
#[derive(Debug, Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    remote: Remote,
    http: Http,
    slots: Semaphore,
    pace: Mutex<Pace>,
    clock: Clock,
}

/// The runtime's clock, or a test's, on which waiting takes no time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    now: fn() -> Instant,
    sleep: fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Clock {
    const RUNTIME: Clock = Clock { now: Instant::now, sleep: |wait| Box::pin(tokio::time::sleep(wait)) };
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl Client {
    /// Fetches the key and makes ready to connect; nothing is sent. `variable` looks up a variable of the environment, `now`
    /// tells the time of day.
    ///
    /// # Errors
    /// [`RemoteError::Key`], [`RemoteError::Setup`].
    pub fn connect(
        remote: Remote,
        variable: impl Fn(&str) -> Option<String>,
        now: fn() -> SystemTime,
    ) -> Result<Client, RemoteError> {
        Client::with(remote, variable, now, Clock::RUNTIME)
    }

    pub(crate) fn with(
        remote: Remote,
        variable: impl Fn(&str) -> Option<String>,
        now: fn() -> SystemTime,
        clock: Clock,
    ) -> Result<Client, RemoteError> {
        let key = remote.key.fetch(variable)?;
        let http = Http::new(&remote, key, now)?;
        let slots = Semaphore::new(remote.concurrency.get());
        let pace = Mutex::new(Pace::new(remote.requests_per_minute));
        Ok(Client(Arc::new(Shared { remote, http, slots, pace, clock })))
    }

    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.0.remote
    }

    /// Asks, and asks again where a failure may pass.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub async fn ask(&self, question: &Question) -> Result<Answer, RemoteError> {
        let Shared { remote, http, slots, clock, .. } = &*self.0;
        let body = remote.dialect.body(&remote.model, &remote.body, question)?.to_string().into_bytes();
        let _slot = slots.acquire().await.expect("the semaphore is never closed");
        let mut patience = Patience::new(remote.retries);
        let mut n_tries = 0;
        loop {
            let wait = self.pace(|pace, now| pace.claim(now));
            if !wait.is_zero() {
                (clock.sleep)(wait).await;
            }
            n_tries += 1;
            let started = Instant::now();
            let error = match http.post(&body).await {
                Ok(answer) => {
                    let latency = started.elapsed();
                    let Read { content, usage } = remote.dialect.read(http.host(), question, &answer)?;
                    return Ok(Answer { content, usage, cost: self.cost(usage), latency, n_tries });
                }
                Err(error) => error,
            };
            let Some(asked) = error.may_pass() else { return Err(error) };
            let Some(wait) = patience.after(asked, fastrand::f64()) else { return Err(error.after(n_tries)) };
            if asked.is_some() {
                // What one was told holds for all.
                self.pace(|pace, now| pace.pause(now, wait));
            } else {
                (clock.sleep)(wait).await;
            }
        }
    }

    fn cost(&self, usage: Option<Usage>) -> Option<f64> {
        let (price, usage) = (self.0.remote.price.as_ref()?, usage?);
        Some(price.of(usage.input, usage.output))
    }

    fn pace<T>(&self, plan: impl FnOnce(&mut Pace, Instant) -> T) -> T {
        plan(&mut self.0.pace.lock().unwrap_or_else(PoisonError::into_inner), (self.0.clock.now)())
    }
}

#[cfg(test)]
mod tests;
