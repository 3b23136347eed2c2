//! Whether a server runs for this store, or where `SLM_HOST` says, and which.

use std::time::Duration;

use serde_json::{Value, json};

use super::report::Finding;
use crate::api::local::{self, Found};
use crate::cli::environment::Environment;
use crate::cli::served::{self, DEFAULT_HOST, Served, ServedError};
use crate::engine;
use crate::failure::Failure;

/// For a server to answer what it knows by heart.
const PATIENCE: Duration = Duration::from_secs(3);

/// What listens at an address.
#[derive(Debug)]
enum Listener {
    Nobody,
    Slm {
        version: String,
    },
    /// It answers as Ollama does, and has nothing that only slm has.
    Ollama {
        version: String,
    },
    /// It listens, but its answer cannot be used.
    Other {
        reason: String,
    },
}

/// Looks for servers at the store's socket and over HTTP.
///
/// # Errors
/// Ctrl-C was pressed, or the network cannot be used.
pub fn finding(environment: &Environment) -> Result<Finding, Failure> {
    let own = served::own(environment);
    let host = environment.host().or(own.as_deref()).unwrap_or(DEFAULT_HOST);
    let served = match Served::at(host, environment, Some(PATIENCE)) {
        Ok(served) => served,
        Err(failure) => return Ok(Finding::new("server", "", json!({ "host": host })).fail(failure.message)),
    };
    let socket = environment.store().ok().map(|store| local::look(store.root()));
    let listener = ask(&served)?;
    let of_store = matches!(&socket, Some((_, Found::Server)));
    let is_own = own.as_deref() == Some(host);
    let found = match (&listener, of_store) {
        (Listener::Slm { version }, _) if is_own => format!("slm {version} for this store"),
        (Listener::Slm { version }, true) => format!("slm {version} at {}, and for this store", served.place()),
        (Listener::Slm { version }, false) => format!("slm {version} at {}", served.place()),
        (Listener::Ollama { version }, _) => format!("Ollama {version} at {}", served.place()),
        (Listener::Other { .. }, _) => format!("something at {}", served.place()),
        (Listener::Nobody, true) => "slm for this store".to_owned(),
        (Listener::Nobody, false) => "none".to_owned(),
    };
    let finding = Finding::new("server", found, facts(&listener, served.place(), of_store));
    let finding = of_socket(finding, socket);
    Ok(of_listener(finding, &listener, environment, &served, of_store))
}

fn facts(listener: &Listener, place: &str, of_store: bool) -> Value {
    let (kind, version) = match listener {
        Listener::Nobody => (None, None),
        Listener::Slm { version } => (Some("slm"), Some(version)),
        Listener::Ollama { version } => (Some("ollama"), Some(version)),
        Listener::Other { .. } => (Some("other"), None),
    };
    json!({ "address": place, "kind": kind, "version": version, "of_this_store": of_store })
}

/// What is wrong with the store's socket.
fn of_socket(finding: Finding, socket: Option<(std::path::PathBuf, Found)>) -> Finding {
    let Some((path, found)) = socket else { return finding };
    let path = path.display();
    match found {
        Found::Nothing | Found::Server => finding,
        Found::Leftover => finding.warn(format!(
            "no server is running at the store's socket `{path}`, which a crashed one left; the next `slm serve` replaces it"
        )),
        Found::OtherUser(user) => finding.warn(format!(
            "the store's socket `{path}` belongs to user {user}, so `slm run` loads models itself; start `slm serve` as this user"
        )),
        Found::Unknown(reason) => finding.warn(format!("cannot connect to the store's socket `{path}`: {reason}")),
    }
}

/// What is wrong with what listens at the address.
fn of_listener(
    finding: Finding,
    listener: &Listener,
    environment: &Environment,
    served: &Served,
    of_store: bool,
) -> Finding {
    let place = served.place();
    match listener {
        Listener::Nobody if environment.host().is_some() && !of_store => finding
            .warn(format!("SLM_HOST names `{place}` and no server is running there; start `slm serve`, or unset SLM_HOST")),
        Listener::Nobody => finding,
        Listener::Slm { version } if version == engine::build().version => finding,
        Listener::Slm { version } => finding.warn(format!(
            "the server at `{place}` is slm {version} and this is {}; restart it with this one",
            engine::build().version
        )),
        Listener::Ollama { .. } => finding.warn(format!(
            "Ollama is listening on `{place}`, slm's default address; stop it, or give `slm serve` another address with SLM_HOST"
        )),
        Listener::Other { reason } => finding.warn(format!("the server at `{place}` cannot be queried: {reason}")),
    }
}

fn ask(served: &Served) -> Result<Listener, Failure> {
    let version = match served.asked("/api/version")? {
        Ok(answer) => answer["version"].as_str().map(str::to_owned),
        Err(ServedError::Nobody { .. }) => return Ok(Listener::Nobody),
        Err(ServedError::Broken { reason, .. }) => return Ok(Listener::Other { reason }),
        Err(ServedError::Refused { status: 401, .. }) => {
            let reason = "it requires a key; set SLM_API_KEY to one of its keys".to_owned();
            return Ok(Listener::Other { reason });
        }
        Err(ServedError::Refused { status, .. }) => {
            return Ok(Listener::Other { reason: format!("it answers with status {status}") });
        }
    };
    let Some(version) = version else {
        return Ok(Listener::Other { reason: "its answer gives no version".to_owned() });
    };
    // Ollama has no such path.
    match served.asked("/health")? {
        Ok(_) => Ok(Listener::Slm { version }),
        Err(_) => Ok(Listener::Ollama { version }),
    }
}
