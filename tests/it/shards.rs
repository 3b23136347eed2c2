//! Models that are split into several files: they answer as the whole does, to the last bit.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use slm::gguf::{self, GgufWriter, Header};

use crate::slm::{Home, files, triage_gguf};
use slm_testing::shared;

/// Splits a GGUF as `llama-gguf-split` does: all keys in the first file, the tensors over all.
pub fn split(gguf: &[u8], n_files: usize) -> Vec<Vec<u8>> {
    let header = Header::read(gguf, gguf.len() as u64).unwrap();
    let per_file = header.tensors.len().div_ceil(n_files);
    let file = |(number, tensors): (usize, &[gguf::TensorInfo])| {
        let mut writer = GgufWriter::new();
        if number == 0 {
            header.entries().for_each(|(key, value)| writer.value(key, value));
        }
        writer.value("split.no", &gguf::MetadataValue::U16(number as u16));
        writer.value("split.count", &gguf::MetadataValue::U16(n_files as u16));
        writer.value("split.tensors.count", &gguf::MetadataValue::I32(header.tensors.len() as i32));
        for tensor in tensors {
            let start = (header.data_offset + tensor.offset) as usize;
            writer.tensor(&tensor.name, &tensor.dimensions, tensor.kind, &gguf[start..][..tensor.n_bytes as usize]);
        }
        writer.into_bytes()
    };
    header.tensors.chunks(per_file).enumerate().map(file).collect()
}

/// Files named as shards are, in a folder of the home.
fn shards(home: &Home, prefix: &str, gguf: &[u8]) -> Vec<PathBuf> {
    let files = split(gguf, 3);
    let name = |n: usize| format!("{prefix}-{:05}-of-{:05}.gguf", n + 1, files.len());
    files.iter().enumerate().map(|(n, bytes)| home.file(&name(n), bytes)).collect()
}

fn create(home: &Home, name: &str, from: &Path) {
    let modelfile = home.file("Modelfile", format!("FROM {}\nPARAMETER temperature 0\n", from.display()));
    home.slm(["create", name, "-f", modelfile.to_str().unwrap()]).succeeds();
}

fn manifest(home: &Home, name: &str) -> PathBuf {
    home.models().join("manifests/registry.ollama.ai/library").join(name).join("latest")
}

#[test]
fn a_split_model_answers_like_the_whole_to_the_last_bit() {
    let home = Home::new();
    let gguf = triage_gguf();
    create(&home, "whole", &home.file("whole.gguf", &gguf));
    let paths = shards(&home, "model", &gguf);
    // By any of its files.
    create(&home, "split", &paths[1]);
    paths.iter().for_each(|path| fs::remove_file(path).unwrap());

    let run = |model: &str, more: &[&str]| {
        let args = ["run", model, "I was charged twice for order 1182", "--json"];
        home.slm([&args[..], more].concat()).json()
    };
    for more in [&["--choices", "billing,shipping,other"][..], &["--num-predict", "24"]] {
        let [mut whole, mut split] = ["whole", "split"].map(|model| run(model, more));
        let ids = [&whole, &split].map(|reply| reply["evaluation_id"].clone());
        assert!(ids[0] != ids[1] || ids[0].is_null(), "{ids:?}");
        for reply in [&mut whole, &mut split] {
            for differs in ["model", "evaluation_id", "timings"] {
                reply.as_object_mut().unwrap().remove(differs);
            }
        }
        assert_eq!(whole, split);
    }
    let [whole, split] = ["whole", "split"].map(|model| home.slm(["show", model, "--json"]).json());
    assert_eq!(whole["details"], split["details"]);
    let page = home.slm(["show", "split"]).succeeds();
    assert!(page.contains(" (of 3 files)\n"), "{page}");
    // Not mapped, and from its own Modelfile.
    run("split", &["--num-predict", "1", "--no-mmap"]);
    let modelfile = home.slm(["show", "split", "--modelfile"]).succeeds();
    home.file("Again", modelfile);
    home.slm(["create", "again", "-f", "Again"]).succeeds();
    assert_eq!(home.slm(["show", "again", "--json"]).json()["digest"], split["digest"]);
    home.slm(["verify"]).succeeds();
    home.slm(["list"]).succeeds();
}

