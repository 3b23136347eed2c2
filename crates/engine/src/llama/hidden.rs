//! Reads a row of hidden state out of a decode while llama.cpp computes it. It knows the name of a tensor, and no question.
//!
//! llama.cpp has a callback that is asked about every tensor of a graph, and called again when the tensors that it wants are
//! there. It wants none but in decodes that are to tell a state: then the graph is computed in two parts instead of one, with
//! the same bits. The other way (`embeddings` of a context) would make every token of a prompt an output.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::rc::Rc;

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_sys_2 as ggml;

/// The last layer's output after its norm, from which the logits are computed: a row for every output of the decode.
const RESULT_NORM: &CStr = c"result_norm";

/// Where a context leaves the hidden state that is wanted of its next decode. It must live as long as the context.
#[derive(Default)]
pub struct HiddenTap(Rc<Tap>);

/// What the callback reads and writes; it runs in the thread that decodes, within the decode.
#[derive(Default)]
struct Tap {
    wanted: Cell<Option<OutputRow>>,
    found: Cell<Option<Vec<f32>>>,
}

/// One of a decode's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputRow {
    /// Its number among the outputs, in the order of the batch.
    pub number: usize,
    pub n_outputs: usize,
}

impl HiddenTap {
    /// The parameters of a context that asks this tap.
    pub fn on(&self, params: LlamaContextParams) -> LlamaContextParams {
        const {
            assert!(size_of::<LlamaContextParams>() == size_of::<ggml::llama_context_params>());
            assert!(align_of::<LlamaContextParams>() == align_of::<ggml::llama_context_params>());
        }
        // SAFETY: llama_cpp_2 (pinned to one version) wraps these parameters in a struct that has no other field, as the sizes
        // say, and no function to set the callback. Its address stays as it is while the context lives, for the tap does.
        unsafe {
            let mut raw = std::mem::transmute::<LlamaContextParams, ggml::llama_context_params>(params);
            raw.cb_eval = Some(asked);
            raw.cb_eval_user_data = Rc::as_ptr(&self.0).cast_mut().cast();
            std::mem::transmute::<ggml::llama_context_params, LlamaContextParams>(raw)
        }
    }

    /// Wants the hidden state of an output of the decode that `decode` does; `None` where the model's graph does not have it.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn during<E>(&self, row: OutputRow, decode: impl FnOnce() -> Result<(), E>) -> Result<Option<Vec<f32>>, E> {
        self.0.found.set(None);
        self.0.wanted.set(Some(row));
        let decoded = decode();
        self.0.wanted.set(None);
        decoded.map(|()| self.0.found.take())
    }
}

/// llama.cpp asks whether a tensor is wanted, and once it is computed gives it; `false` then would end the graph there.
unsafe extern "C" fn asked(tensor: *mut ggml::ggml_tensor, is_question: bool, tap: *mut c_void) -> bool {
    // SAFETY: the address is that of a tap that lives as long as its context, and only this thread uses it during a decode.
    let tap = unsafe { &*tap.cast::<Tap>() };
    let Some(wanted) = tap.wanted.get() else { return !is_question };
    // SAFETY: ggml gives a tensor of its graph, whose name ends with zero.
    let tensor = unsafe { &*tensor };
    let is_wanted = unsafe { CStr::from_ptr(tensor.name.as_ptr()) } == RESULT_NORM;
    if is_question {
        return is_wanted;
    }
    if is_wanted {
        tap.found.set(row(tensor, wanted));
    }
    true
}

/// A row of a computed tensor that has one for every output.
fn row(tensor: &ggml::ggml_tensor, OutputRow { number, n_outputs }: OutputRow) -> Option<Vec<f32>> {
    let size = |n: i64| usize::try_from(n).ok();
    let is_plain = tensor.type_ == ggml::GGML_TYPE_F32 && tensor.nb[0] == size_of::<f32>();
    let is_of_outputs = size(tensor.ne[1]) == Some(n_outputs) && tensor.ne[2..] == [1, 1];
    if !is_plain || !is_of_outputs || number >= n_outputs {
        return None;
    }
    let mut row = vec![0.0_f32; size(tensor.ne[0])?];
    // SAFETY: the tensor was just computed and has this many rows of this length; the function copies from any device.
    unsafe {
        ggml::ggml_backend_tensor_get(
            tensor,
            row.as_mut_ptr().cast(),
            number * tensor.nb[1],
            size_of_val(row.as_slice()),
        );
    }
    Some(row)
}
