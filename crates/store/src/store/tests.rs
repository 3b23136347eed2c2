//! Tests of the store: what is made can be read, and what fails leaves the store as it was.

use super::*;
use serde_json::json;
use slm_values::chat::{Message, Role};
use slm_values::gguf::testing::tiny_llama;
use slm_values::manifest::{Manifest, media_type};
use slm_values::modelfile::{Format, Modelfile};
use slm_values::progress::Silent;
use std::fs;
use tempfile::TempDir;

struct Sandbox {
    folder: TempDir,
    store: Store,
}

impl Sandbox {
    fn new() -> Sandbox {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("tiny.gguf"), tiny_llama().bytes()).unwrap();
        let store = Store::open(folder.path().join("store"));
        Sandbox { folder, store }
    }

    fn create(&self, name: &str, modelfile: &str) -> Result<Model, StoreError> {
        self.store.create(&name.parse().unwrap(), &Modelfile::parse(modelfile).unwrap(), self.folder.path(), &Silent)
    }

    fn resolve(&self, name: &str) -> Result<Model, StoreError> {
        self.store.resolve(&name.parse().unwrap())
    }

    fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.store.blobs()).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Every file of the store with its bytes, the lock aside.
    fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.store.root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false if entry.file_name() == ".slm.lock" => {}
                    false => found.push((entry.path(), fs::read(entry.path()).unwrap())),
                }
            }
        }
        found.sort();
        found
    }

    fn message(&self, error: StoreError) -> String {
        error.to_string().replace(self.folder.path().to_str().unwrap(), "DIR")
    }
}

/// A file of which the binary would hold a copy.
fn embedded(modelfile: &'static str) -> EmbeddedModel {
    EmbeddedModel::new("triage", Vec::leak(tiny_llama().bytes()), modelfile)
}

#[test]
fn what_is_created_is_resolved() {
    let sandbox = Sandbox::new();
    let modelfile = r#"FROM ./tiny.gguf
PARAMETER temperature 0
PARAMETER stop <end>
SYSTEM You sort.
TEMPLATE {{ .Prompt }}
MESSAGE user a
MESSAGE assistant b
FORMAT {"enum": ["b", "a"]}
LICENSE one
LICENSE two
"#;
    let model = sandbox.create("me/sorter:1", modelfile).unwrap();
    assert_eq!(model.name.to_string(), "me/sorter:1");
    assert_eq!(model.system.as_deref(), Some("You sort."));
    assert_eq!(model.template.as_deref(), Some("{{ .Prompt }}"));
    assert_eq!(model.messages, [Message::new(Role::User, "a"), Message::new(Role::Assistant, "b")]);
    assert_eq!(model.format, Some(Format::Schema(json!({"enum": ["b", "a"]}))));
    assert_eq!(model.licenses, ["one", "two"]);
    assert_eq!(model.parameters.stop.as_deref(), Some(&["<end>".to_owned()][..]));
    assert_eq!((model.config.model_family.as_str(), model.config.model_type.as_str()), ("llama", "7K"));
    let Weights::Blobs(weights) = &model.weights else { panic!("{:?}", model.weights) };
    assert_eq!(fs::read(&weights[0]).unwrap(), tiny_llama().bytes());
    assert_eq!(model.weights_digest, Digest::of(&tiny_llama().bytes()));
    let manifest = fs::read(sandbox.store.root().join("manifests/registry.ollama.ai/me/sorter/1")).unwrap();
    assert_eq!(model.digest, Digest::of(&manifest));
    let parameters = model.manifest.layer(media_type::PARAMS).unwrap();
    let parameters = fs::read_to_string(sandbox.store.blob_path(&parameters.digest)).unwrap();
    assert_eq!(parameters, "{\"stop\":[\"\\u003cend\\u003e\"],\"temperature\":0}\n");
    assert_eq!(model.weights.header().unwrap().architecture(), "llama");

    let written = model.modelfile();
    let again = sandbox.store.create(&"again".parse().unwrap(), &written, sandbox.folder.path(), &Silent).unwrap();
    assert_eq!(again.manifest, model.manifest);
}

