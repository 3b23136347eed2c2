//! A file that is appended to line by line and renamed when it is long enough. A line is in it whole or not at all.
//!
//! Every line is handed to the system at once, so that a killed process loses nothing; the disk is waited for only when a file is
//! finished, so that a loss of power may cost the last seconds.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Settings;

/// The file that is written now.
#[derive(Debug)]
pub struct RotatedFile {
    settings: Settings,
    file: File,
    /// Bytes of whole lines.
    n_bytes: u64,
}

impl RotatedFile {
    /// Opens it behind what is there.
    pub fn open(settings: Settings) -> io::Result<RotatedFile> {
        let (file, n_bytes) = opened(&settings.path)?;
        Ok(RotatedFile { settings, file, n_bytes })
    }

    pub fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Writes a line that ends with its line break.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.is_in_place() {
            (self.file, self.n_bytes) = opened(&self.settings.path)?;
        }
        let n_line = line.len() as u64;
        if self.n_bytes > 0 && self.n_bytes + n_line > self.settings.max_bytes {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(line) {
            // Half of a line would spoil the next one. A device cannot be cut, and keeps nothing either.
            let _ = self.file.set_len(self.n_bytes);
            return Err(error);
        }
        self.n_bytes += n_line;
        Ok(())
    }

    /// Waits until the disk has all lines.
    pub fn close(self) {
        // Nobody is left to be told.
        let _ = self.file.sync_data();
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let Settings { path, n_kept, .. } = &self.settings;
        if *n_kept == 0 {
            std::fs::remove_file(path)?;
        }
        for n in (0..*n_kept).rev() {
            match std::fs::rename(nth(path, n), nth(path, n + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        (self.file, self.n_bytes) = opened(path)?;
        Ok(())
    }

    /// Whether the path still leads to the file: another program may have moved it.
    #[cfg(unix)]
    fn is_in_place(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let [there, here] =
            [std::fs::metadata(&self.settings.path), self.file.metadata()].map(|found| found.map(identity).ok());
        there.is_some() && there == here
    }

    #[cfg(not(unix))]
    fn is_in_place(&self) -> bool {
        self.settings.path.exists()
    }
}

/// A file for lines and its length, for its owner alone where it is new. A torn last line is given its end.
fn opened(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let n_bytes = file.metadata()?.len();
    if n_bytes > 0 && last_byte(&file, n_bytes)? != b'\n' {
        file.write_all(b"\n")?;
        return Ok((file, n_bytes + 1));
    }
    Ok((file, n_bytes))
}

fn last_byte(mut file: &File, n_bytes: u64) -> io::Result<u8> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut byte = [0];
    file.seek(SeekFrom::Start(n_bytes - 1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// The file itself (0), or an older one.
#[must_use]
pub fn nth(path: &Path, n: u32) -> PathBuf {
    if n == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}
