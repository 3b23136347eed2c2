//! Shutdown of a server in two steps: no new requests, then an end of the running ones.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether the server continues, shared by all who must know.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// What is begun is brought to its end; nothing new begins.
    begun: CancellationToken,
    /// Everything ends now.
    ended: CancellationToken,
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
                    tracing::info!("{name}: finishing requests in flight; a second signal ends at once");
                    drain.begin();
                }
            }
        });
        Ok(())
    }

    /// No new work from here on.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Everything ends now.
    pub fn end(&self) {
        self.begin();
        self.ended.cancel();
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Until the drain begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Until everything is to end.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Until everything was to end this long ago.
    pub async fn ended_for(&self, time: std::time::Duration) {
        self.ended().await;
        tokio::time::sleep(time).await;
    }
}
