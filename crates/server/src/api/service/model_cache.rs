//! Models as requests need them, read from the store once: a request for a model that is cached opens no file.
//!
//! Another process may change the store at any time: `slm pull`, `slm create`, Ollama. Each request therefore asks the system
//! for the state of the manifest's file ([`ManifestStamp`]), which costs a few microseconds where reading and hashing the
//! manifest and its small layers costs milliseconds. Two changes in one tick of a disk's clock can look alike, so a stamp
//! counts only once the manifest was read again at least [`SETTLES_AFTER`] after the stamp was first seen; until then each
//! request reads it as if it were new. On a network disk a change is seen when that disk's client sees it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;

use super::Settings;
use crate::api::problem::Problem;
use slm_engine::{Compute, Load, Options, Weights};
use slm_infer::infer::{CascadeModel, Defaults, FitUse, RemoteModel};
use slm_infer::load_spec::{self, CascadeSpec, LoadRequest, LoadSpec};
use slm_remote::{Client, Remote};
use slm_store::store::{self, Elsewhere, ManifestStamp, Model, Store};
use slm_values::contract::Form;
use slm_values::digest::Digest;
use slm_values::model_ref::ModelRef;

/// Models that are remembered; more than anybody uses at a time.
const MAX_CACHED: usize = 256;
/// Longer than a tick of any disk's clock (FAT has ticks of two seconds).
const SETTLES_AFTER: Duration = Duration::from_secs(3);

/// What a request needs of a stored model.
#[derive(Debug)]
pub struct CachedModel {
    pub name: ModelRef,
    /// Its manifest's.
    pub digest: Digest,
    /// Of its weights, or of the file that says who answers in their place.
    pub layer: Digest,
    pub defaults: Defaults,
    pub answers: Answers,
    /// The embedding model that finds its examples.
    pub embedder: Option<Options>,
    form: Result<Form, Problem>,
}

/// What answers for a model.
#[derive(Debug)]
pub enum Answers {
    /// An engine, which is loaded so where a request says nothing of it.
    Engine(Box<Options>),
    Remote(Arc<RemoteModel>),
    Cascade(Arc<CascadeModel>, TierRemotes),
}

/// By tier, those of a cascade that are remotes.
pub type TierRemotes = Arc<[Option<Arc<RemoteModel>>]>;

/// The models that were asked for, by name.
#[derive(Debug, Default)]
pub struct ModelCache(Mutex<HashMap<ModelRef, Slot>>);

#[derive(Debug, Clone)]
struct Slot {
    cached: Arc<CachedModel>,
    stamp: ManifestStamp,
    /// When a manifest with this stamp was seen first.
    seen: Instant,
    /// The stamp alone says that the manifest is the one that was read.
    is_settled: bool,
}

impl CachedModel {
    /// Reads the header of a model's weights, or the keys of the remotes that answer in their place.
    fn open(
        model: Model,
        compute: &Compute,
        store: &Store,
        variable: fn(&str) -> Option<String>,
    ) -> Result<CachedModel, Problem> {
        let form = load_spec::own_form(&model).map_err(Problem::from);
        if let store::Weights::Elsewhere(who) = &model.weights {
            let (defaults, answers) = (load_spec::said(&model), elsewhere(&model, who, store, variable)?);
            return Ok(CachedModel {
                name: model.name,
                digest: model.digest,
                layer: model.weights_digest,
                defaults,
                answers,
                embedder: None,
                form,
            });
        }
        let compute = load_spec::compute(compute.clone(), &model.parameters);
        let n_ctx = model.parameters.num_ctx;
        let (load, adapters, fit) = (Load::Everything, load_spec::own_adapters(&model), FitUse::Own);
        let request = LoadRequest { load, n_ctx, compute, adapters, fit };
        let header = model.weights.header()?;
        let LoadSpec { options, defaults, embedder, notes } = load_spec::open(&model, &header, request)?;
        for note in notes {
            tracing::warn!(model = %model.name, "{note}");
        }
        let answers = Answers::Engine(Box::new(options));
        Ok(CachedModel {
            name: model.name,
            digest: model.digest,
            layer: model.weights_digest,
            defaults,
            answers,
            embedder,
            form,
        })
    }

