//! Pulling models: from registries that are right, that are faulty and that mean harm, over lines that break.

mod body;
mod checks;
pub mod docker;
mod faults;
pub mod faulty;
mod files;
mod hostile;
mod houses;
mod judge;
mod kills;
pub mod package;
mod proxy;
mod pull;
mod push;
pub mod servers;
mod stores;
mod taker;
mod tls;
