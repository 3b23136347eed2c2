//! The generation lane: text after a prompt, one sequence at a time, streamed as whole characters.

use std::time::Instant;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use super::super::constraint::Constraint;
use super::super::run::Caller;
use super::super::text::{Pushed, TextStream};
use super::super::{Counts, EngineError, Finish, GenerateRequest, Generation, Timings, Token};
use super::{Model, clear, decode, failed};
use crate::sampling::Sampling;

pub struct GenerationLane<'m> {
    model: &'m Model,
    context: LlamaContext<'m>,
    batch: LlamaBatch<'m>,
}

impl<'m> GenerationLane<'m> {
    /// Makes the lane's context, of one sequence.
    pub fn new(model: &'m Model) -> Result<Self, EngineError> {
        let context = model.context(LlamaContextParams::default().with_n_seq_max(1))?;
        let batch = LlamaBatch::new(model.info().compute.batches().0 as usize, 1);
        Ok(GenerationLane { model, context, batch })
    }

    /// Streams text to its caller until the model ends its turn, a stop string comes, or a limit is reached.
    pub fn generate(&mut self, request: &GenerateRequest, caller: &Caller) -> Result<Generation, EngineError> {
        let tokens = self.model.tokenizer().encode(&request.prompt)?.tokens;
        let n_ctx = self.model.info().n_ctx as usize;
        // At least one token must fit behind the prompt.
        if tokens.len() >= n_ctx {
            return Err(EngineError::Context { needed: tokens.len() + 1, n_ctx });
        }
        // Before the prompt costs anything: a grammar that cannot be kept is refused.
        let compiled = request.grammar.as_ref().map(|grammar| self.model.compiler()?.compile(grammar)).transpose()?;
        let mut chooser = Chooser { sampler: sampler(self.model, &request.sampling, &tokens), constraint: compiled };
        let started = Instant::now();
        self.prefill(&tokens, caller)?;
        let prompt = started.elapsed();

        let started = Instant::now();
        let room = n_ctx - tokens.len();
        let limit = request.sampling.num_predict.map_or(room, |n| room.min(n as usize));
        let mut text = TextStream::new(request.sampling.stop.clone());
        let mut generated = 0;
        let finish = 'answer: loop {
            if chooser.is_finished() {
                break Finish::Stop;
            }
            if generated == limit {
                break Finish::Length;
            }
            let token = chooser.choose(&self.context)?;
            if self.model.tokenizer().is_end(token) {
                break Finish::Stop;
            }
            let mut next = vec![token];
            next.extend(chooser.forced()?);
            next.truncate(limit - generated);
            for &token in &next {
                generated += 1;
                match text.push(&self.model.tokenizer().piece(token)) {
                    Pushed::Text(text) => caller.text(text)?,
                    Pushed::Stopped(text) => {
                        caller.text(text)?;
                        break 'answer Finish::Stop;
                    }
                }
            }
            if generated < limit && !chooser.is_finished() {
                self.decode_next(&next, tokens.len() + generated - next.len())?;
            }
        };
        caller.text(text.finish())?;
        let counts = Counts { prompt: tokens.len(), generated, ..Counts::default() };
        let timings = Timings { queued: caller.queued, prompt, generation: started.elapsed() };
        Ok(Generation { finish, counts, timings })
    }

    fn prefill(&mut self, tokens: &[Token], caller: &Caller) -> Result<(), EngineError> {
        clear(&mut self.context, 1);
        let last = tokens.len().checked_sub(1).ok_or_else(|| failed("the prompt is empty"))?;
        let n_batch = self.model.info().compute.batches().0 as usize;
        for (number, chunk) in tokens.chunks(n_batch).enumerate() {
            caller.check()?;
            self.batch.clear();
            for (position, &token) in (number * n_batch..).zip(chunk) {
                self.add(token, position, position == last)?;
            }
            self.decode()?;
        }
        Ok(())
    }

    /// Evaluates generated tokens, of which the first stands at `position`; the last one's logits are read.
    fn decode_next(&mut self, tokens: &[Token], position: usize) -> Result<(), EngineError> {
        let n_batch = self.model.info().compute.batches().0 as usize;
        for (number, chunk) in tokens.chunks(n_batch).enumerate() {
            self.batch.clear();
            let from = position + number * n_batch;
            for (at, &token) in (from..).zip(chunk) {
                self.add(token, at, at + 1 == position + tokens.len())?;
            }
            self.decode()?;
        }
        Ok(())
    }

    fn add(&mut self, token: Token, position: usize, is_read: bool) -> Result<(), EngineError> {
        let position = i32::try_from(position).map_err(|_| failed("a position beyond the context"))?;
        self.batch.add(LlamaToken(token), position, &[0], is_read).map_err(|error| failed(&error.to_string()))
    }

    fn decode(&mut self) -> Result<(), EngineError> {
        decode(&mut self.context, &mut self.batch)
    }
}

