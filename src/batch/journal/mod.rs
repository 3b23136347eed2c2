//! A file that answers are appended to, one line a record, so that work that was killed goes on where it ended.
//!
//! The number of whole lines says how many records are done; a torn last line is cut off. Beside the file lies another of
//! its name and `.slm`, its *notes*: which model, settings and input it belongs to. The notes are written after the lines
//! that they speak of, so that they never claim more than the file has.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::records::{Record, Records};
use super::row::{Form, stands_for};
use crate::digest::Digest;

/// How much work a loss of power may cost.
const SAVED_EVERY: Duration = Duration::from_secs(1);
/// Notes are short.
const MAX_NOTES_BYTES: u64 = 1 << 16;
/// A longer line is not compared with its record: the notes vouch for it.
const MAX_COMPARED_BYTES: u64 = 64 << 20;

/// An open file of answers; nobody else writes it.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Whole lines, and the bytes that they take.
    n_lines: u64,
    n_bytes: u64,
    /// Lines that were there when it was opened.
    n_resumed: u64,
    task: TaskId,
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

/// What makes answers: other answers come of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskId {
    /// The model's name, for people.
    pub model: String,
    /// The model's identity.
    pub model_digest: Digest,
    /// Everything else that an answer depends on, digested.
    pub settings: Digest,
}

/// What lies beside a file of answers.
#[derive(Debug, Serialize, Deserialize)]
struct Notes {
    #[serde(flatten)]
    task: TaskId,
    /// The records that the first `bytes` of the file answer, and their digest.
    records: u64,
    bytes: u64,
    input: Digest,
}

/// Why a file cannot take answers.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(
        "`{}` exists already; give --resume to go on behind its last line, or --overwrite to begin anew", .0.display()
    )]
    Exists(PathBuf),
    #[error("another slm is writing `{}`", .0.display())]
    Busy(PathBuf),
    #[error("`{}` is no file that can be appended to; leave --output away and redirect standard output", .0.display())]
    NoFile(PathBuf),
    #[error(
        "cannot go on with `{path}`: {why}; give another file, or --overwrite to begin anew", path = .path.display()
    )]
    Foreign { path: PathBuf, why: Foreign },
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
    #[error(
        "no space is left to write `{}`; its {n_lines} lines are whole: free some space and go on with --resume",
        .path.display()
    )]
    DiskFull { path: PathBuf, n_lines: u64 },
    #[error("cannot {action} `{}`", .path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

/// Why a file's answers are not those of this work.
#[derive(Debug, thiserror::Error)]
pub enum Foreign {
    #[error("`{}`, which says what it belongs to, is not there or was damaged", .0.display())]
    NoNotes(PathBuf),
    #[error("it was begun with another model ({0})")]
    Model(String),
    #[error("it was begun with other flags, or another format")]
    Settings,
    #[error("it has {n_lines} whole lines and once had {n_written}, or they were changed")]
    Changed { n_lines: u64, n_written: u64 },
    #[error("its first {0} lines answer other records than this input's")]
    Input(u64),
    #[error("its line {0} answers another record than this input's")]
    Line(u64),
    #[error("it has {n_lines} lines and the input only {n_records} records")]
    Longer { n_lines: u64, n_records: u64 },
}

impl Journal {
    /// Opens a file and makes sure that its answers are those of this work; reads the records that are answered already
    /// from the input. Nothing that is there is changed before [`Journal::begin`].
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open<R: BufRead>(
        path: &Path,
        existing: Existing,
        task: TaskId,
        records: &mut Records<R>,
        form: &Form,
    ) -> Result<Journal, JournalError> {
        let mut journal = Journal {
            file: open_alone(path)?,
            path: path.to_owned(),
            n_lines: 0,
            n_bytes: 0,
            n_resumed: 0,
            task,
            input: Digest::of(b""),
            saved: Instant::now(),
        };
        let length = journal.file.metadata().map_err(|error| journal.io("read", error))?.len();
        match existing {
            // An empty file has nothing to lose.
            _ if length == 0 => Ok(journal),
            Existing::Overwrite => Ok(journal),
            Existing::Refuse => Err(JournalError::Exists(journal.path)),
            Existing::Resume => {
                journal.resume(records, form)?;
                Ok(journal)
            }
        }
    }

