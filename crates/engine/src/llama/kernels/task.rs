//! ggml's operations as work for [`ggml_x86`], where these are faster.

use std::ffi::{c_int, c_void};

use ggml_x86::attention::{Attention, GREATEST_HEAD, Heads, TILE_ROWS};
use ggml_x86::product::{self, Format, PANEL_ROWS, Scratch, Weights};
use llama_cpp_sys_2 as ggml;

/// Bytes to which working memory is aligned.
const ALIGNMENT: usize = 64;

/// Tokens from which attention is faster here than in ggml.
const LEAST_TOKENS: usize = 4;

/// An operation that is faster here than in ggml.
pub enum Task {
    Product(Product),
    Attention(Attention),
}

pub struct Product {
    weights: Weights,
    input: *const f32,
    /// Numbers from a row to the next, as for the results.
    input_stride: usize,
    n_rows: usize,
    out: *mut f32,
    out_stride: usize,
}

impl Task {
    /// What an operation is, if it is one. `repacked` is the type of ggml's buffers of repacked weights.
    ///
    /// # Safety
    /// The operation is one that ggml plans or computes on the processor.
    pub unsafe fn of(op: *const ggml::ggml_tensor, repacked: ggml::ggml_backend_buffer_type_t) -> Option<Task> {
        // SAFETY: the caller's.
        unsafe {
            match (*op).op {
                ggml::GGML_OP_MUL_MAT => product(&*op, repacked).map(Task::Product),
                ggml::GGML_OP_FLASH_ATTN_EXT => attention(&*op).map(Task::Attention),
                _ => None,
            }
        }
    }

    /// Bytes of working memory that so many threads need together.
    #[must_use]
    pub fn work_bytes(&self, n_threads: usize) -> usize {
        ALIGNMENT + self.shared_bytes() + n_threads * self.own_bytes()
    }

    fn shared_bytes(&self) -> usize {
        match self {
            Task::Product(product) => {
                let Weights { format, n_in, .. } = product.weights;
                product::row_bytes(format, n_in, product.n_rows).next_multiple_of(ALIGNMENT)
            }
            Task::Attention(_) => 0,
        }
    }

    fn own_bytes(&self) -> usize {
        let bytes = match self {
            Task::Product(_) => size_of::<Scratch>(),
            Task::Attention(attention) => attention.scratch_len() * size_of::<f32>(),
        };
        bytes.next_multiple_of(ALIGNMENT)
    }

    /// The part of one thread; all of them come.
    ///
    /// # Safety
    /// The operation's data is there, and `work` has [`Task::work_bytes`].
    pub unsafe fn compute(&self, work: *mut u8, threads: &Threads) {
        // SAFETY: the caller's; the working memory is divided among the threads.
        unsafe {
            let shared = work.add(work.align_offset(ALIGNMENT));
            let own = shared.add(self.shared_bytes() + threads.index * self.own_bytes());
            match self {
                Task::Product(product) => product.compute(shared, &mut *own.cast(), threads),
                Task::Attention(attention) => {
                    threads.share(attention.n_parts(), |part| attention.compute(part, own.cast()));
                }
            }
        }
    }
}

impl Product {
    unsafe fn compute(&self, rows: *mut u8, scratch: &mut Scratch, threads: &Threads) {
        let n_panels = self.weights.n_out / PANEL_ROWS;
        let turn = product::turn(n_panels, threads.count);
        // SAFETY: the caller's; every part of the rows is quantized once, and every panel multiplied once.
        unsafe {
            let (input, shape) = ((self.input, self.input_stride), (self.weights.n_in, self.n_rows));
            product::quantize(self.weights.format, input, shape, rows, (threads.index, threads.count));
            threads.share(n_panels.div_ceil(turn), |at| {
                let panels = at * turn..n_panels.min((at + 1) * turn);
                product::multiply(&self.weights, panels, (rows, self.n_rows), (self.out, self.out_stride), scratch);
            });
        }
    }
}

fn size(n: i64) -> usize {
    usize::try_from(n).unwrap_or(0)
}

/// Whether numbers of a row are side by side.
fn is_dense(tensor: &ggml::ggml_tensor, kind: ggml::ggml_type, bytes: usize) -> bool {
    tensor.type_ == kind && tensor.nb[0] == bytes
}

fn is_float(tensor: &ggml::ggml_tensor) -> bool {
    is_dense(tensor, ggml::GGML_TYPE_F32, size_of::<f32>())
}

/// What the kernels call a type of weights, if they take it.
pub fn format(kind: ggml::ggml_type) -> Option<Format> {
    Some(match kind {
        ggml::GGML_TYPE_Q4_K => Format::Q4K,
        ggml::GGML_TYPE_Q5_K => Format::Q5K,
        ggml::GGML_TYPE_Q6_K => Format::Q6K,
        ggml::GGML_TYPE_Q4_0 => Format::Q4_0,
        ggml::GGML_TYPE_Q4_1 => Format::Q4_1,
        ggml::GGML_TYPE_Q5_0 => Format::Q5_0,
        ggml::GGML_TYPE_Q5_1 => Format::Q5_1,
        ggml::GGML_TYPE_Q8_0 => Format::Q8_0,
        ggml::GGML_TYPE_IQ4_NL => Format::Iq4nl,
        _ => return None,
    })
}

