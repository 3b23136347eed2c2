//! Models on disk ([`store`]), registries and web servers ([`registry`]), and what moves between them ([`transfer`]).
//! The store knows no network and the registry no disk.

pub mod registry;
pub mod store;
pub mod transfer;
