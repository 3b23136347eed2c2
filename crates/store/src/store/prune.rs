//! Removes blobs without a manifest, abandoned downloads, and leftovers of crashed processes.
//!
//! What a broken manifest may need stays. Its bytes are searched for digests, and so are the small blobs that these lead
//! to, for a configuration lists the layers too: so a manifest that is cut short keeps everything where only its first
//! digest is left. One that holds no digest at all names no blob that anybody could find, and stops nothing but this:
//! weights older than it, which nothing else needs, are kept, for these alone cannot be written again. One that cannot be
//! read, another user's for example, keeps every blob.

use super::disk::{self, Removing, io_error};
use super::model::parse_manifest;
use super::remove::{digests_among, manifest_digest};
use super::{Broken, Store, StoreError};
use slm_values::digest::Digest;
use slm_values::manifest::MAX_MANIFEST_BYTES;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A blob may be younger than the manifest that its writer is about to write: another program knows no lock of ours.
const YOUNG_BLOB: Duration = Duration::from_secs(3600);
/// The same while another program's download is under way.
const YOUNG_BLOB_OF_PULL: Duration = Duration::from_secs(86_400);
const OLD_DOWNLOAD: Duration = Duration::from_secs(86_400);
const JOURNAL: &str = ".parts";

/// What is to be pruned.
#[derive(Debug, Clone, Copy)]
pub struct Pruning {
    pub now: SystemTime,
    pub young_blobs: Young,
    pub young_downloads: Young,
    pub action: PruneAction,
}

/// What happens to what may still be wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Young {
    Kept,
    Removed,
}

/// Whether anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneAction {
    Remove,
    Tell,
}

/// What was pruned, or would be.
#[derive(Debug, Default)]
pub struct Pruned {
    pub removed: Vec<PrunedFile>,
    /// What no manifest needs and stays nevertheless.
    pub kept: Vec<(PrunedFile, KeepReason)>,
    /// Manifests that cannot be used.
    pub broken: Vec<Broken>,
    /// What could not be removed.
    pub failed: Vec<StoreError>,
}

/// A file of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedFile {
    pub path: PathBuf,
    pub kind: PrunedKind,
    /// What it takes of the disk.
    pub n_bytes: u64,
}

/// What a file of the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrunedKind {
    Blob,
    /// Ours, to be resumed.
    Download,
    /// Ollama's, to be resumed.
    OllamaDownload,
    /// What a crashed process left.
    Leftover,
}

/// Why something stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    Young,
    /// A process uses it.
    InUse,
    /// This broken manifest may need it.
    Broken(PathBuf),
}

impl Pruned {
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        self.removed.iter().map(|item| item.n_bytes).sum()
    }
}

/// What all manifests together need.
#[derive(Default)]
struct Needed {
    digests: HashSet<Digest>,
    /// Broken manifests without a digest in them, and when they were written.
    empty: Vec<(PathBuf, SystemTime)>,
    unreadable: Option<PathBuf>,
    manifests: HashSet<Digest>,
}

impl Store {
    /// Removes what nothing needs. What is in use, by a lock or a lease, is never touched, and what is not the store's own
    /// (links, folders, other names) neither.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be locked, or what its leases keep cannot be told. What else goes wrong is
    /// part of the report.
    pub fn prune(&self, pruning: &Pruning) -> Result<Pruned, StoreError> {
        if !self.root.is_dir() {
            return Ok(Pruned::default());
        }
        // To tell needs no lock, and may be wanted of a store that cannot be written to.
        let _removing: Option<Removing> = match pruning.action {
            PruneAction::Remove => Some(self.begin_removing()?),
            PruneAction::Tell => None,
        };
        let mut pruned = Pruned::default();
        let needed = self.needed(pruning.now, &mut pruned.broken);
        let leases = self.leases()?;
        let leftovers = match pruning.action {
            PruneAction::Remove => self.leftovers(),
            // Without the lock they may be a writer's.
            PruneAction::Tell => Vec::new(),
        };
        let notes = self.all_notes().into_iter();
        let keeps = |digest: &Digest| needed.manifests.contains(digest) || leases.kept.contains(digest);
        let notes = notes.filter(|(manifest, _)| needed.unreadable.is_none() && !keeps(manifest));
        let traces = leftovers.into_iter().chain(leases.stale).chain(self.stale_marks());
        for path in traces.chain(notes.map(|(_, path)| path)) {
            pruned.take(PrunedFile { n_bytes: file_len(&path), kind: PrunedKind::Leftover, path }, pruning.action);
        }
        self.prune_downloads(pruning, &leases.kept, &mut pruned);
        self.prune_blobs(pruning, &needed, &leases.kept, &mut pruned);
        pruned.removed.sort_by(|one, other| (one.kind, &one.path).cmp(&(other.kind, &other.path)));
        Ok(pruned)
    }