    fn resume<R: BufRead>(&mut self, records: &mut Records<R>, form: &Form) -> Result<(), JournalError> {
        let notes = self.notes()?;
        if notes.task.model_digest != self.task.model_digest {
            return Err(self.foreign(Foreign::Model(notes.task.model)));
        }
        if notes.task.settings != self.task.settings {
            return Err(self.foreign(Foreign::Settings));
        }
        let lines = Lines::of(&self.file, notes.bytes).map_err(|error| self.io("read", error))?;
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

    /// Makes the file ready for the next line: cuts what is no whole line, and writes the notes.
    ///
    /// # Errors
    /// The file or its notes cannot be written.
    pub fn begin(&mut self) -> Result<(), JournalError> {
        self.file.set_len(self.n_bytes).map_err(|error| self.io("write", error))?;
        self.save()
    }

    /// Appends the answer to the record that comes next, in one piece.
    ///
    /// # Errors
    /// The file cannot be written; it keeps whole lines.
    pub fn append(&mut self, record: Digest, line: &str) -> Result<(), JournalError> {
        let line = format!("{line}\n");
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Where this fails too, the next --resume cuts the torn line.
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
        let notes = Notes { task: self.task.clone(), records: self.n_lines, bytes: self.n_bytes, input: self.input };
        let (place, partial) = (beside(&self.path, ".slm"), beside(&self.path, ".slm.partial"));
        let json = serde_json::to_string(&notes).expect("notes are plain data");
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(format!("{json}\n").as_bytes())?;
            file.sync_data()?;
            std::fs::rename(&partial, &place)?;
            File::open(place.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| self.io_on("write", &place, error))?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Lines that were there when the file was opened.
    #[must_use]
    pub fn n_resumed(&self) -> u64 {
        self.n_resumed
    }

    fn notes(&self) -> Result<Notes, JournalError> {
        let place = beside(&self.path, ".slm");
        let mut json = String::new();
        let read = File::open(&place).and_then(|file| file.take(MAX_NOTES_BYTES).read_to_string(&mut json));
        match read {
            Ok(_) => serde_json::from_str(&json).map_err(|_| self.foreign(Foreign::NoNotes(place))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.foreign(Foreign::NoNotes(place))),
            Err(error) => Err(self.io_on("read", &place, error)),
        }
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
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Busy(path.to_owned())),
        // A disk without locks (some network disks) is used without.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(io("lock")(error)),
    }
}

/// Where a file's whole lines are.
#[derive(Debug, PartialEq, Eq)]
struct Lines {
    n: u64,
    /// Of these, lines that end in the first bytes that were asked about.
    n_before: u64,
    /// Where the last whole line begins.
    last: u64,
    /// Bytes up to and with the last whole line.
    end: u64,
}

impl Lines {
    fn of(file: &File, border: u64) -> io::Result<Lines> {
        let mut lines = Lines { n: 0, n_before: 0, last: 0, end: 0 };
        let mut reader = io::BufReader::with_capacity(1 << 16, file);
        reader.seek(SeekFrom::Start(0))?;
        let mut at = 0;
        loop {
            let buffer = reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(lines);
            }
            for (offset, _) in buffer.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                (lines.last, lines.end) = (lines.end, at + offset as u64 + 1);
                lines.n += 1;
                lines.n_before += u64::from(lines.end <= border);
            }
            let n_bytes = buffer.len();
            at += n_bytes as u64;
            reader.consume(n_bytes);
        }
    }
}

/// The digest of records in their order: that of all before and the next.
fn chained(input: Digest, record: Digest) -> Digest {
    Digest::of(format!("{input} {record}").as_bytes())
}

