//! Sampling parameters under Ollama's option names: what was said, what was not, and the defaults. It knows no tokens.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// What somebody (a request, a Modelfile) said about sampling; `None` is "nothing said".
///
/// Names, units and ranges are those of Ollama's `options`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// Spread of the choice; 0 is greedy.
    pub temperature: Option<f32>,
    /// Keep the `k` likeliest tokens; 0 keeps all.
    pub top_k: Option<u32>,
    /// Keep the likeliest tokens that together have this probability.
    pub top_p: Option<f32>,
    /// Drop tokens below this share of the likeliest one's probability.
    pub min_p: Option<f32>,
    /// Locally typical sampling; 1 is off.
    pub typical_p: Option<f32>,
    /// Tokens that penalties look back over; 0 is off, -1 the whole context.
    pub repeat_last_n: Option<i32>,
    /// Divides the logits of repeated tokens; 1 is off.
    pub repeat_penalty: Option<f32>,
    /// Subtracted once from the logit of a token that occurred.
    pub presence_penalty: Option<f32>,
    /// Subtracted from a token's logit for each time it occurred.
    pub frequency_penalty: Option<f32>,
    /// Start of the random numbers; any negative number says "random".
    pub seed: Option<i64>,
    /// Most tokens to generate; -1 until the end, -2 until the context is full.
    pub num_predict: Option<i32>,
    /// Tokens of context.
    pub num_ctx: Option<u32>,
    /// Tokens to keep when a context is shifted.
    pub num_keep: Option<u32>,
    /// Texts that end an answer.
    pub stop: Option<Vec<String>>,
    /// Tokens in a prefill batch.
    pub num_batch: Option<u32>,
    /// Layers on accelerators; -1 as many as fit.
    pub num_gpu: Option<i32>,
    /// The accelerator that holds small tensors.
    pub main_gpu: Option<u32>,
    /// Map the model's file instead of reading it.
    pub use_mmap: Option<bool>,
    /// Threads that compute; 0 chooses.
    pub num_thread: Option<u32>,
    /// What a stored layer holds beyond these; kept, never used.
    pub other: Map<String, Value>,
}

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

/// Why a parameter was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParameterError {
    /// No parameter has this name.
    #[error("there is no parameter `{name}`; {}", hint(.nearest))]
    Unknown { name: String, nearest: Option<&'static str> },
    /// The value, as it was written, is of another type or outside of the range.
    #[error("parameter `{name}` cannot be `{value}`: it must be {expected}")]
    Invalid { name: &'static str, value: String, expected: String },
    /// The whole is not a JSON object.
    #[error("parameters must be a JSON object, not `{value}`")]
    NotAnObject { value: String },
}

fn hint(nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the parameters are `{}`", names().collect::<Vec<_>>().join("`, `")),
    }
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Real { min: f64, max: f64 },
    Whole { min: i64, max: i64 },
    Flag,
    Texts,
}

const LARGEST: i64 = i32::MAX as i64;

/// Every parameter in Ollama's order, with its range.
const KINDS: [(&str, Kind); 19] = [
    ("num_keep", Kind::Whole { min: 0, max: LARGEST }),
    ("seed", Kind::Whole { min: i64::MIN, max: u32::MAX as i64 }),
    ("num_predict", Kind::Whole { min: -2, max: LARGEST }),
    ("top_k", Kind::Whole { min: 0, max: LARGEST }),
    ("top_p", Kind::Real { min: 0.0, max: 1.0 }),
    ("min_p", Kind::Real { min: 0.0, max: 1.0 }),
    ("typical_p", Kind::Real { min: 0.0, max: 1.0 }),
    ("repeat_last_n", Kind::Whole { min: -1, max: LARGEST }),
    ("temperature", Kind::Real { min: 0.0, max: 100.0 }),
    ("repeat_penalty", Kind::Real { min: 0.001, max: 100.0 }),
    ("presence_penalty", Kind::Real { min: -100.0, max: 100.0 }),
    ("frequency_penalty", Kind::Real { min: -100.0, max: 100.0 }),
    ("stop", Kind::Texts),
    ("num_ctx", Kind::Whole { min: 1, max: LARGEST }),
    ("num_batch", Kind::Whole { min: 1, max: LARGEST }),
    ("num_gpu", Kind::Whole { min: -1, max: LARGEST }),
    ("main_gpu", Kind::Whole { min: 0, max: LARGEST }),
    ("use_mmap", Kind::Flag),
    // As many as ggml has places for; it crashes on more.
    ("num_thread", Kind::Whole { min: 0, max: 512 }),
];

