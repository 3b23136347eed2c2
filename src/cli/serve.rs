//! `slm serve`: the server, with the settings of the command line and the environment.

use super::compute::ComputeArgs;
use clap::Args;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::compute;
use super::decisions::DecisionArgs;
use super::environment::{Environment, Serving, is_on, timestamp, today};
use super::network::{self, NetworkArgs};
use super::served::DEFAULT_HOST;
use crate::api::admission::DEFAULT_MAX_QUEUE;
use crate::api::batches::asking::InProcess;
use crate::api::batches::{Batches, Runner};
use crate::api::body::{DEFAULT_MAX_BYTES, MaxBody};
use crate::api::guard::{self, Exposure, Management, Rules, RulesError, Said};
use crate::api::local::{self, Door, Wish};
use crate::api::logging::{self, Format, Prompts};
use crate::api::server::{self, Bind, Drain, Ended, Listeners, SocketMode, Terms};
use crate::api::{self, Front, service};
use crate::failure::{Exit, Failure, Outcome};
use crate::keep_alive::KeepAlive;
use crate::residents::{self, Loader, Residents};
use crate::sampling::Parameters;
use crate::ui::output::say;

/// Serve models over the APIs of Ollama, OpenAI, Anthropic and System One
///
/// Listens on 127.0.0.1:11434, or on SLM_HOST. Models are loaded on request, each in a separate process, and unloaded five
/// minutes after their last request. On SIGTERM or Ctrl-C, running requests are finished first.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Examples:
  slm serve
  slm serve --host 0.0.0.0:11434          with SLM_API_KEY in the environment
  slm serve --host unix:/run/slm.sock --inference-only")]
pub struct ServeArgs {
    /// Address to listen on: `HOST:PORT` or `unix:PATH` (may be given several times)
    #[arg(long, value_name = "ADDRESS")]
    pub host: Vec<String>,
    /// Accept other machines without an API key
    #[arg(long)]
    pub insecure_bind: bool,
    /// Refuse requests that would change the store
    #[arg(long)]
    pub inference_only: bool,
    /// Make Unix sockets accessible to their group, not only to their owner
    #[arg(long)]
    pub group_socket: bool,
    /// How long a model stays loaded after its last request: seconds, `10m`, `0` or `-1` (forever)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub keepalive: Option<String>,
    #[command(flatten)]
    pub decisions: DecisionArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// The folder in the store where files and batches are kept.
const BATCHES: &str = ".slm-batches";
/// The default time limit of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// Serves until it is told to stop.
///
/// # Errors
/// An invalid setting, or an address that cannot be used.
pub fn run(args: &ServeArgs, environment: &Environment) -> Outcome {
    let said = environment.serving();
    let format = log(environment)?;
    let front = (max_body(said)?, prompts(said));
    let settings = settings(args, environment)?;
    let residents_settings = residents_settings(args, said)?;
    let server_settings = server::Settings {
        grace: seconds("SLM_DRAIN_SECONDS", said.drain_seconds.as_deref())?
            .unwrap_or(server::Settings::default().grace),
        ..server::Settings::default()
    };
    let binds = binds(args, environment)?;
    let program =
        std::env::current_exe().map_err(|error| Failure::failed(format!("cannot find slm's own binary: {error}")))?;
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    runtime.block_on(async {
        let drain = Drain::default();
        drain.on_signals().map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))?;
        let mut listeners = Listeners::handed_over()?;
        if listeners.is_empty() {
            let mode = if args.group_socket { SocketMode::Group } else { SocketMode::Owner };
            for bind in &binds {
                listeners.add(bind, mode).await?;
            }
        }
        listen_to_own(&mut listeners, &settings);
        let rules = Arc::new(rules(args, environment, &binds, &listeners.addresses())?);
        let residents = Residents::start(residents_settings, Loader::processes(program, SystemTime::now));
        let service = Arc::new(service::Service::new(settings, residents.clone()));
        let terms = Terms { settings: server_settings, drain: drain.clone(), metrics: service.metrics().clone() };
        let (max_body, prompts) = front;
        // Another server may use this store; then `slm run` does not find this one.
        let door = Door::open(service.settings().store.root());
        let door = door.inspect_err(|error| tracing::warn!("`slm run` does not find this server: {error}")).ok();
        let guests = door.map(|door| tokio::spawn(let_in(door, service.clone(), drain.clone())));
        let batches = Batches::open(&service.settings().store.root().join(BATCHES));
        let router = api::router(service, Front { rules, drain: drain.clone(), max_body, prompts, batches: batches.clone() });
        if let Ok(shelf) = batches.shelf() {
            let (shelf, service) = (Arc::clone(shelf), InProcess::new(router.clone()));
            tokio::spawn(Runner { shelf, service, drain }.run());
        }
        greet(format, &listeners.places().join(", "));
        let ended = server::serve(listeners, router, terms).await;
        if let Some(guests) = guests {
            // What it was connected with ends with the runtime.
            guests.abort();
        }
        residents.drain(Duration::ZERO).await;
        match ended {
            Ended::Drained => Ok(Exit::Done),
            Ended::CutOff(n) => {
                let grace = server_settings.grace.as_secs();
                Err(Failure::failed(format!(
                    "{n} connections were closed after {grace} s before they had finished; SLM_DRAIN_SECONDS gives them more time"
                )))
            }
            Ended::AtOnce => Ok(Exit::Interrupted),
        }
    })
}

