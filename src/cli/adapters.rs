//! `--adapter`: which adapters a command's answers have part in.

use std::path::Path;

use super::environment::Environment;
use super::load;
use crate::digest::{Digest, Hasher};
use crate::engine::{Adapter, AdapterSet};
use crate::failure::Failure;
use crate::load_spec;
use crate::modelfile;
use crate::store::{Model, StoredAdapter};

/// A model's own adapters, or in their place those that the command line names: GGUF files, models with adapters on the
/// same base, or `none`; each with an optional `=SCALE`.
///
/// # Errors
/// A name is neither a file nor a model with adapters, or a file cannot be read.
pub fn chosen(named: &[String], model: &Model, environment: &Environment) -> Result<AdapterSet, Failure> {
    if named.is_empty() {
        return Ok(load_spec::own_adapters(model));
    }
    if let [none] = named
        && none == "none"
    {
        return Ok(AdapterSet::NONE);
    }
    let mut adapters = Vec::new();
    for text in named {
        let (name, scale) = split(text)?;
        let path = Path::new(name);
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "safetensors") {
            return Err(Failure::usage(format!(
                "`{name}` is a PEFT folder, which has to be converted once: write a Modelfile with FROM and `ADAPTER \
                 {name}`, run `slm create`, and use the model that it makes"
            )));
        }
        if path.is_file() {
            let id = digest(path).map_err(|error| Failure::failed(format!("cannot read `{name}`: {error}")))?;
            adapters.push(Adapter { path: path.to_owned(), id: id.to_string(), scale });
        } else {
            adapters.extend(
                of_model(name, model, environment)?.iter().map(|adapter| load_spec::stored_adapter(adapter, scale)),
            );
        }
    }
    Ok(AdapterSet::new(adapters))
}

/// The name, and the scale after the last `=`. A file may have one in its name.
fn split(text: &str) -> Result<(&str, f32), Failure> {
    if !Path::new(text).exists()
        && let Some((name, last)) = text.rsplit_once('=')
    {
        let scale = modelfile::scale(last.trim()).map_err(|error| Failure::usage(format!("--adapter: {error}")))?;
        let scale = scale.ok_or_else(|| Failure::usage(format!("--adapter: the scale `{last}` is not a number")))?;
        return Ok((name, scale));
    }
    Ok((text, 1.0))
}

fn of_model(name: &str, base: &Model, environment: &Environment) -> Result<Vec<StoredAdapter>, Failure> {
    if name.starts_with(['/', '.', '~']) || name.ends_with(".gguf") {
        return Err(Failure::failed(format!(
            "there is no adapter `{name}`; give a GGUF file or a model with adapters"
        )));
    }
    let other = load::find(name, environment)?;
    if other.adapters.is_empty() {
        return Err(Failure::usage(format!(
            "`{}` has no adapters; `slm show` lists the adapters of a model",
            other.name
        )));
    }
    if other.weights_digest != base.weights_digest {
        return Err(Failure::usage(format!(
            "the adapters of `{}` were made for other weights than those of `{}`; to try them anyway, give the GGUF file",
            other.name, base.name
        )));
    }
    Ok(other.adapters)
}

fn digest(path: &Path) -> std::io::Result<Digest> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&chunk[..n]),
        }
    }
}
