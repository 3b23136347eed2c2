//! Tuning jobs: which rows teach, how, and what came of it, as plain values and as the files of a job's folder. It asks no model and
//! starts no process.

pub mod card;
pub mod event;
pub mod job;
pub mod near;
pub mod parts;
pub mod rows;
pub mod settings;
