//! An engine's events as the pieces of a reply, by the form that was asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use super::InferError;
use super::closed::{self, Spelling};
use super::fit::Applied;
use super::pieces::{Finding, Piece};
use super::reading::Reading;
use crate::decide::{self, Answer, EarlyAnswer, Question};
use slm_engine::{
    Counts, Detail, EngineError, Event, Finish, GeneratedToken, Generation, NextLogprob, Piece as Written,
    PromptLogprobs, PromptTokenLogprob, Scores, Timings,
};
use slm_values::contract::{Contract, Open, Violation};
use slm_values::prompt::Run;
use slm_values::tools::ForcedCall;

/// Reads one reply.
#[derive(Debug, Clone)]
pub(super) enum Reader {
    Closed {
        contract: Arc<Contract>,
        detail: Detail,
        spelling: Spelling,
        fit: Option<Applied>,
        stage: Stage,
    },
    /// The hidden state after some layers, and no answer.
    State,
    Question(Arc<Question>),
    Open {
        open: Open,
        /// All of it, to be checked.
        text: String,
    },
    Free(Box<Reading>),
    /// The one call that the request asks for.
    Call {
        forced: Box<ForcedCall>,
        text: String,
    },
    /// The tokens of a prompt, and one after them.
    Prompt,
    Vectors,
}

/// How far a closed question is.
#[derive(Debug, Clone, Default)]
pub(super) enum Stage {
    /// All layers are asked.
    #[default]
    Whole,
    /// A part of them is asked.
    Part,
    /// All layers are asked what the part left open; what it answered, and what it took.
    Rest(EarlyAnswer, Timings),
}

/// What an event has become.
#[derive(Debug)]
pub(super) enum Taken {
    /// Pieces, or nothing.
    Pieces,
    /// The part of the layers that was asked does not know: all of them are to be asked.
    Open,
    Last(Box<Last>),
}

/// What is known when the engine has said its last.
#[derive(Debug)]
pub(super) struct Last {
    pub finish: Finish,
    pub stopped_by: Option<String>,
    pub counts: Counts,
    pub timings: Timings,
    pub finding: Finding,
    /// The text of an open form.
    pub text: String,
    /// With [`Detail::Tokens`].
    pub tokens: Vec<GeneratedToken>,
    /// The prompt's own.
    pub prompt_tokens: Vec<PromptTokenLogprob>,
    /// The hidden state before a closed answer, where it was asked for.
    pub state: Option<Vec<f32>>,
    /// What a prompt that continues from here has in the answer's place.
    pub said: Run,
}

impl Reader {
    /// Special tokens whose texts have to be seen.
    pub fn visible(&self) -> Vec<String> {
        match self {
            Reader::Free(reading) => reading.visible.clone(),
            _ => Vec::new(),
        }
    }

    /// Makes pieces of an event.
    ///
    /// # Errors
    /// The request failed, or the engine is gone.
    pub fn take(&mut self, event: Option<Event>, out: &mut VecDeque<Piece>) -> Result<Taken, InferError> {
        let last = match event {
            Some(Event::Text(piece)) => {
                self.text(piece, out);
                return Ok(Taken::Pieces);
            }
            Some(Event::Generated(generation)) => self.generated(generation, out),
            Some(Event::Scored(scores)) => match self.scored(scores, out)? {
                Some(last) => last,
                None => return Ok(Taken::Open),
            },
            Some(Event::PromptLogprobs(read)) => prompt_read(read, out),
            Some(Event::Embedded(embeddings)) => {
                let (counts, timings) = (embeddings.counts, embeddings.timings);
                let said = Run::Tokens(Vec::new());
                Last { finding: Finding::Vectors(embeddings), ..Last::scored(counts, timings, said) }
            }
            Some(Event::Failed(error)) => return Err(error.into()),
            Some(Event::Tokenized(_) | Event::Cut(_) | Event::Prepared | Event::Measured(_)) | None => {
                return Err(EngineError::Stopped.into());
            }
        };
        Ok(Taken::Last(Box::new(last)))
    }

