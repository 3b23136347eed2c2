//! Every tier of a cascade asked about every row, once: what is known of a row is what the tier would be asked in the cascade, and
//! answers are kept as those of evaluations are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::super::args::FitArgs;
use super::super::prepared::Prepared;
use crate::batch::N_CLOSED;
use crate::cascade::{Draft, Tier, Whom};
use crate::cli::environment::{Environment, day};
use crate::cli::eval::course::{Asking, Course, Judging, Way};
use crate::cli::eval::local;
use crate::cli::eval::subject::Subject;
use crate::cli::{interrupt, load};
use crate::contract::Contract;
use crate::decide::ModelFit;
use crate::digest::Digest;
use crate::eval::answer::{Cost, Failed, Given, Said, Scores, Why};
use crate::eval::data::Data;
use crate::eval::fitted::fitted;
use crate::failure::Failure;
use crate::infer::{Ask, Cancel, CascadeModel, Defaults, Responder};
use crate::load_spec;
use crate::remote::{Price, Remote};
use crate::store::Model;
use crate::ui::output::say;

/// What a tier said of the rows.
pub struct TierAnswers {
    /// By row; `None` where the tier is not asked.
    pub rows: Vec<Option<Given>>,
    /// What a row has cost.
    pub costs: Vec<f64>,
    /// The fit that made its probabilities final.
    pub fit: Option<Arc<ModelFit>>,
    /// Answers that were kept from earlier runs.
    pub n_kept: usize,
}

/// What a cascade is asked with.
pub struct Asked<'a> {
    pub args: &'a FitArgs,
    pub environment: &'a Environment,
    /// The stored cascade.
    pub stored: &'a Model,
    pub model: &'a CascadeModel,
    pub remotes: &'a [Option<Remote>],
    pub prepared: &'a Prepared,
}

