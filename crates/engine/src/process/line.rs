//! A Unix stream that carries values both ways at once. It knows no engine.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::frame::{FrameError, Incoming, Outgoing};

/// One end of a line.
#[derive(Debug)]
pub struct Line {
    stream: UnixStream,
    incoming: Incoming,
    outgoing: Outgoing,
}

/// Why a line is over.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The other end has closed it, or its process is gone.
    #[error("the other end has closed the line")]
    Closed,
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Line {
    /// A line over a connected stream.
    ///
    /// # Errors
    /// The runtime that this is called in cannot wait for it.
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Line> {
        stream.set_nonblocking(true)?;
        Ok(Line::over(UnixStream::from_std(stream)?))
    }

    #[must_use]
    pub fn over(stream: UnixStream) -> Line {
        Line { stream, incoming: Incoming::default(), outgoing: Outgoing::default() }
    }

    /// Puts a value behind those that go out with the next turns.
    ///
    /// # Errors
    /// It is too long; the line is as it was.
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
    /// [`LineError::Closed`] where everything that the other end had sent was read; whatever the system calls it.
    pub async fn turn(&mut self) -> Result<(), LineError> {
        let (mut reader, mut writer) = self.stream.split();
        let waiting = self.outgoing.bytes();
        tokio::select! {
            gone = writer.write(waiting), if !waiting.is_empty() => {
                match gone {
                    Ok(n_bytes) => self.outgoing.gone(n_bytes),
                    // Nobody listens any more, but what was said before may still be on its way here.
                    Err(_) => self.outgoing = Outgoing::default(),
                }
            }
            come = reader.read_buf(self.incoming.room()) => {
                if come.map_err(|_| LineError::Closed)? == 0 {
                    return Err(LineError::Closed);
                }
            }
        }
        Ok(())
    }

    /// Waits for the next value.
    ///
    /// # Errors
    /// The line is over, or the other end sends something else.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<T, LineError> {
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
    /// The line is over.
    pub async fn flush(&mut self) -> Result<(), LineError> {
        while !self.outgoing.bytes().is_empty() {
            self.turn().await?;
        }
        Ok(())
    }
}
