//! The embedding lane: texts to vectors, in contexts of their own that keep nothing from one text to the next.
//!
//! llama.cpp pools what it computes in one piece. A model that looks ahead (BERT), or whose vector is made of all of a text's
//! rows, must therefore get a text whole, and llama.cpp ends the process where a batch is too small for that: the context
//! is made as large as its longest text. A causal model that is pooled at its last token reads a long text in chunks.
//!
//! Texts of up to [`SHORT`] tokens run without flash attention and with keys and values in single precision: at that length
//! it costs nothing, and flash attention computes in half precision. Which of the two contexts a text gets depends on its
//! own length alone.

use std::time::{Duration, Instant};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaPoolingType};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::super::caller::Caller;
use super::super::compute::{FlashAttention, KvType};
use super::super::{AdapterSet, Counts, EmbedRequest, EmbeddingKind, Embeddings, EngineError, Timings, Token};
use super::adapters::{Adapters, Applied};
use super::{Model, PrefixReuse, clear, decode, failed};
use slm_values::gguf::Pooling;

/// Tokens of one decode of short texts, and of one chunk of a long one.
const SHORT: usize = 512;
/// Texts of one decode.
const N_TEXTS: usize = 64;

/// Texts as tokens, known to fit.
pub struct TokenizedTexts {
    texts: Vec<Vec<Token>>,
    pub adapters: AdapterSet,
}

/// How a model makes a vector of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TextPooling {
    kind: Pooling,
    /// Whether a text must be computed in one piece.
    is_whole: bool,
}

pub struct EmbeddingLane<'m> {
    model: &'m Model,
    pooling: TextPooling,
    short: Option<TextContext<'m>>,
    long: Option<TextContext<'m>>,
}

/// A context with what it can take at once.
struct TextContext<'m> {
    context: LlamaContext<'m>,
    applied: Applied<'m>,
    batch: LlamaBatch<'m>,
    n_ctx: usize,
    n_batch: usize,
    n_sequences: u32,
}

impl Model {
    /// Texts to tokens, with the special tokens that the model wants around a text.
    ///
    /// # Errors
    /// A text has no tokens, or more than the model takes.
    pub fn embedding(&self, request: EmbedRequest) -> Result<TokenizedTexts, EngineError> {
        let limit = self.info.n_ctx as usize;
        let mut texts = Vec::new();
        for text in &request.texts {
            let tokens = self.tokenizer().whole_text(text);
            if tokens.is_empty() {
                return Err(EngineError::EmptyText);
            }
            if tokens.len() > limit {
                let n_ctx_train = self.info.n_ctx_train as usize;
                return Err(EngineError::TextTooLong { n_tokens: tokens.len(), limit, n_ctx_train });
            }
            texts.push(tokens);
        }
        Ok(TokenizedTexts { texts, adapters: request.adapters })
    }

    fn pooling(&self) -> TextPooling {
        let said = |key: &str| self.llama.meta_val_str(&format!("{}.{key}", self.architecture)).ok();
        let is_causal =
            said("attention.causal").is_none_or(|value| value != "false") && !Pooling::is_encoder(&self.architecture);
        let kind = said("pooling_type").and_then(|value| value.parse().ok()).and_then(Pooling::of);
        let kind = match kind {
            // As Ollama does for models that say nothing: the last token has read all others. In a model that looks ahead
            // no token is special, and such models are trained with the mean unless their file says otherwise.
            None | Some(Pooling::None) if is_causal => Pooling::Last,
            None | Some(Pooling::None) => Pooling::Mean,
            Some(kind) => kind,
        };
        // A causal reranker reads its score off the last token.
        let is_whole = !is_causal || matches!(kind, Pooling::Mean | Pooling::Cls);
        TextPooling { kind, is_whole }
    }
}

impl<'m> EmbeddingLane<'m> {
    pub fn new(model: &'m Model) -> Self {
        EmbeddingLane { model, pooling: model.pooling(), short: None, long: None }
    }

    /// A vector of length 1 for every text, or its scores.
    ///
    /// # Errors
    /// A context cannot be made, a decode fails, or the request was cancelled.
    pub fn embed(
        &mut self,
        prepared: &TokenizedTexts,
        adapters: &mut Adapters<'m>,
        caller: &Caller,
    ) -> Result<Embeddings, EngineError> {
        let (queued, started) = (caller.waited(), Instant::now());
        let mut rows = Vec::new();
        let mut rest = prepared.texts.as_slice();
        while !rest.is_empty() {
            let n = together(rest, if self.model.prefix_reuse == PrefixReuse::Never { 1 } else { N_TEXTS });
            let (texts, behind) = rest.split_at(n);
            let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
            let pass = self.context_for(longest)?;
            adapters.apply(&mut pass.context, &mut pass.applied, &prepared.adapters)?;
            rows.extend(pass.run(texts, caller)?);
            rest = behind;
        }
        let kind = match self.pooling.kind {
            Pooling::Rank => EmbeddingKind::Scores,
            _ => EmbeddingKind::UnitVectors,
        };
        for row in &mut rows {
            check(row)?;
            if kind == EmbeddingKind::UnitVectors {
                to_unit_length(row);
            }
        }
        let counts = Counts { prompt: prepared.texts.iter().map(Vec::len).sum(), ..Counts::default() };
        let timings = Timings { queued, prompt: started.elapsed(), generation: Duration::ZERO };
        Ok(Embeddings { kind, rows, counts, timings })
    }

