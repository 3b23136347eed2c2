//! The program as people use it: the real binary, the real embedded model, a home folder of its own.

mod canonical;
mod slm;
mod tidy;
mod vocabularies;
