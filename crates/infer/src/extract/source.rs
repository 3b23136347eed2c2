//! Where an extracted text is in the input: letter for letter, or up to case and white space.

use std::ops::Range;

/// A place in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub bytes: Range<usize>,
    /// The same in characters (Unicode scalar values).
    pub chars: Range<usize>,
    pub likeness: Likeness,
}

/// How alike the input and the extracted text are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    Exact,
    /// Up to case and white space.
    Normalized,
}

impl Likeness {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Likeness::Exact => "exact",
            Likeness::Normalized => "normalized",
        }
    }
}

/// An input, prepared once for many searches.
#[derive(Debug)]
pub struct Source<'t> {
    text: &'t str,
    normal: String,
    /// For every byte of `normal` at which a character begins, the bytes of the text that it stands for.
    places: Vec<(usize, Range<usize>)>,
}

impl<'t> Source<'t> {
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let mut normal = String::new();
        let mut places: Vec<(usize, Range<usize>)> = Vec::new();
        for (at, c) in text.char_indices() {
            let end = at + c.len_utf8();
            if c.is_whitespace() {
                match places.last_mut() {
                    Some((_, place)) if normal.ends_with(' ') => place.end = end,
                    _ => {
                        places.push((normal.len(), at..end));
                        normal.push(' ');
                    }
                }
                continue;
            }
            for lower in c.to_lowercase() {
                places.push((normal.len(), at..end));
                normal.push(lower);
            }
        }
        Source { text, normal, places }
    }

    /// The first place of a text: exact ones before others, and whole words before parts of words.
    #[must_use]
    pub fn find(&self, wanted: &str) -> Option<Found> {
        if wanted.trim().is_empty() {
            return None;
        }
        let exact = first(self.text, wanted).map(|at| (at..at + wanted.len(), Likeness::Exact));
        let (bytes, likeness) = exact.or_else(|| {
            let wanted = Source::new(wanted.trim()).normal;
            let at = first(&self.normal, &wanted)?;
            Some((self.place(at).start..self.place(at + wanted.len() - 1).end, Likeness::Normalized))
        })?;
        let n_before = self.text[..bytes.start].chars().count();
        let n_chars = self.text[bytes.clone()].chars().count();
        Some(Found { bytes, chars: n_before..n_before + n_chars, likeness })
    }

    /// The bytes of the text that the character of `normal` around a byte stands for.
    fn place(&self, at: usize) -> Range<usize> {
        let after = self.places.partition_point(|(from, _)| *from <= at);
        self.places[after.saturating_sub(1)].1.clone()
    }
}

/// The first place of `wanted` that is whole words, else the first of all.
fn first(text: &str, wanted: &str) -> Option<usize> {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let cuts = |at: usize| {
        let end = at + wanted.len();
        (is_word(text[..at].chars().next_back()) && is_word(wanted.chars().next()))
            || (is_word(text[end..].chars().next()) && is_word(wanted.chars().next_back()))
    };
    let whole = text.match_indices(wanted).map(|(at, _)| at).find(|&at| !cuts(at));
    whole.or_else(|| text.find(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(text: &str, wanted: &str) -> Option<(String, Range<usize>, &'static str)> {
        let found = Source::new(text).find(wanted)?;
        Some((text[found.bytes].to_owned(), found.chars, found.likeness.as_str()))
    }

    #[test]
    fn exact_places_come_first_and_whole_words_before_parts() {
        assert_eq!(find("Anna met ann and Ann.", "Ann"), Some(("Ann".to_owned(), 17..20, "exact")));
        assert_eq!(find("order 11823, order 1182", "1182"), Some(("1182".to_owned(), 19..23, "exact")));
        assert_eq!(find("Annabel", "Ann"), Some(("Ann".to_owned(), 0..3, "exact")));
    }

    #[test]
    fn case_and_white_space_may_differ() {
        assert_eq!(find("from  JANE\n Doe, é", "Jane Doe"), Some(("JANE\n Doe".to_owned(), 6..15, "normalized")));
        assert_eq!(find("日本 🦙 STRASSE", "strasse"), Some(("STRASSE".to_owned(), 5..12, "normalized")));
        assert_eq!(find("İstanbul", "i\u{307}stanbul"), Some(("İstanbul".to_owned(), 0..8, "normalized")));
    }

    #[test]
    fn what_does_not_stand_there_is_not_found() {
        assert_eq!(find("a b", "ab"), None);
        assert_eq!([find("x", ""), find("x y", " "), find("", "x")], [None, None, None]);
    }

    proptest! {
        #[test]
        fn whatever_is_cut_out_is_found_again(text in "[a-zA-Zé日 \n]{1,40}", from in 0usize..40, n in 1usize..12) {
            let chars: Vec<char> = text.chars().collect();
            let from = from % chars.len();
            let wanted: String = chars[from..].iter().take(n).collect();
            let found = Source::new(&text).find(&wanted);
            prop_assert_eq!(found.is_some(), !wanted.trim().is_empty());
            if let Some(found) = found {
                prop_assert_eq!(&text[found.bytes.clone()], wanted.as_str());
                let by_chars: String = chars[found.chars].iter().collect();
                prop_assert_eq!(by_chars, wanted.clone());
            }
            let loud = wanted.to_uppercase();
            if let Some(found) = Source::new(&text).find(&loud) {
                let words = |text: &str| text.to_lowercase().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                prop_assert_eq!(words(&text[found.bytes]), words(&wanted));
            }
        }
    }
}
