//! That a header describes a model whose shapes fit together: what llama.cpp answers with an assertion, and so by ending
//! the process, where they do not (`load_hparams` and the graphs in `src/models/`).

use super::error::GgufError;
use super::header::Header;
use super::tensor::{TensorInfo, TensorType};
use super::value::{Array, MetadataValue};
use std::ops::RangeInclusive;

const MAX_BLOCKS: u64 = 512;
const MAX_EXPERTS: u64 = 1024;
const MAX_LENGTH: u64 = i32::MAX as u64;

/// Architectures whose graphs assert that a head's keys, values and rotation are of one size.
const ONE_HEAD_SIZE: [&str; 45] = [
    "apertus",
    "arcee",
    "arctic",
    "baichuan",
    "chameleon",
    "codeshell",
    "cogvlm",
    "cohere2moe",
    "dbrx",
    "deci",
    "deepseek",
    "dots1",
    "dream",
    "ernie4_5",
    "ernie4_5-moe",
    "exaone",
    "exaone-moe",
    "exaone4",
    "falcon",
    "granite",
    "granitemoe",
    "grok",
    "hunyuan-dense",
    "hunyuan-moe",
    "internlm2",
    "jais2",
    "llada",
    "llada-moe",
    "llama",
    "llama4",
    "maincoder",
    "minicpm",
    "mistral3",
    "nemotron",
    "olmo",
    "olmo2",
    "olmoe",
    "orion",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "smollm3",
    "starcoder2",
    "xverse",
];

/// Architectures whose graphs assert that a head's keys and values are of one size, but not its rotation.
const ONE_KEY_AND_VALUE_SIZE: [&str; 20] = [
    "bert",
    "bitnet",
    "bloom",
    "chatglm",
    "cohere2",
    "command-r",
    "gemma4",
    "glm4",
    "glm4moe",
    "gpt2",
    "gptneox",
    "granitehybrid",
    "jais",
    "modern-bert",
    "mpt",
    "openelm",
    "phi2",
    "phi3",
    "refact",
    "stablelm",
];

/// Checks a file that has tensors.
pub(super) fn check(header: &Header) -> Result<(), GgufError> {
    check_kind(header)?;
    let shape = ShapeKeys { header };
    shape.required("context_length", 1..=MAX_LENGTH)?;
    let embedding = shape.required("embedding_length", 1..=1 << 20)?;
    let n_blocks = shape.required("block_count", 1..=MAX_BLOCKS)?;
    shape.optional("nextn_predict_layers", 0..=n_blocks)?;
    shape.optional("pooling_type", 0..=4)?;
    shape.optional("attention.sliding_window", 0..=MAX_LENGTH)?;
    check_experts(&shape)?;
    check_heads(&shape, embedding)?;
    check_rotation(&shape)?;
    check_frequencies(&shape)?;
    check_state_space(&shape)?;
    header.tensors.iter().try_for_each(check_precision)
}

/// A language model, whole, with a tokenizer.
fn check_kind(header: &Header) -> Result<(), GgufError> {
    let architecture = header.get("general.architecture");
    let architecture = architecture.ok_or_else(|| GgufError::MissingKey("general.architecture".to_owned()))?;
    let is_name = |text: &str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if !architecture.as_str().is_some_and(is_name) {
        return Err(wrong("general.architecture".to_owned(), architecture, "the name of an architecture"));
    }
    let kind = header.text("general.type").unwrap_or("model");
    if kind != "model" || header.architecture() == "clip" {
        let kind = if kind == "model" { "clip" } else { kind };
        return Err(GgufError::NotAModel(kind.escape_default().take(100).collect()));
    }
    match header.get("tokenizer.ggml.model") {
        Some(_) => Ok(()),
        None => Err(GgufError::MissingKey("tokenizer.ggml.model".to_owned())),
    }
}