/// Chooses the next token: what the sampler likes, where the grammar allows it.
struct Chooser {
    sampler: LlamaSampler,
    constraint: Option<Constraint>,
}

impl Chooser {
    /// The next token. The mask costs more than a check and is rarely needed: the sampler's first choice is tried, and
    /// only where it is not allowed is there a second choice among the tokens that are.
    fn choose(&mut self, context: &LlamaContext<'_>) -> Result<Token, EngineError> {
        let Some(constraint) = &mut self.constraint else { return Ok(self.sampler.sample(context, -1).0) };
        let mut candidates = context.token_data_array_ith(-1);
        let first = pick(&mut self.sampler, &mut candidates)?;
        if constraint.take(first)? {
            self.sampler.accept(LlamaToken(first));
            return Ok(first);
        }
        let mask = constraint.mask()?;
        let allowed = context.candidates_ith(-1).filter(|candidate| mask.allows(candidate.id().0));
        let second = pick(&mut self.sampler, &mut LlamaTokenDataArray::from_iter(allowed, false))?;
        if !constraint.take(second)? {
            return Err(failed("the grammar refused a token that it had allowed"));
        }
        self.sampler.accept(LlamaToken(second));
        Ok(second)
    }

    /// The tokens that must follow the chosen one, taken.
    fn forced(&mut self) -> Result<Vec<Token>, EngineError> {
        let Some(constraint) = &mut self.constraint else { return Ok(Vec::new()) };
        let forced = constraint.forced()?;
        for &token in &forced {
            if !constraint.take(token)? {
                return Err(failed("the grammar refused a token that it had forced"));
            }
            self.sampler.accept(LlamaToken(token));
        }
        Ok(forced)
    }

    fn is_finished(&self) -> bool {
        self.constraint.as_ref().is_some_and(Constraint::is_finished)
    }
}

fn pick(sampler: &mut LlamaSampler, candidates: &mut LlamaTokenDataArray) -> Result<Token, EngineError> {
    sampler.apply(candidates);
    candidates.selected_token().map(|token| token.0).ok_or_else(|| failed("no token could be chosen"))
}

/// llama.cpp's samplers in the order of its own tools and Ollama: penalties, top-k, typical, top-p, min-p, temperature.
fn sampler(model: &Model, sampling: &Sampling, prompt: &[Token]) -> LlamaSampler {
    let n_vocab = model.llama.n_vocab();
    let window = if sampling.repeat_last_n < 0 {
        i32::try_from(model.info.n_ctx).unwrap_or(i32::MAX)
    } else {
        sampling.repeat_last_n
    };
    let mut chain = vec![LlamaSampler::penalties(
        n_vocab,
        window,
        sampling.repeat_penalty,
        sampling.frequency_penalty,
        sampling.presence_penalty,
    )];
    if sampling.temperature <= 0.0 {
        chain.push(LlamaSampler::greedy());
    } else {
        chain.push(LlamaSampler::top_k(i32::try_from(sampling.top_k).unwrap_or(i32::MAX)));
        chain.push(LlamaSampler::typical(sampling.typical_p, 1));
        chain.push(LlamaSampler::top_p(sampling.top_p, 1));
        chain.push(LlamaSampler::min_p(sampling.min_p, 1));
        chain.push(LlamaSampler::temp(sampling.temperature));
        chain.push(LlamaSampler::dist(sampling.seed.unwrap_or_else(random_seed)));
    }
    let mut sampler = LlamaSampler::chain(chain, true);
    let from = prompt.len().saturating_sub(usize::try_from(window).unwrap_or(0));
    sampler.accept_many(prompt[from..].iter().map(|&token| LlamaToken(token)));
    sampler
}

/// A seed from the operating system's randomness, by the keys of a fresh hasher.
fn random_seed() -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let bits = std::hash::RandomState::new().build_hasher().finish();
    u32::try_from(bits & 0xffff_ffff).expect("masked to 32 bits")
}