    fn text(&mut self, piece: Written, out: &mut VecDeque<Piece>) {
        match self {
            Reader::Open { text, .. } => {
                *text += &piece.text;
                out.push_back(Piece::Text(piece));
            }
            Reader::Call { text, .. } => *text += &piece.text,
            Reader::Free(reading) => reading.push(piece, out),
            // These have no text but their answer's.
            Reader::Closed { .. } | Reader::State | Reader::Question(_) | Reader::Prompt | Reader::Vectors => {}
        }
    }

    fn generated(&mut self, generation: Generation, out: &mut VecDeque<Piece>) -> Last {
        let Generation { finish, stopped_by, counts, timings, tokens, ids } = generation;
        let (finding, text) = match self {
            Reader::Open { open, text } => {
                let checked = match finish {
                    Finish::Length => Err(Violation::Length),
                    Finish::Stop => open.check(text),
                };
                (Finding::Open(checked), std::mem::take(text))
            }
            Reader::Call { forced, text } => match (forced.call(text), finish) {
                (Ok(call), _) => {
                    out.push_back(Piece::Call(call));
                    (Finding::Free, String::new())
                }
                // A call that broke off is not a call, and its beginning is not an answer either.
                (Err(_), Finish::Length) => (Finding::Open(Err(Violation::Length)), String::new()),
                (Err(violation), Finish::Stop) => (Finding::Open(Err(violation)), String::new()),
            },
            Reader::Free(reading) => {
                std::mem::take(&mut **reading).finish(out);
                (Finding::Free, String::new())
            }
            Reader::Closed { .. } | Reader::State | Reader::Question(_) | Reader::Prompt | Reader::Vectors => {
                (Finding::Free, String::new())
            }
        };
        let (said, prompt_tokens) = (Run::Tokens(ids), Vec::new());
        Last { finish, stopped_by, counts, timings, finding, text, tokens, prompt_tokens, state: None, said }
    }

    /// The end that scores give; `None` where a part of the layers was asked and all of them are to be.
    fn scored(&mut self, scores: Scores, out: &mut VecDeque<Piece>) -> Result<Option<Last>, InferError> {
        let Scores { groups, state, counts, mut timings } = scores;
        let (answer, detail, spelling) = match self {
            Reader::Closed { contract, detail, spelling, fit, stage } => {
                let answer = match (fit, std::mem::take(stage)) {
                    (None, _) => decide::answer(contract, &groups),
                    (Some(fit), Stage::Whole) => fit.answer(contract, &groups, state.as_deref())?,
                    (Some(fit), Stage::Part) => {
                        let early = fit.early(contract, state.as_deref())?;
                        let Some(answer) = early.whole(contract) else {
                            *stage = Stage::Rest(early, timings);
                            return Ok(None);
                        };
                        answer
                    }
                    (Some(fit), Stage::Rest(early, took)) => {
                        timings = both(took, timings);
                        early.over(contract, fit.answer(contract, &groups, state.as_deref())?)
                    }
                };
                // The options were held against the schema one by one; only together they are the answer.
                if let Err(violation) = contract.check(&answer.guess(contract)) {
                    let finding = Finding::Open(Err(violation));
                    return Ok(Some(Last { finding, ..Last::scored(counts, timings, Run::Tokens(Vec::new())) }));
                }
                (answer, *detail, std::mem::take(spelling))
            }
            Reader::State => {
                return Ok(Some(Last { state, ..Last::scored(counts, timings, Run::Tokens(Vec::new())) }));
            }
            Reader::Question(question) => {
                let field = question.answer(groups.first().ok_or(EngineError::Stopped)?);
                let json = field.value.clone();
                (Answer { fields: vec![field], json }, Detail::Text, Spelling::default())
            }
            _ => return Err(EngineError::Stopped.into()),
        };
        let tokens = match detail {
            Detail::Likely { n } => closed::tokens(&answer, usize::from(n), &spelling),
            Detail::Text | Detail::Tokens => Vec::new(),
        };
        let text = closed::text(&answer, &spelling);
        let said = Run::Text { text: text.clone(), persons: Vec::new() };
        out.push_back(Piece::Text(Written { text, tokens }));
        Ok(Some(Last { finding: Finding::Closed(answer), state, ..Last::scored(counts, timings, said) }))
    }
}

/// What a part of the layers and then all of them took.
fn both(part: Timings, all: Timings) -> Timings {
    Timings {
        queued: part.queued + all.queued,
        prompt: part.prompt + all.prompt,
        generation: part.generation + all.generation,
    }
}

