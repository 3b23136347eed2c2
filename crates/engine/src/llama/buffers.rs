//! ggml's buffers and their types as `ggml-backend-impl.h` lays them out, which no header of its bindings has.

use std::ffi::c_void;

use llama_cpp_sys_2 as ggml;

/// `ggml_backend_buffer_type`.
#[repr(C)]
pub struct BufferType {
    pub get_name: *const c_void,
    pub alloc_buffer: *const c_void,
    others: [*const c_void; 6],
    pub device: ggml::ggml_backend_dev_t,
    pub context: *mut c_void,
}

/// `ggml_backend_buffer`.
#[repr(C)]
pub struct Buffer {
    functions: [*const c_void; 9],
    pub clear: Clear,
    reset: *const c_void,
    pub buffer_type: *mut BufferType,
    /// Where the memory of the processor's own buffers begins.
    pub context: *mut c_void,
    /// In bytes.
    pub size: usize,
}

/// Fills a whole buffer with a byte.
pub type Clear = unsafe extern "C" fn(*mut Buffer, u8);
