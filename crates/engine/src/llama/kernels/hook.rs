//! Gives ggml's processor backend the kernels of [`ggml_x86`].
//!
//! At every operation ggml asks the owners of special buffers whether they compute it (`ggml-cpu/traits.h`); the one owner that all
//! builds for x86 have repacks weights for ggml's own kernels. This puts itself before that owner: what is faster here is
//! computed here, everything else is asked on. The owner is a C++ object, known to ggml by its table of virtual functions
//! alone, so that one whose table has functions of Rust (Itanium C++ ABI, as on all Unix systems) is as good.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;

use llama_cpp_sys_2 as ggml;

use super::super::buffers::BufferType;
use super::super::product::layouts;
use super::task::{Task, Threads};
use crate::build::build;

/// Takes operations over, once for the process; `false` where the processor or the build has no use for it.
pub fn install() -> bool {
    // Builds for these processors have kernels of ggml's that were not compared.
    if !ggml_x86::is_supported() || build().ggml_switches.contains("AVX512_VNNI") {
        return false;
    }
    // SAFETY: ggml's own functions give live pointers or null; a buffer type is checked to be laid out as it is written here
    // before it is changed, and nothing is computed yet.
    unsafe {
        let device = ggml::ggml_backend_dev_by_type(ggml::GGML_BACKEND_DEVICE_TYPE_CPU);
        if device.is_null() {
            return false;
        }
        let is_repacked = |layout| std::ffi::CStr::from_ptr(ggml::ggml_backend_buft_name(layout)) == c"CPU_REPACK";
        let Some(repacked) = layouts(device).into_iter().find(|&layout| is_repacked(layout)) else { return false };
        let buffer_type = repacked.cast::<BufferType>();
        if (*buffer_type).device != device || (*buffer_type).context.is_null() {
            return false;
        }
        let owner = (*buffer_type).context.cast::<Object<OwnerFunctions>>();
        let Ok(()) = REPACKED.set(Repacked { buffer_type: repacked, owner }) else { return false };
        (*buffer_type).context = std::ptr::from_mut(Box::leak(Box::new(Object { table: &OWNER.functions }))).cast();
    }
    true
}

/// ggml's buffer type of repacked weights, and its owner before this one.
pub struct Repacked {
    pub buffer_type: ggml::ggml_backend_buffer_type_t,
    owner: *mut Object<OwnerFunctions>,
}

// SAFETY: both live as long as the process, and neither changes.
unsafe impl Send for Repacked {}
// SAFETY: as above.
unsafe impl Sync for Repacked {}

pub static REPACKED: OnceLock<Repacked> = OnceLock::new();

/// A C++ object without fields.
#[repr(C)]
struct Object<T: 'static> {
    table: &'static T,
}

/// A table of virtual functions, as it lies before an object's pointer to it.
#[repr(C)]
struct Table<T> {
    offset_to_top: isize,
    type_info: *const c_void,
    functions: T,
}

// SAFETY: nothing in it changes.
unsafe impl<T> Sync for Table<T> {}

type Tensor = ggml::ggml_tensor;
type Owner = *mut Object<OwnerFunctions>;
type Traits = *mut Object<TraitsFunctions>;

/// `ggml::cpu::extra_buffer_type` of `ggml-cpu/traits.h`.
#[repr(C)]
struct OwnerFunctions {
    destroy: [unsafe extern "C" fn(*mut c_void); 2],
    supports_op: unsafe extern "C" fn(Owner, ggml::ggml_backend_dev_t, *const Tensor) -> bool,
    get_tensor_traits: unsafe extern "C" fn(Owner, *const Tensor) -> Traits,
}

/// `ggml::cpu::tensor_traits` of `ggml-cpu/traits.h`.
#[repr(C)]
struct TraitsFunctions {
    destroy: [unsafe extern "C" fn(*mut c_void); 2],
    work_size: unsafe extern "C" fn(Traits, c_int, *const Tensor, *mut usize) -> bool,
    compute_forward: unsafe extern "C" fn(Traits, *const ComputeParams, *mut Tensor) -> bool,
}

/// `ggml_compute_params` of `ggml-cpu/ggml-cpu-impl.h`.
#[repr(C)]
struct ComputeParams {
    thread: c_int,
    n_threads: c_int,
    work_bytes: usize,
    work: *mut u8,
    threads: *mut c_void,
    use_reference: bool,
}

static OWNER: Table<OwnerFunctions> = Table {
    offset_to_top: 0,
    type_info: std::ptr::null(),
    functions: OwnerFunctions { destroy: [never_destroyed; 2], supports_op, get_tensor_traits },
};

static HERE_TABLE: Table<TraitsFunctions> = Table {
    offset_to_top: 0,
    type_info: std::ptr::null(),
    functions: TraitsFunctions { destroy: [never_destroyed; 2], work_size, compute_forward },
};

unsafe extern "C" fn never_destroyed(_: *mut c_void) {}

/// Which layouts of weights ggml's owner takes does not change.
unsafe extern "C" fn supports_op(_: Owner, device: ggml::ggml_backend_dev_t, op: *const Tensor) -> bool {
    // SAFETY: ggml's own object and arguments.
    REPACKED.get().is_some_and(|before| unsafe { ((*before.owner).table.supports_op)(before.owner, device, op) })
}

unsafe extern "C" fn get_tensor_traits(_: Owner, op: *const Tensor) -> Traits {
    static HERE: Object<TraitsFunctions> = Object { table: &HERE_TABLE.functions };
    let Some(before) = REPACKED.get() else { return null_mut() };
    // SAFETY: ggml's own object and argument.
    unsafe {
        match Task::of(op, before.buffer_type) {
            Some(_) => std::ptr::from_ref(&HERE).cast_mut(),
            None => ((*before.owner).table.get_tensor_traits)(before.owner, op),
        }
    }
}

unsafe extern "C" fn work_size(_: Traits, n_threads: c_int, op: *const Tensor, size: *mut usize) -> bool {
    let Some(before) = REPACKED.get() else { return false };
    // SAFETY: ggml's arguments.
    unsafe {
        let Some(task) = Task::of(op, before.buffer_type) else { return false };
        *size = task.work_bytes(usize::try_from(n_threads).unwrap_or(1));
    }
    true
}

/// The part of one thread.
unsafe extern "C" fn compute_forward(_: Traits, params: *const ComputeParams, op: *mut Tensor) -> bool {
    let Some(before) = REPACKED.get() else { return false };
    // SAFETY: ggml's arguments; all threads come with the same operation, and with working memory of the size asked for.
    unsafe {
        let params = &*params;
        let Some(task) = Task::of(op, before.buffer_type) else { return false };
        let [index, count] = [params.thread, params.n_threads].map(|n| usize::try_from(n).unwrap_or(0));
        task.compute(params.work, &Threads { index, count, pool: params.threads });
    }
    true
}
