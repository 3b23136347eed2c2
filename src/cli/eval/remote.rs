//! A remote as a subject: asked about every row within its own limits, its failures told apart in those of a row and those of
//! the whole run.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::args::EvalArgs;
use super::course::{Asking, Course, Judging, Way};
use super::subject::{check, identity, pinned, turned_round};
use crate::cli::environment::Environment;
use crate::cli::interrupt;
use crate::contract::{AllowedAnswer, Contract, Field, Form, Violation};
use crate::digest::Digest;
use crate::eval::answer::{Cost, Failed, Given, Said, Scores, Why};
use crate::eval::record::{Kind, Records};
use crate::eval::suite::{RemoteSource, Suite, Variant};
use crate::failure::Failure;
use crate::infer::{Cancel, wait};
use crate::remote::{Answer, Client, Content, FieldProbabilities, Question, Remote, RemoteError, Unanswered, Usage};

/// What computes every answer of a remote, so far as anybody can know.
const BY: &str = "remote";

/// A remote with everything that is said of how it is asked.
#[derive(Debug)]
pub struct RemoteSubject {
    /// Its place among the suite's variants.
    nth: usize,
    variant: Variant,
    pub form: Form,
    remote: Remote,
    /// `None` where kept answers are judged again and nobody is asked.
    client: Option<Client>,
}

type Asked = JoinHandle<Result<Answer, Unanswered>>;

impl RemoteSubject {
    /// Reads the settings of a variant's remote and its key. Sends nothing.
    ///
    /// # Errors
    /// A setting cannot be used, or the key is not where it should be.
    pub fn find(
        (nth, source): (usize, &RemoteSource),
        suite: &Suite,
        args: &EvalArgs,
        folder: &Path,
    ) -> Result<RemoteSubject, Failure> {
        let variant = suite.variants[nth].clone();
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the remote `{}`: {error}", variant.name));
        let remote = Remote::from_value(source.value_in(folder)?).map_err(|error| failed(&error))?;
        let form = pinned(&variant, args, folder)?.unwrap_or(Form::Free);
        check(&form, suite, args, &variant.name)?;
        let client = if args.asking.rescore {
            None
        } else {
            let client = Client::connect(remote.clone(), Environment::named, SystemTime::now);
            Some(client.map_err(|error| failed(&error))?)
        };
        Ok(RemoteSubject { nth, form, remote, client, variant })
    }

    fn question(&self, form: &Form, text: &str) -> Question {
        let (system, text, form) = (self.variant.system.clone(), text.to_owned(), form.clone());
        Question { system, text, form, ..Question::default() }
    }

    /// The digest of everything that decides its answers but the text.
    fn asking(&self, form: &Form) -> Digest {
        let asking = json!({
            "version": 1,
            "base_url": self.remote.base_url(),
            "model": self.remote.model,
            "dialect": self.remote.dialect.as_str(),
            "body": self.remote.body,
            "form": identity(form),
            "system": self.variant.system,
        });
        Digest::of(asking.to_string().as_bytes())
    }
}

/// Asks a remote about every row and adds it to the records, with its turned round twin where that is wanted.
///
/// # Errors
/// It cannot be reached, or does not let itself be asked.
pub fn ask(subject: &RemoteSubject, records: &mut Records, asking: Asking<'_>) -> Result<(), Failure> {
    let turned = if asking.args.asking.permute { turned_round(&subject.form) } else { None };
    let of = records.subjects.len();
    let RemoteSubject { remote, .. } = subject;
    let kind = Kind::Remote { model: remote.model.clone(), host: remote.host(), price: remote.price.clone() };
    let (known, answers) = course(subject, &subject.form, records, asking)?.end(kind)?;
    records.add(known, answers);
    if let Some(form) = turned.filter(|_| !interrupt::happened()) {
        let (known, answers) = course(subject, &form, records, asking)?.end(Kind::TurnedRound { of })?;
        records.add(known, answers);
    }
    Ok(())
}

