//! Evaluation: rows with known answers, what each subject answered, and the figures that say which is good enough.
//!
//! It knows suites, their data and answers; it knows no engine, no clock and no terminal. Everything that is told comes from
//! [`record::Records`]: the rows with what they expect and what every subject answered.

pub mod answer;
pub mod baseline;
pub mod cache;
pub mod compare;
pub mod data;
pub mod drift;
pub mod faces;
pub mod figures;
pub mod fitted;
pub mod gate;
pub mod init;
pub mod items;
pub mod judge;
pub mod label;
pub mod record;
pub mod report;
pub mod suite;
pub mod without;

pub use report::{Detail, Report};
