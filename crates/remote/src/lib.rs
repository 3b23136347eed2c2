//! A model behind somebody else's HTTP: what a file says of it, parsed into types that cannot be wrong, and a client that asks
//! it within its limits.
//!
//! It knows contracts and no engine, no store and no suite. The environment is read by whoever connects. A key is in
//! a header of a request to its own server and nowhere else: no message, no log and no file of ours has it.

mod breaker;
mod client;
mod dialect;
mod error;
mod http;
mod key;
mod pace;
mod patience;
mod price;
mod question;
mod remote;
#[cfg(test)]
mod testing;
mod usage;

pub use client::{Answer, Client};
pub use dialect::{Content, Dialect, FieldProbabilities};
pub use error::{RemoteError, Unanswered};
pub use key::{KeyError, KeySource};
pub use price::Price;
pub use question::Question;
pub use remote::{Remote, SettingError};
pub use usage::Usage;