/// The path with more at its end.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(more);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    fn task() -> TaskId {
        TaskId { model: "m".to_owned(), model_digest: Digest::of(b"m"), settings: Digest::of(b"s") }
    }

    fn objects() -> Form {
        Form::Objects { field: "b".to_owned() }
    }

    impl Folder {
        fn new() -> Self {
            Folder(tempfile::tempdir().unwrap())
        }

        fn out(&self) -> PathBuf {
            self.0.path().join("out")
        }

        fn open(&self, existing: Existing, task: TaskId, input: &str, form: &Form) -> Result<Journal, String> {
            let mut records = Records::new(input.as_bytes());
            Journal::open(&self.out(), existing, task, &mut records, form)
                .map_err(|error| error.to_string().replace(&format!("{}/", self.0.path().display()), ""))
        }

        /// Appends answers to the records that come next.
        fn answer(&self, existing: Existing, input: &str, n: usize) {
            let mut records = Records::new(input.as_bytes());
            let mut journal = Journal::open(&self.out(), existing, task(), &mut records, &Form::Lines).unwrap();
            journal.begin().unwrap();
            for record in records.take(n) {
                let record = record.unwrap();
                journal.append(record.digest, &record.text.unwrap().to_uppercase()).unwrap();
            }
        }

        fn save(&self, input: &str) {
            self.open(Existing::Resume, task(), input, &Form::Lines).unwrap().save().unwrap();
        }

        fn read(&self) -> String {
            std::fs::read_to_string(self.out()).unwrap()
        }
    }

    #[test]
    fn work_goes_on_behind_the_last_whole_line() {
        let folder = Folder::new();
        folder.answer(Existing::Refuse, "a\nb\nc\n", 2);
        for torn in ["", "to", "torn \u{e9}"] {
            let mut file = OpenOptions::new().append(true).open(folder.out()).unwrap();
            file.write_all(torn.as_bytes()).unwrap();
            folder.answer(Existing::Resume, "a\nb\nc\n", 0);
            assert_eq!(folder.read(), "A\nB\n");
        }
        folder.answer(Existing::Resume, "a\nb\nc\n", 9);
        assert_eq!(folder.read(), "A\nB\nC\n");
        // The input may have grown, and its last line may have had no end.
        folder.answer(Existing::Resume, "a\nb\nc\nd", 9);
        folder.answer(Existing::Resume, "a\nb\nc\nd\ne\n", 9);
        assert_eq!(folder.read(), "A\nB\nC\nD\nE\n");
        folder.answer(Existing::Overwrite, "x\n", 9);
        assert_eq!(folder.read(), "X\n");
    }

    #[test]
    fn another_works_answers_are_left_alone() {
        let folder = Folder::new();
        let open = |existing, task, input| folder.open(existing, task, input, &Form::Lines).map(drop);
        let go_on =
            |why: &str| Err(format!("cannot go on with `out`: {why}; give another file, or --overwrite to begin anew"));
        folder.answer(Existing::Resume, "a\nb\nc\n", 2);
        folder.save("a\nb\n");
        let before = folder.read();

        let exists = "`out` exists already; give --resume to go on behind its last line, or --overwrite to begin anew";
        assert_eq!(open(Existing::Refuse, task(), "a\nb\nc\n"), Err(exists.to_owned()));
        let resume = |task, input| open(Existing::Resume, task, input);
        let other = TaskId { model_digest: Digest::of(b"n"), ..task() };
        assert_eq!(resume(other, "a\nb\nc\n"), go_on("it was begun with another model (m)"));
        let other = TaskId { settings: Digest::of(b"t"), ..task() };
        assert_eq!(resume(other, "a\nb\nc\n"), go_on("it was begun with other flags, or another format"));
        assert_eq!(resume(task(), "a\nB\nc\n"), go_on("its first 2 lines answer other records than this input's"));
        assert_eq!(resume(task(), "ab\n\nc\n"), go_on("its first 2 lines answer other records than this input's"));
        assert_eq!(resume(task(), "a\n"), go_on("it has 2 lines and the input only 1 records"));
        assert_eq!(folder.read(), before);

        std::fs::write(folder.out(), "A\n").unwrap();
        let changed = "it has 1 whole lines and once had 2, or they were changed";
        assert_eq!(resume(task(), "a\nb\nc\n"), go_on(changed));
        std::fs::write(folder.out(), "A\nlonger\nC\n").unwrap();
        let changed = "it has 3 whole lines and once had 2, or they were changed";
        assert_eq!(resume(task(), "a\nb\nc\n"), go_on(changed));
        for notes in ["", "{}", "\u{0}", "[1]", &"[".repeat(100_000)] {
            std::fs::write(beside(&folder.out(), ".slm"), notes).unwrap();
            let why = "`out.slm`, which says what it belongs to, is not there or was damaged";
            let said = resume(task(), "a\nb\nc\n")
                .map_err(|error| error.replace(&folder.0.path().display().to_string(), "").replace("`/", "`"));
            assert_eq!(said, go_on(why), "{notes:.9}");
        }
    }

    #[test]
    fn one_writes_at_a_time_and_only_files() {
        let folder = Folder::new();
        let held = folder.open(Existing::Resume, task(), "", &Form::Lines).unwrap();
        let second = folder.open(Existing::Overwrite, task(), "", &Form::Lines).map(drop);
        assert_eq!(second, Err("another slm is writing `out`".to_owned()));
        drop(held);
        assert!(folder.open(Existing::Refuse, task(), "", &Form::Lines).is_ok());
        let refused =
            Journal::open(Path::new("/dev/null"), Existing::Resume, task(), &mut Records::new(&b""[..]), &objects());
        assert!(matches!(refused, Err(JournalError::NoFile(_))), "{refused:?}");
    }

    /// The line behind the notes is not in their digest.
    #[test]
    fn an_object_that_is_no_answer_to_the_record_in_its_place_is_refused() {
        let folder = Folder::new();
        folder.answer(Existing::Refuse, "", 0);
        let input = "{\"id\": 1, \"b\": \"x\"}\n{\"id\": 2, \"b\": \"y\"}\n[3]\n";
        let resume = |lines: &str| {
            std::fs::write(folder.out(), lines).unwrap();
            folder.open(Existing::Resume, task(), input, &objects()).map(|journal| journal.n_lines)
        };
        let first = "{\"id\": 1, \"b\": \"x\",\"answer\":\"one\"}\n";
        assert_eq!(resume(first), Ok(1));
        assert_eq!(resume(&format!("{first}{{\"id\": 2, \"b\": \"y\",\"error\":\"e\"}}\n{{\"to")), Ok(2));
        assert_eq!(resume(&format!("{first}{{\"line\":2,\"error\":\"e\"}}\n")), Ok(2));
        assert_eq!(resume(&format!("{first}{first}{{\"line\":3,\"error\":\"e\"}}\n")), Ok(3));
        for wrong in [format!("{first}{first}"), format!("{first}{{\"line\":1,\"error\":\"e\"}}\n"), "\n".to_owned()] {
            assert!(resume(&wrong).unwrap_err().contains(" answers another record than this input's"), "{wrong}");
        }
    }
}
