//! The inside of an engine's process: it loads one model, serves the connection on its standard input, and ends with that connection,
//! whatever native code is doing then.

use std::mem::ManuallyDrop;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::relay::{RelayError, relay};
use crate::link::connection::{Connection, ConnectionError};
use crate::{Engine, EngineError, Options};

/// Why there is no engine here.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("standard input does not come from another slm ({0}); `slm serve` starts this command itself")]
    NoLine(std::io::Error),
    #[error(transparent)]
    Relay(RelayError),
    #[error("the engine has stopped")]
    Stopped,
}

/// Runs an engine until its parent closes the connection.
///
/// # Errors
/// Standard input is not a socket, or what comes over it is not a request.
pub fn run() -> Result<(), HostError> {
    name_process();
    end_with_parent();
    let stream = std::io::stdin().as_fd().try_clone_to_owned().map_err(HostError::NoLine)?;
    let stream = UnixStream::from(stream);
    // A pipe or a file is not a socket, and says so here.
    stream.peer_addr().map_err(HostError::NoLine)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(HostError::NoLine)?;
    runtime.block_on(async {
        ignore_signals().map_err(HostError::NoLine)?;
        let mut connection = Connection::new(stream).map_err(HostError::NoLine)?;
        serve(&mut connection).await
    })
}

/// Signals that mean "leave" are the parent's to answer: it lets requests end first, and then closes the connection. A
/// handler that does nothing replaces what they do by default, for the rest of the process's life.
fn ignore_signals() -> std::io::Result<()> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        drop(signal(kind)?);
    }
    Ok(())
}

/// Where the parent dies, the connection is closed as well, and Linux ends this process even while it could not look.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// The program may have been started by a path that is not a name (`/proc/self/exe`): a list of processes shows this one.
fn name_process() {
    // Other systems have no such file, and show the path.
    let _ = std::fs::write("/proc/self/comm", "slm");
}

async fn serve(connection: &mut Connection) -> Result<(), HostError> {
    let options: Options = match connection.receive().await {
        Ok(options) => options,
        Err(error) => return over(error),
    };
    let (loaded, mut loading) = oneshot::channel();
    let load = move || drop(loaded.send(Engine::load(options)));
    if let Err(error) = std::thread::Builder::new().name("loader".to_owned()).spawn(load) {
        return Err(HostError::NoLine(error));
    }
    let engine = loop {
        tokio::select! {
            loaded = &mut loading => break loaded.unwrap_or(Err(EngineError::Stopped)),
            // Nobody wants the model any more: there is no other way out of llama.cpp's loading.
            turned = connection.turn() => if let Err(error) = turned { return over(error) },
        }
    };
    let answer = engine.as_ref().map(Engine::info).map_err(EngineError::clone);
    if let Err(error) = connection.push(&answer) {
        return over(error.into());
    }
    let Ok(engine) = engine else {
        return connection.flush().await.or_else(over);
    };
    // Dropping it would wait for its next decode.
    let engine = ManuallyDrop::new(engine);
    tokio::select! {
        end = relay(&engine, connection) => match end {
            RelayError::Connection(error) => over(error),
            error @ RelayError::Twice(_) => Err(HostError::Relay(error)),
        },
        // A panic has ended its thread: a process without an engine is no use to anybody.
        _ = engine.closed() => Err(HostError::Stopped),
    }
}

/// A connection that was closed has done its work.
fn over(error: ConnectionError) -> Result<(), HostError> {
    match error {
        ConnectionError::Closed => Ok(()),
        error @ ConnectionError::Frame(_) => Err(HostError::Relay(error.into())),
    }
}
