//! The hidden state of one question while its decodes are done: which of them are to tell something, and what is known.

use super::super::super::{EngineError, StateAt};
use super::super::hidden::{FirstTokens, HiddenRows, HiddenWish, OutputRow, TokenRows};
use super::super::question::{Question, StateWish};

/// A question's hidden state, as far as its decodes told it.
#[derive(Debug, Default)]
pub struct StateReading {
    /// `None` where none is wanted.
    wish: Option<StateWish>,
    choice: Option<Vec<f32>>,
    row: RowSoFar,
}

/// What is known of the row's tokens so far.
#[derive(Debug, Default)]
struct RowSoFar {
    sum: Vec<f64>,
    last: Vec<f32>,
    n_tokens: usize,
}

impl StateReading {
    pub fn of(question: &Question) -> StateReading {
        StateReading { wish: question.state, ..StateReading::default() }
    }

    /// The position from which on every chunk of the trunk has to be evaluated anew, because its tokens' states are wanted.
    pub fn row_start(&self) -> Option<usize> {
        self.wish.filter(|wish| wish.at.has_row()).map(|wish| wish.row_start)
    }

    /// What the next decode is to tell: `n_trunk` tokens of the trunk from `start` on are its first, and its outputs are those of
    /// these nodes.
    pub fn wish(&self, start: usize, n_trunk: usize, n_all: usize, outputs: &[usize]) -> Option<HiddenWish> {
        let wish = self.wish?;
        let is_open = wish.at.has_choice() && self.choice.is_none();
        let number = outputs.iter().position(|&node| is_open && Some(node) == wish.node);
        let output = number.map(|number| OutputRow { number, n_outputs: outputs.len() });
        // A recurrent model's trunk is evaluated again for every candidate.
        let is_open = wish.at.has_row() && self.row.n_tokens < wish.n_row;
        let is_of_row = is_open && n_trunk > 0 && start >= wish.row_start;
        let tokens = is_of_row.then_some(FirstTokens { layer: wish.layer, n: n_trunk, n_all });
        (output.is_some() || tokens.is_some()).then_some(HiddenWish { output, tokens, then: wish.then })
    }

    /// Adds what a decode told.
    ///
    /// # Errors
    /// [`EngineError::NoState`], by the model's architecture: its graph does not have what was wanted.
    pub fn add(&mut self, wish: HiddenWish, found: HiddenRows, architecture: &str) -> Result<(), EngineError> {
        let none = || EngineError::NoState(architecture.to_owned());
        if wish.output.is_some() {
            self.choice = Some(found.output.ok_or_else(none)?);
        }
        if let Some(tokens) = wish.tokens {
            let TokenRows { sum, last } = found.tokens.ok_or_else(none)?;
            self.row.sum.resize(sum.len(), 0.0);
            self.row.sum.iter_mut().zip(sum).for_each(|(all, of_chunk)| *all += of_chunk);
            self.row.last = last;
            self.row.n_tokens += tokens.n;
        }
        Ok(())
    }

    /// The state, where one was wanted.
    pub fn told(self) -> Option<Vec<f32>> {
        let StateReading { wish, choice, row } = self;
        let last = if matches!(wish?.at, StateAt::Layers(_)) { row.last } else { Vec::new() };
        let mean = row.sum.iter().map(|sum| (sum / row.n_tokens as f64) as f32);
        Some(choice.into_iter().flatten().chain(mean).chain(last).collect())
    }
}

impl StateAt {
    fn has_choice(self) -> bool {
        matches!(self, StateAt::Choice | StateAt::ChoiceAndRow)
    }

    fn has_row(self) -> bool {
        matches!(self, StateAt::Row | StateAt::ChoiceAndRow | StateAt::Layers(_))
    }
}
