//! A file that answers are appended to, one line or one row of a table for each record, so that work that was killed continues
//! where it ended.
//!
//! The number of complete lines says how many records are done; a torn last line is cut off. Beside the file lies another of
//! its name and `.slm`, its [`notes`]: what was asked, and of which input. The notes are written after the lines that they
//! speak of, so that they never claim more than the file has.

mod error;
mod lines;
mod notes;
mod results;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::records::{Record, Records};
use super::row::{Form, stands_for};
use crate::digest::Digest;
use lines::Lines;
use notes::Notes;

pub use error::{Foreign, JournalError};
pub use notes::Identity;
pub use results::{DoneBefore, Failures, RequestsRead, ResultsJournal};

/// How much work a loss of power may cost.
const SAVED_EVERY: Duration = Duration::from_secs(1);
/// A longer line is not compared with its record: the notes vouch for it.
const MAX_COMPARED_BYTES: u64 = 64 << 20;

/// A file for answers that nobody else writes, before it is known what they are answers to. Nothing in it was changed.
#[derive(Debug)]
pub struct JournalFile {
    file: File,
    path: PathBuf,
    n_bytes: u64,
    existing: Existing,
}

/// An open file of answers; nobody else writes it.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Complete lines, and the bytes that they take.
    n_lines: u64,
    n_bytes: u64,
    /// Lines that were there when it was opened.
    n_resumed: u64,
    asked: Identity,
    /// The digest of the records answered so far.
    input: Digest,
    saved: Instant,
}

/// What to do with a file that has answers already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    Resume,
    Overwrite,
}

impl JournalFile {
    /// Opens a file, or makes it, and locks it.
    ///
    /// # Errors
    /// It has answers and is not to be continued, or cannot take any.
    pub fn open(path: &Path, existing: Existing) -> Result<JournalFile, JournalError> {
        let file = open_alone(path)?;
        let path = path.to_owned();
        let n_bytes = match file.metadata() {
            Ok(metadata) => metadata.len(),
            Err(source) => return Err(JournalError::Io { action: "read", path, source }),
        };
        // An empty file has nothing to lose.
        if n_bytes > 0 && existing == Existing::Refuse {
            return Err(JournalError::Exists(path));
        }
        Ok(JournalFile { file, path, n_bytes, existing })
    }

    /// Makes sure that the answers in the file are those of this work, reads the records that they answer from the input, and
    /// makes the file ready for the next line: an incomplete last one is cut off.
    ///
    /// # Errors
    /// See [`JournalError`]; the file is unchanged where it is not this work's.
    pub fn begin<R: BufRead>(
        self,
        asked: Identity,
        records: &mut Records<R>,
        form: &Form,
    ) -> Result<Journal, JournalError> {
        let JournalFile { file, path, n_bytes, existing } = self;
        let (input, saved) = (Digest::of(b""), Instant::now());
        let mut journal = Journal { file, path, n_lines: 0, n_bytes: 0, n_resumed: 0, asked, input, saved };
        if n_bytes > 0 && existing == Existing::Resume {
            journal.resume(records, form)?;
        }
        journal.file.set_len(journal.n_bytes).map_err(|error| journal.io("write", error))?;
        journal.save()?;
        Ok(journal)
    }
}

impl Journal {
    fn resume<R: BufRead>(&mut self, records: &mut Records<R>, form: &Form) -> Result<(), JournalError> {
        let place = notes::beside(&self.path);
        let notes = Notes::read(&place).map_err(|error| self.io_on("read", &place, error))?;
        let notes = notes.map_err(|why| self.foreign(why))?;
        self.asked.check(&notes.asked).map_err(|why| self.foreign(why))?;
        let lines = Lines::of(&self.file, notes.bytes, form.boundary()).map_err(|error| self.io("read", error))?;
        if lines.end < notes.bytes || lines.n_before != notes.records {
            let (n_lines, n_written) = (lines.n, notes.records);
            return Err(self.foreign(Foreign::Changed { n_lines, n_written }));
        }
        for n_records in 0..lines.n {
            let Some(record) = records.next() else {
                return Err(self.foreign(Foreign::Longer { n_lines: lines.n, n_records }));
            };
            let record = record.map_err(JournalError::Input)?;
            self.input = chained(self.input, record.digest);
            if n_records + 1 == notes.records && self.input != notes.input {
                return Err(self.foreign(Foreign::Input(notes.records)));
            }
            if n_records + 1 == lines.n {
                self.check_last(&lines, record, form)?;
            }
        }
        (self.n_lines, self.n_bytes, self.n_resumed) = (lines.n, lines.end, lines.n);
        Ok(())
    }

