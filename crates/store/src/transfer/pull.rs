//! A model from a registry to the store: the manifest is read first and stored last, after all blobs.

use super::fetch::{DownloadJob, FetchError, fetch};
use super::retry::Patience;
use super::{Event, Listener, Streams, TransferError};
use crate::registry::{Registry, RegistryError, Remote, Repository};
use crate::store::{Begun, Committed, Download, DownloadKey, Store, StoreError};
use slm_values::digest::Digest;
use slm_values::manifest::{Layer, Manifest, listed, media_type};
use slm_values::model_ref::ModelRef;
use slm_values::progress::Progress;
use slm_values::source::Reference;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// How often someone may take away a blob under a pull.
const MAX_ROUNDS: usize = 3;
/// How often the bytes of a blob may be wrong.
const MAX_WRONG: u32 = 2;
pub(super) const POLL: Duration = Duration::from_millis(200);
/// Blobs that are downloaded side by side; each costs a thread and two open files.
pub(super) const MAX_AT_ONCE: usize = 16;

/// Where models come from, and where they go.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    pub registry: &'a Registry,
    pub store: &'a Store,
    /// Roots of other stores on this machine, whose blobs need not be downloaded.
    pub neighbours: &'a [PathBuf],
    pub streams: Streams,
}

/// A model to pull.
#[derive(Debug, Clone)]
pub struct Pull {
    /// What the registry is asked for.
    pub reference: Reference,
    pub repository: Repository,
    /// The name in the store.
    pub name: ModelRef,
}

/// Whether to do it, or only to say what would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    Do,
    Tell,
}

/// What was pulled, or would be.
#[derive(Debug, Clone)]
pub struct Pulled {
    pub name: ModelRef,
    /// The manifest's.
    pub digest: Digest,
    pub blobs: Vec<Planned>,
    /// The name pointed at this manifest before, and nothing was missing.
    pub was_complete: bool,
}

/// A blob of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// `None` where it is only known once the bytes are there.
    pub digest: Option<Digest>,
    pub media_type: String,
    pub n_bytes: u64,
    /// Bytes that need not be downloaded.
    pub present: u64,
}

impl Pulled {
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.blobs.iter().fold(0, |total, blob| total.saturating_add(blob.n_bytes))
    }

    /// The bytes that had, or have, to be downloaded.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        self.blobs.iter().fold(0, |total, blob| total.saturating_add(blob.n_bytes - blob.present))
    }
}

/// Pulls a model from a registry.
///
/// # Errors
/// [`TransferError`]; the name is then as it was before, and what has come is kept for the next time.
pub async fn pull(
    sources: Sources<'_>,
    pull: &Pull,
    plan: Plan,
    listener: &dyn Listener,
) -> Result<Pulled, TransferError> {
    let shown = pull.reference.to_string();
    let in_store = |source| TransferError::Store { name: shown.clone(), source: Box::new(source) };
    listener.event(Event::Manifest);
    let json = manifest(sources.registry, pull, listener).await?;
    let manifest = Manifest::parse(&json).map_err(|source| TransferError::Manifest { name: shown.clone(), source })?;
    check_kind(&manifest, &shown)?;
    let blobs: Vec<Layer> = manifest.blobs().into_iter().cloned().collect();
    let planned = blobs.iter().map(|layer| planned(sources, layer)).collect();
    let had = sources.store.manifest_bytes(&pull.name).ok().flatten();
    let mut pulled = Pulled {
        name: pull.name.clone(),
        digest: Digest::of(&json),
        blobs: planned,
        was_complete: had.as_ref() == Some(&json),
    };
    pulled.was_complete &= pulled.missing_bytes() == 0;
    if plan == Plan::Tell {
        return Ok(pulled);
    }
    let _lease = sources.store.lease(manifest.digests()).map_err(in_store)?;
    for _ in 0..MAX_ROUNDS {
        let remote = |layer: &Layer| Remote::blob(pull.repository.clone(), layer.digest, layer.size);
        let n_downloaded = download_missing(sources, &shown, &blobs, &remote, listener).await?;
        sources.store.check(&manifest).map_err(in_store)?;
        listener.event(Event::Verified);
        if n_downloaded == 0 && pulled.was_complete {
            // The manifest is as old as it says; only where it came from may be missing.
            if sources.store.origin(&pulled.digest).is_none() {
                sources.store.record_origin(&pulled.digest, &shown).map_err(in_store)?;
            }
            listener.event(Event::Success);
            return Ok(pulled);
        }
        pulled.was_complete = false;
        if sources.store.commit(&pull.name, &json).map_err(in_store)? == Committed::Done {
            sources.store.record_origin(&pulled.digest, &shown).map_err(in_store)?;
            listener.event(Event::Manifested);
            listener.event(Event::Success);
            return Ok(pulled);
        }
    }
    Err(TransferError::NoModel { name: shown, reason: "another program is removing its blobs; try again".to_owned() })
}

