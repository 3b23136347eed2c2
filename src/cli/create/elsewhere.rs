//! What a Modelfile's FROM names when that is no weights: the file of a remote, read and checked before anything is stored.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::cli::environment::Environment;
use crate::eval::suite::RemoteSource;
use crate::failure::Failure;
use crate::modelfile::{BaseSource, Modelfile};
use crate::remote::{Client, Remote};
use crate::store::Elsewhere;

/// The remote that a Modelfile in this folder is made from; `None` where it is made from weights.
///
/// # Errors
/// The file cannot be read or is no remote, there is no key where it says one is, or the Modelfile says what no remote does.
pub fn of(modelfile: &Modelfile, folder: &Path) -> Result<Option<Elsewhere>, Failure> {
    let BaseSource::Path(path) = &modelfile.from else { return Ok(None) };
    if !slm_yaml::is_yaml(Path::new(path)) {
        return Ok(None);
    }
    let refused = [
        ("TEMPLATE", modelfile.template.is_some()),
        ("ADAPTER", !modelfile.adapters.is_empty()),
        ("EXAMPLES", modelfile.examples.is_some()),
    ];
    if let Some((keyword, _)) = refused.into_iter().find(|(_, is_there)| *is_there) {
        return Err(Failure::failed(format!(
            "{keyword} is for weights on this machine, and `{path}` is a remote; remove {keyword}"
        )));
    }
    Ok(Some(Elsewhere::Remote(remote(Path::new(path), folder)?.to_string().into())))
}

/// A remote by its file, as its layer has it: without comments, where somebody may have noted a key, and with the key's own file
/// by its whole path.
///
/// # Errors
/// See [`of`].
pub fn remote(file: &Path, folder: &Path) -> Result<Value, Failure> {
    let mut value = RemoteSource::File(file.to_owned()).value_in(folder)?;
    let path = folder.join(file);
    let at_fault = |said: String| {
        let line = line_of(&std::fs::read_to_string(&path).unwrap_or_default(), &said);
        Failure::failed(format!("`{}`: line {line}: {said}", path.display()))
    };
    absolute_key_file(&mut value, path.parent().unwrap_or(Path::new("")));
    checked(&value).map_err(at_fault)?;
    Ok(value)
}

/// Writes the whole path of a key's file, which is relative to the file that names it.
pub fn absolute_key_file(remote: &mut Value, folder: &Path) {
    if let Some(Value::String(file)) = remote.get_mut("api_key_file") {
        let path: PathBuf = folder.join(&*file);
        *file = std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned();
    }
}

/// Whether this is a remote whose key is there, in words where it is not.
///
/// # Errors
/// What is wrong.
pub fn checked(remote: &Value) -> Result<(), String> {
    let remote = Remote::from_value(remote.clone()).map_err(|error| error.to_string())?;
    let client = Client::connect(remote, Environment::named, SystemTime::now);
    client.map(drop).map_err(|error| error.to_string())
}

/// The line, from 1, of the first key that a message names in backticks; 1 if the file has no such key. A key at the beginning of a
/// line is preferred to one within a line.
#[must_use]
pub fn line_of(yaml: &str, said: &str) -> usize {
    let keys = said.split('`').skip(1).step_by(2).map(|named| named.split('.').next().unwrap_or(named));
    let begins = |line: &str, key: &str| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':'));
    let line = |key: &str| {
        let code = || {
            yaml.lines()
                .map(|line| line.trim_start_matches([' ', '-']))
                .map(|line| line.split('#').next().unwrap_or(line))
        };
        let within = || code().position(|line| line.contains(&format!("{key}:")));
        code().position(|line| begins(line, key)).or_else(within)
    };
    keys.filter_map(line).next().map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_the_line_of_its_key() {
        let yaml = "base_url: https://api.example.com/v1\nmodel: m\n# timeout: 3\ntimeout: soon\nprice: {input: 1}\n";
        for (said, line) in [
            ("`timeout` cannot be `soon`: give seconds", 4),
            ("`price.input`: missing", 5),
            ("unknown field `apikey`, expected `base_url`", 1),
            ("`input` is what a token costs", 5),
            ("it is not a map", 1),
        ] {
            assert_eq!(line_of(yaml, said), line, "{said}");
        }
    }
}
