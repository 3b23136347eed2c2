//! Asks a remote: within its limits, again where that may help, and tells what it took. Dropping an answer on its way ends it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::breaker::{Breaker, Open};
use crate::dialect::Content;
use crate::error::{RemoteError, Unanswered};
use crate::http::Http;
use crate::pace::Pace;
use crate::patience::Patience;
use crate::question::Question;
use crate::remote::Remote;
use crate::usage::Usage;

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
    /// `None`: every question is sent, however many failed.
    breaker: Option<Mutex<Breaker>>,
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

    /// The same with a circuit breaker: a remote that keeps failing is left alone for a while, and questions fail at once.
    /// To be called before there are clones, which share the limits.
    #[must_use]
    pub fn guarded(self) -> Client {
        let shared = Arc::into_inner(self.0).expect("nobody else has it yet");
        Client(Arc::new(Shared { breaker: Some(Mutex::default()), ..shared }))
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
        Ok(Client(Arc::new(Shared { remote, http, slots, pace, breaker: None, clock })))
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
        self.ask_within(question, Duration::MAX).await.map_err(|unanswered| unanswered.error)
    }

    /// As [`Client::ask`], for no longer than this with all tries together. Tells what an answer cost that is of no use.
    ///
    /// # Errors
    /// [`RemoteError::TimedOut`] with that limit where it is over.
    pub async fn ask_within(&self, question: &Question, limit: Duration) -> Result<Answer, Unanswered> {
        let on_its_way = self.admitted()?;
        let answered = if limit == Duration::MAX {
            self.asked(question).await
        } else {
            let host = || self.0.http.host().to_owned();
            let late = |_| RemoteError::TimedOut { host: host(), timeout: limit, n_tries: 1 }.into();
            tokio::time::timeout(limit, self.asked(question)).await.map_err(late).flatten()
        };
        on_its_way.end(answered.as_ref().err().map(|unanswered| &unanswered.error));
        answered
    }

    fn admitted(&self) -> Result<OnItsWay<'_>, RemoteError> {
        let Some(breaker) = &self.0.breaker else { return Ok(OnItsWay(None)) };
        let admitted = locked(breaker).admit((self.0.clock.now)());
        let of_host = |Open { n_failures, again_in, last }| {
            let host = self.0.http.host().to_owned();
            RemoteError::Open { host, n_failures, again_in, last }
        };
        admitted.map(|()| OnItsWay(Some((breaker, self.0.clock)))).map_err(of_host)
    }

    async fn asked(&self, question: &Question) -> Result<Answer, Unanswered> {
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
                    return self.read(question, &answer, Rate::Live).map(|read| Answer { latency, n_tries, ..read });
                }
                Err(error) => error,
            };
            let Some(asked) = error.may_pass() else { return Err(error.into()) };
            let Some(wait) = patience.after(asked, fastrand::f64()) else { return Err(error.after(n_tries).into()) };
            if asked.is_some() {
                // What one was told holds for all.
                self.pace(|pace, now| pace.pause(now, wait));
            } else {
                (clock.sleep)(wait).await;
            }
        }
    }

    /// A question as a request for a batch file of its server: the path, and the body.
    ///
    /// # Errors
    /// [`RemoteError::Unaskable`].
    pub fn batch_request(&self, question: &Question) -> Result<(String, Value), RemoteError> {
        let Remote { dialect, model, body, .. } = &self.0.remote;
        Ok((format!("/v1/{}", dialect.path()), dialect.body(model, body, question)?))
    }

    /// Reads an answer to a question that a batch brought, at the price of batches.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub fn batch_answer(&self, question: &Question, answer: &Value) -> Result<Answer, Unanswered> {
        self.read(question, answer, Rate::Batch)
    }

    fn read(&self, question: &Question, answer: &Value, rate: Rate) -> Result<Answer, Unanswered> {
        let usage = self.0.remote.dialect.usage(answer);
        let cost = self.cost(usage, rate);
        match self.0.remote.dialect.read(self.0.http.host(), question, answer) {
            Ok(content) => Ok(Answer { content, usage, cost, latency: Duration::ZERO, n_tries: 1 }),
            Err(error) => Err(Unanswered { error, usage, cost }),
        }
    }

    fn cost(&self, usage: Option<Usage>, rate: Rate) -> Option<f64> {
        let (price, usage) = (self.0.remote.price.as_ref()?, usage?);
        Some(match rate {
            Rate::Live => price.of(usage.input, usage.output),
            Rate::Batch => price.of_batch(usage.input, usage.output),
        })
    }

    fn pace<T>(&self, plan: impl FnOnce(&mut Pace, Instant) -> T) -> T {
        plan(&mut self.0.pace.lock().unwrap_or_else(PoisonError::into_inner), (self.0.clock.now)())
    }
}

/// Which price holds.
#[derive(Debug, Clone, Copy)]
enum Rate {
    Live,
    Batch,
}

/// A question that a breaker has let through. Dropping it is giving it up.
struct OnItsWay<'c>(Option<(&'c Mutex<Breaker>, Clock)>);

impl OnItsWay<'_> {
    fn end(mut self, error: Option<&RemoteError>) {
        let Some((breaker, clock)) = self.0.take() else { return };
        match error.filter(|error| error.is_of_the_remote()) {
            Some(error) => locked(breaker).failed((clock.now)(), error.to_string()),
            None => locked(breaker).answered(),
        }
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        if let Some((breaker, _)) = self.0 {
            locked(breaker).given_up();
        }
    }
}

fn locked(breaker: &Mutex<Breaker>) -> std::sync::MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
