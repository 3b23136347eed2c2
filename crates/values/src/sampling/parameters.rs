//! The given parameters, from text or JSON, and which take precedence.

use serde_json::{Map, Number, Value};

use super::parameter::{IDLE, ParameterError, ParameterKind, find, invalid, names};

/// What someone (a request, a Modelfile) said about sampling; `None` is "nothing said".
///
/// Names, units and ranges are those of Ollama's `options`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// Spread of the choice; 0 is greedy.
    pub temperature: Option<f32>,
    /// Keep the `k` most likely tokens; 0 keeps all.
    pub top_k: Option<u32>,
    /// Keep the most likely tokens that together have this probability.
    pub top_p: Option<f32>,
    /// Drop tokens below this fraction of the most likely token's probability.
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
    /// Start of the random numbers, in 32 bits; -1 says "random". One of more bits is folded into these.
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
    /// Threads; 0: automatic.
    pub num_thread: Option<u32>,
    /// What a stored layer holds beyond these; kept, never used.
    pub other: Map<String, Value>,
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
            ParameterKind::Real { .. } => trimmed.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
            ParameterKind::Whole { .. } => trimmed.parse::<i64>().ok().map(Value::from),
            ParameterKind::Seed => trimmed.parse::<Number>().ok().map(Value::Number),
            ParameterKind::Flag => trimmed.to_ascii_lowercase().parse::<bool>().ok().map(Value::Bool),
            ParameterKind::Texts => {
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

    /// Reads the `params` layer of a manifest, which someone else may have written: names that nobody knows and values
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
    fn put(&mut self, name: &'static str, kind: ParameterKind, value: &Value) -> Option<()> {
        match kind {
            ParameterKind::Real { min, max } => {
                let n = value.as_f64().filter(|n| (min..=max).contains(n))?;
                self.put_real(name, n);
            }
            ParameterKind::Whole { min, max } => {
                let n = whole(value).filter(|n| (min..=max).contains(n))?;
                self.put_whole(name, n);
            }
            ParameterKind::Seed => self.seed = Some(seed(value)?),
            ParameterKind::Flag => self.use_mmap = Some(value.as_bool()?),
            ParameterKind::Texts => self.stop = Some(texts(value)?),
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

/// A seed as it is used: -1, or 32 bits. The halves of a longer one are folded, so that both count: clients send times in
/// nanoseconds and hashes.
fn seed(value: &Value) -> Option<i64> {
    let bits = match (value.as_u64(), whole(value)) {
        (Some(bits), _) => bits,
        (None, Some(-1)) => return Some(-1),
        (None, seed) => seed?.cast_unsigned(),
    };
    Some(i64::try_from((bits ^ (bits >> 32)) & u64::from(u32::MAX)).unwrap_or(0))
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
