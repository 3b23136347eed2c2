//! What a benchmark measured, with units in the names: the JSON that is written and read again for comparisons.

use serde::{Deserialize, Serialize};

/// The version of this form; a file with another is refused.
pub const FORM: u32 = 1;

/// Every figure of one run; all were measured in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub form: u32,
    pub model: Model,
    pub setting: Setting,
    pub prefill: Vec<Prefill>,
    pub decode: Vec<Decode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scored: Option<Rows>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extracted: Option<Rows>,
    pub memory: Memory,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Ceiling>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub name: String,
    pub digest: String,
    pub n_parameters: u64,
    pub weights_bytes: u64,
    /// Bytes of weights that one decoded token reads.
    pub read_bytes: u64,
    /// Weights of the blocks that a token is multiplied by.
    pub n_multiplied: u64,
}

/// What the figures depend on beside the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub slm: String,
    pub llama_cpp: String,
    pub build_id: String,
    pub processor: String,
    pub devices: Vec<String>,
    pub n_gpu_layers: u32,
    pub n_threads: u32,
    pub kv_type: String,
    pub flash_attention: String,
    /// `on`, or `off` where ggml's own kernels computed everything.
    #[serde(default = "kernels_on")]
    pub kernels: String,
    pub n_batch: u32,
    pub n_ubatch: u32,
}

/// Reports that do not have it are older than the switch.
fn kernels_on() -> String {
    "on".to_owned()
}

/// Several runs of the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub mean: f64,
    /// The sample's standard deviation; 0 of one run.
    pub deviation: f64,
    pub runs: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prefill {
    pub n_tokens: u32,
    pub tokens_per_second: Spread,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decode {
    pub n_sequences: u32,
    /// Steps, each with one token of every sequence.
    pub n_steps: u32,
    /// Of all sequences together.
    pub tokens_per_second: Spread,
}

/// Texts answered through the path that `slm run` takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    pub n_rows: u32,
    pub n_parallel: u32,
    pub rows_per_second: Spread,
    /// Means over the rows.
    pub prompt_tokens: f64,
    pub reused_tokens: f64,
    /// Tokens after the prompt: of the answers that were scored, or generated ones.
    pub answer_tokens: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The most that the process had at once; absent where the system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_resident_bytes: Option<u64>,
    /// Keys and values of a full context of generated text.
    pub kv_bytes: u64,
    pub n_ctx: u32,
}

/// What the machine could do at best.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// A streaming read by as many threads as decode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second: Option<f64>,
    /// Bytes that it read over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_over_bytes: Option<u64>,
    /// The product of the model's most common matrix with as many rows as a prefill computes at once, alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_flops: Option<f64>,
    /// That matrix: `Q4_K 2048x8192`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_of: Option<String>,
}

impl Spread {
    /// # Panics
    /// Without any run.
    #[must_use]
    pub fn of(runs: Vec<f64>) -> Spread {
        assert!(!runs.is_empty(), "a figure is measured at least once");
        let n = runs.len() as f64;
        let mean = runs.iter().sum::<f64>() / n;
        let squares: f64 = runs.iter().map(|run| (run - mean).powi(2)).sum();
        let deviation = if runs.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 };
        Spread { mean, deviation, runs }
    }
}

impl Report {
    /// Tokens a second that decoding cannot exceed: the slower of reading and of multiplying.
    #[must_use]
    pub fn decode_bound(&self, decode: &Decode) -> Option<f64> {
        let ceiling = self.ceiling.as_ref()?;
        let n = f64::from(decode.n_sequences);
        // A step reads the weights once, and on average half of what every sequence will have left in the context.
        let cells = self.memory.kv_bytes as f64 / f64::from(self.memory.n_ctx.max(1));
        let step_bytes = self.model.read_bytes as f64 + n * cells * f64::from(decode.n_steps) / 2.0;
        let reading = ceiling.read_bytes_per_second? * n / step_bytes;
        Some(ceiling.product_flops.map_or(reading, |flops| reading.min(flops / self.token_flop())))
    }

    /// Tokens a second that prefill cannot exceed, were all of it products like the measured one.
    #[must_use]
    pub fn prefill_bound(&self) -> Option<f64> {
        Some(self.ceiling.as_ref()?.product_flops? / self.token_flop())
    }

    /// Operations of one token in the blocks' matrices: a multiplication and an addition for each weight. Attention and
    /// the output are not among them.
    #[must_use]
    pub fn token_flop(&self) -> f64 {
        2.0 * self.model.n_multiplied as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_samples() {
        let spread = Spread::of(vec![2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert!((spread.mean - 5.0).abs() < 1e-12 && (spread.deviation - 2.138_089_935_299_395).abs() < 1e-12);
        assert_eq!(Spread::of(vec![3.0]).deviation, 0.0);
    }
}