/// Every row in one form, as far as it was asked.
fn course<'a>(
    subject: &'a RemoteSubject,
    form: &'a Form,
    records: &'a Records,
    asking: Asking<'a>,
) -> Result<Course<'a>, Failure> {
    let name = &subject.variant.name;
    let by = Some(BY.to_owned());
    let mut course = Course::of(
        Way { name, nth: subject.nth, form, judging: Judging::Rows, asking: subject.asking(form), by },
        records,
        asking,
    );
    let Some(client) = &subject.client else { return Ok(course) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("the network cannot be used: {error}")))?;
    let start = |text: &str| -> Asked {
        let (client, question) = (client.clone(), subject.question(form, text));
        runtime.spawn(async move { client.ask_within(&question, Duration::MAX).await })
    };
    // One that answered in an earlier run is what it should be.
    let has_answered = AtomicBool::new(course.has_kept());
    let finish = |asked: Asked, cancel: &Cancel| {
        let answered = wait(async { Ok(asked.await) }, cancel)?.expect("nobody ends it, and it does not panic");
        let is_first = !has_answered.load(Ordering::Relaxed);
        match answered {
            Err(Unanswered { error, .. }) if is_of_the_run(&error) || is_first && is_of_the_remote(&error) => {
                Err(Failure::failed(format!("the remote `{name}`: {error}")))
            }
            Err(Unanswered { error, usage, .. }) => {
                // What was billed counts, be it of use or not.
                let of = |n: fn(Usage) -> u64| usage.map_or(0, n);
                let cost =
                    Cost { n_prompt: of(|usage| usage.input), n_written: of(|usage| usage.output), ..Cost::default() };
                has_answered.fetch_or(is_of_the_answer(&error), Ordering::Relaxed);
                let said = Said::Failed(Failed { why: why(&error), reason: error.to_string() });
                Ok(Given { said, cost, state: None })
            }
            Ok(answer) => {
                has_answered.store(true, Ordering::Relaxed);
                Ok(given(answer, form))
            }
        }
    };
    let n_parallel = asking.args.asking.parallel.unwrap_or(subject.remote.concurrency.get());
    course.run(n_parallel, start, finish)?;
    Ok(course)
}

/// Whether no row can ever be asked.
fn is_of_the_run(error: &RemoteError) -> bool {
    matches!(error, RemoteError::Key(_) | RemoteError::Setup { .. } | RemoteError::Unaskable { .. })
}

/// Whether the remote itself is wrong or away, so that every row would fail alike unless one was answered already.
fn is_of_the_remote(error: &RemoteError) -> bool {
    match error {
        RemoteError::Refused { status, .. } => matches!(status, 401..=404),
        RemoteError::Redirected { .. }
        | RemoteError::RateLimited { .. }
        | RemoteError::Unreachable { .. }
        | RemoteError::TimedOut { .. }
        | RemoteError::NotJson { .. }
        | RemoteError::WrongShape { .. } => true,
        _ => false,
    }
}

/// Whether the model replied, but its reply is not a valid answer.
fn is_of_the_answer(error: &RemoteError) -> bool {
    matches!(error, RemoteError::Broken(_) | RemoteError::Declined(_) | RemoteError::Unfinished)
}

fn why(error: &RemoteError) -> Why {
    match error {
        RemoteError::Broken(Violation::Length) | RemoteError::Unfinished => Why::Truncated,
        RemoteError::Broken(_) => Why::Format,
        RemoteError::Declined(_) => Why::Refused,
        _ => Why::NoAnswer,
    }
}

fn given(answer: Answer, form: &Form) -> Given {
    let (n_prompt, n_written) = answer.usage.map_or((0, 0), |usage| (usage.input, usage.output));
    let cost =
        Cost { latency_ms: answer.latency.as_secs_f64() * 1e3, first_token_ms: None, n_prompt, n_reused: 0, n_written };
    let text = |text| Said::Text { text, is_cut: false };
    let said = match (answer.content, form) {
        (Content::Text(written), _) => text(written),
        (Content::Cut(text), _) => Said::Text { text, is_cut: true },
        (Content::Value { json, probabilities }, Form::Closed(contract)) => {
            scores(contract, &json, &probabilities).map_or_else(|| text(json.to_string()), Said::Closed)
        }
        (Content::Value { json: Value::String(written), .. }, Form::Open(open)) if open.schema().is_none() => {
            text(written)
        }
        (Content::Value { json, .. }, _) => text(json.to_string()),
    };
    Given { said, cost, state: None }
}

/// The probabilities of all fields, where the remote gave them for every allowed answer.
fn scores(contract: &Contract, json: &Value, told: &[FieldProbabilities]) -> Option<Vec<Scores>> {
    let field = |field: &Field| {
        let name = field.name();
        let told = told.iter().find(|told| contract.is_bare() || told.field == name)?;
        let value = field.path.iter().try_fold(json, |at, name| at.get(name))?;
        let of = |option: &AllowedAnswer| Some(told.of.iter().find(|(value, _)| *value == option.value)?.1);
        Some(Scores {
            best: field.options.iter().position(|option| option.value == *value)?,
            probabilities: field.options.iter().map(of).collect::<Option<_>>()?,
            label_mass: None,
            is_withheld: false,
        })
    };
    contract.fields().iter().map(field).collect()
}
