//! A model by the address of its GGUF file, or of its shards, on a web server.

use super::fetch::{DownloadJob, fetch};
use super::pull::{MAX_AT_ONCE, POLL, Plan, Planned, Pulled, Sources, fetch_error, no_model, wait_or_fail};
use super::retry::Patience;
use super::{Event, Listener, TransferError};
use crate::registry::{FileInfo, Registry, Remote};
use crate::store::{Begun, Committed, Download, DownloadKey, Store, StoreError};
use serde_json::{Map, Value};
use slm_values::digest::Digest;
use slm_values::manifest::{Layer, Manifest, media_type};
use slm_values::model_ref::ModelRef;
use slm_values::progress::Silent;
use slm_values::source::{FileUrl, shard_names};
use std::cell::RefCell;

/// The annotations of a layer that say where its file was, and which version of it.
const SOURCE: &str = "vnd.slm.source";
const VERSION: &str = "vnd.slm.source.version";

/// How often to look whether another process has written down what it downloaded.
const MAX_POLLS: u32 = 15;

/// A file to pull.
#[derive(Debug, Clone)]
pub struct PullFile {
    pub url: FileUrl,
    /// The name in the store; else the file's.
    pub name: Option<ModelRef>,
}

/// A file of the model, as its server describes it.
struct FilePart {
    url: FileUrl,
    info: FileInfo,
    /// The digest of its bytes, where the server or an earlier pull of this version tells it.
    digest: Option<Digest>,
    /// Whether the blob of that digest is there, and with what bytes.
    here: Here,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Here {
    No,
    /// Other bytes than its name says.
    Damaged,
    Whole,
}

impl FilePart {
    /// What it is known by until its bytes are there.
    fn wanted(&self) -> DownloadKey {
        let version = self.info.version.as_deref().unwrap_or_default();
        self.info.digest.map_or_else(
            || DownloadKey::Source(Digest::of(format!("{}\n{version}", self.url).as_bytes())),
            DownloadKey::Digest,
        )
    }

    fn id(&self) -> Digest {
        match self.wanted() {
            DownloadKey::Digest(digest) | DownloadKey::Source(digest) => digest,
        }
    }

    /// What is left to do of its download.
    fn job(&self, mut download: Download, listener: &dyn Listener) -> Result<DownloadJob, StoreError> {
        if self.info.digest.is_none() && self.info.version.is_none() {
            // What an earlier process downloaded may be of another file under the same address.
            download.clear()?;
        }
        let (id, total, done) = (self.id(), self.info.n_bytes, download.done_bytes());
        let (digest, media_type) = (self.info.digest.as_ref(), media_type::MODEL);
        listener.event(Event::Blob { id: &id, digest, media_type, total, done });
        let remote = Remote::file(self.url.url().clone(), total);
        // Bytes of a known digest need no other promise.
        let version = self.info.version.clone().filter(|_| self.info.digest.is_none());
        Ok(DownloadJob { id, remote, version, download: RefCell::new(download) })
    }

