//! The program as people use it: the real binary, the real embedded model, a home folder of its own.

mod adapters;
mod bench;
mod canonical;
mod compute;
mod constrained;
mod create;
mod embeddings;
mod eval;
mod generation;
mod hostile;
mod kinds;
mod life;
mod limits;
mod lines;
mod list;
mod modelfiles;
mod open;
mod resume;
mod run;
mod shards;
mod slm;
mod store;
mod stories;
mod tidy;
mod tiny;
mod vocabularies;
