//! A model from the store to a registry: the missing blobs, then the manifest.

use super::pull::{Plan, Planned};
use super::retry::Patience;
use super::route::{PushError, Route};
use super::upload::upload;
use super::{Event, Listener};
use crate::registry::{Access, Mount, Registry, RegistryError, Repository, UploadSession};
use crate::store::{Content, Shipment, Store};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use slm_values::digest::Digest;
use slm_values::manifest::{Layer, Manifest};
use slm_values::model_ref::ModelRef;
use slm_values::source::Reference;
use std::collections::HashMap;

/// Blobs that go up side by side.
const SIDE_BY_SIDE: usize = 3;
/// Repositories that are asked for a blob before it is uploaded.
const MAX_MOUNTS: usize = 3;
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A model to push.
#[derive(Debug, Clone)]
pub struct Push {
    /// The name in the store, with the digest that its manifest must have where one is given.
    pub source: Reference,
    /// What it is to be in the registry.
    pub target: Reference,
    pub repository: Repository,
}

/// What was pushed, or would be.
#[derive(Debug, Clone)]
pub struct Pushed {
    pub target: Reference,
    /// The manifest's.
    pub digest: Digest,
    /// `present` is what the registry had before.
    pub blobs: Vec<Planned>,
}

impl Pushed {
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.n_bytes).sum()
    }

    /// The bytes that were not in the registry.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.n_bytes - blob.present).sum()
    }
}

/// Pushes a model of the store.
///
/// # Errors
/// [`PushError`]; the registry's name is then as it was before.
pub async fn push(
    registry: &Registry,
    store: &Store,
    push: &Push,
    plan: Plan,
    listener: &dyn Listener,
) -> Result<Pushed, PushError> {
    listener.event(Event::Manifest);
    let _lease = match plan {
        // Nobody may remove its blobs meanwhile.
        Plan::Do => Some(store.lease(store.shipment(&push.source.name)?.manifest.digests())?),
        Plan::Tell => None,
    };
    let mut shipment = store.shipment(&push.source.name)?;
    let digest = Digest::of(&shipment.json);
    let mut pins = [push.source.digest, push.target.digest].into_iter().flatten();
    if let Some(expected) = pins.find(|pin| *pin != digest) {
        return Err(PushError::Pinned { name: push.source.to_string(), expected, found: digest });
    }
    let route = Route { registry, store, repository: &push.repository, target: &push.target };
    let blobs: Vec<Layer> = shipment.manifest.blobs().into_iter().cloned().collect();
    let pushed = Pushed { target: push.target.clone(), digest, blobs: planned(route, &blobs, plan, listener).await? };
    if plan == Plan::Tell {
        return Ok(pushed);
    }
    let neighbours = neighbours(store, push);
    let missing = blobs.iter().zip(&pushed.blobs).filter(|(layer, blob)| blob.present < layer.size);
    let missing: Vec<(&Layer, Content)> = missing
        .map(|(layer, _)| (layer, shipment.take(&layer.digest).expect("a shipment has every blob of its manifest")))
        .collect();
    let sending = missing.into_iter().map(|(layer, content)| {
        let from = neighbours.get(&layer.digest).map(Vec::as_slice).unwrap_or_default();
        send(route, layer, content, from, listener)
    });
    stream::iter(sending).buffer_unordered(SIDE_BY_SIDE).try_collect::<()>().await?;
    listener.event(Event::Verified);
    let media_type = media_type(&shipment);
    let tag = push.target.tag_or_digest();
    let put = async || registry.put_manifest(&push.repository, &tag, &media_type, &shipment.json).await;
    patiently(route, listener, put).await?;
    // From now on it can be obtained again. That it was pushed is true without the note.
    if store.origin(&digest).is_none()
        && let Err(error) = store.record_origin(&digest, &push.target.to_string())
    {
        tracing::warn!("where `{}` was pushed to cannot be noted: {error}", push.source);
    }
    listener.event(Event::Manifested);
    listener.event(Event::Success);
    Ok(pushed)
}

