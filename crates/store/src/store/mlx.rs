//! Adapters that MLX-LM trained (`mlx_lm.lora`), rewritten as PEFT would have saved them: bytes in, bytes out.
//!
//! MLX adds `scale * (x A) B` to a module, with A of `n_in x rank` and B of `rank x n_out` and the scale in its
//! `adapter_config.json`; PEFT adds `alpha / rank * B (A x)`, with both turned round. Names differ by a prefix and an ending.

use safetensors::tensor::TensorView;
use safetensors::{SafeTensors, serialize};
use serde::Deserialize;
use serde_json::{Value, json};
use slm_values::peft::PeftError;

const EMBEDDING: &str = "embed_tokens";
const MERGE: &str = "fuse it with `mlx_lm.fuse` and convert that";

/// MLX's configuration, as far as it says how the factors are used.
#[derive(Debug, Deserialize)]
struct MlxConfig {
    fine_tune_type: Option<String>,
    lora_parameters: LoraParameters,
}

#[derive(Debug, Deserialize)]
struct LoraParameters {
    rank: u64,
    scale: f64,
}

/// Whether an `adapter_config.json` is MLX's.
pub(super) fn is_mlx(config: &[u8]) -> bool {
    let config: Result<Value, _> = serde_json::from_slice(config);
    config.is_ok_and(|config| config.get("peft_type").is_none() && config.get("lora_parameters").is_some())
}

/// The configuration and the tensors of the same adapter in PEFT's form.
///
/// # Errors
/// [`PeftError`] where it is more than LoRA, or a tensor is not one of its factors.
pub(super) fn to_peft(config: &[u8], tensors: &[u8]) -> Result<[Vec<u8>; 2], PeftError> {
    let config: MlxConfig = serde_json::from_slice(config).map_err(|error| PeftError::Config(error.to_string()))?;
    let kind = config.fine_tune_type.as_deref().unwrap_or("lora");
    if kind != "lora" {
        return Err(PeftError::Unsupported(format!("`fine_tune_type` `{}`", kind.escape_default()), MERGE));
    }
    let LoraParameters { rank, scale } = config.lora_parameters;
    let tensors = SafeTensors::deserialize(tensors).map_err(|error| PeftError::Safetensors(error.to_string()))?;
    let mut turned = Vec::new();
    for (name, view) in tensors.iter() {
        let name = peft_name(name)?;
        let &[n_rows, n_columns] = view.shape() else {
            let what = format!("the tensor `{name}` of {} dimensions (experts in one tensor)", view.shape().len());
            return Err(PeftError::Unsupported(what, MERGE));
        };
        let n_bytes = view.data().len() / (n_rows * n_columns).max(1);
        turned.push((name, view.dtype(), [n_columns, n_rows], transposed(view.data(), [n_rows, n_columns], n_bytes)));
    }
    let views = turned.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.to_vec(), bytes);
        view.map(|view| (name.clone(), view)).map_err(|error| PeftError::Safetensors(error.to_string()))
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    let tensors = serialize(views, None).map_err(|error| PeftError::Safetensors(error.to_string()))?;
    let config = json!({ "peft_type": "LORA", "r": rank, "lora_alpha": scale * rank as f64 });
    Ok([config.to_string().into_bytes(), tensors])
}

/// `model.layers.0.self_attn.q_proj.lora_a` is `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` in PEFT.
fn peft_name(name: &str) -> Result<String, PeftError> {
    let factor = name.strip_suffix(".lora_a").map(|module| (module, 'A'));
    let Some((module, factor)) = factor.or_else(|| name.strip_suffix(".lora_b").map(|module| (module, 'B'))) else {
        let what = format!("the tensor `{}`, which is no factor of LoRA's", name.escape_default());
        return Err(PeftError::Unsupported(what, MERGE));
    };
    let ending =
        if module.ends_with(EMBEDDING) { format!("lora_embedding_{factor}") } else { format!("lora_{factor}.weight") };
    Ok(format!("base_model.model.{module}.{ending}"))
}

/// A matrix of elements of `n_bytes` with its rows as columns.
fn transposed(bytes: &[u8], [n_rows, n_columns]: [usize; 2], n_bytes: usize) -> Vec<u8> {
    let element = |row: usize, column: usize| {
        let at = (row * n_columns + column) * n_bytes;
        &bytes[at..at + n_bytes]
    };
    (0..n_columns).flat_map(|column| (0..n_rows).flat_map(move |row| element(row, column))).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::Dtype;

    fn file(name: &str, shape: &[usize], values: &[f32]) -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
        serialize([(name.to_owned(), view)], None).unwrap()
    }

    const CONFIG: &[u8] = br#"{"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": {"rank": 2, "scale": 20.0, "dropout": 0.0}}"#;

    #[test]
    fn factors_are_turned_round_and_the_scale_becomes_alpha() {
        let mlx = file("model.layers.0.self_attn.q_proj.lora_a", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(is_mlx(CONFIG) && !is_mlx(br#"{"peft_type": "LORA", "r": 2}"#));
        let [config, tensors] = to_peft(CONFIG, &mlx).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config, json!({"peft_type": "LORA", "r": 2, "lora_alpha": 40.0}));
        let tensors = SafeTensors::deserialize(&tensors).unwrap();
        let a = tensors.tensor("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight").unwrap();
        let values: Vec<f32> = a.data().chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect();
        assert_eq!((a.shape(), values), (&[2, 3][..], vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0]));
    }

    #[test]
    fn what_is_more_than_lora_is_refused() {
        let dora = String::from_utf8_lossy(CONFIG).replace("\"lora\",", "\"dora\",");
        let a = file("model.layers.0.self_attn.q_proj.lora_a", &[1, 1], &[1.0]);
        assert!(matches!(to_peft(dora.as_bytes(), &a), Err(PeftError::Unsupported(..))));
        let magnitude = file("model.layers.0.self_attn.q_proj.m", &[1, 1], &[1.0]);
        assert!(matches!(to_peft(CONFIG, &magnitude), Err(PeftError::Unsupported(..))));
        let experts = file("model.layers.0.mlp.switch_mlp.up_proj.lora_a", &[1, 1, 1], &[1.0]);
        assert!(matches!(to_peft(CONFIG, &experts), Err(PeftError::Unsupported(..))));
    }
}
