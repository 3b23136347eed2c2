//! The arguments of a log of decisions, for every command that writes one, and the note by which `slm log` finds it.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::Args;

use super::environment::Environment;
use crate::api::decision_log::{self, DecisionLog, Texts};
use crate::failure::Failure;
use crate::ui::output::say;

/// The file in the store that names the log that was written last.
const NOTE: &str = ".slm-decisions";

/// Which answers are written down.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Log of decisions")]
pub struct DecisionArgs {
    /// Append a line of JSON to FILE for every closed answer: time, model, fit, probabilities, answer (docs/serve.md)
    #[arg(long, value_name = "FILE")]
    pub decisions: Option<PathBuf>,
    /// Write the texts too, not only their SHA-256 and length
    #[arg(long, requires = "decisions")]
    pub decisions_text: bool,
    /// Rename FILE to FILE.1 before it has more than MB megabytes [default: 100]
    #[arg(long, value_name = "MB", requires = "decisions")]
    pub decisions_size: Option<NonZeroU32>,
    /// Older files to keep (FILE.1 is the youngest) [default: 9]
    #[arg(long, value_name = "N", requires = "decisions")]
    pub decisions_keep: Option<u32>,
}

impl DecisionArgs {
    /// The log, where there is to be one.
    ///
    /// # Errors
    /// Its file cannot be opened.
    pub fn open(&self, environment: &Environment) -> Result<Option<DecisionLog>, Failure> {
        let Some(path) = &self.decisions else { return Ok(None) };
        let settings = decision_log::Settings {
            path: path.clone(),
            texts: if self.decisions_text { Texts::Written } else { Texts::Left },
            max_bytes: self.decisions_size.map_or(decision_log::DEFAULT_BYTES, |mb| u64::from(mb.get()) * 1_000_000),
            n_kept: self.decisions_keep.unwrap_or(decision_log::DEFAULT_KEPT),
        };
        let log = DecisionLog::open(settings)
            .map_err(|error| Failure::usage(format!("cannot write the decisions to `{}`: {error}", path.display())))?;
        note(path, environment);
        Ok(Some(log))
    }
}

/// Says how many decisions were not written.
pub fn say_dropped(log: &DecisionLog) {
    let n = log.counts().dropped;
    if n > 0 {
        say(format_args!("{n} decisions could not be written to their log"));
    }
}

/// Notes where the log is. Without the note `slm log` has to be told.
fn note(path: &Path, environment: &Environment) {
    let written = || -> std::io::Result<()> {
        let store = environment.store().map_err(|failure| std::io::Error::other(failure.message))?;
        std::fs::create_dir_all(store.root())?;
        let mut file = tempfile::NamedTempFile::new_in(store.root())?;
        let path = std::path::absolute(path)?;
        std::io::Write::write_all(&mut file, path.as_os_str().as_encoded_bytes())?;
        file.persist(store.root().join(NOTE)).map_err(|error| error.error)?;
        Ok(())
    };
    if let Err(error) = written() {
        tracing::warn!("`slm log` finds this log only with --decisions: {error}");
    }
}

/// The log that was written last with this store.
///
/// # Errors
/// None was.
pub fn noted(environment: &Environment) -> Result<PathBuf, Failure> {
    let path = environment.store()?.root().join(NOTE);
    match std::fs::read_to_string(&path) {
        Ok(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err(Failure::usage(
            "no log of decisions is known here; `slm serve --decisions FILE` writes one, and --decisions FILE says which to read",
        )),
    }
}
