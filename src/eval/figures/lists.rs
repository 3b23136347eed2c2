//! The figures of fields that are lists: how much of their items is right, and by a key what is missed, invented and wrong in them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rate::{Figure, Rate, figures};
use crate::eval::items::{Compared, compare, fold};
use crate::eval::record::Records;

/// Of the items of all rows together. A pair of an expected and a given item counts by the part of its fields that is the same; a
/// failed row gives no items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListFigures {
    pub item_f1: Figure,
    /// Of what was given.
    pub item_precision: Figure,
    /// Of what is expected.
    pub item_recall: Figure,
    pub expected_items: u64,
    pub given_items: u64,
    /// Given items that are right as a whole.
    pub whole_items: u64,
    /// Null without a key.
    pub by_key: Option<KeyFigures>,
}

/// Where items are identified by a field of theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyFigures {
    pub key: String,
    /// Of the expected items: none of this key was given.
    pub missed: Rate,
    /// Of the given items: none of this key is expected.
    pub invented: Rate,
    /// The other fields of items that were found, in the order in which they occur.
    pub fields: Vec<ItemFieldFigures>,
}

/// A field of the items that were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemFieldFigures {
    pub name: String,
    /// Of the items that have a value here: another was given.
    pub wrong: Rate,
    /// Of the items that have a value here: none was given.
    pub missed: Rate,
    /// Of the items that have no value here: one was given.
    pub invented: Rate,
}

/// The figures of a list, whose items have this `key`.
#[must_use]
pub fn figures_of(records: &Records, subject: usize, nth: usize, key: Option<&str>) -> ListFigures {
    let rows: Vec<(&Value, &Value)> = records
        .rows
        .iter()
        .map(|row| {
            let expected = row.expected.as_ref().map_or(&Value::Null, |expected| &expected[nth]);
            let fields = row.answers[subject].as_ref().and_then(|answer| answer.fields.as_ref().ok());
            // A row that cannot be read expects nothing and was not asked.
            let given = fields.filter(|_| row.expected.is_ok()).map_or(&Value::Null, |fields| &fields[nth].value);
            (expected, given)
        })
        .collect();
    let compared: Vec<Compared> = rows.iter().map(|(expected, given)| compare(expected, given, key)).collect();
    let compute = |at: &[usize]| {
        let sum = |of: fn(&Compared) -> f64| at.iter().map(|&row| of(&compared[row])).sum::<f64>();
        let credit = sum(|one| one.credit);
        let (expected, given) = (sum(|one| one.n_expected as f64), sum(|one| one.n_given as f64));
        let part = |of: f64, all: f64| (all > 0.0).then(|| of / all);
        [part(2.0 * credit, expected + given), part(credit, given), part(credit, expected)]
    };
    let [item_f1, item_precision, item_recall] = figures(rows.len(), compute);
    let total = |of: fn(&Compared) -> usize| compared.iter().map(of).sum::<usize>() as u64;
    ListFigures {
        item_f1,
        item_precision,
        item_recall,
        expected_items: total(|one| one.n_expected),
        given_items: total(|one| one.n_given),
        whole_items: total(|one| one.n_whole),
        by_key: key.map(|key| by_key(key, &rows, &compared)),
    }
}

fn by_key(key: &str, rows: &[(&Value, &Value)], compared: &[Compared]) -> KeyFigures {
    let mut fields: Vec<(&str, FieldCounts)> = Vec::new();
    for ((expected, given), compared) in rows.iter().zip(compared) {
        for &(one, other) in &compared.pairs {
            let (expected, given) = (&expected[one], &given[other]);
            let names = [expected, given].into_iter().filter_map(Value::as_object).flat_map(|map| map.keys());
            let mut seen: Vec<&str> = Vec::new();
            for name in names.map(String::as_str).filter(|name| *name != key) {
                if seen.contains(&name) {
                    continue;
                }
                seen.push(name);
                let at = fields.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                    fields.push((name, FieldCounts::default()));
                    fields.len() - 1
                });
                fields[at].1.count(&expected[name], &given[name]);
            }
        }
    }
    let found: usize = compared.iter().map(|one| one.pairs.len()).sum();
    let unpaired = |all: usize| Rate::of((0..all).map(|nth| nth >= found));
    KeyFigures {
        key: key.to_owned(),
        missed: unpaired(compared.iter().map(|one| one.n_expected).sum()),
        invented: unpaired(compared.iter().map(|one| one.n_given).sum()),
        fields: fields.into_iter().map(|(name, counts)| counts.figures(name)).collect(),
    }
}

/// What became of a field in the items that were found.
#[derive(Debug, Clone, Copy, Default)]
struct FieldCounts {
    n_expected: u64,
    n_wrong: u64,
    n_missed: u64,
    n_empty: u64,
    n_invented: u64,
}

