//! A model on another server, asked as a loaded one is: an [`Ask`] becomes its question, its answer a finished reply.
//!
//! Its answers come whole. A closed answer has probabilities where the remote tells that of every allowed answer; without them it
//! is a value that was checked.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::ask::{Ask, Chat, LabelSpelling, Turn};
use super::closed::{self, Spelling};
use super::hosted::{HostedBatch, HostedResult};
use super::pieces::{End, Finding, Finished};
use super::reply::Reply;
use super::{Defaults, InferError};
use crate::decide::{Answer, FieldAnswer};
use slm_engine::{Counts, Detail, Finish, Timings};
use slm_remote::{Client, Content, Dialect, FieldProbabilities, Unanswered};
use slm_values::chat::{Message, Role};
use slm_values::contract::{AllowedAnswer, Contract, Field, Form};
use slm_values::digest::Hasher;

/// A model on another server with its Modelfile's settings.
#[derive(Debug)]
pub struct RemoteModel {
    client: Client,
    defaults: Defaults,
    /// Whose threads speak to the network, whoever waits for the answer.
    runtime: Handle,
}

/// A question to a remote, and what its answer is read by.
#[derive(Debug, Clone)]
struct Asked {
    question: slm_remote::Question,
    detail: Detail,
    spelling: Spelling,
}

impl RemoteModel {
    #[must_use]
    pub fn new(client: Client, defaults: Defaults, runtime: Handle) -> RemoteModel {
        RemoteModel { client, defaults, runtime }
    }

    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What the Modelfile says about every request.
    #[must_use]
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// Asks, and returns at once; the answer takes at most `limit`.
    ///
    /// # Errors
    /// It is nothing that a remote can be asked.
    pub(super) fn ask(&self, ask: Ask, limit: Duration) -> Result<Reply, InferError> {
        let asked = self.asked(ask)?;
        let (client, started, prompt_digest) = (self.client.clone(), Instant::now(), self.digest(&asked.question));
        let question = asked.question.clone();
        let sent = self.runtime.spawn(async move { client.ask_within(&question, limit).await });
        let sent = Sent(sent);
        Ok(Reply::of_work(async move {
            let answer = sent.answer().await?;
            Ok(asked.finished(answer, started, prompt_digest))
        }))
    }

    /// As [`RemoteModel::ask`] through a hosted batch: by its result, where that has one of this key. `None` where the question was
    /// written down and waits.
    ///
    /// # Errors
    /// It is nothing that a remote can be asked, or the batch has no answer to it.
    pub(super) fn ask_hosted(&self, ask: Ask, batch: &HostedBatch, key: &str) -> Result<Option<Finished>, InferError> {
        let (asked, started) = (self.asked(ask)?, Instant::now());
        let missing = match (batch.result)(key) {
            Some(HostedResult::Answered(body)) => {
                let answer = self.client.batch_answer(&asked.question, &body)?;
                let prompt_digest = self.digest(&asked.question);
                return Ok(Some(asked.finished(answer, started, prompt_digest)));
            }
            Some(HostedResult::Failed(why)) => why,
            None => format!("its results have none of `{key}`"),
        };
        let Some(write) = &batch.write else { return Err(InferError::NotInBatch(missing)) };
        let (path, body) = self.client.batch_request(&asked.question).map_err(Unanswered::from)?;
        write(key, &path, &body).map_err(InferError::NotInBatch)?;
        Ok(None)
    }

    fn asked(&self, ask: Ask) -> Result<Asked, InferError> {
        match ask {
            Ask::Turn(turn) => self.of_turn(*turn),
            Ask::Question { system, state, question, .. } => self.of_question(system, state, &question),
            Ask::Prompt(_) => Err(not_there("tells nothing of a prompt's own tokens")),
            Ask::Vectors { .. } => Err(not_there("makes no embeddings here")),
        }
    }

    /// Identifies what it is asked without the text.
    pub(super) fn prompt_digest(&self, turn: Turn) -> Result<String, InferError> {
        Ok(self.digest(&self.of_turn(turn)?.question))
    }

    /// Identifies the remote, as far as anybody can know who computes there.
    #[must_use]
    pub(super) fn identity(&self) -> String {
        let remote = self.client.remote();
        let who = json!([remote.base_url(), remote.model, remote.dialect.as_str(), remote.body]);
        let mut hash = Hasher::new();
        hash.update(who.to_string().as_bytes());
        hash.finish().id()
    }

    fn digest(&self, question: &slm_remote::Question) -> String {
        let earlier: Vec<Value> =
            question.earlier.iter().map(|message| json!([message.role.as_str(), message.content])).collect();
        let asked = json!([self.identity(), question.system, earlier, question.form.schema()]);
        let mut hash = Hasher::new();
        hash.update(asked.to_string().as_bytes());
        hash.finish().id()
    }

    fn of_turn(&self, turn: Turn) -> Result<Asked, InferError> {
        let Turn { form, parameters, bias, detail, spelling, abstained, .. } = &turn;
        let chat = turn.chat().ok_or(not_there("answers messages and continues no prompt"))?;
        if !chat.callable().is_empty() {
            return Err(not_there("is given no tools here"));
        }
        if !bias.is_empty() {
            return Err(not_there("is given no logit bias here"));
        }
        if chat.think == Some(true) {
            return Err(not_there("does not tell what it thinks"));
        }
        if chat.template.is_some() || chat.memory.goes_on() {
            return Err(not_there("makes its prompts itself"));
        }
        let (system, earlier, text) = self.messages(chat)?;
        let parameters = parameters.clone().over(self.defaults.parameters.clone());
        let question = slm_remote::Question { system, earlier, text, form: form.clone(), parameters };
        let spelling = Spelling { label: *spelling, abstained: abstained.clone() };
        Ok(Asked { question, detail: *detail, spelling })
    }

