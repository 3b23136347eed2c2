//! Sampling parameters under Ollama's option names: what was given, what was not, and the defaults. It knows no tokens.

mod parameter;
mod parameters;

use serde::{Deserialize, Serialize};

pub use parameter::{ParameterError, names};
pub use parameters::Parameters;

/// Sampling parameters with nothing left open; see [`Parameters`] for the meaning of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    pub temperature: f32,
    pub top_k: u32,
    pub top_p: f32,
    pub min_p: f32,
    pub typical_p: f32,
    pub repeat_last_n: i32,
    pub repeat_penalty: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    /// `None`: take a random one.
    pub seed: Option<u32>,
    /// `None`: until the answer or the context ends.
    pub num_predict: Option<u32>,
    /// `None`: the engine's own default for the model.
    pub num_ctx: Option<u32>,
    pub num_keep: u32,
    pub stop: Vec<String>,
    pub num_batch: Option<u32>,
    pub num_gpu: Option<i32>,
    pub main_gpu: Option<u32>,
    pub use_mmap: Option<bool>,
    pub num_thread: Option<u32>,
}

/// Whether the answer has a format; it decides the temperature that holds when nobody said one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerShape {
    /// A schema or a choice: temperature 0.
    Formatted,
    /// Open text: Ollama's 0.8.
    Open,
}

impl Parameters {
    /// Fills what was not said: temperature 0 for a formatted answer, else Ollama's defaults.
    #[must_use]
    pub fn resolve(self, shape: AnswerShape) -> Sampling {
        let temperature = self.temperature.unwrap_or(match shape {
            AnswerShape::Formatted => 0.0,
            AnswerShape::Open => 0.8,
        });
        Sampling {
            temperature,
            top_k: self.top_k.unwrap_or(40),
            top_p: self.top_p.unwrap_or(0.9),
            min_p: self.min_p.unwrap_or(0.0),
            typical_p: self.typical_p.unwrap_or(1.0),
            repeat_last_n: self.repeat_last_n.unwrap_or(64),
            repeat_penalty: self.repeat_penalty.unwrap_or(1.0),
            presence_penalty: self.presence_penalty.unwrap_or(0.0),
            frequency_penalty: self.frequency_penalty.unwrap_or(0.0),
            seed: self.seed.and_then(|seed| u32::try_from(seed).ok()),
            num_predict: self.num_predict.and_then(|n| u32::try_from(n).ok()),
            num_ctx: self.num_ctx,
            num_keep: self.num_keep.unwrap_or(4),
            stop: self.stop.unwrap_or_default(),
            num_batch: self.num_batch,
            num_gpu: self.num_gpu.filter(|&n| n >= 0),
            main_gpu: self.main_gpu,
            use_mmap: self.use_mmap,
            num_thread: self.num_thread.filter(|&n| n > 0),
        }
    }
}

#[cfg(test)]
mod tests;