#[test]
fn a_model_built_on_a_model_keeps_what_it_does_not_replace() {
    let sandbox = Sandbox::new();
    let base =
        "FROM ./tiny.gguf\nPARAMETER temperature 0\nPARAMETER top_k 3\nSYSTEM a\nTEMPLATE t\nLICENSE one\nFORMAT json";
    let base = sandbox.create("base", base).unwrap();
    let model = sandbox.create("new", "FROM base\nPARAMETER top_k 5\nSYSTEM b\nLICENSE two\nLICENSE one").unwrap();
    assert_eq!((model.parameters.temperature, model.parameters.top_k), (Some(0.0), Some(5)));
    assert_eq!((model.system.as_deref(), model.template.as_deref()), (Some("b"), Some("t")));
    assert_eq!((model.licenses, model.format), (vec!["one".to_owned(), "two".to_owned()], Some(Format::Json)));
    assert_eq!(model.weights_digest, base.weights_digest);
    // On itself, too.
    let model = sandbox.create("new", "FROM new\nSYSTEM c").unwrap();
    assert_eq!((model.system.as_deref(), model.parameters.top_k), (Some("c"), Some(5)));
}

#[test]
fn the_embedded_model_is_there_without_a_store() {
    let mut sandbox = Sandbox::new();
    sandbox.store =
        sandbox.store.with_embedded(embedded("FROM ./x.gguf\nPARAMETER num_ctx 32\nFORMAT json\nLICENSE MIT"));
    let model = sandbox.resolve("triage").unwrap();
    assert!(matches!(model.weights, Weights::Embedded(_)));
    assert_eq!((model.parameters.num_ctx, &model.format), (Some(32), &Some(Format::Json)));
    assert!(!sandbox.store.root().exists());
    let listing = sandbox.store.list().unwrap();
    assert_eq!(listing.models.len(), 1);
    assert_eq!((listing.models[0].digest, listing.models[0].origin), (model.digest, Origin::Embedded));
    let remove = |name: &str| sandbox.message(sandbox.store.remove(&name.parse().unwrap()).unwrap_err());
    assert_eq!(remove("triage"), "the embedded model `triage:latest` is part of slm and cannot be removed");

    // Built on it, and under its own name, which wins from then on.
    let built = sandbox.create("mine", "FROM triage\nSYSTEM a").unwrap();
    assert_eq!((built.parameters.num_ctx, built.format), (Some(32), Some(Format::Json)));
    assert_eq!(built.weights_digest, model.weights_digest);
    let own = sandbox.create("triage", "FROM triage").unwrap();
    assert!(matches!(own.weights, Weights::Blobs(_)));
    assert_eq!(own.digest, model.digest);
    assert_eq!(sandbox.store.list().unwrap().models.len(), 2);
    sandbox.store.remove(&"triage".parse().unwrap()).unwrap();
    assert!(matches!(sandbox.resolve("triage").unwrap().weights, Weights::Embedded(_)));
}

#[test]
fn a_blob_shares_nothing_with_its_source() {
    let sandbox = Sandbox::new();
    let source = sandbox.folder.path().join("tiny.gguf");
    let imported = sandbox.store.import_gguf(&source, &Silent).unwrap();
    // In place, as `cp` and quantizers write: the same inode.
    let mut bytes = fs::read(&source).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0xff);
    use std::io::Write as _;
    fs::OpenOptions::new().write(true).open(&source).unwrap().write_all(&bytes).unwrap();
    assert_eq!(Digest::of(&fs::read(sandbox.store.blob_path(&imported.digest)).unwrap()), imported.digest);
}

#[test]
fn a_verified_blob_is_not_written_again_and_a_damaged_one_is() {
    let sandbox = Sandbox::new();
    let source = sandbox.folder.path().join("tiny.gguf");
    let blob = sandbox.store.blob_path(&sandbox.store.import_gguf(&source, &Silent).unwrap().digest);
    let written = || fs::metadata(&blob).unwrap().modified().unwrap();
    let before = written();
    sandbox.store.import_gguf(&source, &Silent).unwrap();
    assert_eq!(written(), before);
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, &bytes).unwrap();
    sandbox.store.import_gguf(&source, &Silent).unwrap();
    assert_eq!(fs::read(&blob).unwrap(), fs::read(&source).unwrap());
}

