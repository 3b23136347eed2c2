//! One text of a session and its answer, shown as it comes; Ctrl-C ends it.

use super::dialogue::Dialogue;
use super::display;
use super::interrupts::Interrupts;
use super::wrap::Wrap;
use crate::cli::run::answer::{figures, label, not_in_text, withheld};
use crate::contract::Violation;
use crate::engine::EngineError;
use crate::failure::Failure;
use crate::infer::{End, Finding, InferError, Piece, Responder, wait};
use crate::ui::look::Look;
use crate::ui::output::{Output, Reader, Thoughts, say, tell};

/// What an answer needs of its session.
pub struct Exchange<'s> {
    pub responder: &'s Responder,
    pub interrupts: &'s Interrupts,
    pub look: Look,
    /// Columns at which written text is broken between words; `None` leaves that to the terminal.
    pub width: Option<usize>,
    pub detail: Detail,
}

/// What is told beside an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    Answer,
    /// Token counts and times, too.
    Figures,
}

/// Why there is no answer, or no more of one.
#[derive(Debug)]
pub enum Lost {
    /// This answer cannot be obtained; others may.
    Answer(Failure),
    /// The model has gone.
    Model(Failure),
    /// Nobody reads what is shown.
    Reader,
}

impl Exchange<'_> {
    /// Asks and shows the answer; the dialogue keeps a conversation's.
    ///
    /// # Errors
    /// See [`Lost`].
    pub fn hold(&self, dialogue: &mut Dialogue, text: &str) -> Result<(), Lost> {
        let mut output = Output::default();
        let written = if dialogue.is_closed() {
            self.whole(dialogue, text, &mut output)?;
            String::new()
        } else {
            self.stream(dialogue, text, &mut output)?
        };
        if !written.trim().is_empty() {
            dialogue.remember(text, written.trim());
        }
        Ok(())
    }

    /// Shows a closed answer with the probabilities of all.
    fn whole(&self, dialogue: &Dialogue, text: &str, output: &mut Output) -> Result<(), Lost> {
        let answering = self.interrupts.answering();
        let finished = self.responder.ask(dialogue.turn(text)).and_then(|reply| wait(reply.whole(), &answering.cancel));
        drop(answering);
        let finished = match finished {
            Err(InferError::Engine(EngineError::Cancelled)) => return show(output, "\n"),
            finished => finished.map_err(lost)?,
        };
        match &finished.end.finding {
            Finding::Closed(answer) => {
                show(output, &display::probabilities(answer, self.look))?;
                answer.fields.iter().filter_map(withheld).for_each(say);
            }
            // Whoever answered told no probabilities.
            Finding::Open(Ok(value)) => show(output, &format!("{}\n", label(value)))?,
            Finding::Open(Err(_)) | Finding::Free | Finding::Vectors(_) => {}
        }
        self.tell(&finished.end);
        Ok(())
    }

    /// Shows text as it is written; gives what was shown, all of it or what there was when Ctrl-C came.
    fn stream(&self, dialogue: &Dialogue, text: &str, output: &mut Output) -> Result<String, Lost> {
        let answering = self.interrupts.answering();
        let mut reply = self.responder.ask(dialogue.turn(text)).map_err(lost)?;
        let (mut written, mut thoughts) = (String::new(), Thoughts::new(self.look.styles));
        let mut wrap = Wrap::to(self.width);
        loop {
            match wait(reply.next(), &answering.cancel) {
                Ok(Some(Piece::Thinking(text))) => thoughts.think(&text),
                Ok(Some(Piece::Text(piece))) => {
                    thoughts.end();
                    show(output, &wrap.push(&piece.text))?;
                    written += &piece.text;
                }
                Ok(Some(Piece::Call(_))) => {}
                Ok(Some(Piece::End(end))) => {
                    thoughts.end();
                    show(output, &wrap.end())?;
                    end_line(output, &written)?;
                    if let Some(violation) = end.violation() {
                        say(broken(violation));
                    } else if let Some(words) = not_in_text(dialogue.form(), &written, text) {
                        say(words);
                    }
                    self.tell(&end);
                    return Ok(written);
                }
                Ok(None) => return Err(lost(EngineError::Stopped.into())),
                Err(InferError::Engine(EngineError::Cancelled)) => {
                    thoughts.end();
                    show(output, &format!("{}\n", wrap.end()))?;
                    return Ok(written);
                }
                Err(error) => {
                    show(output, &wrap.end())?;
                    end_line(output, &written)?;
                    return Err(lost(error));
                }
            }
        }
    }

    fn tell(&self, end: &End) {
        if self.detail == Detail::Figures {
            tell(&figures(end));
        }
    }
}

/// How an answer breaks its format, in the words of a session.
fn broken(violation: &Violation) -> String {
    match violation {
        Violation::Length => format!("{violation}; raise it with `/set parameter num_predict N`"),
        violation => violation.to_string(),
    }
}

fn end_line(output: &mut Output, written: &str) -> Result<(), Lost> {
    if written.ends_with('\n') { Ok(()) } else { show(output, "\n") }
}

fn show(output: &mut Output, text: &str) -> Result<(), Lost> {
    match output.text(text) {
        Ok(Reader::Listens) => Ok(()),
        Ok(Reader::Gone) => Err(Lost::Reader),
        Err(failure) => Err(Lost::Answer(failure)),
    }
}

/// An error in the words of a session, whose flags cannot be changed any more.
fn lost(error: InferError) -> Lost {
    match error {
        InferError::Engine(error @ EngineError::Context { .. }) => Lost::Answer(Failure::failed(format!(
            "{error}; clear the conversation with `/clear`, or raise the context with `/set parameter num_ctx N`"
        ))),
        InferError::Engine(EngineError::Stopped) => Lost::Model(EngineError::Stopped.into()),
        error => Lost::Answer(error.into()),
    }
}