    fn needed(&self, now: SystemTime, broken: &mut Vec<Broken>) -> Needed {
        let mut needed = Needed::default();
        for (_, path) in self.manifest_files() {
            needed.manifests.extend(manifest_digest(&path));
            let json = match disk::read(&path, MAX_MANIFEST_BYTES) {
                Ok(Some(json)) => json,
                // An Ollama has just removed it.
                Ok(None) => continue,
                Err(error) => {
                    needed.unreadable = Some(path.clone());
                    broken.push(Broken { path, error });
                    continue;
                }
            };
            match parse_manifest(&path, &json) {
                Ok(manifest) => needed.digests.extend(manifest.digests()),
                Err(error) => {
                    let named = self.reachable(digests_among(&json));
                    if named.is_empty() {
                        let written = fs::metadata(&path).and_then(|manifest| manifest.modified());
                        needed.empty.push((path.clone(), written.unwrap_or(now)));
                    }
                    needed.digests.extend(named);
                    broken.push(Broken { path, error });
                }
            }
        }
        needed
    }

    /// These digests, and those that are in the small ones of their blobs.
    fn reachable(&self, digests: HashSet<Digest>) -> HashSet<Digest> {
        let among = |digest: &Digest| disk::read(&self.blob_path(digest), MAX_MANIFEST_BYTES).ok().flatten();
        let behind: HashSet<Digest> =
            digests.iter().filter_map(among).flat_map(|bytes| digests_among(&bytes)).collect();
        digests.into_iter().chain(behind).collect()
    }

    fn prune_blobs(&self, pruning: &Pruning, needed: &Needed, leased: &HashSet<Digest>, pruned: &mut Pruned) {
        let mut others = Vec::new();
        let mut unreferenced = Vec::new();
        for (name, path) in disk::regular_files(&self.blobs()) {
            match Digest::from_file_name(&name) {
                Some(digest) if needed.digests.contains(&digest) => {}
                Some(digest) => unreferenced.push((digest, path)),
                None if is_ollama_download(&name) => others.push(path),
                None => {}
            }
        }
        let is_active = |path: &PathBuf| age(path, pruning.now) < YOUNG_BLOB;
        let young = if others.iter().any(is_active) { YOUNG_BLOB_OF_PULL } else { YOUNG_BLOB };
        for (digest, path) in unreferenced {
            let item = PrunedFile { n_bytes: file_len(&path), kind: PrunedKind::Blob, path };
            let may_need = || needed.empty.iter().find(|(_, written)| is_weights_before(&item.path, *written));
            let why = if leased.contains(&digest) {
                Some(KeepReason::InUse)
            } else if let Some(manifest) = &needed.unreadable {
                Some(KeepReason::Broken(manifest.clone()))
            } else if pruning.young_blobs == Young::Removed {
                None
            } else if age(&item.path, pruning.now) < young {
                Some(KeepReason::Young)
            } else {
                may_need().map(|(manifest, _)| KeepReason::Broken(manifest.clone()))
            };
            match why {
                Some(why) => pruned.kept.push((item, why)),
                None => pruned.take(item, pruning.action),
            }
        }
        for path in others {
            // Ollama holds no lock on it: only its age tells that it is abandoned.
            let item = PrunedFile { n_bytes: disk_bytes(&path), kind: PrunedKind::OllamaDownload, path };
            if pruning.young_downloads == Young::Removed && age(&item.path, pruning.now) >= OLD_DOWNLOAD {
                pruned.take(item, pruning.action);
            } else {
                pruned.kept.push((item, KeepReason::Young));
            }
        }
    }

