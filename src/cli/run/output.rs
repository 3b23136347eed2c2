//! Where the answers to rows go: standard output, or a file that a killed run continues.

use std::io::BufRead;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::args::RunArgs;
use crate::batch::journal::{Existing, Identity, Journal, JournalFile};
use crate::batch::records::Records;
use crate::batch::row;
use crate::cli::journal::failure;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::ui::output::{Output, Reader};

/// What takes the lines.
pub enum Sink {
    Stdout(Output),
    File(Box<Journal>),
}

/// Opens the file that the flags name; `None` is standard output. Nothing in it is changed.
///
/// # Errors
/// The file cannot be written, or has answers that are not to be touched.
pub fn open(args: &RunArgs) -> Result<Option<JournalFile>, Failure> {
    let Some(path) = &args.output else { return Ok(None) };
    refuse_input(path)?;
    let existing = match (args.resume, args.overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        (false, false) => Existing::Refuse,
    };
    Ok(Some(JournalFile::open(path, existing).map_err(failure)?))
}

impl Sink {
    /// Makes ready for the first line; records that a file answers already are read from the input.
    ///
    /// # Errors
    /// The file cannot be written, or its answers belong to another request than `asked`.
    pub fn begin<R: BufRead>(
        file: Option<JournalFile>,
        asked: impl FnOnce() -> Identity,
        records: &mut Records<R>,
        form: &row::Form,
    ) -> Result<Sink, Failure> {
        match file {
            None => Ok(Sink::Stdout(Output::default())),
            Some(file) => Ok(Sink::File(Box::new(file.begin(asked(), records, form).map_err(failure)?))),
        }
    }

    /// Lines that were there already.
    pub fn n_resumed(&self) -> u64 {
        match self {
            Sink::Stdout(_) => 0,
            Sink::File(journal) => journal.n_resumed(),
        }
    }

    /// The message after Ctrl-C ended a run with that many rows in a file: where they are, and how to continue.
    pub fn stopped(&self, args: &RunArgs, n_rows: u64) -> Option<String> {
        let path = args.output.as_deref().filter(|_| matches!(self, Sink::File(_)))?;
        let rows = match self.n_resumed() + n_rows {
            1 => "1 row is".to_owned(),
            n => format!("{n} rows are"),
        };
        let how = match (args.resume, args.overwrite) {
            (true, _) => "the same command",
            (false, true) => "the same command with --resume instead of --overwrite",
            (false, false) => "the same command with --resume",
        };
        Some(format!("stopped: {rows} in `{}`; {how} continues", path.display()))
    }

    /// Writes the line that is instead of a record.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn line(&mut self, record: Digest, line: &str) -> Result<Reader, Failure> {
        match self {
            Sink::Stdout(output) => output.line(line),
            Sink::File(journal) => journal.append(record, line).map(|()| Reader::Listens).map_err(failure),
        }
    }

    /// Makes what was written last.
    ///
    /// # Errors
    /// As [`Sink::line`].
    pub fn end(&mut self) -> Result<(), Failure> {
        match self {
            Sink::Stdout(_) => Ok(()),
            Sink::File(journal) => journal.save().map_err(failure),
        }
    }
}

/// The input must not be written over.
fn refuse_input(path: &Path) -> Result<(), Failure> {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    match identity(path) {
        Some(file) if identity(Path::new("/dev/stdin")) == Some(file) => {
            Err(Failure::usage(format!("`{}` is the input itself; give another file to --output", path.display())))
        }
        _ => Ok(()),
    }
}
