//! A file of answers that belongs into version control: one line a row, sorted by id, so that a change of an answer is a changed
//! line; and what differs between it and a run.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use slm_stats::Confidence;
use slm_stats::paired::{Alternative, Pairs, Plan, smallest_difference};

use super::answer::FieldAnswer;
use super::judge::is_right;
use super::record::{Record, Records, RowAnswer};
use super::suite::list;

const VERSION: u32 = 1;
/// A longer file is no baseline.
const MAX_BYTES: u64 = 1 << 28;

/// The answers of an earlier run.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    head: Head,
    rows: BTreeMap<String, Line>,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    slm_eval_baseline: u32,
    suite: String,
    fields: Vec<String>,
    subjects: Vec<String>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    id: String,
    /// A digest of the text, so that a changed row is not taken for the same one.
    input: String,
    /// By subject: the value of each field, in their order; null where there was no answer.
    answers: BTreeMap<String, Option<Vec<Value>>>,
}

/// Why a baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error("there is no baseline `{}` yet; --bless writes it from this run", path.display())]
    Missing { path: PathBuf },
    #[error("cannot read the baseline `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the baseline `{}`: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` is not a baseline: line {line}: {reason}", path.display())]
    NotABaseline { path: PathBuf, line: usize, reason: String },
    #[error("the baseline `{}` is of another suite: its fields are {theirs}, and here they are {ours}; name this suite's own, or write this one anew with --bless", path.display())]
    OtherFields { path: PathBuf, theirs: String, ours: String },
    #[error("the baseline `{}` has none of this run's rows: it is of other data, or the rows got other ids", path.display())]
    OtherRows { path: PathBuf },
    #[error("the baseline `{}` has none of the models asked here; it has {theirs}; --bless writes it anew", path.display())]
    OtherSubjects { path: PathBuf, theirs: String },
}

/// How a subject changed against the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub subject: String,
    /// Rows that both have.
    pub rows: u64,
    /// Rows only here, and only in the baseline.
    pub new_rows: u64,
    pub gone_rows: u64,
    /// Of the common rows: right before and wrong now, and the other way round.
    pub broken: u64,
    pub fixed: u64,
    /// Of the parts of rows that are right, with Tango's 95 % interval.
    pub difference: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// McNemar's exact test, one-sided: is it worse now?
    pub p_worse: f64,
    pub is_worse: bool,
    /// The smallest drop that these rows would have shown 4 times in 5.
    pub smallest: Option<f64>,
    /// The rows whose verdict changed, broken ones first.
    pub changed: Vec<ChangedRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedRow {
    pub id: String,
    pub at: String,
    pub is_right_now: bool,
    pub expected: Vec<Value>,
    pub before: Option<Vec<Value>>,
    pub now: Option<Vec<Value>>,
}

impl Baseline {
    /// This run's answers.
    #[must_use]
    pub fn of(records: &Records) -> Baseline {
        let models: Vec<usize> = (0..records.subjects.len()).filter(|&at| records.subjects[at].is_model()).collect();
        let line = |row: &Record| {
            let answers =
                models.iter().map(|&at| (records.subjects[at].name.clone(), values(row.answers[at].as_ref())));
            Line { id: row.id.clone(), input: row.digest.short(), answers: answers.collect() }
        };
        let head = Head {
            slm_eval_baseline: VERSION,
            suite: records.suite.clone(),
            fields: records.fields.iter().map(|field| field.name.clone()).collect(),
            subjects: models.iter().map(|&at| records.subjects[at].name.clone()).collect(),
        };
        Baseline { head, rows: records.rows.iter().map(line).map(|line| (line.id.clone(), line)).collect() }
    }

