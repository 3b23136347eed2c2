//! The upload of one blob to a registry: in parts, which continues after failures and restarts, or whole where the registry
//! takes no parts.

use super::outgoing::Outgoing;
use super::retry::Patience;
use super::route::{PushError, Route};
use super::{Event, Listener};
use crate::registry::{Access, Payload, RegistryError, UploadSession};
use crate::store::{Content, Note};
use slm_values::digest::Digest;
use slm_values::manifest::Layer;
use std::sync::Arc;

/// What is sent again at most after a failure, where a registry keeps what it has. Small enough for a slow line, large
/// enough that the answers between parts cost little.
const PART_BYTES: u64 = 16 << 20;
/// How often an upload may start again because its registry forgot it.
const MAX_ANEW: u32 = 4;
/// How often a registry may say that it got other bytes.
const MAX_WRONG: u32 = 2;

/// An upload while it runs.
struct Uploading<'a> {
    route: Route<'a>,
    layer: &'a Layer,
    outgoing: Arc<Outgoing>,
    listener: &'a dyn Listener,
    how: How,
    /// Where the upload is noted for another process.
    note: Option<Note>,
    session: Option<UploadSession>,
    /// What the registry has of it; `None` where it is to be asked.
    done: Option<u64>,
    patience: Patience,
}

/// How a registry takes a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    InParts,
    Whole,
}

/// Uploads a blob that the repository has not.
pub(super) async fn upload(
    route: Route<'_>,
    layer: &Layer,
    content: Content,
    begun: Option<UploadSession>,
    listener: &dyn Listener,
) -> Result<(), PushError> {
    let how = if layer.size > PART_BYTES { How::InParts } else { How::Whole };
    let id = format!("{}/{}/{}", route.repository.host(), route.repository.path(), layer.digest);
    let note = (how == How::InParts).then(|| route.store.upload_note(&Digest::of(id.as_bytes()))).flatten();
    let noted = note.as_ref().and_then(Note::read).and_then(|location| UploadSession::at(&location));
    let mut uploading = Uploading {
        route,
        layer,
        outgoing: Outgoing::new(content, layer.digest, layer.size),
        listener,
        how,
        done: if noted.is_some() { None } else { Some(0) },
        session: noted.or(begun),
        note,
        patience: Patience::long(),
    };
    uploading.run().await?;
    if let Some(note) = uploading.note {
        note.remove();
    }
    Ok(())
}

impl Uploading<'_> {
    async fn run(&mut self) -> Result<(), PushError> {
        let (mut n_anew, mut n_wrong) = (0, 0);
        loop {
            let Err(error) = self.attempt().await else { return Ok(()) };
            if let Some(flaw) = self.outgoing.flaw() {
                return Err(self.route.flawed(&self.layer.digest, flaw));
            }
            let is_fresh = self.done == Some(0);
            match &error {
                RegistryError::NoParts { .. } if self.how == How::InParts && is_fresh => {
                    self.how = How::Whole;
                    self.forget();
                }
                RegistryError::UploadLost { .. } => {
                    n_anew += 1;
                    self.forget();
                }
                RegistryError::OtherBlob { .. } => {
                    n_wrong += 1;
                    self.forget();
                }
                // Nobody knows what has come of it.
                _ if self.how == How::Whole => self.forget(),
                _ => self.done = None,
            }
            let is_hopeless = n_anew > MAX_ANEW || n_wrong >= MAX_WRONG;
            let wait = if is_hopeless { None } else { self.patience.after(error.remedy()) };
            let Some(wait) = wait else { return Err(self.route.failed(error)) };
            self.listener.event(Event::Retrying { reason: &error, wait });
            tokio::time::sleep(wait).await;
            if self.session.is_none() && self.is_there().await {
                return Ok(());
            }
        }
    }

    fn forget(&mut self) {
        self.session = None;
        self.done = Some(0);
    }

    /// Whether it is there after all: the answer to the last bytes may have been lost, or another push was faster.
    async fn is_there(&self) -> bool {
        let Route { registry, repository, .. } = self.route;
        let there = registry.has_blob(repository, &self.layer.digest, self.layer.size, Access::Push).await;
        there.unwrap_or(false)
    }

    /// Goes on to the end, or to the first failure.
    async fn attempt(&mut self) -> Result<(), RegistryError> {
        let Route { registry, repository, .. } = self.route;
        if let (Some(session), None) = (&mut self.session, self.done) {
            let done = registry.uploaded_bytes(repository, session).await?;
            if done == 0 || done > self.layer.size {
                // It is not certain that there is nothing, and a new one costs nothing.
                self.forget();
            } else {
                self.outgoing.catch_up(done).await;
                self.done = Some(done);
            }
        }
        let mut session = match self.session.take() {
            Some(session) => session,
            None => registry.begin_upload(repository).await?,
        };
        let mut done = self.done.unwrap_or(0);
        self.at(done);
        if self.how == How::InParts {
            while done < self.layer.size {
                self.keep(&session, done);
                let end = (done + PART_BYTES.max(session.min_part_bytes())).min(self.layer.size);
                let bytes = self.outgoing.payload(done..end);
                let at = |sent| self.at(done + sent);
                let taken = registry.upload_part(repository, &mut session, done..end, bytes, &at).await?;
                if taken <= done {
                    return Err(RegistryError::NoParts { host: repository.host(), status: 202 });
                }
                self.patience.progressed(taken - done);
                done = taken;
                self.at(done);
            }
            self.keep(&session, done);
        }
        let rest = if self.how == How::Whole { self.outgoing.payload(0..self.layer.size) } else { Payload::default() };
        let at = |sent| self.at(done + sent);
        registry.finish_upload(repository, &session, &self.layer.digest, rest, &at).await
    }

    /// Remembers how far the upload is, here and on the disk.
    fn keep(&mut self, session: &UploadSession, done: u64) {
        if let Some(note) = &self.note {
            note.write(session.location());
        }
        (self.session, self.done) = (Some(session.clone()), Some(done));
    }

    fn at(&self, done: u64) {
        self.listener.event(Event::At { id: &self.layer.digest, done });
    }
}
