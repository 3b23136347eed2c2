//! Results of a batch, which name the requests that they answer: in any order, and where it is wanted those that failed in a file
//! of their own. What is done is what stands in the files.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::notes::{self, Identity, Notes};
use super::{Existing, Foreign, JournalError, JournalFile, SAVED_EVERY, open_alone};
use crate::api::batches::plan::{IdMark, Plan};
use crate::api::batches::results::{Complete, ResultFile};
use crate::digest::Digest;

/// Open files of a batch's results; nobody else writes them.
#[derive(Debug)]
pub struct ResultsJournal {
    results: Part,
    /// Where requests that failed are kept apart.
    errors: Option<Part>,
    notes: Notes,
    saved: Instant,
}

#[derive(Debug)]
struct Part {
    file: ResultFile,
    path: PathBuf,
}

/// The requests of an input, as far as a file of results has to know it again.
#[derive(Debug, Clone, Copy)]
pub struct RequestsRead {
    pub n: u64,
    pub digest: Digest,
    /// The digest of as many as were read when the file was begun.
    pub digest_before: Option<Digest>,
}

impl RequestsRead {
    #[must_use]
    pub fn of(plan: &Plan) -> RequestsRead {
        RequestsRead { n: plan.n_lines, digest: plan.digest, digest_before: plan.digest_before }
    }
}

/// What becomes of requests that failed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failures {
    Stay,
    AreAskedAgain,
}

/// What is done.
#[derive(Debug, Default)]
pub struct DoneBefore {
    pub ids: HashSet<IdMark>,
    pub n_failed: u64,
}

impl JournalFile {
    /// Of how many requests the results in the file were begun; `None` where there is nothing to continue.
    ///
    /// # Errors
    /// What was asked is not known.
    pub fn n_requests(&self) -> Result<Option<u64>, JournalError> {
        if self.existing != Existing::Resume || !notes::beside(&self.path).exists() {
            return Ok(None);
        }
        Ok(Some(self.notes()?.records))
    }

    fn notes(&self) -> Result<Notes, JournalError> {
        let place = notes::beside(&self.path);
        let notes = Notes::read(&place).map_err(|source| JournalError::Io { action: "read", path: place, source })?;
        notes.map_err(|why| JournalError::Foreign { path: self.path.clone(), why })
    }
}

impl ResultsJournal {
    /// Makes sure that what is in the files are results of this work, and makes them ready for the next.
    ///
    /// # Errors
    /// See [`JournalError`]; the files are unchanged where they are not this work's.
    pub fn begin(
        files: (JournalFile, Option<JournalFile>),
        asked: Identity,
        input: RequestsRead,
        failures: Failures,
    ) -> Result<(ResultsJournal, DoneBefore), JournalError> {
        let (results, errors) = files;
        let n_bytes = results.n_bytes + errors.as_ref().map_or(0, |errors| errors.n_bytes);
        let mut done = DoneBefore::default();
        let notes = Notes { asked, records: input.n, bytes: 0, input: input.digest };
        let (results, errors) = if n_bytes > 0 && results.existing == Existing::Resume {
            check(&results, &notes, input)?;
            if failures == Failures::AreAskedAgain {
                // A kill from here on leaves files with fewer results, of which the notes must not claim more.
                write(&notes, &results.path)?;
            }
            let results = results.continued(failures, &mut done)?;
            (results, errors.map(|errors| errors.continued(failures, &mut done)).transpose()?)
        } else {
            (results.emptied()?, errors.map(JournalFile::emptied).transpose()?)
        };
        let mut journal = ResultsJournal { results, errors, notes, saved: Instant::now() };
        journal.save()?;
        Ok((journal, done))
    }

    /// Appends a result, in one piece.
    ///
    /// # Errors
    /// The file cannot be written; it keeps complete lines.
    pub fn append(&mut self, line: &str) -> Result<(), JournalError> {
        self.results.append(line)?;
        self.saved_lately()
    }

    /// Appends the result of a request that failed.
    ///
    /// # Errors
    /// As [`ResultsJournal::append`].
    pub fn append_failed(&mut self, line: &str) -> Result<(), JournalError> {
        self.errors.as_mut().unwrap_or(&mut self.results).append(line)?;
        self.saved_lately()
    }

    fn saved_lately(&mut self) -> Result<(), JournalError> {
        if self.saved.elapsed() >= SAVED_EVERY { self.save() } else { Ok(()) }
    }