    /// Whether its weights and adapters are where they were; what is missing, a full reading of the manifest tells.
    fn has_its_files(&self) -> bool {
        let Answers::Engine(options) = &self.answers else { return true };
        let weights = match &options.weights {
            Weights::File(path) => std::slice::from_ref(path),
            Weights::Shards(paths) => paths.as_slice(),
            Weights::Bytes(_) => &[],
        };
        let adapters = self.defaults.adapters.as_slice().iter().map(|adapter| &adapter.path);
        weights.iter().chain(adapters).all(|path| path.exists())
    }

    /// The form that the Modelfile gives every answer.
    ///
    /// # Errors
    /// The stored FORMAT is not supported.
    pub fn form(&self) -> Result<Form, Problem> {
        self.form.clone()
    }
}

/// Connects to whoever answers for a model without weights; nothing is sent.
fn elsewhere(
    model: &Model,
    who: &Elsewhere,
    store: &Store,
    variable: fn(&str) -> Option<String>,
) -> Result<Answers, Problem> {
    let connected = |remote: Remote, defaults: Defaults| {
        let client = Client::connect(remote, variable, SystemTime::now)?.guarded();
        Ok::<_, Problem>(Arc::new(RemoteModel::new(client, defaults, Handle::current())))
    };
    match who {
        Elsewhere::Remote(json) => {
            Ok(Answers::Remote(connected(load_spec::remote(model, json)?, load_spec::said(model))?))
        }
        Elsewhere::Cascade(json) => {
            let CascadeSpec { cascade, remotes } = load_spec::cascade(model, json)?;
            let remotes = remotes
                .into_iter()
                .map(|remote| remote.map(|remote| connected(remote, Defaults::default())).transpose());
            let remotes = remotes.collect::<Result<Vec<_>, Problem>>()?;
            let identity = model.weights_digest.id();
            let cascade = CascadeModel::new(cascade, load_spec::said(model), identity, day, Handle::current());
            let cascade = cascade.with_purse(load_spec::purse(model, store.clone()));
            let cascade = cascade.with_share(load_spec::share(model, store.clone()));
            Ok(Answers::Cascade(Arc::new(cascade), remotes.into()))
        }
    }
}

/// The number of today since 1970, in UTC.
fn day() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs() / 86_400).unwrap_or(0)
}

impl ModelCache {
    /// The model that a name means now.
    ///
    /// # Errors
    /// The name is invalid, no model has it, or the model cannot be opened.
    pub fn find(&self, settings: &Settings, name: &str) -> Result<Arc<CachedModel>, Problem> {
        let open = |model| CachedModel::open(model, &settings.compute, &settings.store, settings.variable);
        self.find_at(Instant::now(), &settings.store, open, name)
    }

    fn find_at(
        &self,
        now: Instant,
        store: &Store,
        open: impl Fn(Model) -> Result<CachedModel, Problem>,
        name: &str,
    ) -> Result<Arc<CachedModel>, Problem> {
        let name = store.spelled(&name.parse().map_err(Problem::no_model)?)?;
        // Before the manifest is read: what is written meanwhile has another stamp.
        let stamp = store.manifest_stamp(&name)?;
        let before = self.entries().get(&name).cloned();
        if let Some(Slot { cached, stamp: then, is_settled: true, .. }) = &before
            && *then == stamp
            && cached.has_its_files()
        {
            return Ok(cached.clone());
        }
        let model = store.resolve(&name)?;
        let seen = before.as_ref().filter(|entry| entry.stamp == stamp).map_or(now, |entry| entry.seen);
        // A part of the binary changes as little as the binary does.
        let is_own = stamp == ManifestStamp::Absent && model.modified.is_none();
        let is_settled = is_own || now.duration_since(seen) >= SETTLES_AFTER;
        let cached = match before.filter(|entry| entry.cached.digest == model.digest) {
            Some(entry) => entry.cached,
            None => Arc::new(open(model)?),
        };
        let mut entries = self.entries();
        if entries.len() >= MAX_CACHED {
            entries.clear();
        }
        entries.insert(name, Slot { cached: cached.clone(), stamp, seen, is_settled });
        Ok(cached)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<ModelRef, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use slm_values::modelfile::Modelfile;
    use slm_values::progress::Silent;

    const LATER: Duration = SETTLES_AFTER;

    struct Cached {
        folder: tempfile::TempDir,
        store: Store,
        models: ModelCache,
        began: Instant,
    }

    impl Cached {
        fn new() -> Cached {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path().to_owned()).with_embedded(slm_values::embedded::TRIAGE);
            Cached { folder, store, models: ModelCache::default(), began: Instant::now() }
        }

        fn create(&self, name: &str, system: &str) {
            let modelfile = Modelfile::parse(&format!("FROM triage\nSYSTEM {system}")).unwrap();
            self.store.create(&name.parse().unwrap(), &modelfile, Path::new(""), &Silent).unwrap();
        }

        fn manifest(&self, name: &str) -> std::path::PathBuf {
            self.folder.path().join("manifests/registry.ollama.ai/library").join(name).join("latest")
        }

        fn find(&self, name: &str, after: Duration) -> Result<Arc<CachedModel>, String> {
            let open = |model| CachedModel::open(model, &Compute::default(), &self.store, |_| None);
            let found = self.models.find_at(self.began + after, &self.store, open, name);
            found.map_err(|problem| problem.message)
        }

        fn system(&self, name: &str, after: Duration) -> String {
            self.find(name, after).unwrap().defaults.system.clone().unwrap()
        }
    }

