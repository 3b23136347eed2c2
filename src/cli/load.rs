//! From a model's name to a session: the store's model, its Modelfile's settings, and what the command line adds.

use std::io::Read;
use std::sync::Arc;
use std::time::SystemTime;

use super::compute::{self, ComputeArgs};
use super::confirm::{self, Meant};
use super::environment::{Environment, day};
use super::{network, pull};
use crate::api::local::{self, Wish};
use crate::cascade::{Cascade, Whom};
use crate::digest::Digest;
use crate::encoding;
use crate::engine::{Adapter, AdapterSet, Compute, Engine, Load, Options};
use crate::failure::Failure;
use crate::gguf::Header;
use crate::infer::{
    CascadeDoor, CascadeModel, Defaults, Embedder, FitUse, Held, OpenTier, Opening, RemoteModel, Responder, Session,
    WordsModel, replaced,
};
use crate::keep_alive::KeepAlive;
use crate::load_spec::{self, CascadeSpec, LoadSpec};
use crate::model_ref::ModelRef;
use crate::remote::{Client, Remote};
use crate::sampling::Parameters;
use crate::source::Reference;
use crate::store::{Elsewhere, Model, Store, StoreError, Weights};
use crate::ui::output::say;

/// The most bytes of a file that is read whole.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// How a command wants to load a stored model.
#[derive(Debug)]
pub struct Loaded {
    pub model: Model,
    pub responder: Responder,
}

/// What a command wants of a model.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions<'a> {
    /// Parameters from the command line; the Modelfile and the defaults fill the rest.
    pub parameters: &'a Parameters,
    pub adapters: &'a AdapterSet,
    pub compute: &'a ComputeArgs,
    pub load: Load,
    pub place: EnginePlace,
    /// Whether the model's fit is read.
    pub fit: FitUse,
    /// How long a server keeps the model afterwards; `None` leaves it to the server.
    pub keep_alive: Option<KeepAlive>,
}

/// Where a model is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnginePlace {
    ThisProcess,
    /// In a running `slm serve` of the same store, where there is one.
    Server,
}

/// Finds a model by the name that someone typed, which may pin it to a digest.
///
/// # Errors
/// The name is invalid, or no model has it: the message lists models and near names.
pub fn find(name: &str, environment: &Environment) -> Result<Model, Failure> {
    resolve(&name.parse()?, environment)?.map_err(Failure::from)
}

/// Finds a model, and pulls it where it is not in the store; where a stored one has nearly its name, a person is asked first.
///
/// # Errors
/// As [`find`]; then the message also says why it cannot be pulled.
pub fn find_or_pull(name: &str, environment: &Environment) -> Result<Model, Failure> {
    let reference: Reference = name.parse()?;
    match resolve(&reference, environment)? {
        Err(StoreError::NotFound(unknown)) if reference.digest.is_none() => {
            match confirm::near(name, &unknown.nearest)? {
                Meant::Stored(name) => Ok(environment.store()?.resolve(&name)?),
                Meant::Pull => pull::missing(&reference, &unknown, environment),
            }
        }
        Err(StoreError::NotFound(unknown)) => pull::missing(&reference, &unknown, environment),
        found => Ok(found?),
    }
}

/// The name that someone typed for a stored model, broken ones included; where it is pinned to a digest, that is the
/// digest of the model's manifest.
///
/// # Errors
/// The name is invalid, or its model has another manifest.
pub fn stored_name(text: &str, store: &Store) -> Result<ModelRef, Failure> {
    let reference: Reference = text.parse()?;
    if let (Some(digest), Ok(Some(json))) = (reference.digest, store.manifest_bytes(&reference.name)) {
        let found = Digest::of(&json);
        if found != digest {
            let name = &reference.name;
            return Err(Failure::failed(format!(
                "`{name}` is `{found}` here, not `{digest}`; remove the digest to use the one that is here"
            )));
        }
    }
    Ok(reference.name)
}

fn resolve(reference: &Reference, environment: &Environment) -> Result<Result<Model, StoreError>, Failure> {
    let found = environment.store()?.resolve(&reference.name);
    match (found, reference.digest) {
        (Ok(model), Some(digest)) if model.digest != digest => {
            let (name, found) = (&model.name, model.digest);
            Err(Failure::failed(format!(
                "`{name}` is `{found}` here, not `{digest}`; `slm pull {reference}` downloads that one"
            )))
        }
        (found, _) => Ok(found),
    }
}

/// The header of a model's weights; `None` where it has none and another server answers.
///
/// # Errors
/// The weights cannot be read, or are no model.
pub fn header(model: &Model) -> Result<Option<Header>, Failure> {
    match &model.weights {
        Weights::Elsewhere(_) => Ok(None),
        weights => Ok(Some(weights.header()?)),
    }
}

