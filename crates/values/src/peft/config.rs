//! PEFT's `adapter_config.json`: each module's rank and scale, and a refusal of what changes more than LoRA does.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::PeftError;

/// The most that a rank or an alpha may be; real ones are below a thousand.
const MOST: f64 = 1e6;

#[derive(Debug, Deserialize)]
struct RawConfig {
    peft_type: Option<String>,
    r: Option<u64>,
    lora_alpha: Option<f64>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    rank_pattern: Option<Map<String, Value>>,
    #[serde(default)]
    alpha_pattern: Option<Map<String, Value>>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// What a configuration says about modules.
#[derive(Debug)]
pub struct LoraConfig {
    rank: u64,
    alpha: f64,
    is_rank_stabilized: bool,
    ranks: Vec<(String, f64)>,
    alphas: Vec<(String, f64)>,
}

impl LoraConfig {
    /// A configuration's JSON.
    ///
    /// # Errors
    /// [`PeftError`] where it is not LoRA's, or asks for more than LoRA.
    pub fn parse(json: &[u8]) -> Result<LoraConfig, PeftError> {
        let raw: RawConfig = serde_json::from_slice(json).map_err(|error| PeftError::Config(error.to_string()))?;
        let kind = raw.peft_type.as_deref().unwrap_or("nothing");
        if kind != "LORA" {
            let kind: String = kind.escape_default().take(100).collect();
            return Err(PeftError::Config(format!("its `peft_type` is `{kind}`, and only `LORA` can be converted")));
        }
        refuse_more(&raw.other)?;
        let rank = raw.r.filter(|&r| (1..=MOST as u64).contains(&r));
        let rank = rank.ok_or_else(|| PeftError::Config("it has no rank `r` of 1 or more".to_owned()))?;
        let alpha = raw.lora_alpha.filter(|alpha| (f64::MIN_POSITIVE..=MOST).contains(alpha));
        let alpha = alpha.ok_or_else(|| PeftError::Config("it has no `lora_alpha` above 0".to_owned()))?;
        Ok(LoraConfig {
            rank,
            alpha,
            is_rank_stabilized: raw.use_rslora,
            ranks: pattern("rank_pattern", raw.rank_pattern)?,
            alphas: pattern("alpha_pattern", raw.alpha_pattern)?,
        })
    }

    /// A module's rank, and what its product is multiplied with.
    pub fn rank_and_scale(&self, module: &str) -> (u64, f64) {
        let rank = of_pattern(&self.ranks, module).unwrap_or(self.rank as f64);
        let alpha = of_pattern(&self.alphas, module).unwrap_or(self.alpha);
        (rank as u64, alpha / if self.is_rank_stabilized { rank.sqrt() } else { rank })
    }
}

/// Everything that PEFT can train beside the two factors, or do to the base before it trains.
fn refuse_more(other: &Map<String, Value>) -> Result<(), PeftError> {
    const MERGE: &str = "merge it into the base model and convert that";
    let is_set = |key: &str| match other.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(text)) => !text.is_empty() && text != "none",
        Some(_) => true,
    };
    let flags = [
        ("use_dora", "DoRA"),
        ("use_qalora", "QALoRA"),
        ("lora_bias", "biases in LoRA's factors"),
        ("bias", "biases"),
        ("modules_to_save", "whole modules (`modules_to_save`)"),
        ("trainable_token_indices", "single tokens' embeddings"),
        ("target_parameters", "parameters that are not modules (`target_parameters`)"),
        ("layer_replication", "replicated layers"),
        ("fan_in_fan_out", "transposed weights (`fan_in_fan_out`)"),
        ("alora_invocation_tokens", "activation by tokens (aLoRA)"),
    ];
    for (key, what) in flags {
        if is_set(key) {
            return Err(PeftError::Unsupported(what.to_owned(), MERGE));
        }
    }
    match other.get("init_lora_weights") {
        None | Some(Value::Null | Value::Bool(_)) => Ok(()),
        Some(Value::String(how)) if ["gaussian", "eva", "orthogonal"].contains(&how.as_str()) => Ok(()),
        Some(how) => Err(PeftError::Unsupported(
            format!("`init_lora_weights` {how}, which changes the base model"),
            "save it again with `path_initial_model_for_weight_conversion`",
        )),
    }
}

/// A pattern's entries. PEFT takes their keys for regular expressions; what people write are ends of module names.
fn pattern(name: &str, entries: Option<Map<String, Value>>) -> Result<Vec<(String, f64)>, PeftError> {
    let entry = |(key, value): (String, Value)| {
        let is_plain = |c: char| c.is_alphanumeric() || "._".contains(c);
        if key.is_empty() || !key.chars().all(is_plain) {
            let key: String = key.escape_default().take(100).collect();
            return Err(PeftError::Config(format!(
                "the key `{key}` of its `{name}` is not the end of a module's name"
            )));
        }
        let number = value.as_f64().filter(|number| (f64::MIN_POSITIVE..=MOST).contains(number));
        let number = number.filter(|number| name != "rank_pattern" || number.fract() == 0.0);
        let wrong = || PeftError::Config(format!("its `{name}` gives `{key}` the value {value}"));
        Ok((key.clone(), number.ok_or_else(wrong)?))
    };
    entries.unwrap_or_default().into_iter().map(entry).collect()
}

/// The value of the first key that a module's name ends in.
fn of_pattern(pattern: &[(String, f64)], module: &str) -> Option<f64> {
    let matches = |key: &str| module.strip_suffix(key).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    pattern.iter().find(|(key, _)| matches(key)).map(|&(_, value)| value)
}