/// The token after a prompt as a text, and the prompt's own.
fn prompt_read(read: PromptLogprobs, out: &mut VecDeque<Piece>) -> Last {
    let PromptLogprobs { tokens, next, counts, timings } = read;
    let last = Last { prompt_tokens: tokens, ..Last::scored(counts, timings, Run::Tokens(Vec::new())) };
    let Some(NextLogprob { token, finish, stopped_by }) = next else {
        return Last { finish: Finish::Length, ..last };
    };
    let text = String::from_utf8_lossy(&token.bytes).into_owned();
    out.push_back(Piece::Text(Written { text, tokens: vec![token] }));
    Last { finish, stopped_by, ..last }
}

impl Last {
    /// Of what was not generated.
    fn scored(counts: Counts, timings: Timings, said: Run) -> Last {
        Last {
            finish: Finish::Stop,
            stopped_by: None,
            counts,
            timings,
            finding: Finding::Free,
            text: String::new(),
            tokens: Vec::new(),
            prompt_tokens: Vec::new(),
            state: None,
            said,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use slm_values::tools::{CallFormat, Tool, ToolChoice};

    /// What a reader makes of a text that ended so.
    fn read(mut reader: Reader, text: &str, finish: Finish) -> (Vec<Piece>, Finding) {
        let mut pieces = VecDeque::new();
        let piece = Written { text: text.to_owned(), tokens: Vec::new() };
        assert!(matches!(reader.take(Some(Event::Text(piece)), &mut pieces).unwrap(), Taken::Pieces));
        let generation = Generation {
            finish,
            stopped_by: None,
            counts: Counts::default(),
            timings: Timings::default(),
            tokens: Vec::new(),
            ids: vec![1, 2],
        };
        let Taken::Last(last) = reader.take(Some(Event::Generated(generation)), &mut pieces).unwrap() else {
            panic!("it is the last")
        };
        assert_eq!(last.said, Run::Tokens(vec![1, 2]));
        (pieces.into(), last.finding)
    }

    fn violation(finding: Finding) -> Violation {
        match finding {
            Finding::Open(Err(violation)) => violation,
            other => panic!("nothing is broken: {other:?}"),
        }
    }

    #[test]
    fn open_text_is_checked_when_it_is_finished() {
        let open = || Reader::Open { open: Open::json(), text: String::new() };
        let (pieces, finding) = read(open(), "{\"a\": 1}", Finish::Stop);
        assert!(matches!(&pieces[..], [Piece::Text(piece)] if piece.text == "{\"a\": 1}"), "{pieces:?}");
        assert!(matches!(&finding, Finding::Open(Ok(value)) if *value == json!({"a": 1})), "{finding:?}");
        assert!(matches!(violation(read(open(), "{\"a\"", Finish::Stop).1), Violation::NotJson(_)));
        assert!(matches!(violation(read(open(), "[1]", Finish::Stop).1), Violation::Schema { .. }));
        // What came to its limit of tokens is unfinished, whatever it looks like.
        assert_eq!(violation(read(open(), "{}", Finish::Length).1), Violation::Length);
    }

    #[test]
    fn a_call_that_breaks_off_is_neither_call_nor_text() {
        let tool = Tool::new("now", None, None, "tools[0]").unwrap();
        let call = || {
            let forced = ForcedCall::new(CallFormat::BARE, std::slice::from_ref(&tool), &ToolChoice::Required, "tools");
            Reader::Call { forced: Box::new(forced.unwrap().unwrap()), text: String::new() }
        };
        let whole = "{\"name\": \"now\", \"parameters\": {}}";
        let (pieces, finding) = read(call(), whole, Finish::Stop);
        assert!(matches!(&pieces[..], [Piece::Call(call)] if call.name == "now"), "{pieces:?}");
        assert!(matches!(finding, Finding::Free));
        let (pieces, finding) = read(call(), &whole[..20], Finish::Stop);
        assert!(pieces.is_empty() && matches!(violation(finding), Violation::NotJson(_)));
        assert_eq!(violation(read(call(), &whole[..20], Finish::Length).1), Violation::Length);
    }
}