fn check_experts(shape: &ShapeKeys) -> Result<(), GgufError> {
    let n_experts = shape.optional("expert_count", 0..=MAX_EXPERTS)?.unwrap_or(0);
    let least_used = u64::from(n_experts > 0);
    shape.each("expert_used_count", 0..=n_experts)?;
    if n_experts > 0 && shape.numbers("expert_used_count")?.iter().max().copied().unwrap_or(0) < least_used {
        return Err(shape.missing("expert_used_count"));
    }
    let n_groups = shape.optional("expert_group_count", 0..=n_experts.saturating_sub(1))?.unwrap_or(0);
    if n_groups > 1 {
        shape.divides("expert_group_count", n_groups, "expert_count", n_experts)?;
        shape.required("expert_group_used_count", 1..=n_groups - 1)?;
    }
    Ok(())
}

fn check_heads(shape: &ShapeKeys, embedding: u64) -> Result<(), GgufError> {
    let heads = shape.each("attention.head_count", 0..=1 << 16)?;
    let key_value_heads = shape.each("attention.head_count_kv", 0..=1 << 16)?;
    // Zero in a list is a block without attention; one key may be a list where the other is one number for all blocks.
    let n_pairs = heads.len().max(key_value_heads.len());
    for (&n_heads, &n_kv) in heads.iter().cycle().zip(key_value_heads.iter().cycle()).take(n_pairs) {
        if n_heads > 0 && n_kv == 0 && key_value_heads.len() == 1 {
            return Err(shape.wrong("attention.head_count_kv", "1 or more"));
        }
        if n_kv > 0 {
            shape.divides("attention.head_count_kv", n_kv, "attention.head_count", n_heads)?;
        }
    }
    let Some(&n_heads) = heads.first().filter(|&&n_heads| n_heads > 0) else {
        return Ok(());
    };
    let key = match shape.optional("attention.key_length", 1..=1 << 14)? {
        Some(key) => key,
        None => {
            shape.divides("attention.head_count", n_heads, "embedding_length", embedding)?;
            embedding / n_heads
        }
    };
    let value = shape.optional("attention.value_length", 1..=1 << 14)?.unwrap_or(embedding / n_heads);
    let rotation = shape.optional("rope.dimension_count", 0..=key)?.unwrap_or(key);
    let architecture = shape.header.architecture();
    let is_one_size = ONE_HEAD_SIZE.contains(&architecture);
    if (is_one_size || ONE_KEY_AND_VALUE_SIZE.contains(&architecture)) && key != value {
        return Err(shape.wrong("attention.value_length", &format!("{key}, the size of a head's keys")));
    }
    if is_one_size && rotation != key {
        return Err(shape.wrong("rope.dimension_count", &format!("{key}, the size of a head's keys")));
    }
    // Rotation works on pairs.
    if !rotation.is_multiple_of(2) {
        return Err(shape.wrong("rope.dimension_count", "an even number"));
    }
    Ok(())
}

