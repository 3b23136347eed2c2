//! The speed of one matrix product in ggml, in the layout that llama.cpp gives a model's weights: the ceiling of prefill.
//! It knows no model.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use llama_cpp_sys_2 as ggml;

use super::super::EngineError;
use super::failed;
use slm_values::gguf::Matrix;

/// Between these many products the fastest is taken: a ceiling is not an average.
const N_TIMED: usize = 5;

/// How weights are in the processor's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As in their file, whose pages are mapped: nothing is copied.
    AsInFile,
    /// As ggml's kernels want them, where they have a wish.
    Repacked,
}

/// What multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multiplier {
    Gpu(usize),
    Processor { n_threads: u32, layout: Layout },
}

/// Seconds of the fastest product of a matrix with `n_rows` rows of numbers.
///
/// # Errors
/// ggml has no memory for it, or does not know the type.
pub fn time(matrix: &Matrix, n_rows: u32, multiplier: Multiplier) -> Result<Duration, EngineError> {
    let refused = || failed("ggml cannot multiply by this model's weights alone");
    let size = |n: u64| i64::try_from(n).map_err(|_| refused());
    let (n_in, n_out) = (size(matrix.n_in)?, size(matrix.n_out)?);
    let kind = matrix.kind.id as ggml::ggml_type;
    // SAFETY: every pointer below comes from ggml, is checked for null, and is freed after those that use it: values drop
    // in the order opposite to their making. The header's check knows the type and that a row is whole blocks of it.
    unsafe {
        let device = match multiplier {
            Multiplier::Gpu(index) => ggml::ggml_backend_dev_get(index),
            Multiplier::Processor { .. } => ggml::ggml_backend_dev_by_type(ggml::GGML_BACKEND_DEVICE_TYPE_CPU),
        };
        if device.is_null() {
            return Err(refused());
        }
        let backend = ggml::ggml_backend_dev_init(device, std::ptr::null());
        let backend = Owned::new(backend, |it| ggml::ggml_backend_free(it)).ok_or_else(refused)?;
        if let Multiplier::Processor { n_threads, .. } = multiplier {
            ggml::ggml_backend_cpu_set_n_threads(backend.get(), c_int::try_from(n_threads).unwrap_or(1));
        }
        let plain = ggml::ggml_backend_dev_buffer_type(device);
        let context = context()?;
        let input = ggml::ggml_new_tensor_2d(context.get(), ggml::GGML_TYPE_F32, n_in, i64::from(n_rows));
        let own = match multiplier {
            Multiplier::Processor { layout: Layout::AsInFile, .. } => Vec::new(),
            _ => layouts(device),
        };
        let layouts = own.into_iter().chain([plain]);
        let (weights, _weights_context, _weights_buffer) = layouts
            .filter_map(|layout| place(device, layout, kind, (n_in, n_out), input))
            .next()
            .ok_or_else(refused)?;
        let product = ggml::ggml_mul_mat(context.get(), weights, input);
        let _buffer = allocate(&context, plain).ok_or_else(refused)?;
        let numbers = vec![0.5f32; usize::try_from(matrix.n_in * u64::from(n_rows)).map_err(|_| refused())?];
        ggml::ggml_backend_tensor_set(input, numbers.as_ptr().cast::<c_void>(), 0, size_of_val(&*numbers));
        let graph = ggml::ggml_new_graph(context.get());
        ggml::ggml_build_forward_expand(graph, product);
        let once = || {
            let started = Instant::now();
            let status = ggml::ggml_backend_graph_compute(backend.get(), graph);
            ggml::ggml_backend_synchronize(backend.get());
            if status == ggml::GGML_STATUS_SUCCESS { Ok(started.elapsed()) } else { Err(refused()) }
        };
        once()?;
        let times: Vec<Duration> = (0..N_TIMED).map(|_| once()).collect::<Result<_, _>>()?;
        times.into_iter().min().ok_or_else(refused)
    }
}

type Tensor = *mut ggml::ggml_tensor;
pub type BufferType = ggml::ggml_backend_buffer_type_t;