    /// The last line may be younger than the notes; an object shows whose answer it is.
    fn check_last(&mut self, lines: &Lines, record: Record, form: &Form) -> Result<(), JournalError> {
        let n_bytes = lines.end - lines.last;
        if n_bytes > MAX_COMPARED_BYTES {
            return Ok(());
        }
        let mut line = Vec::new();
        let mut read = || {
            self.file.seek(SeekFrom::Start(lines.last))?;
            (&self.file).take(n_bytes).read_to_end(&mut line)
        };
        read().map_err(|error| self.io("read", error))?;
        if stands_for(&String::from_utf8_lossy(&line), form, record) {
            Ok(())
        } else {
            Err(self.foreign(Foreign::Line(lines.n)))
        }
    }

    /// Appends the answer to the record that comes next, in one piece.
    ///
    /// # Errors
    /// The file cannot be written; it keeps complete lines.
    pub fn append(&mut self, record: Digest, line: &str) -> Result<(), JournalError> {
        let line = format!("{line}\n");
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Where this fails too, the next resumption cuts the incomplete line off.
            let _ = self.file.set_len(self.n_bytes);
            return Err(self.io("write", error));
        }
        self.n_bytes += line.len() as u64;
        self.n_lines += 1;
        self.input = chained(self.input, record);
        if self.saved.elapsed() >= SAVED_EVERY { self.save() } else { Ok(()) }
    }

    /// Makes what was appended outlast a loss of power.
    ///
    /// # Errors
    /// The file or its notes cannot be written.
    pub fn save(&mut self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(|error| self.io("write", error))?;
        let notes = Notes { asked: self.asked.clone(), records: self.n_lines, bytes: self.n_bytes, input: self.input };
        let place = notes::beside(&self.path);
        notes.write(&place).map_err(|error| self.io_on("write", &place, error))?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Lines that were there when the file was opened.
    #[must_use]
    pub fn n_resumed(&self) -> u64 {
        self.n_resumed
    }

    fn foreign(&self, why: Foreign) -> JournalError {
        JournalError::Foreign { path: self.path.clone(), why }
    }

    fn io(&self, action: &'static str, source: io::Error) -> JournalError {
        self.io_on(action, &self.path, source)
    }

    fn io_on(&self, action: &'static str, path: &Path, source: io::Error) -> JournalError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                JournalError::DiskFull { path: self.path.clone(), n_lines: self.n_lines }
            }
            _ => JournalError::Io { action, path: path.to_owned(), source },
        }
    }
}

/// Opens or makes a file that nobody else is writing.
fn open_alone(path: &Path) -> Result<File, JournalError> {
    let io = |action| move |source| JournalError::Io { action, path: path.to_owned(), source };
    // Opening a pipe for writing would wait for its reader.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(JournalError::NoFile(path.to_owned()));
    }
    let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io("open"))?;
    match file.try_lock() {
        // Whoever held it may have put another file in its place meanwhile.
        Ok(()) if !is_at(&file, path) => Err(JournalError::Busy(path.to_owned())),
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Busy(path.to_owned())),
        // A disk without locks (some network disks) is used without.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(io("lock")(error)),
    }
}

/// Whether this is the file that a path leads to.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (own, there) = (file.metadata().map(identity), std::fs::metadata(path).map(identity));
    matches!((own, there), (Ok(own), Ok(there)) if own == there)
}

/// The digest of records in their order: that of all before and the next.
fn chained(input: Digest, record: Digest) -> Digest {
    Digest::of(format!("{input} {record}").as_bytes())
}
