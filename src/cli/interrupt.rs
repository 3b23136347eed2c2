//! Ctrl-C: the first lets work end behind what it has begun; the second ends at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

use crate::engine;

static HAPPENED: AtomicBool = AtomicBool::new(false);
/// As a shell reports SIGINT.
const EXIT_CODE: i32 = 130;

/// Whether Ctrl-C was pressed since [`listen`].
#[must_use]
pub fn happened() -> bool {
    HAPPENED.load(Ordering::SeqCst)
}

/// What the first Ctrl-C does; without it, Ctrl-C ends the process.
static FIRST: Mutex<Option<Box<dyn Fn() + Send>>> = Mutex::new(None);
static LISTENING: Once = Once::new();

/// While it is held, the first Ctrl-C is somebody's to answer.
#[derive(Debug)]
pub struct Listening(());

/// Takes Ctrl-C over from the system, which would end the process in the middle of a row, until what is given back is
/// dropped. The first Ctrl-C calls `first` on another thread.
#[must_use]
pub fn listen(first: impl Fn() + Send + 'static) -> Listening {
    set(Some(Box::new(first)));
    LISTENING.call_once(begin);
    Listening(())
}

impl Drop for Listening {
    fn drop(&mut self) {
        set(None);
    }
}

fn set(first: Option<Box<dyn Fn() + Send>>) {
    *FIRST.lock().unwrap_or_else(PoisonError::into_inner) = first;
}

fn begin() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    let entered = runtime.enter();
    let registered = signal(SignalKind::interrupt());
    drop(entered);
    // Where it could not be taken over, Ctrl-C keeps its ordinary meaning.
    let Ok(mut interrupts) = registered else { return };
    let listener = move || {
        runtime.block_on(async {
            while interrupts.recv().await.is_some() {
                if HAPPENED.swap(true, Ordering::SeqCst) {
                    engine::leave(EXIT_CODE);
                }
                match &*FIRST.lock().unwrap_or_else(PoisonError::into_inner) {
                    Some(first) => first(),
                    None => engine::leave(EXIT_CODE),
                }
            }
        });
    };
    let _ = std::thread::Builder::new().name("interrupt".to_owned()).spawn(listener);
}
