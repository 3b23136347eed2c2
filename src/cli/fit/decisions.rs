//! Decisions that `slm serve --decisions` wrote down, as rows to check a fit with: nobody is asked, and no text is needed.

use std::io::BufRead as _;
use std::path::Path;

use serde_json::Value;

use crate::api::decision_log::DecisionLine;
use crate::api::extra::ExtraField;
use crate::cli::log::Corrections;
use crate::eval::label::key;
use crate::failure::Failure;

/// What decisions say of one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    pub name: Option<String>,
    pub options: Vec<Value>,
    /// Fitted, in the contract's order.
    pub probabilities: Vec<Vec<f64>>,
    /// Characters of the texts.
    pub lengths: Vec<usize>,
    pub people: People,
}

/// What people said of answers in a log (`slm log correct`). They chose which to look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct People {
    /// Answers that were given, looked at or not.
    pub accepted: u64,
    /// Of these, those that people said are wrong, and right.
    pub wrong: u64,
    pub right: u64,
    /// Guesses of withheld answers that people said are wrong, and right.
    pub guesses_wrong: u64,
    pub guesses_right: u64,
}

impl People {
    fn take(&mut self, field: &ExtraField, label: Option<&Value>) {
        let answer = field.guess.as_ref().unwrap_or(&field.value);
        let is_right = label.map(|label| key(label) == key(answer));
        let is_accepted = field.abstained.is_none();
        self.accepted += u64::from(is_accepted);
        let count = match (is_accepted, is_right) {
            (_, None) => return,
            (true, Some(true)) => &mut self.right,
            (true, Some(false)) => &mut self.wrong,
            (false, Some(true)) => &mut self.guesses_right,
            (false, Some(false)) => &mut self.guesses_wrong,
        };
        *count += 1;
    }
}

/// The decisions of one fit in a log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Log {
    pub fields: Vec<Decided>,
    pub n_lines: usize,
    /// Lines of other models or fits, and of no decision.
    pub n_others: usize,
}

/// Whether a file is such a log: its first line says so.
#[must_use]
pub fn is_log(path: &Path) -> bool {
    let Ok(file) = std::fs::File::open(path) else { return false };
    let first = std::io::BufReader::new(file).lines().next();
    first.is_some_and(|line| line.is_ok_and(|line| serde_json::from_str::<DecisionLine>(&line).is_ok()))
}

/// Reads the decisions that the fit of this id made.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path, fit: &str) -> Result<Log, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot read `{}`: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(failed)?;
    let (mut log, corrections) = (Log::default(), Corrections::read(path)?);
    for line in std::io::BufReader::new(file).lines() {
        let line = line.map_err(failed)?;
        match serde_json::from_str::<DecisionLine>(&line) {
            // What a cascade took of a tier are its surest answers, which say nothing of how all are spread.
            Ok(line) if line.fit.as_deref() == Some(fit) && line.path.is_empty() => log.take(line, &corrections),
            _ => log.n_others += 1,
        }
    }
    Ok(log)
}

impl Log {
    fn take(&mut self, line: DecisionLine, corrections: &Corrections) {
        self.n_lines += 1;
        let corrected = corrections.of(&line);
        for field in line.fields {
            let options: Vec<Value> = field.probabilities.iter().map(|one| one.value.clone()).collect();
            let known = self.fields.iter().position(|known| known.name == field.name && known.options == options);
            let at = known.unwrap_or_else(|| {
                let (name, probabilities, lengths) = (field.name.clone(), Vec::new(), Vec::new());
                self.fields.push(Decided { name, options, probabilities, lengths, people: People::default() });
                self.fields.len() - 1
            });
            let label = corrected.iter().find(|(name, _)| *name == field.name).map(|(_, label)| label);
            self.fields[at].people.take(&field, label);
            let p = field.probabilities.iter().map(|one| one.probability).collect::<Vec<f64>>();
            if !p.is_empty() {
                self.fields[at].probabilities.push(p);
                self.fields[at].lengths.push(line.input.chars);
            }
        }
    }
}
