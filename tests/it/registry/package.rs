//! A model as it travels: a manifest and its blobs, and whether a store holds exactly that.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::slm::{Home, Random, files, triage_gguf};
use crate::tiny::Kind;

pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const MODEL: &str = "application/vnd.ollama.image.model";
/// A layer that slm does not know, and keeps.
const BALLAST: &str = "application/vnd.tests.ballast";
const PARAMS: &str = "application/vnd.ollama.image.params";
const SYSTEM: &str = "application/vnd.ollama.image.system";

/// A manifest, and every blob by its digest (`sha256:<hex>`).
#[derive(Clone)]
pub struct Package {
    pub manifest: Bytes,
    pub blobs: BTreeMap<String, Bytes>,
}

impl Package {
    /// The embedded model with a system prompt and parameters of its own: something that answers.
    pub fn triage() -> Package {
        Package::of(&[
            (MODEL, triage_gguf().into()),
            (SYSTEM, Bytes::from_static(b"You sort tickets.")),
            (PARAMS, Bytes::from_static(br#"{"seed":7}"#)),
        ])
    }

    /// A tiny model with so many random bytes that no tensor claims, and more layers of random bytes.
    pub fn random(seed: u64, n_bytes: usize, more: &[usize]) -> Package {
        let folder = tempfile::tempdir().unwrap();
        let mut weights = std::fs::read(Kind::Attention.write(folder.path())).unwrap();
        weights.extend_from_slice(&random_bytes(seed, n_bytes));
        let more = more.iter().zip(seed + 1..).map(|(&size, seed)| (BALLAST, random_bytes(seed, size)));
        Package::of(&std::iter::once((MODEL, weights.into())).chain(more).collect::<Vec<_>>())
    }

    fn of(layers: &[(&str, Bytes)]) -> Package {
        let config = json!({"model_format": "gguf", "model_family": "llama", "model_families": ["llama"],
            "model_type": "1M", "file_type": "F32", "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|(_, blob)| digest(blob)).collect::<Vec<_>>()}});
        let config = Bytes::from(config.to_string());
        let layer = |kind: &str, blob: &Bytes| json!({"mediaType": kind, "digest": digest(blob), "size": blob.len()});
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": layer(CONFIG, &config),
            "layers": layers.iter().map(|(kind, blob)| layer(kind, blob)).collect::<Vec<_>>()});
        let blobs = layers.iter().map(|(_, blob)| blob).chain([&config]);
        Package {
            manifest: Bytes::from(manifest.to_string()),
            blobs: blobs.map(|blob| (digest(blob), blob.clone())).collect(),
        }
    }

    /// The same blobs under a manifest that was changed.
    pub fn edited(&self, edit: impl FnOnce(&mut Value)) -> Package {
        let mut manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        edit(&mut manifest);
        Package { manifest: manifest.to_string().into(), blobs: self.blobs.clone() }
    }

    /// The bytes of the weights.
    pub fn n_weights(&self) -> u64 {
        self.blobs[&self.weights()].len() as u64
    }

    /// The digest of the weights.
    pub fn weights(&self) -> String {
        let manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
    }

    /// The bytes of all blobs.
    pub fn n_bytes(&self) -> u64 {
        self.blobs.values().map(|blob| blob.len() as u64).sum()
    }

    /// Checks that a store holds this under a name (`host/namespace/model/tag`), byte for byte, and no leftovers.
    #[track_caller]
    pub fn is_in(&self, store: &Path, name: &str) {
        self.is_named(store, name);
        assert_eq!(leftovers(store), Vec::<String>::new());
    }

    /// The same, with whatever else is there.
    #[track_caller]
    pub fn is_named(&self, store: &Path, name: &str) {
        let manifest = std::fs::read(store.join("manifests").join(name)).expect("a manifest under its name");
        assert_eq!(String::from_utf8_lossy(&manifest), String::from_utf8_lossy(&self.manifest));
        for (digest, blob) in &self.blobs {
            let stored = std::fs::read(blob_path(store, digest)).expect("a blob that the manifest names");
            assert!(stored == *blob, "{digest} has other bytes");
        }
    }
}

pub fn blob_path(store: &Path, digest: &str) -> std::path::PathBuf {
    store.join("blobs").join(digest.replace(':', "-"))
}

/// What is in a store beside manifests and blobs: parts of downloads, temporary files.
pub fn leftovers(store: &Path) -> Vec<String> {
    let paths = files(store).into_iter().map(|(path, _)| path.strip_prefix(store).unwrap().to_owned());
    let named = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The lease of a process that was killed is nobody's, and goes when blobs are removed.
        name.starts_with("lease-")
            // Where a model came from is noted beside its manifest.
            || path.starts_with(".slm-origins")
            || path.starts_with("manifests") && !name.contains("partial")
            || path.starts_with("blobs") && name.len() == 71 && name.starts_with("sha256-")
    };
    paths.filter(|path| !named(path)).map(|path| path.display().to_string()).collect()
}

/// Checks what holds at every instant: each blob under its name has the bytes of that name, and each manifest all of its
/// blobs.
#[track_caller]
pub fn nothing_is_wrong(store: &Path) {
    for (path, bytes) in files(&store.join("blobs")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.len() == 71 {
            assert_eq!(digest(&bytes).replace(':', "-"), name, "a blob has the bytes of another");
        }
    }
    for (path, bytes) in files(&store.join("manifests")) {
        let manifest: Value = serde_json::from_slice(&bytes).expect("a whole manifest");
        let layers = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
        for layer in layers {
            let blob = blob_path(store, layer["digest"].as_str().unwrap());
            assert!(blob.is_file(), "`{}` names a blob that is missing", path.display());
        }
    }
}

/// Every file of a home outside its store, with its bytes.
pub fn outside_of_the_store(home: &Home) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    files(home.path()).into_iter().filter(|(path, _)| !path.starts_with(home.models())).collect()
}

pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    sha2::Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn random_bytes(seed: u64, n: usize) -> Bytes {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(n + 8);
    while bytes.len() < n {
        bytes.extend_from_slice(&(random.below(usize::MAX) as u64).to_le_bytes());
    }
    bytes.truncate(n);
    bytes.into()
}
