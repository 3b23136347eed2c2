//! What one field's rows teach: the method, the thresholds, and why there are none.

use std::time::Instant;

use slm_fit::card::{FieldCard, Reference};
use slm_fit::faults::{Faults, halves};
use slm_fit::learn::{LearnRequest, Learned};
use slm_fit::promise::{Answers, Demand, FrontierPoint, PromiseError, Thresholds, frontier, thresholds};
use slm_fit::{FieldFit, Gate, Method, learn as learn_from, learn_words};

use super::args::FitArgs;
use super::rows::FieldRows;
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
    pub frontier: Vec<FrontierPoint>,
    /// Why there are no thresholds.
    pub broken: Option<PromiseError>,
    /// What learning took, and what the method takes for a row.
    pub learn_ms: f64,
    pub row_ms: f64,
}

impl FieldResult {
    /// Whether answers stay as they are and all are accepted.
    #[must_use]
    pub fn does_nothing(&self) -> bool {
        self.fit.method == Method::Nothing && self.fit.gate.is_open()
    }

    fn untouched(field: &FieldRows) -> FieldResult {
        let note = "the data has no labels for this field".to_owned();
        let card = FieldCard::untaught(field.name.clone(), Method::Nothing.name(), field.options.len(), note);
        let fit = FieldFit {
            name: field.name.clone(),
            options: field.options.clone(),
            method: Method::Nothing,
            gate: Gate::default(),
        };
        FieldResult { fit, card, learned: None, frontier: Vec::new(), broken: None, learn_ms: 0.0, row_ms: 0.0 }
    }
}

/// Learns a field.
///
/// # Errors
/// Its rows cannot teach anything, or what is asked of it cannot be read.
pub fn learn(args: &FitArgs, field: &FieldRows) -> Result<FieldResult, Failure> {
    let places = field.places();
    if !field.is_labelled {
        return Ok(FieldResult::untouched(field));
    }
    let pairs: Vec<(&str, usize)> =
        places.iter().filter_map(|&at| Some((field.rows[at].text.as_str(), field.rows[at].truth?))).collect();
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
                "`{}`: {needed} accepted rows are needed to certify a risk of {}, and half of the {} labelled rows are {}; label {} \
                 more, or ask for a higher risk",
                field.shown(),
                promise.risk(),
                pairs.len(),
                certifying.len(),
                (2 * needed).saturating_sub(pairs.len() as u64)
            );
            return Err(Failure { message, exit: Exit::NotMet });
        }
    }
    let rows = field.labelled(&teaching);
    let started = Instant::now();
    let n_threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let request = LearnRequest { rows: &rows, n_options: field.options.len(), seed: SEED, n_threads };
    let learn_from = if args.other.words_only { learn_words } else { learn_from };
    let learned = learn_from(&request).map_err(|error| Failure::failed(format!("`{}`: {error}", field.shown())))?;
    let learn_ms = started.elapsed().as_secs_f64() * 1e3;
    let truths: Vec<usize> = learned.places.iter().map(|&at| rows[at].truth).collect();
    let found = Answers { probabilities: &learned.out_of_fold, truths: &truths };
    let (probabilities, certified_truths, row_ms) = answers(field, &certifying, &rows, &learned.method);
    let certifying = Answers { probabilities: &probabilities, truths: &certified_truths };
    let (gate, promise, broken) = match &demand {
        None => (Gate { thresholds: Vec::new(), person: person.clone() }, None, None),
        Some(demand) => match thresholds(demand, &found, &certifying, &person) {
            Ok(Thresholds { gate, card }) => (gate, Some(card), None),
            Err(error) => (Gate::default(), None, Some(error)),
        },
    };
    let frontier = match &demand {
        Some(_) => frontier(&found, &certifying, &person, args.promise.confidence()?),
        None => Vec::new(),
    };
    let lengths: Vec<usize> = learned.places.iter().map(|&at| rows[at].evidence.text.chars().count()).collect();
    let figures = |name| learned.tried.iter().find(|one| one.method == name).map(|one| one.figures);
    let card = FieldCard {
        name: field.name.clone(),
        method: learned.method.name(),
        rows_by_option: learned.rows_by_option.clone(),
        notes: learned.refusal.iter().map(ToString::to_string).collect(),
        before: figures(slm_fit::MethodName::Nothing),
        after: figures(learned.method.name()),
        tried: learned.tried.clone(),
        thresholds: gate.thresholds.clone(),
        person: gate.person.iter().map(|&at| field.options[at].clone()).collect(),
        promise,
        reference: Some(Reference::of(&learned.out_of_fold, &lengths)),
    };
    let fit =
        FieldFit { name: field.name.clone(), options: field.options.clone(), method: learned.method.clone(), gate };
    Ok(FieldResult { fit, card, learned: Some(learned), frontier, broken, learn_ms, row_ms })
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
