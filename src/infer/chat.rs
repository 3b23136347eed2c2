//! A whole conversation to its next turn, in pieces as they come; no thread waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::context::Teller;
use super::reading::Reading;
use super::{InferError, Session, Task, closed, digest};
use crate::chat::{Message, Role};
use crate::contract::{Contract, Open, Violation};
use crate::decide::{self, Answer};
use crate::engine::{
    Counts, Detail, EngineError, Event, Finish, GenerateRequest, Generation, Grammar, Piece as Written, Request,
    ScoreRequest, Scores, Timings, Token,
};
use crate::prompt::{Prompt, Run};
use crate::thinking::{Splitter, Tags};
use crate::tools::{CallReader, Certain, Tool, ToolCall, ToolChoice};

/// What was said so far.
#[derive(Debug, Clone, Default)]
pub struct Chat {
    /// The oldest first; a first one of the system's takes the place of the Modelfile's. A last one of the assistant's is
    /// the beginning of the answer, which goes on from there.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    pub tool_choice: ToolChoice,
    /// Whether the model thinks before it answers; `None` leaves it to the template.
    pub think: Option<bool>,
}

impl Chat {
    /// The tools that may be called in the next turn.
    pub(super) fn callable(&self) -> &[Tool] {
        if self.tool_choice == ToolChoice::None { &[] } else { &self.tools }
    }

    /// The turns before the answer, and the beginning of the answer where somebody gave one.
    pub(super) fn turns(&self) -> (&[Message], Option<&str>) {
        match self.messages.split_last() {
            Some((last, turns)) if last.role == Role::Assistant && last.tool_calls.is_empty() => {
                (turns, Some(&last.content))
            }
            _ => (&self.messages, None),
        }
    }

    #[must_use]
    pub fn of(messages: Vec<Message>) -> Chat {
        Chat { messages, ..Chat::default() }
    }
}

/// A prompt that its writer made, without a chat template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Text in which special tokens are what they say.
    Raw(String),
    /// Tokens by their numbers.
    Tokens(Vec<Token>),
    /// A gap to be filled.
    Infill { before: String, behind: String },
}

/// A part of a reply.
#[derive(Debug, Clone)]
pub enum Piece {
    /// With the tokens that wrote it, where they are wanted. A closed answer is one token, whose alternatives are the other
    /// answers.
    Text(Written),
    /// What the model thinks before it answers.
    Thinking(String),
    /// A whole call of a tool.
    Call(ToolCall),
    /// The last.
    End(Box<End>),
}

/// How a reply ended, with what it took.
#[derive(Debug, Clone)]
pub struct End {
    pub finish: Finish,
    /// The stop string that ended it; `None` where the model ended its turn, or something else did.
    pub stopped_by: Option<String>,
    pub counts: Counts,
    pub timings: Timings,
    pub elapsed: Duration,
    /// The closed answer with its probabilities, where the form is closed.
    pub answer: Option<Answer>,
    /// What an open form makes of the text, or how the text breaks it.
    pub checked: Option<Result<Value, Violation>>,
    pub prompt_digest: String,
    pub evaluation_id: String,
    /// The tokens behind which the conversation goes on, where it is kept in tokens.
    pub context: Vec<Token>,
}

/// A reply on its way. Dropping it cancels it.
#[derive(Debug)]
pub struct Reply {
    events: UnboundedReceiver<Event>,
    kind: Kind,
    started: Instant,
    prompt_digest: String,
    evaluation_id: String,
    /// Made, and not yet given.
    ready: VecDeque<Piece>,
    /// Where the conversation's tokens are to be told.
    teller: Option<Teller>,
    is_over: bool,
}

#[derive(Debug)]
enum Kind {
    Scored {
        contract: Arc<Contract>,
        detail: Detail,
    },
    /// Held to a form, or to nothing.
    Written {
        open: Option<Open>,
        text: String,
        reading: Box<Reading>,
    },
    /// One call that the request asks for.
    Called {
        certain: Box<Certain>,
        text: String,
    },
}

