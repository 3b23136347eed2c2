//! A reply that a thread waits for.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::InferError;
use crate::engine::EngineError;

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
