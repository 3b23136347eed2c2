//! Models of Hugging Face: its registry gives those of one file; those of several shards are found in its list of files.

use super::file::{PullFile, pull_file};
use super::pull::{Plan, Pull, Pulled, Sources, pull};
use super::{Listener, TransferError};
use crate::registry::RegistryError;
use slm_values::model_ref::DEFAULT_TAG;
use slm_values::source::{FileUrl, shard};

/// Brings a model from Hugging Face.
///
/// # Errors
/// [`TransferError`], as of [`pull`] and [`pull_file`].
pub async fn pull_hugging_face(
    sources: Sources<'_>,
    wanted: &Pull,
    plan: Plan,
    listener: &dyn Listener,
) -> Result<Pulled, TransferError> {
    let refused = match pull(sources, wanted, plan, listener).await {
        // Its registry refuses what is in shards with a 400 that speaks of them.
        Err(TransferError::Registry { name, source: RegistryError::Refused { host, status: 400, text } })
            if text.to_ascii_lowercase().contains("shard") =>
        {
            TransferError::Registry { name, source: RegistryError::Refused { host, status: 400, text } }
        }
        other => return other,
    };
    let named = |source| TransferError::Registry { name: wanted.reference.to_string(), source };
    let files = sources.registry.hugging_face_files(&wanted.repository).await.map_err(named)?;
    let Some(file) = first_shard(&files, wanted.reference.name.tag()) else { return Err(refused) };
    let url = FileUrl::new(&wanted.repository.hugging_face_file(file)).map_err(|_| refused)?;
    pull_file(sources, &PullFile { url, name: Some(wanted.name.clone()) }, plan, listener).await
}

/// The first shard of the quantization that a tag names; where it names none, of the usual one, else of any.
fn first_shard<'a>(files: &'a [String], tag: &str) -> Option<&'a str> {
    let name = |path: &'a str| path.rsplit('/').next().unwrap_or(path);
    let firsts =
        || files.iter().map(String::as_str).filter(|path| shard(name(path)).is_some_and(|shard| shard.number == 1));
    let of = |tag: &str| {
        let is_whole = |at: usize, text: &str| {
            let is_edge = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
            is_edge(text[..at].chars().next_back()) && is_edge(text[at + tag.len()..].chars().next())
        };
        let tag = tag.to_ascii_lowercase();
        firsts().find(|path| {
            let path = path.to_ascii_lowercase();
            path.match_indices(&tag).any(|(at, _)| is_whole(at, &path))
        })
    };
    if tag == DEFAULT_TAG { of("q4_k_m").or_else(|| firsts().next()) } else { of(tag) }
}

#[cfg(test)]
mod tests {
    use super::first_shard;

    #[test]
    fn a_tag_finds_its_first_shard() {
        let files = [
            "README.md",
            "Q8_0/model-Q8_0-00001-of-00002.gguf",
            "Q8_0/model-Q8_0-00002-of-00002.gguf",
            "model-Q4_K_M-00002-of-00003.gguf",
            "model-Q4_K_M-00001-of-00003.gguf",
            "model-UD-Q4_K_M_L.gguf",
        ];
        let files = files.map(str::to_owned);
        assert_eq!(first_shard(&files, "q4_k_m"), Some("model-Q4_K_M-00001-of-00003.gguf"));
        assert_eq!(first_shard(&files, "latest"), Some("model-Q4_K_M-00001-of-00003.gguf"));
        assert_eq!(first_shard(&files, "Q8_0"), Some("Q8_0/model-Q8_0-00001-of-00002.gguf"));
        assert_eq!(first_shard(&files, "Q4_K"), None);
        assert_eq!(first_shard(&files, "F16"), None);
    }
}
