//! Lines as a person types them at a terminal: edited, with a history, and over several lines between `"""`. It does not know
//! what they mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Context, Editor, Event, EventContext, EventHandler, Helper, KeyEvent,
    RepeatCount,
};

use super::command::{COMMANDS, PARTS, SETTINGS, Switch, is_open};
use crate::failure::Failure;
use crate::ui::output::say;

/// What is before a line.
pub const PROMPT: &str = ">>> ";
/// Lines of the history.
const MAX_LINES: usize = 1000;

/// The terminal's lines.
pub struct Input {
    editor: Editor<Lines, DefaultHistory>,
    /// Where the history is kept; `None` keeps it in memory alone.
    history: Option<PathBuf>,
    is_kept: bool,
    was_empty: Arc<AtomicBool>,
}

/// What came of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Text(String),
    /// Ctrl-C where nothing stood.
    Interrupted,
    /// Ctrl-C in a line, which is thrown away.
    Dropped,
    /// Ctrl-D.
    End,
}

impl Input {
    /// Opens the terminal, with the history of earlier sessions.
    ///
    /// # Errors
    /// The terminal cannot be opened.
    pub fn open(history: Option<&Path>) -> Result<Input, Failure> {
        let config = Config::builder().max_history_size(MAX_LINES).and_then(|config| config.history_ignore_dups(true));
        let config = config.map_err(unreadable)?.build();
        let mut editor = Editor::with_config(config).map_err(unreadable)?;
        editor.set_helper(Some(Lines));
        let was_empty = Arc::new(AtomicBool::new(true));
        let handler = EventHandler::Conditional(Box::new(Interrupted(Arc::clone(&was_empty))));
        editor.bind_sequence(KeyEvent::ctrl('C'), handler);
        let history = history.filter(|path| is_usable(path, &mut editor)).map(Path::to_owned);
        Ok(Input { editor, history, is_kept: true, was_empty })
    }

    /// Saves the lines that follow in the history, or does not.
    pub fn keep_history(&mut self, switch: Switch) {
        self.is_kept = switch == Switch::On;
    }

    /// Columns of the terminal, where they are known.
    pub fn width(&mut self) -> Option<usize> {
        self.editor.dimensions().map(|(columns, _)| usize::from(columns))
    }

    /// Waits for the next line.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn read(&mut self) -> Result<Line, Failure> {
        self.was_empty.store(true, Ordering::Relaxed);
        loop {
            match self.editor.readline(PROMPT) {
                Ok(line) => {
                    self.remember(&line);
                    return Ok(Line::Text(line));
                }
                Err(ReadlineError::Interrupted) if self.was_empty.load(Ordering::Relaxed) => {
                    return Ok(Line::Interrupted);
                }
                Err(ReadlineError::Interrupted) => return Ok(Line::Dropped),
                Err(ReadlineError::Eof) => return Ok(Line::End),
                // The window has another size.
                Err(ReadlineError::Signal(_)) => {}
                Err(ReadlineError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                    say("the line is not UTF-8; type it again");
                }
                Err(error) => return Err(unreadable(error)),
            }
        }
    }

    fn remember(&mut self, line: &str) {
        if !self.is_kept || line.trim().is_empty() {
            return;
        }
        // An entry that cannot be added is not worth a message.
        let _ = self.editor.add_history_entry(line);
        let Some(path) = &self.history else { return };
        if let Err(error) = self.editor.append_history(path) {
            say(format_args!("the history is not saved: cannot write `{}`: {error}", path.display()));
            self.history = None;
        }
    }
}

/// Reads the history of earlier sessions. No history is kept if the file cannot be read or its folder cannot be created.
fn is_usable(path: &Path, editor: &mut Editor<Lines, DefaultHistory>) -> bool {
    let Some(folder) = path.parent() else { return false };
    // The file itself is written for this user alone.
    match std::fs::create_dir_all(folder).map_err(ReadlineError::Io).and_then(|()| editor.load_history(path)) {
        Ok(()) => true,
        Err(ReadlineError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => {
            say(format_args!("the history is not saved: cannot use `{}`: {error}", path.display()));
            false
        }
    }
}

fn unreadable(error: ReadlineError) -> Failure {
    Failure::failed(format!("cannot read from the terminal: {error}"))
}

/// Notes whether Ctrl-C came in an empty line, which the editor does not tell.
struct Interrupted(Arc<AtomicBool>);

impl ConditionalEventHandler for Interrupted {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        self.0.store(context.line().is_empty(), Ordering::Relaxed);
        Some(Cmd::Interrupt)
    }
}

/// What the editor asks about a line.
struct Lines;

impl Helper for Lines {}
impl Highlighter for Lines {}

impl Hinter for Lines {
    type Hint = String;
}

impl Validator for Lines {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_open(context.input()) { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Completer for Lines {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(completed(&line[..position]))
    }
}

/// The words that a begun command can continue with, and where they begin.
fn completed(line: &str) -> (usize, Vec<String>) {
    let begins = |names: &[&str], word: &str| {
        names.iter().filter(|name| name.starts_with(word)).map(|name| format!("{name} ")).collect()
    };
    match line.split_once(' ') {
        None if line.starts_with('/') => (0, begins(&COMMANDS, line)),
        Some(("/set", word)) => ("/set ".len(), begins(&SETTINGS, word)),
        Some(("/show", word)) => ("/show ".len(), begins(&PARTS.map(|(name, _)| name), word)),
        _ => (line.len(), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::completed;

    #[test]
    fn commands_are_completed_and_texts_are_not() {
        assert_eq!(completed("/s"), (0, ["/set ", "/show ", "/save "].map(str::to_owned).to_vec()));
        assert_eq!(completed("/set par"), (5, vec!["parameter ".to_owned()]));
        assert_eq!(completed("/show li"), (6, vec!["license ".to_owned()]));
        assert_eq!(completed("/set system /s"), (5, Vec::new()));
        assert_eq!(completed("see /s"), (6, Vec::new()));
    }
}
