//! From environment and flags to a speaker with registries, and from a name to its repository.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use url::Url;

use super::args::NetworkArgs;
use super::environment::Environment;
use super::interrupt;
use crate::failure::{Exit, Failure};
use crate::model_ref::DEFAULT_HOST;
use crate::registry::{Keeping, Named, Registry, Repository, Secret, Settings};
use crate::source::Reference;

const HUGGING_FACE: &str = "https://huggingface.co";
/// Docker Hub's registry has another name than its images.
const DOCKER_HUB: &str = "https://registry-1.docker.io";
const STALL: Duration = Duration::from_secs(15);

/// The speaker with registries that this environment and these flags want.
///
/// # Errors
/// A variable holds what nobody can use, or the network library cannot be set up.
pub fn registry(args: &NetworkArgs, environment: &Environment) -> Result<Registry, Failure> {
    let network = environment.network();
    let stall = match &network.stall_seconds {
        None => STALL,
        Some(text) => match text.parse() {
            Ok(seconds @ 1..=86_400) => Duration::from_secs(seconds),
            _ => {
                return Err(Failure::usage(format!("SLM_STALL_SECONDS is `{text}`; give whole seconds, 15 as a rule")));
            }
        },
    };
    let named =
        Named { insecure: args.insecure.clone(), allowed: args.allow_host.clone(), proxies: network.proxies.clone() };
    let keeping = Keeping {
        docker_config: network.docker_config.clone(),
        hugging_face: network.hugging_face_token.clone().map(Secret::new),
        ollama_keys: network.ollama_keys.clone(),
    };
    let user_agent =
        format!("slm/{} ({}; {})", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS);
    let hugging_face = hugging_face(environment)?;
    Ok(Registry::new(Settings { named, keeping, user_agent, stall, hugging_face }))
}

/// Where a name's manifests and blobs are.
///
/// # Errors
/// `SLM_REGISTRY` or `HF_ENDPOINT` is no server's address.
pub fn repository(reference: &Reference, args: &NetworkArgs, environment: &Environment) -> Result<Repository, Failure> {
    let name = &reference.name;
    let path = format!("{}/{}", name.namespace(), name.model());
    if matches!(name.host(), "hf.co" | "huggingface.co") {
        return Ok(Repository::of_hugging_face(hugging_face(environment)?, path));
    }
    if let Some(registry) = environment.network().registry.as_deref().filter(|_| name.host() == DEFAULT_HOST) {
        return Ok(Repository::new(server("SLM_REGISTRY", registry, args)?, path));
    }
    if name.host() == "docker.io" {
        return Ok(Repository::new(server("the name", DOCKER_HUB, args)?, path));
    }
    let address = match reference.scheme {
        Some(scheme) => format!("{}://{}", scheme.as_str(), name.host()),
        None => name.host().to_owned(),
    };
    Ok(Repository::new(server("the name", &address, args)?, path))
}

fn hugging_face(environment: &Environment) -> Result<Url, Failure> {
    let text = environment.network().hugging_face.as_deref().unwrap_or(HUGGING_FACE);
    server("HF_ENDPOINT", text, &NetworkArgs::default())
}

/// The base address of a server, `[scheme://]host[:port]`. Without a scheme it is `http` for this machine and for hosts
/// named by `--insecure`, else `https`.
fn server(what: &str, text: &str, args: &NetworkArgs) -> Result<Url, Failure> {
    let refused = || Failure::usage(format!("{what} is `{text}`, which is no server; write `[https://]host[:port]`"));
    let parse = |text: String| Url::parse(&text).map_err(|_| refused());
    let url = if text.contains("://") {
        parse(text.to_owned())?
    } else {
        let url = parse(format!("http://{text}"))?;
        let named = Named { insecure: args.insecure.clone(), ..Named::default() };
        if named.may_be_plain(&url) { url } else { parse(format!("https://{text}"))? }
    };
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) || !is_bare {
        return Err(refused());
    }
    Ok(url)
}

/// Runs work on the network until it is done or Ctrl-C is pressed; `how_to_go_on` is said then.
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