impl Session {
    /// Sends a conversation and returns at once. With a contract the answer is scored, and its one piece of text is the
    /// answer's JSON; else it is generated, by the task's open form where it has one.
    ///
    /// # Errors
    /// The prompt cannot be made, or what is asked for together cannot be had together.
    pub fn reply(&self, task: &Task, contract: Option<Arc<Contract>>, chat: &Chat) -> Result<Reply, InferError> {
        let started = Instant::now();
        let tools = chat.callable();
        if !tools.is_empty() && (contract.is_some() || task.open.is_some()) {
            return Err(InferError::ToolsAndForm);
        }
        let certain = Certain::new(self.template.form(), tools, &chat.tool_choice, "tools")?;
        let Some(certain) = certain else {
            let prompt = self.render(task, contract.as_deref(), chat)?;
            let reading = if task.open.is_none() { self.reading(tools, &prompt) } else { Reading::default() };
            return Ok(self.reply_to(task, contract, prompt, reading, started));
        };
        let task = Task { open: Some(certain.open().clone()), ..task.clone() };
        let mut prompt = self.render(&task, None, chat)?;
        lead(&mut prompt, certain.lead(), &self.engine.info().specials.control);
        let mut reply = self.reply_to(&task, None, prompt, Reading::default(), started);
        reply.kind = Kind::Called { certain: Box::new(certain), text: String::new() };
        Ok(reply)
    }

    /// How many tokens a conversation has in front of the answer, as [`Session::reply`] sends it.
    ///
    /// # Errors
    /// As [`Session::reply`].
    pub async fn count(&self, task: &Task, contract: Option<&Contract>, chat: &Chat) -> Result<usize, InferError> {
        let prompt = self.render(task, contract, chat)?;
        match self.engine.send(Request::Tokenize(prompt)).recv().await {
            Some(Event::Tokenized(tokenized)) => Ok(tokenized.tokens.len()),
            Some(Event::Failed(error)) => Err(error.into()),
            _ => Err(EngineError::Stopped.into()),
        }
    }

    /// Goes on from a prompt that its writer made: what comes is text, without thoughts and calls.
    ///
    /// # Errors
    /// [`InferError::NoInfill`] where the model knows no gaps.
    pub fn continue_from(
        &self,
        task: &Task,
        contract: Option<Arc<Contract>>,
        given: &Given,
    ) -> Result<Reply, InferError> {
        let started = Instant::now();
        let run = |run| Prompt { runs: vec![run], ..Prompt::default() };
        let prompt = match given {
            Given::Raw(text) => run(Run::Raw(text.clone())),
            Given::Tokens(tokens) => run(Run::Tokens(tokens.clone())),
            Given::Infill { before, behind } => {
                let infill = self.engine.info().infill.as_ref().ok_or(InferError::NoInfill)?;
                infill.prompt(before, behind)
            }
        };
        Ok(self.reply_to(task, contract, prompt, Reading::default(), started))
    }

    /// How an answer is read: what is thought in it, and which tools it calls.
    fn reading(&self, tools: &[Tool], prompt: &Prompt) -> Reading {
        let form = self.template.form();
        let tags = self.template.thinking().tags();
        let marks = tags.iter().flat_map(Tags::marks).map(str::to_owned);
        let of_calls = form.marks().into_iter().filter(|_| !tools.is_empty()).map(str::to_owned);
        let thoughts = tags.map(|tags| Splitter::new(tags, &prompt.text()));
        let calls = (!tools.is_empty()).then(|| CallReader::new(form, tools));
        Reading::new(marks.chain(of_calls).collect(), thoughts, calls)
    }

    /// Sends a prompt that is made.
    fn reply_to(
        &self,
        task: &Task,
        contract: Option<Arc<Contract>>,
        prompt: Prompt,
        reading: Reading,
        started: Instant,
    ) -> Reply {
        let (prompt_digest, evaluation_id) = (digest(&prompt), self.evaluation_id(task));
        let adapters = self.adapters(task).clone();
        let teller = self.teller(&task.memory, &prompt);
        let (request, kind) = match contract {
            Some(contract) => {
                let (groups, turn_end) = (decide::groups(&contract), self.turn_end.clone());
                let request = ScoreRequest { prompt, groups, adapters, turn_end, lane: task.lane };
                (Request::Score(request), Kind::Scored { contract, detail: task.detail })
            }
            None => {
                let grammar = task.open.as_ref().map(|open| Grammar(open.shared_grammar()));
                let (sampling, detail, drafts) = (self.sampling(task), task.detail, task.drafts);
                let (bias, visible) = (task.bias.clone(), reading.visible.clone());
                let request = GenerateRequest {
                    adapters,
                    grammar,
                    detail,
                    drafts,
                    bias,
                    visible,
                    ..GenerateRequest::new(prompt, sampling)
                };
                let kind = Kind::Written { open: task.open.clone(), text: String::new(), reading: Box::new(reading) };
                (Request::Generate(request), kind)
            }
        };
        let events = self.engine.send(request);
        Reply { events, kind, started, prompt_digest, evaluation_id, ready: VecDeque::new(), teller, is_over: false }
    }
}