/// The manifest; where the registry has a list of one in its place, the one that it names.
async fn manifest(registry: &Registry, pull: &Pull, listener: &dyn Listener) -> Result<Vec<u8>, TransferError> {
    let asked = pull.reference.tag_or_digest();
    let json = manifest_at(registry, pull, &asked, pull.reference.digest, listener).await?;
    match listed(&json).as_deref() {
        None => Ok(json),
        Some([digest]) => manifest_at(registry, pull, &digest.to_string(), Some(*digest), listener).await,
        Some(digests) => {
            let name = pull.reference.to_string();
            let reason = match digests.first() {
                None => "it is an empty list of manifests, not a model".to_owned(),
                Some(first) => format!(
                    "it is a list of {} manifests, not a model; name one of them by its digest, as `@{first}`",
                    digests.len()
                ),
            };
            Err(TransferError::NoModel { name, reason })
        }
    }
}

/// A manifest by its tag or digest, tried again where that may help.
async fn manifest_at(
    registry: &Registry,
    pull: &Pull,
    tag_or_digest: &str,
    pinned: Option<Digest>,
    listener: &dyn Listener,
) -> Result<Vec<u8>, TransferError> {
    let mut patience = Patience::short();
    loop {
        let error = match registry.manifest(&pull.repository, tag_or_digest, pinned).await {
            Ok(json) => return Ok(json),
            Err(error) => error,
        };
        wait_or_fail(&mut patience, error, &pull.reference.to_string(), listener).await?;
    }
}

/// Waits before the next try, or gives up.
pub(super) async fn wait_or_fail(
    patience: &mut Patience,
    error: RegistryError,
    name: &str,
    listener: &dyn Listener,
) -> Result<(), TransferError> {
    let Some(wait) = patience.after(error.remedy()) else {
        return Err(TransferError::Registry { name: name.to_owned(), source: error });
    };
    listener.event(Event::Retrying { reason: &error, wait });
    tokio::time::sleep(wait).await;
    Ok(())
}

/// A manifest of weights that slm can run.
fn check_kind(manifest: &Manifest, name: &str) -> Result<(), TransferError> {
    if manifest.layer(media_type::MODEL).is_some() {
        return Ok(());
    }
    let kinds: Vec<&str> = manifest.layers.iter().map(|layer| layer.media_type.as_str()).take(5).collect();
    let reason = format!(
        "it contains no GGUF file (a layer of type `{}`), but {}; slm runs only GGUF models",
        media_type::MODEL,
        if kinds.is_empty() { "nothing".to_owned() } else { format!("`{}`", kinds.join("`, `")) }
    );
    Err(TransferError::NoModel { name: name.to_owned(), reason })
}

/// What is there of a blob, by looks alone.
fn planned(sources: Sources<'_>, layer: &Layer) -> Planned {
    let has = |root: &PathBuf| Store::open(root.clone()).holds(&layer.digest, layer.size);
    let is_here = sources.store.holds(&layer.digest, layer.size) || sources.neighbours.iter().any(has);
    let partial = || sources.store.downloaded_bytes(DownloadKey::Digest(layer.digest), layer.size);
    Planned {
        digest: Some(layer.digest),
        media_type: layer.media_type.clone(),
        n_bytes: layer.size,
        present: if is_here { layer.size } else { partial() },
    }
}