    fn prune_downloads(&self, pruning: &Pruning, leased: &HashSet<Digest>, pruned: &mut Pruned) {
        let files = disk::regular_files(&self.downloads());
        // Both files of a download under the name of its bytes.
        let mut downloads: BTreeMap<PathBuf, Duration> = BTreeMap::new();
        for (name, path) in files {
            let data = name.strip_suffix(JOURNAL).unwrap_or(&name);
            let hex = ["sha256-", "source-", "upload-"].iter().find_map(|kind| data.strip_prefix(kind));
            if hex.is_some_and(|hex| Digest::from_file_name(&format!("sha256-{hex}")).is_some()) {
                let age = age(&path, pruning.now);
                let youngest = downloads.entry(self.downloads().join(data)).or_insert(age);
                *youngest = age.min(*youngest);
            }
        }
        for (path, age) in downloads {
            let journal = journal_of(&path);
            let n_bytes = disk_bytes(&path) + disk_bytes(&journal);
            let item = PrunedFile { n_bytes, kind: PrunedKind::Download, path };
            // A pull goes through its downloads one after the other, and has locked only those that it is at.
            let name = item.path.file_name().and_then(|name| Digest::from_file_name(name.to_str()?));
            if name.is_some_and(|digest| leased.contains(&digest)) {
                pruned.kept.push((item, KeepReason::InUse));
                continue;
            }
            // Held until both files are gone.
            let lock = match owned(&item.path, pruning.action) {
                Ok(Some(lock)) => lock,
                Ok(None) => {
                    pruned.kept.push((item, KeepReason::InUse));
                    continue;
                }
                Err(error) => {
                    pruned.failed.push(error);
                    continue;
                }
            };
            if pruning.young_downloads == Young::Kept && age < OLD_DOWNLOAD {
                pruned.kept.push((item, KeepReason::Young));
                continue;
            }
            // Before the bytes: a journal without bytes is nobody's, but who starts again would write it again.
            if pruning.action == PruneAction::Remove {
                disk::remove_leftover(&journal);
            }
            pruned.take(item, pruning.action);
            drop(lock);
        }
    }
}

impl Pruned {
    fn take(&mut self, item: PrunedFile, action: PruneAction) {
        let removed = match action {
            PruneAction::Remove => fs::remove_file(&item.path),
            PruneAction::Tell => Ok(()),
        };
        match removed {
            Err(error) if !disk::is_absent(&error) => self.failed.push(io_error("remove", &item.path)(error)),
            _ => self.removed.push(item),
        }
    }
}

/// The lock of an abandoned download; `None` where some process has it. A journal that lost its bytes gets a file
/// to lock.
fn owned(data: &Path, action: PruneAction) -> Result<Option<Option<File>>, StoreError> {
    let opened = match action {
        PruneAction::Remove => OpenOptions::new().write(true).create(true).truncate(false).open(data),
        PruneAction::Tell => File::open(data),
    };
    match opened {
        Ok(file) => Ok(file.try_lock().is_ok().then_some(Some(file))),
        Err(error) if disk::is_absent(&error) => Ok(Some(None)),
        Err(error) => Err(io_error("open", data)(error)),
    }
}

fn journal_of(data: &Path) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(JOURNAL);
    PathBuf::from(path)
}

/// `sha256-<hex>-partial`, and the notes beside it, `sha256-<hex>-partial-<n>`.
fn is_ollama_download(name: &str) -> bool {
    let Some((blob, rest)) = name.split_once("-partial") else { return false };
    let is_note = rest.strip_prefix('-').is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()));
    Digest::from_file_name(blob).is_some() && (rest.is_empty() || is_note)
}

fn is_weights_before(path: &Path, written: SystemTime) -> bool {
    let is_before = fs::metadata(path).and_then(|blob| blob.modified()).is_ok_and(|blob| blob <= written);
    let mut magic = [0; 4];
    is_before && File::open(path).and_then(|mut blob| blob.read_exact(&mut magic)).is_ok() && magic == *b"GGUF"
}

/// How long ago a file was written; nothing where the clock went back.
fn age(path: &Path, now: SystemTime) -> Duration {
    let written = fs::symlink_metadata(path).and_then(|file| file.modified());
    written.ok().and_then(|written| now.duration_since(written).ok()).unwrap_or_default()
}

fn file_len(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |file| file.len())
}

/// What a file takes of the disk: a download has its full length from the beginning.
#[cfg(unix)]
fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path).map_or(0, |file| file.len().min(file.blocks() * 512))
}

#[cfg(not(unix))]
fn disk_bytes(path: &Path) -> u64 {
    file_len(path)
}