/// Lets `slm ps` and `slm stop` of this user find the server by its store. Another server may use this store, or its folder
/// does not support sockets; this server is then found only by its address.
fn listen_to_own(listeners: &mut Listeners, settings: &service::Settings) {
    let root = settings.store.root();
    let added = std::fs::create_dir_all(root).map_err(|error| error.to_string());
    let added = added.and_then(|()| listeners.add_own(&local::http_socket(root)).map_err(|error| error.to_string()));
    if let Err(error) = added {
        tracing::warn!("`slm ps` and `slm stop` find this server only through SLM_HOST: {error}");
    }
}

/// Gives `slm run` of this user the engines of the server.
fn let_in(door: Door, service: Arc<service::Service>, drain: Drain) -> impl Future<Output = ()> {
    door.serve(drain, move |wish: Wish| {
        let service = service.clone();
        async move {
            let opened = service.lend(&wish).await.map_err(|problem| problem.message)?;
            let session = opened.responder.session().map_err(|error| error.to_string())?;
            Ok((session.engine().clone(), opened))
        }
    })
}

/// Begins the log and tells how it looks.
fn log(environment: &Environment) -> Result<Format, Failure> {
    let format = log_format(environment.serving())?;
    let level = if environment.wants_debug() { tracing::Level::DEBUG } else { tracing::Level::INFO };
    logging::begin(format, level, timestamp);
    Ok(format)
}

fn log_format(said: &Serving) -> Result<Format, Failure> {
    match said.log_format.as_deref().map(str::parse) {
        None => Ok(Format::of_standard_error()),
        Some(format) => format.map_err(|error: logging::FormatError| Failure::usage(error.to_string())),
    }
}

/// The environment's settings that `slm serve` would refuse, with the error of each. No socket is opened.
#[must_use]
pub fn refused_settings(environment: &Environment) -> Vec<Failure> {
    let (args, said) = (ServeArgs::default(), environment.serving());
    let number = |name, text: Option<&str>| text.map_or(Ok(0), |text| whole(name, text)).err();
    let time = |name, text: Option<&str>| seconds(name, text).err();
    let binds = binds(&args, environment);
    let rules = binds.as_ref().ok().and_then(|binds| rules(&args, environment, binds, &addresses(binds)).err());
    let rules = rules.map(|error| match error {
        // The original message shows the key.
        RulesError::Key(_) => {
            Failure::usage("a key in SLM_API_KEY contains characters other than visible ASCII; make a new key")
        }
        error => error.into(),
    });
    let refused = [
        log_format(said).err(),
        max_body(said).err(),
        context_length(environment).err(),
        keep_alive(&args, said).err(),
        number("SLM_MAX_QUEUE", said.max_queue.as_deref()),
        number("SLM_NUM_PARALLEL", environment.num_parallel()),
        number("SLM_MAX_LOADED_MODELS", said.max_loaded.as_deref()),
        time("SLM_DRAIN_SECONDS", said.drain_seconds.as_deref()),
        time("SLM_LOAD_TIMEOUT", said.load_timeout.as_deref()),
        time("SLM_REQUEST_TIMEOUT", said.request_timeout.as_deref()),
        network::servers(&NetworkArgs::default(), environment).err(),
        binds.err(),
        rules,
    ];
    refused.into_iter().flatten().chain(compute::refused_settings(environment)).collect()
}

/// The numeric addresses among those to listen on.
fn addresses(binds: &[Bind]) -> Vec<SocketAddr> {
    let address = |bind: &Bind| match bind {
        Bind::Tcp { host, port } => Some(SocketAddr::new(host.parse().ok()?, *port)),
        Bind::Unix(_) => None,
    };
    binds.iter().filter_map(address).collect()
}

fn greet(format: Format, places: &str) {
    match format {
        Format::Text => say(format_args!("listening on {places}")),
        Format::Json => tracing::info!(at = places, "listening"),
    }
}

fn prompts(said: &Serving) -> Prompts {
    if is_on(said.log_prompts.as_deref()) { Prompts::Logged } else { Prompts::Kept }
}

fn max_body(said: &Serving) -> Result<MaxBody, Failure> {
    let Some(text) = &said.max_body else { return Ok(MaxBody(DEFAULT_MAX_BYTES)) };
    match text.parse() {
        Ok(n_bytes @ 1..) => Ok(MaxBody(n_bytes)),
        _ => Err(Failure::usage(format!("SLM_MAX_BODY is `{text}`; give a number of bytes above 0 (`16777216`)"))),
    }
}

