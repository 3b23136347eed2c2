//! What manifests hold, what is refused, and that what is written is read back.

use super::*;
use proptest::prelude::*;

fn layer(media_type: &str, bytes: &[u8]) -> Layer {
    Layer::new(media_type, Digest::of(bytes), bytes.len() as u64)
}

fn manifest() -> Manifest {
    Manifest::new(layer(media_type::CONFIG, b"c"), vec![layer(media_type::MODEL, b"m"), layer("x/unknown", b"")])
}

#[test]
fn writes_ollamas_json() {
    let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let manifest = Manifest::new(layer(media_type::CONFIG, b""), vec![layer(media_type::MODEL, b"")]);
    let expected = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"sha256:{hex}","size":0}},"layers":[{{"mediaType":"{}","digest":"sha256:{hex}","size":0}}]}}"#,
        media_type::MANIFEST,
        media_type::CONFIG,
        media_type::MODEL,
    );
    assert_eq!(String::from_utf8(manifest.to_json()).unwrap(), expected);
}

#[test]
fn a_list_names_manifests() {
    let digest = Digest::of(b"m");
    let list = serde_json::json!({"schemaVersion": 2, "manifests": [{"digest": digest, "size": 1, "platform": {}}]});
    assert_eq!(listed(list.to_string().as_bytes()), Some(vec![digest]));
    assert_eq!(listed(br#"{"manifests":[]}"#), Some(vec![]));
    for other in [manifest().to_json(), b"".to_vec(), br#"{"manifests":[{"digest":"sha256:../x"}]}"#.to_vec()] {
        assert_eq!(listed(&other), None);
    }
}

#[test]
fn dockers_models_are_models() {
    let layers = vec![layer(DOCKER_GGUF, b"m"), layer(DOCKER_LICENSE, b"l")];
    let manifest = Manifest::new(layer("application/vnd.docker.ai.model.config.v0.1+json", b"c"), layers);
    assert_eq!(manifest.layer(media_type::MODEL), Some(&manifest.layers[0]));
    assert_eq!(manifest.layers_of(media_type::LICENSE).collect::<Vec<_>>(), [&manifest.layers[1]]);
    assert_eq!(manifest.layer(media_type::ADAPTER), None);
}

#[test]
fn keeps_unknown_layers_and_fields() {
    let mut manifest = manifest();
    manifest.layers[0].other.insert("from".to_owned(), "/a/b".into());
    manifest.other.insert("annotations".to_owned(), serde_json::json!({"a": 1}));
    assert_eq!(Manifest::parse(&manifest.to_json()).unwrap(), manifest);
    assert_eq!(manifest.total_bytes(), 2);
    assert_eq!(manifest.digests().count(), 3);
}

#[track_caller]
fn refused(edit: impl FnOnce(&mut Value), expected: &str) {
    let mut value = serde_json::to_value(manifest()).unwrap();
    edit(&mut value);
    let error = Manifest::parse(value.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn refuses_what_cannot_be_right() {
    refused(|m| m["schemaVersion"] = 1.into(), "its schema version is 1, not 2");
    refused(|m| m["layers"] = Value::Null, "its JSON is invalid: invalid type: null, expected a sequence");
    refused(|m| m["layers"][1] = Value::Null, "its JSON is invalid: invalid type: null");
    refused(|m| m["layers"][0]["size"] = (-1).into(), "its JSON is invalid: invalid value: integer `-1`");
    refused(|m| m["layers"][0]["size"] = u64::MAX.into(), "its layer of type `application/vnd.ollama.image.model`");
    refused(|m| m["layers"][1] = m["layers"][0].clone(), "it names the layer `sha256:");
    refused(|m| m["layers"][1]["digest"] = m["config"]["digest"].clone(), "it gives the blob `sha256:");
    refused(
        |m| m["config"]["digest"] = "sha256:../../x".into(),
        "its JSON is invalid: `sha256:../../x` is not a digest",
    );
    let error = Manifest::parse(&vec![b' '; 1_048_577]).unwrap_err();
    assert_eq!(error.to_string(), "it has 1048577 bytes, more than 1048576");
}

#[test]
fn reads_a_configuration_that_ollama_wrote() {
    let json = br#"{"model_format":"gguf","model_family":"llama","model_families":null,"model_type":"1.2B",
        "file_type":"Q8_0","architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config = ModelConfig::parse(json).unwrap();
    assert_eq!(config.model_type, "1.2B");
    assert_eq!(ModelConfig::parse(&config.to_json()).unwrap(), config);
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse(&bytes);
        let _ = ModelConfig::parse(&bytes);
    }

    #[test]
    fn manifests_round_trip(blobs in proptest::collection::hash_map(".{0,20}", 0u64..1 << 40, 0..6)) {
        let layers = blobs.iter().map(|(text, &size)| Layer::new(text, Digest::of(format!("layer {text}").as_bytes()), size));
        let manifest = Manifest::new(layer(media_type::CONFIG, b"c"), layers.collect());
        prop_assert_eq!(Manifest::parse(&manifest.to_json()).unwrap(), manifest);
    }
}
