//! A text on its way through the tiers of a cascade: which of them answers decides `slm-cascade`; here they are opened, asked, timed
//! and paid.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Handle;

use super::handing::{draft, value};
use super::{CascadeDoor, Watcher};
use crate::decide::{Answer, FieldAnswer, ModelFit};
use crate::infer::InferError;
use crate::infer::ask::Ask;
use crate::infer::closed::{self, Spelling};
use crate::infer::hosted::HostedResult;
use crate::infer::pieces::{Finding, Finished};
use crate::infer::responder::Responder;
use slm_cascade::{Answered, Exhausted, FieldView, Outcome, Reason, Step};
use slm_engine::{Counts, EngineError, Finish, Timings};
use slm_remote::{RemoteError, Unanswered};
use slm_values::contract::{Contract, Field, Form, Violation};

/// A text on its way through the tiers.
pub struct Course {
    door: CascadeDoor,
    ask: Ask,
    started: Instant,
    steps: Vec<Step>,
    /// What the tiers so far answered.
    labels: Vec<(Option<String>, Value)>,
    /// The last answer that was not taken.
    last: Option<Finished>,
    /// Whether it counts among those that reach a second tier.
    has_gone_on: bool,
    counts: Counts,
}

/// Why a tier has no answer.
enum Missed {
    /// With what it cost all the same.
    Answer(Reason, Option<f64>),
    /// It comes with a hosted batch.
    Waits,
}

impl Course {
    /// A text that begins now.
    pub fn new(door: CascadeDoor, ask: Ask) -> Course {
        Course {
            door,
            ask,
            started: Instant::now(),
            steps: Vec::new(),
            labels: Vec::new(),
            last: None,
            has_gone_on: false,
            counts: Counts::default(),
        }
    }

    /// Asks the tiers until one's answer is taken.
    ///
    /// # Errors
    /// No tier gave an answer, or none that is taken where that is an error.
    pub async fn run(mut self) -> Result<Finished, InferError> {
        let model = self.door.model.clone();
        for (nth, tier) in model.cascade.tiers.iter().enumerate() {
            let began = Instant::now();
            let mut step = Step {
                tier: tier.name.clone(),
                outcome: Outcome::Accepted,
                answer: None,
                elapsed: Duration::ZERO,
                cost: None,
            };
            if tier.is_remote() {
                model.spend(0.0).await;
            }
            let ready = match self.ready(nth) {
                Ok(ask) => self.go_on(nth).await.map(|()| ask),
                Err(reason) => Err(reason),
            };
            let ask = match ready {
                Ok(ask) => ask,
                Err(reason) => {
                    self.steps.push(Step { outcome: Outcome::PassedOver(reason), ..step });
                    continue;
                }
            };
            let answered = self.asked(nth, ask).await;
            step.elapsed = began.elapsed();
            match answered {
                Ok((finished, fit)) => {
                    step.answer = value(&finished);
                    step.cost = finished.end.cost;
                    add(&mut self.counts, finished.end.counts);
                    if let Some(cost) = step.cost {
                        model.spend(cost).await;
                    }
                    let taken = self.judged(nth, &finished, fit.as_deref());
                    let outcome = taken.map_or_else(Outcome::WentOn, |()| Outcome::Accepted);
                    let is_taken = outcome == Outcome::Accepted;
                    self.steps.push(Step { outcome, ..step });
                    if is_taken {
                        return Ok(self.end(finished));
                    }
                    self.last = Some(finished);
                }
                Err(Missed::Waits) => return Err(InferError::Waits),
                Err(Missed::Answer(reason, cost)) => {
                    if let Some(cost) = cost {
                        model.spend(cost).await;
                    }
                    self.steps.push(Step { outcome: Outcome::WentOn(reason), cost, ..step });
                }
            }
        }
        self.exhausted()
    }

    /// What the tier of this number is asked, or why it is not.
    fn ready(&mut self, nth: usize) -> Result<Ask, Reason> {
        let model = &self.door.model;
        let cascade = &model.cascade;
        let tier = &cascade.tiers[nth];
        if let Some(limit) = self.limit()
            && self.started.elapsed() >= limit
        {
            return Err(Reason::Time { limit });
        }
        let draft = self.last.as_ref().map(draft);
        let ask = model.asks(nth, &self.ask, (&self.labels, draft.as_ref()))?;
        if tier.is_remote() && self.has_result(nth) {
            // It has left already, and is paid for.
            return Ok(ask);
        }
        if tier.is_remote() {
            model.spending().may_pay(&cascade.budget, (model.today)())?;
        }
        Ok(ask)
    }

