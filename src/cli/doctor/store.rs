//! Where models are kept: the store, the space left on its disk, and the stores of Ollama's.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::report::Finding;
use crate::cli::environment::Environment;
use crate::store::{Origin, Store, StoreError};
use crate::ui::table::{counted, size};

/// Space below which nothing but the smallest model can be pulled.
const FULL: u64 = 32_000_000;
/// Space below which a model of about two billion parameters cannot be pulled.
const LITTLE: u64 = 2_000_000_000;

/// The findings in the order in which they are shown.
pub fn findings(environment: &Environment) -> Vec<Finding> {
    let store = match environment.store() {
        Ok(store) => store,
        Err(failure) => return vec![Finding::new("store", "", json!({ "path": null })).fail(failure.message)],
    };
    vec![held(&store), space(&store), ollamas(&store, &environment.network().neighbours)]
}

/// What the store holds, and whether it can be written.
fn held(store: &Store) -> Finding {
    let root = store.root();
    let listing = match store.list() {
        Ok(listing) => listing,
        Err(error) => {
            return Finding::new("store", root.display().to_string(), path(root)).fail(error.to_string());
        }
    };
    let n_models = listing.models.iter().filter(|model| model.origin == Origin::Stored).count();
    let n_bytes = store.blob_bytes();
    let written = store.try_writing();
    let holds = match (root.exists(), n_models) {
        (false, _) => "not made yet".to_owned(),
        (true, 0) => "no models".to_owned(),
        (true, n) => format!("{}, {}", counted(n as u64, "model"), size(n_bytes)),
    };
    let facts = json!({
        "path": root.display().to_string(),
        "exists": root.exists(),
        "models": n_models,
        "bytes": n_bytes,
        "broken": listing.broken.len(),
        "writable": written.is_ok(),
    });
    let mut finding = Finding::new("store", format!("{} ({holds})", root.display()), facts);
    if let Err(error) = written {
        finding = finding.fail(refusal(&error));
    }
    for broken in &listing.broken {
        finding = finding.fail(broken.error.to_string());
    }
    finding
}

/// The store's error for a folder that it cannot write to, with advice; errors of full and read-only disks have their own.
fn refusal(error: &StoreError) -> String {
    let advice = match error {
        StoreError::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "; allow this user to write there, or choose another folder with `SLM_MODELS`"
            }
            std::io::ErrorKind::ReadOnlyFilesystem => "",
            _ => "; choose another folder with `SLM_MODELS`",
        },
        _ => "",
    };
    format!("{error}{advice}")
}

fn path(root: &Path) -> Value {
    json!({ "path": root.display().to_string() })
}

fn space(store: &Store) -> Finding {
    let Some(free) = store.free_bytes() else {
        return Finding::new("space", "this disk does not report free space", json!({ "free": null }));
    };
    let finding = Finding::new("space", format!("{} free on the store's disk", size(free)), json!({ "free": free }));
    let advice = "remove models with `slm rm`, leftovers with `slm prune`, or choose another disk with `SLM_MODELS`";
    if free < FULL {
        finding.fail(format!("no model can be pulled; {advice}"))
    } else if free < LITTLE {
        finding.warn(format!("only small models can be pulled; {advice}"))
    } else {
        finding
    }
}

/// The stores of Ollama's, from which a pull takes what they have.
fn ollamas(store: &Store, neighbours: &[PathBuf]) -> Finding {
    let there: Vec<&PathBuf> = neighbours.iter().filter(|path| path.join("manifests").exists()).collect();
    let count = |path: &Path| match std::fs::read_dir(path.join("manifests")).and(std::fs::read_dir(path.join("blobs")))
    {
        Ok(_) => Ok(Store::open(path.to_owned()).names().len()),
        Err(error) => Err(error),
    };
    let (mut shown, mut facts, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for path in there {
        let held = count(path);
        let is_this = path == store.root();
        facts.push(json!({
            "path": path.display().to_string(),
            "models": held.as_ref().ok(),
            "is_this_store": is_this,
        }));
        let path = path.display();
        match held {
            Ok(_) if is_this => shown.push(format!("{path} (this store)")),
            Ok(n) => shown.push(format!("{path} ({})", counted(n as u64, "model"))),
            Err(error) => {
                shown.push(path.to_string());
                unreadable.push(format!(
                    "cannot read `{path}`: {error}; its models will be downloaded again, unless this user is allowed to read it"
                ));
            }
        }
    }
    let found = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") };
    let finding = Finding::new("Ollama's store", found, json!({ "stores": facts }));
    unreadable.into_iter().fold(finding, Finding::warn)
}
