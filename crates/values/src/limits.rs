//! Limits of a finished text: words, sentences, a pattern. It knows no models.
//!
//! Words and sentences are those of Unicode's text segmentation (UAX #29). A word holds at least one letter or digit;
//! `don't` is one, `well-known` are two. A sentence holds one too, and a line break ends it. Further, no sentence ends after
//! a title or abbreviation of [`ABBREVIATIONS`], an initial (one capital letter but `I`), or a number that begins a line.

use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use serde_json::{Value, json};
use unicode_segmentation::UnicodeSegmentation as _;

/// Words after which a full stop does not end a sentence, in lower case.
const ABBREVIATIONS: [&str; 26] = [
    "mr", "mrs", "ms", "dr", "prof", "rev", "gen", "sen", "rep", "gov", "capt", "lt", "sgt", "hon", "st", "mt", "vs",
    "e.g", "i.e", "cf", "viz", "approx", "fig", "ca", "p", "pp",
];
/// Bytes that a compiled pattern may take; matching takes time in proportion to the text alone.
const MAX_PATTERN_BYTES: usize = 4 << 20;

/// Limits of a text; by default there are none.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    pub max_words: Option<usize>,
    pub max_sentences: Option<usize>,
    pub pattern: Option<Pattern>,
}

/// A regular expression that a text matches as a whole.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

/// A limit that a text does not keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    #[error("too long: {found} words (maximum {allowed})")]
    Words { found: usize, allowed: usize },
    #[error("too long: {found} sentences (maximum {allowed})")]
    Sentences { found: usize, allowed: usize },
    #[error("the whole answer does not match `{pattern}`")]
    Pattern { pattern: String },
    /// The text says again what was asked, which may well keep the limits.
    #[error("the answer repeats the request for it")]
    Repeats,
    /// The text was cut off, so the whole cannot be checked.
    #[error("the answer was cut off after {n_tokens} tokens, before its end")]
    Unfinished { n_tokens: usize },
}

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a supported regular expression: {reason}")]
pub struct PatternError {
    pub pattern: String,
    pub reason: String,
}

impl Limits {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.max_words.is_none() && self.max_sentences.is_none() && self.pattern.is_none()
    }

    /// The limits that a whole text does not keep; white space at its ends does not count.
    #[must_use]
    pub fn check(&self, text: &str) -> Vec<Breach> {
        let text = text.trim();
        let too_many = |allowed: Option<usize>, count: fn(&str) -> usize| {
            allowed.map(|allowed| (count(text), allowed)).filter(|(found, allowed)| found > allowed)
        };
        let words = too_many(self.max_words, words).map(|(found, allowed)| Breach::Words { found, allowed });
        let sentences =
            too_many(self.max_sentences, sentences).map(|(found, allowed)| Breach::Sentences { found, allowed });
        let pattern = self.pattern.as_ref().filter(|pattern| !pattern.regex.is_match(text));
        let pattern = pattern.map(|pattern| Breach::Pattern { pattern: pattern.source.clone() });
        [words, sentences, pattern].into_iter().flatten().collect()
    }

    /// The limits as a request to a model; empty where there are none.
    #[must_use]
    pub fn request(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let most: Vec<String> = [(self.max_sentences, "sentence"), (self.max_words, "word")]
            .into_iter()
            .filter_map(|(limit, what)| limit.map(|n| count(n, what)))
            .collect();
        let most = (!most.is_empty()).then(|| format!("Answer in at most {}.", most.join(" and ")));
        let pattern = self
            .pattern
            .as_ref()
            .map(|pattern| format!("The whole answer must match the regular expression `{}`.", pattern.source));
        most.into_iter().chain(pattern).collect::<Vec<_>>().join(" ")
    }

    /// [`Breach::Repeats`] where an answer holds a sentence of [`Limits::request`], or is a part of it.
    #[must_use]
    pub fn check_second(&self, text: &str) -> Option<Breach> {
        let words = |text: &str| text.unicode_words().map(str::to_lowercase).collect::<Vec<_>>().join(" ");
        let (request, answer) = (self.request(), format!(" {} ", words(text)));
        let is_said = |sentence: &str| {
            let sentence = words(sentence);
            !sentence.is_empty() && answer.contains(&format!(" {sentence} "))
        };
        // A word or two of it can be an answer's own.
        let is_part = text.unicode_words().count() > 3 && format!(" {} ", words(&request)).contains(&answer);
        (is_part || request.split_inclusive(". ").any(is_said)).then_some(Breach::Repeats)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(source: &str) -> Result<Pattern, PatternError> {
        let build = |text: &str| RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build();
        let refused = |error: regex::Error| PatternError { pattern: source.to_owned(), reason: in_line(&error) };
        // Alone first: `a)|(b` must not become valid by the group around it.
        build(source).map_err(refused)?;
        // A comment at the end of a pattern in verbose mode would take the group's end with it.
        let whole = build(&format!(r"\A(?:{source})\z")).or_else(|_| build(&format!("\\A(?:{source}\n)\\z")));
        Ok(Pattern { source: source.to_owned(), regex: whole.map_err(refused)? })
    }
}

