//! An engine in another process: the same requests and events as frames over a Unix stream, so that an abort of native code
//! ends its own requests and nothing else.
//!
//! `line` carries values, made of bytes by `frame`; `link` is an engine's near end and `relay` its far one. `child` starts the
//! process that `host` is the inside of.

mod child;
mod frame;
pub mod host;
mod line;
mod link;
mod relay;

use serde::{Deserialize, Serialize};

use super::{Event, Request};
pub use child::{Loading, SUBCOMMAND, spawn};
pub use link::Link;

/// A request's number on its line; whoever asks chooses it, and never twice.
type Id = u64;

/// What is said to an engine that is loaded.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    Ask {
        id: Id,
        request: Box<Request>,
    },
    /// Nobody waits for the answer any more.
    Cancel {
        id: Id,
    },
}

/// An engine's answer.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    id: Id,
    event: Event,
}
