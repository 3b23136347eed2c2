//! The special tokens of a vocabulary, found in texts as llama.cpp finds them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::jinja::is_python_space;

/// The special tokens that can be forged, by first character, the longest first.
#[derive(Debug, Clone, Default)]
pub(super) struct SpecialTokenTable {
    by_first: HashMap<char, Vec<String>>,
    /// Every character of them.
    pub alphabet: HashSet<char>,
    /// True where a token consists of nothing but characters that JSON escapes.
    pub escapes_forge: bool,
    /// Tokens of nothing but letters and digits, which a contract could spell although its signs are exchanged.
    pub words: HashSet<String>,
}

impl SpecialTokenTable {
    pub(super) fn new(control: &[String]) -> Self {
        let mut specials = SpecialTokenTable::default();
        let visible = |text: &&String| !text.chars().all(is_python_space);
        for text in control.iter().filter(visible).collect::<HashSet<_>>() {
            specials.alphabet.extend(text.chars());
            specials.escapes_forge |= text.chars().all(|c| is_escaped(c) || is_python_space(c));
            if text.chars().all(|c| is_word(c) || is_python_space(c)) {
                specials.words.insert(text.clone());
            }
            if let Some(first) = text.chars().next() {
                specials.by_first.entry(first).or_default().push(text.clone());
            }
        }
        for texts in specials.by_first.values_mut() {
            texts.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        }
        specials
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.by_first.values().flatten().map(String::as_str)
    }

    /// The byte ranges of special tokens in `text`, in order: the longest token first over the whole text, as
    /// llama.cpp partitions a text.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for (at, c) in text.char_indices() {
            for special in self.by_first.get(&c).into_iter().flatten() {
                let range = at..at + special.len();
                if text[at..].starts_with(special.as_str()) {
                    found.push(range);
                }
            }
        }
        found.sort_by(|a, b| b.len().cmp(&a.len()).then(a.start.cmp(&b.start)));
        let mut taken = vec![false; text.len()];
        found.retain(|range| {
            let free = taken[range.clone()].iter().all(|&t| !t);
            if free {
                taken[range.clone()].fill(true);
            }
            free
        });
        found.sort_by_key(|range| range.start);
        found
    }

    /// True if the text ends as a special token begins or begins as one ends, and could so be joined to one. Neither a text
    /// that holds special tokens whole nor one from the middle of a token counts.
    pub(super) fn borders(&self, text: &str) -> bool {
        self.all().any(|special| {
            let ends = special.char_indices().map(|(at, c)| at + c.len_utf8()).filter(|&end| end < special.len());
            let starts = special.char_indices().map(|(at, _)| at).filter(|&start| start > 0);
            ends.into_iter().any(|end| text.ends_with(&special[..end]))
                || starts.into_iter().any(|start| text.starts_with(&special[start..]))
        })
    }
}

/// What names of fields and keywords of schemas are made of.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// What JSON writes with a backslash.
pub(super) fn is_escaped(c: char) -> bool {
    c == '"' || c == '\\' || c < ' '
}