    fn layer(&self, digest: Digest) -> Layer {
        let mut layer = Layer::new(media_type::MODEL, digest, self.info.n_bytes);
        let mut annotations = Map::new();
        annotations.insert(SOURCE.to_owned(), self.url.to_string().into());
        annotations.extend(self.info.stamp.clone().map(|version| (VERSION.to_owned(), version.into())));
        layer.other.insert("annotations".to_owned(), Value::Object(annotations));
        layer
    }
}

/// Pulls a model from a web server: its file, or all its shards where the address is that of one.
///
/// # Errors
/// [`TransferError`]; the name is then as it was before, and what has come is kept for the next time.
pub async fn pull_file(
    sources: Sources<'_>,
    pull: &PullFile,
    plan: Plan,
    listener: &dyn Listener,
) -> Result<Pulled, TransferError> {
    let shown = pull.url.to_string();
    let in_store = |source| TransferError::Store { name: shown.clone(), source: Box::new(source) };
    let name = pull.name.clone().or_else(|| pull.url.model_name());
    let name = name.ok_or_else(|| TransferError::NoName { url: shown.clone() })?;
    let known = sources.store.manifest_bytes(&name).ok().flatten().and_then(|json| Manifest::parse(&json).ok());
    listener.event(Event::Manifest);
    let mut parts = Vec::new();
    for file_name in shard_names(pull.url.file_name()) {
        let url = pull.url.sibling(&file_name);
        let info = file_info(sources.registry, &url, &shown, listener).await?;
        let had = known.as_ref().and_then(|manifest| same_file(manifest, &url, &info));
        let digest = info.digest.or(had);
        let here = digest.map_or(Here::No, |digest| here(sources.store, &digest, info.n_bytes, plan));
        parts.push(FilePart { url, info, digest, here });
    }
    let planned = parts.iter().map(|part| {
        let n_bytes = part.info.n_bytes;
        let is_here = part.here == Here::Whole;
        let present = if is_here { n_bytes } else { sources.store.downloaded_bytes(part.wanted(), n_bytes) };
        Planned { digest: part.digest, media_type: media_type::MODEL.to_owned(), n_bytes, present }
    });
    let mut pulled =
        Pulled { name: name.clone(), digest: Digest::of(b""), blobs: planned.collect(), was_complete: false };
    if let Some(known) = known.filter(|known| is_model_of(known, &parts)) {
        pulled.was_complete = true;
        pulled.digest = Digest::of(&known.to_json());
        listener.event(Event::Success);
        return Ok(pulled);
    }
    if plan == Plan::Tell {
        return Ok(pulled);
    }
    let _lease = sources.store.lease(parts.iter().filter_map(|part| part.digest)).map_err(in_store)?;
    sources.store.has_room(pulled.missing_bytes()).map_err(in_store)?;
    let layers = bring_files(sources, &name, &shown, &parts, listener).await?;
    let manifest = sources.store.manifest_of(layers).map_err(in_store)?;
    let json = manifest.to_json();
    let _lease = sources.store.lease(manifest.digests()).map_err(in_store)?;
    listener.event(Event::Verified);
    match sources.store.commit(&name, &json).map_err(in_store)? {
        Committed::Done => {}
        Committed::Missing(digest) => {
            let reason = format!("another program removed `{digest}` in the meantime; try again");
            return Err(TransferError::NoModel { name: shown, reason });
        }
    }
    pulled.digest = Digest::of(&json);
    sources.store.record_origin(&pulled.digest, &shown).map_err(in_store)?;
    listener.event(Event::Manifested);
    listener.event(Event::Success);
    Ok(pulled)
}

async fn file_info(
    registry: &Registry,
    url: &FileUrl,
    shown: &str,
    listener: &dyn Listener,
) -> Result<FileInfo, TransferError> {
    let mut patience = Patience::short();
    loop {
        match registry.file_info(url.url()).await {
            Ok(info) => return Ok(info),
            Err(error) => wait_or_fail(&mut patience, error, shown, listener).await?,
        }
    }
}

/// Whether a manifest is what a pull of these parts would give, all of them being there.
fn is_model_of(known: &Manifest, parts: &[FilePart]) -> bool {
    let weights: Vec<Digest> = known.layers_of(media_type::MODEL).map(|layer| layer.digest).collect();
    let wanted: Vec<Digest> =
        parts.iter().filter(|part| part.here == Here::Whole).filter_map(|part| part.digest).collect();
    weights == wanted && wanted.len() == parts.len()
}

/// What is there of a blob; a plan goes by its length.
fn here(store: &Store, digest: &Digest, n_bytes: u64, plan: Plan) -> Here {
    match store.holds(digest, n_bytes) {
        false => Here::No,
        true if plan == Plan::Tell || store.verified(digest, &Silent) => Here::Whole,
        true => Here::Damaged,
    }
}

/// The digest of the same version of a file, from an earlier pull.
fn same_file(manifest: &Manifest, url: &FileUrl, info: &FileInfo) -> Option<Digest> {
    let is_same = |layer: &&Layer| {
        let note = |name| layer.other.get("annotations").and_then(|notes| notes.get(name)).and_then(Value::as_str);
        let is_version = info.stamp.is_some() && note(VERSION) == info.stamp.as_deref();
        note(SOURCE) == Some(url.to_string().as_str()) && is_version && layer.size == info.n_bytes
    };
    manifest.layers.iter().find(is_same).map(|layer| layer.digest)
}

/// Makes every file a blob; gives their layers in order.
async fn bring_files(
    sources: Sources<'_>,
    name: &ModelRef,
    shown: &str,
    parts: &[FilePart],
    listener: &dyn Listener,
) -> Result<Vec<Layer>, TransferError> {
    let store = sources.store;
    let in_store = |source| TransferError::Store { name: shown.to_owned(), source: Box::new(source) };
    let whole = |part: &FilePart| part.digest.filter(|_| part.here == Here::Whole).map(|digest| part.layer(digest));
    let mut layers: Vec<Option<Layer>> = parts.iter().map(whole).collect();
    let (mut has_waited, mut n_polls) = (false, 0);
    while layers.iter().any(Option::is_none) {
        let mut jobs = Vec::new();
        let missing = parts.iter().zip(&layers).filter(|(_, layer)| layer.is_none()).map(|(part, _)| part);
        for part in missing.take(MAX_AT_ONCE) {
            match store.download(part.wanted(), part.info.n_bytes).map_err(in_store)? {
                Begun::Busy => {
                    listener.event(Event::Elsewhere { id: &part.id() });
                    has_waited = true;
                }
                // Who had it has finished it, and is about to write where it is.
                Begun::Ours(download) if has_waited && download.done_bytes() == 0 && n_polls < MAX_POLLS => {
                    download.discard();
                    n_polls += 1;
                }
                Begun::Ours(download) => jobs.push(part.job(download, listener).map_err(in_store)?),
            }
        }
        if jobs.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        let fetched = fetch(sources.registry, jobs, sources.streams, listener).await;
        for (download, found) in fetched.map_err(|error| fetch_error(error, shown))? {
            let at =
                parts.iter().position(|part| part.wanted() == download.wanted()).expect("every download is of a part");
            match store.finish_download(download, found, media_type::MODEL) {
                Ok(digest) => layers[at] = Some(parts[at].layer(digest)),
                Err(error @ StoreError::OtherBytes { .. }) => {
                    listener.event(Event::Discarded { id: &parts[at].id() });
                    return Err(in_store(error));
                }
                Err(error) => return Err(no_model(error, shown)),
            }
            listener.event(Event::Ready { id: &parts[at].id() });
        }
        if has_waited {
            let known = store.manifest_bytes(name).ok().flatten().and_then(|json| Manifest::parse(&json).ok());
            for (layer, part) in
                layers.iter_mut().zip(parts).filter(|(layer, part)| layer.is_none() && part.here == Here::No)
            {
                let noted = || known.as_ref().and_then(|manifest| same_file(manifest, &part.url, &part.info));
                let downloaded =
                    part.info.digest.or_else(noted).filter(|digest| store.holds(digest, part.info.n_bytes));
                *layer = downloaded.map(|digest| part.layer(digest));
            }
        }
    }
    Ok(layers.into_iter().flatten().collect())
}