/// What the service over models is started with.
///
/// # Errors
/// An invalid setting.
pub fn settings(args: &ServeArgs, environment: &Environment) -> Result<service::Settings, Failure> {
    let mut parameters = context_length(environment)?;
    compute::say(&args.compute, &mut parameters)?;
    let said = environment.serving();
    let max_queue = said.max_queue.as_deref().map(|text| whole("SLM_MAX_QUEUE", text)).transpose()?;
    // 0 means "automatic" in Ollama.
    let n_parallel = environment.num_parallel().map(|text| whole("SLM_NUM_PARALLEL", text)).transpose()?;
    Ok(service::Settings {
        store: environment.store()?,
        servers: network::servers(&NetworkArgs::default(), environment)?,
        compute: compute::resolve(&args.compute, &parameters, &Parameters::default(), environment)?,
        n_ctx: parameters.num_ctx,
        max_queue: max_queue.unwrap_or(DEFAULT_MAX_QUEUE),
        n_parallel: n_parallel.and_then(NonZeroUsize::new),
        request_timeout: Some(
            seconds("SLM_REQUEST_TIMEOUT", said.request_timeout.as_deref())?.unwrap_or(REQUEST_TIMEOUT),
        ),
        variable: Environment::named,
        decisions: args.decisions.open(environment)?,
        today,
        timestamp,
    })
}

fn context_length(environment: &Environment) -> Result<Parameters, Failure> {
    let mut parameters = Parameters::default();
    if let Some(length) = environment.context_length() {
        parameters.set("num_ctx", length).map_err(|error| Failure::usage(format!("SLM_CONTEXT_LENGTH: {error}")))?;
    }
    Ok(parameters)
}

fn keep_alive(args: &ServeArgs, said: &Serving) -> Result<KeepAlive, Failure> {
    match (&args.keepalive, &said.keep_alive) {
        (Some(text), _) => parsed("--keepalive", text),
        (None, Some(text)) => parsed("SLM_KEEP_ALIVE", text),
        (None, None) => Ok(residents::Settings::default().keep_alive),
    }
}

/// Which models stay loaded, and how long.
///
/// # Errors
/// An invalid setting.
pub fn residents_settings(args: &ServeArgs, said: &Serving) -> Result<residents::Settings, Failure> {
    let default = residents::Settings::default();
    let keep_alive = keep_alive(args, said)?;
    let max_loaded = said.max_loaded.as_deref().map(|text| whole("SLM_MAX_LOADED_MODELS", text)).transpose()?;
    let load_timeout = seconds("SLM_LOAD_TIMEOUT", said.load_timeout.as_deref())?.unwrap_or(default.load_timeout);
    Ok(residents::Settings { keep_alive, max_loaded: max_loaded.and_then(NonZeroUsize::new), load_timeout, ..default })
}

fn binds(args: &ServeArgs, environment: &Environment) -> Result<Vec<Bind>, Failure> {
    let (from, said) = match (args.host.as_slice(), environment.host()) {
        ([], Some(host)) => ("SLM_HOST", vec![host.to_owned()]),
        ([], None) => ("SLM_HOST", vec![DEFAULT_HOST.to_owned()]),
        (hosts, _) => ("--host", hosts.to_vec()),
    };
    said.iter().map(|text| parsed(from, text)).collect()
}

fn rules(
    args: &ServeArgs,
    environment: &Environment,
    binds: &[Bind],
    addresses: &[SocketAddr],
) -> Result<Rules, RulesError> {
    let of_bind = |bind: &Bind| match bind {
        Bind::Tcp { host, .. } => Some(host.clone()),
        Bind::Unix(_) => None,
    };
    let names: Vec<String> = binds.iter().filter_map(of_bind).chain(guard::machine_name()).collect();
    let said = environment.serving();
    Rules::new(&Said {
        addresses,
        names: &names,
        allowed_hosts: said.allowed_hosts.as_deref(),
        origins: said.origins.as_deref(),
        keys: environment.api_key(),
        exposure: if args.insecure_bind { Exposure::Insecure } else { Exposure::WithKey },
        management: if args.inference_only { Management::Off } else { Management::On },
    })
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(from: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error| Failure::usage(format!("{from}: {error}")))
}

fn whole(from: &str, text: &str) -> Result<usize, Failure> {
    text.trim()
        .parse()
        .map_err(|_| Failure::usage(format!("{from} is `{text}`; give a whole number of at least 0 (`4`)")))
}

/// A time in seconds, or as Ollama writes durations.
fn seconds(from: &str, text: Option<&str>) -> Result<Option<Duration>, Failure> {
    let Some(text) = text else { return Ok(None) };
    match text.parse::<KeepAlive>() {
        Ok(KeepAlive::For(duration)) if !duration.is_zero() => Ok(Some(duration)),
        _ => Err(Failure::usage(format!("{from} is `{text}`; give seconds above 0 (`30`) or a duration (`5m`)"))),
    }
}
