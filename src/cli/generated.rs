//! What clap's description of the command line generates: completion scripts and man pages.

use clap::CommandFactory as _;
use clap_complete::generate;

use super::args::{Cli, CompletionsArgs, ManArgs, Shell};
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::Output;

/// The completion script of one shell.
#[must_use]
pub fn completion_script(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "slm", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// `slm completions SHELL`.
///
/// # Errors
/// Standard output cannot be written.
pub fn completions(args: &CompletionsArgs) -> Outcome {
    Output::default().text(&completion_script(args.shell))?;
    Ok(Exit::Done)
}

/// `slm man FOLDER`: a page for slm and one for each command.
///
/// # Errors
/// The folder cannot be written.
pub fn man(args: &ManArgs) -> Outcome {
    std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.folder))
        .map_err(|error| Failure::failed(format!("cannot write man pages to `{}`: {error}", args.folder.display())))?;
    Ok(Exit::Done)
}
