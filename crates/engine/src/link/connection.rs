//! A Unix stream that carries values both ways at once. It knows no engine.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::frame::{FrameError, Incoming, Outgoing};

/// One end of a connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    incoming: Incoming,
    outgoing: Outgoing,
}

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The other end has closed it, or its process has ended.
    #[error("the other end has closed the connection")]
    Closed,
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Connection {
    /// A connection over a connected stream.
    ///
    /// # Errors
    /// The runtime that this is called in cannot wait for it.
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection::over(UnixStream::from_std(stream)?))
    }

    #[must_use]
    pub fn over(stream: UnixStream) -> Connection {
        Connection { stream, incoming: Incoming::default(), outgoing: Outgoing::default() }
    }

    /// Appends a value to those that are sent with the next turns.
    ///
    /// # Errors
    /// It is too long; the connection is as it was.
    pub fn push<T: Serialize>(&mut self, value: &T) -> Result<(), FrameError> {
        self.outgoing.push(value)
    }

    /// The next value that has come already.
    ///
    /// # Errors
    /// The other end sends something else.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        self.incoming.take()
    }

    /// Waits until bytes have come or gone, whichever is first, so that two ends that both have much to say never wait for
    /// each other. Dropping it in between loses nothing.
    ///
    /// # Errors
    /// [`ConnectionError::Closed`] where everything that the other end had sent was read; whatever the system calls it.
    pub async fn turn(&mut self) -> Result<(), ConnectionError> {
        let (mut reader, mut writer) = self.stream.split();
        let waiting = self.outgoing.bytes();
        tokio::select! {
            gone = writer.write(waiting), if !waiting.is_empty() => {
                match gone {
                    Ok(n_bytes) => self.outgoing.gone(n_bytes),
                    // The other end no longer reads, but what it sent before may still arrive.
                    Err(_) => self.outgoing = Outgoing::default(),
                }
            }
            come = reader.read_buf(self.incoming.room()) => {
                if come.map_err(|_| ConnectionError::Closed)? == 0 {
                    return Err(ConnectionError::Closed);
                }
            }
        }
        Ok(())
    }

    /// Waits for the next value.
    ///
    /// # Errors
    /// The connection has ended, or the other end sends something else.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ConnectionError> {
        loop {
            if let Some(value) = self.take()? {
                return Ok(value);
            }
            self.turn().await?;
        }
    }

    /// Waits until everything is gone.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        while !self.outgoing.bytes().is_empty() {
            self.turn().await?;
        }
        Ok(())
    }
}
