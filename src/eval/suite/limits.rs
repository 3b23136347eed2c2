//! Limits of written answers as a suite sets them: those that `slm run` has, and a number of characters.

use serde_json::{Map, Value};
use serde_yaml::Spanned;

use super::error::{SuiteError, list};
use super::expect::{ExpectedField, Judge};
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

/// The value of `limits`, set on the fields that it names, or on the only one. A field that nothing is expected of is added: its
/// answers are right where they keep the limits.
///
/// # Errors
///
/// It is of another kind, a limit is no such number or pattern, or a field is no text.
pub fn set(value: &Spanned<Value>, expect: &mut Vec<ExpectedField>) -> Result<(), SuiteError> {
    let Value::Object(map) = &value.value else {
        return invalid("limits", value, "is not a map, such as `{max_words: 30, max_sentences: 2}`");
    };
    let is_by_field = !map.is_empty() && map.values().all(Value::is_object);
    if is_by_field {
        for (field, said) in map {
            let said = said.as_object().expect("checked above");
            let limits = limits(said, value, &format!("of `{field}`: "))?;
            set_field(value, expect, field, limits)?;
        }
        return Ok(());
    }
    let limits = limits(map, value, "")?;
    let field = match expect.as_slice() {
        [] => ANSWER.to_owned(),
        [only] => only.field.clone(),
        [first, ..] => {
            let problem = format!("does not say of which field; write `limits: {{{}: …}}`", first.field);
            return invalid("limits", value, problem);
        }
    };
    set_field(value, expect, &field, limits)
}

/// How the only field of a plain answer is called where nothing else names it.
const ANSWER: &str = "answer";

fn set_field(
    at: &Spanned<Value>,
    expect: &mut Vec<ExpectedField>,
    field: &str,
    limits: TextLimits,
) -> Result<(), SuiteError> {
    let Some(known) = expect.iter_mut().find(|known| known.field == field) else {
        let field = field.to_owned();
        expect.push(ExpectedField { field, column: None, judge: Judge::Limits, limits: Some(limits) });
        return Ok(());
    };
    if !matches!(known.judge, Judge::Text | Judge::OneOf | Judge::Overlap { .. }) {
        let judge = known.judge.name();
        let problem = format!(
            "of `{field}`: limits are of written text, and `expect` holds it against the data as `{judge}`; `as: overlap` and \
             `as: text` are of texts"
        );
        return invalid("limits", at, problem);
    }
    known.limits = Some(limits);
    Ok(())
}

fn limits(said: &Map<String, Value>, at: &Spanned<Value>, of: &str) -> Result<TextLimits, SuiteError> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::eval::suite::Suite;

    fn suite(more: &str) -> Result<Suite, String> {
        let text = format!("model: m\ndata: d.csv\ninput: text\n{more}\n");
        Suite::parse(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_are_of_the_only_field_or_of_those_that_they_name() {
        let fields = |more: &str| suite(more).expect(more).expect;
        let limits = |field: &ExpectedField| field.limits.clone().expect("it has limits");
        let [alone] = fields("limits: {max_words: 3, matches: '[a-z ]+'}").try_into().expect("one field");
        assert_eq!((alone.field.as_str(), alone.column.as_ref(), &alone.judge), ("answer", None, &Judge::Limits));
        let limit = limits(&alone);
        let broken = |text: &str| limit.broken(&json!(text));
        assert_eq!(broken(" one two three\n"), Some(vec![]));
        assert_eq!(broken("One two three four"), Some(vec![TextLimit::Words, TextLimit::Pattern]));
        assert_eq!((broken(" "), limit.broken(&json!(null))), (None, None));

        let [only] = fields("expect: {s: {as: overlap}}\nlimits: {max_characters: 4}").try_into().expect("one field");
        assert_eq!(
            (only.column.as_deref(), limits(&only).broken(&json!("äöüß!"))),
            (Some("s"), Some(vec![TextLimit::Characters]))
        );

        let all = fields("expect: {s: {as: text}}\nlimits: {t: {max_sentences: 1}, s: {max_words: 9}}");
        let named: Vec<_> = all.iter().map(|field| (field.field.as_str(), field.judge.name())).collect();
        assert_eq!(named, [("s", "text"), ("t", "limits")]);
        assert_eq!(limits(&all[1]).broken(&json!("One. Two.")), Some(vec![TextLimit::Sentences]));
    }

    #[test]
    fn a_limit_that_cannot_be_used_is_named() {
        let refused = |more: &str, expected: &str| assert_eq!(suite(more).expect_err(more), expected);
        let limits = "`max_words`, `max_sentences`, `max_characters`, `matches`";
        refused("limits: 30", "line 4: `limits` is not a map, such as `{max_words: 30, max_sentences: 2}`");
        refused("limits: {}", &format!("line 4: `limits` names no limit; they are {limits}"));
        refused("limits: {words: 3}", &format!("line 4: `limits` has an unknown key `words`; the limits are {limits}"));
        refused("limits: {max_words: 0}", "line 4: `limits` `max_words` is `0`; write a whole number, 1 or more");
        refused(
            "limits: {s: {matches: '('}}",
            "line 4: `limits` of `s`: `matches`: `(` is not a supported regular expression: unclosed group",
        );
        refused(
            "expect: [a, b]\nlimits: {max_words: 3}",
            "line 5: `limits` does not say of which field; write `limits: {a: …}`",
        );
        refused(
            "expect: a\nlimits: {max_words: 3}",
            "line 5: `limits` of `a`: limits are of written text, and `expect` holds it against the data as `exact`; `as: overlap` \
             and `as: text` are of texts",
        );
        refused("limit: 3", "the suite has no `expect`; it needs `model` or `models`, `data`, `input` and `expect`");
    }
}
