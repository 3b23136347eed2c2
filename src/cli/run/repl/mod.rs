//! `slm run MODEL` on a terminal: a session of lines and answers.

mod command;
mod dialogue;
mod display;
mod exchange;
mod input;
mod interrupts;
mod saving;
mod session;
mod wrap;

use std::io::IsTerminal as _;

use super::args::RunArgs;
use crate::cli::environment::Environment;
use crate::cli::interrupt;
use crate::failure::{Exit, Failure, Outcome};
use crate::gguf::Pooling;
use crate::store::Model;
use crate::ui::look::Cursor;
use crate::ui::output::Output;
use display::HINT;
use input::{Input, Line, PROMPT};
use interrupts::{Ended, Interrupts};
pub use session::Start;
use session::{Next, Repl};

/// Whether the command line asks for a session: it has no text, and a person sits at both ends.
#[must_use]
pub fn is_wanted(args: &RunArgs) -> bool {
    let has_text = !args.prompt.is_empty() || args.file.is_some() || args.is_rows();
    let is_for_programs = args.json.is_some() || args.dry_run;
    !has_text && !is_for_programs && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Refuses the flags that a session cannot keep, and a model that answers nothing.
///
/// # Errors
/// One of them is there.
pub fn refuse(args: &RunArgs, model: &Model, embeds: Option<Pooling>) -> Result<(), Failure> {
    if embeds.is_some() {
        let name = &model.name;
        return Err(Failure::usage(format!(
            "`{name}` is an embedding model, which gives a vector for a text and no answers; add a text"
        )));
    }
    let limits = &args.limits;
    let given = [
        ("--max-words", limits.max_words.is_some()),
        ("--max-sentences", limits.max_sentences.is_some()),
        ("--matches", limits.matches.is_some()),
        ("--truncate", args.truncate.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => {
            Err(Failure::usage(format!("{flag} needs a text on the command line; add one, or remove {flag}")))
        }
        None => Ok(()),
    }
}

/// Runs the session.
///
/// # Errors
/// The terminal cannot be read or written.
pub fn run(args: &RunArgs, start: Start, environment: &Environment) -> Outcome {
    let (interrupts, cursor) = (Interrupts::default(), environment.look().cursor);
    let _listening = interrupt::listen_to_each(pressed(interrupts.clone(), cursor));
    let mut input = Input::open(environment.history())?;
    let mut repl = Repl::begin(args, environment, start, interrupts)?;
    repl.greet()?;
    loop {
        let next = match input.read()? {
            Line::Text(line) => repl.line(&line, &mut input)?,
            Line::Interrupted => repl.show(HINT)?,
            Line::Dropped => Next::Line,
            Line::End => {
                if cursor == Cursor::Fixed {
                    repl.show("\n")?;
                }
                Next::Leave
            }
        };
        if matches!(next, Next::Leave) {
            return Ok(Exit::Done);
        }
    }
}

/// What Ctrl-C does: it ends the answer. On a terminal without line editing, it also shows how to leave.
fn pressed(interrupts: Interrupts, cursor: Cursor) -> impl Fn() + Send + 'static {
    move || {
        if interrupts.press() == Ended::Nothing && cursor == Cursor::Fixed {
            let _ = Output::default().text(&format!("\n{HINT}{PROMPT}"));
        }
    }
}
