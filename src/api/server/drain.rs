//! The end of a server, in two steps: no new work, then no work.

use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether the server goes on, shared by all who must know.
#[derive(Debug, Clone)]
pub struct Drain(Arc<watch::Sender<Life>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Serving,
    /// What is begun is brought to its end; nothing new begins.
    Draining,
    /// Everything ends now.
    Over,
}

impl Default for Drain {
    fn default() -> Drain {
        Drain(Arc::new(watch::Sender::new(Life::Serving)))
    }
}

impl Drain {
    /// Takes SIGTERM and SIGINT over, for as long as the process lives: the first begins the drain, the second ends it.
    ///
    /// # Errors
    /// The system does not hand signals over.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let drain = self.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = interrupt.recv() => "SIGINT",
                    else => return,
                };
                if drain.is_draining() {
                    tracing::warn!("{name} again: ending at once");
                    drain.end();
                } else {
                    tracing::info!("{name}: finishing what is in flight; once more ends at once");
                    drain.begin();
                }
            }
        });
        Ok(())
    }

    /// No new work from here on.
    pub fn begin(&self) {
        self.reach(Life::Draining);
    }

    /// Everything ends now.
    pub fn end(&self) {
        self.reach(Life::Over);
    }

    fn reach(&self, life: Life) {
        self.0.send_if_modified(|now| {
            let is_later = *now < life;
            *now = (*now).max(life);
            is_later
        });
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow() >= Life::Draining
    }

    /// Until the drain begins.
    pub async fn begun(&self) {
        self.reached(Life::Draining).await;
    }

    /// Until everything is to end.
    pub async fn ended(&self) {
        self.reached(Life::Over).await;
    }

    /// Until everything was to end this long ago.
    pub async fn ended_for(&self, time: std::time::Duration) {
        self.ended().await;
        tokio::time::sleep(time).await;
    }

    async fn reached(&self, life: Life) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|now| *now >= life).await;
    }
}