#[test]
fn what_fails_leaves_the_store_as_it_was() {
    let sandbox = Sandbox::new();
    sandbox.create("kept", "FROM ./tiny.gguf\nSYSTEM a").unwrap();
    let before = sandbox.snapshot();
    let file = |name: &str, bytes: &[u8]| fs::write(sandbox.folder.path().join(name), bytes).unwrap();
    let tiny = tiny_llama().bytes();
    file("cut.gguf", &tiny[..tiny.len() - 1]);
    file("other.gguf", b"PK\x03\x04");
    file("vocabulary.gguf", &tiny_llama().without_tensors().bytes());
    file("wrong.json", b"[1]");
    let refused = |modelfile: &str, expected: &str| {
        let message = sandbox.message(sandbox.create("kept", modelfile).unwrap_err());
        assert_eq!(message, expected);
        assert_eq!(sandbox.snapshot(), before, "{modelfile}");
    };
    refused(
        "FROM ./cut.gguf",
        "`DIR/./cut.gguf` is not a model that slm can load: its tensor `blk.0.ffn_up.weight` ends at byte 26048 of the \
         data, but the file has only 26047; the copy or download is probably incomplete",
    );
    refused(
        "FROM ./other.gguf",
        "`DIR/./other.gguf` is not a model that slm can load: it begins with `PK\\x03\\x04`, not with `GGUF`, so it is \
         not a GGUF file",
    );
    refused(
        "FROM ./vocabulary.gguf",
        "`DIR/./vocabulary.gguf` contains a vocabulary without weights, so it cannot answer; give the GGUF file of a whole \
         model",
    );
    refused("FROM ./none.gguf", "cannot read `DIR/./none.gguf`: No such file or directory (os error 2)");
    refused("FROM ./", "`DIR/./` is not a regular file; give the path of a GGUF file");
    refused("FROM ~/x.gguf", "`~/x.gguf` begins with `~`, which only a shell expands; write the full path");
    refused("FROM kep", "there is no model `kep:latest`; did you mean `kept:latest`? There are `kept:latest`");
    refused("FROM zzzzzz", "there is no model `zzzzzz:latest`; there are `kept:latest`");
    refused(
        "FROM ./tiny.gguf\nADAPTER ./lora.gguf",
        "cannot read `DIR/./lora.gguf`: No such file or directory (os error 2)",
    );
    refused("FROM ./tiny.gguf\nFORMAT @none.json", "the schema `DIR/none.json` of FORMAT does not exist");
    refused("FROM ./tiny.gguf\nFORMAT @wrong.json", "the schema `DIR/wrong.json` of FORMAT is not a JSON object");
}

#[test]
fn an_empty_store_says_what_to_do() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.resolve("x").unwrap_err().to_string(), "there is no model `x:latest`; the store is empty");
    assert!(sandbox.store.list().unwrap().models.is_empty());
    assert!(!sandbox.store.root().exists());
}

#[test]
fn many_writers_of_one_name_leave_one_whole_model() {
    let sandbox = Sandbox::new();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for _ in 0..5 {
                    sandbox.create("same", &format!("FROM ./tiny.gguf\nSYSTEM {n}\nPARAMETER seed {n}")).unwrap();
                }
            });
        }
    });
    let model = sandbox.resolve("same").unwrap();
    // Both layers of one writer.
    assert_eq!(model.parameters.seed.unwrap().to_string(), model.system.unwrap());
    assert!(sandbox.blobs().iter().all(|name| name.starts_with("sha256-")), "{:?}", sandbox.blobs());
}

#[test]
fn writers_and_removers_do_not_meet() {
    let sandbox = Sandbox::new();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                let name = format!("m{n}");
                for _ in 0..10 {
                    sandbox.create(&name, "FROM ./tiny.gguf\nSYSTEM shared").unwrap();
                    sandbox.resolve(&name).unwrap();
                    sandbox.store.remove(&name.parse().unwrap()).unwrap();
                }
            });
        }
    });
    assert_eq!(sandbox.snapshot(), []);
}

#[test]
fn leftovers_are_cleared_by_the_next_write_and_never_while_somebody_writes() {
    let sandbox = Sandbox::new();
    sandbox.create("a", "FROM ./tiny.gguf").unwrap();
    let leftovers = [
        sandbox.store.blobs().join(".slm-1-1.partial"),
        sandbox.store.manifest_path(&"a".parse().unwrap()).with_file_name(".slm-1-2.partial"),
    ];
    leftovers.iter().for_each(|path| fs::write(path, "half").unwrap());
    let writer = sandbox.store.begin_writing().unwrap();
    assert!(leftovers.iter().all(|path| !path.exists()));

    leftovers.iter().for_each(|path| fs::write(path, "half").unwrap());
    sandbox.create("b", "FROM ./tiny.gguf").unwrap();
    assert!(leftovers.iter().all(|path| path.exists()));
    drop(writer);
    sandbox.create("b", "FROM ./tiny.gguf").unwrap();
    assert!(leftovers.iter().all(|path| !path.exists()));
}