impl Asked<'_> {
    /// Asks the first `n` tiers, one after the other.
    ///
    /// # Errors
    /// A tier cannot be opened, a remote does not answer, the day's money is spent, or somebody interrupts.
    pub fn first(&self, n: usize) -> Result<Vec<TierAnswers>, Failure> {
        let mut all: Vec<TierAnswers> = Vec::new();
        for (nth, tier) in self.model.cascade.tiers.iter().enumerate().take(n) {
            let questions = self.questions(nth, &all);
            let answers = match &tier.whom {
                Whom::Words { name, digest } => self.words((name, *digest), &questions)?,
                Whom::Model { name, digest } => {
                    let model = load::tier_model(self.stored, (name, *digest), self.environment)?;
                    self.model(tier, model, questions)?
                }
                Whom::Remote(_) => self.remote(tier, self.remotes[nth].clone(), questions)?,
            };
            interrupt::finished()?;
            all.push(answers);
        }
        Ok(all)
    }

    fn contract(&self) -> &Contract {
        &self.prepared.contract
    }

    /// What the tier of this number is asked about each row, or why it is not.
    fn questions(&self, nth: usize, earlier: &[TierAnswers]) -> Vec<Result<String, String>> {
        let question = |(at, row): (usize, &crate::eval::data::Row)| {
            let content = row.content.as_ref().map_err(Clone::clone)?;
            let given: Vec<&Given> = earlier.iter().filter_map(|tier| tier.rows[at].as_ref()).collect();
            let so_far: Vec<_> = given.iter().flat_map(|given| labels(given, self.contract())).collect();
            let draft = given.iter().rev().find_map(|given| draft(given, self.contract()));
            let ask = Ask::from(self.prepared.subject.turn(&self.prepared.subject.form, content.text()));
            let asked = self.model.asks(nth, &ask, (&so_far, draft.as_ref())).map_err(|reason| reason.to_string())?;
            Ok(asked.text().to_owned())
        };
        self.prepared.data.rows.iter().enumerate().map(question).collect()
    }

    /// The rows with what is asked about them.
    fn data(&self, questions: Vec<Result<String, String>>) -> Data {
        let mut data = self.prepared.data.clone();
        for (row, question) in data.rows.iter_mut().zip(questions) {
            match (&mut row.content, question) {
                (Ok(content), Ok(text)) => content.prompts = vec![Some(text)],
                (content, Err(why)) => *content = Err(why),
                (Err(_), Ok(_)) => {}
            }
        }
        data
    }

    fn words(
        &self,
        (name, digest): (&crate::model_ref::ModelRef, Option<Digest>),
        questions: &[Result<String, String>],
    ) -> Result<TierAnswers, Failure> {
        let words = load::words(&load::tier_model(self.stored, (name, digest), self.environment)?)?;
        let given = |question: &Result<String, String>| {
            let started = Instant::now();
            let answer = words.fit().of_text(self.contract(), question.as_ref().ok()?)?;
            let latency_ms = started.elapsed().as_secs_f64() * 1e3;
            let cost = Cost { latency_ms, ..Cost::default() };
            Some(Given { said: Said::Closed(Scores::of(&answer)), cost, state: None })
        };
        let rows: Vec<Option<Given>> = questions.iter().map(given).collect();
        let costs = vec![0.0; rows.len()];
        Ok(TierAnswers { rows, costs, fit: words.defaults().fit.clone(), n_kept: 0 })
    }

    fn model(&self, tier: &Tier, model: Model, questions: Vec<Result<String, String>>) -> Result<TierAnswers, Failure> {
        let subject = self.subject(tier, model)?;
        let data = self.data(questions);
        let asking = Asking { data: &data, ..self.prepared.asking(self.environment) };
        let (responder, state) = local::open_with_fit(&subject, asking)?;
        let form = &subject.form;
        let by = local::computed_by(&subject, form, &responder);
        let asked = local::asking(&subject, form, state);
        let start = |text: &str| local::begin(&responder, local::own(&subject, form, text, state));
        let (rows, n_kept) = self.course(tier, (asked, by), &data, N_CLOSED, start, local::finish)?;
        let costs = vec![0.0; rows.len()];
        let fit = subject.fit.map(Arc::new);
        let made_final = |(row, given): (&crate::eval::data::Row, Option<Given>)| {
            let text = row.content.as_ref().ok()?.prompts.first()?.as_deref()?;
            let given = given?;
            Some(fit.as_ref().map_or_else(|| given.clone(), |fit| fitted(&given, self.contract(), fit, text)))
        };
        let rows = data.rows.iter().zip(rows).map(made_final).collect();
        Ok(TierAnswers { rows, costs, fit, n_kept })
    }

    fn remote(
        &self,
        tier: &Tier,
        remote: Option<Remote>,
        questions: Vec<Result<String, String>>,
    ) -> Result<TierAnswers, Failure> {
        let remote = remote.expect("every remote of a cascade was read");
        let (price, n_parallel) = (remote.price.clone(), remote.concurrency.get());
        let responder = Responder::Remote(Arc::new(load::connected(self.stored, remote, Defaults::default())?));
        let subject = Subject { fit: None, ..self.subject(tier, self.stored.clone())? };
        let data = self.data(questions);
        let form = &subject.form;
        let by = local::computed_by(&subject, form, &responder);
        let asked = json!(["remote", responder.identity(subject.scoring), by]);
        let asked = Digest::of(asked.to_string().as_bytes());
        let has_answered = AtomicBool::new(false);
        let of = |given: &Given| {
            price.as_ref().map_or(0.0, |price: &Price| price.of(given.cost.n_prompt, given.cost.n_written))
        };
        let start = |text: &str| local::begin(&responder, subject.turn(form, text));
        let finish = |asked: local::Asked, cancel: &Cancel| {
            let given = local::finish(asked, cancel)?;
            self.pay(of(&given))?;
            match &given.said {
                Said::Failed(Failed { why: Why::NoAnswer, reason }) if !has_answered.load(Ordering::Relaxed) => {
                    Err(Failure::failed(format!("the tier `{}`: {reason}", tier.name)))
                }
                Said::Failed(Failed { why: Why::NoAnswer, .. }) => Ok(given),
                _ => {
                    has_answered.store(true, Ordering::Relaxed);
                    Ok(given)
                }
            }
        };
        let (rows, n_kept) = self.course(tier, (asked, by), &data, n_parallel, start, finish)?;
        let costs = rows.iter().map(|given| given.as_ref().map_or(0.0, of)).collect();
        Ok(TierAnswers { rows, costs, fit: None, n_kept })
    }

    /// Adds what an answer has cost to the day's money.
    fn pay(&self, cost: f64) -> Result<(), Failure> {
        if cost <= 0.0 {
            return Ok(());
        }
        let store = self.environment.store()?;
        let (of, day) = (&self.stored.weights_digest, day());
        store.spend(of, day, cost)?;
        let Some(most) = self.model.cascade.budget.dollars_per_day else { return Ok(()) };
        let spent = store.spent(of, day)?;
        if spent < most {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "today has cost {spent:.4}, and {most} a day may be spent; the answers that came are kept, so go on tomorrow, or raise \
             `dollars_per_day`"
        )))
    }

    /// A tier as evaluations ask their subjects.
    fn subject(&self, tier: &Tier, model: Model) -> Result<Subject, Failure> {
        let own = &self.prepared.subject;
        let mut variant = own.variant.clone();
        variant.name.clone_from(&tier.name);
        variant.system = variant.system.or_else(|| tier.system.clone()).or_else(|| self.model.defaults.system.clone());
        let fit = load_spec::own_fit(&model)?.filter(|fit| fit.knows(self.contract()));
        Ok(Subject {
            nth: 0,
            name: tier.name.clone(),
            variant,
            adapters: load_spec::own_adapters(&model),
            model,
            form: own.form.clone(),
            parameters: own.parameters.clone(),
            scoring: own.scoring,
            fit,
        })
    }

    /// The rows past one tier; those that are known are not asked.
    fn course<P>(
        &self,
        tier: &Tier,
        (asking, by): (Digest, String),
        data: &Data,
        n_parallel: usize,
        start: impl FnMut(&str) -> P + Send,
        finish: impl Fn(P, &Cancel) -> Result<Given, Failure> + Sync,
    ) -> Result<(Vec<Option<Given>>, usize), Failure> {
        let records = self.prepared.records_of(data);
        let form = &self.prepared.subject.form;
        let way = Way { name: &tier.name, nth: 0, form, judging: Judging::Rows, asking, by: Some(by) };
        let of_tier = Asking { data, ..self.prepared.asking(self.environment) };
        let mut course = Course::of(way, &records, of_tier);
        let n_kept = course.n_kept();
        course.run(self.args.asking.parallel.unwrap_or(n_parallel), start, finish)?;
        let n_left_out = data.rows.iter().filter(|row| row.content.is_err()).count();
        if n_left_out > 0 {
            let why = data.rows.iter().find_map(|row| row.content.as_ref().err()).cloned().unwrap_or_default();
            say(format_args!("`{}` is not asked about {n_left_out} rows: {why}", tier.name));
        }
        Ok((course.given(), n_kept))
    }
}

