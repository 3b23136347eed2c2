//! The rows of a suite past one subject, whoever answers: what is known is taken, the rest asked several at a time, and every answer
//! kept as it comes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::args::EvalArgs;
use crate::batch::records::{Record as Text, RecordPlace};
use crate::batch::{Batch, End, Work};
use crate::cli::environment::Environment;
use crate::cli::interrupt;
use crate::contract::Form;
use crate::digest::Digest;
use crate::eval::answer::Given;
use crate::eval::cache::{Cache, Question};
use crate::eval::data::Data;
use crate::eval::judge;
use crate::eval::record::{Field, Kind, Record, Records, RowAnswer, Subject};
use crate::eval::suite::Suite;
use crate::failure::Failure;
use crate::infer::Cancel;
use crate::ui::output::say;
use crate::ui::progress::Rows;

/// What all subjects are asked, and how.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub suite: &'a Suite,
    pub data: &'a Data,
    pub args: &'a EvalArgs,
    pub environment: &'a Environment,
}

/// A subject as its rows are asked, whatever answers them.
pub struct Way<'a> {
    pub name: &'a str,
    /// Its place among the suite's variants, for a prompt of its own.
    pub nth: usize,
    /// How its answers are read.
    pub form: &'a Form,
    pub judging: Judging,
    /// The digest of everything that decides its answers and is known before it is reached.
    pub asking: Digest,
    /// What else decides them; `None` takes what decided the last kept ones.
    pub by: Option<String>,
}

/// Whether it is shown how many of the rows are right so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judging {
    Rows,
    /// They have no answers.
    None,
}

/// How far a subject is.
pub struct Course<'a> {
    way: Way<'a>,
    asking: Asking<'a>,
    rows: &'a [Record],
    fields: &'a [Field],
    candidates: Vec<Vec<serde_json::Value>>,
    cache: Cache,
    /// By row; `None` where it was not asked.
    answers: Vec<Option<RowAnswer>>,
    /// By row, as they came.
    given: Vec<Option<Given>>,
    n_cached: u64,
    n_right: u64,
    n_done: u64,
    elapsed: Duration,
}

impl<'a> Course<'a> {
    /// Takes what is known already. Where answers cannot be kept, that is said, and everything is asked.
    pub fn of(mut way: Way<'a>, records: &'a Records, asking: Asking<'a>) -> Self {
        let folder = asking.environment.kept_answers();
        let opened = folder.map(|folder| (folder, Cache::open(folder, way.asking)));
        let mut cache = match opened {
            Some((_, Ok(cache))) => cache,
            Some((folder, Err(error))) => {
                say(format_args!("answers are not kept: cannot use `{}`: {error}", folder.display()));
                Cache::none()
            }
            None => Cache::none(),
        };
        if asking.args.asking.fresh {
            cache.forget();
        }
        way.by = way.by.or_else(|| cache.last().map(str::to_owned));
        let candidates = records.fields.iter().map(|field| field.candidates.clone()).collect();
        let (rows, fields) = (records.rows.as_slice(), records.fields.as_slice());
        let (answers, given) = (vec![None; rows.len()], vec![None; rows.len()]);
        let (n_cached, n_right, n_done, elapsed) = (0, 0, 0, Duration::ZERO);
        let mut course =
            Course { way, asking, rows, fields, candidates, cache, answers, given, n_cached, n_right, n_done, elapsed };
        course.recall();
        course
    }

