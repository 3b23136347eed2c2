//! `slm batch`: a file of requests, each answered as `slm serve` would answer it, and a file of results.

mod args;
mod hosted;
mod input;
mod output;
mod target;

use std::ops::ControlFlow;
use std::time::Instant;

use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub use args::BatchArgs;
use hosted::Hosted;
use input::RequestsFile;
use output::Sink;
use target::{Gone, Target};

use super::environment::Environment;
use super::{interrupt, parallel};
use crate::api::batches::line::BatchLine;
use crate::api::batches::plan::{IdMark, Plan, Planned};
use crate::api::batches::results::{BatchResult, HttpAnswer};
use crate::batch::records::{Record, RecordPlace};
use crate::batch::{Batch, End, N_BATCHED, Work};
use crate::digest::Digest;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::{Cancel, wait};
use crate::ui::output::{Output, Reader, say, tell};
use crate::ui::progress::Rows;
use crate::ui::table::counted;

/// Answers the requests of a file.
///
/// # Errors
/// Lines are wrong, a model is missing, a file cannot be read or written, or the server has gone.
pub fn run(args: &BatchArgs, environment: &Environment) -> Outcome {
    let n_parallel = parallel::asked(args.parallel.as_deref(), environment)?.unwrap_or(N_BATCHED);
    let requests = RequestsFile::open(&args.requests)?;
    if args.dry_run {
        let plan = requests.plan(args, None)?;
        requests.models(&plan, environment)?;
        return Output::default().text(&input::described(&plan)).map(|_| Exit::Done);
    }
    let files = output::open(args, &requests)?;
    let border = files.as_ref().map_or(Ok(None), output::ResultsFiles::n_requests)?;
    let mut plan = requests.plan(args, border)?;
    let models = requests.models(&plan, environment)?;
    let names: Vec<String> = models.iter().map(|(name, _)| name.clone()).collect();
    let hosted = Hosted::open(args, &names, environment)?;
    let (sink, done) = Sink::begin(files, args, &plan, &models)?;
    let waits = |id: &IdMark| hosted.as_ref().is_some_and(|hosted| hosted.waits(id));
    plan.requests.retain(|request| !done.ids.contains(&request.id) && !waits(&request.id));
    if !args.ordered {
        plan.group();
    }
    let runtime = Runtime::new().map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    let target = {
        let _entered = runtime.enter();
        Target::open(args, environment, n_parallel, hosted.as_ref().map(|hosted| hosted.batch.clone()))?
    };
    if args.verbose {
        let n_done = done.ids.len() as u64;
        let before =
            if n_done > 0 { format!("continues after {}; ", counted(n_done, "request")) } else { String::new() };
        tell(&format!("{before}{}\n", target.describe()));
    }
    let delivery = Delivery { hosted, ..Delivery::begin(args, sink, done.ids.len() as u64, done.n_failed, &plan) };
    let outcome = ask(requests, plan, n_parallel, (&runtime, &target), delivery);
    runtime.block_on(target.close());
    outcome
}

/// A request on its way.
struct Begun {
    custom_id: String,
    answer: JoinHandle<Result<HttpAnswer, Gone>>,
}

/// What came of a request; `None` where nobody waits for it any more.
struct Done {
    custom_id: String,
    answer: Option<Result<HttpAnswer, Gone>>,
}

/// Why no more answers are wanted.
enum Enough {
    ReaderGone,
    Failed(Failure),
}

/// Sends the planned requests and writes their results.
fn ask(
    requests: RequestsFile,
    plan: Plan,
    n_parallel: usize,
    (runtime, target): (&Runtime, &Target),
    mut delivery: Delivery<'_>,
) -> Outcome {
    let batch = Batch::default();
    let stop = batch.stop();
    let _listening = interrupt::listen(move || stop.stop());
    let name = requests.name.clone();
    let records = plan.requests.into_iter().map(move |request| record(request, &requests));
    let work = Work {
        start: |record: Record| {
            let line = record.text.as_deref().map(|line| BatchLine::read(line.as_bytes()));
            let Ok(Ok(line)) = line else { unreachable!("it was read when it was planned and when it was fetched") };
            Begun { custom_id: line.custom_id.clone(), answer: runtime.spawn(target.answer(line)) }
        },
        finish: |begun: Begun, cancel: &Cancel| {
            let Begun { custom_id, mut answer } = begun;
            let waited = wait(async { Ok((&mut answer).await) }, cancel);
            let answer = match waited {
                Ok(Ok(answer)) => Some(answer),
                Ok(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
                Err(_) => {
                    answer.abort();
                    None
                }
            };
            Done { custom_id, answer }
        },
        deliver: |done: Done| match delivery.take(done) {
            Ok(()) => ControlFlow::Continue(()),
            Err(enough) => ControlFlow::Break(enough),
        },
    };
    let end = batch.run(records, n_parallel, work);
    delivery.end(end, &name)
}

/// A request as its line, which is read only when its turn has come.
fn record(request: Planned, requests: &RequestsFile) -> std::io::Result<Record> {
    let (_, text) = request.fetch(&requests.file)?;
    let place = RecordPlace { line: request.line, element: None };
    Ok(Record { place, end: 0, digest: Digest::of(b""), text: Ok(text) })
}

/// The results on their way out: to the sink, to the totals, and to the bar.
struct Delivery<'a> {
    args: &'a BatchArgs,
    sink: Sink,
    hosted: Option<Hosted>,
    bar: Rows,
    started: Instant,
    n_before: u64,
    n: u64,
    n_failed: u64,
    /// Of the first request that failed: its id, and why.
    failed: Option<String>,
}

