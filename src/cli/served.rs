//! Requests to the `slm serve` of this machine, for slm's own commands.

use std::time::Duration;

use serde_json::{Value, json};

use super::environment::Environment;
use super::network;
use crate::api::local;
use crate::failure::Failure;

/// Where `slm serve` listens by default: Ollama's address.
pub const DEFAULT_HOST: &str = "127.0.0.1:11434";

/// A running server, as far as anybody knows.
#[derive(Debug)]
pub struct Served {
    client: reqwest::Client,
    /// Its address as people know it.
    place: String,
    url: String,
    key: Option<String>,
}

/// Why a server gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ServedError {
    #[error("no server is running at `{place}`; start one with `slm serve`, or see `slm doctor`")]
    Nobody { place: String },
    #[error("no slm server answers at `{place}`: {reason}; see `slm doctor`")]
    Broken { place: String, reason: String },
    #[error("`{place}` answers: {said}")]
    Refused { place: String, status: u16, said: String },
}

impl From<ServedError> for Failure {
    fn from(error: ServedError) -> Failure {
        Failure::failed(error.to_string())
    }
}

impl Served {
    /// The server that `SLM_HOST` names; without that the one of this user's store, wherever it listens, or else the one at the
    /// default address.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn of(environment: &Environment) -> Result<Served, Failure> {
        let host = environment.host().map(str::to_owned).or_else(|| own(environment));
        Served::at(host.as_deref().unwrap_or(DEFAULT_HOST), environment, None)
    }

    /// The server at an address as `SLM_HOST` has it, which may take so long for each answer.
    ///
    /// # Errors
    /// As [`Served::of`].
    pub fn at(host: &str, environment: &Environment, patience: Option<Duration>) -> Result<Served, Failure> {
        // Fails where one is there already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().no_proxy();
        let builder = match patience {
            Some(patience) => builder.timeout(patience),
            None => builder,
        };
        let (builder, url, place) = match host.strip_prefix("unix:") {
            #[cfg(unix)]
            Some(path) => (builder.unix_socket(path), "http://localhost".to_owned(), host.to_owned()),
            #[cfg(not(unix))]
            Some(_) => return Err(Failure::usage(format!("SLM_HOST is `{host}`: this system has no Unix sockets"))),
            None => {
                let url = reachable(host);
                (builder, url.clone(), url)
            }
        };
        let client =
            builder.build().map_err(|error| Failure::failed(format!("cannot start the HTTP client: {error}")))?;
        // One of several keys is as good as any.
        let key = environment.api_key().and_then(|keys| keys.split(',').next()).map(str::trim).map(str::to_owned);
        Ok(Served { client, place, url, key })
    }

    /// Its address as people know it.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Asks for what is at a path.
    ///
    /// # Errors
    /// Nobody answers, or the answer is an error.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.asked(path)??)
    }

    /// As [`Served::get`], with the server's own failure apart from those of this process.
    ///
    /// # Errors
    /// Ctrl-C was pressed, or the network cannot be used.
    pub fn asked(&self, path: &str) -> Result<Result<Value, ServedError>, Failure> {
        self.send(self.client.get(format!("{}{path}", self.url)))
    }

    /// Sends a body to a path.
    ///
    /// # Errors
    /// As [`Served::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.client.post(format!("{}{path}", self.url));
        Ok(self.send(request.header("content-type", "application/json").body(body.to_string()))??)
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Result<Value, ServedError>, Failure> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer = async {
            let response = request.send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        let answer = network::block_on(async { Ok(answer.await) }, "the server goes on")?;
        Ok(answer.map_err(|error| self.broken(&error)).and_then(|(status, bytes)| {
            let answer: Value = serde_json::from_slice(&bytes).unwrap_or(json!({}));
            if status.is_success() {
                return Ok(answer);
            }
            let said = answer["error"].as_str().map(str::to_owned);
            let said = said.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
            Err(ServedError::Refused { place: self.place.clone(), status: status.as_u16(), said })
        }))
    }

    fn broken(&self, error: &reqwest::Error) -> ServedError {
        let place = self.place.clone();
        match error {
            error if error.is_connect() && !error.is_timeout() => ServedError::Nobody { place },
            error if error.is_timeout() => ServedError::Broken { place, reason: "it does not answer".to_owned() },
            error => ServedError::Broken { place, reason: error.to_string() },
        }
    }
}

/// The address of the server that has this store, if one answers.
#[must_use]
pub fn own(environment: &Environment) -> Option<String> {
    let path = local::http_server(environment.store().ok()?.root())?;
    Some(format!("unix:{}", path.display()))
}

/// The address under which a server that listens on `host` is reached from this machine.
fn reachable(host: &str) -> String {
    let host = host.trim_start_matches("http://").trim_end_matches('/');
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => (name, port),
        _ => (host, "11434"),
    };
    let name = match host.0 {
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" | "::" => "[::1]",
        name => name,
    };
    format!("http://{name}:{}", host.1)
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_server_on_every_address_is_reached_on_loopback() {
        let expected = [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("[::]:80", "http://[::1]:80"),
            ("http://models:1/", "http://models:1"),
        ];
        for (host, url) in expected {
            assert_eq!(reachable(host), url);
        }
    }
}