#[test]
fn a_split_story_is_the_same_story() {
    let Some(path) = shared("models/stories260K.gguf") else { return };
    let home = Home::new();
    create(&home, "whole", &path);
    create(&home, "split", &shards(&home, "stories", &fs::read(path).unwrap())[0]);
    let tell = |model: &str| {
        let how = ["--num-predict", "60", "--seed", "7", "--temperature", "0.8"];
        home.slm([&["run", model, "Once upon a time"][..], &how].concat()).ends(0).stdout
    };
    assert_eq!(tell("whole"), tell("split"));
}

#[test]
fn adapters_fit_a_split_base() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lora");
    let home = Home::new();
    let base = golden.join("base.gguf");
    let split = shards(&home, "base", &fs::read(&base).unwrap()).swap_remove(2);
    let expected: Value = serde_json::from_slice(&fs::read(golden.join("expected.json")).unwrap()).unwrap();
    let adapter = golden.join(expected["cases"][2]["adapters"][0][0].as_str().unwrap());
    let template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if contract %}{% endif %}";
    let answer = |name: &str, base: &Path| {
        let text = format!("FROM {}\nTEMPLATE {template}\nADAPTER {}\n", base.display(), adapter.display());
        home.file("Modelfile", text);
        home.slm(["create", name]).succeeds();
        home.slm(["run", name, "--choices", "yes,no", "--json", "a text"]).json()["probabilities"].clone()
    };
    let probabilities = answer("whole", &base);
    assert!(probabilities.is_array());
    assert_eq!(answer("split", &split), probabilities);
}

#[test]
fn what_is_missing_or_wrong_is_said_before_anything_is_copied() {
    let home = Home::new();
    let paths = shards(&home, "model", &triage_gguf());
    let at = home.path().display().to_string();
    let refused = |name: &str, expected: &str| {
        home.file("Modelfile", format!("FROM ./{name}"));
        home.slm(["create", "x"]).fails(1, &format!("slm: {}\n", expected.replace("DIR", &at)));
        assert!(files(&home.models()).is_empty());
    };
    let second = fs::read(&paths[1]).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    refused(
        "model-00003-of-00003.gguf",
        "`./model-00002-of-00003.gguf` is missing: `./model-00003-of-00003.gguf` is one of 3 files of a model; put all of \
         them into one folder",
    );
    fs::write(&paths[1], &second[..second.len() - 1000]).unwrap();
    let said = home.slm(["create", "x"]).ends(1).stderr;
    assert!(said.contains("model-00002-of-00003.gguf` is not a model that slm can load: its tensor `"), "{said}");
    fs::copy(&paths[2], &paths[1]).unwrap();
    refused(
        "model-00001-of-00003.gguf",
        "`./model-00001-of-00003.gguf` is not a model that slm can load: its split is invalid: its file 2 of 3 says that \
         it is number 3 of 3",
    );
    fs::copy(&paths[0], home.path().join("renamed.gguf")).unwrap();
    refused(
        "renamed.gguf",
        "`./renamed.gguf` is one of several files of a model; rename it to end with `-00001-of-00003.gguf`",
    );
}

#[test]
fn weights_that_are_no_shards_of_one_model_are_refused() {
    let home = Home::new();
    let gguf = triage_gguf();
    create(&home, "split", &shards(&home, "model", &gguf)[0]);
    create(&home, "whole", &home.file("whole.gguf", &gguf));
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(manifest(&home, name)).unwrap()).unwrap() };
    let [split, whole] = ["split", "whole"].map(read);
    let blob = |layer: &Value| {
        home.models().join("blobs").join(layer["digest"].as_str().unwrap().replace(':', "-")).display().to_string()
    };
    let refused = |layers: &[&Value], expected: &str| {
        let mut manifest = split.clone();
        manifest["layers"] = layers.iter().map(|layer| (*layer).clone()).collect();
        fs::write(self::manifest(&home, "split"), manifest.to_string()).unwrap();
        let expected = format!("slm: `{}` is not a model that slm can load: {expected}\n", blob(layers[0]));
        home.slm(["run", "split", "x", "--num-predict", "1"]).fails(1, &expected);
    };
    let shard = |n: usize| &split["layers"][n];
    refused(&[&whole["layers"][0], shard(1)], "it is a whole model, not one of the files of a split one");
    refused(&[shard(0)], "it is one of 3 files that a model is split into, and not a model without the others");
    refused(&[shard(0), shard(1)], "its split is invalid: it is split into 3 files, and 2 are given");
    refused(&[shard(0), shard(2), shard(1)], "its split is invalid: its file 2 of 3 says that it is number 3 of 3");
}
