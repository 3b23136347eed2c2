//! A prompt as runs of text and control tokens, each with its author. It knows special tokens as texts, and neither
//! templates, which write prompts, nor the engine, which reads them.

mod infill;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use infill::Infill;

/// A rendered prompt. Its runs, joined, are the rendering.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    pub runs: Vec<Run>,
    /// Where the last user message's content begins: where the part that may change from row to row starts.
    pub row_start: Option<RunOffset>,
    /// The last user message's content, as far as the template wrote it; the last occurrence where there are several.
    pub row: Option<RowSpan>,
}

/// A byte of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOffset {
    /// Index in [`Prompt::runs`].
    pub run: usize,
    /// Byte in that run's text, at a character's border.
    pub offset: usize,
}

/// A part of one text run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSpan {
    /// Index in [`Prompt::runs`]; always a [`Run::Text`].
    pub run: usize,
    /// Bytes of that run's text.
    pub range: Range<usize>,
}

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Run {
    /// One special token that the template wrote.
    Control(String),
    /// All text up to the next special token, to be tokenized in one call without special tokens.
    Text {
        text: String,
        /// Byte ranges that persons wrote, in order. White space at a content's ends may be missing.
        persons: Vec<Range<usize>>,
    },
    /// Text of a caller who writes the whole prompt: special tokens in it are special. No rendering has one.
    Raw(String),
    /// Tokens by their numbers, which an earlier answer gave. No rendering has one.
    Tokens(Vec<i32>),
}

/// The texts of a vocabulary's special tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialTokens {
    /// The template's `bos_token`; empty where the model has none.
    pub bos: String,
    /// The template's `eos_token`; empty where the model has none.
    pub eos: String,
    /// Every CONTROL, USER_DEFINED and end-of-generation token of the vocabulary.
    pub control: Vec<String>,
}

impl Prompt {
    /// One run that is not rendered.
    #[must_use]
    pub fn of(run: Run) -> Prompt {
        Prompt { runs: vec![run], ..Prompt::default() }
    }

    /// The rendering: all runs joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.runs.iter().map(Run::text).collect()
    }
}

impl Run {
    /// The run's text; empty where it is tokens.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Run::Control(text) | Run::Raw(text) | Run::Text { text, .. } => text,
            Run::Tokens(_) => "",
        }
    }
}
