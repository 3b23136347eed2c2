//! The choice of a token from a row of logits, under a bias and a grammar where there are such.
//!
//! A token is chosen first and then asked for: only where the grammar refuses it is the whole set of allowed tokens computed.
//! That gives every allowed token the probability it has among the allowed ones, as masking first would.

use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use super::super::constraint::Constraint;
use super::super::{EngineError, Token};
use super::{Model, failed};
use slm_values::sampling::Sampling;

/// How one generation chooses.
pub struct Sampler {
    /// Added to the logits of these tokens, which are in the vocabulary.
    bias: Vec<(Token, f32)>,
    way: Way,
}

enum Way {
    /// The most likely token, straight from the logits.
    Greedy,
    /// llama.cpp's samplers, in the order of its own tools and Ollama: penalties, top-k, typical, top-p, min-p, temperature.
    Chain { penalties: Option<LlamaSampler>, choice: LlamaSampler },
}

impl Sampler {
    /// A sampler that has seen the prompt.
    pub fn new(model: &Model, sampling: &Sampling, bias: Vec<(Token, f32)>, prompt: &[Token]) -> Self {
        let penalties = penalties(model, sampling, prompt);
        let is_greedy = sampling.temperature <= 0.0;
        if is_greedy && penalties.is_none() {
            return Sampler { bias, way: Way::Greedy };
        }
        let choice = if is_greedy {
            vec![LlamaSampler::greedy()]
        } else {
            vec![
                LlamaSampler::top_k(i32::try_from(sampling.top_k).unwrap_or(i32::MAX)),
                LlamaSampler::typical(sampling.typical_p, 1),
                LlamaSampler::top_p(sampling.top_p, 1),
                LlamaSampler::min_p(sampling.min_p, 1),
                LlamaSampler::temp(sampling.temperature),
                LlamaSampler::dist(sampling.seed.unwrap_or_else(random_seed)),
            ]
        };
        Sampler { bias, way: Way::Chain { penalties, choice: LlamaSampler::chain(choice, true) } }
    }

    /// The next token; the grammar has taken it.
    ///
    /// # Errors
    /// The logits are not numbers, or the grammar fails.
    pub fn pick(&mut self, logits: &[f32], constraint: Option<&mut Constraint>) -> Result<Token, EngineError> {
        if self.bias.is_empty() {
            return self.pick_from(logits, constraint);
        }
        let mut biased = logits.to_vec();
        for &(token, bias) in &self.bias {
            if let Some(logit) = usize::try_from(token).ok().and_then(|at| biased.get_mut(at)) {
                *logit += bias;
            }
        }
        self.pick_from(&biased, constraint)
    }

    fn pick_from(&mut self, logits: &[f32], constraint: Option<&mut Constraint>) -> Result<Token, EngineError> {
        let token = self.choose(logits, |_| true)?;
        let Some(constraint) = constraint else { return Ok(token) };
        if constraint.take(token)? {
            return Ok(token);
        }
        let mask = constraint.mask()?;
        let token = self.choose(logits, |token| mask.allows(token))?;
        if constraint.take(token)? { Ok(token) } else { Err(failed("the grammar refused a token that it allows")) }
    }

    /// Records a token as written, for the penalties.
    pub fn accept(&mut self, token: Token) {
        if let Way::Chain { penalties: Some(penalties), .. } = &mut self.way {
            penalties.accept(LlamaToken(token));
        }
    }

    fn choose(&mut self, logits: &[f32], allows: impl Fn(Token) -> bool) -> Result<Token, EngineError> {
        let tokens = (0..).zip(logits.iter().copied()).filter(|&(token, _)| allows(token));
        let chosen = match &mut self.way {
            Way::Greedy => likeliest(tokens),
            Way::Chain { penalties, choice } => {
                let data = tokens.map(|(token, logit)| LlamaTokenData::new(LlamaToken(token), logit, 0.0)).collect();
                let mut data = LlamaTokenDataArray::new(data, false);
                if let Some(penalties) = penalties {
                    data.apply_sampler(penalties);
                }
                data.apply_sampler(choice);
                data.selected_token().map(|token| (token.0, logits[usize::try_from(token.0).unwrap_or(0)]))
            }
        };
        match chosen {
            Some((token, logit)) if !logit.is_nan() => Ok(token),
            _ => Err(failed("the model's output is not a number; its file may be damaged")),
        }
    }
}

/// The first of the largest.
fn likeliest(tokens: impl Iterator<Item = (Token, f32)>) -> Option<(Token, f32)> {
    tokens.reduce(|best, next| if next.1 > best.1 || best.1.is_nan() { next } else { best })
}

fn penalties(model: &Model, sampling: &Sampling, prompt: &[Token]) -> Option<LlamaSampler> {
    let changes =
        sampling.repeat_penalty != 1.0 || sampling.frequency_penalty != 0.0 || sampling.presence_penalty != 0.0;
    let window = match sampling.repeat_last_n {
        n if n < 0 => i32::try_from(model.info.n_ctx).unwrap_or(i32::MAX),
        n => n,
    };
    if !changes || window == 0 {
        return None;
    }
    let (repeat, frequency, presence) =
        (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty);
    let mut penalties = LlamaSampler::penalties(model.llama.n_vocab(), window, repeat, frequency, presence);
    let from = prompt.len().saturating_sub(usize::try_from(window).unwrap_or(0));
    penalties.accept_many(prompt[from..].iter().map(|&token| LlamaToken(token)));
    Some(penalties)
}

/// A seed from the operating system's randomness, by the keys of a fresh hasher.
fn random_seed() -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let bits = std::hash::RandomState::new().build_hasher().finish();
    u32::try_from(bits & 0xffff_ffff).expect("masked to 32 bits")
}
