//! The socket in the store where `slm run` of the same user finds the models that a server holds, so that it need not load
//! them again. It carries an engine's own requests and no HTTP; who gets which engine is for others to say.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::server::{Drain, ListenError, SocketFile, SocketMode, bind_unix};
use slm_engine::Engine;
use slm_engine::compute::Compute;
use slm_engine::process::{Attaching, GuestError, RelayError, entertain};
use slm_values::digest::Digest;
use slm_values::keep_alive::KeepAlive;

/// Its name in the store's folder.
const SOCKET: &str = ".slm-serve.sock";
/// The name of the socket beside it, at which the server speaks HTTP with this user's commands.
const HTTP_SOCKET: &str = ".slm-http.sock";
/// Guests at once: more are no use to anybody on one machine.
const MAX_GUESTS: usize = 256;

/// The engine that a guest wishes for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The model's full name in the store that both have.
    pub model: String,
    /// Its manifest's digest; under that name there may be another model by now.
    pub digest: Digest,
    /// Positions of a context at least; `None` leaves it to the server.
    pub n_ctx: Option<u32>,
    /// How it is to be computed; `None` leaves it to the server.
    pub compute: Option<Compute>,
    /// How long it stays when the guest has gone; `None` leaves it to the server.
    #[serde(with = "slm_values::keep_alive::as_text")]
    pub keep_alive: Option<KeepAlive>,
}

fn path(store: &Path) -> PathBuf {
    store.join(SOCKET)
}

/// Where the server of a store speaks HTTP with its user's commands.
#[must_use]
pub fn http_socket(store: &Path) -> PathBuf {
    store.join(HTTP_SOCKET)
}

/// That socket, where a server of this user answers at it.
#[must_use]
pub fn http_server(store: &Path) -> Option<PathBuf> {
    let path = http_socket(store);
    (state(&path) == Found::Server).then_some(path)
}

/// What is at a store's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// A server of this user answers.
    Server,
    /// What a server has left that was killed.
    Leftover,
    /// Someone answers, or could, who is another user.
    OtherUser(u32),
    /// It cannot be asked.
    Unknown(String),
}

/// Looks whether a server has this store, and tells where its socket is.
#[must_use]
pub fn look(store: &Path) -> (PathBuf, Found) {
    let path = path(store);
    let found = state(&path);
    (path, found)
}

fn state(path: &Path) -> Found {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
        Err(error) => Found::Unknown(error.to_string()),
        Ok(there) if !is_ours(there.uid()) => Found::OtherUser(there.uid()),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Found::Server,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Found::Leftover,
            Err(error) => Found::Unknown(error.to_string()),
        },
    }
}

/// Asks the server that has this store, if there is one.
///
/// # Errors
/// None has it, as is found out at once, or none of this user.
pub fn attach(store: &Path, wish: Wish) -> io::Result<Attaching> {
    let path = path(store);
    if !is_ours(std::fs::symlink_metadata(&path)?.uid()) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    Ok(Engine::attach(UnixStream::connect(path)?, wish))
}

/// Whether a user's number is this process's own.
fn is_ours(user: u32) -> bool {
    user == rustix::process::geteuid().as_raw()
}

/// The server's side. Its file goes with it.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    file: SocketFile,
}

impl Door {
    /// Opens the store's socket, for this user alone.
    ///
    /// # Errors
    /// Another server has this store, or its folder takes no socket.
    pub fn open(store: &Path) -> Result<Door, ListenError> {
        let path = path(store);
        std::fs::create_dir_all(store)
            .map_err(|source| ListenError::Failed { address: path.display().to_string(), source })?;
        let (listener, file) = bind_unix(&path, SocketMode::Owner)?;
        Ok(Door { listener, file })
    }

    /// Lets guests in until the drain has begun, and serves them until it has ended or they have gone. `resolve` finds the
    /// engine for a wish, and gives with it what must be held while the guest is there.
    pub async fn serve<F, H>(self, drain: Drain, resolve: impl Fn(Wish) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(Engine, H), String>> + Send + 'static,
        H: Send + 'static,
    {
        let Door { listener, file } = self;
        let resolve = Arc::new(resolve);
        let mut guests = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = drain.begun() => break,
                Some(_) = guests.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _))
                    if guests.len() < MAX_GUESTS && stream.peer_cred().is_ok_and(|peer| is_ours(peer.uid())) =>
                {
                    let resolve = Arc::clone(&resolve);
                    guests.spawn(async move { say(&entertain(stream, |wish| resolve(wish)).await) });
                }
                Ok(_) => tracing::warn!("refused a process at the store's socket"),
                // Without descriptors there is nothing to do but to wait for some.
                Err(error) => {
                    tracing::warn!("cannot accept at the store's socket: {error}; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop((listener, file));
        tokio::select! {
            () = drain.ended() => {}
            () = async { while guests.join_next().await.is_some() {} } => {}
        }
    }
}

fn say(end: &GuestError) {
    match end {
        GuestError::Relay(RelayError::Connection(_)) => {
            tracing::debug!("a process closed its connection to the store's socket")
        }
        end => tracing::warn!("a process at the store's socket: {end}"),
    }
}
