//! What one field's rows teach: the method, the thresholds, and why there are none.

use std::time::Instant;

use slm_fit::card::{EarlyCard, FieldCard, Reference};
use slm_fit::faults::{Faults, halves};
use slm_fit::learn::{Basis, Compared, LearnRequest, Learned, trial_figures};
use slm_fit::promise::{Answers, Demand, FrontierPoint, PromiseError, Thresholds, frontier, thresholds};
use slm_fit::{Depth, FieldFit, Gate, Method, MethodName, learn as learn_from};

use super::args::FitArgs;
use super::field::FieldRows;
use crate::failure::{Exit, Failure};
use crate::ui::output::say;

/// The seed of folds and parts: the same rows give the same fit.
const SEED: u64 = 0;
/// The most conflicts that are listed.
const LISTED: usize = 5;

/// What became of a field.
#[derive(Debug)]
pub struct FieldResult {
    pub fit: FieldFit,
    pub card: FieldCard,
    /// `None` where the data has no labels for the field.
    pub learned: Option<Learned>,
    /// The result of the first layers alone (`--depth`); `None` where all layers answer.
    pub early: Option<EarlyResult>,
    pub frontier: Vec<FrontierPoint>,
    /// Why there are no thresholds.
    pub broken: Option<PromiseError>,
    /// What learning took, and what the method takes for a row.
    pub learn_ms: f64,
    pub row_ms: f64,
}

/// What became of a field's answers from a part of the layers.
#[derive(Debug)]
pub struct EarlyResult {
    pub fit: FieldFit,
    pub card: EarlyCard,
    /// Every part that was tried.
    pub tried: Vec<TriedDepth>,
    pub row_ms: f64,
}

impl FieldResult {
    /// Whether answers stay as they are and all are accepted.
    #[must_use]
    pub fn does_nothing(&self) -> bool {
        self.early.is_none() && self.fit.method == Method::Nothing && self.fit.gate.is_open()
    }

    /// Of a field without labels.
    #[must_use]
    pub fn untouched(field: &FieldRows) -> FieldResult {
        let note = "the data has no labels for this field".to_owned();
        let card = FieldCard::untaught(field.name.clone(), Method::Nothing.name(), field.options.len(), note);
        let fit = FieldFit {
            name: field.name.clone(),
            options: field.options.clone(),
            method: Method::Nothing,
            gate: Gate::default(),
        };
        let (learn_ms, row_ms) = (0.0, 0.0);
        FieldResult { fit, card, learned: None, early: None, frontier: Vec::new(), broken: None, learn_ms, row_ms }
    }
}

/// What is to be learned of one field: rows that teach, rows that certify, and what is asked of accepted answers.
pub struct Lesson<'f> {
    field: &'f FieldRows,
    teaching: Vec<usize>,
    certifying: Vec<usize>,
    demand: Option<Demand>,
    person: Vec<usize>,
    basis: Basis,
}

/// What rows taught of a field, before thresholds.
pub struct Taught {
    learned: Learned,
    /// Of the rows that taught: the right options, the model's own probabilities, and the characters of the texts.
    pub truths: Vec<usize>,
    pub raw: Vec<Vec<f64>>,
    lengths: Vec<usize>,
    /// The method's probabilities of the rows that certify, and their right options.
    certified: Vec<Vec<f64>>,
    certified_truths: Vec<usize>,
    learn_ms: f64,
    row_ms: f64,
}

/// What a part of the layers taught of one field.
pub struct EarlyTaught {
    pub taught: Taught,
    /// Every part that was tried, in the order of their sizes.
    pub tried: Vec<TriedDepth>,
    /// Of the part that is used.
    pub compared: Compared,
}

/// A part that was tried for a field.
#[derive(Debug, Clone, Copy)]
pub struct TriedDepth {
    pub depth: Depth,
    pub method: MethodName,
    pub compared: Compared,
}

