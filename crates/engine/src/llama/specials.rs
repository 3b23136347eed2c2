//! A vocabulary's special tokens by their texts, and raw texts taken apart at them. It knows no llama.cpp.
//!
//! llama.cpp takes texts apart too, but searches all that is left of a text for every special token after every one that it
//! has found: minutes for a hostile megabyte.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::super::Token;
use slm_values::prompt::{Prompt, Run, RunOffset};

/// Special tokens by their texts, none of which is empty.
#[derive(Debug, Default)]
pub struct Specials {
    by_text: HashMap<String, Token>,
    /// The lengths of the texts in bytes, the longest first, by their first byte.
    lengths: HashMap<u8, Vec<usize>>,
}

impl Specials {
    /// Of several tokens with the same text the first one counts.
    pub fn new(tokens: impl Iterator<Item = (String, Token)>) -> Self {
        let mut specials = Specials::default();
        for (text, token) in tokens.filter(|(text, _)| !text.is_empty()) {
            specials.lengths.entry(text.as_bytes()[0]).or_default().push(text.len());
            specials.by_text.entry(text).or_insert(token);
        }
        for lengths in specials.lengths.values_mut() {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
        }
        specials
    }

    pub fn get(&self, text: &str) -> Option<Token> {
        self.by_text.get(text).copied()
    }

    /// In no order.
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        self.by_text.keys()
    }

    /// The prompt with raw runs taken apart. The row's position in a raw run is lost: raw prompts have no rows.
    pub fn parsed<'p>(&self, prompt: &'p Prompt) -> Cow<'p, Prompt> {
        if !prompt.runs.iter().any(|run| matches!(run, Run::Raw(_))) {
            return Cow::Borrowed(prompt);
        }
        let mut parsed = Prompt::default();
        for (number, run) in prompt.runs.iter().enumerate() {
            if let Run::Raw(text) = run {
                parsed.runs.extend(self.parse(text));
                continue;
            }
            if let Some(place) = prompt.row_start.filter(|place| place.run == number) {
                parsed.row_start = Some(RunOffset { run: parsed.runs.len(), ..place });
            }
            parsed.runs.push(run.clone());
        }
        Cow::Owned(parsed)
    }

    /// A text's special tokens, of several at one place the longest, and what is between them.
    fn parse(&self, text: &str) -> Vec<Run> {
        let between = |range: Range<usize>| Run::Text { text: text[range].to_owned(), persons: Vec::new() };
        let mut runs = Vec::new();
        let (mut from, mut at) = (0, 0);
        while at < text.len() {
            let Some(n_bytes) = self.begins(&text[at..]) else {
                at = text.ceil_char_boundary(at + 1);
                continue;
            };
            runs.extend((from < at).then(|| between(from..at)));
            runs.push(Run::Control(text[at..at + n_bytes].to_owned()));
            at += n_bytes;
            from = at;
        }
        runs.extend((from < at).then(|| between(from..at)));
        runs
    }

    /// The length of the special token that a text begins with.
    fn begins(&self, text: &str) -> Option<usize> {
        let lengths = self.lengths.get(text.as_bytes().first()?)?;
        let stands = |&&n: &&usize| text.get(..n).is_some_and(|beginning| self.by_text.contains_key(beginning));
        lengths.iter().find(stands).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_text_is_its_special_tokens_and_what_stands_between() {
        let texts = ["<s>", "<s>>", "<é>", "[/]", ""];
        let specials = Specials::new(texts.into_iter().zip(0..).map(|(text, token)| (text.to_owned(), token)));
        let text = |text: &str| Run::Text { text: text.to_owned(), persons: vec![] };
        let control = |text: &str| Run::Control(text.to_owned());
        assert_eq!(specials.parse("<s><s>>"), [control("<s>"), control("<s>>")]);
        assert_eq!(specials.parse("é<<é>é<s[/]"), [text("é<"), control("<é>"), text("é<s"), control("[/]")]);
        assert_eq!(specials.parse("<"), [text("<")]);
        assert!(specials.parse("").is_empty());
        let place = Some(RunOffset { run: 1, offset: 1 });
        let prompt = Prompt { runs: vec![Run::Raw("<s>a<s>".into()), text("row")], row_start: place, row: None };
        let parsed = specials.parsed(&prompt).into_owned();
        assert_eq!(parsed.runs, [control("<s>"), text("a"), control("<s>"), text("row")]);
        assert_eq!(parsed.row_start, Some(RunOffset { run: 3, offset: 1 }));
    }
}
