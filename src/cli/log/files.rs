//! The files of a log of decisions: the one that is written and the older ones, read from the oldest line to the youngest.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::api::decision_log::nth;
use crate::failure::Failure;

/// Open files, the oldest first: what is renamed from now on stays as it is here.
#[derive(Debug)]
pub struct LogFiles(Vec<(PathBuf, File)>);

impl LogFiles {
    /// Opens the log and its older files.
    ///
    /// # Errors
    /// There is no log, or a file of it cannot be read.
    pub fn open(log: &Path) -> Result<LogFiles, Failure> {
        // The youngest first: one that is renamed meanwhile is met again under its next name, and is known by then.
        let (mut files, mut known) = (Vec::new(), HashSet::new());
        for n in 0.. {
            let path = nth(log, n);
            let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
            match opened {
                Ok((metadata, file)) => {
                    if known.insert((metadata.dev(), metadata.ino())) {
                        files.push((path, file));
                    }
                }
                // During a rotation the newest file is missing for a moment.
                Err(error) if error.kind() == ErrorKind::NotFound && n == 0 => {}
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(unreadable(&path, &error)),
            }
        }
        if files.is_empty() {
            let path = log.display();
            return Err(Failure::failed(format!(
                "there is no log of decisions at `{path}`; `slm serve --decisions FILE` writes one"
            )));
        }
        files.reverse();
        Ok(LogFiles(files))
    }

    /// Gives every line.
    ///
    /// # Errors
    /// A file cannot be read, or what `take` fails with.
    pub fn lines(self, mut take: impl FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut line = Vec::new();
        for (path, file) in self.0 {
            let mut reader = BufReader::with_capacity(1 << 16, file);
            loop {
                line.clear();
                match reader.read_until(b'\n', &mut line) {
                    Ok(0) => break,
                    Ok(_) => take(String::from_utf8_lossy(&line).trim_end())?,
                    Err(error) => return Err(unreadable(&path, &error)),
                }
            }
        }
        Ok(())
    }
}

/// The failure of a file that cannot be read.
#[must_use]
pub fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot read `{}`: {error}", path.display()))
}