/// Makes a found model ready to answer: loads its weights, which have this header, with adapters, or connects to who answers
/// in their place.
///
/// # Errors
/// The engine refuses the weights or the parameters, or the remote has no key.
pub fn open(
    model: Model,
    header: Option<&Header>,
    wanted: &LoadOptions<'_>,
    environment: &Environment,
) -> Result<Loaded, Failure> {
    let responder = match (header, &model.weights) {
        (Some(header), _) => session(&model, header, wanted, environment)?.into(),
        (None, Weights::Elsewhere(who)) => {
            if !wanted.adapters.as_slice().is_empty() {
                let (name, kind) = (&model.name, who.kind());
                return Err(Failure::usage(format!("`{name}` is a {kind}, which takes no adapter; remove --adapter")));
            }
            match who {
                Elsewhere::Remote(json) => {
                    let remote = load_spec::remote(&model, json)?;
                    Responder::Remote(Arc::new(connected(&model, remote, load_spec::said(&model))?))
                }
                Elsewhere::Cascade(json) => cascade(&model, json, wanted, environment)?,
            }
        }
        (None, weights) => session(&model, &weights.header()?, wanted, environment)?.into(),
    };
    Ok(Loaded { model, responder })
}

/// Connects to a remote of a model. Nothing is sent.
///
/// # Errors
/// There is no key where its file says one is, or no network.
pub fn connected(model: &Model, remote: Remote, defaults: Defaults) -> Result<RemoteModel, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the remote of `{}`: {error}", model.name));
    let client = Client::connect(remote, Environment::named, SystemTime::now);
    let client = client.map_err(|error| failed(&error))?.guarded();
    let runtime = network::runtime().map_err(|error| failed(&error))?;
    Ok(RemoteModel::new(client, defaults, runtime))
}

/// Opens all tiers of a cascade: a command that was begun does not find out on its thousandth row that one cannot be.
fn cascade(
    model: &Model,
    json: &str,
    wanted: &LoadOptions<'_>,
    environment: &Environment,
) -> Result<Responder, Failure> {
    let CascadeSpec { cascade, remotes } = load_spec::cascade(model, json)?;
    let mut tiers = Vec::with_capacity(cascade.tiers.len());
    for (tier, remote) in cascade.tiers.iter().zip(remotes) {
        tiers.push(match (remote, &tier.whom) {
            (Some(remote), _) => Responder::Remote(Arc::new(connected(model, remote, Defaults::default())?)),
            (None, Whom::Words { name, digest }) => {
                let of = tier_model(model, (name, *digest), environment)?;
                Responder::Words(Arc::new(words(&of)?))
            }
            (None, Whom::Model { name, digest }) => {
                let of = tier_model(model, (name, *digest), environment)?;
                let (header, adapters) = (header(&of)?, load_spec::own_adapters(&of));
                open(of, header.as_ref(), &LoadOptions { adapters: &adapters, ..*wanted }, environment)?.responder
            }
            (None, Whom::Remote(_)) => unreachable!("every remote of a cascade was read"),
        });
    }
    let model = cascade_model(model, cascade, environment)?;
    let (model, opener) = (Arc::new(model), Arc::new(OpenTiers(tiers)));
    Ok(Responder::Cascade(CascadeDoor { model, opener, watcher: None, hosted: None }))
}

/// A cascade with what it has cost, before any of its tiers is open.
///
/// # Errors
/// The network or the store cannot be used.
pub fn cascade_model(model: &Model, cascade: Cascade, environment: &Environment) -> Result<CascadeModel, Failure> {
    let runtime =
        network::runtime().map_err(|error| Failure::failed(format!("the network cannot be used: {error}")))?;
    let identity = model.weights_digest.id();
    let store = environment.store()?;
    let (purse, share) = (load_spec::purse(model, store.clone()), load_spec::share(model, store));
    Ok(CascadeModel::new(cascade, load_spec::said(model), identity, day, runtime).with_purse(purse).with_share(share))
}

/// The model of a tier, which is still the one that the cascade was made of.
///
/// # Errors
/// It is not there, or was replaced.
pub fn tier_model(
    cascade: &Model,
    (name, digest): (&ModelRef, Option<Digest>),
    environment: &Environment,
) -> Result<Model, Failure> {
    let of = find(&name.to_string(), environment)?;
    if digest.is_some_and(|digest| digest != of.digest) {
        return Err(Failure::failed(replaced(&cascade.name, name)));
    }
    Ok(of)
}