impl FieldCounts {
    fn count(&mut self, expected: &Value, given: &Value) {
        if expected.is_null() {
            self.n_empty += 1;
            self.n_invented += u64::from(!given.is_null());
        } else {
            self.n_expected += 1;
            self.n_missed += u64::from(given.is_null());
            self.n_wrong += u64::from(!given.is_null() && fold(expected) != fold(given));
        }
    }

    fn figures(self, name: &str) -> ItemFieldFigures {
        let rate = |hits, n| slm_stats::Proportion { hits, n }.into();
        ItemFieldFigures {
            name: name.to_owned(),
            wrong: rate(self.n_wrong, self.n_expected),
            missed: rate(self.n_missed, self.n_expected),
            invented: rate(self.n_invented, self.n_empty),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::digest::Digest;
    use crate::eval::answer::{Failed, FieldAnswer, Why};
    use crate::eval::data::Place;
    use crate::eval::record::{Field, Record, RowAnswer};
    use crate::eval::suite::Judge;

    /// Rows of what is expected and what was given; `None` failed.
    fn records(rows: &[(Value, Option<Value>)]) -> Records {
        let row = |(nth, (expected, given)): (usize, &(Value, Option<Value>))| {
            let failed = Failed { why: Why::Format, reason: "broken".to_owned() };
            let field = |value: &Value| FieldAnswer {
                value: value.clone(),
                probabilities: Vec::new(),
                label_mass: None,
                is_withheld: false,
            };
            let fields = given.as_ref().map(|value| vec![field(value)]).ok_or(failed);
            Record {
                id: nth.to_string(),
                place: Place { source: 0, line: nth as u64 + 1 },
                at: format!("line {}", nth + 1),
                input: String::new(),
                digest: Digest::of(b""),
                expected: Ok(vec![expected.clone()]),
                answers: vec![Some(RowAnswer { fields, cost: None })],
            }
        };
        let judge = Judge::List { key: Some("n".to_owned()) };
        let field = Field { name: "lines".to_owned(), judge, candidates: Vec::new(), limits: None };
        Records::of_one_model(field, rows.iter().enumerate().map(row).collect())
    }

    #[test]
    fn items_count_by_what_of_them_is_right() {
        let records = records(&[
            // The nut is whole; of the bolt's three fields the price is wrong; the cap is missed, the pin is nobody's.
            (
                json!([{"n": "nut", "q": 1, "p": null}, {"n": "bolt", "q": 2, "p": 5}, {"n": "cap", "q": 3, "p": 1}]),
                Some(
                    json!([{"n": "Bolt", "q": 2, "p": 6}, {"n": "pin", "q": 9, "p": 9}, {"n": "nut", "q": 1, "p": null}]),
                ),
            ),
            // A quantity is left out, and a price was never there.
            (json!([{"n": "rod", "q": 4, "p": null}]), Some(json!([{"n": "rod", "q": null, "p": 2}]))),
            // A failed row gives nothing, and what it lacks is missed.
            (json!([{"n": "oil", "q": 1, "p": 1}]), None),
            (json!([]), Some(json!([]))),
        ]);
        let figures = figures_of(&records, 0, 0, Some("n"));
        // The credit: 1 + 2/3 of the first row, 1/3 of the second, of 5 items expected and 4 given.
        let near = |figure: Figure, expected: f64| {
            let value = figure.value.expect("there are items");
            assert!((value - expected).abs() < 1e-12, "{value} for {expected}");
            assert!(figure.low.is_some_and(|low| low <= value) && figure.high.is_some_and(|high| high >= value));
        };
        near(figures.item_precision, 2.0 / 4.0);
        near(figures.item_recall, 2.0 / 5.0);
        near(figures.item_f1, 4.0 / 9.0);
        assert_eq!((figures.expected_items, figures.given_items, figures.whole_items), (5, 4, 1));
        let by_key = figures.by_key.expect("there is a key");
        let of = |rate: Rate| (rate.hits, rate.rows);
        assert_eq!((of(by_key.missed), of(by_key.invented)), ((2, 5), (1, 4)));
        let fields: Vec<_> = by_key
            .fields
            .iter()
            .map(|field| (field.name.as_str(), of(field.wrong), of(field.missed), of(field.invented)))
            .collect();
        assert_eq!(fields, [("q", (0, 3), (1, 3), (0, 0)), ("p", (1, 1), (0, 1), (1, 2))]);
        assert_eq!(figures_of(&records, 0, 0, None).by_key, None);
    }

    #[test]
    fn no_items_are_no_figure() {
        let figures = figures_of(&records(&[(json!([]), Some(json!(null)))]), 0, 0, None);
        assert_eq!((figures.item_f1.value, figures.item_precision.value), (None, None));
    }
}
