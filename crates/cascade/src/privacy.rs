//! What a remote may see of a text: some fields of it, patterns masked, or nothing.

use regex::Regex;
use serde_json::Value;

use crate::labels::Labels;
use crate::path::Reason;

/// What stands in the place of what was masked.
pub const MASKED: &str = "[masked]";

/// Patterns that have a name, in the order in which they are masked: what is a part of a longer one comes after it.
const NAMED: [(&str, &str); 5] = [
    ("email", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"),
    ("iban", r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,4})?\b"),
    ("card", r"\b(?:\d[ -]?){12,18}\d\b"),
    ("ip", r"\b(?:\d{1,3}\.){3}\d{1,3}\b"),
    ("phone", r"(?:\+|\b00|\(|\b)\d[\d ()./-]{6,}\d\b"),
];

/// What a remote may see.
#[derive(Debug, Clone, Default)]
pub struct Privacy {
    /// As the file writes them, with what they match.
    mask: Vec<(String, Regex)>,
    /// Of a text that is a JSON object, these fields alone; empty: all.
    pub fields: Vec<String>,
    /// Texts that an earlier tier gave one of these labels are sent to no remote.
    pub never: Labels,
}

impl PartialEq for Privacy {
    fn eq(&self, other: &Privacy) -> bool {
        let written = |privacy: &Privacy| privacy.mask.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>();
        (written(self), &self.fields, &self.never) == (written(other), &other.fields, &other.never)
    }
}

/// Why something is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("has `{pattern}`, which is neither {} nor a regular expression: {reason}", named())]
pub struct MaskError {
    pub pattern: String,
    pub reason: String,
}

fn named() -> String {
    NAMED.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Privacy {
    /// With one more pattern masked: the name of a known one, or a regular expression.
    ///
    /// # Errors
    /// It is neither.
    pub fn masking(mut self, pattern: &str) -> Result<Privacy, MaskError> {
        let refused = |reason: String| MaskError { pattern: pattern.to_owned(), reason };
        let text = NAMED.iter().find(|(name, _)| *name == pattern).map_or(pattern, |(_, text)| text);
        let regex = Regex::new(text)
            .map_err(|error| refused(error.to_string().lines().last().unwrap_or_default().to_owned()))?;
        if regex.is_match("") {
            return Err(refused("it matches nothing at all, everywhere".to_owned()));
        }
        self.mask.push((pattern.to_owned(), regex));
        // Expressions of the file's own come last, in its order.
        self.mask.sort_by_key(|(name, _)| NAMED.iter().position(|(known, _)| known == name).unwrap_or(NAMED.len()));
        Ok(self)
    }

    /// A text as a remote may see it.
    ///
    /// # Errors
    /// Only some fields of it may be seen, and it is not a JSON object.
    pub fn shown(&self, text: &str) -> Result<String, Reason> {
        if self.fields.is_empty() {
            return Ok(self.masked(text));
        }
        let Ok(Value::Object(object)) = serde_json::from_str(text) else {
            let why = "a remote may see some fields of a JSON object alone, and the text is not one";
            return Err(Reason::Private(why.to_owned()));
        };
        let kept = object.into_iter().filter(|(name, _)| self.fields.contains(name));
        let kept = Value::Object(kept.map(|(name, value)| (name, self.masked_value(value))).collect());
        Ok(kept.to_string())
    }

    /// A text with its patterns masked.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        self.mask.iter().fold(text.to_owned(), |text, (_, pattern)| pattern.replace_all(&text, MASKED).into_owned())
    }

    fn masked_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.masked(&text).into(),
            Value::Array(list) => list.into_iter().map(|value| self.masked_value(value)).collect(),
            Value::Object(map) => map.into_iter().map(|(name, value)| (name, self.masked_value(value))).collect(),
            number @ Value::Number(_) => {
                let text = number.to_string();
                let masked = self.masked(&text);
                if masked == text { number } else { masked.into() }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn privacy(patterns: &[&str]) -> Privacy {
        patterns.iter().fold(Privacy::default(), |privacy, pattern| privacy.masking(pattern).unwrap())
    }

    #[test]
    fn known_patterns_are_masked() {
        let all = privacy(&["email", "card", "iban", "phone", "ip"]);
        for (text, shown) in [
            ("write to Jane.Doe+x@mail.example.co.uk.", "write to [masked]."),
            ("card 4111 1111 1111 1111, exp 12/27", "card [masked], exp 12/27"),
            ("IBAN DE89 3704 0044 0532 0130 00", "IBAN [masked]"),
            ("call +49 (30) 1234-5678", "call [masked]"),
            ("from 192.168.0.12", "from [masked]"),
            ("order 1182, 3 chairs", "order 1182, 3 chairs"),
        ] {
            assert_eq!(all.masked(text), shown);
        }
    }

    #[test]
    fn fields_are_left_out_and_text_without_them_stays_here() {
        let some = Privacy { fields: vec!["body".to_owned()], ..privacy(&["email", r"\b\d{6}\b"]) };
        let shown = some.shown(r#"{"name": "Jane", "body": {"text": "a@b.example 123456", "n": 123456}}"#).unwrap();
        assert_eq!(shown, r#"{"body":{"text":"[masked] [masked]","n":"[masked]"}}"#);
        assert!(matches!(some.shown("Jane"), Err(Reason::Private(_))));
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for (pattern, said) in [("(", "unclosed group"), ("x*", "it matches nothing at all")] {
            let error = Privacy::default().masking(pattern).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("`email`"), "{error}");
        }
    }

    proptest! {
        /// Whatever the text is: nothing that matches is left, and masking again changes nothing.
        #[test]
        fn nothing_that_matches_is_left(before in "[ a-z]{0,9}", digits in "[0-9]{6,9}", after in "[ a-z]{0,9}") {
            let privacy = privacy(&["[0-9]{6,}"]);
            let masked = privacy.masked(&format!("{before}{digits}{after}{digits}"));
            prop_assert!(!masked.contains(&digits));
            prop_assert_eq!(privacy.masked(&masked), masked);
        }
    }
}
