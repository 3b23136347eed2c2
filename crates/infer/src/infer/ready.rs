//! A question between its prompt and its answer: the prompt can be looked at and counted before it is sent, and sent several
//! times.

use std::sync::Arc;
use std::time::Instant;

use super::ask::{Chat, Scoring, Turn};
use super::closed::Spelling;
use super::epilogue::Epilogue;
use super::fit::Applied;
use super::reader::{Reader, Stage};
use super::reading::Reading;
use super::render::{digest, lead};
use super::reply::{Origin, Reply, Rest};
use super::{InferError, Session};
use slm_engine::{Engine, GenerateRequest, Grammar, Lane, Request, ScoreRequest, StateAt, Tokenized};
use slm_values::contract::Form;
use slm_values::prompt::Prompt;
use slm_values::sampling::AnswerShape;
use slm_values::thinking::{Splitter, Tags};
use slm_values::tools::{CallReader, ForcedCall, Tool};

/// A question with its prompt. Nothing of it has reached the engine yet.
#[derive(Debug, Clone)]
pub struct Ready {
    pub(super) engine: Engine,
    pub(super) request: Prompted,
    reader: Reader,
    epilogue: Option<Epilogue>,
    evaluation_id: Option<String>,
    /// The examples of which its row has its own.
    examples_id: Option<String>,
    /// What a closed question is about.
    text: Option<Arc<str>>,
    started: Instant,
}

/// A request with a prompt.
#[derive(Debug, Clone)]
pub(super) enum Prompted {
    Score(ScoreRequest),
    /// The first layers are asked, and all of them where these do not know.
    Early {
        n_layers: u32,
        whole: ScoreRequest,
    },
    Generate(GenerateRequest),
}

impl Session {
    /// Makes a turn's prompt. [`Session::ask`] does this and sends it.
    ///
    /// # Errors
    /// The prompt cannot be made, or the request combines what cannot be combined.
    pub fn ready(&self, turn: Turn) -> Result<Ready, InferError> {
        let started = Instant::now();
        let turn = self.prepared_here(turn)?;
        match turn.chat().and_then(|chat| chat.template.clone()) {
            Some(template) => self.with_template(template).ready_here(turn, started),
            None => self.ready_here(turn, started),
        }
    }

    /// As [`Session::ready`], with this session's own template.
    fn ready_here(&self, turn: Turn, started: Instant) -> Result<Ready, InferError> {
        if !turn.bias.is_empty() && matches!(turn.form, Form::Closed(_)) {
            return Err(InferError::BiasAndClosed);
        }
        let tools = turn.chat().map_or(&[][..], Chat::callable);
        if !tools.is_empty() && !matches!(turn.form, Form::Free) {
            return Err(InferError::ToolsAndForm);
        }
        let forced = match turn.chat() {
            Some(chat) => ForcedCall::new(self.template.call_format(), tools, &chat.tool_choice, "tools")?,
            None => None,
        };
        let form = forced.as_ref().map_or_else(|| turn.form.clone(), |forced| Form::Open(forced.open().clone()));
        let wording = self.wording(turn.scoring.wording);
        let mut prompt = self.prompt(&turn.before, &form, wording)?;
        let groups = match &form {
            Form::Closed(contract) => wording.groups(contract, turn.chat().map_or("", |_| self.lead())),
            Form::Open(_) | Form::Free => Vec::new(),
        };
        let examples_id = turn.chat().and_then(|chat| self.examples_id(chat)).map(str::to_owned);
        let (mut state, mut n_layers) = (turn.state, None);
        let reader = match (forced, &form) {
            (Some(forced), _) => {
                lead(&mut prompt, forced.lead(), &self.engine.info().specials.control);
                Reader::Call { forced: Box::new(forced), text: String::new() }
            }
            (None, Form::Closed(_)) if matches!(state, Some(StateAt::Layers(_))) => Reader::State,
            (None, Form::Closed(contract)) => {
                let fit = self.fit_for(&turn, contract, || digest(&prompt, &groups, examples_id.as_deref()))?;
                state = state.or_else(|| fit.as_ref().and_then(Applied::state));
                n_layers = fit.as_ref().and_then(Applied::depth).map(|depth| depth.layers);
                let stage = if n_layers.is_some() { Stage::Part } else { Stage::Whole };
                let spelling = Spelling { label: turn.spelling, abstained: turn.abstained.clone() };
                Reader::Closed { contract: contract.clone(), detail: turn.detail, spelling, fit, stage }
            }
            (None, Form::Open(open)) => Reader::Open { open: open.clone(), text: String::new() },
            // After a prompt that its writer made, all is text.
            (None, Form::Free) if turn.chat().is_none() => Reader::Free(Box::default()),
            (None, Form::Free) => Reader::Free(Box::new(self.reading(tools, &prompt))),
        };
        let epilogue = self.epilogue(&turn, &reader, &prompt);
        let is_closed = matches!(reader, Reader::Closed { .. });
        let text = is_closed.then(|| turn.before.text()).flatten().map(Arc::from);
        let request = match &form {
            Form::Closed(_) => {
                let whole = ScoreRequest { state, ..self.scored(prompt, groups, turn.scoring) };
                match (state, n_layers) {
                    (Some(StateAt::Layers(n_layers)), _) => Prompted::Score(whole.only_layers(n_layers)),
                    (_, Some(n_layers)) => Prompted::Early { n_layers, whole },
                    (_, None) => Prompted::Score(whole),
                }
            }
            Form::Open(open) => self.generated(turn, prompt, Some(Grammar(open.shared_grammar())), &reader),
            Form::Free => self.generated(turn, prompt, None, &reader),
        };
        Ok(Ready { epilogue, examples_id, text, ..self.with_prompt(request, reader, started) })
    }