/// Puts the beginning of an answer behind its prompt as the model would have written it, with its special tokens.
fn lead(prompt: &mut Prompt, lead: &str, specials: &[String]) {
    let mut rest = lead;
    while !rest.is_empty() {
        let found = specials.iter().filter(|special| !special.trim().is_empty());
        let found = found.filter_map(|special| rest.find(special.as_str()).map(|at| (at, special)));
        let next = found.min_by_key(|(at, special)| (*at, std::cmp::Reverse(special.len())));
        let (text, behind) = match next {
            Some((at, special)) => (&rest[..at], Some(special)),
            None => (rest, None),
        };
        if !text.is_empty() {
            prompt.runs.push(Run::Text { text: text.to_owned(), persons: Vec::new() });
        }
        rest = &rest[text.len() + behind.map_or(0, String::len)..];
        prompt.runs.extend(behind.cloned().map(Run::Control));
    }
}

impl Reply {
    /// The next piece; `None` behind the last. Nothing is lost where the future is dropped.
    ///
    /// # Errors
    /// See [`InferError`]; no piece comes after one.
    pub async fn next(&mut self) -> Result<Option<Piece>, InferError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if self.is_over {
                let Some(teller) = &mut self.teller else { return Ok(None) };
                let told = teller.told().await;
                self.teller = self.teller.take().filter(|_| told.is_ok());
                return Ok(told?.map(Piece::End));
            }
            let event = self.events.recv().await;
            if let Err(error) = self.take(event) {
                self.is_over = true;
                return Err(error);
            }
        }
    }

    /// Under which equal questions have equal probabilities.
    #[must_use]
    pub fn evaluation_id(&self) -> &str {
        &self.evaluation_id
    }

    /// Makes pieces of an event.
    fn take(&mut self, event: Option<Event>) -> Result<(), InferError> {
        match (event, &mut self.kind) {
            (Some(Event::Text(piece)), Kind::Written { open, text, reading }) => {
                if open.is_some() {
                    *text += &piece.text;
                }
                reading.push(piece, &mut self.ready);
            }
            (Some(Event::Text(piece)), Kind::Called { text, .. }) => *text += &piece.text,
            (Some(Event::Generated(generation)), Kind::Written { open, text, reading }) => {
                let checked = open.as_ref().map(|open| match generation.finish {
                    Finish::Length => Err(Violation::Length),
                    Finish::Stop => open.check(text),
                });
                std::mem::take(&mut **reading).finish(&mut self.ready);
                self.written(generation, checked);
            }
            (Some(Event::Generated(generation)), Kind::Called { certain, text }) => {
                // One that broke off is no call, and what there is of it no answer either.
                let call = certain.call(text);
                let checked = call.map(|call| self.ready.push_back(Piece::Call(call)));
                let checked = checked.err().filter(|_| generation.finish == Finish::Stop).map(Err);
                self.written(generation, checked);
            }
            (Some(Event::Scored(scores)), Kind::Scored { contract, detail }) => {
                let answer = decide::answer(contract, &scores.groups);
                let tokens = match detail {
                    Detail::Likely { n } => closed::tokens(&answer, usize::from(*n)),
                    Detail::Text | Detail::Tokens => Vec::new(),
                };
                let text = answer.json.to_string();
                let said = Run::Text { text: text.clone(), persons: Vec::new() };
                self.ready.push_back(Piece::Text(Written { text, tokens }));
                let Scores { counts, timings, .. } = scores;
                self.end(End { answer: Some(answer), ..self.ending(Finish::Stop, counts, timings) }, said);
            }
            (Some(Event::Failed(error)), _) => return Err(error.into()),
            _ => return Err(EngineError::Stopped.into()),
        }
        Ok(())
    }

    /// A text has come to its end.
    fn written(&mut self, generation: Generation, checked: Option<Result<Value, Violation>>) {
        let Generation { finish, stopped_by, counts, timings, ids, .. } = generation;
        self.end(End { stopped_by, checked, ..self.ending(finish, counts, timings) }, Run::Tokens(ids));
    }

    /// How it ended, so far as that is known of every kind of answer.
    fn ending(&self, finish: Finish, counts: Counts, timings: Timings) -> End {
        End {
            finish,
            stopped_by: None,
            counts,
            timings,
            elapsed: self.started.elapsed(),
            answer: None,
            checked: None,
            prompt_digest: self.prompt_digest.clone(),
            evaluation_id: self.evaluation_id.clone(),
            context: Vec::new(),
        }
    }

    /// Nothing comes behind this but, where it is wanted, the conversation's tokens with what was said.
    fn end(&mut self, end: End, said: Run) {
        self.is_over = true;
        let end = Box::new(end);
        match &mut self.teller {
            Some(teller) => teller.ask(said, end),
            None => self.ready.push_back(Piece::End(end)),
        }
    }
}