/// A product with weights that lie in memory as in their file; ggml's own layouts are its own to compute with.
unsafe fn product(op: &ggml::ggml_tensor, repacked: ggml::ggml_backend_buffer_type_t) -> Option<Product> {
    // SAFETY: an operation's sources are live tensors.
    let (weights, input) = unsafe { (&*op.src[0], &*op.src[1]) };
    let format = format(weights.type_)?;
    let (n_in, n_out, n_rows) = (size(weights.ne[0]), size(weights.ne[1]), size(input.ne[1]));
    let is_flat = [op, weights, input].iter().all(|tensor| tensor.ne[2] == 1 && tensor.ne[3] == 1);
    let row_bytes = format.row_bytes(n_in);
    let is_ours = is_flat
        && is_float(op)
        && is_float(input)
        && op.op_params[1] == ggml::GGML_HINT_NONE as i32
        && n_in % format.block() == 0
        && n_out % PANEL_ROWS == 0
        && n_rows >= format.least_rows()
        && weights.nb[1] == row_bytes
        && weights.view_src.is_null()
        && !weights.buffer.is_null();
    // SAFETY: the buffer is live as its tensor is.
    let is_plain = || unsafe {
        ggml::ggml_backend_buffer_get_type(weights.buffer) != repacked
            && ggml::ggml_backend_buffer_is_host(weights.buffer)
    };
    if !is_ours || !is_plain() {
        return None;
    }
    Some(Product {
        weights: Weights { format, data: weights.data.cast(), row_bytes, n_in, n_out },
        input: input.data.cast(),
        input_stride: input.nb[1] / size_of::<f32>(),
        n_rows,
        out: op.data.cast(),
        out_stride: op.nb[1] / size_of::<f32>(),
    })
}

unsafe fn attention(op: &ggml::ggml_tensor) -> Option<Attention> {
    // SAFETY: an operation's first three sources are live tensors, the others too or null.
    let (queries, keys, values, mask) = unsafe { (&*op.src[0], &*op.src[1], &*op.src[2], op.src[3].as_ref()) };
    let [scale, max_bias, soft_cap] = std::array::from_fn(|i| f32::from_bits(op.op_params[i].cast_unsigned()));
    let is_half = |tensor: &ggml::ggml_tensor| is_dense(tensor, ggml::GGML_TYPE_F16, size_of::<u16>());
    let (n_heads, n_key_heads) = (size(queries.ne[2]), size(keys.ne[2]));
    let (n_tokens, value) = (size(queries.ne[1]), size(values.ne[0]));
    let are_sizes_ours = [size(keys.ne[0]), value].iter().all(|&size| size % 8 == 0 && size <= GREATEST_HEAD);
    let is_ours = is_float(op)
        && is_float(queries)
        && is_half(keys)
        && is_half(values)
        && mask.is_none_or(|mask| is_half(mask) && mask.ne[2] == 1 && mask.ne[3] == 1)
        && [queries, keys, values].iter().all(|tensor| tensor.ne[3] == 1)
        && are_sizes_ours
        && n_key_heads > 0
        && keys.ne[2] == values.ne[2]
        && n_heads % n_key_heads == 0
        && n_heads / n_key_heads <= TILE_ROWS
        && n_tokens >= LEAST_TOKENS
        // Neither attention sinks nor positions as biases.
        && op.src[4].is_null()
        && max_bias == 0.0
        && op.nb[1] == value * size_of::<f32>()
        && op.nb[2] == n_heads * op.nb[1];
    if !is_ours {
        return None;
    }
    fn heads<T>(tensor: &ggml::ggml_tensor) -> Heads<T> {
        Heads {
            data: tensor.data.cast_const().cast(),
            size: size(tensor.ne[0]),
            n_heads: size(tensor.ne[2]),
            stride: tensor.nb[1] / size_of::<T>(),
            head_stride: tensor.nb[2] / size_of::<T>(),
        }
    }
    Some(Attention {
        queries: heads(queries),
        n_tokens,
        keys: heads(keys),
        values: heads(values),
        n_cells: size(keys.ne[1]),
        mask: mask.map(|mask| (mask.data.cast_const().cast(), mask.nb[1] / size_of::<u16>())),
        scale,
        soft_cap,
        out: op.data.cast(),
    })
}

/// The threads that compute an operation, as one of them sees them.
pub struct Threads {
    pub index: usize,
    pub count: usize,
    pub pool: *mut c_void,
}

impl Threads {
    /// Waits for all threads, then does some of `n` parts; the others do the rest.
    ///
    /// # Safety
    /// All threads call it, with as many parts.
    unsafe fn share(&self, n: usize, mut work: impl FnMut(usize)) {
        // SAFETY: the pool is that of these threads.
        unsafe {
            if self.index == 0 {
                ggml_threadpool_chunk_set(self.pool, self.count as c_int);
            }
            ggml_barrier(self.pool);
            let mut part = self.index;
            while part < n {
                work(part);
                part = ggml_threadpool_chunk_add(self.pool, 1) as usize;
            }
        }
    }
}

unsafe extern "C" {
    fn ggml_barrier(threads: *mut c_void);
    fn ggml_threadpool_chunk_set(threads: *mut c_void, value: c_int);
    fn ggml_threadpool_chunk_add(threads: *mut c_void, value: c_int) -> c_int;
}