    /// A context that holds texts of up to `longest` tokens.
    fn context_for(&mut self, longest: usize) -> Result<&mut TextContext<'m>, EngineError> {
        let slot = if longest <= SHORT { &mut self.short } else { &mut self.long };
        if slot.as_ref().is_none_or(|pass| pass.n_ctx < longest) {
            // The smaller one goes first: both at once may not fit.
            *slot = None;
            *slot = Some(TextContext::new(self.model, self.pooling, longest)?);
        }
        Ok(slot.as_mut().expect("made above"))
    }
}

impl<'m> TextContext<'m> {
    fn new(model: &'m Model, pooling: TextPooling, longest: usize) -> Result<Self, EngineError> {
        let is_short = longest <= SHORT;
        // Grown in steps of two, so that texts that get longer and longer do not make a context each.
        let n_ctx = if is_short { SHORT } else { longest.next_power_of_two() };
        let n_batch = if pooling.is_whole { n_ctx } else { SHORT };
        let n_texts = if is_short && model.prefix_reuse != PrefixReuse::Never { N_TEXTS } else { 1 };
        let n_sequences = u32::try_from(n_texts).expect("a small constant");
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let shape = LlamaContextParams::default()
            .with_embeddings(true)
            .with_pooling_type(pooling_type(pooling.kind))
            .with_kv_unified(true)
            .with_swa_full(true)
            .with_n_seq_max(n_sequences);
        let (kv_type, flash_attention) =
            if is_short { (KvType::F32, FlashAttention::Off) } else { (KvType::F16, FlashAttention::Auto) };
        let sizes = (size(n_batch), size(n_batch));
        let context = model.new_context_with(shape, size(n_ctx), kv_type, sizes, flash_attention)?;
        let batch = LlamaBatch::new(n_batch, 1);
        Ok(TextContext { context, applied: Applied::default(), batch, n_ctx, n_batch, n_sequences })
    }

    /// Vectors as the model gives them: of several texts in one decode, or of one in as many as it takes.
    fn run(&mut self, texts: &[Vec<Token>], caller: &Caller) -> Result<Vec<Vec<f32>>, EngineError> {
        clear(&mut self.context, self.n_sequences);
        if let [text] = texts {
            for (number, chunk) in text.chunks(self.n_batch).enumerate() {
                caller.check()?;
                self.batch.clear();
                self.add(chunk, number * self.n_batch, 0)?;
                decode(&mut self.context, &mut self.batch)?;
            }
        } else {
            caller.check()?;
            self.batch.clear();
            for (sequence, text) in (0..).zip(texts) {
                self.add(text, 0, sequence)?;
            }
            decode(&mut self.context, &mut self.batch)?;
        }
        let vector = |sequence: i32| {
            let vector = self.context.embeddings_seq_ith(sequence).map(<[f32]>::to_vec);
            vector.map_err(|error| failed(&format!("the model makes no embeddings: {error}")))
        };
        (0..).zip(texts).map(|(sequence, _)| vector(sequence)).collect()
    }

    fn add(&mut self, tokens: &[Token], from: usize, sequence: i32) -> Result<(), EngineError> {
        for (position, &token) in (from..).zip(tokens) {
            let position = i32::try_from(position).map_err(|_| failed("a position beyond the context"))?;
            let added = self.batch.add(LlamaToken(token), position, &[sequence], true);
            added.map_err(|error| failed(&error.to_string()))?;
        }
        Ok(())
    }
}

/// How many of the first texts go together: as many as fit into one decode, or one that is longer.
fn together(texts: &[Vec<Token>], most: usize) -> usize {
    let mut n_tokens = 0;
    let fitting = texts.iter().take(most).take_while(|text| {
        n_tokens += text.len();
        n_tokens <= SHORT
    });
    fitting.count().max(1)
}

fn pooling_type(pooling: Pooling) -> LlamaPoolingType {
    match pooling {
        Pooling::None => LlamaPoolingType::None,
        Pooling::Mean => LlamaPoolingType::Mean,
        Pooling::Cls => LlamaPoolingType::Cls,
        Pooling::Last => LlamaPoolingType::Last,
        Pooling::Rank => LlamaPoolingType::Rank,
    }
}

fn check(row: &[f32]) -> Result<(), EngineError> {
    if row.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(failed("the model's output is not a number; its file may be damaged"))
}

/// Divides a vector by its length; one of length zero has no direction and stays.
fn to_unit_length(row: &mut [f32]) {
    let length = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    if length > 0.0 {
        row.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_together_while_they_fit() {
        let texts = |lengths: &[usize]| lengths.iter().map(|&n| vec![1; n]).collect::<Vec<_>>();
        assert_eq!(together(&texts(&[200, 200, 112, 1]), 64), 3);
        assert_eq!(together(&texts(&[600, 1]), 64), 1);
        assert_eq!(together(&texts(&[1, 600]), 64), 1);
        assert_eq!(together(&texts(&[1; 100]), 64), 64);
        assert_eq!(together(&texts(&[1, 1]), 1), 1);
    }

    #[test]
    fn vectors_have_length_1() {
        let mut row = [3.0, 4.0];
        to_unit_length(&mut row);
        assert_eq!(row, [0.6, 0.8]);
        let mut zero = [0.0; 2];
        to_unit_length(&mut zero);
        assert_eq!(zero, [0.0; 2]);
    }
}
