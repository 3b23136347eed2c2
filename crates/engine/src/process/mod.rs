//! An engine in another process: the same requests and events as frames over a Unix stream, so that an abort of native code
//! ends its own requests and nothing else.
//!
//! `link` is an engine's near end, `relay` its far one. `child` starts the process that `host` is the inside of; `socket` reaches
//! an engine that a server shares.

mod child;
pub mod host;
mod relay;
mod socket;

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::Serialize;
use tokio::runtime::{Builder, Handle};

use super::engine::Engine;
use super::options::Options;
use child::spawn;
pub use child::{Loading, SUBCOMMAND};
pub use relay::RelayError;
use socket::attach;
pub use socket::{AttachError, Attaching, GuestError, entertain};

impl Engine {
    /// Starts an engine in a process of its own: `program` is this program's file. Whatever native code does there, only
    /// that engine's requests fail, with [`EngineError::Crashed`](crate::EngineError::Crashed). In a runtime it must be one with
    /// time and input/output.
    pub fn spawn(program: impl Into<PathBuf>, options: Options) -> Loading {
        spawn(program.into(), options)
    }

    /// Uses an engine that the server at the other end of a stream shares; `wish` says which, in that server's terms.
    pub fn attach<W>(stream: UnixStream, wish: W) -> Attaching
    where
        W: Serialize + Send + Sync + 'static,
    {
        attach(stream, wish)
    }
}

/// Runs a future in the runtime that this is called in (one with time and input/output), which saves every request two changes
/// of threads, or on a new thread. If none can be started, it is dropped.
fn run_detached(name: &str, life: impl Future<Output = ()> + Send + 'static) {
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