impl<'f> Lesson<'f> {
    /// `None` where the data has no labels for the field.
    ///
    /// # Errors
    /// What is asked of accepted answers cannot be read, or takes more rows than there are.
    pub fn of(args: &FitArgs, field: &'f FieldRows) -> Result<Option<Lesson<'f>>, Failure> {
        if !field.is_labelled {
            return Ok(None);
        }
        let places = field.places();
        let pairs: Vec<(&str, usize)> =
            places.iter().filter_map(|&at| Some((field.rows[at].text.as_str(), field.rows[at].truth?))).collect();
        if places.is_empty() {
            return Err(no_labels(field));
        }
        say_faults(field, &places, &Faults::of(&pairs, field.options.len()));
        let labels = field.labels();
        let demand = args.promise.demand(&labels)?;
        let person = person(args, &labels);
        // Rows that certify have no part in anything else.
        let [teaching, certifying] = match &demand {
            Some(_) => halves(&pairs, SEED).map(|part| part.into_iter().map(|nth| places[nth]).collect()),
            None => [places, Vec::new()],
        };
        if let Some(Demand::Risk(promise)) = &demand {
            let needed = promise.rows_needed(0);
            if (certifying.len() as u64) < needed {
                let message = format!(
                    "`{}`: {needed} accepted rows are needed to certify a risk of {}, and half of the {} labelled rows are {}; label \
                     {} more, or ask for a higher risk",
                    field.shown(),
                    promise.risk(),
                    pairs.len(),
                    certifying.len(),
                    (2 * needed).saturating_sub(pairs.len() as u64)
                );
                return Err(Failure { message, exit: Exit::NotMet });
            }
        }
        let basis = if args.other.words_only { Basis::Words } else { Basis::Scores };
        Ok(Some(Lesson { field, teaching, certifying, demand, person, basis }))
    }

    /// The same of the same rows, of which nothing but a state is known.
    pub fn of_states<'o>(&self, field: &'o FieldRows) -> Lesson<'o> {
        let Lesson { teaching, certifying, demand, person, .. } = self;
        let (teaching, certifying) = (teaching.clone(), certifying.clone());
        Lesson { field, teaching, certifying, demand: demand.clone(), person: person.clone(), basis: Basis::State }
    }

    /// Learns.
    ///
    /// # Errors
    /// The rows cannot teach anything.
    pub fn teach(&self) -> Result<Taught, Failure> {
        let rows = self.field.labelled(&self.teaching);
        let started = Instant::now();
        let n_threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let options = self.field.labels();
        let request = LearnRequest { rows: &rows, options: &options, basis: self.basis, seed: SEED, n_threads };
        let failed = |error| Failure::failed(format!("`{}`: {error}", self.field.shown()));
        let learned = learn_from(&request).map_err(failed)?;
        let learn_ms = started.elapsed().as_secs_f64() * 1e3;
        let (certified, certified_truths, row_ms) = answers(self.field, &self.certifying, &rows, &learned.method);
        let taught = |at: &usize| &rows[*at];
        let raw = |row: &slm_fit::Labelled<'_>| row.evidence.logprobs.iter().map(|logprob| logprob.exp()).collect();
        Ok(Taught {
            truths: learned.places.iter().map(taught).map(|row| row.truth).collect(),
            raw: learned.places.iter().map(taught).map(raw).collect(),
            lengths: learned.places.iter().map(taught).map(|row| row.evidence.text.chars().count()).collect(),
            learned,
            certified,
            certified_truths,
            learn_ms,
            row_ms,
        })
    }
}

impl Taught {
    /// What the method says of the rows that taught, each without having seen it.
    pub fn found(&self) -> &[Vec<f64>] {
        &self.learned.out_of_fold
    }

    pub fn method(&self) -> MethodName {
        self.learned.method.name()
    }

    /// Whether there is something to learn.
    pub fn learns(&self) -> bool {
        self.method() != MethodName::Nothing
    }

    fn answers(&self) -> Answers<'_> {
        Answers { probabilities: &self.learned.out_of_fold, truths: &self.truths }
    }

    fn certifying(&self) -> Answers<'_> {
        Answers { probabilities: &self.certified, truths: &self.certified_truths }
    }
}

/// What rows taught of a field, with thresholds where they are asked for: for all layers and, where there is one, for the part of them
/// that is asked first.
///
/// # Errors
/// The confidence cannot be read.
pub fn learn(
    args: &FitArgs,
    lesson: Lesson<'_>,
    whole: Taught,
    early: Option<EarlyTaught>,
) -> Result<FieldResult, Failure> {
    let Lesson { field, demand, person, .. } = lesson;
    let stages: Vec<&Taught> = early.iter().map(|early| &early.taught).chain([&whole]).collect();
    let found: Vec<Answers<'_>> = stages.iter().map(|stage| stage.answers()).collect();
    let certifying: Vec<Answers<'_>> = stages.iter().map(|stage| stage.certifying()).collect();
    let all = |gate: Gate| vec![gate; stages.len()];
    let (mut gates, promise, broken) = match &demand {
        None => (all(Gate { thresholds: Vec::new(), person: person.clone() }), None, None),
        Some(demand) => match thresholds(demand, &found, &certifying, &person) {
            Ok(Thresholds { gates, card }) => (gates, Some(card), None),
            Err(error) => (all(Gate::default()), None, Some(error)),
        },
    };
    let frontier = match &demand {
        Some(_) => frontier(&found, &certifying, &person, args.promise.confidence()?),
        None => Vec::new(),
    };
    let gate = gates.pop().expect("there is one for each stage");
    let given = given(&whole, early.as_ref().zip(gates.first()));
    let early = early.zip(gates.pop()).map(|(early, gate)| EarlyResult::of(field, early, gate, &given));
    let figures = |name| whole.learned.tried.iter().find(|one| one.method == name).map(|one| one.figures);
    let card = FieldCard {
        name: field.name.clone(),
        method: whole.method(),
        rows_by_option: whole.learned.rows_by_option.clone(),
        notes: whole.learned.refusal.iter().map(ToString::to_string).collect(),
        before: figures(MethodName::Nothing),
        after: figures(whole.method()),
        tried: whole.learned.tried.clone(),
        thresholds: gate.thresholds.clone(),
        person: gate.person.iter().map(|&at| field.options[at].clone()).collect(),
        promise,
        reference: Some(Reference::of(&given, &whole.lengths)),
    };
    let Taught { learned, learn_ms, row_ms, .. } = whole;
    let fit =
        FieldFit { name: field.name.clone(), options: field.options.clone(), method: learned.method.clone(), gate };
    Ok(FieldResult { fit, card, learned: Some(learned), early, frontier, broken, learn_ms, row_ms })
}