    /// The system's words, what was said before the text, and the text.
    fn messages(&self, chat: &Chat) -> Result<(Option<String>, Vec<Message>, String), InferError> {
        let (system, turns) = match chat.messages.split_first() {
            Some((first, turns)) if first.role == Role::System => (Some(first.content.clone()), turns),
            _ => (self.defaults.system.clone(), chat.messages.as_slice()),
        };
        let (text, before) = turns.split_last().ok_or(not_there("needs a message to answer"))?;
        if text.role != Role::User {
            return Err(not_there("answers a user's message and continues no answer"));
        }
        let earlier = self.defaults.messages.iter().chain(before).cloned().collect();
        Ok((system.filter(|system| !system.is_empty()), earlier, text.content.clone()))
    }

    fn of_question(
        &self,
        system: Option<String>,
        state: String,
        question: &crate::decide::Question,
    ) -> Result<Asked, InferError> {
        let form = Form::from_schema(question.schema()).map_err(|_| not_there("cannot be asked this question"))?;
        let system = system.or_else(|| self.defaults.system.clone()).filter(|system| !system.is_empty());
        // The other dialects put the instructions into the question itself.
        let asks = (self.client.remote().dialect == Dialect::Chat).then(|| question.instructions.trim().to_owned());
        let words: Vec<String> = system.into_iter().chain(asks.filter(|asks| !asks.is_empty())).collect();
        let system = (!words.is_empty()).then(|| words.join("\n\n"));
        let earlier = self.defaults.messages.clone();
        let parameters = self.defaults.parameters.clone();
        let question = slm_remote::Question { system, earlier, text: state, form, parameters };
        Ok(Asked { question, detail: Detail::Text, spelling: Spelling::default() })
    }
}

/// A question on its way. Dropping it gives it up.
struct Sent(tokio::task::JoinHandle<Result<slm_remote::Answer, Unanswered>>);

impl Sent {
    async fn answer(mut self) -> Result<slm_remote::Answer, InferError> {
        match (&mut self.0).await {
            Ok(answered) => Ok(answered?),
            // Its runtime has ended.
            Err(_) => Err(slm_engine::EngineError::Stopped.into()),
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Asked {
    fn finished(self, answer: slm_remote::Answer, started: Instant, prompt_digest: String) -> Finished {
        let slm_remote::Answer { content, usage, cost, .. } = answer;
        let of = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let (prompt, generated) = usage.map_or((0, 0), |usage| (of(usage.input), of(usage.output)));
        let mut end = End {
            finish: Finish::Stop,
            stopped_by: None,
            counts: Counts { prompt, generated, ..Counts::default() },
            timings: Timings::default(),
            elapsed: started.elapsed(),
            finding: Finding::Free,
            fields: None,
            prompt_digest,
            evaluation_id: None,
            prompt_tokens: Vec::new(),
            context: Vec::new(),
            cost,
            path: Vec::new(),
            review: None,
            state: None,
        };
        let mut tokens = Vec::new();
        let text = match (content, &self.question.form) {
            (Content::Text(text), _) => text,
            (Content::Cut(text), _) => {
                end.finish = Finish::Length;
                text
            }
            (Content::Value { json, probabilities }, form) => {
                let text = match form {
                    // A text under a grammar.
                    Form::Open(open) if open.schema().is_none() => closed::spelled(&json, LabelSpelling::Bare),
                    _ => closed::spelled(&json, self.spelling.label),
                };
                end.finding = match form {
                    Form::Closed(contract) => match closed_answer(contract, &json, &probabilities) {
                        Some(answer) => {
                            if let Detail::Likely { n } = self.detail {
                                tokens = closed::tokens(&answer, usize::from(n), &self.spelling);
                            }
                            Finding::Closed(answer)
                        }
                        None => Finding::Open(Ok(json)),
                    },
                    Form::Open(_) | Form::Free => Finding::Open(Ok(json)),
                };
                text
            }
        };
        Finished { text, tokens, thinking: String::new(), calls: Vec::new(), end: Box::new(end) }
    }
}

/// The answer with the probabilities of all fields, where the remote gave them for every allowed answer.
fn closed_answer(contract: &Contract, json: &Value, told: &[FieldProbabilities]) -> Option<Answer> {
    let field = |field: &Field| {
        let name = field.name();
        let probabilities: Vec<(Value, f64)> = if field.options.len() == 1 {
            vec![(field.options[0].value.clone(), 1.0)]
        } else {
            let told = told.iter().find(|told| contract.is_bare() || told.field == name)?;
            let of = |option: &AllowedAnswer| told.of.iter().find(|(value, _)| *value == option.value).cloned();
            field.options.iter().map(of).collect::<Option<_>>()?
        };
        let value = field.path.iter().try_fold(json, |at, name| at.get(name))?.clone();
        Some(FieldAnswer { name, value, probabilities, label_mass: None, fitted: None, review: None })
    };
    let fields = contract.fields().iter().map(field).collect::<Option<Vec<_>>>()?;
    (!fields.is_empty()).then(|| Answer { fields, json: json.clone() })
}

fn not_there(what: &'static str) -> InferError {
    InferError::Elsewhere { who: "remote", what }
}
