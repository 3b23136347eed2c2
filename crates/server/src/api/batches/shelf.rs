//! The folder of a server's files and batches: every change is on disk before it is told, so that a restart goes on where the
//! server was. It asks no models.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::state::{Counts, Status, StoredBatch, StoredFile};

/// The longest file of requests, and the most requests in it: OpenAI's limits.
pub const MAX_FILE_BYTES: u64 = 200 << 20;
pub const MAX_REQUESTS: u64 = 50_000;
/// What is kept at most, all clients together.
pub const MAX_FILES: usize = 1000;
pub const MAX_KEPT_BYTES: u64 = 8 << 30;
/// How long a file is kept where nobody says, and at most.
pub const KEPT_SECONDS: u64 = 30 * 24 * 3600;

/// The folder. Another server cannot have it at the same time.
#[derive(Debug)]
pub struct Shelf {
    root: PathBuf,
    _lock: File,
    shelved: Mutex<Shelved>,
    /// Told when a batch has come, or is to be cancelled.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Shelved {
    files: BTreeMap<String, StoredFile>,
    batches: BTreeMap<String, StoredBatch>,
    /// The batch whose requests are being asked.
    running: Option<String>,
}

/// Why something is not on the shelf, or cannot be put there or taken away.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("there is no {what} `{id}`")]
    NotFound { what: &'static str, id: String },
    #[error("`{file}` is needed by the batch `{batch}`, which is {}; cancel it first", .status.word())]
    InUse { file: String, batch: String, status: Status },
    #[error("the batch `{id}` is {} already", .status.word())]
    Ended { id: String, status: Status },
    #[error("{MAX_FILES} files are kept already; delete some")]
    TooMany,
    #[error(
        "the files that are kept have {kept} bytes, and {n_bytes} more would be over {MAX_KEPT_BYTES}; delete some"
    )]
    Full { kept: u64, n_bytes: u64 },
    #[error("the file has more than {MAX_FILE_BYTES} bytes; divide it")]
    TooLarge,
    #[error("cannot keep the file: {0}")]
    Disk(#[from] io::Error),
}

/// A file that is being uploaded; dropped, it is gone.
#[derive(Debug)]
pub struct Upload {
    file: tempfile::NamedTempFile,
    n_bytes: u64,
    room: u64,
}

impl Upload {
    /// # Errors
    /// The file gets too long, or the disk refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ShelfError> {
        self.n_bytes += bytes.len() as u64;
        if self.n_bytes > MAX_FILE_BYTES {
            return Err(ShelfError::TooLarge);
        }
        if self.n_bytes > self.room {
            return Err(ShelfError::Full { kept: MAX_KEPT_BYTES - self.room, n_bytes: self.n_bytes });
        }
        Ok(self.file.write_all(bytes)?)
    }
}