impl<'a> Delivery<'a> {
    fn begin(args: &'a BatchArgs, sink: Sink, n_before: u64, n_failed: u64, plan: &Plan) -> Delivery<'a> {
        let bar = Rows::new(Some(n_before + plan.requests.len() as u64));
        bar.begin_at(n_before);
        Delivery { args, sink, hosted: None, bar, started: Instant::now(), n_before, n: 0, n_failed, failed: None }
    }

    fn take(&mut self, done: Done) -> Result<(), Enough> {
        let Done { custom_id, answer } = done;
        let Some(answer) = answer else { return Ok(()) };
        let answer =
            answer.map_err(|gone| Enough::Failed(Failure::failed(format!("{gone}{}", self.how_to_go_on()))))?;
        if let Some(hosted) = &mut self.hosted
            && hosted.wrote(&custom_id).map_err(Enough::Failed)?
        {
            return Ok(());
        }
        let result = BatchResult::Answered(answer);
        let is_failed = result.is_failed();
        if is_failed {
            self.n_failed += 1;
            if let BatchResult::Answered(answer) = &result {
                self.failed.get_or_insert_with(|| format!("`{custom_id}`: {}", reason(answer)));
            }
        }
        let line = result.line(&custom_id);
        let sink = &mut self.sink;
        match self.bar.aside(|| sink.line(&line, is_failed)) {
            Ok(Reader::Listens) => {}
            Ok(Reader::Gone) => return Err(Enough::ReaderGone),
            Err(failure) => return Err(Enough::Failed(failure)),
        }
        self.n += 1;
        let n_failed = self.n_failed;
        let more = || if n_failed > 0 { format!("  {n_failed} failed") } else { String::new() };
        self.bar.at(self.n_before + self.n, self.n, more);
        Ok(())
    }

    /// How a run that did not come to its end is continued.
    fn how_to_go_on(&self) -> String {
        let how = match (&self.sink, self.args.resume) {
            (Sink::Stdout(_), _) => return String::new(),
            (Sink::Files(_), true) => "",
            (Sink::Files(_), false) if self.args.overwrite => " with --resume instead of --overwrite",
            (Sink::Files(_), false) => " with --resume",
        };
        format!("; the same command{how} continues")
    }

    fn end(mut self, end: End<Enough>, name: &str) -> Outcome {
        let hosted = self.hosted.take().map_or(Ok(()), |mut hosted| hosted.end());
        let saved = self.sink.end().and(hosted);
        let how_to_go_on = self.how_to_go_on();
        let Delivery { args, bar, started, n_before, n, n_failed, failed, .. } = self;
        drop(bar);
        if args.verbose {
            let seconds = started.elapsed().as_secs_f64();
            tell(&format!("{} in {seconds:.1} s ({:.1}/s)\n", counted(n, "request"), n as f64 / seconds.max(1e-3)));
        }
        match end {
            End::Broken(Enough::ReaderGone) => return Ok(Exit::Done),
            End::Broken(Enough::Failed(failure)) => return Err(failure),
            End::Unreadable(error) => {
                return Err(Failure::failed(format!("cannot read {name}: {error}{how_to_go_on}")));
            }
            End::Whole => saved?,
            End::Stopped => {
                saved?;
                let all = n_before + n;
                let are = if all == 1 { "1 request is".to_owned() } else { format!("{all} requests are") };
                say(format_args!("stopped: {are} answered{how_to_go_on}"));
            }
        }
        if n_failed == 0 {
            return Ok(Exit::Done);
        }
        let all = counted(n_before + n, "request");
        let first = failed.map_or_else(String::new, |first| format!("; the first: {first}"));
        let again = if args.output.is_some() { "; --retry-errors asks them again" } else { "" };
        Err(Failure::failed(format!("{n_failed} of {all} failed{first}{again}")))
    }
}

/// Why a request failed, as its answer says.
fn reason(answer: &HttpAnswer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = body.pointer("/error/message").or_else(|| body.get("detail")).or_else(|| body.get("error"));
    let said = said.and_then(Value::as_str).map(|said| said.chars().take(300).collect::<String>());
    said.unwrap_or_else(|| format!("status {}", answer.status))
}