    /// Counts the text where it reaches a second tier; words cost nothing, so that what they hand on is not yet an escalation. What a
    /// hosted batch has answered was counted when it was written down.
    async fn go_on(&mut self, nth: usize) -> Result<(), Reason> {
        let is_escalated = self.door.model.cascade.tiers[..nth].iter().any(|tier| !tier.is_words());
        if is_escalated && !self.has_gone_on && !self.has_result(nth) {
            self.door.model.clone().go_on().await?;
            self.has_gone_on = true;
        }
        Ok(())
    }

    /// How long the text may take: for as long as it likes where its questions go through a hosted batch.
    fn limit(&self) -> Option<Duration> {
        self.door.model.cascade.budget.limit.filter(|_| self.door.hosted.is_none())
    }

    /// Whether a hosted batch has answered what this tier is asked.
    fn has_result(&self, nth: usize) -> bool {
        let tier = &self.door.model.cascade.tiers[nth];
        let hosted = self.door.hosted.as_ref();
        let result = hosted.and_then(|hosted| hosted.result(&hosted.key(&tier.name, &self.ask)));
        matches!(result, Some(HostedResult::Answered(_)))
    }

    /// The tier's answer, with the fit that made its probabilities final.
    async fn asked(&self, nth: usize, ask: Ask) -> Result<(Finished, Option<Arc<ModelFit>>), Missed> {
        let model = &self.door.model;
        let tier = &model.cascade.tiers[nth];
        let left = self.limit().map(|limit| (limit, limit.saturating_sub(self.started.elapsed())));
        let opening = self.door.opener.open(nth);
        let answered = async {
            let held = opening.await.map_err(|why| Missed::Answer(Reason::Failed(why), None))?;
            if let (Responder::Remote(remote), Some(hosted)) = (&held.responder, &self.door.hosted) {
                let asked = remote.ask_hosted(ask, &hosted.batch, &hosted.key(&tier.name, &self.ask));
                return asked.map_err(failed)?.map(|finished| (finished, None)).ok_or(Missed::Waits);
            }
            let reply = async {
                match &held.responder {
                    Responder::Remote(remote) => remote.ask(ask, left.map_or(Duration::MAX, |(_, left)| left)),
                    other => other.ask(other.prepared(ask).await?),
                }
            };
            let finished = async { reply.await?.whole().await }.await;
            let fit = held.responder.defaults().fit.clone();
            drop(held);
            finished.map(|finished| (finished, fit)).map_err(failed)
        };
        let Some((limit, left)) = left else { return answered.await };
        // A remote ends by itself in that time, so that its failure is counted as such.
        let left = if tier.is_remote() { left + Duration::from_millis(50) } else { left };
        let late = || Err(Missed::Answer(Reason::Time { limit }, None));
        within(&model.runtime, left, answered).await.unwrap_or_else(late)
    }

    /// Whether an answer is taken; its labels are remembered.
    fn judged(&mut self, nth: usize, finished: &Finished, fit: Option<&ModelFit>) -> Result<(), Reason> {
        let cascade = &self.door.model.cascade;
        let form = match &self.ask {
            Ask::Turn(turn) => Some(&turn.form),
            _ => None,
        };
        let answered = match &finished.end.finding {
            Finding::Closed(answer) => Answered::Closed(answer.fields.iter().map(view).collect()),
            Finding::Open(Ok(value)) => Answered::Plain(labels(form, value)),
            Finding::Open(Err(Violation::Length)) => return Err(Reason::Truncated),
            Finding::Open(Err(violation)) => return Err(Reason::Broken(violation.to_string())),
            Finding::Free if finished.end.finish == Finish::Length && nth + 1 < cascade.tiers.len() => {
                return Err(Reason::Truncated);
            }
            Finding::Free | Finding::Vectors(_) => Answered::Plain(Vec::new()),
        };
        let labels = answered.labels();
        self.labels.extend(labels.into_iter().map(|(name, label)| (name.map(str::to_owned), label.clone())));
        // Every answer counts, not those alone that are taken.
        let drift =
            finished.end.answer().and_then(|answer| self.door.model.drifted(nth, fit, (answer, self.ask.text())));
        cascade.accepts(nth, &answered)?;
        drift.map_or(Ok(()), |why| Err(Reason::Drift(why)))
    }

    /// An answer as the cascade's.
    fn end(self, mut finished: Finished) -> Finished {
        let costs: Vec<f64> = self.steps.iter().filter_map(|step| step.cost).collect();
        let end = &mut *finished.end;
        end.elapsed = self.started.elapsed();
        end.counts = self.counts;
        // Of one tier they would be times of something else than the counts.
        end.timings = Timings::default();
        end.cost = (!costs.is_empty()).then(|| costs.iter().sum());
        if let Some(Watcher(watch)) = &self.door.watcher {
            watch(&self.steps);
        }
        end.path = self.steps;
        finished
    }

