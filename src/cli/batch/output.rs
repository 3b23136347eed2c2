//! Where the results of a batch go: standard output, or files that a killed run continues.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::args::BatchArgs;
use super::input::RequestsFile;
use crate::api::batches::plan::Plan;
use crate::batch::journal::{DoneBefore, Existing, Failures, Identity, JournalFile, RequestsRead, ResultsJournal};
use crate::cli::journal::failure;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::ui::output::{Output, Reader};

/// What takes the results.
pub enum Sink {
    Stdout(Output),
    Files(Box<ResultsJournal>),
}

/// The files of results, nothing in them changed.
#[derive(Debug)]
pub struct ResultsFiles {
    results: JournalFile,
    errors: Option<JournalFile>,
    failures: Failures,
}

/// Opens the files that the flags name; `None` is standard output.
///
/// # Errors
/// One cannot be written, or has results that are not to be touched.
pub fn open(args: &BatchArgs, requests: &RequestsFile) -> Result<Option<ResultsFiles>, Failure> {
    let Some(path) = args.output()? else { return Ok(None) };
    refuse_same(path, args, requests)?;
    let existing = match (args.resume || args.retry_errors, args.overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        (false, false) => Existing::Refuse,
    };
    let results = JournalFile::open(path, existing).map_err(failure)?;
    let errors = args.errors.as_deref().map(|path| JournalFile::open(path, existing)).transpose().map_err(failure)?;
    let failures = if args.retry_errors { Failures::AreAskedAgain } else { Failures::Stay };
    Ok(Some(ResultsFiles { results, errors, failures }))
}

impl ResultsFiles {
    /// Of how many requests the results in the files were begun.
    ///
    /// # Errors
    /// That is not known.
    pub fn n_requests(&self) -> Result<Option<u64>, Failure> {
        self.results.n_requests().map_err(failure)
    }
}

impl Sink {
    /// Makes ready for the first result, and says what is done already.
    ///
    /// # Errors
    /// The files have results of other requests, or cannot be written.
    pub fn begin(
        files: Option<ResultsFiles>,
        args: &BatchArgs,
        plan: &Plan,
        models: &[(String, Digest)],
    ) -> Result<(Sink, DoneBefore), Failure> {
        let Some(files) = files else { return Ok((Sink::Stdout(Output::default()), DoneBefore::default())) };
        let ResultsFiles { results, errors, failures } = files;
        let asked = identity(args, models);
        let begun = ResultsJournal::begin((results, errors), asked, RequestsRead::of(plan), failures);
        let (journal, done) = begun.map_err(failure)?;
        Ok((Sink::Files(Box::new(journal)), done))
    }

    /// Writes a result, that of a request that failed where those go.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn line(&mut self, line: &str, is_failed: bool) -> Result<Reader, Failure> {
        let written = match self {
            Sink::Stdout(output) => return output.line(line),
            Sink::Files(journal) if is_failed => journal.append_failed(line),
            Sink::Files(journal) => journal.append(line),
        };
        written.map(|()| Reader::Listens).map_err(failure)
    }

    /// Makes what was written last.
    ///
    /// # Errors
    /// As [`Sink::line`].
    pub fn end(&mut self) -> Result<(), Failure> {
        match self {
            Sink::Stdout(_) => Ok(()),
            Sink::Files(journal) => journal.save().map_err(failure),
        }
    }
}

/// What makes equal requests have equal results.
fn identity(args: &BatchArgs, models: &[(String, Digest)]) -> Identity {
    let digests: String = models.iter().map(|(name, digest)| format!("{name} {digest}\n")).collect();
    let names: Vec<&str> = models.iter().map(|(name, _)| name.as_str()).collect();
    let place = if args.errors.is_some() { "errors apart" } else { "errors in place" };
    let shard = args.shard.as_deref().unwrap_or("all");
    let lane = if args.throughput { "throughput" } else { "canonical" };
    let nothing = Digest::of(b"");
    Identity {
        model: names.join(", "),
        model_digest: Digest::of(digests.as_bytes()),
        // The requests say these, and their digest is compared.
        prompt: nothing,
        form: nothing,
        sampling: Digest::of(lane.as_bytes()),
        adapters: nothing,
        // Each result has its own.
        evaluation_id: String::new(),
        rows: Digest::of(format!("batch, {place}, {shard}").as_bytes()),
    }
}

/// The requests must not be written over, nor one file of results over the other.
fn refuse_same(output: &Path, args: &BatchArgs, requests: &RequestsFile) -> Result<(), Failure> {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let of = |path: &Path| std::fs::metadata(path).ok().map(identity);
    let own = requests.file.metadata().ok().map(identity);
    for path in [Some(output), args.errors.as_deref()].into_iter().flatten() {
        if own.is_some() && of(path) == own {
            let path = path.display();
            return Err(Failure::usage(format!(
                "`{path}` has the requests themselves; give another file for the results"
            )));
        }
    }
    let absolute = |path: &Path| std::path::absolute(path).ok();
    let is_same =
        |errors: &Path| absolute(errors) == absolute(output) || of(errors).is_some_and(|file| of(output) == Some(file));
    if args.errors.as_deref().is_some_and(is_same) {
        return Err(Failure::usage("--errors and --output name the same file; leave out --errors to have both in one"));
    }
    Ok(())
}
