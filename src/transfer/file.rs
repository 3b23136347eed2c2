//! A model by the address of its GGUF file, or of its shards, on a web server.

use super::fetch::{Job, fetch};
use super::pull::{Plan, Planned, Pulled, Sources, fetch_error, wait_or_fail};
use super::retry::Patience;
use super::{Event, Listener, TransferError};
use crate::digest::Digest;
use crate::manifest::{Layer, Manifest, media_type};
use crate::model_ref::ModelRef;
use crate::registry::{FileInfo, Registry, Remote};
use crate::source::{FileUrl, shard_names};
use crate::store::{Begun, Committed, StoreError, Wanted};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::time::Duration;

/// The annotations of a layer that say where its file was, and which version of it.
const SOURCE: &str = "vnd.slm.source";
const VERSION: &str = "vnd.slm.source.version";
const POLL: Duration = Duration::from_millis(200);

/// A file to bring.
#[derive(Debug, Clone)]
pub struct PullFile {
    pub url: FileUrl,
    /// The name in the store; else the file's.
    pub name: Option<ModelRef>,
}

/// A file of the model, as its server describes it.
struct Part {
    url: FileUrl,
    info: FileInfo,
    /// The same file of the same version, from an earlier pull.
    had: Option<Layer>,
}

impl Part {
    /// What it is known by until its bytes are there.
    fn wanted(&self) -> Wanted {
        let version = self.info.version.as_deref().unwrap_or_default();
        self.info
            .digest
            .map_or_else(|| Wanted::Source(Digest::of(format!("{}\n{version}", self.url).as_bytes())), Wanted::Digest)
    }

    fn id(&self) -> Digest {
        match self.wanted() {
            Wanted::Digest(digest) | Wanted::Source(digest) => digest,
        }
    }

    fn layer(&self, digest: Digest) -> Layer {
        let mut layer = Layer::new(media_type::MODEL, digest, self.info.n_bytes);
        let mut annotations = Map::new();
        annotations.insert(SOURCE.to_owned(), self.url.to_string().into());
        annotations.extend(self.info.version.clone().map(|version| (VERSION.to_owned(), version.into())));
        layer.other.insert("annotations".to_owned(), Value::Object(annotations));
        layer
    }
}

/// Brings a model from a web server: its file, or all its shards where the address is that of one.
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
        let url = pull.url.sibling(&file_name).ok_or_else(|| TransferError::NoName { url: shown.clone() })?;
        let info = file_info(sources.registry, &url, &shown, listener).await?;
        let had = known.as_ref().and_then(|manifest| same_file(manifest, &url, &info));
        parts.push(Part { url, info, had: had.filter(|layer| sources.store.holds(&layer.digest, layer.size)) });
    }
    let planned = parts.iter().map(|part| {
        let n_bytes = part.info.n_bytes;
        let is_here =
            part.had.is_some() || part.info.digest.is_some_and(|digest| sources.store.holds(&digest, n_bytes));
        let present = if is_here { n_bytes } else { sources.store.downloaded_bytes(part.wanted(), n_bytes) };
        Planned { digest: part.id(), media_type: media_type::MODEL.to_owned(), n_bytes, present }
    });
    let mut pulled =
        Pulled { name: name.clone(), digest: Digest::of(b""), blobs: planned.collect(), was_complete: false };
    pulled.was_complete = parts.iter().all(|part| part.had.is_some());
    if let Some(known) = known.filter(|_| pulled.was_complete) {
        pulled.digest = Digest::of(&known.to_json());
        return Ok(pulled);
    }
    if plan == Plan::Tell {
        return Ok(pulled);
    }
    let layers = bring_files(sources, &shown, &parts, listener).await?;
    let manifest = sources.store.manifest_of(layers).map_err(in_store)?;
    let json = manifest.to_json();
    let _lease = sources.store.lease(manifest.digests()).map_err(in_store)?;
    listener.event(Event::Verified);
    match sources.store.commit(&name, &json).map_err(in_store)? {
        Committed::Done => {}
        Committed::Missing(digest) => {
            let reason = format!("another program removed `{digest}` meanwhile; try again");
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

/// The layer of an earlier pull of the same version of a file.
fn same_file(manifest: &Manifest, url: &FileUrl, info: &FileInfo) -> Option<Layer> {
    let is_same = |layer: &&Layer| {
        let note = |name| layer.other.get("annotations").and_then(|notes| notes.get(name)).and_then(Value::as_str);
        let is_version = info.version.is_some() && note(VERSION) == info.version.as_deref();
        note(SOURCE) == Some(url.to_string().as_str()) && is_version && layer.size == info.n_bytes
    };
    manifest.layers.iter().find(is_same).cloned()
}

/// Makes every file a blob; gives their layers in order.
async fn bring_files(
    sources: Sources<'_>,
    shown: &str,
    parts: &[Part],
    listener: &dyn Listener,
) -> Result<Vec<Layer>, TransferError> {
    let store = sources.store;
    let in_store = |source| TransferError::Store { name: shown.to_owned(), source: Box::new(source) };
    let mut layers: Vec<Option<Layer>> = parts.iter().map(|part| known_blob(sources, part)).collect();
    while layers.iter().any(Option::is_none) {
        let mut jobs = Vec::new();
        for part in parts.iter().zip(&layers).filter(|(_, layer)| layer.is_none()).map(|(part, _)| part) {
            let (id, n_bytes) = (part.id(), part.info.n_bytes);
            match store.download(part.wanted(), n_bytes).map_err(in_store)? {
                Begun::Busy => listener.event(Event::Elsewhere { id: &id }),
                Begun::Ours(download) => {
                    let done = download.done_bytes();
                    listener.event(Event::Blob { id: &id, media_type: media_type::MODEL, total: n_bytes, done });
                    let remote = Remote::file(part.url.url().clone(), n_bytes);
                    jobs.push(Job { id, remote, version: part.info.version.clone(), download: RefCell::new(download) });
                }
            }
        }
        if jobs.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        let fetched = fetch(sources.registry, jobs, sources.streams, listener).await;
        for (download, found) in fetched.map_err(|error| fetch_error(error, shown))? {
            let at =
                parts.iter().position(|part| part.wanted() == download.wanted()).expect("every download is of a part");
            match store.finish_download(download, found) {
                Ok(digest) => layers[at] = Some(parts[at].layer(digest)),
                Err(error @ StoreError::OtherBytes { .. }) => {
                    listener.event(Event::Discarded { id: &parts[at].id() });
                    return Err(in_store(error));
                }
                Err(error) => return Err(in_store(error)),
            }
            listener.event(Event::Ready { id: &parts[at].id() });
        }
        for (layer, part) in layers.iter_mut().zip(parts).filter(|(layer, _)| layer.is_none()) {
            *layer = known_blob(sources, part);
        }
    }
    Ok(layers.into_iter().flatten().collect())
}

/// The layer of a file whose blob is there.
fn known_blob(sources: Sources<'_>, part: &Part) -> Option<Layer> {
    let here = part.info.digest.filter(|digest| sources.store.holds(digest, part.info.n_bytes));
    let digest = here.or_else(|| part.had.as_ref().map(|layer| layer.digest))?;
    Some(part.layer(digest))
}