/// Names that Ollama had once, or that this engine has no use for: taken where a Modelfile gives them, never used.
const IDLE: [&str; 15] = [
    "embedding_only",
    "f16_kv",
    "logits_all",
    "low_vram",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_gqa",
    "numa",
    "penalize_newline",
    "rope_frequency_base",
    "rope_frequency_scale",
    "tfs_z",
    "use_mlock",
    "vocab_only",
];

/// The parameters' names in Ollama's order.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(name, _)| *name)
}

impl Parameters {
    /// Sets one parameter from text, as a Modelfile's `PARAMETER name value` and a command line give it.
    ///
    /// `stop` adds one text each time; every other parameter keeps the last value.
    ///
    /// # Errors
    /// An unknown name, or a value of the wrong type or range.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ParameterError> {
        let (name, kind) = find(name)?;
        let trimmed = value.trim();
        let parsed = match kind {
            Kind::Real { .. } => trimmed.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
            Kind::Whole { .. } => trimmed.parse::<i64>().ok().map(Value::from),
            Kind::Flag => trimmed.to_ascii_lowercase().parse::<bool>().ok().map(Value::Bool),
            Kind::Texts => {
                let mut stop = self.stop.take().unwrap_or_default();
                stop.push(value.to_owned());
                Some(Value::from(stop))
            }
        };
        let put = parsed.and_then(|parsed| self.put(name, kind, &parsed));
        put.ok_or_else(|| invalid(name, value.to_owned(), kind))
    }

    /// Sets one parameter from a Modelfile, where old names of Ollama's are kept without an effect.
    ///
    /// # Errors
    /// As [`Parameters::set`].
    pub fn set_in_file(&mut self, name: &str, value: &str) -> Result<(), ParameterError> {
        if !IDLE.contains(&name) {
            return self.set(name, value);
        }
        self.other.insert(name.to_owned(), idle(value));
        Ok(())
    }

    /// What is kept and has no effect: names that nobody knows any more, and values that no parameter can have.
    #[must_use]
    pub fn idle(&self) -> &Map<String, Value> {
        &self.other
    }

    /// Why a value that was kept has no effect, where its name is one of ours.
    #[must_use]
    pub fn refused(&self) -> Vec<ParameterError> {
        let refused = |(name, value): (&String, &Value)| {
            names().any(|known| known == name).then(|| Parameters::default().set_json(name, value).err())?
        };
        self.other.iter().filter_map(refused).collect()
    }

    /// Whether a Modelfile can say this parameter, so that it is read back as it is.
    #[must_use]
    pub fn can_be_written(name: &str, value: &Value) -> bool {
        names().any(|known| known == name && Parameters::default().set_json(name, value).is_ok())
            || IDLE.contains(&name) && idle(&value.to_string()) == *value
    }

    /// Sets one parameter from JSON, as `options` of a request give it; `null` says nothing.
    ///
    /// # Errors
    /// An unknown name, or a value of the wrong type or range.
    pub fn set_json(&mut self, name: &str, value: &Value) -> Result<(), ParameterError> {
        let (name, kind) = find(name)?;
        if value.is_null() {
            return Ok(());
        }
        self.put(name, kind, value).ok_or_else(|| invalid(name, value.to_string(), kind))
    }

    /// Reads `{"temperature": 0.5, "stop": ["x"], ..}`: a request's `options` or the `params` layer of a manifest.
    ///
    /// # Errors
    /// Not an object, an unknown name, or a value of the wrong type or range.
    pub fn from_json(value: &Value) -> Result<Self, ParameterError> {
        let object = value.as_object().ok_or_else(|| ParameterError::NotAnObject { value: value.to_string() })?;
        let mut parameters = Parameters::default();
        for (name, value) in object {
            parameters.set_json(name, value)?;
        }
        Ok(parameters)
    }

    /// Reads the `params` layer of a manifest, which somebody else may have written: names that nobody knows and values
    /// that no parameter can have are kept without an effect, so that a model does not become unusable by them.
    #[must_use]
    pub fn from_layer(layer: Map<String, Value>) -> Self {
        let mut parameters = Parameters::default();
        for (name, value) in layer {
            if parameters.set_json(&name, &value).is_err() || value.is_null() {
                parameters.other.insert(name, value);
            }
        }
        parameters
    }

    /// What was said, by name, whole numbers without a fraction: as Ollama, in Go, writes its `params` layer. The inverse
    /// of [`Parameters::from_layer`].
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        let known = names().filter_map(|name| self.get(name).map(|value| (name.to_owned(), value)));
        let sorted: std::collections::BTreeMap<String, Value> = known.chain(self.other.clone()).collect();
        sorted.into_iter().collect()
    }

    /// [`Parameters::to_map`] as a JSON value.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(self.to_map())
    }

    /// True where nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Parameters::default()
    }

    /// These parameters, and where they say nothing, `under`'s.
    #[must_use]
    pub fn over(self, under: Parameters) -> Parameters {
        let mut both = Parameters {
            temperature: self.temperature.or(under.temperature),
            top_k: self.top_k.or(under.top_k),
            top_p: self.top_p.or(under.top_p),
            min_p: self.min_p.or(under.min_p),
            typical_p: self.typical_p.or(under.typical_p),
            repeat_last_n: self.repeat_last_n.or(under.repeat_last_n),
            repeat_penalty: self.repeat_penalty.or(under.repeat_penalty),
            presence_penalty: self.presence_penalty.or(under.presence_penalty),
            frequency_penalty: self.frequency_penalty.or(under.frequency_penalty),
            seed: self.seed.or(under.seed),
            num_predict: self.num_predict.or(under.num_predict),
            num_ctx: self.num_ctx.or(under.num_ctx),
            num_keep: self.num_keep.or(under.num_keep),
            stop: self.stop.or(under.stop),
            num_batch: self.num_batch.or(under.num_batch),
            num_gpu: self.num_gpu.or(under.num_gpu),
            main_gpu: self.main_gpu.or(under.main_gpu),
            use_mmap: self.use_mmap.or(under.use_mmap),
            num_thread: self.num_thread.or(under.num_thread),
            other: under.other.into_iter().chain(self.other).collect(),
        };
        // What has an effect takes the place of what had none.
        let idle = std::mem::take(&mut both.other);
        both.other = idle.into_iter().filter(|(name, _)| both.get(name).is_none()).collect();
        both
    }

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

    fn get(&self, name: &str) -> Option<Value> {
        match name {
            "temperature" => self.temperature.and_then(real),
            "top_k" => self.top_k.map(Value::from),
            "top_p" => self.top_p.and_then(real),
            "min_p" => self.min_p.and_then(real),
            "typical_p" => self.typical_p.and_then(real),
            "repeat_last_n" => self.repeat_last_n.map(Value::from),
            "repeat_penalty" => self.repeat_penalty.and_then(real),
            "presence_penalty" => self.presence_penalty.and_then(real),
            "frequency_penalty" => self.frequency_penalty.and_then(real),
            "seed" => self.seed.map(Value::from),
            "num_predict" => self.num_predict.map(Value::from),
            "num_ctx" => self.num_ctx.map(Value::from),
            "num_keep" => self.num_keep.map(Value::from),
            "stop" => self.stop.clone().map(Value::from),
            "num_batch" => self.num_batch.map(Value::from),
            "num_gpu" => self.num_gpu.map(Value::from),
            "main_gpu" => self.main_gpu.map(Value::from),
            "use_mmap" => self.use_mmap.map(Value::from),
            "num_thread" => self.num_thread.map(Value::from),
            _ => None,
        }
    }

    /// `None` where the value is of another type or outside of the range.
    fn put(&mut self, name: &'static str, kind: Kind, value: &Value) -> Option<()> {
        match kind {
            Kind::Real { min, max } => {
                let n = value.as_f64().filter(|n| (min..=max).contains(n))?;
                self.put_real(name, n);
            }
            Kind::Whole { min, max } => {
                let n = whole(value).filter(|n| (min..=max).contains(n))?;
                self.put_whole(name, n);
            }
            Kind::Flag => self.use_mmap = Some(value.as_bool()?),
            Kind::Texts => self.stop = Some(texts(value)?),
        }
        Some(())
    }

    // The range is checked before; all of it lies within f32.
    #[allow(clippy::cast_possible_truncation)]
    fn put_real(&mut self, name: &str, n: f64) {
        let n = Some(n as f32);
        match name {
            "temperature" => self.temperature = n,
            "top_p" => self.top_p = n,
            "min_p" => self.min_p = n,
            "typical_p" => self.typical_p = n,
            "repeat_penalty" => self.repeat_penalty = n,
            "presence_penalty" => self.presence_penalty = n,
            _ => self.frequency_penalty = n,
        }
    }

    fn put_whole(&mut self, name: &str, n: i64) {
        // The range is checked before, so that each conversion holds.
        let signed = i32::try_from(n).ok();
        let unsigned = u32::try_from(n).ok();
        match name {
            "seed" => self.seed = Some(n),
            "repeat_last_n" => self.repeat_last_n = signed,
            "num_predict" => self.num_predict = signed,
            "num_gpu" => self.num_gpu = signed,
            "top_k" => self.top_k = unsigned,
            "num_ctx" => self.num_ctx = unsigned,
            "num_keep" => self.num_keep = unsigned,
            "num_batch" => self.num_batch = unsigned,
            "main_gpu" => self.main_gpu = unsigned,
            _ => self.num_thread = unsigned,
        }
    }
}