    /// What the row's subject reads.
    fn text(&self, nth: usize) -> &'a str {
        let content = self.asking.data.rows[nth].content.as_ref();
        let own = content.ok().and_then(|content| content.prompts.get(self.way.nth)?.as_deref());
        own.unwrap_or(&self.rows[nth].input)
    }

    fn question(&self, nth: usize) -> Option<Question> {
        let input = Digest::of(self.text(nth).as_bytes()).to_string();
        Some(Question { by: self.way.by.clone()?, input })
    }

    /// Whether the subject has answered in an earlier run.
    pub fn has_kept(&self) -> bool {
        self.n_cached > 0
    }

    /// Answers that were kept from earlier runs.
    #[must_use]
    pub fn n_kept(&self) -> usize {
        usize::try_from(self.n_cached).unwrap_or(usize::MAX)
    }

    fn recall(&mut self) {
        for nth in 0..self.rows.len() {
            if let Err(reason) = &self.rows[nth].expected {
                self.take(nth, RowAnswer::unreadable(reason));
            } else if let Some(given) = self.question(nth).and_then(|question| self.cache.get(&question)) {
                let (answer, given) = (self.read(given), given.clone());
                self.given[nth] = Some(given);
                self.n_cached += 1;
                self.take(nth, answer);
            }
        }
    }

    fn read(&self, given: &Given) -> RowAnswer {
        RowAnswer::of(given, self.way.form, &self.asking.suite.expect, &self.candidates)
    }

    fn take(&mut self, nth: usize, answer: RowAnswer) {
        self.n_done += 1;
        self.n_right += u64::from(judge::is_right(&self.rows[nth], Some(&answer), self.fields));
        self.answers[nth] = Some(answer);
    }

    /// Asks what is not known, at most `n_parallel` rows at once: `start` begins a text's answer, and `finish` waits for it. A
    /// failure of a row is its answer; an error ends the run.
    ///
    /// # Errors
    /// Nobody answers any more.
    pub fn run<P>(
        &mut self,
        n_parallel: usize,
        mut start: impl FnMut(&str) -> P + Send,
        finish: impl Fn(P, &Cancel) -> Result<Given, Failure> + Sync,
    ) -> Result<(), Failure> {
        let open: Vec<usize> = (0..self.rows.len()).filter(|&nth| self.answers[nth].is_none()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let text = |&nth: &usize| {
            let text = self.text(nth).to_owned();
            // The batch hands texts on by their place: here the number of the row.
            let place = RecordPlace { line: nth as u64, element: None };
            Ok(Text { place, end: 0, digest: self.rows[nth].digest, text: Ok(text) })
        };
        let texts: Vec<std::io::Result<Text>> = open.iter().map(text).collect();
        let batch: Batch<(usize, Result<Given, Failure>)> = Batch::default();
        let stop = batch.stop();
        let _listening = interrupt::listen(move || stop.stop());
        let bar = Rows::new(Some(self.rows.len() as u64));
        bar.begin_at(self.n_done);
        let (started, n_known) = (Instant::now(), self.n_done);
        let work = Work {
            start: |text: Text| {
                let nth = usize::try_from(text.place.line).expect("it was made of one");
                (nth, start(&text.text.expect("it was made of a text")))
            },
            finish: |(nth, begun): (usize, P), cancel: &Cancel| (nth, finish(begun, cancel)),
            deliver: |(nth, given): (usize, Result<Given, Failure>)| match given {
                Ok(given) => {
                    self.keep(nth, &given).iter().for_each(|trouble| bar.aside(|| say(trouble)));
                    let share = self.n_right as f64 / self.n_done.max(1) as f64;
                    bar.at(self.n_done, self.n_done - n_known, || match self.way.judging {
                        Judging::Rows => format!("  {} {share:.3} right", self.way.name),
                        Judging::None => format!("  {}", self.way.name),
                    });
                    ControlFlow::Continue(())
                }
                Err(failure) => ControlFlow::Break(failure),
            },
        };
        let end = batch.run(texts.into_iter(), n_parallel, work);
        drop(bar);
        self.elapsed = started.elapsed();
        match end {
            End::Whole | End::Stopped => Ok(()),
            End::Broken(failure) => {
                let n = self.n_done - n_known;
                if n == 0 {
                    return Err(failure);
                }
                let kept = if n == 1 { "1 new answer is".to_owned() } else { format!("{n} new answers are") };
                let message = format!("{}; {kept} kept, so that a second run goes on there", failure.message);
                Err(Failure { message, ..failure })
            }
            End::Unreadable(error) => Err(Failure::failed(error.to_string())),
        }
    }

    /// Takes an answer that came; gives what is to be said where it cannot be kept, which is no reason to lose it here.
    fn keep(&mut self, nth: usize, given: &Given) -> Option<String> {
        let kept = self.question(nth).map(|question| self.cache.put(&question, given));
        let answer = self.read(given);
        self.given[nth] = Some(given.clone());
        self.take(nth, answer);
        let error = kept?.err()?;
        self.cache = Cache::none();
        Some(format!("answers are no longer kept: {error}"))
    }

    /// The answers as `change` makes them of each text and what was given to it.
    #[must_use]
    pub fn changed(&self, change: impl Fn(&str, &Given) -> Given) -> Vec<Option<RowAnswer>> {
        let of_row = |(nth, given): (usize, &Option<Given>)| match given {
            Some(given) => Some(self.read(&change(self.text(nth), given))),
            None => self.answers[nth].clone(),
        };
        self.given.iter().enumerate().map(of_row).collect()
    }

    /// What was answered to each row, as it came; `None` where it was not asked or cannot be read.
    #[must_use]
    pub fn given(self) -> Vec<Option<Given>> {
        self.given
    }

    /// The subject with its answers, one for each row; `None` where it was not asked.
    ///
    /// # Errors
    /// Kept answers are to be judged, and there are none.
    pub fn end(self, kind: Kind) -> Result<(Subject, Vec<Option<RowAnswer>>), Failure> {
        let Course { way, answers, n_cached, elapsed, .. } = self;
        let name = way.name.to_owned();
        let n_open = answers.iter().filter(|answer| answer.is_none()).count();
        if self.asking.args.asking.rescore && n_open > 0 {
            if n_cached == 0 {
                return Err(Failure::failed(format!("no answers of `{name}` are kept; run once without --rescore")));
            }
            say(format_args!(
                "{n_open} rows have no kept answer of `{name}` and are left out; run without --rescore to ask them"
            ));
        }
        Ok((Subject { name, kind, elapsed_s: elapsed.as_secs_f64(), n_cached, peak_memory_bytes: None }, answers))
    }
}
