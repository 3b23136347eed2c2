//! llama.cpp's log: kept out of the terminal, its last complaints kept for error messages, the rest given to `tracing`.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Mutex;

/// The last lines of level warning and above, oldest first.
static COMPLAINTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
const KEPT: usize = 8;
/// Who hears every piece of text as it is written, of whatever level.
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

type Listener = Box<dyn FnMut(&str) + Send>;

/// While it is held, someone listens.
pub struct Listening(());

/// Gives every piece of text to `listener`, until what is given back is dropped.
pub fn listen(listener: impl FnMut(&str) + Send + 'static) -> Listening {
    *LISTENER.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Box::new(listener));
    Listening(())
}

impl Drop for Listening {
    fn drop(&mut self) {
        *LISTENER.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }
}

/// Takes over the log of llama.cpp and ggml for this process.
pub fn install() {
    // SAFETY: the callback is a plain function that reads a C string and never unwinds.
    unsafe {
        llama_cpp_sys_2::llama_log_set(Some(take), std::ptr::null_mut());
        llama_cpp_sys_2::ggml_log_set(Some(take), std::ptr::null_mut());
    }
}

/// Forgets earlier complaints; call before an operation whose failure is to be explained.
pub fn clear() {
    lock().clear();
}

/// llama.cpp's own explanation of a failure, or `otherwise` where it gave none.
pub fn reason(otherwise: &str) -> String {
    let complaints = lock();
    // The first error names the cause; the later ones only say that loading failed.
    let first = complaints.iter().find(|line| line.contains("error") || line.contains("fail")).or(complaints.first());
    first.cloned().unwrap_or_else(|| otherwise.to_owned())
}

fn lock() -> std::sync::MutexGuard<'static, Vec<String>> {
    COMPLAINTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

unsafe extern "C" fn take(level: llama_cpp_sys_2::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a NUL-terminated string that lives through the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    if let Some(listener) = &mut *LISTENER.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
        listener(&text);
    }
    let line = text.trim();
    if line.is_empty() || line.chars().all(|c| c == '.') {
        return;
    }
    match level {
        llama_cpp_sys_2::GGML_LOG_LEVEL_ERROR | llama_cpp_sys_2::GGML_LOG_LEVEL_WARN => {
            tracing::warn!(target: "llama.cpp", "{line}");
            let mut complaints = lock();
            if complaints.len() == KEPT {
                complaints.remove(0);
            }
            // `function_name: what happened` is for llama.cpp's developers; people want what happened.
            let said = line.split_once(": ").filter(|(name, _)| !name.contains(' ')).map_or(line, |(_, rest)| rest);
            complaints.push(said.to_owned());
        }
        _ => tracing::debug!(target: "llama.cpp", "{line}"),
    }
}
