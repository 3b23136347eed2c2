//! What every dialect needs to know about a request: its time limit and priority, how closed answers are scored, and its client.
//!
//! It comes from headers, and is kept beside the request's task, so that no dialect has to hand it on.

use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use super::admission::gates::Priority;
use super::problem::{Kind, Problem};
use super::server::Drain;
use slm_engine::{Lane, Reading, Search};
use slm_infer::infer::{FitUse, Hosted, Scoring};

/// Where a closed answer is evaluated: `canonical` (the default) or `throughput`.
pub const LANE: &str = "x-slm-lane";
/// What the probability of an allowed answer is: `choices` (the default) or `likelihood`.
pub const READING: &str = "x-slm-reading";
/// How many of the choices among allowed answers are evaluated: `best-first` (the default) or `exact`.
pub const SEARCH: &str = "x-slm-search";
/// Whether closed answers are fitted by the model's own fit: `on` (the default) or `off`, as the field `fit` of a request, for
/// clients that send no fields of their own.
pub const FIT: &str = "x-slm-fit";
/// Seconds after which a request is given up.
pub const TIMEOUT: &str = "x-slm-timeout";

/// Whether somebody waits for the answer: `live` (the default) or `batch`, which is behind all others.
pub const PRIORITY: &str = "x-slm-priority";

/// What holds for one request.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    pub scoring: Scoring,
    pub fit: FitUse,
    pub priority: Priority,
    /// When it is given up; `None` never.
    pub deadline: Option<Instant>,
    /// Who asks, as far as fairness goes: the same for all requests of one client.
    pub client: String,
    /// Whether the server continues.
    pub drain: Drain,
    /// Through which remotes are asked, where that is not at once.
    pub hosted: Option<Hosted>,
}

tokio::task_local! {
    static CONTEXT: RequestContext;
}

impl RequestContext {
    /// What holds for the request that this task answers.
    #[must_use]
    pub fn current() -> RequestContext {
        CONTEXT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Reads the headers of a request that began now.
    ///
    /// # Errors
    /// A header with a value that it cannot have.
    pub fn read(headers: &HeaderMap, client: String, longest: Option<Duration>) -> Result<RequestContext, Problem> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?").trim());
        let scoring = Scoring {
            lane: one_of(LANE, text(LANE), [("canonical", Lane::Canonical), ("throughput", Lane::Throughput)])?,
            reading: one_of(
                READING,
                text(READING),
                [("choices", Reading::Choices), ("likelihood", Reading::Likelihood)],
            )?,
            search: one_of(SEARCH, text(SEARCH), [("best-first", Search::BestFirst), ("exact", Search::Exact)])?,
            ..Scoring::default()
        };
        let fit = one_of(FIT, text(FIT), [("on", FitUse::Own), ("off", FitUse::None)])?;
        let priority = one_of(PRIORITY, text(PRIORITY), [("live", Priority::Live), ("batch", Priority::Batch)])?;
        let asked = match text(TIMEOUT) {
            None => None,
            Some(seconds) => match seconds.parse::<f64>().map(Duration::try_from_secs_f64) {
                Ok(Ok(asked)) if !asked.is_zero() => Some(asked),
                _ => {
                    let message =
                        format!("the header `{TIMEOUT}` cannot be `{seconds}`: it is a number of seconds above 0");
                    return Err(Problem::invalid(message).of(TIMEOUT));
                }
            },
        };
        let within = [asked, longest].into_iter().flatten().min();
        let deadline = within.and_then(|within| Instant::now().checked_add(within));
        Ok(RequestContext { scoring, fit, priority, deadline, client, ..RequestContext::default() })
    }

    /// Waits for a part of the request's work, for no longer than the request has and the server lasts.
    ///
    /// # Errors
    /// Its time is over, or the server's.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Problem> {
        let late = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = late => Err(Problem::new(Kind::TimedOut, "the request timed out")),
            () = self.drain.ended() => {
                let message = "the server was stopped before the answer was complete; try again later";
                Err(Problem::new(Kind::Busy { retry_after: Duration::from_secs(1) }, message))
            }
        }
    }

    /// Lets the request be answered within this context.
    pub async fn scope(self, request: Request, next: Next) -> Response {
        CONTEXT.scope(self, next.run(request)).await
    }
}

/// The value that a header names; without the header it is the first.
fn one_of<T: Copy>(name: &'static str, said: Option<&str>, known: [(&str, T); 2]) -> Result<T, Problem> {
    let Some(said) = said else { return Ok(known[0].1) };
    let found = known.iter().find(|(word, _)| *word == said);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let [(first, _), (second, _)] = known;
        Problem::invalid(format!("the header `{name}` cannot be `{said}`: it is `{first}` or `{second}`")).of(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &str) -> Result<RequestContext, Problem> {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        RequestContext::read(&headers, "me".to_owned(), Some(Duration::from_secs(60)))
    }

    #[test]
    fn headers_choose_how_answers_are_found_and_the_time() {
        assert_eq!(read(LANE, "throughput").unwrap().scoring.lane, Lane::Throughput);
        assert_eq!(read(LANE, "canonical").unwrap().scoring, Scoring::default());
        assert_eq!(read(READING, "likelihood").unwrap().scoring.reading, Reading::Likelihood);
        assert_eq!(read(PRIORITY, "batch").unwrap().priority, Priority::Batch);
        assert_eq!(read(SEARCH, "exact").unwrap().scoring.search, Search::Exact);
        assert_eq!(read(FIT, "off").unwrap().fit, FitUse::None);
        let left = |context: RequestContext| context.deadline.unwrap().duration_since(Instant::now());
        assert!(left(read(TIMEOUT, "0.5").unwrap()) <= Duration::from_millis(500));
        // Nobody asks for more than the server gives.
        assert!(left(read(TIMEOUT, "600").unwrap()) <= Duration::from_secs(60));
        for (name, value) in [
            (LANE, "fast"),
            (READING, "best"),
            (SEARCH, "all"),
            (FIT, "false"),
            (PRIORITY, "high"),
            (TIMEOUT, "0"),
            (TIMEOUT, "-1"),
            (TIMEOUT, "1e300"),
            (TIMEOUT, "soon"),
        ] {
            let problem = read(name, value).unwrap_err();
            assert!(problem.message.contains(value), "{}", problem.message);
        }
    }
}