/// Weights of zeros in a layout, if the device multiplies by them there.
///
/// # Safety
/// `device`, `layout` and `input` are ggml's and live.
unsafe fn place(
    device: ggml::ggml_backend_dev_t,
    layout: BufferType,
    kind: ggml::ggml_type,
    (n_in, n_out): (i64, i64),
    input: Tensor,
) -> Option<(Tensor, Owned<ggml::ggml_context>, Owned<ggml::ggml_backend_buffer>)> {
    // SAFETY: as the caller's.
    unsafe {
        let context = context().ok()?;
        let weights = ggml::ggml_new_tensor_2d(context.get(), kind, n_in, n_out);
        let buffer = allocate(&context, layout)?;
        ggml::ggml_backend_buffer_set_usage(buffer.get(), ggml::GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        // A layout for other types refuses here, and must then not be written to.
        let trial = self::context().ok()?;
        if !ggml::ggml_backend_dev_supports_op(device, ggml::ggml_mul_mat(trial.get(), weights, input)) {
            return None;
        }
        let zeros = vec![0u8; ggml::ggml_nbytes(weights)];
        ggml::ggml_backend_tensor_set(weights, zeros.as_ptr().cast::<c_void>(), 0, zeros.len());
        Some((weights, context, buffer))
    }
}

/// Room for a few tensors' descriptions, without their data.
pub fn context() -> Result<Owned<ggml::ggml_context>, EngineError> {
    // SAFETY: ggml allocates for itself.
    let context = unsafe {
        let mem_size = 8 * ggml::ggml_tensor_overhead() + ggml::ggml_graph_overhead();
        ggml::ggml_init(ggml::ggml_init_params { mem_size, mem_buffer: std::ptr::null_mut(), no_alloc: true })
    };
    Owned::new(context, |it| unsafe { ggml::ggml_free(it) }).ok_or_else(|| failed("ggml has no memory"))
}

/// Memory in a layout for all tensors of a context; none where ggml has none.
///
/// # Safety
/// `layout` is ggml's.
pub unsafe fn allocate(
    context: &Owned<ggml::ggml_context>,
    layout: BufferType,
) -> Option<Owned<ggml::ggml_backend_buffer>> {
    // SAFETY: the context is live, the layout as the caller's.
    let buffer = unsafe { ggml::ggml_backend_alloc_ctx_tensors_from_buft(context.get(), layout) };
    Owned::new(buffer, |it| unsafe { ggml::ggml_backend_buffer_free(it) })
}

/// The layouts that a device prefers for weights, as llama.cpp asks for them.
///
/// # Safety
/// `device` is ggml's.
pub unsafe fn layouts(device: ggml::ggml_backend_dev_t) -> Vec<BufferType> {
    type Ask = unsafe extern "C" fn(ggml::ggml_backend_dev_t) -> *mut BufferType;
    let mut layouts = Vec::new();
    // SAFETY: under this name ggml has a function of this type, which gives a list that a null ends, or null.
    unsafe {
        let registry = ggml::ggml_backend_dev_backend_reg(device);
        let function = ggml::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_dev_get_extra_bufts".as_ptr());
        if function.is_null() {
            return layouts;
        }
        let mut next = std::mem::transmute::<*mut c_void, Ask>(function)(device);
        while !next.is_null() && !(*next).is_null() {
            layouts.push(*next);
            next = next.add(1);
        }
    }
    layouts
}

/// Something of ggml's that is freed when dropped.
pub struct Owned<T> {
    it: NonNull<T>,
    free: fn(*mut T),
}

impl<T> Owned<T> {
    pub fn new(it: *mut T, free: fn(*mut T)) -> Option<Self> {
        NonNull::new(it).map(|it| Owned { it, free })
    }

    pub fn get(&self) -> *mut T {
        self.it.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        (self.free)(self.it.as_ptr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slm_values::gguf::TensorType;

    #[test]
    fn products_are_timed_in_every_layout() {
        super::super::backend().unwrap();
        // F32 has no layout of its own; Q4_0 and Q4_K have one on this build's processors.
        for id in [0, 2, 12] {
            let matrix = Matrix { kind: TensorType::try_from(id).unwrap(), n_in: 256, n_out: 64 };
            for layout in [Layout::AsInFile, Layout::Repacked] {
                let time = time(&matrix, 32, Multiplier::Processor { n_threads: 1, layout }).unwrap();
                assert!(time > Duration::ZERO, "{} {layout:?}", matrix.kind.name);
            }
        }
    }
}