    /// What becomes of a text that no tier's answer was taken of.
    fn exhausted(mut self) -> Result<Finished, InferError> {
        let why = self.steps.iter().filter_map(|step| Some(format!("`{}`: {}", step.tier, step.outcome.reason()?)));
        let why = why.collect::<Vec<_>>().join("; ");
        match (self.door.model.cascade.on_exhausted, self.last.take()) {
            (Exhausted::Best, Some(last)) => Ok(self.end(last)),
            (Exhausted::Review, Some(last)) => {
                let last = self.withheld(last, &why);
                Ok(self.end(last))
            }
            (Exhausted::Error, _) | (_, None) => {
                if let Some(Watcher(watch)) = &self.door.watcher {
                    watch(&self.steps);
                }
                Err(InferError::Exhausted { why })
            }
        }
    }

    /// The last answer as the best guess, withheld.
    fn withheld(&self, mut finished: Finished, why: &str) -> Finished {
        let reason: Arc<str> = format!("no tier's answer was taken: {why}").into();
        let end = &mut *finished.end;
        end.review = Some(reason.to_string());
        finished.tokens = Vec::new();
        match &mut end.finding {
            Finding::Closed(answer) => {
                answer.fields.iter_mut().for_each(|field| field.review = Some(reason.clone()));
                let (contract, spelling) = match &self.ask {
                    Ask::Turn(turn) => (
                        self::contract(&turn.form),
                        Spelling { label: turn.spelling, abstained: turn.abstained.clone() },
                    ),
                    _ => (None, Spelling::default()),
                };
                answer.json = contract.map_or(Value::Null, |contract| Answer::of(contract, answer.fields.clone()).json);
                finished.text = closed::text(answer, &spelling);
            }
            Finding::Open(value) => {
                *value = Ok(Value::Null);
                finished.text = String::new();
            }
            Finding::Free | Finding::Vectors(_) => finished.text = String::new(),
        }
        finished
    }
}

fn view(field: &FieldAnswer) -> FieldView<'_> {
    FieldView {
        name: field.name.as_deref(),
        label: &field.value,
        probability: field.probability(),
        margin: field.margin(),
        withheld: field.abstention().map(|why| why.to_string()),
    }
}

/// The closed fields of a value without probabilities.
fn labels(form: Option<&Form>, value: &Value) -> Vec<(Option<String>, Value)> {
    let Some(contract) = form.and_then(contract) else { return vec![(None, value.clone())] };
    let field = |field: &Field| {
        let label = field.path.iter().try_fold(value, |at, name| at.get(name))?;
        Some((field.name(), label.clone()))
    };
    contract.fields().iter().filter_map(field).collect()
}

fn contract(form: &Form) -> Option<&Contract> {
    match form {
        Form::Closed(contract) => Some(contract),
        Form::Open(_) | Form::Free => None,
    }
}

/// Why a tier has no answer.
fn failed(error: InferError) -> Missed {
    let said = error.to_string();
    let (reason, cost) = match error {
        InferError::Waits => return Missed::Waits,
        InferError::Engine(EngineError::Context { .. } | EngineError::TextTooLong { .. }) => {
            (Reason::DoesNotFit(said), None)
        }
        InferError::Remote(Unanswered { error, cost, .. }) => {
            let reason = match error {
                RemoteError::Unfinished | RemoteError::Broken(Violation::Length) => Reason::Truncated,
                RemoteError::Broken(violation) => Reason::Broken(violation.to_string()),
                RemoteError::Declined(_) => Reason::Refused(said),
                RemoteError::Open { .. } => Reason::Open(said),
                _ => Reason::Failed(said),
            };
            (reason, cost)
        }
        _ => (Reason::Failed(said), None),
    };
    Missed::Answer(reason, cost)
}

fn add(to: &mut Counts, counts: Counts) {
    to.prompt += counts.prompt;
    to.reused += counts.reused;
    to.branch += counts.branch;
    to.generated += counts.generated;
    to.forced += counts.forced;
    to.drafted += counts.drafted;
    to.accepted += counts.accepted;
}

/// Waits for some work for so long and no longer, on whatever thread; `None` where the time is over.
async fn within<T>(runtime: &Handle, left: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut alarm = runtime.spawn(async move { tokio::time::sleep(left).await });
    let mut work = pin!(work);
    let done = poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Pin::new(&mut alarm).poll(context).map(|_| None),
    });
    let done = done.await;
    alarm.abort();
    done
}
