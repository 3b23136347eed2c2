//! Memory of ggml's that is cleared goes back to the kernel, which gives zeroed pages when they are written: keys and values of a
//! long context are cleared when it is made, and would be in memory whole however few of them a prompt uses.

#[cfg(target_os = "linux")]
pub use linux::install;

/// Elsewhere a clear writes zeros: whether the kernel's pages are zeroed anew is not promised there.
#[cfg(not(target_os = "linux"))]
pub fn install() {}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::c_void;
    use std::sync::Once;
    use std::sync::atomic::{AtomicPtr, Ordering};

    use llama_cpp_sys_2 as ggml;

    use super::super::buffers::{Buffer, BufferType, Clear};

    /// Smaller memory may share its pages with other allocations, and is not worth a call.
    const LEAST_BYTES: usize = 1 << 20;

    type Alloc = unsafe extern "C" fn(*mut BufferType, usize) -> *mut Buffer;

    /// ggml's own functions, before these.
    static ALLOC: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    static CLEAR: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

    /// Puts this before ggml's own clearing of the processor's memory, once for the process. Call it before a model is loaded.
    pub fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: the type lives as long as the process, and nothing is allocated yet.
            unsafe {
                let buffer_type = ggml::ggml_backend_cpu_buffer_type().cast::<BufferType>();
                ALLOC.store((*buffer_type).alloc_buffer.cast_mut(), Ordering::Release);
                (*buffer_type).alloc_buffer = alloc as Alloc as *const c_void;
            }
        });
    }

    /// ggml's allocation, with this clearing.
    unsafe extern "C" fn alloc(buffer_type: *mut BufferType, bytes: usize) -> *mut Buffer {
        // SAFETY: it is ggml's function, which `install` has put there.
        let ggmls = unsafe { std::mem::transmute::<*mut c_void, Alloc>(ALLOC.load(Ordering::Acquire)) };
        // SAFETY: ggml's own arguments; what comes back is null or a live buffer, which is checked to be laid out as it is written here.
        unsafe {
            let buffer = ggmls(buffer_type, bytes);
            if !buffer.is_null() && (*buffer).buffer_type == buffer_type && (*buffer).size == bytes {
                CLEAR.store((*buffer).clear as *mut c_void, Ordering::Release);
                (*buffer).clear = clear;
            }
            buffer
        }
    }

    /// ggml's buffers of this type are memory of `posix_memalign`: private, anonymous, and theirs alone.
    unsafe extern "C" fn clear(buffer: *mut Buffer, value: u8) {
        // SAFETY: ggml's own buffer; the whole pages within it hold nothing else, and read as zeros once they were handed back
        // (madvise(2)), unless the call fails, as it does for locked ones.
        unsafe {
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(usize::MAX);
            let (start, bytes) = ((*buffer).context.cast::<u8>(), (*buffer).size);
            let is_worth_it = value == 0 && bytes >= LEAST_BYTES && bytes / 4 >= page;
            let before = start.addr().next_multiple_of(page) - start.addr();
            let whole = (bytes - before.min(bytes)) / page * page;
            if is_worth_it && libc::madvise(start.add(before).cast(), whole, libc::MADV_DONTNEED) == 0 {
                start.write_bytes(0, before);
                start.add(before + whole).write_bytes(0, bytes - before - whole);
                return;
            }
            let ggmls = std::mem::transmute::<*mut c_void, Clear>(CLEAR.load(Ordering::Acquire));
            ggmls(buffer, value);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Pages of the process that are in memory (proc_pid_statm(5)), in bytes.
        fn resident() -> usize {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        }

        #[test]
        fn a_cleared_buffer_reads_as_zeros_and_is_not_in_memory() {
            const BYTES: usize = (256 << 20) + 12_345;
            install();
            // SAFETY: ggml's own functions, on a buffer that is freed at the end and used by nobody else.
            unsafe {
                let buffer = ggml::ggml_backend_buft_alloc_buffer(ggml::ggml_backend_cpu_buffer_type(), BYTES);
                let memory = || {
                    let start = ggml::ggml_backend_buffer_get_base(buffer).cast::<u8>();
                    std::slice::from_raw_parts_mut(start, BYTES)
                };
                memory().fill(7);
                let full = resident();
                ggml::ggml_backend_buffer_clear(buffer, 0);
                assert!(full - resident() > BYTES / 10 * 9, "{} of {full} bytes are in memory", resident());
                assert!(memory().iter().all(|byte| *byte == 0));
                ggml::ggml_backend_buffer_clear(buffer, 3);
                assert!(memory().iter().all(|byte| *byte == 3));
                ggml::ggml_backend_buffer_free(buffer);
            }
        }
    }
}
