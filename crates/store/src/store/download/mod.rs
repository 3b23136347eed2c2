//! A blob being downloaded: its bytes arrive in any order, survive the process, and are hashed before they are used.
//!
//! A download is two files under `.slm-downloads`: the bytes at their final offsets, and a journal of how many bytes of
//! each part are there. Whoever downloads holds the lock of the first. The journal is written after the bytes, so a
//! killed process loses at most what it had not yet written; that nothing else is wrong with the bytes (a power cut, a
//! damaged disk) is never assumed: they are hashed from the disk when the blob is finished.

mod parts;
#[cfg(test)]
mod tests;

use super::disk::{self, Writing, io_error};
use super::{Store, StoreError, shards};
use parts::Parts;
use slm_values::digest::{Digest, Hasher};
use slm_values::manifest::Layer;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use parts::PART_BYTES;

const FOLDER: &str = ".slm-downloads";
const JOURNAL_SUFFIX: &str = ".parts";

/// The name of a download: what its bytes are known by before they are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadKey {
    /// The digest of the whole.
    Digest(Digest),
    /// The digest of an address and a version; the bytes' own digest is found at the end.
    Source(Digest),
}

/// A blob that is being downloaded, locked against other processes.
#[derive(Debug)]
pub struct Download {
    wanted: DownloadKey,
    n_bytes: u64,
    data: File,
    journal: File,
    data_path: PathBuf,
    parts: Parts,
}

/// What became of an attempt to download.
#[derive(Debug)]
pub enum Begun {
    Ours(Download),
    /// Another process has it.
    Busy,
}

impl Store {
    /// Takes up a download where it was left, or begins it.
    ///
    /// # Errors
    /// [`StoreError`] where the disk refuses, or has no room for what is missing.
    pub fn download(&self, wanted: DownloadKey, n_bytes: u64) -> Result<Begun, StoreError> {
        let folder = self.downloads();
        disk::create_folder(&folder, &self.root)?;
        let data_path = folder.join(file_name(wanted));
        let journal_path = with_suffix(&data_path);
        for path in [&data_path, &journal_path] {
            disk::remove_link(path).map_err(io_error("remove", path))?;
        }
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let data = open.open(&data_path).map_err(io_error("open", &data_path))?;
        match data.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Begun::Busy),
            // A disk without locks is used without.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(io_error("lock", &data_path)(error)),
        }
        if !is_at(&data, &data_path) {
            // Its last owner finished or removed it between our open and our lock.
            return Ok(Begun::Busy);
        }
        let journal = open.open(&journal_path).map_err(io_error("open", &journal_path))?;
        let mut download = Download { wanted, n_bytes, data, journal, data_path, parts: Parts::none(0) };
        if let Err(error) = download.read_journal().and_then(|()| download.reserve()) {
            if download.done_bytes() == 0 {
                download.discard();
            }
            return Err(error);
        }
        Ok(Begun::Ours(download))
    }

    pub(super) fn downloads(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    /// The bytes of a download that are on the disk already; 0 where none was begun.
    #[must_use]
    pub fn downloaded_bytes(&self, wanted: DownloadKey, n_bytes: u64) -> u64 {
        let journal = with_suffix(&self.downloads().join(file_name(wanted)));
        fs::read(journal).ok().and_then(|bytes| Parts::parse(&bytes, n_bytes)).map_or(0, |parts| parts.done_bytes())
    }

    /// Makes a finished download a blob of a layer of that media type. Its bytes were hashed by [`Reader::hash`].
    ///
    /// # Errors
    /// [`StoreError::OtherBytes`] where they are not those that were wanted; then the download is empty again. Others
    /// where they are not what the media type says; then nothing is left of it.
    pub fn finish_download(
        &self,
        mut download: Download,
        found: Digest,
        media_type: &str,
    ) -> Result<Digest, StoreError> {
        if let DownloadKey::Digest(expected) = download.wanted
            && expected != found
        {
            download.clear()?;
            return Err(StoreError::OtherBytes { expected, found });
        }
        if let Err(error) = shards::check_file(&download.data_path, &Layer::new(media_type, found, download.n_bytes)) {
            download.discard();
            return Err(error);
        }
        let writing = self.begin_writing()?;
        download.keep(&self.blob_path(&found), &writing)?;
        Ok(found)
    }
}

impl Download {
    #[must_use]
    pub fn wanted(&self) -> DownloadKey {
        self.wanted
    }

    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// The bytes that are there.
    #[must_use]
    pub fn done_bytes(&self) -> u64 {
        self.parts.done_bytes()
    }

    /// The ranges of bytes that are missing, in order.
    #[must_use]
    pub fn missing(&self) -> Vec<Range<u64>> {
        self.parts.missing()
    }

    /// How many bytes from the start are there without a hole.
    #[must_use]
    pub fn frontier(&mut self) -> u64 {
        self.parts.frontier()
    }

