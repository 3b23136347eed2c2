//! Output for other programs: completion scripts for shells, and man pages of clap's description of the command line.

use std::path::PathBuf;

use clap::{Args, Command};

use super::complete::{self, Shell};
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::Output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Write the man pages into a folder
#[derive(Debug, Args)]
pub struct ManArgs {
    pub folder: PathBuf,
}

/// `slm completions SHELL`.
///
/// # Errors
/// Standard output cannot be written.
pub fn completions(args: &CompletionsArgs) -> Outcome {
    Output::default().text(&complete::script(args.shell))?;
    Ok(Exit::Done)
}

/// `slm man FOLDER`: a page for slm and one for each command of it.
///
/// # Errors
/// The folder cannot be written.
pub fn man(args: &ManArgs, slm: Command) -> Outcome {
    std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(slm, &args.folder))
        .map_err(|error| Failure::failed(format!("cannot write man pages to `{}`: {error}", args.folder.display())))?;
    Ok(Exit::Done)
}
