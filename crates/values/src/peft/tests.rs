//! What comes out for an adapter as PEFT writes it, and that nothing else comes through.

use super::*;
use crate::gguf::MetadataValue;
use proptest::prelude::*;
use serde_json::json;

const BASE: &[u8] = include_bytes!("../../../../tests/golden/lora/base.gguf");
const TENSORS: &[u8] = include_bytes!("../../../../tests/golden/lora/two/adapter_model.safetensors");
const CONFIG: &[u8] = include_bytes!("../../../../tests/golden/lora/two/adapter_config.json");

fn base() -> Header {
    Header::read(BASE, BASE.len() as u64).unwrap()
}

fn config() -> serde_json::Value {
    json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4})
}

/// A safetensors file of single-precision tensors, each filled with 0, 1, 2, ...
fn tensors(shapes: &[(&str, [usize; 2])]) -> Vec<u8> {
    let data: Vec<(&str, [usize; 2], Vec<u8>)> = shapes
        .iter()
        .map(|&(name, shape)| (name, shape, (0..shape[0] * shape[1]).flat_map(|n| (n as f32).to_le_bytes()).collect()))
        .collect();
    let views =
        data.iter().map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn key(module: &str) -> Vec<(String, [usize; 2])> {
    vec![
        (format!("base_model.model.{module}.lora_A.weight"), [2, 16]),
        (format!("base_model.model.{module}.lora_B.weight"), [8, 2]),
    ]
}

fn converted(config: &serde_json::Value, shapes: &[(String, [usize; 2])]) -> Result<(AdapterHeader, Vec<u8>), String> {
    let shapes: Vec<(&str, [usize; 2])> = shapes.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
    let bytes =
        convert(config.to_string().as_bytes(), &tensors(&shapes), &base()).map_err(|error| error.to_string())?;
    let header = AdapterHeader::read(bytes.as_slice(), bytes.len() as u64).unwrap();
    Ok((header, bytes))
}

fn floats(header: &AdapterHeader, bytes: &[u8], name: &str) -> Vec<f32> {
    let tensor = header.header.tensor(name).unwrap();
    let start = (header.header.data_offset + tensor.offset) as usize;
    bytes[start..start + tensor.n_bytes as usize]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&value| f32::from_le_bytes(value))
        .collect()
}

#[test]
fn keys_of_llama_are_sorted_by_head_and_other_modules_are_not() {
    let (header, bytes) = converted(&config(), &key("model.layers.1.self_attn.k_proj")).unwrap();
    assert_eq!(header.alpha, 4.0);
    assert_eq!(header.header.architecture(), "llama");
    assert_eq!(header.pairs[0].a.dimensions, [16, 2]);
    // One head of 8 rows: 0, 4, 1, 5, ... each of two numbers.
    let rows = [0., 4., 1., 5., 2., 6., 3., 7.];
    let expected: Vec<f32> = rows.iter().flat_map(|row| [row * 2.0, row * 2.0 + 1.0]).collect();
    assert_eq!(floats(&header, &bytes, "blk.1.attn_k.weight.lora_b"), expected);
    let (header, bytes) = converted(&config(), &key("model.layers.1.self_attn.v_proj")).unwrap();
    let expected: Vec<f32> = (0..16).map(|n| n as f32).collect();
    assert_eq!(floats(&header, &bytes, "blk.1.attn_v.weight.lora_b"), expected);
}

#[test]
fn a_module_has_its_own_rank_and_scale() {
    let mut shapes = key("model.layers.0.self_attn.v_proj");
    shapes.extend(key("model.layers.1.self_attn.v_proj"));
    let mut config = config();
    config["alpha_pattern"] = json!({"layers.1.self_attn.v_proj": 6});
    config["use_rslora"] = json!(true);
    let (header, bytes) = converted(&config, &shapes).unwrap();
    // alpha / sqrt(2) * 2, so that llama.cpp's division by the rank leaves alpha / sqrt(2).
    assert!((header.alpha - 4.0 * 2.0_f32.sqrt()).abs() < 1e-6);
    let at = |layer: u32| floats(&header, &bytes, &format!("blk.{layer}.attn_v.weight.lora_b"))[3];
    assert_eq!((at(0), at(1)), (3.0, 4.5));
}

#[test]
fn a_real_adapter_is_converted_whole() {
    let bytes = convert(CONFIG, TENSORS, &base()).unwrap();
    let header = AdapterHeader::read(bytes.as_slice(), bytes.len() as u64).unwrap();
    assert_eq!(header.pairs.len(), 13);
    assert_eq!(header.header.get("general.type"), Some(&MetadataValue::String("adapter".to_owned())));
    let embedding = header.pairs.iter().find(|pair| pair.is_embedding()).unwrap();
    assert_eq!((embedding.a.dimensions.as_slice(), embedding.b.dimensions.as_slice()), (&[2, 260][..], &[2, 16][..]));
}

#[test]
fn other_classes_prefixes_mean_the_same_modules() {
    for prefix in ["model.", "model.language_model.", "language_model.model.", ""] {
        let (header, _) = converted(&config(), &key(&format!("{prefix}layers.0.self_attn.v_proj"))).unwrap();
        assert_eq!(header.pairs[0].name, "blk.0.attn_v.weight", "{prefix}");
    }
}

