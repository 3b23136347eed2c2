//! What holds for a request in every dialect: its time, the lane of its closed answers, and who asks.
//!
//! It comes from headers, and is kept beside the request's task, so that no dialect has to hand it on.

use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use super::problem::{Kind, Problem};
use super::server::Drain;
use slm_engine::Lane;

/// Where a closed answer is evaluated: `canonical` (the default) or `throughput`.
pub const LANE: &str = "x-slm-lane";
/// Seconds after which a request is given up.
pub const TIMEOUT: &str = "x-slm-timeout";

/// What holds for one request.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub lane: Lane,
    /// When it is given up; `None` never.
    pub deadline: Option<Instant>,
    /// Who asks, as far as fairness goes: the same for all requests of one client.
    pub client: String,
    /// Whether the server goes on.
    pub drain: Drain,
}

tokio::task_local! {
    static CONTEXT: RequestContext;
}

impl Default for RequestContext {
    fn default() -> Self {
        RequestContext { lane: Lane::Canonical, deadline: None, client: String::new(), drain: Drain::default() }
    }
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
        let lane = match text(LANE) {
            None | Some("canonical") => Lane::Canonical,
            Some("throughput") => Lane::Throughput,
            Some(other) => {
                let message = format!("the header `{LANE}` cannot be `{other}`: it is `canonical` or `throughput`");
                return Err(Problem::invalid(message).of(LANE));
            }
        };
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
        Ok(RequestContext { lane, deadline, client, ..RequestContext::default() })
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
            () = late => Err(Problem::new(Kind::TimedOut, "the request's time was over before its answer")),
            () = self.drain.ended() => {
                let message = "the server was stopped before the answer was whole; ask again when it is back";
                Err(Problem::new(Kind::Busy { retry_after: Duration::from_secs(1) }, message))
            }
        }
    }

    /// Lets the request be answered within this context.
    pub async fn scope(self, request: Request, next: Next) -> Response {
        CONTEXT.scope(self, next.run(request)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &str) -> Result<RequestContext, Problem> {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        RequestContext::read(&headers, "me".to_owned(), Some(Duration::from_secs(60)))
    }

    #[test]
    fn headers_choose_lane_and_time() {
        assert_eq!(read(LANE, "throughput").unwrap().lane, Lane::Throughput);
        assert_eq!(read(LANE, "canonical").unwrap().lane, Lane::Canonical);
        let left = |context: RequestContext| context.deadline.unwrap().duration_since(Instant::now());
        assert!(left(read(TIMEOUT, "0.5").unwrap()) <= Duration::from_millis(500));
        // Nobody asks for more than the server gives.
        assert!(left(read(TIMEOUT, "600").unwrap()) <= Duration::from_secs(60));
        for (name, value) in [(LANE, "fast"), (TIMEOUT, "0"), (TIMEOUT, "-1"), (TIMEOUT, "1e300"), (TIMEOUT, "soon")] {
            let problem = read(name, value).unwrap_err();
            assert!(problem.message.contains(value), "{}", problem.message);
        }
    }
}