/// A model's fit as it answers from words alone.
///
/// # Errors
/// It has none that does.
pub fn words(model: &Model) -> Result<WordsModel, Failure> {
    load_spec::words(model)?.ok_or_else(|| {
        let name = &model.name;
        Failure::failed(format!(
            "`{name}` has no fit that answers from words alone; make one with `slm fit {name} DATA --words-only --as NAME`"
        ))
    })
}

/// The tiers of a cascade that are all open.
#[derive(Debug)]
struct OpenTiers(Vec<Responder>);

impl OpenTier for OpenTiers {
    fn open(&self, nth: usize) -> Opening {
        let responder = self.0[nth].clone();
        Box::pin(async { Ok(Held { responder, hold: None }) })
    }
}

fn session(
    model: &Model,
    header: &Header,
    wanted: &LoadOptions<'_>,
    environment: &Environment,
) -> Result<Session, Failure> {
    let LoadOptions { parameters: said, load, .. } = *wanted;
    let mut fallback = Parameters::default();
    if let Some(length) = environment.context_length() {
        fallback.set("num_ctx", length).map_err(|error| Failure::usage(format!("SLM_CONTEXT_LENGTH: {error}")))?;
    }
    let own = &model.parameters;
    let compute = compute::resolve(wanted.compute, said, own, environment)?;
    if let Some(asked) = said.num_ctx
        && let Some(trained) = header.footprint().context_below(asked)
    {
        let name = &model.name;
        return Err(Failure::usage(format!(
            "num_ctx is {asked}, but `{name}` was trained for {trained} tokens of context; give at most {trained}"
        )));
    }
    let n_ctx = said.num_ctx.or(own.num_ctx).or(fallback.num_ctx);
    let request = load_spec::LoadRequest { load, n_ctx, compute, adapters: wanted.adapters.clone(), fit: wanted.fit };
    let LoadSpec { options, defaults, embedder, notes } = load_spec::open(model, header, request)?;
    notes.iter().for_each(say);
    let session = match (wanted.place, load) {
        (EnginePlace::Server, Load::Everything) => match served(model, &options, wanted.keep_alive, environment) {
            Some(engine) => Session::with(engine, Defaults { adapters: absolute(&defaults.adapters), ..defaults })?,
            None => {
                if wanted.keep_alive.is_some() {
                    say(
                        "--keepalive has no effect: no `slm serve` with this store is running, so the model is unloaded when this command ends",
                    );
                }
                Session::open(options, defaults)?
            }
        },
        _ => Session::open(options, defaults)?,
    };
    Ok(match embedder {
        Some(options) => session.beside(self::embedder(options)?),
        None => session,
    })
}

/// Loads an embedding model that is to find examples, in this process: it is small.
///
/// # Errors
/// The engine refuses it.
pub fn embedder(options: Options) -> Result<Embedder, Failure> {
    let engine = Engine::load(options).map_err(crate::infer::InferError::from)?;
    Ok(Embedder::over(engine)?)
}

/// The engine of a running server that has this store. One that is not there, is another user's, or cannot have the model
/// does not fail: the model is then loaded in this process.
fn served(
    model: &Model,
    options: &Options,
    keep_alive: Option<KeepAlive>,
    environment: &Environment,
) -> Option<Engine> {
    let plain = load_spec::compute(Compute::default(), &model.parameters);
    let compute = (options.compute != plain).then(|| options.compute.clone());
    let wish = Wish { model: model.name.to_string(), digest: model.digest, n_ctx: options.n_ctx, compute, keep_alive };
    let attached = local::attach(environment.store().ok()?.root(), wish).ok()?.wait();
    attached.inspect_err(|error| tracing::debug!("the running server is not used: {error}")).ok()
}

/// The adapters for a process that may be in another folder.
fn absolute(adapters: &AdapterSet) -> AdapterSet {
    let absolute = |adapter: &Adapter| {
        let path = std::path::absolute(&adapter.path).unwrap_or_else(|_| adapter.path.clone());
        Adapter { path, ..adapter.clone() }
    };
    AdapterSet::new(adapters.as_slice().iter().map(absolute))
}

/// The text of a small file, as [`small_bytes`] reads it.
///
/// # Errors
/// As [`small_bytes`], and what is not text.
pub fn small_text(from: impl Read) -> std::io::Result<String> {
    let not_text = |error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
    encoding::decode(&small_bytes(from)?).map_err(not_text)
}

/// The bytes of a small file, a schema or a Modelfile: a device without end in its place is refused, not read.
///
/// # Errors
/// The file cannot be read, or is longer than [`MAX_TEXT_BYTES`].
pub fn small_bytes(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        let reason = format!("it has more than {MAX_TEXT_BYTES} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}