/// What the registry has of each blob.
async fn planned(
    route: Route<'_>,
    blobs: &[Layer],
    plan: Plan,
    listener: &dyn Listener,
) -> Result<Vec<Planned>, PushError> {
    let mut planned = Vec::new();
    for layer in blobs {
        let Route { registry, repository, .. } = route;
        let ask = async || registry.has_blob(repository, &layer.digest, layer.size, Access::Push).await;
        let is_there = patiently(route, listener, ask).await?;
        let present = if is_there { layer.size } else { 0 };
        let media_type = layer.media_type.clone();
        planned.push(Planned { digest: Some(layer.digest), media_type, n_bytes: layer.size, present });
        if plan == Plan::Do {
            told(layer, present, listener);
        }
    }
    Ok(planned)
}

fn told(layer: &Layer, done: u64, listener: &dyn Listener) {
    let id = &layer.digest;
    listener.event(Event::Blob { id, digest: Some(id), media_type: &layer.media_type, total: layer.size, done });
    if done == layer.size {
        listener.event(Event::Ready { id });
    }
}

/// Makes the repository have a blob: from another one of the same server, or from here.
async fn send(
    route: Route<'_>,
    layer: &Layer,
    content: Content,
    from: &[Repository],
    listener: &dyn Listener,
) -> Result<(), PushError> {
    let mut begun: Option<UploadSession> = None;
    for other in from.iter().take(MAX_MOUNTS) {
        // What the other repository does not have, or not for us, is uploaded.
        let has = route.registry.has_blob(other, &layer.digest, layer.size, Access::Pull).await;
        if !matches!(has, Ok(true)) {
            continue;
        }
        match route.registry.mount(route.repository, &layer.digest, other).await {
            Ok(Mount::Done) => {
                listener.event(Event::Ready { id: &layer.digest });
                return Ok(());
            }
            Ok(Mount::Refused(session)) => {
                begun = Some(session);
                break;
            }
            Err(_) => {}
        }
    }
    upload(route, layer, content, begun, listener).await?;
    listener.event(Event::Ready { id: &layer.digest });
    Ok(())
}

/// The repositories of the same host that should have a blob, as the names and origins of the store's models tell.
fn neighbours(store: &Store, push: &Push) -> HashMap<Digest, Vec<Repository>> {
    let mut found: HashMap<Digest, Vec<Repository>> = HashMap::new();
    let own = push.repository.path();
    let path = |name: &ModelRef| format!("{}/{}", name.namespace(), name.model());
    for name in store.names() {
        let Some(json) = store.manifest_bytes(&name).ok().flatten() else { continue };
        let Ok(manifest) = Manifest::parse(&json) else { continue };
        let origin = store.origin(&Digest::of(&json)).and_then(|origin| origin.parse::<Reference>().ok());
        let places = [Some(name), origin.map(|origin| origin.name)];
        for place in places.iter().flatten().filter(|place| place.host() == push.target.name.host()) {
            let repository = push.repository.beside(path(place));
            for digest in manifest.digests().filter(|_| repository.path() != own) {
                let known = found.entry(digest).or_default();
                if !known.contains(&repository) {
                    known.push(repository.clone());
                }
            }
        }
    }
    found
}

/// The manifest's own type. One that says none is the Open Container Initiative's, where a type is optional.
fn media_type(shipment: &Shipment) -> String {
    let json: serde_json::Value = serde_json::from_slice(&shipment.json).unwrap_or_default();
    json["mediaType"].as_str().unwrap_or(OCI_MANIFEST).to_owned()
}

/// Asks again where that may help.
async fn patiently<T>(
    route: Route<'_>,
    listener: &dyn Listener,
    ask: impl AsyncFn() -> Result<T, RegistryError>,
) -> Result<T, PushError> {
    let mut patience = Patience::short();
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let Some(wait) = patience.after(error.remedy()) else { return Err(route.refused(error)) };
        listener.event(Event::Retrying { reason: &error, wait });
        tokio::time::sleep(wait).await;
    }
}
