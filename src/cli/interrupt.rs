//! Ctrl-C: the first lets a loop end behind its row, the second ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

static HAPPENED: AtomicBool = AtomicBool::new(false);

/// Whether Ctrl-C was pressed since [`listen`].
#[must_use]
pub fn happened() -> bool {
    HAPPENED.load(Ordering::Relaxed)
}

/// Takes Ctrl-C over from the system, which would end the process in the middle of a row.
pub fn listen() {
    let listener = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if HAPPENED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    };
    // Without the thread Ctrl-C keeps its ordinary meaning.
    let _ = std::thread::Builder::new().name("interrupt".to_owned()).spawn(listener);
}
