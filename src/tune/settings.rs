//! How a model is tuned: rank, learning rate, epochs and the rest, by the number of rows where nobody says otherwise.

use serde::{Deserialize, Serialize};

/// Rows below which a fit, which takes seconds, is usually the better first try.
pub const ENOUGH_ROWS: usize = 1_000;
/// A row of a rare label counts at most so many times.
pub const MOST_WEIGHT: f64 = 5.0;

/// How the trainer works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub rank: u32,
    /// The adapter's product counts alpha / rank times.
    pub alpha: u32,
    pub dropout: f64,
    pub learning_rate: f64,
    /// At most; training stops earlier where validation does not get better.
    pub epochs: u32,
    /// Rows of one step, and of one computation within it: the first decides what is learned, the second how much memory it takes.
    pub batch_rows: u32,
    pub micro_rows: u32,
    /// The part of all steps over which the learning rate rises.
    pub warmup: f64,
    pub weight_decay: f64,
    /// Epochs in a row without a better validation before it stops.
    pub patience: u32,
    pub seed: u64,
    pub checkpoint_seconds: u64,
    /// Threads of the CPU; `None` leaves it to PyTorch.
    pub threads: Option<u32>,
    pub class_weights: ClassWeights,
    /// Longer rows are left out.
    pub max_tokens: usize,
}

/// How much a row counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All labels alike together: a row of a rare one counts more, up to 5 times.
    Balanced,
    /// Every row alike.
    None,
}

impl Settings {
    /// Fewer rows make more epochs, and a smaller adapter, which has less room to learn them by heart.
    #[must_use]
    pub fn for_rows(n_train: usize) -> Settings {
        let (rank, epochs) = match n_train {
            0..200 => (8, 10),
            200..1_000 => (8, 5),
            1_000..5_000 => (16, 4),
            5_000..20_000 => (16, 3),
            _ => (32, 2),
        };
        Settings {
            rank,
            alpha: 2 * rank,
            dropout: 0.05,
            learning_rate: 3e-4,
            epochs,
            batch_rows: if n_train < 2_000 { 8 } else { 16 },
            micro_rows: 8,
            warmup: 0.1,
            weight_decay: 0.01,
            patience: 2,
            seed: 0,
            checkpoint_seconds: 300,
            threads: None,
            class_weights: ClassWeights::Balanced,
            max_tokens: 1_024,
        }
    }
}
