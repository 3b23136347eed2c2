//! Figures of evaluations and fits: pure numbers in f64, which know neither files, nor formats, nor terminals.
//!
//! Labels are indices from 0, probabilities slices, texts `&str`. The same input gives the same bits: sums have a fixed order,
//! and what is random has a seed. Every figure is held against scikit-learn, SciPy, statsmodels or rouge-score
//! (`tests/golden/stats.py`), or where these lack it against its definition, written a second time in Python.

pub mod classification;
pub mod guarantee;
pub mod intervals;
pub mod linear;
pub mod multilabel;
mod number;
pub mod overlap;
pub mod paired;
pub mod probabilistic;
mod random;
pub mod text;
pub mod words;

pub use intervals::{Confidence, Interval, Proportion};
pub use number::quantile;
pub use random::Random;
