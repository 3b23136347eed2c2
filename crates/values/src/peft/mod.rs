//! PEFT's LoRA adapters to GGUF adapters: bytes in, bytes out; it knows no files and no store.
//!
//! The input is what PEFT's `save_pretrained` writes: `adapter_config.json` and `adapter_model.safetensors` with the two
//! factors of each module. The names on the other side are those that llama.cpp's converters give the same modules of the
//! base model; what those do to a base's rows is done here to the rows of B, or the adapter would turn another head.

mod config;
mod error;
mod names;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::BTreeMap;

use crate::gguf::{AdapterHeader, GgufWriter, Header, TensorType};
use config::LoraConfig;
use error::wrong;
use names::{AdapterTensor, Factor, RowOrder};

pub use error::PeftError;
pub use names::is_known;

/// The two factors of one module.
#[derive(Default)]
struct Factors<'t> {
    a: Option<(String, TensorView<'t>)>,
    b: Option<(String, TensorView<'t>)>,
    rows: RowOrder,
}

/// The adapter as a GGUF file for a base model, in single precision.
///
/// # Errors
/// [`PeftError`] where the configuration asks for what LoRA in GGUF does not have, or the tensors are wrong, unknown or do
/// not fit the base.
pub fn convert(config: &[u8], tensors: &[u8], base: &Header) -> Result<Vec<u8>, PeftError> {
    let config = LoraConfig::parse(config)?;
    let architecture = base.architecture();
    if !names::is_known(architecture) {
        return Err(PeftError::Architecture(architecture.to_owned()));
    }
    let tensors = SafeTensors::deserialize(tensors).map_err(|error| PeftError::Safetensors(error.to_string()))?;
    let mut modules: BTreeMap<String, (String, Factors<'_>)> = BTreeMap::new();
    // In the order of their names, so that the first wrong one is the same every time.
    let mut tensors: Vec<(&str, TensorView<'_>)> = tensors.iter().collect();
    tensors.sort_by_key(|&(name, _)| name);
    for (name, view) in tensors {
        let AdapterTensor { module, weight, factor, rows } = names::adapter_tensor(name, base)?;
        let (_, factors) = modules.entry(weight).or_insert_with(|| (module, Factors { rows, ..Factors::default() }));
        let slot = if factor == Factor::A { &mut factors.a } else { &mut factors.b };
        if let Some((other, _)) = slot.replace((name.to_owned(), view)) {
            return Err(wrong(name, &format!("means the same as `{other}`")));
        }
    }
    let bytes = written(&config, architecture, modules)?;
    // The one check of shapes, the same as for an adapter that comes as a GGUF file.
    AdapterHeader::read(bytes.as_slice(), bytes.len() as u64)?.check_base(base)?;
    Ok(bytes)
}

fn written(
    config: &LoraConfig,
    architecture: &str,
    modules: BTreeMap<String, (String, Factors<'_>)>,
) -> Result<Vec<u8>, PeftError> {
    let mut writer = GgufWriter::new();
    writer.text("general.type", "adapter");
    writer.text("general.architecture", architecture);
    writer.text("adapter.type", "lora");
    // llama.cpp divides the one alpha of a file by each tensor's rank. Where a module's scale differs, its B is multiplied.
    let mut alpha = None;
    let mut written = Vec::new();
    for (weight, (module, factors)) in modules {
        let Factors { a: Some((a_name, a)), b: Some((b_name, b)), rows } = factors else {
            let (name, _) = factors.a.or(factors.b).expect("a module comes with a tensor");
            return Err(wrong(&name, "has no counterpart: the other factor of its module is missing"));
        };
        let (rank, scale) = config.rank_and_scale(&module);
        let (mut a_values, a_shape) = values(&a_name, &a)?;
        let (mut b_values, b_shape) = values(&b_name, &b)?;
        for (name, of_tensor) in [(&a_name, a_shape[0]), (&b_name, b_shape[1])] {
            if of_tensor as u64 != rank {
                return Err(wrong(name, &format!("has the rank {of_tensor}, but the configuration says {rank}")));
            }
        }
        let alpha = *alpha.get_or_insert(scale * rank as f64);
        let factor = (scale * rank as f64 / alpha) as f32;
        if factor != 1.0 {
            b_values.iter_mut().for_each(|value| *value *= factor);
        }
        match rows {
            RowOrder::AsTheyAre => {}
            RowOrder::ByHead { n_heads } => b_values = by_head(&b_name, &b_values, b_shape, n_heads)?,
            RowOrder::Embedding => a_values = transposed(&a_values, a_shape),
        }
        let (a_shape, b_shape) = (a_shape.map(|n| n as u64), b_shape.map(|n| n as u64));
        // The length of a row comes first in GGUF.
        let a_dimensions = if rows == RowOrder::Embedding { a_shape } else { [a_shape[1], a_shape[0]] };
        written.push((format!("{weight}.lora_a"), a_dimensions, a_values));
        written.push((format!("{weight}.lora_b"), [b_shape[1], b_shape[0]], b_values));
    }
    writer.float("adapter.lora.alpha", alpha.unwrap_or(0.0) as f32);
    for (name, dimensions, values) in written {
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        writer.tensor(&name, &dimensions, TensorType::F32, &bytes);
    }
    Ok(writer.into_bytes())
}

/// A matrix's numbers and its shape, rows first.
fn values(name: &str, view: &TensorView<'_>) -> Result<(Vec<f32>, [usize; 2]), PeftError> {
    let &[n_rows, n_columns] = view.shape() else {
        return Err(wrong(name, &format!("has {} dimensions, not 2", view.shape().len())));
    };
    if n_rows == 0 || n_columns == 0 {
        return Err(wrong(name, "holds nothing"));
    }
    let data = view.data();
    let pairs = || data.as_chunks::<2>().0.iter().copied();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect(),
        Dtype::F16 => pairs().map(|value| f16::from_le_bytes(value).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|value| bf16::from_le_bytes(value).to_f32()).collect(),
        other => return Err(wrong(name, &format!("is of type {other:?}; F32, F16 and BF16 can be converted"))),
    };
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(wrong(name, &format!("holds {value}, which is not a finite number"))),
        None => Ok((values, [n_rows, n_columns])),
    }
}

/// The rows of each head in the order of llama.cpp's `llama` models: a head's two halves, which HuggingFace rotates against
/// each other, row by row in turn (`LlamaModel.permute` of `convert_hf_to_gguf.py`).
fn by_head(name: &str, values: &[f32], shape: [usize; 2], n_heads: usize) -> Result<Vec<f32>, PeftError> {
    let [n_rows, width] = shape;
    if n_heads == 0 || !n_rows.is_multiple_of(2 * n_heads) {
        return Err(wrong(name, &format!("has {n_rows} rows, which cannot be {n_heads} heads of even size")));
    }
    let half = n_rows / n_heads / 2;
    let row = |at: usize| &values[at * width..(at + 1) * width];
    let heads = (0..n_heads).map(|head| head * 2 * half);
    Ok(heads
        .flat_map(|first| (0..half).flat_map(move |at| [first + at, first + half + at]))
        .flat_map(row)
        .copied()
        .collect())
}

fn transposed(values: &[f32], [n_rows, n_columns]: [usize; 2]) -> Vec<f32> {
    (0..n_columns).flat_map(|column| (0..n_rows).map(move |row| values[row * n_columns + column])).collect()
}

#[cfg(test)]
mod tests;
