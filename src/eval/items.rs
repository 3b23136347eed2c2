//! The items of two lists side by side: which belongs to which, and how much of each pair is the same. It counts no rows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use slm_stats::text::{self, assign};

use super::label::key;

/// Longer lists are paired in their order: the best pairs of n and m items take n²m steps.
const MAX_ASSIGNED: usize = 300;

/// Two lists, compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Compared {
    pub n_expected: usize,
    pub n_given: usize,
    /// Which expected item belongs to which given one, by their places.
    pub pairs: Vec<(usize, usize)>,
    /// The sum over the pairs of the part of their fields that is the same: 1 for a pair that is the same as a whole.
    pub credit: f64,
    /// Pairs that are the same as a whole.
    pub n_whole: usize,
}

impl Compared {
    /// Whether both lists hold the same items, in whatever order.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.n_whole == self.n_expected && self.n_whole == self.n_given
    }
}

/// An item, its values made comparable once.
#[derive(Debug, PartialEq)]
enum Item<'a> {
    /// A field that is null is as one that is not there.
    Fields(BTreeMap<&'a str, String>),
    Bare(String),
}

impl<'a> Item<'a> {
    fn of(value: &'a Value) -> Item<'a> {
        match value {
            Value::Object(map) => {
                let there = map.iter().filter(|(_, value)| !value.is_null());
                Item::Fields(there.map(|(name, value)| (name.as_str(), fold(value))).collect())
            }
            other => Item::Bare(fold(other)),
        }
    }

    /// What identifies it; an item without the key has none, and belongs to others without.
    fn key(&self, name: &str) -> Option<&str> {
        match self {
            Item::Fields(fields) => fields.get(name).map(String::as_str),
            Item::Bare(_) => None,
        }
    }

    /// The part of the fields of either that is the same in both.
    fn likeness(&self, other: &Item<'_>) -> f64 {
        let (Item::Fields(one), Item::Fields(two)) = (self, other) else { return f64::from(u8::from(self == other)) };
        let names: BTreeSet<&str> = one.keys().chain(two.keys()).copied().collect();
        if names.is_empty() {
            return 1.0;
        }
        let n_same = names.iter().filter(|name| one.get(*name) == two.get(*name)).count();
        n_same as f64 / names.len() as f64
    }
}

/// Compares two lists. With a `key` items belong together whose field of that name says the same (several of one key so that
/// most fits), without one so that most fits. What is no list has no items.
#[must_use]
pub fn compare(expected: &Value, given: &Value, key: Option<&str>) -> Compared {
    let (expected, given) = (items(expected), items(given));
    let groups: Vec<(Vec<usize>, Vec<usize>)> = match key {
        None => vec![((0..expected.len()).collect(), (0..given.len()).collect())],
        Some(name) => {
            let mut by_key: BTreeMap<Option<&str>, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
            for (at, item) in expected.iter().enumerate() {
                by_key.entry(item.key(name)).or_default().0.push(at);
            }
            for (at, item) in given.iter().enumerate() {
                by_key.entry(item.key(name)).or_default().1.push(at);
            }
            by_key.into_values().collect()
        }
    };
    let mut compared = Compared { n_expected: expected.len(), n_given: given.len(), ..Compared::default() };
    for (left, right) in groups {
        for (one, other) in pairs(&expected, &given, &left, &right) {
            let likeness = expected[one].likeness(&given[other]);
            compared.credit += likeness;
            compared.n_whole += usize::from(expected[one] == given[other]);
            compared.pairs.push((one, other));
        }
    }
    compared.pairs.sort_unstable();
    compared
}

/// The pairs of a group with the greatest likeness in sum. Equal items belong together in any best pairing, so that the search is
/// for the others.
fn pairs(expected: &[Item<'_>], given: &[Item<'_>], left: &[usize], right: &[usize]) -> Vec<(usize, usize)> {
    let mut free: Vec<usize> = right.to_vec();
    let (mut pairs, mut rest) = (Vec::new(), Vec::new());
    for &one in left {
        match free.iter().position(|&other| expected[one] == given[other]) {
            Some(at) => pairs.push((one, free.remove(at))),
            None => rest.push(one),
        }
    }
    if rest.len() > MAX_ASSIGNED || free.len() > MAX_ASSIGNED {
        pairs.extend(rest.into_iter().zip(free));
        return pairs;
    }
    let likeness = |&one: &usize| free.iter().map(|&other| expected[one].likeness(&given[other])).collect::<Vec<f64>>();
    let assigned = assign(&rest.iter().map(likeness).collect::<Vec<_>>());
    pairs.extend(rest.iter().zip(assigned).filter_map(|(&one, other)| Some((one, free[other?]))));
    pairs
}

fn items(list: &Value) -> Vec<Item<'_>> {
    list.as_array().into_iter().flatten().map(Item::of).collect()
}

