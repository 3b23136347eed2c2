//! `slm eval`: models on labelled data, compared, held against a gate, and reported.

pub(super) mod args;
pub(super) mod course;
pub(super) mod drift;
pub(super) mod importance;
pub(super) mod local;
mod outcome;
pub mod parquet;
mod peak;
mod quantizations;
mod remote;
pub(super) mod subject;

use std::path::Path;

pub use args::EvalArgs;
use course::Asking;
use remote::RemoteSubject;
use slm_stats::paired::Margin;
use subject::Subject;

use super::environment::Environment;
use super::interrupt;
use crate::contract::Form;
use crate::eval::data::Data;
use crate::eval::data::hygiene::Impossible;
use crate::eval::record::Records;
use crate::eval::suite::{Suite, Whom};
use crate::eval::{init, without};
use crate::failure::{Failure, Outcome};
use crate::ui::output::{Output, say, say_skipped};

/// Below this mean label mass a model wanted to say something else.
const DOUBTFUL_MASS: f64 = 0.01;

/// A subject of the suite, found and checked before any is asked.
pub enum Found {
    Model(Box<Subject>),
    Remote(Box<RemoteSubject>),
}

impl Found {
    /// Finds it by its place in the suite.
    ///
    /// # Errors
    /// There is no such model or remote, or it cannot be asked in this way.
    pub fn find(
        nth: usize,
        suite: &Suite,
        args: &EvalArgs,
        folder: &Path,
        environment: &Environment,
    ) -> Result<Found, Failure> {
        match &suite.variants[nth].whom {
            Whom::Model(model) => {
                let subject = Subject::find((nth, model), suite, args, folder, environment)?;
                Ok(Found::Model(Box::new(subject)))
            }
            Whom::Remote(source) => {
                let subject = RemoteSubject::find((nth, source), suite, args, folder)?;
                Ok(Found::Remote(Box::new(subject)))
            }
        }
    }

    #[must_use]
    pub fn form(&self) -> &Form {
        match self {
            Found::Model(subject) => &subject.form,
            Found::Remote(subject) => &subject.form,
        }
    }

    /// Asks about every row and adds what came to the records.
    ///
    /// # Errors
    /// It cannot be reached, or is lost.
    pub fn ask(&self, records: &mut Records, asking: Asking<'_>) -> Result<(), Failure> {
        match self {
            Found::Model(subject) => local::ask(subject, records, asking),
            Found::Remote(subject) => remote::ask(subject, records, asking),
        }
    }
}

/// Runs a suite and prints its report, or writes a suite for data.
///
/// # Errors
/// The suite, its data or a model cannot be used. A row that fails is in the report.
pub fn run(args: &EvalArgs, environment: &Environment) -> Outcome {
    if let Some(data) = &args.init {
        let suite = init::suite(data, &data.display().to_string(), &parquet::read_apart)?;
        Output::default().text(&suite)?;
        return Ok(crate::failure::Exit::Done);
    }
    if !args.quantizing.quantizations.is_empty() {
        return quantizations::run(args, environment);
    }
    let path = args.suite.as_deref().expect("clap asks for a suite where there is no --init");
    let mut suite = Suite::load(path)?;
    let selection = args.change(&mut suite)?;
    let margin = args.margin()?.map(|margin| Margin::new(margin).expect("checked when it was read"));
    let folder = path.parent().unwrap_or(Path::new("."));
    let data = Data::load(folder, &suite, &selection, &parquet::read_apart)?;
    let baseline = outcome::read_baseline(args)?;
    let subjects: Vec<Found> = (0..suite.variants.len())
        .map(|nth| Found::find(nth, &suite, args, folder, environment))
        .collect::<Result<_, _>>()?;
    let fields = subject::fields(&suite, &subjects.iter().map(Found::form).collect::<Vec<_>>());
    say_skipped(data.n_blank_lines);
    let candidates: Vec<_> = fields.iter().map(|field| field.candidates.clone()).collect();
    data.findings(&suite, &candidates, Impossible::CountsAsWrong).iter().for_each(say);

    let mut records = Records::new(path.display().to_string(), &data, fields);
    let asking = Asking { suite: &suite, data: &data, args, environment };
    for subject in &subjects {
        subject.ask(&mut records, asking)?;
        if interrupt::happened() {
            break;
        }
    }
    if interrupt::happened() {
        say(interrupt::KEPT);
    }
    let total = records.keep_common();
    if records.rows.is_empty() {
        return Err(Failure::failed("no row was answered, so there is nothing to report"));
    }
    say_doubts(&records);
    without::add(&mut records, &suite.baselines, environment.kept_answers()).iter().for_each(say);
    outcome::tell(&records, total, outcome::Demands { gate: suite.gate.clone(), margin, baseline }, args, environment)
}

/// Says which models wanted to say something else than the allowed answers.
fn say_doubts(records: &Records) {
    for (at, subject) in records.subjects.iter().enumerate().filter(|(_, subject)| subject.is_model()) {
        for (nth, field) in records.fields.iter().enumerate() {
            let answers = records.rows.iter().filter_map(|row| row.answers[at].as_ref()?.fields.as_ref().ok());
            let masses: Vec<f64> = answers.filter_map(|fields| fields[nth].label_mass).collect();
            let mean = masses.iter().sum::<f64>() / masses.len().max(1) as f64;
            if !masses.is_empty() && mean < DOUBTFUL_MASS {
                let (subject, field) = (&subject.name, &field.name);
                say(format_args!(
                    "`{subject}` wanted to say something else: the allowed answers of `{field}` have {mean:.2e} of its probability \
                     on average, so its choice among them means little; another prompt or format may help"
                ));
            }
        }
    }
}
