//! Where the answers to rows go: standard output, or a file that a killed run goes on with.

use std::io::BufRead;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::batch::journal::{Existing, Journal, TaskId};
use crate::batch::records::Records;
use crate::batch::row;
use crate::cli::args::{ComputeArgs, RunArgs};
use crate::contract::Form;
use crate::digest::{Digest, Hasher};
use crate::engine::AdapterSet;
use crate::failure::Failure;
use crate::store::Model;
use crate::ui::output::{Output, Reader};

/// What answers come of, beside flags and texts.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub model: &'a Model,
    pub form: &'a Form,
    pub adapters: &'a AdapterSet,
}

/// What takes the lines.
pub enum Sink {
    Stdout(Output),
    File(Box<Journal>),
}

impl Sink {
    /// Opens what the flags say; records that a file answers already are read from the input.
    ///
    /// # Errors
    /// The file cannot be written, or is not this work's.
    pub fn open<R: BufRead>(
        args: &RunArgs,
        origin: Origin<'_>,
        records: &mut Records<R>,
        form: &row::Form,
    ) -> Result<Sink, Failure> {
        let Some(path) = &args.output else { return Ok(Sink::Stdout(Output::default())) };
        refuse_input(path)?;
        let existing = match (args.resume, args.overwrite) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::Overwrite,
            (false, false) => Existing::Refuse,
        };
        let settings = settings(args, origin);
        let task = TaskId { model: origin.model.name.to_string(), model_digest: origin.model.digest, settings };
        Ok(Sink::File(Box::new(Journal::open(path, existing, task, records, form)?)))
    }

    /// Lines that were there already.
    pub fn n_resumed(&self) -> u64 {
        match self {
            Sink::Stdout(_) => 0,
            Sink::File(journal) => journal.n_resumed(),
        }
    }

    /// Makes ready for the first line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(&mut self) -> Result<(), Failure> {
        match self {
            Sink::Stdout(_) => Ok(()),
            Sink::File(journal) => Ok(journal.begin()?),
        }
    }

    /// Writes the line that stands in the place of a record.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn line(&mut self, record: Digest, line: &str) -> Result<Reader, Failure> {
        match self {
            Sink::Stdout(output) => output.line(line),
            Sink::File(journal) => Ok(journal.append(record, line).map(|()| Reader::Listens)?),
        }
    }

    /// Makes what was written last.
    ///
    /// # Errors
    /// As [`Sink::line`].
    pub fn end(&mut self) -> Result<(), Failure> {
        match self {
            Sink::Stdout(_) => Ok(()),
            Sink::File(journal) => Ok(journal.save()?),
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

/// Everything but the model that an answer depends on. A flag that is new here counts until it is named below.
fn settings(args: &RunArgs, origin: Origin<'_>) -> Digest {
    let mut args = args.clone();
    // The model has a digest of its own; the others change no answer, or (devices, threads) nothing that people mean.
    args.model.clear();
    (args.output, args.resume, args.overwrite) = (None, false, false);
    (args.parallel, args.keep_going, args.verbose) = (None, true, false);
    let ComputeArgs { num_ctx, kv_type, .. } = args.compute;
    args.compute = ComputeArgs { num_ctx, kv_type, ..ComputeArgs::default() };
    let mut hasher = Hasher::new();
    hasher.update(format!("{args:?}").as_bytes());
    // A file's name is the same flag when the file has changed.
    let form = match origin.form {
        Form::Closed(contract) => contract.schema().to_string(),
        Form::Open(open) => open.grammar().to_owned(),
        Form::Free => String::new(),
    };
    hasher.update(form.as_bytes());
    hasher.update(origin.adapters.evaluation_id("adapters").as_bytes());
    hasher.finish()
}
