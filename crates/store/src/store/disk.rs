//! Files that are written completely or not at all, and the lock of their writers; it knows no models.

use super::{Store, StoreError};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const PARTIAL_PREFIX: &str = ".slm-";
const PARTIAL_SUFFIX: &str = ".partial";
const LOCK: &str = ".slm.lock";

/// The right to write, held together with other writers.
pub(super) struct Writing {
    _lock: File,
}

/// The right to remove, held alone.
pub(super) struct Removing {
    _lock: File,
}

impl Store {
    /// Waits until nobody removes, and clears away what writers that died have left behind.
    pub(super) fn begin_writing(&self) -> Result<Writing, StoreError> {
        create_folder(&self.blobs(), &self.root)?;
        let (lock, path) = self.open_lock()?;
        match lock.try_lock() {
            // Alone: whatever is partial now belongs to nobody.
            Ok(()) => {
                self.remove_leftovers();
                lock.unlock().map_err(io_error("unlock", &path))?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return unlockable(lock, error, &path).map(|lock| Writing { _lock: lock });
            }
        }
        lock.lock_shared().map_err(io_error("lock", &path))?;
        Ok(Writing { _lock: lock })
    }

    /// Waits until nobody writes.
    pub(super) fn begin_removing(&self) -> Result<Removing, StoreError> {
        let (lock, path) = self.open_lock()?;
        match lock.lock() {
            Ok(()) => Ok(Removing { _lock: lock }),
            Err(error) => unlockable(lock, error, &path).map(|lock| Removing { _lock: lock }),
        }
    }

    fn open_lock(&self) -> Result<(File, PathBuf), StoreError> {
        let path = self.root.join(LOCK);
        remove_link(&path).map_err(io_error("remove", &path))?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        Ok((file.map_err(io_error("open", &path))?, path))
    }

    fn remove_leftovers(&self) {
        self.leftovers().iter().for_each(|path| remove_leftover(path));
    }

    /// What is half written; while someone writes, some of it is theirs.
    pub(super) fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = self.stale_incoming();
        let mut folders = vec![(self.blobs(), 0), (self.manifests(), 3), (self.notes(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with(PARTIAL_PREFIX) && name.ends_with(PARTIAL_SUFFIX) {
                    found.push(entry.path());
                } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push((entry.path(), depth - 1));
                }
            }
        }
        found
    }
}

/// Removes what nobody needs, as well as it goes: it takes space and does no other harm.
pub(super) fn remove_leftover(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("a leftover cannot be removed: `{}`: {error}", path.display());
        }
        _ => {}
    }
}

/// Removes a link from where the store writes a file of its own: what it leads to is someone else's.
pub(super) fn remove_link(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// The names and paths of a folder's files; links and everything else that is not a regular file are left out.
pub(super) fn regular_files(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

/// A file in the making, beside its place; dropped before it is kept, it is gone.
pub(super) struct Partial {
    pub file: File,
    path: PathBuf,
}

impl Partial {
    /// An empty file in a folder that exists.
    pub(super) fn in_folder(folder: &Path, _writing: &Writing) -> Result<Partial, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{PARTIAL_PREFIX}{}-{n}{PARTIAL_SUFFIX}", std::process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Partial { file, path }),
                // A process of the same number, in another container on the same disk.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io_error("create", &path)(error)),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the file to its place, in the same folder, once its bytes are safe.
    pub(super) fn keep(self, place: &Path) -> Result<(), StoreError> {
        self.file.sync_all().map_err(io_error("write", place))?;
        fs::rename(&self.path, place).map_err(io_error("write", place))?;
        if let Some(folder) = place.parent() {
            sync_folder(folder)?;
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After `keep` there is nothing of this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes a small file whole.
pub(super) fn write(place: &Path, bytes: &[u8], writing: &Writing) -> Result<(), StoreError> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let mut partial = Partial::in_folder(folder, writing)?;
    partial.file.write_all(bytes).map_err(io_error("write", place))?;
    partial.keep(place)
}

/// Makes a folder below `root` with all above it, so that they outlast a crash.
pub(super) fn create_folder(folder: &Path, root: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(io_error("create", folder))?;
    let above = folder.ancestors().skip(1).take_while(|above| above.starts_with(root));
    above.chain(root.parent().filter(|above| !above.as_os_str().is_empty())).try_for_each(sync_folder)
}

/// The bytes of a file of at most `limit`; `None` where it does not exist, and an error of `InvalidData` where it is longer.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if bytes.len() as u64 > limit {
        let error = io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {limit} bytes"));
        return Err(io_error("read", path)(error));
    }
    Ok(Some(bytes))
}

/// That a path leads nowhere, a file in a folder's place included.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The store's error for an io error on `path`.
pub(super) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StoreError + 'a {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::DiskFull { path: path.to_owned(), needed_bytes: None, free_bytes: None }
        }
        _ => StoreError::Io { action, path: path.to_owned(), source },
    }
}

/// A rename is safe once its folder is.
#[cfg(unix)]
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", folder))
}

/// Windows cannot open folders for this, and its renames need no such step.
#[cfg(not(unix))]
pub(super) fn sync_folder(_folder: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// A disk without locks (some network disks) is used without; any other failure is one.
fn unlockable(lock: File, error: io::Error, path: &Path) -> Result<File, StoreError> {
    match error.kind() {
        io::ErrorKind::Unsupported => Ok(lock),
        _ => Err(io_error("lock", path)(error)),
    }
}

/// Before bytes are written at or below a path that need not exist yet: whether its disk has room for them, as far as it
/// says.
pub(super) fn has_room(path: &Path, needed_bytes: u64) -> Result<(), StoreError> {
    let there = path.ancestors().find(|above| above.exists());
    match there.and_then(free_bytes) {
        Some(free_bytes) if free_bytes < needed_bytes => Err(StoreError::DiskFull {
            path: path.to_owned(),
            needed_bytes: Some(needed_bytes),
            free_bytes: Some(free_bytes),
        }),
        _ => Ok(()),
    }
}

/// The bytes that the disk of a file has left for us; `None` where it does not say.
#[cfg(unix)]
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(unix))]
pub(super) fn free_bytes(_path: &Path) -> Option<u64> {
    None
}

/// Lets the disk begin to write a range of a file, so that the sync at the end has little left to do.
#[cfg(target_os = "linux")]
pub(super) fn start_writeback(file: &File, range: std::ops::Range<u64>) {
    let n_bytes = NonZeroU64::new(range.end - range.start);
    // Linux begins to write what is dirty in such a range, and drops what is clean: of bytes just written nothing is. A hint: a
    // disk that cannot do it says so, and nothing is lost.
    let _ = rustix::fs::fadvise(file, range.start, n_bytes, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn start_writeback(_file: &File, _range: std::ops::Range<u64>) {}