    /// Reads a file of [`Baseline::write`].
    ///
    /// # Errors
    ///
    /// It is not there or is no baseline, with the line.
    pub fn read(path: &Path) -> Result<Baseline, BaselineError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => BaselineError::Missing { path: path.to_owned() },
            _ => BaselineError::Read { path: path.to_owned(), source },
        };
        let refused = |line: usize, reason: String| BaselineError::NotABaseline { path: path.to_owned(), line, reason };
        if std::fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
            return Err(refused(1, format!("it has more than {MAX_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let mut lines = (1..).zip(text.lines());
        let (_, first) = lines.next().ok_or_else(|| refused(1, "it is empty".to_owned()))?;
        let head: Head = serde_json::from_str(first).map_err(|error| refused(1, in_line(&error)))?;
        if head.slm_eval_baseline != VERSION {
            return Err(refused(1, format!("its version is {}, and this slm reads {VERSION}", head.slm_eval_baseline)));
        }
        let mut rows = BTreeMap::new();
        for (number, text) in lines {
            let line: Line = serde_json::from_str(text).map_err(|error| refused(number, in_line(&error)))?;
            if let Some(before) = rows.insert(line.id.clone(), line) {
                return Err(refused(number, format!("the id `{}` is there twice", before.id)));
            }
        }
        Ok(Baseline { head, rows })
    }

    /// Writes it: whole, or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        let mut text = serde_json::to_string(&self.head).expect("plain data") + "\n";
        for line in self.rows.values() {
            text += &serde_json::to_string(line).expect("plain data");
            text.push('\n');
        }
        let write = || {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|source| BaselineError::Write { path: path.to_owned(), source })
    }

    /// How each model of the run changed, where the gate's level is `level`.
    ///
    /// # Errors
    ///
    /// The baseline is of another suite, other rows or other models.
    pub fn changes(&self, records: &Records, level: f64, path: &Path) -> Result<Vec<Change>, BaselineError> {
        let path = || path.to_owned();
        let ours: Vec<&str> = records.fields.iter().map(|field| field.name.as_str()).collect();
        if self.head.fields != ours {
            let (theirs, ours) = (list(&self.head.fields), list(ours));
            return Err(BaselineError::OtherFields { path: path(), theirs, ours });
        }
        if !records.rows.iter().any(|row| self.same(row).is_some()) {
            return Err(BaselineError::OtherRows { path: path() });
        }
        let models = (0..records.subjects.len()).filter(|&at| records.subjects[at].is_model());
        let known = models.filter(|&at| self.head.subjects.contains(&records.subjects[at].name));
        let changes: Vec<Change> = known.map(|at| self.change(records, at, level)).collect();
        if changes.is_empty() {
            return Err(BaselineError::OtherSubjects { path: path(), theirs: list(&self.head.subjects) });
        }
        Ok(changes)
    }

    /// The line of a row with the same text.
    fn same(&self, row: &Record) -> Option<&Line> {
        self.rows.get(&row.id).filter(|line| line.input == row.digest.short())
    }

    fn change(&self, records: &Records, subject: usize, level: f64) -> Change {
        let name = &records.subjects[subject].name;
        let (mut pairs, mut changed, mut n_common) = (Vec::new(), Vec::new(), 0);
        for row in &records.rows {
            let Some(before) = self.same(row).and_then(|line| line.answers.get(name)) else { continue };
            n_common += 1;
            // Judged by what is expected today, so that a corrected label is no change of the model.
            let was = before.as_ref().map(|values| of_values(values));
            let was_right = is_right(row, was.as_ref(), &records.fields);
            let answer = row.answers[subject].as_ref();
            let is_right_now = is_right(row, answer, &records.fields);
            pairs.push((was_right, is_right_now));
            if was_right != is_right_now {
                changed.push(ChangedRow {
                    id: row.id.clone(),
                    at: row.at.clone(),
                    is_right_now,
                    expected: row.expected.clone().unwrap_or_default(),
                    before: before.clone(),
                    now: values(answer),
                });
            }
        }
        changed.sort_by_key(|row| row.is_right_now);
        let pairs = Pairs::count(pairs);
        let interval = pairs.difference_interval(Confidence::USUAL);
        let p_worse = pairs.mcnemar(Alternative::SecondIsWorse);
        let plan = Plan { level, ..Plan::GATE };
        let gone = self.rows.keys().filter(|id| !records.rows.iter().any(|row| row.id == **id)).count() as u64;
        Change {
            subject: name.clone(),
            rows: n_common,
            new_rows: records.rows.len() as u64 - n_common,
            gone_rows: gone,
            broken: pairs.only_first,
            fixed: pairs.only_second,
            difference: pairs.difference(),
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            p_worse,
            is_worse: p_worse < level,
            smallest: pairs.disagreement().and_then(|share| smallest_difference(plan, pairs.n(), share)),
            changed,
        }
    }
}

fn values(answer: Option<&RowAnswer>) -> Option<Vec<Value>> {
    let fields = answer?.fields.as_ref().ok()?;
    Some(fields.iter().map(|field| field.value.clone()).collect())
}

/// An error of one line of a file: its place there without the parser's own number of the line.
fn in_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column", " at column")
}

fn of_values(values: &[Value]) -> RowAnswer {
    let field = |value: &Value| FieldAnswer {
        value: value.clone(),
        probabilities: Vec::new(),
        label_mass: None,
        is_withheld: false,
    };
    RowAnswer { fields: Ok(values.iter().map(field).collect()), cost: None }
}