    /// What has no more to tell at its end than the engine.
    pub(super) fn with_prompt(&self, request: Prompted, reader: Reader, started: Instant) -> Ready {
        let evaluation_id = request.canonical().map(|scoring| self.evaluation_id(scoring));
        let engine = self.engine.clone();
        Ready { engine, request, reader, epilogue: None, evaluation_id, examples_id: None, text: None, started }
    }

    /// Candidates to be scored after a prompt.
    pub(super) fn scored(&self, prompt: Prompt, groups: Vec<slm_engine::Group>, scoring: Scoring) -> ScoreRequest {
        let (adapters, turn_end) = (self.defaults.adapters.clone(), self.turn_end.clone());
        let Scoring { reading, search, lane, .. } = scoring;
        ScoreRequest { prompt, groups, reading, search, adapters, turn_end, lane, state: None }
    }

    /// Text to be written after a prompt.
    fn generated(&self, turn: Turn, prompt: Prompt, grammar: Option<Grammar>, reader: &Reader) -> Prompted {
        let shape = if grammar.is_some() { AnswerShape::Formatted } else { AnswerShape::Open };
        let sampling = turn.parameters.over(self.defaults.parameters.clone()).resolve(shape);
        let (adapters, visible) = (self.defaults.adapters.clone(), reader.visible());
        let (detail, drafts, bias) = (turn.detail, turn.drafts, turn.bias);
        let request = GenerateRequest::new(prompt, sampling);
        Prompted::Generate(GenerateRequest { adapters, grammar, detail, drafts, bias, visible, ..request })
    }

    /// How free text is read: what is thought in it, and which tools it calls.
    fn reading(&self, tools: &[Tool], prompt: &Prompt) -> Reading {
        let format = self.template.call_format();
        let tags = self.template.thinking().tags();
        let marks = tags.iter().flat_map(Tags::marks).map(str::to_owned);
        let of_calls = format.marks().into_iter().filter(|_| !tools.is_empty()).map(str::to_owned);
        let thoughts = tags.map(|tags| Splitter::new(tags, &prompt.text()));
        let calls = (!tools.is_empty()).then(|| CallReader::new(format, tools));
        Reading::new(marks.chain(of_calls).collect(), thoughts, calls)
    }
}

impl Prompted {
    /// How it is scored, where what the engine gives does not depend on what else it does: generated text shares its batches and its cells
    /// with other requests, and so do questions that are scored for throughput.
    fn canonical(&self) -> Option<Scoring> {
        match self {
            Prompted::Score(request) | Prompted::Early { whole: request, .. } if request.lane == Lane::Canonical => {
                let (reading, search) = (request.reading, request.search);
                Some(Scoring { reading, search, ..Scoring::default() })
            }
            Prompted::Score(_) | Prompted::Early { .. } | Prompted::Generate(_) => None,
        }
    }
}

impl Ready {
    #[must_use]
    pub fn prompt(&self) -> &Prompt {
        match &self.request {
            Prompted::Score(request) | Prompted::Early { whole: request, .. } => &request.prompt,
            Prompted::Generate(request) => &request.prompt,
        }
    }

    /// What a closed question is about: the user's last words, or a prompt that its writer made.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Identifies the prompt without the text: template, system message, examples, contract and its wording.
    #[must_use]
    pub fn prompt_digest(&self) -> String {
        let groups = match &self.request {
            Prompted::Score(request) | Prompted::Early { whole: request, .. } => request.groups.as_slice(),
            Prompted::Generate(_) => &[],
        };
        digest(self.prompt(), groups, self.examples_id.as_deref())
    }

    /// The prompt's tokens.
    pub fn tokenize(&self) -> slm_engine::Reply<Tokenized> {
        self.engine.tokenizing(self.prompt().clone())
    }

    /// The same once more, for another answer: where the random numbers begin somewhere, they begin `number` further on.
    #[must_use]
    pub fn nth(&self, number: u32) -> Ready {
        let mut ready = self.clone();
        if let Prompted::Generate(request) = &mut ready.request {
            request.sampling.seed = request.sampling.seed.map(|seed| seed.wrapping_add(number));
        }
        ready
    }

    /// Sends it, and returns at once.
    pub fn send(self) -> Reply {
        let prompt_digest = self.prompt_digest();
        let Ready { engine, request, reader, epilogue, evaluation_id, started, .. } = self;
        let origin = Origin { started, prompt_digest, evaluation_id };
        let begun = |request: Request| Reply::new(engine.send(request), reader, epilogue, origin);
        match request {
            Prompted::Score(request) => begun(Request::Score(request)),
            Prompted::Early { n_layers, whole } => {
                let reply = begun(Request::Score(whole.only_layers(n_layers)));
                reply.then(Rest { engine, request: Request::Score(whole) })
            }
            Prompted::Generate(request) => begun(Request::Generate(request)),
        }
    }
}