#[test]
fn what_is_more_than_lora_is_refused() {
    let shapes = key("model.layers.0.self_attn.v_proj");
    let refused = |key: &str, value: serde_json::Value| {
        let mut config = config();
        config[key] = value;
        converted(&config, &shapes).unwrap_err()
    };
    let merge = "which a GGUF adapter cannot hold; merge it into the base model and convert that";
    assert_eq!(refused("use_dora", json!(true)), format!("it is trained with DoRA, {merge}"));
    assert_eq!(refused("bias", json!("all")), format!("it is trained with biases, {merge}"));
    assert_eq!(
        refused("modules_to_save", json!(["lm_head"])),
        format!("it is trained with whole modules (`modules_to_save`), {merge}")
    );
    assert_eq!(
        refused("init_lora_weights", json!("pissa")),
        "it is trained with `init_lora_weights` \"pissa\", which changes the base model, which a GGUF adapter cannot hold; \
         save it again with `path_initial_model_for_weight_conversion`"
    );
    let wrong = "its `adapter_config.json` is wrong: ";
    assert_eq!(
        refused("peft_type", json!("IA3")),
        format!("{wrong}its `peft_type` is `IA3`, and only `LORA` can be converted")
    );
    for r in [json!(0), json!(null), json!(10_000_000)] {
        assert_eq!(refused("r", r), format!("{wrong}it has no rank `r` of 1 or more"));
    }
    assert_eq!(refused("lora_alpha", json!(0)), format!("{wrong}it has no `lora_alpha` above 0"));
    assert_eq!(
        refused("rank_pattern", json!({".*q_proj": 3})),
        format!("{wrong}the key `.*q_proj` of its `rank_pattern` is not the end of a module's name")
    );
    assert_eq!(
        refused("rank_pattern", json!({"q": 0.5})),
        format!("{wrong}its `rank_pattern` gives `q` the value 0.5")
    );
    // What is there and says nothing is no obstacle.
    let mut plain = config();
    for (key, value) in [("use_dora", json!(false)), ("modules_to_save", json!(null)), ("bias", json!("none"))] {
        plain[key] = value;
    }
    plain["init_lora_weights"] = json!("gaussian");
    assert!(converted(&plain, &shapes).is_ok());
}

#[test]
fn tensors_that_have_no_place_are_named() {
    let refused = |shapes: &[(&str, [usize; 2])]| {
        let shapes: Vec<_> = shapes.iter().map(|&(name, shape)| (name.to_owned(), shape)).collect();
        converted(&config(), &shapes).unwrap_err()
    };
    let v = "base_model.model.model.layers.0.self_attn.v_proj";
    let (a, b) = (format!("{v}.lora_A.weight"), format!("{v}.lora_B.weight"));
    assert_eq!(
        refused(&[("base_model.model.lm_head.weight", [2, 2])]),
        "its tensor `base_model.model.lm_head.weight` is not a factor of LoRA: whole weights and biases cannot be in an adapter"
    );
    assert_eq!(
        refused(&[("base_model.model.model.layers.0.mixer.lora_A.weight", [2, 16])]),
        "its tensor `base_model.model.model.layers.0.mixer.lora_A.weight` is of a module that cannot be placed in a GGUF"
    );
    assert_eq!(
        refused(&[("base_model.model.vision_tower.layers.0.self_attn.v_proj.lora_A.weight", [2, 16])]),
        "its tensor `base_model.model.vision_tower.layers.0.self_attn.v_proj.lora_A.weight` is of a module that cannot be \
         placed in a GGUF"
    );
    assert_eq!(
        refused(&[(&a, [2, 16])]),
        format!("its tensor `{a}` has no counterpart: the other factor of its module is missing")
    );
    assert_eq!(
        refused(&[(&a, [2, 15]), (&b, [8, 2])]),
        "it does not fit the base model: its tensor `blk.0.attn_v.weight.lora_a` has the shape 15 x 2, but the base's \
         16 x 8 needs 16 x 2"
    );
    assert_eq!(
        refused(&[(&a, [2, 16]), (&a.replace(".weight", ".default.weight"), [2, 16])]),
        format!("its tensor `{a}` means the same as `{}`", a.replace(".weight", ".default.weight"))
    );
    let k = "base_model.model.model.layers.0.self_attn.k_proj";
    assert_eq!(
        refused(&[(&format!("{k}.lora_A.weight"), [2, 16]), (&format!("{k}.lora_B.weight"), [7, 2])]),
        format!("its tensor `{k}.lora_B.weight` has 7 rows, which cannot be 1 heads of even size")
    );
}

proptest! {
    /// Bytes changed anywhere, most of all in the header: an adapter or an error, never a panic.
    #[test]
    fn damaged_files_are_refused_or_harmless(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), in_header in any::<bool>(), cut in any::<prop::sample::Index>(),
    ) {
        let base = base();
        let mut bytes = TENSORS.to_vec();
        let n_header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let range = if in_header { n_header } else { bytes.len() };
        for (place, value) in &places {
            bytes[place.index(range)] = *value;
        }
        let _ = convert(CONFIG, &bytes, &base);
        let _ = convert(CONFIG, &TENSORS[..cut.index(TENSORS.len())], &base);
        let mut config = CONFIG.to_vec();
        for (place, value) in &places {
            config[place.index(CONFIG.len())] = *value;
        }
        let _ = convert(&config, TENSORS, &base);
    }
}
