//! Limits of written answers as a suite sets them: those that `slm run` has, and a number of characters.

use serde_json::{Map, Value};
use serde_yaml::Spanned;

use super::error::{SuiteError, list};
use super::yaml::invalid;
use crate::limits::{Limits, sentences, words};

/// Limits of one text; at least one is set.
#[derive(Debug, Clone, Default)]
pub struct TextLimits {
    pub words: Option<usize>,
    pub sentences: Option<usize>,
    pub characters: Option<usize>,
    /// As it is written, and as it is checked: nothing else is set there.
    pattern: Option<(String, Limits)>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextLimit {
    Words,
    Sentences,
    Characters,
    Pattern,
}

impl TextLimit {
    pub const ALL: [TextLimit; 4] = [TextLimit::Words, TextLimit::Sentences, TextLimit::Characters, TextLimit::Pattern];

    /// The key in a suite.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            TextLimit::Words => "max_words",
            TextLimit::Sentences => "max_sentences",
            TextLimit::Characters => "max_characters",
            TextLimit::Pattern => "matches",
        }
    }
}

impl PartialEq for TextLimits {
    fn eq(&self, other: &Self) -> bool {
        let said = |limits: &TextLimits| {
            let pattern = limits.pattern.as_ref().map(|(pattern, _)| pattern.clone());
            (limits.words, limits.sentences, limits.characters, pattern)
        };
        said(self) == said(other)
    }
}

impl TextLimits {
    /// Whether this limit is set.
    #[must_use]
    pub fn has(&self, limit: TextLimit) -> bool {
        match limit {
            TextLimit::Words => self.words.is_some(),
            TextLimit::Sentences => self.sentences.is_some(),
            TextLimit::Characters => self.characters.is_some(),
            TextLimit::Pattern => self.pattern.is_some(),
        }
    }

    /// Whether a text, without white space at its ends, keeps a limit; it keeps one that is not set. Characters are Unicode's code
    /// points.
    #[must_use]
    pub fn is_kept(&self, limit: TextLimit, text: &str) -> bool {
        let at_most = |most: Option<usize>, count: fn(&str) -> usize| most.is_none_or(|most| count(text) <= most);
        match limit {
            TextLimit::Words => at_most(self.words, words),
            TextLimit::Sentences => at_most(self.sentences, sentences),
            TextLimit::Characters => at_most(self.characters, |text| text.chars().count()),
            TextLimit::Pattern => self.pattern.as_ref().is_none_or(|(_, limits)| limits.check(text).is_empty()),
        }
    }

    /// The limits that an answer breaks; `None` where it has no text.
    #[must_use]
    pub fn broken(&self, answer: &Value) -> Option<Vec<TextLimit>> {
        let text = answer.as_str().map(str::trim).filter(|text| !text.is_empty())?;
        Some(TextLimit::ALL.into_iter().filter(|limit| !self.is_kept(*limit, text)).collect())
    }
}

/// The limits of a map; `of` says in messages of which field.
///
/// # Errors
///
/// It names none, one that does not exist, or one that is no such number or pattern.
pub fn parse(said: &Map<String, Value>, at: &Spanned<Value>, of: &str) -> Result<TextLimits, SuiteError> {
    let keys = || list(TextLimit::ALL.iter().map(|limit| limit.key()));
    if said.is_empty() {
        return invalid("limits", at, format!("{of}names no limit; they are {}", keys()));
    }
    let mut limits = TextLimits::default();
    for (key, value) in said {
        let number = || match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) if n > 0 => Ok(Some(n)),
            _ => invalid("limits", at, format!("{of}`{key}` is `{value}`; write a whole number, 1 or more")),
        };
        match key.as_str() {
            "max_words" => limits.words = number()?,
            "max_sentences" => limits.sentences = number()?,
            "max_characters" => limits.characters = number()?,
            "matches" => limits.pattern = Some(pattern(value, at, of)?),
            _ => return invalid("limits", at, format!("{of}has an unknown key `{key}`; the limits are {}", keys())),
        }
    }
    Ok(limits)
}

fn pattern(value: &Value, at: &Spanned<Value>, of: &str) -> Result<(String, Limits), SuiteError> {
    let Some(source) = value.as_str() else {
        return invalid("limits", at, format!("{of}`matches` is `{value}`, not a regular expression"));
    };
    match source.parse() {
        Ok(pattern) => Ok((source.to_owned(), Limits { pattern: Some(pattern), ..Limits::default() })),
        Err(error) => invalid("limits", at, format!("{of}`matches`: {error}")),
    }
}