#[test]
fn what_is_broken_is_reported_and_hides_nothing() {
    let sandbox = Sandbox::new();
    sandbox.create("good", "FROM ./tiny.gguf\nSYSTEM a").unwrap();
    sandbox.create("bad", "FROM ./tiny.gguf\nSYSTEM b").unwrap();
    sandbox.create("worse", "FROM good\nSYSTEM c").unwrap();
    let path = |name: &str| sandbox.store.manifest_path(&name.parse().unwrap());
    let bad = fs::read_to_string(path("bad")).unwrap();
    fs::write(path("bad"), &bad[..bad.len() - 2]).unwrap();
    let worse = sandbox.resolve("worse").unwrap();
    let system = worse.manifest.layer(media_type::SYSTEM).unwrap().digest;
    fs::write(sandbox.store.blob_path(&system), "x").unwrap();
    // What no model can be named like is not ours.
    fs::write(path("good").with_file_name(".DS_Store"), "x").unwrap();

    let listing = sandbox.store.list().unwrap();
    let names: Vec<String> = listing.models.iter().map(|model| model.name.to_string()).collect();
    assert_eq!(names, ["good:latest", "worse:latest"]);
    let [broken] = listing.broken.as_slice() else { panic!("{:?}", listing.broken) };
    assert_eq!(broken.path, path("bad"));
    assert!(broken.error.to_string().contains("create or pull the model again"), "{}", broken.error);
    assert_eq!(
        sandbox.message(sandbox.resolve("worse").unwrap_err()),
        format!(
            "the blob `DIR/store/blobs/{}` does not match its hash; create or pull the model again",
            system.file_name()
        )
    );

    // The broken manifest keeps its blobs: what it still names is not swept with another model.
    let config = Manifest::parse(bad.as_bytes()).unwrap().config.digest;
    sandbox.store.remove(&"good".parse().unwrap()).unwrap();
    sandbox.store.remove(&"worse".parse().unwrap()).unwrap();
    assert!(sandbox.store.blob_path(&config).exists());
    fs::write(path("bad"), bad).unwrap();
    assert_eq!(sandbox.resolve("bad").unwrap().system.as_deref(), Some("b"));
}

#[test]
fn a_missing_or_cut_blob_is_named() {
    let sandbox = Sandbox::new();
    let model = sandbox.create("a", "FROM ./tiny.gguf").unwrap();
    let blob = sandbox.store.blob_path(&model.weights_digest);
    fs::write(&blob, "x").unwrap();
    let message = |reason: &str| {
        format!(
            "the blob `DIR/store/blobs/{}` {reason}; create or pull the model again",
            model.weights_digest.file_name()
        )
    };
    let error = || sandbox.message(sandbox.resolve("a").unwrap_err());
    assert_eq!(error(), message(&format!("has 1 bytes, not {}", tiny_llama().bytes().len())));
    fs::remove_file(&blob).unwrap();
    assert_eq!(error(), message("is missing"));
}

const FIT: FitFiles<'static> = FitFiles { card: b"{}", numbers: b"numbers" };

impl Sandbox {
    fn fit(&self, source: &str, name: &str, files: Option<FitFiles<'_>>) -> Result<Model, StoreError> {
        self.store.set_fit(&source.parse().unwrap(), &name.parse().unwrap(), files)
    }
}

#[test]
fn a_fit_is_put_beside_a_models_layers_replaced_and_taken_away() {
    let sandbox = Sandbox::new();
    let plain = sandbox.create("a", "FROM ./tiny.gguf\nSYSTEM one\nLICENSE l").unwrap();
    let fitted = sandbox.fit("a", "a", Some(FIT)).unwrap();
    assert_eq!(fitted.fit.as_ref().unwrap().read().unwrap(), [b"{}".to_vec(), b"numbers".to_vec()]);
    assert_eq!((fitted.system.as_deref(), fitted.weights_digest), (Some("one"), plain.weights_digest));
    let kinds: Vec<&str> =
        fitted.manifest.layers.iter().map(|layer| slm_values::manifest::kind(&layer.media_type)).collect();
    assert_eq!(kinds, ["model", "system", "license", "fit", "fit numbers"]);
    assert_eq!((fitted.digest_without_fit(), plain.digest_without_fit()), (plain.digest, plain.digest));
    // Under another name the first stays as it is.
    let other = sandbox.fit("a", "b", Some(FitFiles { card: b"[]", ..FIT })).unwrap();
    assert_ne!(other.fit.as_ref().unwrap().digest(), fitted.fit.as_ref().unwrap().digest());
    assert_eq!(sandbox.resolve("a").unwrap().fit, fitted.fit);
    assert_eq!(sandbox.store.copy(&"b".parse().unwrap(), &"c".parse().unwrap()).unwrap().fit, other.fit);
    let bare = sandbox.fit("a", "a", None).unwrap();
    assert_eq!((bare.fit, bare.manifest), (None, plain.manifest));
    // What nobody needs is swept.
    sandbox.store.remove(&"b".parse().unwrap()).unwrap();
    sandbox.store.remove(&"c".parse().unwrap()).unwrap();
    assert!(!sandbox.blobs().contains(&Digest::of(b"[]").file_name()));
}