fn check_rotation(shape: &ShapeKeys) -> Result<(), GgufError> {
    let scaling = shape.key("rope.scaling.type");
    if let Some(value) = shape.header.get(&scaling)
        && !matches!(value.as_str(), Some("none" | "linear" | "yarn" | "longrope"))
    {
        return Err(wrong(scaling, value, "`none`, `linear`, `yarn` or `longrope`"));
    }
    let not_negative = [
        "rope.scaling.yarn_ext_factor",
        "attention.layer_norm_epsilon",
        "attention.layer_norm_rms_epsilon",
        "attention.group_norm_epsilon",
        "rope.scaling.factor",
    ];
    for name in not_negative {
        let key = shape.key(name);
        match shape.header.get(&key) {
            Some(value) if !value.as_f64().is_some_and(|number| number.is_finite() && number >= 0.0) => {
                return Err(wrong(key, value, "a finite number that is not negative"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A rotation of base zero makes every score not a number.
fn check_frequencies(shape: &ShapeKeys) -> Result<(), GgufError> {
    for name in ["rope.freq_base", "rope.freq_base_swa"] {
        let key = shape.key(name);
        match shape.header.get(&key) {
            Some(value) if !value.as_f64().is_some_and(|number| number.is_finite() && number > 0.0) => {
                return Err(wrong(key, value, "a finite number above 0"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The sizes of Mamba's and its relatives' layers.
fn check_state_space(shape: &ShapeKeys) -> Result<(), GgufError> {
    for name in ["ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count"] {
        shape.optional(name, 0..=1 << 24)?;
    }
    let inner = shape.header.number(&shape.key("ssm.inner_size")).unwrap_or(0);
    match shape.header.number(&shape.key("ssm.group_count")) {
        Some(n_groups) if n_groups > 0 => shape.divides("ssm.group_count", n_groups, "ssm.inner_size", inner),
        _ => Ok(()),
    }
}

/// ggml adds, scales and convolves only by numbers of full precision, and aborts on others.
fn check_precision(tensor: &TensorInfo) -> Result<(), GgufError> {
    const FULL: [&str; 5] = ["norm.weight", ".bias", "ssm_conv1d.weight", "shortconv.conv.weight", ".ssm_a"];
    let needs_full = tensor.dimensions.len() == 1 || FULL.iter().any(|end| tensor.name.ends_with(end));
    if needs_full && tensor.kind != TensorType::F32 {
        let reason = format!("is of type `{}`, but must be `F32`", tensor.kind.name);
        return Err(GgufError::Tensor { tensor: tensor.name.clone(), reason });
    }
    Ok(())
}

/// The keys of the file's architecture.
struct ShapeKeys<'a> {
    header: &'a Header,
}

impl ShapeKeys<'_> {
    fn key(&self, name: &str) -> String {
        self.header.of_architecture(name)
    }

    fn required(&self, name: &str, range: RangeInclusive<u64>) -> Result<u64, GgufError> {
        self.optional(name, range)?.ok_or_else(|| self.missing(name))
    }

    /// The number under a key that, where it is there, is one number in the range.
    fn optional(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, GgufError> {
        let Some(value) = self.header.get(&self.key(name)) else {
            return Ok(None);
        };
        let number = value.as_u64().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| self.wrong(name, &described(&range)))
    }

    /// The numbers under a key that may be one for all blocks or a list, each in the range.
    fn each(&self, name: &str, range: RangeInclusive<u64>) -> Result<Vec<u64>, GgufError> {
        let numbers = self.numbers(name)?;
        if numbers.len() as u64 > MAX_BLOCKS || numbers.iter().any(|number| !range.contains(number)) {
            return Err(self.wrong(name, &described(&range)));
        }
        Ok(numbers)
    }

    fn numbers(&self, name: &str) -> Result<Vec<u64>, GgufError> {
        let numbers: Option<Vec<u64>> = match self.header.get(&self.key(name)) {
            None => Some(Vec::new()),
            Some(MetadataValue::Array(array @ Array::Numbers { .. })) => {
                array.numbers().map(|value| value.as_u64()).collect()
            }
            Some(value) => value.as_u64().map(|number| vec![number]),
        };
        numbers.ok_or_else(|| self.wrong(name, "a whole number, or a list of them"))
    }

    fn divides(&self, name: &str, divisor: u64, of: &str, number: u64) -> Result<(), GgufError> {
        // The divisor is never zero here; were it, it would divide nothing but zero.
        if number.is_multiple_of(divisor) && number > 0 {
            return Ok(());
        }
        Err(self.wrong(name, &format!("a divisor of `{}`, which is {number}", self.key(of))))
    }

    fn missing(&self, name: &str) -> GgufError {
        GgufError::MissingKey(self.key(name))
    }

    fn wrong(&self, name: &str, expected: &str) -> GgufError {
        let key = self.key(name);
        match self.header.get(&key) {
            Some(value) => wrong(key.clone(), value, expected),
            None => GgufError::MissingKey(key),
        }
    }
}

fn described(range: &RangeInclusive<u64>) -> String {
    format!("from {} to {}", range.start(), range.end())
}

fn wrong(key: String, value: &MetadataValue, expected: &str) -> GgufError {
    GgufError::Key { key, value: value.describe(), expected: expected.to_owned() }
}
