//! Calls of the C library that have no safe wrapper.

/// Ends the process as it stands, without tearing down what other threads of native code are using: exit handlers and
/// destructors of static objects would pull llama.cpp's from under them.
pub fn leave(code: i32) -> ! {
    // SAFETY: `_exit` touches nothing of this program.
    unsafe { libc::_exit(code) }
}

/// The C library that this process runs with, by name and version.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn c_library() -> String {
    // SAFETY: it gives a constant C string.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    format!("glibc {}", version.to_string_lossy())
}

/// The C library that this process runs with: linked into it, or the system's one.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn c_library() -> String {
    String::new()
}