/// The values by their fields' names, for people.
#[must_use]
pub fn named(fields: &[super::record::Field], values: &[Value]) -> Value {
    let pairs = fields.iter().zip(values).map(|(field, value)| (field.name.clone(), value.clone()));
    Value::Object(pairs.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slm_stats::Random;

    use super::*;
    use crate::digest::Digest;
    use crate::eval::data::Place;
    use crate::eval::record::Field;
    use crate::eval::suite::Judge;

    /// Records of one model over rows that expect `a`, with these answers.
    fn records(answers: &[&str]) -> Records {
        let row = |(nth, answer): (usize, &&str)| Record {
            id: format!("r{nth:04}"),
            place: Place { source: 0, line: nth as u64 + 1 },
            at: format!("line {}", nth + 1),
            input: format!("text {nth}"),
            digest: Digest::of(format!("text {nth}").as_bytes()),
            expected: Ok(vec![json!("a")]),
            answers: vec![Some(of_values(&[json!(answer)]))],
        };
        let candidates = vec![json!("a"), json!("b")];
        let field = Field { name: "label".to_owned(), judge: Judge::Label, candidates, limits: None };
        Records::of_one_model(field, answers.iter().enumerate().map(row).collect())
    }

    fn change(before: &[&str], now: &[&str]) -> Change {
        let changes = Baseline::of(&records(before)).changes(&records(now), 0.05, Path::new("base.jsonl"));
        changes.expect("of the same suite").remove(0)
    }

    /// Two runs that disagree on `disagreement` of `n` rows; the second is worse by `drop`.
    fn pair(random: &mut Random, n: usize, disagreement: f64, drop: f64) -> (Vec<&'static str>, Vec<&'static str>) {
        let (lost, gained) = ((disagreement + drop) / 2.0, (disagreement - drop) / 2.0);
        let mut draw = || {
            let share = random.below(1_000_000) as f64 / 1e6;
            match share {
                share if share < lost => ("a", "b"),
                share if share < lost + gained => ("b", "a"),
                _ => ("a", "a"),
            }
        };
        (0..n).map(|_| draw()).unzip()
    }

    #[test]
    fn equals_are_seldom_called_worse_and_a_planted_drop_is_mostly_found() {
        let mut random = Random::seeded(15);
        let mut n_worse = |n: usize, disagreement: f64, drop: f64| {
            let worse = |_: &usize| {
                let (before, now) = pair(&mut random, n, disagreement, drop);
                change(&before, &now).is_worse
            };
            (0..400).filter(worse).count()
        };
        // The exact test keeps its level: at most 5 % of 400.
        for disagreement in [0.1, 0.2] {
            let n = n_worse(200, disagreement, 0.0);
            assert!(n <= 20, "{n} of 400 false alarms at a disagreement of {disagreement}");
        }
        // 246 and 493 rows are what the formula says for a drop of five points, found 4 times in 5.
        for (n_rows, disagreement) in [(246, 0.1), (493, 0.2)] {
            let n = n_worse(n_rows, disagreement, 0.05);
            assert!((280..=360).contains(&n), "{n} of 400 drops found in {n_rows} rows");
        }
    }

    #[test]
    fn what_changed_is_counted_on_the_rows_that_both_have() {
        let found = change(&["a", "a", "b", "a"], &["a", "b", "a"]);
        assert_eq!((found.rows, found.broken, found.fixed, found.new_rows, found.gone_rows), (3, 1, 1, 0, 1));
        let ids: Vec<(&str, bool)> = found.changed.iter().map(|row| (row.id.as_str(), row.is_right_now)).collect();
        assert_eq!(ids, [("r0001", false), ("r0002", true)]);
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_broken_ones_are_refused_with_their_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("base.jsonl");
        let baseline = Baseline::of(&records(&["a", "b"]));
        baseline.write(&path).expect("written");
        assert_eq!(Baseline::read(&path).expect("read"), baseline);
        let text = std::fs::read_to_string(&path).unwrap();
        let refused = |text: String| {
            std::fs::write(&path, text).unwrap();
            Baseline::read(&path).expect_err("broken").to_string().replace(&path.display().to_string(), "FILE")
        };
        assert!(refused(format!("{text}{{")).starts_with("`FILE` is not a baseline: line 4: EOF"));
        assert!(refused(String::new()).starts_with("`FILE` is not a baseline: line 1: it is empty"));
        let last = text.lines().last().unwrap();
        assert_eq!(
            refused(format!("{text}{last}\n")),
            "`FILE` is not a baseline: line 4: the id `r0001` is there twice"
        );
        let newer = refused(text.replace("\"slm_eval_baseline\":1", "\"slm_eval_baseline\":2"));
        assert_eq!(newer, "`FILE` is not a baseline: line 1: its version is 2, and this slm reads 1");
    }
}
