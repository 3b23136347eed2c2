//! An engine in another process: the same requests and events as frames over a Unix stream, so that an abort of native code
//! ends its own requests and nothing else.
//!
//! `line` carries values, made of bytes by `frame`; `link` is an engine's near end and `relay` its far one. `child` starts the
//! process that `host` is the inside of; `socket` reaches an engine that a server shares.

mod child;
mod frame;
pub mod host;
mod line;
mod link;
mod relay;
mod socket;

use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Handle};

use super::{Event, Request};
pub use child::{Loading, SUBCOMMAND, spawn};
pub use link::Link;
pub use relay::RelayError;
pub use socket::{AttachError, Attaching, GuestError, attach, entertain};

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

/// Does something in the runtime that this is called in (one with time and input/output), which saves every request two changes
/// of threads, or on a thread of its own. Where there can be none, it is dropped.
fn somewhere(name: &str, life: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(life));
        return;
    }
    let alone = || {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let _ = runtime.map(|runtime| runtime.block_on(life));
    };
    let _ = std::thread::Builder::new().name(name.to_owned()).spawn(alone);
}
