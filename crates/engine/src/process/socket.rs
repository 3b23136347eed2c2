//! An engine that a server of this machine shares: asking for it over a Unix socket, and letting a guest use it. What a guest
//! asks for, and whether it may, is decided elsewhere.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::relay::{RelayError, relay};
use super::run_detached;
use crate::link::connection::{Connection, ConnectionError};
use crate::link::{Driver, Link, LinkEnd};
use crate::{Engine, EngineError, ModelInfo, build};

/// How long the other side may take to greet; a server greets at once, however busy it is.
const GREETING: Duration = Duration::from_secs(2);

/// The greeting of both sides, whose format never changes. What follows it can be read by builds with an equal protocol only.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    build: String,
}

impl Hello {
    fn ours() -> Hello {
        Hello { build: format!("{} {}", build().version, build().protocol) }
    }
}

/// What a server says of the engine that it was asked for.
type Attached = Result<ModelInfo, String>;

/// Why a server shares no engine.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("no server is running there: {0}")]
    NoServer(#[from] io::Error),
    #[error("the server is a different build of slm (`{0}`)")]
    OtherBuild(String),
    #[error(transparent)]
    Lost(#[from] ConnectionError),
    /// In the server's words.
    #[error("{0}")]
    Refused(String),
}

/// An engine that was asked for. Dropping it takes the wish back.
#[derive(Debug)]
#[must_use = "dropping it takes the wish back"]
pub struct Attaching(oneshot::Receiver<Result<Link, AttachError>>);

impl Attaching {
    /// Waits on this thread, which must not be a runtime's.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn wait(self) -> Result<Engine, AttachError> {
        linked(self.0.blocking_recv().ok())
    }
}

impl Future for Attaching {
    type Output = Result<Engine, AttachError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let attached = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(linked(attached.ok()))
    }
}

fn linked(attached: Option<Result<Link, AttachError>>) -> Result<Engine, AttachError> {
    attached.unwrap_or(Err(ConnectionError::Closed.into())).map(Engine::linked)
}

/// Asks the server at the other end of a stream for an engine: `wish` is what it is told of it.
pub fn attach<W: Serialize + Send + Sync + 'static>(stream: UnixStream, wish: W) -> Attaching {
    let (attached, attaching) = oneshot::channel();
    run_detached("engine's connection", use_shared(stream, wish, attached));
    Attaching(attaching)
}

/// A connection from its first word to its last.
async fn use_shared<W: Serialize>(
    stream: UnixStream,
    wish: W,
    mut attached: oneshot::Sender<Result<Link, AttachError>>,
) {
    let mut driver = tokio::select! {
        // The connection is closed, which takes the wish back.
        () = attached.closed() => return,
        asked = ask(stream, &wish) => match asked {
            Ok((link, driver)) => match attached.send(Ok(link)) {
                Ok(()) => driver,
                Err(_) => return,
            },
            Err(error) => return drop(attached.send(Err(error))),
        },
    };
    let end = driver.run().await;
    let why = match end {
        LinkEnd::Unwanted => EngineError::Stopped,
        LinkEnd::Lost(lost) => EngineError::Disconnected { reason: lost.to_string() },
    };
    driver.hang_up().tell(why).await;
}

async fn ask<W: Serialize>(stream: UnixStream, wish: &W) -> Result<(Link, Driver), AttachError> {
    let mut connection = Connection::new(stream)?;
    let ours = Hello::ours();
    connection.push(&ours).map_err(ConnectionError::from)?;
    connection.push(wish).map_err(ConnectionError::from)?;
    let theirs: Hello = greeting(&mut connection).await?;
    if theirs != ours {
        return Err(AttachError::OtherBuild(theirs.build));
    }
    let attached: Attached = connection.receive().await?;
    let info = attached.map_err(AttachError::Refused)?;
    Ok(Link::new(connection, info, None))
}

async fn greeting(connection: &mut Connection) -> Result<Hello, ConnectionError> {
    tokio::time::timeout(GREETING, connection.receive()).await.unwrap_or(Err(ConnectionError::Closed))
}

/// How a guest's connection ended.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    #[error("it is a different build of slm (`{0}`)")]
    OtherBuild(String),
    #[error("it was refused: {0}")]
    Refused(String),
    /// The ordinary end: it went.
    #[error(transparent)]
    Relay(#[from] RelayError),
}

impl From<ConnectionError> for GuestError {
    fn from(error: ConnectionError) -> GuestError {
        RelayError::Connection(error).into()
    }
}

/// Lets the guest at the other end of a stream use the engine that `resolve` finds for its wish. What comes with the engine is
/// held until the guest has gone; a guest that goes while it waits takes its wish back, by dropping what `resolve` does, and
/// one that goes later cancels its requests.
pub async fn entertain<W, F, H>(stream: tokio::net::UnixStream, resolve: impl FnOnce(W) -> F) -> GuestError
where
    W: DeserializeOwned,
    F: Future<Output = Result<(Engine, H), String>>,
{
    match welcome(&mut Connection::over(stream), resolve).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

async fn welcome<W, F, H>(connection: &mut Connection, resolve: impl FnOnce(W) -> F) -> Result<Infallible, GuestError>
where
    W: DeserializeOwned,
    F: Future<Output = Result<(Engine, H), String>>,
{
    let theirs = greeting(connection).await?;
    let ours = Hello::ours();
    connection.push(&ours).map_err(ConnectionError::from)?;
    if theirs != ours {
        connection.flush().await?;
        return Err(GuestError::OtherBuild(theirs.build));
    }
    let wish = connection.receive().await?;
    let resolved = {
        let mut resolving = std::pin::pin!(resolve(wish));
        loop {
            tokio::select! {
                resolved = &mut resolving => break resolved,
                turned = connection.turn() => turned?,
            }
        }
    };
    let (engine, _held) = match resolved {
        Ok(found) => found,
        Err(reason) => {
            connection.push(&Attached::Err(reason.clone())).map_err(ConnectionError::from)?;
            connection.flush().await?;
            return Err(GuestError::Refused(reason));
        }
    };
    connection.push(&Attached::Ok(engine.info().clone())).map_err(ConnectionError::from)?;
    Err(relay(&engine, connection).await.into())
}
