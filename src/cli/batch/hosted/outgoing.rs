//! The file of requests for a hosted batch: whole lines that a killed run continues.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{custom_id, is_same};
use crate::api::batches::plan::IdMark;
use crate::cli::batch::args::BatchArgs;
use crate::failure::Failure;

/// How much work a loss of power may cost.
const SAVED_EVERY: Duration = Duration::from_secs(1);

/// The file, and which requests it has.
#[derive(Debug)]
pub struct Outgoing {
    file: File,
    path: PathBuf,
    /// Bytes of whole lines.
    n_bytes: u64,
    /// Its keys, by the request that they are of.
    keys: HashMap<String, Vec<String>>,
    known: HashSet<IdMark>,
    n_lines: u64,
    saved: Instant,
}

/// Of a line, what finds it again.
#[derive(Deserialize)]
struct Head {
    custom_id: String,
}

impl Outgoing {
    /// Opens the file behind its last whole line, or begins it.
    ///
    /// # Errors
    /// It has requests and is not to be continued, is one of the other files, or cannot be written.
    pub fn open(path: &Path, args: &BatchArgs) -> Result<Outgoing, Failure> {
        let others = [Some(args.requests.as_path()), args.output.as_deref(), args.errors.as_deref()];
        let others = others.into_iter().flatten().chain(args.hosted_results.iter().map(PathBuf::as_path));
        if others.into_iter().any(|other| is_same(other, path)) {
            let path = path.display();
            return Err(Failure::usage(format!(
                "--hosted-batch `{path}` is another file of this batch; give one of its own"
            )));
        }
        let failed = |error: io::Error| Failure::failed(format!("cannot write `{}`: {error}", path.display()));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = path.display();
                return Err(Failure::failed(format!(
                    "another process writes `{path}`; wait for it, or give another file"
                )));
            }
            // A disk without locks has one writer, as far as anybody can tell.
            Err(TryLockError::Error(_)) => {}
        }
        let has_lines = file.metadata().map_err(failed)?.len() > 0;
        let continues = args.resume || args.retry_errors;
        if has_lines && !continues && !args.overwrite {
            let path = path.display();
            return Err(Failure::failed(format!(
                "`{path}` has requests; continue it with --resume, or start again with --overwrite"
            )));
        }
        let mut outgoing = Outgoing {
            file,
            path: path.to_owned(),
            n_bytes: 0,
            keys: HashMap::new(),
            known: HashSet::new(),
            n_lines: 0,
            saved: Instant::now(),
        };
        if continues {
            outgoing.read().map_err(failed)?;
        }
        let n_bytes = outgoing.n_bytes;
        outgoing.file.set_len(n_bytes).map_err(failed)?;
        Ok(outgoing)
    }

    /// Reads the requests up to the first line that a kill has left incomplete.
    fn read(&mut self) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(1 << 16, self.file.try_clone()?);
        reader.seek(SeekFrom::Start(0))?;
        let mut line = Vec::new();
        let mut before = (String::new(), 0);
        loop {
            line.clear();
            let n = reader.read_until(b'\n', &mut line)?;
            let head = serde_json::from_slice::<Head>(&line).ok().filter(|_| line.ends_with(b"\n"));
            let Some(Head { custom_id: key }) = head else {
                // Its lines are written in one piece, which a kill may have torn between two of them: it is asked once more.
                self.forget(&before.0, before.1);
                return Ok(());
            };
            if custom_id(&key) != before.0 {
                before = (custom_id(&key).to_owned(), self.n_bytes);
            }
            self.known.insert(IdMark::of(&key));
            self.keys.entry(custom_id(&key).to_owned()).or_default().push(key);
            self.n_lines += 1;
            self.n_bytes += n as u64;
        }
    }

    /// Takes back the lines of the last request, which may not all be there.
    fn forget(&mut self, id: &str, at: u64) {
        for key in self.keys.remove(id).unwrap_or_default() {
            self.known.remove(&IdMark::of(&key));
            self.n_lines -= 1;
        }
        self.n_bytes = at;
    }

    /// Requests none of whose questions has a result.
    #[must_use]
    pub fn waiting(&self, has_result: impl Fn(&str) -> bool) -> HashSet<IdMark> {
        let waits = |keys: &Vec<String>| !keys.iter().any(|key| has_result(key));
        self.keys.iter().filter(|(_, keys)| waits(keys)).map(|(id, _)| IdMark::of(id)).collect()
    }

    /// Appends the lines of a request in one piece; those that are there already are left out.
    ///
    /// # Errors
    /// The file cannot be written; it keeps whole lines.
    pub fn append(&mut self, lines: &BTreeMap<String, String>) -> Result<(), Failure> {
        let new = lines.iter().filter(|(key, _)| self.known.insert(IdMark::of(key)));
        let (mut text, mut n) = (String::new(), 0);
        for (_, line) in new {
            text += line;
            text.push('\n');
            n += 1;
        }
        let written = self.file.seek(SeekFrom::Start(self.n_bytes)).and_then(|_| self.file.write_all(text.as_bytes()));
        if let Err(error) = written {
            // Where this fails too, whoever continues cuts the incomplete line off.
            let _ = self.file.set_len(self.n_bytes);
            return Err(self.failed(&error));
        }
        self.n_bytes += text.len() as u64;
        self.n_lines += n;
        if self.saved.elapsed() >= SAVED_EVERY { self.save() } else { Ok(()) }
    }

    /// Makes what was appended outlast a loss of power.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn save(&mut self) -> Result<(), Failure> {
        self.saved = Instant::now();
        self.file.sync_data().map_err(|error| self.failed(&error))
    }

    #[must_use]
    pub fn n_lines(&self) -> u64 {
        self.n_lines
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::failed(format!("cannot write `{}`: {error}", self.path.display()))
    }
}