    /// Writes bytes where they belong: after what their part holds already.
    ///
    /// # Errors
    /// The disk is full or broken.
    ///
    /// # Panics
    /// Where the bytes reach beyond the end or leave a hole in a part: the caller follows [`Download::missing`].
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        assert!(at + bytes.len() as u64 <= self.n_bytes, "bytes beyond the end of a download");
        let failed = io_error("write", &self.data_path);
        write_at(&self.data, at, bytes).map_err(&failed)?;
        for change in self.parts.add(at..at + bytes.len() as u64) {
            write_at(&self.journal, change.at, &change.bytes).map_err(&failed)?;
        }
        Ok(())
    }

    /// Forgets all bytes.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn clear(&mut self) -> Result<(), StoreError> {
        self.parts = Parts::none(self.n_bytes);
        self.write_journal()
    }

    /// Gives the download up with what it holds.
    pub fn discard(self) {
        // Best effort: what stays is swept later. The lock holds until both are gone.
        let _ = fs::remove_file(with_suffix(&self.data_path));
        let _ = fs::remove_file(&self.data_path);
    }

    /// The file, to be read while it is written.
    ///
    /// # Errors
    /// The system has no more files.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        let file = self.data.try_clone().map_err(io_error("read", &self.data_path))?;
        Ok(Reader { file, path: self.data_path.clone() })
    }

    fn read_journal(&mut self) -> Result<(), StoreError> {
        let bytes = fs::read(with_suffix(&self.data_path)).map_err(io_error("read", &self.data_path))?;
        let data_len = self.data.metadata().map_err(io_error("read", &self.data_path))?.len();
        match Parts::parse(&bytes, self.n_bytes) {
            Some(parts) if data_len == self.n_bytes => self.parts = parts,
            _ => {
                // Another size or no journal: nothing of it can be trusted. A size is someone's claim: without the room
                // for it there is no list of its parts either.
                disk::has_room(&self.data_path, self.n_bytes)?;
                self.clear()?;
            }
        }
        Ok(())
    }

    fn write_journal(&mut self) -> Result<(), StoreError> {
        let failed = io_error("write", &self.data_path);
        self.journal.set_len(0).map_err(&failed)?;
        write_at(&self.journal, 0, &self.parts.journal()).map_err(failed)
    }

    /// Gives the file its length, after a look at the free space.
    fn reserve(&self) -> Result<(), StoreError> {
        disk::has_room(&self.data_path, self.n_bytes - self.done_bytes())?;
        self.data.set_len(self.n_bytes).map_err(io_error("write", &self.data_path))
    }

    fn keep(self, place: &Path, _writing: &Writing) -> Result<(), StoreError> {
        self.data.sync_all().map_err(io_error("write", place))?;
        fs::rename(&self.data_path, place).map_err(io_error("write", place))?;
        disk::sync_folder(place.parent().expect("a blob lies in a folder"))?;
        // Without its bytes the journal says nothing.
        let _ = fs::remove_file(with_suffix(&self.data_path));
        Ok(())
    }
}

/// The bytes of a download, read while others are written.
#[derive(Debug)]
pub struct Reader {
    file: File,
    path: PathBuf,
}

impl Reader {
    /// Hashes a range of bytes, and lets the disk begin to write them.
    ///
    /// # Errors
    /// The disk cannot read them.
    pub fn hash(&self, range: Range<u64>, hasher: &mut Hasher, chunk: &mut [u8]) -> Result<(), StoreError> {
        disk::start_writeback(&self.file, range.clone());
        let mut at = range.start;
        while at < range.end {
            let n = usize::try_from(range.end - at).map_or(chunk.len(), |left| left.min(chunk.len()));
            read_exact_at(&self.file, at, &mut chunk[..n]).map_err(io_error("read", &self.path))?;
            hasher.update(&chunk[..n]);
            at += n as u64;
        }
        Ok(())
    }
}

fn file_name(wanted: DownloadKey) -> String {
    match wanted {
        DownloadKey::Digest(digest) => digest.file_name(),
        // Nothing but the journal speaks for these bytes, and a crash of the system may lose bytes that it tells of.
        DownloadKey::Source(digest) => {
            let name = format!("{digest} {}", boot());
            format!("source-{}", Digest::of(name.as_bytes()).hex())
        }
    }
}

/// What tells this start of the system from others; empty where it does not say.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

fn with_suffix(data: &Path) -> PathBuf {
    let mut path = data.as_os_str().to_owned();
    path.push(JOURNAL_SUFFIX);
    PathBuf::from(path)
}

/// Whether the open file is still the one of that path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(unix)]
fn write_at(file: &File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(unix)]
fn read_exact_at(file: &File, at: u64, bytes: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::{Seek as _, SeekFrom, Write as _};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, at: u64, bytes: &mut [u8]) -> std::io::Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}
