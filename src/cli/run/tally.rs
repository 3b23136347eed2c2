//! Running totals over rows: how many, how fast, what they cost and what the answers are.

use std::time::Instant;

use super::answer::{doubt, label};
use crate::decide::FieldAnswer;
use crate::engine::Counts;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::End;

/// Labels that are shown while rows are answered.
const SHOWN_LABELS: usize = 5;
/// Under which answers are counted that are left to a person.
const ABSTAINED: &str = "(left to a person)";

/// Totals of this run.
#[derive(Debug)]
pub struct Tally {
    started: Instant,
    rows: u64,
    failed: u64,
    /// Answers that did not meet their contract.
    not_met: u64,
    /// Closed answers whose label mass is little.
    doubtful: u64,
    evaluated: u64,
    reused: u64,
    generated: u64,
    /// Each closed field's name and answers.
    fields: Vec<(Option<String>, Labels)>,
}

/// Labels with how often each was the answer.
type Labels = Vec<(String, u64)>;

/// What one answer adds to the totals.
#[derive(Debug, Default)]
pub struct Share {
    counts: Counts,
    labels: Vec<(Option<String>, String)>,
    is_doubtful: bool,
}

impl Share {
    #[must_use]
    pub fn of(end: &End) -> Share {
        let shown = |field: &FieldAnswer| field.given().map_or_else(|| ABSTAINED.to_owned(), label);
        let labels = end.closed_fields().iter().map(|field| (field.name.clone(), shown(field))).collect();
        let is_doubtful = end.closed_fields().iter().any(|field| doubt(field).is_some());
        Share { counts: end.counts, labels, is_doubtful }
    }
}

impl Tally {
    #[must_use]
    pub fn start() -> Self {
        let started = Instant::now();
        let fields = Vec::new();
        Tally { started, rows: 0, failed: 0, not_met: 0, doubtful: 0, evaluated: 0, reused: 0, generated: 0, fields }
    }

    /// Counts a row that was answered, or that was not for the reason that its exit code tells.
    pub fn add(&mut self, share: Share, ended: Exit) {
        self.rows += 1;
        match ended {
            Exit::Done => {}
            Exit::NotMet => self.not_met += 1,
            _ => self.failed += 1,
        }
        self.doubtful += u64::from(share.is_doubtful);
        let Counts { prompt, reused, branch, generated, .. } = share.counts;
        self.evaluated += (prompt - reused + branch) as u64;
        self.reused += reused as u64;
        self.generated += generated as u64;
        for (name, label) in share.labels {
            let labels = entry(&mut self.fields, name);
            *entry(labels, label) += 1;
        }
    }

    /// What is to be said of answers that mean little.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let (n, all) = (self.doubtful, self.rows);
        (n > 0).then(|| format!("in {n} of {all} rows this model wanted to say something else (label mass below 1 %)"))
    }

    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The totals beside a bar: no more than fits on a line.
    #[must_use]
    pub fn compact(&self) -> String {
        let mut text = self.troubles();
        text += &format!("  {} tokens", short(self.evaluated + self.generated));
        if let Some((name, labels)) = self.fields.first() {
            let name = name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            text += &format!("  {name}{}", counted(labels, SHOWN_LABELS));
        }
        text
    }

    /// The totals of the whole run.
    #[must_use]
    pub fn summary(&self) -> String {
        let (elapsed, rows) = (self.started.elapsed().as_secs_f64(), self.rows);
        let rate = rows as f64 / elapsed.max(1e-9);
        let mut text = format!("answered       {rows} rows in {elapsed:.1} s, {rate:.1} rows/s{}; ", self.troubles());
        text += &format!("{} tokens evaluated, {} reused, {} generated\n", self.evaluated, self.reused, self.generated);
        for (name, labels) in &self.fields {
            let name = name.as_deref().unwrap_or("answers");
            text += &format!("{name:<14} {}\n", counted(labels, labels.len()));
        }
        text
    }

    /// How a run of these rows ends.
    ///
    /// # Errors
    /// There are rows without an answer.
    pub fn outcome(&self) -> Outcome {
        let Tally { rows, failed, not_met, .. } = self;
        match (failed, not_met) {
            (0, 0) => Ok(Exit::Done),
            (0, _) => {
                let message = format!("{not_met} of {rows} answers failed their format or limits");
                Err(Failure { message, exit: Exit::NotMet })
            }
            (_, 0) => Err(Failure::failed(format!("{failed} of {rows} rows failed"))),
            (_, _) => Err(Failure::failed(format!(
                "{failed} of {rows} rows failed, and of the answers {not_met} failed their format or limits"
            ))),
        }
    }

    fn troubles(&self) -> String {
        let told = |n, what| if n > 0 { format!(", {n} {what}") } else { String::new() };
        told(self.failed, "failed") + &told(self.not_met, "withheld")
    }
}

