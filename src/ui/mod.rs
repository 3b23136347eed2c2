//! What slm shows: answers and tables on standard output, bars on standard error. It decides nothing.

pub mod lines;
pub mod look;
pub mod output;
pub mod progress;
pub mod table;
pub mod wrap;