impl Breach {
    /// The breach as data.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Breach::Words { found, allowed } => json!({"limit": "max_words", "found": found, "allowed": allowed}),
            Breach::Sentences { found, allowed } => {
                json!({"limit": "max_sentences", "found": found, "allowed": allowed})
            }
            Breach::Pattern { pattern } => json!({"limit": "matches", "pattern": pattern}),
            Breach::Repeats => json!({"limit": "repeats_request"}),
            Breach::Unfinished { n_tokens } => json!({"limit": "unfinished", "n_tokens": n_tokens}),
        }
    }
}

/// Breaches as one sentence without its stop.
#[must_use]
pub fn sentence(breaches: &[Breach]) -> String {
    breaches.iter().map(Breach::to_string).collect::<Vec<_>>().join("; ")
}

/// The words of a text.
#[must_use]
pub fn words(text: &str) -> usize {
    text.unicode_words().count()
}

/// The sentences of a text.
#[must_use]
pub fn sentences(text: &str) -> usize {
    let mut n = 0;
    let mut has_word = false;
    for piece in text.split_sentence_bounds() {
        has_word |= piece.chars().any(char::is_alphanumeric);
        if has_word && !goes_on(piece) {
            n += 1;
            has_word = false;
        }
    }
    n + usize::from(has_word)
}

/// Whether a sentence continues after a piece that Unicode's rules end here.
fn goes_on(piece: &str) -> bool {
    if piece.ends_with(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        return false;
    }
    let Some(before) = piece.trim_end().strip_suffix('.') else { return false };
    let start = before
        .rfind(|c: char| !c.is_alphanumeric() && c != '.' && c != '\'')
        .map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
    let word = &before[start..];
    let is_line = before.trim_start() == word;
    let mut characters = word.chars();
    match (characters.next(), characters.next()) {
        (Some(letter), None) if letter.is_uppercase() => letter != 'I' || is_line,
        _ if is_line && !word.is_empty() && word.chars().all(char::is_numeric) => true,
        _ => ABBREVIATIONS.contains(&word.to_lowercase().as_str()),
    }
}