#[test]
fn a_model_built_on_a_fitted_one_keeps_the_fit_where_prompts_and_answers_stay() {
    let sandbox = Sandbox::new();
    sandbox.create("a", "FROM ./tiny.gguf\nSYSTEM one\nFORMAT {\"enum\": [\"a\", \"b\"]}").unwrap();
    let fit = sandbox.fit("a", "a", Some(FIT)).unwrap().fit;
    for same in ["FROM a", "FROM a\nPARAMETER top_k 3\nLICENSE l", "FROM a\nSYSTEM one"] {
        assert_eq!(sandbox.create("b", same).unwrap().fit, fit, "{same}");
    }
    for other in [
        "SYSTEM two",
        "TEMPLATE t",
        "FORMAT {\"enum\": [\"b\", \"a\"]}",
        "MESSAGE user u\nMESSAGE assistant a",
        "RENDERER x",
    ] {
        let modelfile = Modelfile::parse(&format!("FROM a\n{other}")).unwrap();
        let creation = sandbox.store.begin_creating(&modelfile, sandbox.folder.path(), &Silent).unwrap();
        assert_eq!(creation.fit(), FitKept::No, "{other}");
        let model = sandbox.store.finish_creating(&"b".parse().unwrap(), creation).unwrap();
        assert!(model.fit.is_none() && model.unwritten().is_empty(), "{other}");
    }
    let creation = Modelfile::parse("FROM ./tiny.gguf\nSYSTEM two").unwrap();
    assert_eq!(sandbox.store.begin_creating(&creation, sandbox.folder.path(), &Silent).unwrap().fit(), FitKept::Yes);
}

#[test]
fn the_binarys_own_model_is_fitted_under_a_name_of_the_store() {
    let sandbox = Sandbox::new();
    let store = sandbox.store.clone().with_embedded(embedded("FROM x\nSYSTEM one"));
    let name = "triage".parse().unwrap();
    let fitted = store.set_fit(&name, &name, Some(FIT)).unwrap();
    assert!(fitted.fit.is_some() && fitted.modified.is_some() && fitted.system.as_deref() == Some("one"));
    store.remove(&name).unwrap();
    assert!(store.resolve(&name).unwrap().fit.is_none());
}

#[test]
fn half_a_fit_and_one_of_other_bytes_are_sentences_and_can_be_removed() {
    let sandbox = Sandbox::new();
    sandbox.create("a", "FROM ./tiny.gguf").unwrap();
    let fitted = sandbox.fit("a", "a", Some(FIT)).unwrap();
    fs::write(sandbox.store.blob_path(&Digest::of(b"numbers")), "NUMBERS").unwrap();
    let error = sandbox.message(fitted.fit.unwrap().read().unwrap_err());
    let blob = Digest::of(b"numbers").file_name();
    let again = "fit the model again, or remove its fit";
    assert_eq!(error, format!("the blob `DIR/store/blobs/{blob}` of a fit does not match its hash; {again}"));
    let place = sandbox.store.root().join("manifests/registry.ollama.ai/library/a/latest");
    let mut manifest = Manifest::parse(&fs::read(&place).unwrap()).unwrap();
    manifest.layers.retain(|layer| layer.media_type != media_type::FIT_NUMBERS);
    fs::write(&place, manifest.to_json()).unwrap();
    let error = sandbox.message(sandbox.resolve("a").unwrap_err());
    let named = "names 1 cards and 0 files of numbers for a fit, which has one of each";
    assert_eq!(
        error,
        format!("the manifest `DIR/store/manifests/registry.ollama.ai/library/a/latest` {named}; {again}")
    );
    assert!(sandbox.fit("a", "a", None).unwrap().fit.is_none());
}

/// Every write to `/dev/full` fails as one to a full disk does.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_sentence() {
    use std::io::Write as _;
    let error = fs::OpenOptions::new().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
    assert_eq!(
        disk::io_error("write", Path::new("blob"))(error).to_string(),
        "no space left to write `blob`; free some, or choose another disk for the store with `SLM_MODELS`"
    );
}
