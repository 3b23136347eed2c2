//! The rows of a suite through one loaded model, several in flight, with every answer kept as it comes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::args::EvalArgs;
use super::subject::Subject;
use crate::batch::records::Record as Text;
use crate::batch::{Batch, End, Work};
use crate::cli::environment::Environment;
use crate::cli::interrupt;
use crate::cli::load::{self, LoadOptions, Loaded};
use crate::contract::Form;
use crate::digest::Digest;
use crate::engine::{EngineError, Finish, Load};
use crate::eval::answer::{Cost, Failed, Given, Said, Scores, Why};
use crate::eval::cache::{Cache, Question};
use crate::eval::data::Data;
use crate::eval::judge;
use crate::eval::record::{Kind, Record, Records, RowAnswer, Subject as Known};
use crate::eval::suite::Suite;
use crate::failure::Failure;
use crate::infer::{Cancel, Finding, Finished, InferError, Reply, Session, wait};
use crate::ui::output::say;
use crate::ui::progress::Rows;

/// Written answers in flight: as many as share an engine's batches.
const N_BATCHED: usize = 32;
/// Closed answers in flight: they are scored one after the other, and the next ones' prompts are made meanwhile.
const N_CLOSED: usize = 4;

/// What all subjects are asked, and how.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub suite: &'a Suite,
    pub data: &'a Data,
    pub args: &'a EvalArgs,
    pub environment: &'a Environment,
}

/// The answers of one subject, one for each row; `None` where it was not asked.
pub type Answers = Vec<Option<RowAnswer>>;

/// A row whose answer has begun.
type Begun = (usize, Result<Reply, InferError>);
/// A row that is over.
type Done = (usize, Result<Given, InferError>);

/// Asks a subject about every row and adds it to the records, with its turned round twin where that is wanted.
///
/// # Errors
/// The model cannot be loaded, or is lost; answers cannot be kept.
pub fn ask(subject: &Subject, records: &mut Records, asking: Asking<'_>) -> Result<(), Failure> {
    let turned = if asking.args.asking.permute { subject.turned_round() } else { None };
    let session = if asking.args.asking.rescore { None } else { Some(open(subject, asking)?) };
    let nth = records.subjects.len();
    let forms = [Some(subject.form.clone()), turned];
    for (at, form) in forms.into_iter().enumerate().filter_map(|(at, form)| Some((at, form?))) {
        let kind = if at == 0 {
            let is_scored = matches!(form, Form::Closed(_));
            let id = session.as_ref().filter(|_| is_scored).map(|session| session.evaluation_id(subject.scoring));
            Kind::Model { model: subject.variant.model.clone(), evaluation_id: id }
        } else {
            Kind::TurnedRound { of: nth }
        };
        let mut course = Course::of(subject, &form, session.as_ref(), records, asking)?;
        if let Some(session) = &session {
            course.run(session)?;
        }
        let (known, answers) = course.end(kind)?;
        records.add(known, answers);
        if interrupt::happened() {
            break;
        }
    }
    Ok(())
}

fn open(subject: &Subject, Asking { args, environment, .. }: Asking<'_>) -> Result<Session, Failure> {
    let wanted = LoadOptions {
        adapters: &subject.adapters,
        parameters: &subject.parameters,
        compute: &args.compute,
        load: Load::Everything,
        place: args.place(),
        keep_alive: None,
    };
    // A model is found once more, for opening takes it.
    let model = load::find(&subject.model.name.to_string(), environment)?;
    let header = model.weights.header()?;
    let Loaded { session, .. } = load::open(model, &header, &wanted, environment)?;
    Ok(session)
}

/// How far a subject is.
struct Course<'a> {
    subject: &'a Subject,
    form: &'a Form,
    asking: Asking<'a>,
    rows: &'a [Record],
    fields: &'a [crate::eval::record::Field],
    candidates: Vec<Vec<serde_json::Value>>,
    cache: Cache,
    /// What computes the answers; `None` where nothing is known to be.
    by: Option<String>,
    answers: Answers,
    n_cached: u64,
    n_right: u64,
    n_done: u64,
    elapsed: Duration,
}