impl Shelf {
    /// Opens the folder, or makes it, and reads what is there. Descriptions that cannot be read are left alone.
    ///
    /// # Errors
    /// It cannot be written, or another server has it.
    pub fn open(root: &Path) -> io::Result<Shelf> {
        for folder in ["files", "batches"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(root.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another server has it"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let files = read_all(&root.join("files"), |file: &StoredFile| &file.id)?;
        let batches = read_all(&root.join("batches"), |batch: &StoredBatch| &batch.id)?;
        let shelf = Shelf {
            root: root.to_owned(),
            _lock: lock,
            shelved: Mutex::new(Shelved { files, batches, running: None }),
            changed: Notify::new(),
        };
        shelf.remove_strays()?;
        Ok(shelf)
    }

    /// Contents that no file and no batch has: of uploads that broke off, of results of batches that are gone.
    fn remove_strays(&self) -> io::Result<()> {
        let shelved = self.lock();
        for entry in std::fs::read_dir(self.root.join("files"))? {
            let path = entry?.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let is_content = path.extension().is_some_and(|extension| extension == "jsonl");
            let is_known = shelved.files.contains_key(id)
                || shelved.batches.values().any(|batch| batch.output_file_id == id || batch.error_file_id == id);
            if path.extension().is_some_and(|extension| extension == "partial") || is_content && !is_known {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Shelved> {
        self.shelved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a file's content is.
    #[must_use]
    pub fn content(&self, id: &str) -> PathBuf {
        self.root.join("files").join(format!("{id}.jsonl"))
    }

    /// Until something has changed for who asks the requests.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// Too much is kept already, or the disk refuses.
    pub fn upload(&self) -> Result<Upload, ShelfError> {
        let kept = {
            let shelved = self.lock();
            if shelved.files.len() >= MAX_FILES {
                return Err(ShelfError::TooMany);
            }
            shelved.files.values().map(|file| file.n_bytes).sum::<u64>()
        };
        let file = tempfile::Builder::new().suffix(".partial").tempfile_in(self.root.join("files"))?;
        Ok(Upload { file, n_bytes: 0, room: MAX_KEPT_BYTES.saturating_sub(kept) })
    }

    /// Keeps an uploaded file.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep(&self, upload: Upload, mut file: StoredFile) -> Result<StoredFile, ShelfError> {
        upload.file.as_file().sync_all()?;
        file.n_bytes = upload.n_bytes;
        upload.file.persist(self.content(&file.id)).map_err(|error| error.error)?;
        self.shelve(file.clone())?;
        Ok(file)
    }

    /// Lets clients find a file whose content is there.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn shelve(&self, file: StoredFile) -> io::Result<()> {
        let mut shelved = self.lock();
        write(&self.root.join("files").join(format!("{}.json", file.id)), &file)?;
        shelved.files.insert(file.id.clone(), file);
        Ok(())
    }

    /// A file of this house.
    ///
    /// # Errors
    /// It has none of this id.
    pub fn file(&self, house: &str, id: &str) -> Result<StoredFile, ShelfError> {
        let found = self.lock().files.get(id).filter(|file| file.house == house).cloned();
        found.ok_or_else(|| ShelfError::NotFound { what: "file", id: shown(id) })
    }

    /// Its files, the oldest first.
    #[must_use]
    pub fn files(&self, house: &str) -> Vec<StoredFile> {
        self.lock().files.values().filter(|file| file.house == house).cloned().collect()
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// The file does not exist, or a batch still needs it.
    pub fn delete(&self, house: &str, id: &str) -> Result<(), ShelfError> {
        self.file(house, id)?;
        let mut shelved = self.lock();
        if let Some(batch) = shelved.batches.values().find(|batch| batch.needs(id)) {
            return Err(ShelfError::InUse { file: shown(id), batch: batch.id.clone(), status: batch.status });
        }
        self.remove(&mut shelved, id)?;
        Ok(())
    }

    /// The description goes first: content without one is removed at the next start.
    fn remove(&self, shelved: &mut Shelved, id: &str) -> io::Result<()> {
        shelved.files.remove(id);
        for path in [self.root.join("files").join(format!("{id}.json")), self.content(id)] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps a new batch.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn add(&self, batch: StoredBatch) -> io::Result<()> {
        let mut shelved = self.lock();
        self.write_batch(&batch)?;
        shelved.batches.insert(batch.id.clone(), batch);
        Ok(())
    }

    fn write_batch(&self, batch: &StoredBatch) -> io::Result<()> {
        write(&self.root.join("batches").join(format!("{}.json", batch.id)), batch)
    }

    /// A batch of this house.
    ///
    /// # Errors
    /// It has none of this id.
    pub fn batch(&self, house: &str, id: &str) -> Result<StoredBatch, ShelfError> {
        let found = self.lock().batches.get(id).filter(|batch| batch.house == house).cloned();
        found.ok_or_else(|| ShelfError::NotFound { what: "batch", id: shown(id) })
    }

    /// Its batches, the oldest first.
    #[must_use]
    pub fn batches(&self, house: &str) -> Vec<StoredBatch> {
        self.lock().batches.values().filter(|batch| batch.house == house).cloned().collect()
    }

    /// Changes a batch, on disk first; gives it as it is then.
    ///
    /// # Errors
    /// It is not there, or the disk refuses.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut StoredBatch)) -> Result<StoredBatch, ShelfError> {
        let mut shelved = self.lock();
        let Some(known) = shelved.batches.get_mut(id) else {
            return Err(ShelfError::NotFound { what: "batch", id: shown(id) });
        };
        let mut changed = known.clone();
        change(&mut changed);
        self.write_batch(&changed)?;
        *known = changed.clone();
        drop(shelved);
        self.changed.notify_one();
        Ok(changed)
    }

    /// Counts one more result; the files of results say the same, so that it need not be on disk.
    pub fn count(&self, id: &str, counts: impl FnOnce(&mut Counts)) {
        if let Some(batch) = self.lock().batches.get_mut(id) {
            counts(&mut batch.counts);
        }
    }

    /// How far a batch is; `None` where it is gone.
    #[must_use]
    pub fn status(&self, id: &str) -> Option<Status> {
        self.lock().batches.get(id).map(|batch| batch.status)
    }

    /// The batch to work on next: the oldest that has not ended.
    #[must_use]
    pub fn next(&self) -> Option<StoredBatch> {
        let shelved = self.lock();
        let ready = |batch: &&StoredBatch| !batch.status.is_final() && batch.status != Status::Validating;
        shelved.batches.values().find(ready).cloned()
    }

    /// Those whose file was not checked to its end.
    #[must_use]
    pub fn unchecked(&self) -> Vec<StoredBatch> {
        self.lock().batches.values().filter(|batch| batch.status == Status::Validating).cloned().collect()
    }

    /// Says which batch's requests are being asked.
    pub fn runs(&self, id: Option<String>) {
        self.lock().running = id;
    }

    #[must_use]
    pub fn is_running(&self, id: &str) -> bool {
        self.lock().running.as_deref() == Some(id)
    }

    /// Removes what is kept no longer: files past their time, and batches that ended as long ago as a file is kept.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sweep(&self, now: SystemTime) -> io::Result<()> {
        let now = seconds(now);
        let mut shelved = self.lock();
        let is_needed = |id: &str| shelved.batches.values().any(|batch| batch.needs(id));
        let old = shelved.files.values().filter(|file| file.expires_at <= now && !is_needed(&file.id));
        for id in old.map(|file| file.id.clone()).collect::<Vec<_>>() {
            self.remove(&mut shelved, &id)?;
        }
        let is_old = |batch: &&StoredBatch| {
            batch.status.is_final() && batch.expires_at.max(batch.times.created_at) + KEPT_SECONDS <= now
        };
        for id in shelved.batches.values().filter(is_old).map(|batch| batch.id.clone()).collect::<Vec<_>>() {
            std::fs::remove_file(self.root.join("batches").join(format!("{id}.json")))?;
            shelved.batches.remove(&id);
        }
        Ok(())
    }
}

/// Seconds since 1970.
#[must_use]
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// An id that no other has; later ones sort behind earlier ones.
#[must_use]
pub fn new_id(prefix: &str, now: SystemTime) -> String {
    let millis = now.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis());
    format!("{prefix}{millis:012x}{:016x}", fastrand::u64(..))
}

/// An id that a client gave, as far as a message shows it.
fn shown(id: &str) -> String {
    id.chars().take(100).collect()
}

/// The descriptions in a folder.
fn read_all<T: DeserializeOwned>(folder: &Path, id: impl Fn(&T) -> &String) -> io::Result<BTreeMap<String, T>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match serde_json::from_slice::<T>(&std::fs::read(&path)?) {
            Ok(read) => _ = all.insert(id(&read).clone(), read),
            Err(error) => tracing::warn!("`{}` cannot be read: {error}; it is left alone", path.display()),
        }
    }
    Ok(all)
}

fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().suffix(".partial").tempfile_in(folder)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
