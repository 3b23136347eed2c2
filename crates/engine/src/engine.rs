//! The handle to an engine, which runs on a thread of this process or in another process.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::caller::PendingRequest;
use super::error::EngineError;
use super::event::Event;
use super::link::Link;
use super::memory;
use super::options::{ModelInfo, Options};
use super::request::Request;
use super::run;

/// A handle to one engine. Cheap to clone; the engine ends with its last handle.
#[derive(Debug, Clone)]
pub struct Engine {
    home: Arc<Home>,
}

/// Where an engine lives.
#[derive(Debug)]
enum Home {
    Thread(run::Thread),
    Elsewhere(Link),
}

impl Engine {
    /// Starts an engine on a thread of its own and waits until its model is loaded.
    ///
    /// # Errors
    /// [`EngineError::Load`] with llama.cpp's own words where it refuses the file.
    pub fn load(options: Options) -> Result<Engine, EngineError> {
        Ok(Engine { home: Arc::new(Home::Thread(run::spawn(options)?)) })
    }

    /// The engine at the other end of a link.
    pub(crate) fn linked(link: Link) -> Engine {
        Engine { home: Arc::new(Home::Elsewhere(link)) }
    }

    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        match &*self.home {
            Home::Thread(thread) => &thread.info,
            Home::Elsewhere(link) => &link.info,
        }
    }

    /// Queues a request. Its events come through the receiver; dropping that cancels it.
    #[must_use]
    pub fn send(&self, request: Request) -> mpsc::UnboundedReceiver<Event> {
        let (events, receiver) = mpsc::unbounded_channel();
        let command = PendingRequest { request, events, sent: Instant::now() };
        match &*self.home {
            Home::Thread(thread) => thread.send(command),
            Home::Elsewhere(link) => link.send(command),
        }
        receiver
    }

    /// Waits until this engine has ended, and says why: [`EngineError::Stopped`] where its last handle is gone (a process that
    /// it had is then gone as well), anything else where it ended by itself. Waiting keeps nothing alive.
    pub fn closed(&self) -> impl Future<Output = EngineError> + Send + use<> {
        let mut ended = match &*self.home {
            Home::Thread(thread) => thread.ended(),
            Home::Elsewhere(link) => link.ended(),
        };
        async move {
            // A sender that is gone without a word is an end as well.
            let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
            why.unwrap_or(EngineError::Stopped)
        }
    }

    /// The engine's own process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &*self.home {
            Home::Thread(_) => None,
            Home::Elsewhere(link) => link.pid,
        }
    }

    /// Bytes of memory that the engine's own process takes now; `None` where it has none, or the system does not say.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        self.pid().and_then(memory::of_process)
    }
}
