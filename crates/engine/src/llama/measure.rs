//! Raw speed: decodes of random tokens in a context of their own, timed as llama-bench times them. It samples nothing and
//! generates no answer.

use std::time::Instant;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::super::caller::Caller;
use super::super::{EngineError, Measure, Measured, Pass};
use super::{Model, clear, decode, failed};

/// llama.cpp gives contexts in steps of this many cells.
const CELLS: u32 = 256;

pub struct MeasureLane<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'m>,
    n_ctx: u32,
    n_sequences: u32,
    n_batch: usize,
    random: Random,
    first: LlamaToken,
}

impl<'m> MeasureLane<'m> {
    /// Makes a context for one kind of measurement: as large as that needs, with the generation lane's settings.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(model: &'m Model, measure: &Measure) -> Result<Self, EngineError> {
        let (n_ctx, n_sequences) = size(measure);
        let compute = &model.info().compute;
        let shape = LlamaContextParams::default().with_n_seq_max(n_sequences).with_kv_unified(true);
        let (n_batch, n_ubatch) = compute.batches();
        let context = model.new_context(shape, n_ctx, compute.kv_type, (n_batch, n_ubatch))?;
        let n_vocab = u32::try_from(model.llama.n_vocab()).unwrap_or(1).max(1);
        let random = Random { state: 0x9e37_79b9_7f4a_7c15, n_vocab };
        let batch = LlamaBatch::new(n_batch as usize, 1);
        let first = model.tokenizer().bos().map_or(LlamaToken(0), LlamaToken);
        Ok(MeasureLane { context, batch, n_ctx, n_sequences, n_batch: n_batch as usize, random, first })
    }

    /// Whether this context is the one that `measure` wants.
    pub fn serves(&self, measure: &Measure) -> bool {
        (self.n_ctx, self.n_sequences) == size(measure)
    }

    /// One pass over an empty context; the time is that of the decodes alone.
    ///
    /// # Errors
    /// A decode failed, or the request was cancelled.
    pub fn run(&mut self, measure: &Measure, caller: &Caller) -> Result<Measured, EngineError> {
        clear(&mut self.context, self.n_sequences);
        self.context.synchronize();
        let started = Instant::now();
        let n_tokens = match *measure {
            Measure::Prefill { n_tokens } => self.prefill(n_tokens, caller)?,
            Measure::Product { .. } => 0,
            Measure::Decode { n_tokens, pass, .. } => {
                // One step makes everything ready that a longer pass uses.
                let n_steps = if pass == Pass::WarmUp { 1 } else { n_tokens };
                for step in 0..n_steps {
                    caller.check()?;
                    self.step(step)?;
                }
                n_steps * self.n_sequences
            }
        };
        self.context.synchronize();
        Ok(Measured { n_tokens, elapsed: started.elapsed() })
    }

    fn prefill(&mut self, n_tokens: u32, caller: &Caller) -> Result<u32, EngineError> {
        let mut done = 0;
        while done < n_tokens {
            caller.check()?;
            let n = (n_tokens - done).min(u32::try_from(self.n_batch).unwrap_or(u32::MAX));
            self.batch.clear();
            for at in done..done + n {
                let token = if at == 0 { self.first } else { self.random.token() };
                self.add(token, at, 0, at + 1 == done + n)?;
            }
            decode(&mut self.context, &mut self.batch)?;
            done += n;
        }
        Ok(n_tokens)
    }

    /// Every sequence's next token, all read.
    fn step(&mut self, position: u32) -> Result<(), EngineError> {
        self.batch.clear();
        for sequence in 0..self.n_sequences {
            let token = if position == 0 { self.first } else { self.random.token() };
            self.add(token, position, sequence, true)?;
        }
        decode(&mut self.context, &mut self.batch)?;
        self.context.synchronize();
        Ok(())
    }

    fn add(&mut self, token: LlamaToken, position: u32, sequence: u32, is_read: bool) -> Result<(), EngineError> {
        let place = i32::try_from(position).ok().zip(i32::try_from(sequence).ok());
        let (position, sequence) = place.ok_or_else(|| failed("a position beyond the context"))?;
        self.batch.add(token, position, &[sequence], is_read).map_err(|error| failed(&error.to_string()))
    }
}

/// The cells and sequences that a measurement needs.
fn size(measure: &Measure) -> (u32, u32) {
    let (n_tokens, n_sequences) = match *measure {
        Measure::Prefill { n_tokens } => (n_tokens, 1),
        Measure::Product { .. } => (0, 1),
        Measure::Decode { n_tokens, n_sequences, .. } => {
            (n_tokens.saturating_mul(n_sequences.max(1)), n_sequences.max(1))
        }
    };
    (n_tokens.max(1).next_multiple_of(CELLS), n_sequences)
}

/// Tokens that no draft or cache could foresee (xorshift).
struct Random {
    state: u64,
    n_vocab: u32,
}

impl Random {
    fn token(&mut self) -> LlamaToken {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let token = (self.state >> 32) % u64::from(self.n_vocab);
        LlamaToken(i32::try_from(token).expect("below the size of a vocabulary"))
    }
}
