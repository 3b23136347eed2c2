//! Texts that say nearly the same: those that share almost all of their words.

use std::collections::{HashMap, HashSet};

/// Two texts are near where they share this part of the words that either has.
pub const NEAR: f64 = 0.85;
/// The words of a text by which its neighbours are looked up, the rarest first.
const N_LOOKED_UP: usize = 4;
/// A word in more texts than this finds no neighbours: it would find all.
const MAX_TEXTS: usize = 2_000;

/// A text by which another is the same: in lower case, white space as one blank.
#[must_use]
pub fn same_text(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// For each text the number of the first text of its group: texts that are near to each other, or to one between them, are one
/// group.
#[must_use]
pub fn groups(texts: &[&str]) -> Vec<usize> {
    let words: Vec<HashSet<String>> = texts.iter().map(|text| words(text)).collect();
    let mut with: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, words) in words.iter().enumerate() {
        words.iter().for_each(|word| with.entry(word.as_str()).or_default().push(at));
    }
    let mut first: Vec<usize> = (0..texts.len()).collect();
    for (at, own) in words.iter().enumerate() {
        let mut rarest: Vec<&str> = own.iter().map(String::as_str).collect();
        rarest.sort_by_key(|word| (with[word].len(), *word));
        let looked_up = rarest.into_iter().take(N_LOOKED_UP).filter(|word| with[word].len() <= MAX_TEXTS);
        let found: HashSet<usize> =
            looked_up.flat_map(|word| &with[word]).copied().filter(|other| *other < at).collect();
        let near = found.into_iter().filter(|other| likeness(own, &words[*other]) >= NEAR);
        for other in near.collect::<Vec<_>>() {
            join(&mut first, at, other);
        }
    }
    (0..texts.len()).map(|at| root(&first, at)).collect()
}

fn words(text: &str) -> HashSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: HashSet<String> = words.map(str::to_lowercase).collect();
    // A text of signs alone is near to the same signs.
    if words.is_empty() { std::iter::once(same_text(text)).collect() } else { words }
}

/// The part of the words of either that both have.
fn likeness(one: &HashSet<String>, other: &HashSet<String>) -> f64 {
    let n_shared = one.intersection(other).count();
    n_shared as f64 / (one.len() + other.len() - n_shared) as f64
}

fn root(first: &[usize], mut at: usize) -> usize {
    while first[at] != at {
        at = first[at];
    }
    at
}

fn join(first: &mut [usize], one: usize, other: usize) {
    let (one, other) = (root(first, one), root(first, other));
    first[one.max(other)] = one.min(other);
}

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn texts_of_almost_the_same_words_are_one_group() {
        let long = "the parcel that I ordered on the third of May has still not come";
        let texts = [
            long,
            "something else altogether",
            "The parcel that I ordered on the third of May has still not come!",
            "the parcel that I ordered on the fourth of May has still not come",
            "the parcel came",
            "!!",
            "!!",
        ];
        assert_eq!(groups(&texts), [0, 1, 0, 0, 4, 5, 5]);
        assert_eq!(groups(&[]), Vec::<usize>::new());
    }
}