fn find(name: &str) -> Result<(&'static str, Kind), ParameterError> {
    KINDS
        .iter()
        .find(|(known, _)| *known == name)
        .copied()
        .ok_or_else(|| ParameterError::Unknown { name: name.to_owned(), nearest: nearest(name) })
}

fn invalid(name: &'static str, value: String, kind: Kind) -> ParameterError {
    let expected = match kind {
        Kind::Real { min, max } => format!("a number from {min} to {max}"),
        Kind::Whole { min: i64::MIN, max } => format!("a whole number up to {max}; a negative one is random"),
        Kind::Whole { min, max: LARGEST } => format!("a whole number of at least {min}"),
        Kind::Whole { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Texts => "a text or a list of texts, none of them empty".to_owned(),
    };
    ParameterError::Invalid { name, value, expected }
}

/// The shortest decimal that reads back as the same `f32`, so that 0.7 is written `0.7` and not `0.699999988079071`.
/// A whole number has no fraction, as Go writes it.
fn real(n: f32) -> Option<Value> {
    let text = n.to_string();
    let whole = text.parse::<i64>().ok().map(Value::from);
    whole.or_else(|| text.parse().ok().and_then(Number::from_f64).map(Value::Number))
}

/// A whole number, also where JSON writes it as `40.0`.
fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation)] // whole and within 2^53
    let from_real = || value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < EXACT).map(|n| n as i64);
    value.as_i64().or_else(from_real)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let texts = match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()?,
        _ => return None,
    };
    texts.iter().all(|text| !text.is_empty()).then_some(texts)
}