/// What is wrong, without the drawing over several lines.
fn in_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(&text);
    last.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_unicodes() {
        let counts = [
            ("", 0),
            ("  —!", 0),
            ("One, two.", 2),
            ("don't", 1),
            ("well-known", 2),
            ("3.5 kg", 2),
            ("Ärger für Zoë", 3),
        ];
        for (text, n) in counts {
            assert_eq!(words(text), n, "{text}");
        }
    }

    #[test]
    fn sentences_end_where_people_end_them() {
        let counts = [
            ("", 0),
            ("...", 0),
            ("No stop", 1),
            ("One. Two! Three?", 3),
            ("He paid 3.50 euros. Then he left.", 2),
            ("Dr. Smith met Mr. Jones. They talked.", 2),
            ("George W. Bush spoke. J. R. R. Tolkien wrote.", 2),
            ("Pay by card, e.g. Visa. It is quick.", 2),
            ("It was I. Then he left.", 2),
            ("She works at acme.com now. Good.", 2),
            ("1. Open the box. 2. Read.", 2),
            ("1. Open it\n2. Read it\n", 2),
            ("- first item\n- second item", 2),
            ("\"Stop!\" he said. \"Why?\"", 3),
            ("A title\n\nA sentence.", 2),
            ("これは文です。これも文です。", 2),
            ("Wait... What?", 2),
            ("See Fig. 3 on p. 4.", 1),
        ];
        for (text, n) in counts {
            assert_eq!(sentences(text), n, "{text}");
        }
    }

    fn limits(max_words: usize, max_sentences: usize, pattern: &str) -> Limits {
        Limits {
            max_words: Some(max_words),
            max_sentences: Some(max_sentences),
            pattern: Some(pattern.parse().unwrap()),
        }
    }

    #[test]
    fn an_answer_that_repeats_the_request_is_told_from_one_that_keeps_it() {
        let both = Limits { max_words: Some(60), max_sentences: Some(1), pattern: None };
        assert_eq!(both.request(), "Answer in at most 1 sentence and 60 words.");
        for copied in [
            "Answer in at most 1 sentence and 60 words.",
            "Sure! answer in at most 1 sentence and 60 words: it is about a parcel",
            "in at most 1 sentence and",
        ] {
            assert_eq!(both.check_second(copied), Some(Breach::Repeats), "{copied}");
        }
        for own in ["A parcel is late.", "The answer came in at most 2 days.", "60 words", ""] {
            assert_eq!(both.check_second(own), None, "{own}");
        }
        let digits = Limits { pattern: Some("[0-9]+".parse().unwrap()), ..Limits::default() };
        assert_eq!(digits.request(), "The whole answer must match the regular expression `[0-9]+`.");
        assert_eq!((digits.check_second("42"), digits.check_second(&digits.request())), (None, Some(Breach::Repeats)));
        assert_eq!(Limits::default().check_second("anything"), None);
    }

    #[test]
    fn breaches_say_both_numbers() {
        assert_eq!(limits(4, 2, "(?s)One.*").check("\n One. Two. \n"), []);
        let breaches = limits(2, 1, "[A-Z]+").check("One. Two. three");
        assert_eq!(
            sentence(&breaches),
            "too long: 3 words (maximum 2); too long: 2 sentences (maximum 1); the whole answer does not match `[A-Z]+`"
        );
        assert_eq!(breaches[0].to_json(), json!({"limit": "max_words", "found": 3, "allowed": 2}));
        assert!(Limits::default().is_empty() && Limits::default().check("anything").is_empty());
    }

    #[test]
    fn a_pattern_is_matched_as_a_whole() {
        let matches = |pattern: &str, text: &str| Pattern::from_str(pattern).unwrap().regex.is_match(text);
        assert!(matches("a|ab", "ab") && matches("^a$", "a") && matches("(?x) a b # comment", "ab"));
        assert!(!matches("a", "ba") && !matches("a", "ab") && !matches("a|b", "ab") && !matches("(?m)^a$", "a\nb"));
        let refusal = |pattern: &str| Pattern::from_str(pattern).unwrap_err().to_string();
        assert_eq!(refusal("a)|(b"), "`a)|(b` is not a supported regular expression: unopened group");
        assert_eq!(
            refusal(r"(\w{900}){900}"),
            r"`(\w{900}){900}` is not a supported regular expression: Compiled regex exceeds size limit of 4194304 bytes"
        );
    }

    proptest! {
        #[test]
        fn every_text_has_counts(text in "(\\PC|[\\n .!?A-C1])*") {
            let (n_words, n_sentences) = (words(&text), sentences(&text));
            prop_assert!(n_sentences <= text.chars().filter(|c| c.is_alphanumeric()).count());
            prop_assert!(n_words == 0 || n_sentences > 0);
            prop_assert_eq!(sentences(&format!("{text}\nOne more.")), n_sentences + 1);
        }

        #[test]
        fn every_pattern_is_answered(pattern in "\\PC*", text in "\\PC*") {
            if let Ok(pattern) = pattern.parse() {
                let _ = Limits { pattern: Some(pattern), ..Limits::default() }.check(&text);
            }
        }
    }
}