/// The best guess of an answer, whether a fit withholds it or not.
fn value(given: &Given, contract: &Contract) -> Option<Value> {
    match &given.said {
        Said::Closed(scores) => {
            let best = contract.fields().iter().zip(scores).map(|(field, scores)| {
                field.options.get(scores.best).map(|option| option.value.clone()).unwrap_or_default()
            });
            Some(contract.assemble(best))
        }
        Said::Text { text, is_cut: false } => serde_json::from_str(text).ok(),
        Said::Text { .. } | Said::Failed(_) => None,
    }
}

/// The labels of an answer, with their fields.
#[must_use]
pub fn labels(given: &Given, contract: &Contract) -> Vec<(Option<String>, Value)> {
    let Some(value) = value(given, contract) else { return Vec::new() };
    let label = |field: &crate::contract::Field| {
        let label = field.path.iter().try_fold(&value, |at, name| at.get(name))?;
        Some((field.name(), label.clone()))
    };
    contract.fields().iter().filter_map(label).collect()
}

fn draft(given: &Given, contract: &Contract) -> Option<Draft> {
    let value = value(given, contract)?;
    let ranked = |(field, scores): (&crate::contract::Field, &Scores)| {
        let mut of: Vec<(Value, f64)> = field.values().into_iter().zip(scores.probabilities.iter().copied()).collect();
        of.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        (field.name(), of)
    };
    let (written, probabilities) = match &given.said {
        Said::Closed(scores) => (String::new(), contract.fields().iter().zip(scores).map(ranked).collect()),
        Said::Text { text, .. } => (text.clone(), Vec::new()),
        Said::Failed(_) => return None,
    };
    Some(Draft::new(Some(value), &written, probabilities))
}