/// The probabilities that rows are given: those of the part of the layers where its gate accepts them, else those of all layers.
fn given(whole: &Taught, early: Option<(&EarlyTaught, &Gate)>) -> Vec<Vec<f64>> {
    let Some((early, gate)) = early else { return whole.found().to_vec() };
    let row = |(early, whole): (&Vec<f64>, &Vec<f64>)| match gate.decision(early).abstention {
        None => early.clone(),
        Some(_) => whole.clone(),
    };
    early.taught.found().iter().zip(whole.found()).map(row).collect()
}

impl EarlyResult {
    fn of(field: &FieldRows, early: EarlyTaught, gate: Gate, given: &[Vec<f64>]) -> EarlyResult {
        let EarlyTaught { taught, tried, compared } = early;
        let is_answered = |p: &&Vec<f64>| gate.decision(p).abstention.is_none();
        let answered = taught.certified.iter().filter(is_answered).count() as u64;
        let card = EarlyCard {
            name: field.name.clone(),
            method: taught.method(),
            figures: compared.figures,
            given: trial_figures(given, &taught.truths),
            p_as_right: compared.p_as_right,
            p_as_likely: compared.p_as_likely,
            thresholds: gate.thresholds.clone(),
            answered: (!taught.certified.is_empty()).then_some(answered),
        };
        let (name, options) = (field.name.clone(), field.options.clone());
        let fit = FieldFit { name, options, method: taught.learned.method, gate };
        EarlyResult { fit, card, tried, row_ms: taught.row_ms }
    }
}

/// The method's probabilities of certifying rows with their labels, and milliseconds a row, measured on the rows that taught where
/// there are no others.
fn answers(
    field: &FieldRows,
    certifying: &[usize],
    taught: &[slm_fit::Labelled<'_>],
    method: &Method,
) -> (Vec<Vec<f64>>, Vec<usize>, f64) {
    let rows = field.labelled(certifying);
    let timed = if rows.is_empty() { &taught[..taught.len().min(200)] } else { &rows[..] };
    let started = Instant::now();
    let probabilities: Vec<Vec<f64>> = timed.iter().map(|row| method.probabilities(&row.evidence)).collect();
    let row_ms = started.elapsed().as_secs_f64() * 1e3 / timed.len().max(1) as f64;
    let probabilities = if rows.is_empty() { Vec::new() } else { probabilities };
    (probabilities, rows.iter().map(|row| row.truth).collect(), row_ms)
}

/// The options that always go to a person; a label of another field is not one of this field's.
fn person(args: &FitArgs, labels: &[String]) -> Vec<usize> {
    (0..labels.len()).filter(|&at| args.promise.person.contains(&labels[at])).collect()
}

fn no_labels(field: &FieldRows) -> Failure {
    let labels: Vec<String> = field.labels().iter().take(LISTED).map(|label| format!("`{label}`")).collect();
    Failure::failed(format!(
        "`{}`: none of the {} rows has a label that the model can answer, such as {}; correct the column, or name another with --label",
        field.shown(),
        field.rows.len(),
        labels.join(", ")
    ))
}

fn say_faults(field: &FieldRows, places: &[usize], faults: &Faults) {
    let name = field.shown();
    let labels = field.labels();
    if !faults.single.is_empty() {
        let singles: Vec<String> = faults.single.iter().take(LISTED).map(|&at| format!("`{}`", labels[at])).collect();
        let more = faults.single.len().saturating_sub(LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        say(format_args!(
            "`{name}`: {}{more} have one row each, which can be learned from or tried on, not both; label a few more",
            singles.join(", ")
        ));
    }
    if !faults.absent.is_empty() {
        say(format_args!(
            "`{name}`: {} of {} labels have no rows; they keep the model's own probabilities",
            faults.absent.len(),
            labels.len()
        ));
    }
    for conflict in faults.conflicts.iter().take(LISTED) {
        let row = |&nth: &usize| {
            let row = &field.rows[places[nth]];
            format!("`{}` ({})", row.truth.map_or("", |truth| &labels[truth]), row.at)
        };
        let rows: Vec<String> = conflict.iter().map(row).collect();
        say(format_args!("`{name}`: the same text has different labels: {}; one is often wrong", rows.join(", ")));
    }
    if faults.conflicts.len() > LISTED {
        say(format_args!("`{name}`: {} more texts have different labels", faults.conflicts.len() - LISTED));
    }
    if faults.n_repeated > 0 {
        say(format_args!("`{name}`: {} rows repeat a text with the same label and count once", faults.n_repeated));
    }
}
