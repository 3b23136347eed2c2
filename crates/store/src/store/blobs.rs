//! Blobs: files named by their hash. It imports and writes them, and does not know which model needs them.

use super::disk::{self, Partial, Writing, free_bytes, io_error};
use super::{Store, StoreError};
use slm_values::digest::{Digest, Hasher};
use slm_values::gguf::{AdapterHeader, GgufError, Header};
use slm_values::progress::Progress;
use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

const CHUNK_BYTES: usize = 1 << 20;

/// A GGUF file that has become a blob.
#[derive(Debug, Clone)]
pub struct Imported<H = Header> {
    pub digest: Digest,
    pub n_bytes: u64,
    pub header: H,
}

/// Reads and checks the header of a file that is to be a blob.
type HeaderOf<'h, H> = &'h dyn Fn(&mut File, &Path) -> Result<H, StoreError>;

impl Store {
    /// Copies a GGUF file into the store. Its header is checked before, and the blob's own bytes are what is hashed. The
    /// copy shares blocks with the file where the disk can do so, and never its inode: a file that is rewritten in place
    /// leaves the blob as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the file is not a model, or cannot be copied; then the store is as it was.
    pub fn import_gguf(&self, path: &Path, progress: &dyn Progress) -> Result<Imported, StoreError> {
        let writing = self.begin_writing()?;
        self.import(path, &model_header, progress, &writing)
    }

    pub(super) fn import<H>(
        &self,
        path: &Path,
        header_of: HeaderOf<'_, H>,
        progress: &dyn Progress,
        writing: &Writing,
    ) -> Result<Imported<H>, StoreError> {
        let mut source = open_regular(path)?;
        let n_bytes = source.metadata().map_err(io_error("read", path))?.len();
        let header = header_of(&mut source, path)?;
        if self.has_blob_of(n_bytes) {
            let digest = hash(&mut source, path, progress)?;
            if self.verified(&digest, progress) {
                return Ok(Imported { digest, n_bytes, header });
            }
        }
        let mut partial = Partial::in_folder(&self.blobs(), writing)?;
        copy(&mut source, path, &mut partial, n_bytes, progress)?;
        // From here on only the copy is looked at: the file may change under us.
        let copy_len = partial.file.metadata().map_err(io_error("read", partial.path()))?.len();
        if copy_len != n_bytes {
            return Err(StoreError::Changed(path.to_owned()));
        }
        let header = header_of(&mut partial.file, path)?;
        let copy_path = partial.path().to_owned();
        let digest = hash(&mut partial.file, &copy_path, progress)?;
        partial.keep(&self.blob_path(&digest))?;
        Ok(Imported { digest, n_bytes, header })
    }

    /// Makes bytes a blob, unless they are one.
    pub(super) fn put(&self, bytes: &[u8], writing: &Writing) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let place = self.blob_path(&digest);
        let present = disk::read(&place, bytes.len() as u64);
        if !matches!(present, Ok(Some(present)) if present == bytes) {
            disk::write(&place, bytes, writing)?;
        }
        Ok(digest)
    }

    /// Whether a blob of that size is there: only then it is worth hashing a file before it is copied.
    fn has_blob_of(&self, n_bytes: u64) -> bool {
        let entries = std::fs::read_dir(self.blobs()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).any(|blob| blob.is_file() && blob.len() == n_bytes)
    }
}

/// A path that a Modelfile names, relative to its folder.
pub(super) fn path_in(folder: &Path, path: &str) -> Result<PathBuf, StoreError> {
    if path.starts_with('~') {
        return Err(StoreError::HomePath(path.to_owned()));
    }
    Ok(folder.join(path))
}

/// Opens a file that someone named.
pub(super) fn open_regular(path: &Path) -> Result<File, StoreError> {
    // Before the file is opened: to open a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(io_error("read", path))?.is_file() {
        return Err(StoreError::NotAFile(path.to_owned()));
    }
    File::open(path).map_err(io_error("read", path))
}

/// The header of a file that is to be a model, read from its start.
pub(super) fn model_header(file: &mut File, path: &Path) -> Result<Header, StoreError> {
    let header = from_start(file, path, Header::read)?;
    let header = header.map_err(|source| StoreError::Gguf { path: path.to_owned(), source })?;
    if header.tensors.is_empty() {
        return Err(StoreError::VocabularyOnly(path.to_owned()));
    }
    Ok(header)
}

/// The header of the model in the binary.
pub(super) fn embedded_header(bytes: &[u8]) -> Result<Header, StoreError> {
    Header::read(bytes, bytes.len() as u64)
        .map_err(|source| StoreError::Gguf { path: PathBuf::from("(embedded)"), source })
}

/// The header of a file that is to be an adapter, read from its start.
pub(super) fn adapter_header(file: &mut File, path: &Path) -> Result<AdapterHeader, StoreError> {
    let header = from_start(file, path, AdapterHeader::read)?;
    header.map_err(|source| StoreError::Adapter { path: path.to_owned(), source })
}

pub(super) fn from_start<'f, H>(
    file: &'f mut File,
    path: &Path,
    read: impl Fn(BufReader<&'f mut File>, u64) -> Result<H, GgufError>,
) -> Result<Result<H, GgufError>, StoreError> {
    file.rewind().map_err(io_error("read", path))?;
    let file_len = file.metadata().map_err(io_error("read", path))?.len();
    Ok(read(BufReader::with_capacity(1 << 16, file), file_len))
}

/// Fills `partial` with the file's bytes: by sharing blocks where the disk can, else by copying.
fn copy(
    source: &mut File,
    path: &Path,
    partial: &mut Partial,
    n_bytes: u64,
    progress: &dyn Progress,
) -> Result<(), StoreError> {
    if reflink_copy::reflink_file(source, &partial.file).is_ok() {
        return Ok(());
    }
    // A failed attempt leaves the file's content unspecified.
    let place = partial.path().to_owned();
    let written = io_error("write", &place);
    partial.file.set_len(0).map_err(&written)?;
    partial.file.rewind().map_err(&written)?;
    source.rewind().map_err(io_error("read", path))?;
    disk::has_room(&place, n_bytes)?;
    progress.start("copying", n_bytes);
    let copied = each_chunk(source, path, |chunk| {
        progress.advance(chunk.len() as u64);
        partial.file.write_all(chunk).map_err(|error| match io_error("write", &place)(error) {
            StoreError::DiskFull { path, .. } => {
                let free_bytes = free_bytes(&path);
                StoreError::DiskFull { path, needed_bytes: Some(n_bytes), free_bytes }
            }
            error => error,
        })
    });
    progress.finish();
    copied
}

pub(super) fn hash(file: &mut File, path: &Path, progress: &dyn Progress) -> Result<Digest, StoreError> {
    file.rewind().map_err(io_error("read", path))?;
    progress.start("hashing", file.metadata().map_err(io_error("read", path))?.len());
    let mut hasher = Hasher::new();
    let hashed = each_chunk(file, path, |chunk| {
        progress.advance(chunk.len() as u64);
        hasher.update(chunk);
        Ok(())
    });
    progress.finish();
    hashed.map(|()| hasher.finish())
}

/// Gives the rest of a file to `take`, piece by piece.
pub(super) fn each_chunk(
    file: &mut File,
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n) => take(&chunk[..n])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io_error("read", path)(error)),
        }
    }
}
