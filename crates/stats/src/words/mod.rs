//! A bag of words: labels from texts by the words and pieces of words in them, which is what any model has to beat.
//!
//! [`Vectorizer`] makes features of texts, [`crate::linear`] learns labels from them, [`folds`] parts rows for
//! cross-validation, and [`Baseline`] is all three: for each row the probabilities of a model that never saw it. [`Nearest`]
//! finds texts that are alike.

mod baseline;
mod folds;
mod hashed;
mod nearest;
mod terms;
mod vectorizer;

pub use baseline::{BagOfWords, Baseline, majority};
pub use folds::folds;
pub use hashed::{HashedTerms, HashedTermsError};
pub use nearest::Nearest;
pub use terms::Terms;
pub use vectorizer::Vectorizer;