impl<'a> Course<'a> {
    /// Takes what is known already.
    fn of(
        subject: &'a Subject,
        form: &'a Form,
        session: Option<&Session>,
        records: &'a Records,
        asking: Asking<'a>,
    ) -> Result<Self, Failure> {
        let mut cache = match asking.environment.kept_answers() {
            Some(folder) => Cache::open(folder, subject.asking(form))
                .map_err(|error| Failure::failed(format!("cannot keep answers in `{}`: {error}", folder.display())))?,
            None => Cache::none(),
        };
        if asking.args.asking.fresh {
            cache.forget();
        }
        let by = match session {
            Some(session) => Some(computed_by(subject, form, session)),
            None => cache.last().map(str::to_owned),
        };
        let candidates = records.fields.iter().map(|field| field.candidates.clone()).collect();
        let (rows, fields) = (records.rows.as_slice(), records.fields.as_slice());
        let answers = vec![None; rows.len()];
        let (n_cached, n_right, n_done, elapsed) = (0, 0, 0, Duration::ZERO);
        let mut course = Course {
            subject,
            form,
            asking,
            rows,
            fields,
            candidates,
            cache,
            by,
            answers,
            n_cached,
            n_right,
            n_done,
            elapsed,
        };
        course.recall();
        Ok(course)
    }

    /// What the row's model reads.
    fn text(&self, nth: usize) -> &'a str {
        let content = self.asking.data.rows[nth].content.as_ref();
        let own = content.ok().and_then(|content| content.prompts.get(self.subject.nth)?.as_deref());
        own.unwrap_or(&self.rows[nth].input)
    }

    fn question(&self, nth: usize) -> Option<Question> {
        let input = Digest::of(self.text(nth).as_bytes()).to_string();
        Some(Question { by: self.by.clone()?, input })
    }

    fn recall(&mut self) {
        for nth in 0..self.rows.len() {
            if let Err(reason) = &self.rows[nth].expected {
                self.take(nth, RowAnswer::unreadable(reason));
            } else if let Some(given) = self.question(nth).and_then(|question| self.cache.get(&question)) {
                let answer = RowAnswer::of(given, self.form, &self.asking.suite.expect, &self.candidates);
                self.n_cached += 1;
                self.take(nth, answer);
            }
        }
    }

    fn take(&mut self, nth: usize, answer: RowAnswer) {
        self.n_done += 1;
        self.n_right += u64::from(judge::is_right(&self.rows[nth], &answer, self.fields));
        self.answers[nth] = Some(answer);
    }

    /// Asks what is not known.
    fn run(&mut self, session: &Session) -> Result<(), Failure> {
        let open: Vec<usize> = (0..self.rows.len()).filter(|&nth| self.answers[nth].is_none()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let records = open.iter().map(|&nth| Text {
            line: nth as u64,
            end: 0,
            digest: self.rows[nth].digest,
            text: Ok(self.text(nth).to_owned()),
        });
        let records: Vec<std::io::Result<Text>> = records.map(Ok).collect();
        let n_parallel = self.asking.args.asking.parallel.unwrap_or(match self.form {
            Form::Closed(_) => N_CLOSED,
            Form::Open(_) | Form::Free => N_BATCHED,
        });
        let (subject, form) = (self.subject, self.form);
        let batch: Batch<Done> = Batch::default();
        let stop = batch.stop();
        let _listening = interrupt::listen(move || stop.stop());
        let bar = Rows::new(Some(self.rows.len() as u64));
        bar.begin_at(self.n_done);
        let (started, n_known) = (Instant::now(), self.n_done);
        let work = Work {
            start: |record: Text| -> Begun {
                let text = record.text.expect("made above");
                (usize::try_from(record.line).expect("made of one"), session.ask(subject.turn(form, &text)))
            },
            finish: |(nth, reply): Begun, cancel: &Cancel| -> Done {
                (nth, reply.and_then(|reply| wait(reply.whole(), cancel)).map(given).or_else(failed))
            },
            deliver: |(nth, given): Done| match given {
                Ok(given) => match self.keep(nth, &given) {
                    Ok(()) => {
                        let share = self.n_right as f64 / self.n_done.max(1) as f64;
                        let name = &subject.variant.name;
                        bar.at(self.n_done, self.n_done - n_known, || format!("  {name} {share:.3} right"));
                        ControlFlow::Continue(())
                    }
                    Err(failure) => ControlFlow::Break(failure),
                },
                Err(error) => ControlFlow::Break(Failure::from(error)),
            },
        };
        let end = batch.run(records.into_iter(), n_parallel, work);
        drop(bar);
        self.elapsed = started.elapsed();
        match end {
            End::Whole | End::Stopped => Ok(()),
            End::Broken(failure) => {
                let n = self.n_done - n_known;
                let message =
                    format!("{}; {n} new answers are kept, so that a second run goes on there", failure.message);
                Err(Failure { message, ..failure })
            }
            End::Unreadable(error) => Err(Failure::failed(error.to_string())),
        }
    }

    fn keep(&mut self, nth: usize, given: &Given) -> Result<(), Failure> {
        if let Some(question) = self.question(nth) {
            let kept = self.cache.put(&question, given);
            kept.map_err(|error| {
                Failure::failed(format!("cannot keep answers: {error}; --fresh does not help: free some space"))
            })?;
        }
        let answer = RowAnswer::of(given, self.form, &self.asking.suite.expect, &self.candidates);
        self.take(nth, answer);
        Ok(())
    }

    fn end(self, kind: Kind) -> Result<(Known, Answers), Failure> {
        let Course { subject, answers, n_cached, elapsed, .. } = self;
        let name = subject.variant.name.clone();
        let n_open = answers.iter().filter(|answer| answer.is_none()).count();
        if self.asking.args.asking.rescore && n_open > 0 {
            if n_cached == 0 {
                return Err(Failure::failed(format!("no answers of `{name}` are kept; run once without --rescore")));
            }
            say(format_args!(
                "{n_open} rows have no kept answer of `{name}` and are left out; run without --rescore to ask them"
            ));
        }
        Ok((Known { name, kind, elapsed_s: elapsed.as_secs_f64(), n_cached }, answers))
    }
}

