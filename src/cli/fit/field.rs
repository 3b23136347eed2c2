//! The rows of one closed field: what the model says of each, and which option is right.

use serde_json::Value;
use slm_fit::learn::Labelled;
use slm_fit::{Evidence, unread};

use crate::eval::label::show;

/// The rows of one closed field.
#[derive(Debug)]
pub struct FieldRows {
    pub name: Option<String>,
    pub options: Vec<Value>,
    /// Whether the data has labels for it.
    pub is_labelled: bool,
    pub rows: Vec<FieldRow>,
}

/// What is known of one row.
#[derive(Debug, Clone)]
pub struct FieldRow {
    /// Its number in the data.
    pub nth: usize,
    pub text: String,
    pub logprobs: Vec<f64>,
    pub state: Option<Vec<f32>>,
    /// The option that is right; `None` where the row has no label for the field.
    pub truth: Option<usize>,
    /// Where the row stands, in words.
    pub at: String,
}

impl FieldRow {
    #[must_use]
    pub fn evidence(&self) -> Evidence<'_> {
        Evidence { text: &self.text, logprobs: &self.logprobs, state: self.state.as_deref() }
    }

    /// The same row, of which the model says nothing but this state.
    #[must_use]
    pub fn with_state_alone(&self, state: &[f32]) -> FieldRow {
        FieldRow { logprobs: unread(self.logprobs.len()), state: Some(state.to_vec()), ..self.clone() }
    }
}

impl FieldRows {
    /// The name as people see it.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or("answer")
    }

    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        self.options.iter().map(show).collect()
    }

    /// The labelled rows at these places.
    #[must_use]
    pub fn labelled(&self, places: &[usize]) -> Vec<Labelled<'_>> {
        let row = |&at: &usize| {
            let row = &self.rows[at];
            row.truth.map(|truth| Labelled { evidence: row.evidence(), truth })
        };
        places.iter().filter_map(row).collect()
    }

    /// The places of the labelled rows.
    #[must_use]
    pub fn places(&self) -> Vec<usize> {
        (0..self.rows.len()).filter(|&at| self.rows[at].truth.is_some()).collect()
    }
}
