//! `slm serve`: which models are loaded ([`residents`]), and HTTP in four dialects over them ([`api`]).

pub mod api;
pub mod residents;
