//! `slm engine`: the process in which `slm serve` keeps a model, started by the server itself.

use crate::engine;
use crate::engine::process::host::{self, HostError};
use crate::ui::output::say;

/// Serves one model until its parent disconnects, and exits without freeing what native code may be using.
pub fn run() -> ! {
    let code = match host::run() {
        Ok(()) => 0,
        Err(error) => {
            say(&error);
            if matches!(error, HostError::NoLine(_)) { 2 } else { 1 }
        }
    };
    engine::leave(code)
}