    /// Makes what was appended outlast a loss of power.
    ///
    /// # Errors
    /// The files or the notes cannot be written.
    pub fn save(&mut self) -> Result<(), JournalError> {
        for part in [Some(&self.results), self.errors.as_ref()].into_iter().flatten() {
            part.file.sync().map_err(|error| part.io("write", error))?;
        }
        self.notes.bytes = self.results.file.complete().n_bytes;
        write(&self.notes, &self.results.path)?;
        self.saved = Instant::now();
        Ok(())
    }
}

fn write(notes: &Notes, results: &Path) -> Result<(), JournalError> {
    let place = notes::beside(results);
    notes.write(&place).map_err(|source| JournalError::Io { action: "write", path: place, source })
}

/// Holds what the files were begun with against what is asked now.
fn check(results: &JournalFile, now: &Notes, input: RequestsRead) -> Result<(), JournalError> {
    let foreign = |why| JournalError::Foreign { path: results.path.clone(), why };
    let then = results.notes()?;
    now.asked.check(&then.asked).map_err(foreign)?;
    let is_same = then.records == input.n && then.input == input.digest || input.digest_before == Some(then.input);
    if !is_same {
        return Err(foreign(Foreign::Requests(then.records)));
    }
    let complete = Complete::of(&results.file, |_, _| ()).map_err(|error| results.io("read", error))?;
    if complete.n_bytes < then.bytes {
        return Err(foreign(Foreign::Shorter { n_bytes: complete.n_bytes, n_written: then.bytes }));
    }
    Ok(())
}

impl JournalFile {
    fn emptied(self) -> Result<Part, JournalError> {
        self.part(Complete::default())
    }

    fn part(self, complete: Complete) -> Result<Part, JournalError> {
        let JournalFile { file, path, .. } = self;
        match ResultFile::continued(file, complete) {
            Ok(file) => Ok(Part { file, path }),
            Err(error) => Err(io_on("write", &path, complete.n_lines, error)),
        }
    }

    /// Takes note of what is in the file, and cuts off what is not complete.
    fn continued(self, failures: Failures, done: &mut DoneBefore) -> Result<Part, JournalError> {
        let mut n_failed = 0;
        let complete = Complete::of(&self.file, |result, _| {
            n_failed += u64::from(result.is_failed);
            if !(result.is_failed && failures == Failures::AreAskedAgain) {
                done.ids.insert(result.id);
            }
        });
        let complete = complete.map_err(|error| self.io("read", error))?;
        match failures {
            Failures::AreAskedAgain if n_failed > 0 => self.without_failures(),
            Failures::AreAskedAgain | Failures::Stay => {
                done.n_failed += n_failed;
                self.part(complete)
            }
        }
    }

    /// Another file in its place, without the requests that failed: they are in none until they are answered again.
    fn without_failures(self) -> Result<Part, JournalError> {
        let io = |error| self.io("write", error);
        let mut partial = self.path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let new = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&partial).map_err(io)?;
        let mut writer = BufWriter::new(&new);
        let mut written = Ok(());
        let copied = Complete::of(&self.file, |result, line| {
            if !result.is_failed && written.is_ok() {
                written = writer.write_all(line);
            }
        });
        copied.and(written).and_then(|()| writer.flush()).map_err(io)?;
        drop(writer);
        new.sync_all().map_err(io)?;
        drop(new);
        // Locked before it has the name under which others look for it.
        let new = open_alone(&partial)?;
        std::fs::rename(&partial, &self.path).map_err(io)?;
        let complete = Complete::of(&new, |_, _| ()).map_err(io)?;
        JournalFile { file: new, ..self }.part(complete)
    }

    fn io(&self, action: &'static str, source: io::Error) -> JournalError {
        io_on(action, &self.path, 0, source)
    }
}

impl Part {
    fn append(&mut self, line: &str) -> Result<(), JournalError> {
        self.file.append(line).map_err(|error| self.io("write", error))
    }

    fn io(&self, action: &'static str, source: io::Error) -> JournalError {
        io_on(action, &self.path, self.file.complete().n_lines, source)
    }
}

fn io_on(action: &'static str, path: &Path, n_lines: u64, source: io::Error) -> JournalError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            JournalError::DiskFull { path: path.to_owned(), n_lines }
        }
        _ => JournalError::Io { action, path: path.to_owned(), source },
    }
}
