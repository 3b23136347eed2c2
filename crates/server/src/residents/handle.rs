//! The handle by which others ask for loaded models.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::command::Command;
use super::lease::EngineLease;
use super::loader::Loader;
use super::owner::Owner;
use super::roster::Ticket;
use super::world::World;
use super::{Order, Refusal, Resident, Settings, Snapshot};
use slm_engine::{Engine, EngineError, Options, memory};
use slm_values::model_ref::ModelRef;

/// A handle to all loaded models. Cheap to clone; they end with its last handle and the last lease.
#[derive(Debug, Clone)]
pub struct Residents {
    owner: mpsc::UnboundedSender<Command>,
    n_tickets: Arc<AtomicU64>,
    loader: Loader,
}

/// A request that waits for its answer; dropping it takes it out of the line.
struct InLine<'r> {
    residents: &'r Residents,
    /// Taken away when the answer has come.
    ticket: Option<Ticket>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let _ = self.residents.owner.send(Command::Withdraw(ticket));
        }
    }
}

impl Residents {
    /// Starts the owner on the runtime of this task.
    #[must_use]
    pub fn start(settings: Settings, loader: Loader) -> Residents {
        let (owner, inbox) = mpsc::unbounded_channel();
        let world = World::new(loader.clone(), settings.load_timeout, owner.downgrade());
        tokio::spawn(Owner::new(settings, world).run(inbox));
        Residents { owner, n_tickets: Arc::default(), loader }
    }

    /// Waits until the base that is wanted is loaded, and holds it. Dropping the future is withdrawing; a load that nobody
    /// waits for is cancelled.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn acquire(&self, order: Order) -> Result<EngineLease, Refusal> {
        let ticket = Ticket(self.n_tickets.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let _ = self.owner.send(Command::Acquire(ticket, Box::new(order), reply));
        let mut in_line = InLine { residents: self, ticket: Some(ticket) };
        let answer = answer.await;
        in_line.ticket = None;
        answer.unwrap_or(Err(Refusal::Closing))
    }

    /// Loads an engine that is no base: it belongs to whoever keeps it, and ends with the last handle to it. It is for small models
    /// beside a base, which make no room for themselves.
    ///
    /// # Errors
    /// The engine refuses it.
    pub async fn load_beside(&self, options: Options) -> Result<Engine, EngineError> {
        // Dropping the future gives the load up, and with it this sender.
        let (_keep, given_up) = oneshot::channel();
        (self.loader.load)(options, given_up).await
    }

    /// Lets a model go when it is idle; the number of requests that it still answers, `None` where it is not loaded. The
    /// engine goes with the last model of its base.
    pub async fn unload(&self, name: &ModelRef) -> Option<usize> {
        self.ask(|reply| Command::Unload(name.clone(), reply)).await.flatten()
    }

    /// What is loaded or about to be, in the order in which it was loaded.
    pub async fn list(&self) -> Vec<Resident> {
        let listed = self.ask(Command::List).await.unwrap_or_default();
        // The system goes through all pages of a process to measure it: nobody else waits for that.
        let measure = |resident: Resident| Resident { size: resident.pid.and_then(memory::of_process), ..resident };
        let measured = tokio::task::spawn_blocking(move || listed.into_iter().map(measure).collect());
        measured.await.unwrap_or_default()
    }

    /// The models that are loaded or about to be.
    pub async fn names(&self) -> Vec<ModelRef> {
        let listed = self.ask(Command::List).await.unwrap_or_default();
        listed.into_iter().flat_map(|resident| resident.tenants).map(|state| state.tenant.name).collect()
    }

    pub async fn snapshot(&self) -> Snapshot {
        self.ask(Command::Snapshot).await.unwrap_or_default()
    }

    /// Lets nobody in any more; returns when the last lease and every engine have ended, or when the time is over and
    /// what was left has been ended.
    pub async fn drain(&self, within: Duration) {
        self.ask(|reply| Command::Drain(within, reply)).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let _ = self.owner.send(command(reply));
        answer.await.ok()
    }
}