/// What identifies the answers of a loaded model.
fn computed_by(subject: &Subject, form: &Form, session: &Session) -> String {
    // A question that cannot be asked is refused in each row's place.
    let prompt = session.ready(subject.turn(form, "text"));
    let prompt = prompt.map_or_else(|error| error.to_string(), |ready| ready.prompt_digest());
    let info = session.engine().info();
    let by = format!("{} {prompt} {} {}", session.evaluation_id(subject.scoring), info.n_ctx, info.compute.kv_type);
    Digest::of(by.as_bytes()).id()
}

fn given(finished: Finished) -> Given {
    let Finished { text, end, .. } = finished;
    let latency = end.elapsed.saturating_sub(end.timings.queued);
    let cost = Cost {
        latency_ms: latency.as_secs_f64() * 1e3,
        n_prompt: end.counts.prompt as u64,
        n_reused: end.counts.reused as u64,
        n_written: end.counts.generated as u64,
    };
    let said = match end.finding {
        Finding::Closed(answer) => Said::Closed(Scores::of(&answer)),
        Finding::Free | Finding::Open(_) | Finding::Vectors(_) => {
            Said::Text { text, is_cut: end.finish == Finish::Length }
        }
    };
    Given { said, cost }
}

/// A failure of the row is its answer; one of the model ends the run.
fn failed(error: InferError) -> Result<Given, InferError> {
    let why = match &error {
        InferError::Engine(EngineError::Context { .. } | EngineError::TextTooLong { .. }) => Why::TooLong,
        InferError::Engine(
            EngineError::Stopped
            | EngineError::Cancelled
            | EngineError::Crashed { .. }
            | EngineError::Disconnected { .. },
        ) => return Err(error),
        _ => Why::NoAnswer,
    };
    let reason = Failure::from(error).message;
    Ok(Given { said: Said::Failed(Failed { why, reason }), cost: Cost::default() })
}
