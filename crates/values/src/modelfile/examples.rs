//! What `EXAMPLES` says: a file of labelled texts, how many of them come before each text, and what finds them.

use super::error::ModelfileFault;
use crate::digest::Digest;
use crate::source::Reference;
use std::fmt;
use std::str::FromStr;

/// The most examples before one text.
pub const MAX_EXAMPLES: u8 = 32;

/// What `by=` says where no model finds them.
const WORDS: &str = "words";

/// Where labelled texts are, and what of them is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExamplesSource {
    /// A file with a JSON object on each line, relative to the Modelfile.
    pub path: String,
    /// How many of the nearest texts come before a text: 1 to [`MAX_EXAMPLES`].
    pub k: u8,
    pub by: FoundBy,
    /// The keys of a line that hold its text and its label.
    pub text: String,
    pub label: String,
}

/// What says which texts are near.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FoundBy {
    /// The words that they share: no other model is needed.
    #[default]
    Words,
    /// The vectors of a stored embedding model.
    Model(Reference),
    /// The vectors of the embedding model that is the store's blob of this digest: what a model that was made says of itself.
    Weights(Digest),
}

impl FromStr for FoundBy {
    type Err = ModelfileFault;

    fn from_str(text: &str) -> Result<FoundBy, ModelfileFault> {
        let refused = |reason: &dyn fmt::Display| ModelfileFault::ExamplesBy(shortened(text), reason.to_string());
        match text {
            WORDS => Ok(FoundBy::Words),
            _ if text.starts_with("sha256:") => text.parse().map(FoundBy::Weights).map_err(|error| refused(&error)),
            _ => text.parse().map(FoundBy::Model).map_err(|error| refused(&error)),
        }
    }
}

impl fmt::Display for FoundBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FoundBy::Words => f.write_str(WORDS),
            FoundBy::Model(model) => model.fmt(f),
            FoundBy::Weights(digest) => digest.fmt(f),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

impl ExamplesSource {
    /// Four of the lines' `text` with their `label`.
    #[must_use]
    pub fn new(path: String) -> ExamplesSource {
        ExamplesSource { path, k: 4, by: FoundBy::Words, text: "text".to_owned(), label: "label".to_owned() }
    }
}

impl FromStr for ExamplesSource {
    type Err = ModelfileFault;

    /// Last words of the form `k=…`, `by=…`, `text=…` and `label=…` are settings, each once; what is before them is the path.
    fn from_str(text: &str) -> Result<ExamplesSource, ModelfileFault> {
        let mut path = text.trim();
        let (mut k, mut by, mut text, mut label) = (None, None, None, None);
        loop {
            let (before, last) = path.rsplit_once(char::is_whitespace).unwrap_or(("", path));
            let slot = match last.split_once('=') {
                Some(("k", value)) => Some((&mut k, value)),
                Some(("by", value)) => Some((&mut by, value)),
                Some(("text", value)) => Some((&mut text, value)),
                Some(("label", value)) => Some((&mut label, value)),
                _ => None,
            };
            let Some((slot @ None, value)) = slot else { break };
            *slot = Some(value);
            path = before.trim_end();
        }
        if path.is_empty() {
            return Err(ModelfileFault::ExamplesPath);
        }
        let mut source = ExamplesSource::new(path.to_owned());
        if let Some(n) = k {
            let count = n.parse().ok().filter(|count| (1..=MAX_EXAMPLES).contains(count));
            source.k = count.ok_or_else(|| ModelfileFault::ExamplesCount(shortened(n)))?;
        }
        source.by = by.map_or(Ok(FoundBy::Words), str::parse)?;
        source.text = text.map_or(source.text, str::to_owned);
        source.label = label.map_or(source.label, str::to_owned);
        Ok(source)
    }
}

/// Parses back to the same.
impl fmt::Display for ExamplesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExamplesSource { path, k, by, text, label } = self;
        write!(f, "{path} k={k}")?;
        // A path whose last word looks like a setting is kept apart by all settings after it.
        let is_plain = !path.rsplit(char::is_whitespace).next().unwrap_or_default().contains('=');
        if *by != FoundBy::Words || !is_plain {
            write!(f, " by={by}")?;
        }
        if text == "text" && label == "label" && is_plain {
            return Ok(());
        }
        write!(f, " text={text} label={label}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_settings() {
        for (text, path, k, keys, shown) in [
            ("rows.jsonl", "rows.jsonl", 4, ["text", "label"], "rows.jsonl k=4"),
            ("  ./my rows.jsonl   k=2 ", "./my rows.jsonl", 2, ["text", "label"], "./my rows.jsonl k=2"),
            (
                "rows.jsonl label=intent k=1",
                "rows.jsonl",
                1,
                ["text", "intent"],
                "rows.jsonl k=1 text=text label=intent",
            ),
            (
                "rows.jsonl n=4",
                "rows.jsonl n=4",
                4,
                ["text", "label"],
                "rows.jsonl n=4 k=4 by=words text=text label=label",
            ),
            ("a k=1 k=2", "a k=1", 2, ["text", "label"], "a k=1 k=2 by=words text=text label=label"),
            ("a by=words", "a", 4, ["text", "label"], "a k=4"),
            ("a by=mini:v2 k=1", "a", 1, ["text", "label"], "a k=1 by=mini:v2"),
        ] {
            let parsed: ExamplesSource = text.parse().unwrap();
            let found = (parsed.path.as_str(), parsed.k, [parsed.text.as_str(), parsed.label.as_str()]);
            assert_eq!((found, parsed.to_string().as_str()), ((path, k, keys), shown));
            assert_eq!(shown.parse::<ExamplesSource>().unwrap(), parsed);
        }
        for text in [
            "",
            "k=4",
            "rows k=0",
            "rows k=33",
            "rows k=",
            "rows k=four",
            "rows by=",
            "rows by=sha256:12",
            "rows by=a//b",
        ] {
            assert!(text.parse::<ExamplesSource>().is_err(), "{text}");
        }
    }
}
