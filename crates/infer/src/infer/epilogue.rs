//! What is still asked of the engine once an answer is written, before its end is told: the probabilities of the options
//! that its fields had, and the tokens of the conversation with it.

use super::ask::Turn;
use super::memory::Memory;
use super::pieces::{End, Finding};
use super::reader::{Last, Reader};
use super::{InferError, Session};
use crate::extract;
use slm_engine::{AdapterSet, Detail, Engine, EngineError, ProbeRequest, Scores, Tokenized};
use slm_values::contract::Open;
use slm_values::prompt::{Prompt, Run};

/// What a reply's end is to tell beyond what the engine's own last event says.
#[derive(Debug, Clone)]
pub(super) struct Epilogue {
    engine: Engine,
    prompt: Prompt,
    fields: Option<Fields>,
    context: Option<Context>,
}

/// The fields of an answer that is written under a schema.
#[derive(Debug, Clone)]
struct Fields {
    open: Open,
    adapters: AdapterSet,
    /// What they were extracted from.
    input: String,
}

/// The tokens of the conversation.
#[derive(Debug, Clone)]
struct Context {
    /// The token that ends the answer's turn: the next turn must not begin inside of it.
    turn_end: Option<String>,
}

/// An end that waits for the engine's word.
#[derive(Debug)]
pub(super) struct Closing {
    pub end: Box<End>,
    fields: Option<(slm_engine::Reply<Scores>, extract::Reading)>,
    context: Option<slm_engine::Reply<Tokenized>>,
}

impl Session {
    /// For the reply to this prompt, where there is more to tell at its end.
    pub(super) fn epilogue(&self, turn: &Turn, reader: &Reader, prompt: &Prompt) -> Option<Epilogue> {
        let chat = turn.chat()?;
        let fields = match reader {
            Reader::Open { open, .. } if turn.detail == Detail::Tokens && open.schema().is_some() => Some(Fields {
                open: open.clone(),
                adapters: self.defaults.adapters.clone(),
                input: chat.last_text().to_owned(),
            }),
            _ => None,
        };
        let context = matches!(chat.memory, Memory::Tokens(_)).then(|| {
            let known = &self.engine.info().specials.control;
            Context { turn_end: self.turn_end.clone().filter(|end| known.contains(end)) }
        });
        if fields.is_none() && context.is_none() {
            return None;
        }
        Some(Epilogue { engine: self.engine.clone(), prompt: prompt.clone(), fields, context })
    }
}

impl Epilogue {
    /// Asks what the end is to tell.
    pub fn begin(self, mut end: Box<End>, last: Last) -> Closing {
        let Epilogue { engine, prompt, fields, context } = self;
        let reading = fields.and_then(|fields| fields.read(&end, &last));
        let fields = reading.and_then(|(reading, adapters)| {
            if reading.points.is_empty() {
                end.fields = Some(reading.alone());
                return None;
            }
            let (prompt, points) = (prompt.clone(), reading.points.clone());
            let request = ProbeRequest { prompt, adapters, generated: last.tokens, points };
            Some((engine.probing(request), reading))
        });
        let context = context.map(|Context { turn_end }| {
            let mut prompt = prompt;
            prompt.runs.push(last.said);
            prompt.runs.extend(turn_end.map(Run::Control));
            engine.tokenizing(prompt)
        });
        Closing { end, fields, context }
    }
}

impl Fields {
    /// What the answer's text and tokens tell; nothing where it does not meet its schema.
    fn read(self, end: &End, last: &Last) -> Option<(extract::Reading, AdapterSet)> {
        let is_met = matches!(end.finding, Finding::Open(Ok(_))) && !last.tokens.is_empty();
        let schema = self.open.schema().filter(|_| is_met)?;
        let reading = extract::read(schema, &last.text, &last.tokens, &self.input)?;
        Some((reading, self.adapters))
    }
}

impl Closing {
    /// Waits until the end has all that it is to tell. Nothing is lost where the future is dropped.
    pub async fn finish(&mut self) -> Result<(), InferError> {
        if let Some((scores, _)) = &mut self.fields {
            let scores = scores.await;
            let reading = self.fields.take().map(|(_, reading)| reading);
            self.end.fields = match scores {
                Ok(scores) => reading.map(|reading| reading.with(&scores.groups)),
                // Recurrent models cannot go back into a text.
                Err(EngineError::NoBranches) => reading.map(extract::Reading::alone),
                Err(error) => return Err(error.into()),
            };
        }
        if let Some(tokenized) = &mut self.context {
            let tokenized = tokenized.await;
            self.context = None;
            self.end.context = tokenized?.tokens.into_iter().map(|token| token.id).collect();
        }
        Ok(())
    }
}
