//! What clap's description of the command line generates: completion scripts and man pages.

use std::path::PathBuf;

use clap::{Args, Command, ValueEnum};
use clap_complete::generate;

use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::Output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    pub shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Write the man pages into a folder
#[derive(Debug, Args)]
pub struct ManArgs {
    pub folder: PathBuf,
}

/// The completion script of one shell.
#[must_use]
pub fn completion_script(shell: Shell, mut slm: Command) -> String {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut slm, "slm", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// `slm completions SHELL`; `slm` describes the whole command line.
///
/// # Errors
/// Standard output cannot be written.
pub fn completions(args: &CompletionsArgs, slm: Command) -> Outcome {
    Output::default().text(&completion_script(args.shell, slm))?;
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
