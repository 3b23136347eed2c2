//! Standard output as a stream of data: flushed when needed, and silent when its reader has closed it.

use std::io::{IsTerminal as _, Write as _};

use super::look::Styles;
use super::wrap::{columns, wrapped};
use crate::failure::Failure;

/// Standard output. A reader that closed the pipe has had enough: that is not a failure, but there is no more to do.
#[derive(Debug)]
pub struct Output {
    out: std::io::BufWriter<std::io::Stdout>,
    is_terminal: bool,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Listens,
    Gone,
}

impl Default for Output {
    fn default() -> Self {
        let stdout = std::io::stdout();
        Output { is_terminal: stdout.is_terminal(), out: std::io::BufWriter::new(stdout) }
    }
}

impl Output {
    /// The width of the terminal; `None` if standard output is not one.
    #[must_use]
    pub fn columns(&self) -> Option<usize> {
        columns(self.out.get_ref()).filter(|_| self.is_terminal)
    }

    /// Whether a person is looking.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes text and flushes it: unchanged, but without control characters on a terminal, because answers and records may contain
    /// anything.
    ///
    /// # Errors
    /// The output cannot be written, a full disk for example.
    pub fn text(&mut self, text: &str) -> Result<Reader, Failure> {
        let text = if self.is_terminal { &harmless(text) } else { text };
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Ok(()) => Ok(Reader::Listens),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
        }
    }

    /// Writes one line.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn line(&mut self, line: &str) -> Result<Reader, Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn json(&mut self, value: &serde_json::Value) -> Result<Reader, Failure> {
        self.line(&value.to_string())
    }
}

/// Writes a message of slm's to standard error, wrapped at words on a terminal. A closed standard error is not a failure.
pub fn say(message: impl std::fmt::Display) {
    tell(&format!("{}\n", for_terminal(&format!("slm: {message}"))));
}

/// Writes a question of slm's to standard error; the cursor stays after it.
pub fn ask(question: &str) {
    tell(&for_terminal(&format!("slm: {question}")));
}

/// Text for standard error, in lines of the terminal's width if it is one.
fn for_terminal(text: &str) -> String {
    match columns(&std::io::stderr()) {
        Some(width) => wrapped(text, width, 0),
        None => text.to_owned(),
    }
}

/// Says how many blank lines of an input were skipped, where there were any.
pub fn say_skipped(n_blank_lines: u64) {
    match n_blank_lines {
        0 => {}
        1 => say("1 blank line was skipped"),
        n => say(format_args!("{n} blank lines were skipped")),
    }
}

/// Writes lines on standard error as they are but harmless.
pub fn tell(lines: &str) {
    let _ = std::io::stderr().write_all(harmless(lines).as_bytes());
}

/// What a model thinks before it answers, dimmed on standard error where a person looks on. It is not part of the answer.
#[derive(Debug)]
pub struct Thoughts {
    is_shown: bool,
    has_begun: bool,
    styles: Styles,
}

impl Thoughts {
    #[must_use]
    pub fn new(styles: Styles) -> Thoughts {
        Thoughts { is_shown: std::io::stderr().is_terminal(), has_begun: false, styles }
    }

    pub fn think(&mut self, text: &str) {
        if self.is_shown {
            self.has_begun = true;
            let text = harmless(text);
            let _ = match self.styles {
                Styles::Escapes => write!(std::io::stderr(), "\x1b[2m{text}\x1b[0m"),
                Styles::Plain => write!(std::io::stderr(), "{text}"),
            };
        }
    }

    /// The answer begins.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.has_begun) {
            tell("\n\n");
        }
    }
}

/// Text from a model or a file, made harmless for a terminal: control characters but newline and tab are shown as
/// pictures (U+2400 and on), so that no escape sequence reaches the screen.
#[must_use]
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or(char::REPLACEMENT_CHARACTER),
            '\u{7f}' => '\u{2421}',
            '\u{80}'..='\u{9f}' => char::REPLACEMENT_CHARACTER,
            _ => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn escapes_do_not_reach_a_terminal() {
        assert_eq!(harmless("a\x1b[31mb\r\n\tc\u{9b}0m\x7f"), "a␛[31mb␍\n\tc\u{fffd}0m␡");
    }
}
