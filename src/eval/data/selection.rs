//! Which of the rows are taken: those with given values, one part of several, the first so many.

use std::str::FromStr;

use super::cells::Cells;
use crate::digest::Digest;

/// Which of the rows are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Columns and the values that rows must have in them.
    pub filter: Vec<(String, String)>,
    pub shard: Option<Shard>,
    /// The first so many of what is left.
    pub limit: Option<usize>,
}

/// One of `n` parts that have no row in common; a row's id decides, so that it stays in its part when others come or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    nth: u64,
    n: u64,
}

/// Why a text is no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a part of the rows; write `2/5` for the second of five")]
pub struct ShardError(String);

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let numbers = text.split_once('/').map(|(nth, n)| (nth.trim().parse(), n.trim().parse()));
        match numbers {
            Some((Ok(nth), Ok(n))) if (1..=n).contains(&nth) => Ok(Shard { nth, n }),
            _ => Err(ShardError(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.nth, self.n)
    }
}

impl Shard {
    /// Whether the row with this id is in the part.
    #[must_use]
    pub fn has(self, id: &str) -> bool {
        // 64 bits of a hash that is even over all of them.
        let number = u64::from_str_radix(&Digest::of(id.as_bytes()).id(), 16).expect("16 hex digits");
        number % self.n == self.nth - 1
    }
}

impl Selection {
    /// Whether a row can be left out before its file's end, so that all of it has to be read.
    #[must_use]
    pub fn reads_all(&self) -> bool {
        self.shard.is_some() || !self.filter.is_empty()
    }

    /// Whether a record has the values that are asked for.
    #[must_use]
    pub fn takes(&self, cells: &Cells) -> bool {
        let has = |(column, wanted): &(String, String)| {
            cells.get(column).ok().flatten().is_some_and(|cell| cell.text() == *wanted)
        };
        self.filter.iter().all(has)
    }

    /// What it leaves out, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let filters = self.filter.iter().map(|(column, value)| format!("`{column}={value}`"));
        let shard = self.shard.map(|shard| format!("the part {shard}"));
        filters.chain(shard).collect::<Vec<_>>().join(" and ")
    }
}