/// The value of a name without an effect: a flag or a number where it looks like one.
fn idle(value: &str) -> Value {
    let trimmed = value.trim();
    match serde_json::from_str(trimmed) {
        Ok(known @ (Value::Bool(_) | Value::Number(_))) => known,
        _ => Value::from(trimmed),
    }
}

/// The known name at the smallest edit distance, if it is near enough to be meant.
fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > 64 {
        return None;
    }
    let plain = name.to_ascii_lowercase().replace('-', "_");
    let (distance, near) = names().map(|known| (edit_distance(&plain, known), known)).min()?;
    (distance <= 1 + near.len() / 4).then_some(near)
}

/// Levenshtein's distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn defaults_are_ollamas() {
        let open = Parameters::default().resolve(AnswerShape::Open);
        assert_eq!((open.temperature, open.top_k, open.top_p, open.min_p, open.typical_p), (0.8, 40, 0.9, 0.0, 1.0));
        assert_eq!((open.repeat_last_n, open.repeat_penalty, open.num_predict, open.seed), (64, 1.0, None, None));
        assert_eq!(Parameters::default().resolve(AnswerShape::Formatted).temperature, 0.0);
    }

    #[test]
    fn a_request_goes_over_a_modelfile() {
        let request = Parameters::from_json(&json!({"top_k": 5, "seed": null})).unwrap();
        let mut file = Parameters::default();
        for (name, value) in [("top_k", "9"), ("temperature", "0.3"), ("stop", "a"), ("stop", " b ")] {
            file.set(name, value).unwrap();
        }
        let sampling = request.over(file).resolve(AnswerShape::Formatted);
        assert_eq!((sampling.top_k, sampling.temperature), (5, 0.3));
        assert_eq!(sampling.stop, ["a", " b "]);
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let all = json!({
            "num_keep": 4, "seed": -1, "num_predict": -2, "top_k": 40, "top_p": 0.7, "min_p": 0.05, "typical_p": 1,
            "repeat_last_n": -1, "temperature": 0.1, "repeat_penalty": 1.1, "presence_penalty": -0.5,
            "frequency_penalty": 2, "stop": ["x", "y"], "num_ctx": 4096, "num_batch": 512, "num_gpu": -1,
            "main_gpu": 0, "use_mmap": false, "num_thread": 2
        });
        assert_eq!(Parameters::from_json(&all).unwrap().to_json(), all);
        assert!(Parameters::from_json(&json!({})).unwrap().is_empty());
    }

    #[test]
    fn a_layer_of_another_program_never_makes_a_model_unusable() {
        let layer = json!({
            "stop": ["<|end|>"], "num_ctx": 4096, "temperature": -1, "top_k": "many", "mirostat": 1, "use_mlock": true,
            "penalize_newline": false, "num_experts": 8, "seed": null, "num_thread": 9999
        });
        let parameters = Parameters::from_layer(layer.as_object().unwrap().clone());
        let expected = Parameters {
            stop: Some(vec!["<|end|>".to_owned()]),
            num_ctx: Some(4096),
            other: parameters.other.clone(),
            ..Parameters::default()
        };
        assert_eq!(parameters, expected);
        let mut sorted = layer.as_object().unwrap().clone();
        sorted.sort_keys();
        assert_eq!(Value::Object(parameters.to_map()), Value::Object(sorted));
        let refused: Vec<String> = parameters.refused().iter().map(ToString::to_string).collect();
        assert_eq!(refused.len(), 3, "{refused:?}");
        assert!(
            refused.contains(&"parameter `temperature` cannot be `-1`: it must be a number from 0 to 100".to_owned())
        );
        // What a Modelfile says takes the place of what had no effect.
        let mut said = Parameters::default();
        said.set_in_file("temperature", "0.5").unwrap();
        said.set_in_file("mirostat", "2").unwrap();
        let both = said.over(parameters);
        assert_eq!((both.temperature, both.to_map()["mirostat"].clone()), (Some(0.5), json!(2)));
        assert_eq!(both.refused().len(), 2);
        assert!(Parameters::can_be_written("mirostat", &json!(2)) && Parameters::can_be_written("top_k", &json!(2)));
        assert!(!Parameters::can_be_written("num_experts", &json!(8)));
        assert!(!Parameters::can_be_written("temperature", &json!(-1)));
    }

    #[test]
    fn what_is_refused_is_named() {
        let refused = |value: Value| Parameters::from_json(&value).unwrap_err().to_string();
        let expect = [
            (json!({"temprature": 1}), "there is no parameter `temprature`; did you mean `temperature`?"),
            (json!({"top-k": 1}), "there is no parameter `top-k`; did you mean `top_k`?"),
            (json!({"top_p": 1.5}), "parameter `top_p` cannot be `1.5`: it must be a number from 0 to 1"),
            (json!({"top_k": "x"}), "parameter `top_k` cannot be `\"x\"`: it must be a whole number of at least 0"),
            (json!({"use_mmap": 1}), "parameter `use_mmap` cannot be `1`: it must be `true` or `false`"),
            (
                json!({"stop": ["a", ""]}),
                "parameter `stop` cannot be `[\"a\",\"\"]`: it must be a text or a list of texts, none of them empty",
            ),
            (json!([1]), "parameters must be a JSON object, not `[1]`"),
        ];
        for (value, message) in expect {
            assert_eq!(refused(value), message);
        }
        assert!(
            refused(json!({"colour": 1})).starts_with("there is no parameter `colour`; the parameters are `num_keep`")
        );
        let text = Parameters::default().set("seed", "soon").unwrap_err().to_string();
        assert_eq!(
            text,
            "parameter `seed` cannot be `soon`: it must be a whole number up to 4294967295; a negative one is random"
        );
        for value in ["nan", "inf", "-1", ""] {
            assert!(Parameters::default().set("temperature", value).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_round_trips(index in 0usize..19, value in "[-0-9.e]{1,6}|true|false|.{1,4}") {
            let name = names().nth(index).expect("the index is below the number of names");
            let mut said = Parameters::default();
            if said.set(name, &value).is_ok() {
                prop_assert_eq!(Parameters::from_json(&said.to_json()).unwrap(), said);
            }
        }

        #[test]
        fn no_text_panics(name in ".{0,70}", value in ".{0,20}") {
            let known = names().any(|known| known == name);
            prop_assert!(known || Parameters::default().set(&name, &value).is_err());
        }
    }
}