/// Makes every blob be in the store, with the bytes of its digest; gives how many were not.
async fn download_missing(
    sources: Sources<'_>,
    name: &str,
    blobs: &[Layer],
    remote: &dyn Fn(&Layer) -> Remote,
    listener: &dyn Listener,
) -> Result<usize, TransferError> {
    let Sources { registry, store, streams, .. } = sources;
    let in_store = |source| TransferError::Store { name: name.to_owned(), source: Box::new(source) };
    let mut missing: Vec<&Layer> = Vec::new();
    for layer in blobs {
        if !has(sources, layer, listener).map_err(in_store)? {
            missing.push(layer);
        }
    }
    check_room(store, &missing).map_err(in_store)?;
    let n_missing = missing.len();
    let mut n_wrong: HashMap<Digest, u32> = HashMap::new();
    while !missing.is_empty() {
        let mut later = missing.split_off(missing.len().min(MAX_AT_ONCE));
        let mut jobs = Vec::new();
        for layer in missing {
            match store.download(DownloadKey::Digest(layer.digest), layer.size).map_err(in_store)? {
                Begun::Busy => {
                    listener.event(Event::Elsewhere { id: &layer.digest });
                    later.push(layer);
                }
                // Who had it before us has finished it.
                Begun::Ours(download) if has(sources, layer, listener).map_err(in_store)? => download.discard(),
                Begun::Ours(download) => jobs.push(job(layer, remote(layer), download, listener)),
            }
        }
        if jobs.is_empty() && !later.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        let fetched = fetch(registry, jobs, streams, listener).await;
        for (download, found) in fetched.map_err(|error| fetch_error(error, name))? {
            let layer = blobs.iter().find(|layer| DownloadKey::Digest(layer.digest) == download.wanted());
            let layer = layer.expect("every download is of a blob");
            match store.finish_download(download, found, &layer.media_type) {
                Ok(_) => listener.event(Event::Ready { id: &layer.digest }),
                Err(error @ StoreError::OtherBytes { .. }) => {
                    listener.event(Event::Discarded { id: &layer.digest });
                    let n = n_wrong.entry(layer.digest).or_default();
                    *n += 1;
                    if *n == MAX_WRONG {
                        return Err(in_store(error));
                    }
                    later.push(layer);
                }
                Err(error) => return Err(no_model(error, name)),
            }
        }
        missing = later;
    }
    Ok(n_missing)
}

/// What is left to do of a blob's download.
fn job(layer: &Layer, remote: Remote, download: Download, listener: &dyn Listener) -> DownloadJob {
    let (id, total, done) = (&layer.digest, layer.size, download.done_bytes());
    listener.event(Event::Blob { id, digest: Some(id), media_type: &layer.media_type, total, done });
    DownloadJob { id: *id, remote, version: None, download: RefCell::new(download) }
}

/// Whether a blob is there with its bytes, or can be obtained from a neighbour. A blob with other bytes is as good as none.
fn has(sources: Sources<'_>, layer: &Layer, listener: &dyn Listener) -> Result<bool, StoreError> {
    let Sources { store, neighbours, .. } = sources;
    let id = &layer.digest;
    let reading = Reading { id, media_type: &layer.media_type, listener };
    let mut is_here = store.holds(id, layer.size) && store.verified(id, &reading);
    for neighbour in neighbours.iter().filter(|neighbour| *neighbour != store.root()) {
        is_here = is_here || store.adopt(neighbour, id, layer.size, &reading)?;
    }
    if is_here {
        listener.event(Event::Ready { id });
    }
    Ok(is_here)
}

/// A blob of this machine that is read, told as one that comes.
struct Reading<'a> {
    id: &'a Digest,
    media_type: &'a str,
    listener: &'a dyn Listener,
}

impl Progress for Reading<'_> {
    fn start(&self, _what: &str, total_bytes: u64) {
        let Reading { id, media_type, .. } = *self;
        self.listener.event(Event::Blob { id, digest: Some(id), media_type, total: total_bytes, done: 0 });
    }

    fn advance(&self, n_bytes: u64) {
        self.listener.event(Event::Bytes { id: self.id, n_bytes });
    }

    fn finish(&self) {}
}

/// Before the first byte: whether all that is missing has room together.
fn check_room(store: &Store, missing: &[&Layer]) -> Result<(), StoreError> {
    let left = |layer: &&Layer| layer.size - store.downloaded_bytes(DownloadKey::Digest(layer.digest), layer.size);
    let needed = missing.iter().map(left).fold(0, u64::saturating_add);
    store.has_room(needed)
}

/// The error of bytes that are not what they should be: the file that held them is gone, so the source is named.
pub(super) fn no_model(error: StoreError, name: &str) -> TransferError {
    match error {
        StoreError::Gguf { source, .. } | StoreError::Adapter { source, .. } => {
            let reason = format!(
                "what was downloaded is not a model that slm can load: {source}; check the address or the name"
            );
            TransferError::NoModel { name: name.to_owned(), reason }
        }
        error => TransferError::Store { name: name.to_owned(), source: Box::new(error) },
    }
}

pub(super) fn fetch_error(error: FetchError, name: &str) -> TransferError {
    let name = name.to_owned();
    match error {
        FetchError::Refused(source) => TransferError::Registry { name, source },
        FetchError::Broken(source) => TransferError::Broken { name, source },
        FetchError::Store(source) => TransferError::Store { name, source: Box::new(source) },
    }
}
