//! A reply that a thread waits for.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::InferError;
use slm_engine::EngineError;

/// Waits on this thread, which must not be a runtime's.
///
/// # Errors
/// Those of the work; [`EngineError::Cancelled`] where `cancel` came first.
pub fn wait<T>(work: impl Future<Output = Result<T, InferError>>, cancel: &Cancel) -> Result<T, InferError> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut work = pin!(work);
    loop {
        if cancel.0.load(Ordering::SeqCst) {
            return Err(EngineError::Cancelled.into());
        }
        match work.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Ends other threads' waits.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// Ends the waits of these threads, and every wait that begins later.
    pub fn cancel<'t>(&self, waiting: impl IntoIterator<Item = &'t std::thread::Thread>) {
        self.0.store(true, Ordering::SeqCst);
        waiting.into_iter().for_each(std::thread::Thread::unpark);
    }
}

/// Wakes a thread that has parked itself.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn a_thread_waits_until_it_is_done_or_cancelled() {
        assert_eq!(wait(async { Ok(1) }, &Cancel::default()).unwrap(), 1);
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        let sender = thread::spawn(move || send.send(2));
        assert_eq!(wait(async { Ok(receive.recv().await) }, &Cancel::default()).unwrap(), Some(2));
        sender.join().unwrap().unwrap();

        let cancel = Arc::new(Cancel::default());
        let (tell, told) = mpsc::channel();
        let waiting = thread::spawn({
            let cancel = Arc::clone(&cancel);
            move || {
                tell.send(()).unwrap();
                wait(std::future::pending::<Result<(), InferError>>(), &cancel)
            }
        });
        told.recv().unwrap();
        cancel.cancel([waiting.thread()]);
        assert!(matches!(waiting.join().unwrap(), Err(InferError::Engine(EngineError::Cancelled))));
        // So does what begins to wait later.
        assert!(wait(async { Ok(()) }, &cancel).is_err());
    }
}
