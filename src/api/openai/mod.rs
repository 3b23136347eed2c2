//! OpenAI's API: its paths, its server-sent events, its errors.

mod problem;

pub use problem::OpenAiProblem;
