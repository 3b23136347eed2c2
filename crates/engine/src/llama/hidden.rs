//! Reads hidden states out of a decode while llama.cpp computes it. It knows the names of two tensors, and no question.
//!
//! llama.cpp has a callback that is asked about every tensor of a graph, and called again when the tensors that it wants are
//! there. It wants none but in decodes that are to tell a state: then the graph is computed in parts instead of at once, with
//! the same bits. The other way (`embeddings` of a context) would make every token of a prompt an output. Where no more is wanted
//! of a decode, the callback ends its graph there: later layers are not computed, and the decode's cells lack their keys.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_void};
use std::rc::Rc;

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_sys_2 as ggml;

use super::callback::with_callback;

/// The last layer's output after its norm, from which the logits are computed: a row for every output of the decode.
const RESULT_NORM: &CStr = c"result_norm";
/// What a layer puts out, before its number: a row for every token of the decode, but of the last layer for every output.
const LAYER_OUTPUT: &[u8] = b"l_out-";

/// Where a context leaves the hidden states that are wanted of its next decode. It must live as long as the context.
#[derive(Default)]
pub struct HiddenTap(Rc<Tap>);

/// What the callback reads and writes; it runs in the thread that decodes, within the decode.
#[derive(Default)]
struct Tap {
    wanted: Cell<Option<HiddenWish>>,
    found: RefCell<HiddenRows>,
}

/// Which hidden states of a decode are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HiddenWish {
    pub output: Option<OutputRow>,
    pub tokens: Option<FirstTokens>,
    pub then: Then,
}

/// What becomes of a decode once its tokens' states are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Then {
    #[default]
    GoOn,
    /// It ends, where its graph is of one split; with several each of the others would be computed of what it finds.
    End,
}

/// One of a decode's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputRow {
    /// Its number among the outputs, in the order of the batch.
    pub number: usize,
    pub n_outputs: usize,
}

/// The first tokens of a decode, at the output of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstTokens {
    /// Counted from 0; not the last one.
    pub layer: u32,
    pub n: usize,
    /// All of the decode's.
    pub n_all: usize,
}

/// What was found; `None` where the model's graph does not have it, or it was not wanted.
#[derive(Debug, Default)]
pub struct HiddenRows {
    /// The output's row of `result_norm`.
    pub output: Option<Vec<f32>>,
    pub tokens: Option<TokenRows>,
}

/// The first tokens' rows.
#[derive(Debug)]
pub struct TokenRows {
    pub sum: Vec<f64>,
    pub last: Vec<f32>,
}

impl HiddenTap {
    /// The parameters of a context that asks this tap.
    pub fn on(&self, params: LlamaContextParams) -> LlamaContextParams {
        with_callback(params, asked, &self.0)
    }

    /// Wants hidden states of the decode that `decode` does.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn during<E>(&self, wish: HiddenWish, decode: impl FnOnce() -> Result<(), E>) -> Result<HiddenRows, E> {
        self.0.found.take();
        self.0.wanted.set(Some(wish));
        let decoded = decode();
        self.0.wanted.set(None);
        decoded.map(|()| self.0.found.take())
    }
}

impl HiddenWish {
    /// Whether a tensor of this name is wanted.
    fn wants(self, name: &CStr) -> bool {
        self.output.is_some() && name == RESULT_NORM || self.tokens.is_some_and(|tokens| tokens.are_in(name))
    }
}

impl FirstTokens {
    /// Whether a tensor of this name has their rows.
    fn are_in(self, name: &CStr) -> bool {
        let number = name.to_bytes().strip_prefix(LAYER_OUTPUT).and_then(|number| str::from_utf8(number).ok());
        number.and_then(|number| number.parse().ok()) == Some(self.layer)
    }
}

impl Tap {
    /// Keeps what is wanted of a computed tensor, and says whether the decode goes on.
    fn take(&self, wish: HiddenWish, name: &CStr, tensor: &ggml::ggml_tensor) -> bool {
        let mut found = self.found.borrow_mut();
        if let (Some(OutputRow { number, n_outputs }), true) = (wish.output, name == RESULT_NORM) {
            found.output = rows(tensor, number..number + 1, n_outputs);
            return true;
        }
        let Some(FirstTokens { n, n_all, .. }) = wish.tokens else { return true };
        found.tokens = rows(tensor, 0..n, n_all).map(|rows| TokenRows::of(&rows, n));
        wish.then == Then::GoOn
    }
}

/// llama.cpp asks whether a tensor is wanted, and once it is computed gives it; `false` then ends the graph there.
unsafe extern "C" fn asked(tensor: *mut ggml::ggml_tensor, is_question: bool, tap: *mut c_void) -> bool {
    // SAFETY: the address is that of a tap that lives as long as its context, and only this thread uses it during a decode.
    let tap = unsafe { &*tap.cast::<Tap>() };
    let Some(wish) = tap.wanted.get() else { return !is_question };
    // SAFETY: ggml gives a tensor of its graph, whose name ends with zero.
    let (tensor, name) = unsafe { (&*tensor, CStr::from_ptr((*tensor).name.as_ptr())) };
    match (wish.wants(name), is_question) {
        (is_wanted, true) => is_wanted,
        (true, false) => tap.take(wish, name, tensor),
        (false, false) => true,
    }
}

/// Rows of a computed tensor that has `n_all` of them, one after the other.
fn rows(tensor: &ggml::ggml_tensor, wanted: std::ops::Range<usize>, n_all: usize) -> Option<Vec<f32>> {
    let size = |n: i64| usize::try_from(n).ok();
    let width = size(tensor.ne[0])?;
    let is_plain = tensor.type_ == ggml::GGML_TYPE_F32 && tensor.nb[0] == size_of::<f32>();
    let is_packed = tensor.nb[1] == width * size_of::<f32>() && tensor.ne[2..] == [1, 1];
    if !is_plain || !is_packed || size(tensor.ne[1]) != Some(n_all) || wanted.end > n_all {
        return None;
    }
    let mut rows = vec![0.0_f32; wanted.len() * width];
    let n_bytes = size_of_val(rows.as_slice());
    // SAFETY: the tensor was just computed and has these rows; the function copies from any device.
    unsafe { ggml::ggml_backend_tensor_get(tensor, rows.as_mut_ptr().cast(), wanted.start * tensor.nb[1], n_bytes) };
    Some(rows)
}

impl TokenRows {
    /// Of `n` rows, one after the other; their sum is taken in their order.
    fn of(rows: &[f32], n: usize) -> TokenRows {
        let width = rows.len() / n.max(1);
        let mut sum = vec![0.0; width];
        for row in rows.chunks_exact(width.max(1)) {
            sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        TokenRows { sum, last: rows[rows.len() - width..].to_vec() }
    }
}
