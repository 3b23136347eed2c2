//! Ctrl-C: the first lets a loop end behind its row, or its wait for one; the second ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

static HAPPENED: AtomicBool = AtomicBool::new(false);
/// Set while the process waits for input and nothing is half done.
static WAITING: AtomicBool = AtomicBool::new(false);
/// As a shell reports SIGINT.
const EXIT_CODE: i32 = 130;

/// Whether Ctrl-C was pressed since [`listen`].
#[must_use]
pub fn happened() -> bool {
    HAPPENED.load(Ordering::SeqCst)
}

/// Waits for input, which Ctrl-C ends at once: everything before it is written, and nothing may ever come.
pub fn while_waiting<T>(wait: impl FnOnce() -> T) -> T {
    WAITING.store(true, Ordering::SeqCst);
    // The signal that came just before saw nobody waiting.
    if happened() {
        leave();
    }
    let got = wait();
    WAITING.store(false, Ordering::SeqCst);
    got
}

/// Ends the process as it stands: leaving in the ordinary way would tear down what the engine's thread is using.
fn leave() -> ! {
    // SAFETY: `_exit` touches nothing of this program.
    unsafe { libc::_exit(EXIT_CODE) }
}

/// Takes Ctrl-C over from the system, which would end the process in the middle of a row: from the return on.
pub fn listen() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    let entered = runtime.enter();
    let registered = signal(SignalKind::interrupt());
    drop(entered);
    // Where it could not be taken over, Ctrl-C keeps its ordinary meaning.
    let Ok(mut interrupts) = registered else { return };
    let listener = move || {
        runtime.block_on(async {
            while interrupts.recv().await.is_some() {
                if HAPPENED.swap(true, Ordering::SeqCst) || WAITING.load(Ordering::SeqCst) {
                    leave();
                }
            }
        });
    };
    let _ = std::thread::Builder::new().name("interrupt".to_owned()).spawn(listener);
}