/// The value under a key, made where there is none. There are few keys.
fn entry<K: PartialEq, V: Default>(list: &mut Vec<(K, V)>, key: K) -> &mut V {
    let at = list.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        list.push((key, V::default()));
        list.len() - 1
    });
    &mut list[at].1
}

/// The most frequent labels with their numbers.
fn counted(labels: &[(String, u64)], n: usize) -> String {
    let mut sorted: Vec<&(String, u64)> = labels.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut text: Vec<String> = sorted.iter().take(n).map(|(label, n)| format!("{label} {n}")).collect();
    if sorted.len() > n {
        text.push(format!("{} more", sorted.len() - n));
    }
    text.join(", ").replace('\n', "␊")
}

/// A number of tokens as people read it.
fn short(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..10_000_000 => format!("{:.0}k", n as f64 / 1e3),
        _ => format!("{:.0}M", n as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(labels: &[&str]) -> Share {
        let counts = Counts { prompt: 10, reused: 4, branch: 2, generated: 1, ..Counts::default() };
        let named = |(at, label): (usize, &&str)| (Some(format!("f{at}")), (*label).to_owned());
        let labels = labels.iter().enumerate().map(named).collect();
        Share { counts, labels, is_doubtful: false }
    }

    #[test]
    fn totals_are_of_all_rows_and_the_most_frequent_label_comes_first() {
        let mut tally = Tally::start();
        for labels in [["a", "x"], ["b", "x"], ["b", "y"]] {
            tally.add(share(&labels), Exit::Done);
        }
        assert_eq!(tally.compact(), "  27 tokens  f0: b 2, a 1");
        assert!(matches!(tally.outcome(), Ok(Exit::Done)));
        tally.add(Share::default(), Exit::Failed);
        assert_eq!(tally.compact(), ", 1 failed  27 tokens  f0: b 2, a 1");
        let summary = tally.summary();
        assert!(summary.starts_with("answered       4 rows in ") && summary.contains(" rows/s, 1 failed; 24 tokens"));
        assert!(
            summary.ends_with(" evaluated, 12 reused, 3 generated\nf0             b 2, a 1\nf1             x 2, y 1\n")
        );
    }

    #[test]
    fn many_labels_are_cut_and_numbers_short() {
        let labels: Vec<(String, u64)> = (0..9).map(|n| (format!("l{n}"), 9 - n)).collect();
        assert_eq!(counted(&labels, 2), "l0 9, l1 8, 7 more");
        assert_eq!([short(9_999), short(12_345), short(45_000_000)], ["9999", "12k", "45M"]);
    }

    #[test]
    fn a_failed_row_weighs_more_than_a_contract_that_was_not_met() {
        let outcome = |ends: &[Exit]| {
            let mut tally = Tally::start();
            ends.iter().for_each(|end| tally.add(Share::default(), *end));
            tally.outcome().map_err(|failure| (failure.message, failure.exit))
        };
        let not_met = "1 of 2 answers failed their format or limits".to_owned();
        assert_eq!(outcome(&[Exit::Done, Exit::NotMet]), Err((not_met, Exit::NotMet)));
        let both = "1 of 2 rows failed, and of the answers 1 failed their format or limits".to_owned();
        assert_eq!(outcome(&[Exit::Failed, Exit::NotMet]), Err((both, Exit::Failed)));
    }
}