    #[test]
    fn a_settled_model_is_not_read_again_until_its_manifest_changes() {
        let cached = Cached::new();
        cached.create("a", "one");
        let first = cached.find("a", Duration::ZERO).unwrap();
        assert!(Arc::ptr_eq(&first, &cached.find("a", LATER).unwrap()));
        // Who read the layers now would find other bytes in this one.
        let layer = cached.store.blob_path(&Digest::of(b"one"));
        std::fs::write(&layer, "two").unwrap();
        assert!(Arc::ptr_eq(&first, &cached.find("a", LATER).unwrap()));
        std::fs::write(&layer, "one").unwrap();
        cached.create("a", "three");
        assert_eq!(cached.system("a", LATER), "three");
        cached.store.remove(&"a".parse().unwrap()).unwrap();
        assert!(cached.find("a", LATER * 9).unwrap_err().contains("not found"));
    }

    #[test]
    fn what_is_written_in_one_tick_of_the_clock_is_found() {
        let cached = Cached::new();
        cached.create("a", "one");
        cached.create("b", "two");
        let other = std::fs::read(cached.manifest("b")).unwrap();
        assert_eq!(other.len(), std::fs::read(cached.manifest("a")).unwrap().len());
        assert_eq!(cached.system("a", Duration::ZERO), "one");
        // As another program may do it: into the same file, as many bytes, at once.
        std::fs::write(cached.manifest("a"), &other).unwrap();
        assert_eq!(cached.system("a", Duration::ZERO), "two");
        assert_eq!(cached.system("a", LATER), "two");
        assert_eq!(cached.system("a", LATER), "two");
    }

    #[test]
    fn a_stored_model_takes_the_place_of_the_binarys_own_and_goes_again() {
        let cached = Cached::new();
        let own = cached.find("triage", Duration::ZERO).unwrap();
        assert!(Arc::ptr_eq(&own, &cached.find("triage", Duration::ZERO).unwrap()));
        cached.create("triage", "one");
        assert_eq!(cached.system("triage", Duration::ZERO), "one");
        cached.store.remove(&"triage".parse().unwrap()).unwrap();
        assert_eq!(cached.find("triage", LATER).unwrap().digest, own.digest);
    }

    #[test]
    fn weights_that_are_gone_are_missed_by_a_cached_model_too() {
        let cached = Cached::new();
        cached.create("a", "one");
        cached.find("a", Duration::ZERO).unwrap();
        cached.find("a", LATER).unwrap();
        let weights = cached.store.blob_path(&Digest::of(slm_values::embedded::TRIAGE.gguf));
        std::fs::remove_file(&weights).unwrap();
        let missing = format!("the blob `{}` is missing; create or pull the model again", weights.display());
        assert_eq!(cached.find("a", LATER * 2).unwrap_err(), missing);
    }
}
