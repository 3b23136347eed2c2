//! Watches what weights are multiplied with while a model reads texts, as llama.cpp's `tools/imatrix` does: of each column of the
//! inputs of every matrix product the sum of squares, and of each expert its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};
use std::ops::ControlFlow;
use std::rc::Rc;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_sys_2 as ggml;

use super::callback::with_callback;
use super::model::Model;
use super::{N_BATCH, clear, decode, failed};
use crate::compute::KvType;
use crate::imatrix::ImatrixTexts;
use crate::{EngineError, Options, Token};
use slm_values::imatrix::{Imatrix, Importance};

/// Tokens of a chunk by which a matrix of prompts says how much was read; llama.cpp's default.
const CHUNK: u32 = 512;

/// Lets a model read texts, and sums the squares of what its weights are multiplied with. `progress` hears how many of how many
/// texts or chunks are read, and can end it.
///
/// # Errors
/// The model cannot be loaded, a text is too long for it, or it was ended.
pub fn imatrix(
    options: &Options,
    texts: &ImatrixTexts,
    mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Imatrix, EngineError> {
    let model = Model::load(options)?;
    let (texts, chunk_size) = match texts {
        ImatrixTexts::Prompts(prompts) => {
            let tokens = prompts.iter().map(|prompt| Ok(model.tokenizer().encode(prompt)?.tokens));
            (tokens.collect::<Result<Vec<_>, EngineError>>()?, CHUNK)
        }
        ImatrixTexts::Chunks { text, n_tokens } => (chunks(&model, text, (*n_tokens).max(1) as usize), *n_tokens),
    };
    let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
    let n_ctx = u32::try_from(longest).unwrap_or(u32::MAX).max(N_BATCH);
    let most = model.info().n_ctx_train.max(N_BATCH);
    if n_ctx > most {
        return Err(EngineError::Context { needed: longest, n_ctx: most as usize });
    }
    let watch = Watch(Rc::new(RefCell::default()));
    let shape = watch.on(LlamaContextParams::default().with_n_seq_max(1));
    let mut context = model.new_context(shape, n_ctx, KvType::F16, (N_BATCH, N_BATCH))?;
    let mut batch = LlamaBatch::new(N_BATCH as usize, 1);
    for (nth, text) in texts.iter().enumerate() {
        if progress(nth, texts.len()).is_break() {
            return Err(EngineError::Cancelled);
        }
        read(&mut context, &mut batch, text)?;
    }
    drop(context);
    let n_tokens: usize = texts.iter().map(Vec::len).sum();
    let n_chunks = u32::try_from(n_tokens.div_ceil(chunk_size.max(1) as usize)).unwrap_or(u32::MAX);
    let seen = watch.0.take();
    if let Some(reason) = seen.fault {
        return Err(failed(&reason));
    }
    let entries = seen.sums.into_iter().map(|(name, sums)| (name, sums.into())).collect();
    Ok(Imatrix { entries, datasets: Vec::new(), n_chunks, chunk_size })
}

/// A text's tokens in whole chunks, each with the model's first token in the place of its own, where the model has one.
fn chunks(model: &Model, text: &str, n_tokens: usize) -> Vec<Vec<Token>> {
    let tokens = model.tokenizer().whole_text(text);
    let first = model.tokenizer().first();
    let chunk = |chunk: &[Token]| {
        let mut chunk = chunk.to_vec();
        if let Some(first) = first {
            chunk[0] = first;
        }
        chunk
    };
    tokens.chunks_exact(n_tokens).map(chunk).collect()
}

/// Evaluates a text from an empty context. Every token is an output, so that the last layer computes all of them.
fn read(context: &mut LlamaContext<'_>, batch: &mut LlamaBatch<'_>, text: &[Token]) -> Result<(), EngineError> {
    clear(context, 1);
    for (nth, piece) in text.chunks(N_BATCH as usize).enumerate() {
        batch.clear();
        for (at, &token) in piece.iter().enumerate() {
            let position = i32::try_from(nth * N_BATCH as usize + at).expect("a context is smaller");
            let added = batch.add(LlamaToken(token), position, &[0], true);
            added.map_err(|error| failed(&error.to_string()))?;
        }
        decode(context, batch)?;
    }
    Ok(())
}

/// Where a context leaves what was seen. It must live as long as the context.
struct Watch(Rc<RefCell<Seen>>);

/// What was seen; the callback adds to it in the thread that decodes.
#[derive(Default)]
struct Seen {
    sums: BTreeMap<String, Sums>,
    rows: Vec<u8>,
    ids: Vec<u8>,
    /// The first thing that was not as it should be.
    fault: Option<String>,
}

/// Sums of one weight.
struct Sums {
    width: usize,
    squares: Vec<f64>,
    counts: Vec<u64>,
}

impl From<Sums> for Importance {
    fn from(sums: Sums) -> Importance {
        let squares = sums.squares.iter().map(|&sum| sum as f32).collect();
        Importance { sums: squares, counts: sums.counts.iter().map(|&n| n as f32).collect() }
    }
}

impl Watch {
    /// The parameters of a context that this watches.
    fn on(&self, params: LlamaContextParams) -> LlamaContextParams {
        with_callback(params, asked, &self.0)
    }
}

/// llama.cpp asks whether a tensor is wanted, and gives it once it is computed; its inputs are then still there.
unsafe extern "C" fn asked(tensor: *mut ggml::ggml_tensor, is_question: bool, seen: *mut c_void) -> bool {
    // SAFETY: ggml gives a tensor of its graph, whose inputs are tensors of it; a matrix product has two or three of them.
    let (op, weight, rows) = unsafe { ((*tensor).op, (*tensor).src[0], (*tensor).src[1]) };
    let is_product = op == ggml::GGML_OP_MUL_MAT || op == ggml::GGML_OP_MUL_MAT_ID;
    if !is_product {
        return !is_question;
    }
    // SAFETY: as above; names end with zero.
    let (name, rows) = unsafe { (CStr::from_ptr((*weight).name.as_ptr()).to_string_lossy(), &*rows) };
    let name = name_of_weight(&name);
    let is_wanted = rows.type_ == ggml::GGML_TYPE_F32 && (op == ggml::GGML_OP_MUL_MAT_ID || name.starts_with("blk."));
    if is_question || !is_wanted {
        return is_wanted || !is_question;
    }
    // SAFETY: the address is that of a watch that lives as long as its context, and only this thread uses it during a decode.
    let seen = unsafe { &*seen.cast::<RefCell<Seen>>() };
    // SAFETY: the tensors of the graph live during the call.
    let (weight, ids) = unsafe { (&*weight, (*tensor).src[2].as_ref()) };
    let ids = ids.filter(|_| op == ggml::GGML_OP_MUL_MAT_ID);
    seen.borrow_mut().add(name, weight, rows, ids);
    true
}

/// A weight that was copied to a device is called `CUDA0#blk.0.attn_q.weight#0`.
fn name_of_weight(name: &str) -> &str {
    name.split_once('#').map_or(name, |(_, rest)| rest.split_once('#').map_or(rest, |(name, _)| name))
}

impl Seen {
    /// Adds the rows that a weight is multiplied with: all of them, or each to the experts that `ids` choose for it.
    fn add(
        &mut self,
        name: &str,
        weight: &ggml::ggml_tensor,
        rows: &ggml::ggml_tensor,
        ids: Option<&ggml::ggml_tensor>,
    ) {
        let size = |n: i64| usize::try_from(n).unwrap_or(0);
        let width = size(rows.ne[0]);
        let n_matrices = (size(weight.ne[2]) * size(weight.ne[3])).max(1);
        copy(rows, &mut self.rows);
        let n_counts = if ids.is_some() { n_matrices } else { 1 };
        let sums = self.sums.entry(name.to_owned()).or_insert_with(|| Sums {
            width,
            squares: vec![0.0; width * n_matrices],
            counts: vec![0; n_counts],
        });
        if sums.width != width || sums.squares.len() != width * n_matrices || rows.nb[0] != size_of::<f32>() {
            self.fault.get_or_insert_with(|| format!("the inputs of `{name}` have more than one shape"));
            return;
        }
        match ids {
            Some(ids) => {
                copy(ids, &mut self.ids);
                sums.add_chosen(rows, &self.rows, ids, &self.ids);
            }
            None => sums.add_all(rows, &self.rows, weight),
        }
        if sums.squares.iter().any(|sum| !sum.is_finite()) {
            self.fault.get_or_insert_with(|| format!("an input of `{name}` is not a finite number"));
        }
    }
}

impl Sums {
    /// Rows of a plain product; where both sides have several matrices, each goes to its own.
    fn add_all(&mut self, rows: &ggml::ggml_tensor, bytes: &[u8], weight: &ggml::ggml_tensor) {
        let [_, n_rows, n_second, n_third] = shape(rows);
        let [_, _, weight_second, weight_third] = shape(weight);
        for third in 0..n_third {
            for second in 0..n_second {
                let matrix = (third % weight_third) * weight_second + second % weight_second;
                for row in 0..n_rows {
                    let at = row * rows.nb[1] + second * rows.nb[2] + third * rows.nb[3];
                    self.add_row(matrix, &bytes[at..]);
                }
            }
        }
        let n_matrices = (weight_second * weight_third).max(1);
        self.counts[0] += (n_rows * n_second * n_third / n_matrices) as u64;
    }

    /// Rows of a product of experts: `ids` has the experts of each token, and a token has a row for each of them or one for all.
    fn add_chosen(&mut self, rows: &ggml::ggml_tensor, bytes: &[u8], ids: &ggml::ggml_tensor, id_bytes: &[u8]) {
        let [_, n_rows, n_tokens, _] = shape(rows);
        let [n_chosen, ..] = shape(ids);
        for chosen in 0..n_chosen {
            for token in 0..n_tokens {
                let at = token * ids.nb[1] + chosen * ids.nb[0];
                let id = i32::from_le_bytes(id_bytes[at..at + 4].try_into().expect("four bytes"));
                let Some(expert) = usize::try_from(id).ok().filter(|&expert| expert < self.counts.len()) else {
                    continue;
                };
                let at = (chosen % n_rows.max(1)) * rows.nb[1] + token * rows.nb[2];
                self.add_row(expert, &bytes[at..]);
                self.counts[expert] += 1;
            }
        }
    }

    fn add_row(&mut self, matrix: usize, bytes: &[u8]) {
        let squares = &mut self.squares[matrix * self.width..(matrix + 1) * self.width];
        for (square, x) in squares.iter_mut().zip(bytes.chunks_exact(size_of::<f32>())) {
            let x = f64::from(f32::from_le_bytes([x[0], x[1], x[2], x[3]]));
            *square += x * x;
        }
    }
}

fn shape(tensor: &ggml::ggml_tensor) -> [usize; 4] {
    tensor.ne.map(|n| usize::try_from(n).unwrap_or(0))
}

/// The bytes of a computed tensor, from whatever device it is on.
fn copy(tensor: &ggml::ggml_tensor, into: &mut Vec<u8>) {
    // SAFETY: the tensor is one of a graph that was just computed; its own size says how many bytes it has.
    unsafe {
        let n_bytes = ggml::ggml_nbytes(tensor);
        into.resize(n_bytes, 0);
        ggml::ggml_backend_tensor_get(tensor, into.as_mut_ptr().cast(), 0, n_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weights_name_is_its_own_on_every_device() {
        assert_eq!(name_of_weight("blk.0.attn_q.weight"), "blk.0.attn_q.weight");
        assert_eq!(name_of_weight("CUDA0#blk.0.attn_q.weight#0"), "blk.0.attn_q.weight");
    }
}
