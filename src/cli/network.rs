//! From environment and flags to the servers that models come from, and the wait for them.

use clap::Args;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;

use super::environment::Environment;
use super::interrupt;
use crate::failure::{Exit, Failure};
use crate::registry::{CredentialSources, NamedHosts, Secret};
use crate::transfer::Servers;

/// Whom to trust on the network.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Allow connections to HOST without TLS; always allowed to this machine
    #[arg(long, value_name = "HOST")]
    pub insecure: Vec<String>,
    /// Allow redirects and token requests to HOST, even at a private address
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
}

const STALL: Duration = Duration::from_secs(15);

/// Threads that speak to other people's servers for as long as this program runs.
///
/// # Errors
/// They cannot be started.
pub fn runtime() -> std::io::Result<Handle> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle().clone());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    Ok(RUNTIME.get_or_init(|| runtime).handle().clone())
}

/// The servers that this environment and these flags know of.
///
/// # Errors
/// A variable holds what nobody can use.
pub fn servers(args: &NetworkArgs, environment: &Environment) -> Result<Servers, Failure> {
    let network = environment.network();
    let stall = match &network.stall_seconds {
        None => STALL,
        Some(text) => match text.parse() {
            Ok(seconds @ 1..=86_400) => Duration::from_secs(seconds),
            _ => {
                return Err(Failure::usage(format!(
                    "SLM_STALL_SECONDS is `{text}`; give a whole number of seconds (default: 15)"
                )));
            }
        },
    };
    Ok(Servers {
        registry: network.registry.clone(),
        hugging_face: network.hugging_face.clone(),
        named: NamedHosts {
            insecure: args.insecure.clone(),
            allowed: args.allow_host.clone(),
            proxies: network.proxies.clone(),
        },
        keeping: CredentialSources {
            docker_config: network.docker_config.clone(),
            hugging_face: network.hugging_face_token.clone().map(Secret::new),
            ollama_keys: network.ollama_keys.clone(),
        },
        stall,
        neighbours: network.neighbours.clone(),
        now: SystemTime::now,
    })
}

/// Runs work on the network until it is done or Ctrl-C is pressed; then `how_to_go_on` is shown.
///
/// # Errors
/// Those of the work; the system gives no runtime.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>, how_to_go_on: &str) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("the network cannot be used: {error}")))?;
    let pressed = Arc::new(Notify::new());
    let notify = Arc::clone(&pressed);
    let _listening = interrupt::listen(move || notify.notify_one());
    runtime.block_on(async {
        let work = std::pin::pin!(work);
        let pressed = std::pin::pin!(pressed.notified());
        match futures_util::future::select(work, pressed).await {
            futures_util::future::Either::Left((outcome, _)) => outcome,
            futures_util::future::Either::Right(_) => {
                Err(Failure { message: format!("interrupted; {how_to_go_on}"), exit: Exit::Interrupted })
            }
        }
    })
}