/// A value as a text that is equal for values that say the same: texts folded, numbers by value, lists in any order.
#[must_use]
pub fn fold(value: &Value) -> String {
    match value {
        Value::String(said) => text::fold(said),
        Value::Object(map) => {
            let there = map.iter().filter(|(_, value)| !value.is_null());
            let mut parts: Vec<String> = there.map(|(name, value)| format!("{name}={}", fold(value))).collect();
            parts.sort();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(values) => {
            let mut parts: Vec<String> = values.iter().map(fold).collect();
            parts.sort();
            format!("[{}]", parts.join(","))
        }
        other => key(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(expected: Value, given: Value, key: Option<&str>, credit: f64, pairs: &[(usize, usize)]) {
        let found = compare(&expected, &given, key);
        assert!((found.credit - credit).abs() < 1e-12, "{found:?}");
        assert_eq!(found.pairs, pairs);
        // Who is first does not matter.
        let turned = compare(&given, &expected, key);
        assert!((turned.credit - credit).abs() < 1e-12, "{turned:?}");
    }

    #[test]
    fn items_belong_together_by_their_key() {
        let expected = json!([{"n": "Bolt", "q": 2, "p": 1.5}, {"n": "Nut", "q": 3, "p": null}]);
        let given = json!([{"n": "nut.", "q": 3}, {"n": "Screw", "q": 2, "p": 1.5}, {"n": "bolt", "q": 4, "p": 1.50}]);
        // Of `n`, `q` and `p` two are right in the bolt; the screw is nobody's.
        check(expected.clone(), given.clone(), Some("n"), 1.0 + 2.0 / 3.0, &[(0, 2), (1, 0)]);
        assert_eq!(compare(&expected, &given, Some("n")).n_whole, 1);
        // Without a key the screw fits the bolt as well as the bolt does, and comes first.
        assert!((compare(&expected, &given, None).credit - (1.0 + 2.0 / 3.0)).abs() < 1e-12);
    }

    #[test]
    fn several_of_one_key_are_paired_so_that_most_fits() {
        let expected = json!([{"n": "hall", "h": 2}, {"n": "hall", "h": 3}]);
        let given = json!([{"n": "Hall", "h": 3}, {"n": "Hall", "h": 5}]);
        check(expected, given, Some("n"), 1.5, &[(0, 1), (1, 0)]);
    }

    #[test]
    fn bare_items_count_once_each() {
        check(json!(["a", "B", "b"]), json!(["b", "b", "b", "c"]), None, 2.0, &[(0, 2), (1, 0), (2, 1)]);
        check(json!([1, 2]), json!([2.0, 1]), None, 2.0, &[(0, 1), (1, 0)]);
        check(json!([]), json!(["x"]), None, 0.0, &[]);
        check(json!(null), json!("x"), None, 0.0, &[]);
        assert!(compare(&json!([{"a": [1, 2]}]), &json!([{"a": [2, 1]}]), None).is_same());
        assert!(!compare(&json!(["a"]), &json!(["a", "a"]), None).is_same());
    }

    #[test]
    fn lists_of_any_length_are_compared() {
        let long = |n: usize| Value::from((0..n).map(|nth| json!({"n": nth, "x": n})).collect::<Vec<_>>());
        let found = compare(&long(2000), &long(2001), None);
        assert_eq!((found.pairs.len(), found.n_whole), (2000, 0));
        assert!((found.credit - 1000.0).abs() < 1e-9, "{}", found.credit);
    }
}
