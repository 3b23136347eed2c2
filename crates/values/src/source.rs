//! What a person writes to get a model: a name in a registry, pinned or not, a file's URL, or a path. It contacts no server.

use crate::digest::{Digest, DigestError};
use crate::model_ref::{ModelRef, ModelRefError};
use std::fmt;
use std::str::FromStr;
use url::Url;

/// The most files that a model is split into.
pub const MAX_SHARDS: u32 = 1000;

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Registry(Reference),
    /// A GGUF file on a web server.
    File(FileUrl),
    /// A file on this machine, a GGUF or the YAML of a remote: what begins with `/`, `./`, `../` or `~`, or ends in `.gguf`,
    /// `.yaml` or `.yml`.
    Path(String),
}

/// A model's name, with the digest of its manifest where it is pinned to one.
///
/// `model@sha256:…` has no tag of its own; it is kept under the tag `sha256-…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub name: ModelRef,
    pub digest: Option<Digest>,
    /// The scheme that the name was written with, if any: whether TLS is expected.
    pub scheme: Option<Scheme>,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn of(text: &str) -> Option<Scheme> {
        match text.split_once("://")?.0 {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// The address of a GGUF file: `http` or `https`, without a user's name, its path ending in `.gguf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUrl(Url);

impl Source {
    /// Whether a text means a file on this machine.
    #[must_use]
    pub fn is_path(text: &str) -> bool {
        let begins = text.starts_with(['/', '~']) || ["./", "../"].iter().any(|start| text.starts_with(start));
        let ends = [".gguf", ".yaml", ".yml"].iter().any(|end| text.to_ascii_lowercase().ends_with(end));
        begins || ends && !text.contains("://")
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Source, SourceError> {
        if Source::is_path(text) {
            return Ok(Source::Path(text.to_owned()));
        }
        let address = text.split(['?', '#']).next().unwrap_or_default();
        if text.contains("://") && is_gguf(address) {
            return text.parse().map(Source::File);
        }
        text.parse().map(Source::Registry).map_err(|error| match error {
            // A URL with more path segments than a name is meant as a page or a file.
            SourceError::Name(ModelRefError { reason, .. }) if Scheme::of(text).is_some() => SourceError::Url {
                url: address.chars().take(200).collect(),
                reason: format!("{reason}, and a file's address ends in `.gguf`"),
            },
            error => error,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Registry(reference) => reference.fmt(f),
            Source::File(url) => url.fmt(f),
            Source::Path(path) => path.fmt(f),
        }
    }
}

impl Reference {
    /// What a registry is asked for: the digest where there is one, else the tag.
    #[must_use]
    pub fn tag_or_digest(&self) -> String {
        self.digest.map_or_else(|| self.name.tag().to_owned(), |digest| digest.to_string())
    }
}

impl From<ModelRef> for Reference {
    fn from(name: ModelRef) -> Reference {
        Reference { name, digest: None, scheme: None }
    }
}

impl FromStr for Reference {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Reference, SourceError> {
        let scheme = Scheme::of(text);
        let Some((name, digest)) = text.split_once('@') else {
            return Ok(Reference { name: text.parse()?, digest: None, scheme });
        };
        let digest: Digest = digest.parse()?;
        let has_tag = name.rsplit('/').next().is_some_and(|model| model.contains(':'));
        let name = if has_tag { name.parse()? } else { format!("{name}:{}", digest.file_name()).parse()? };
        Ok(Reference { name, digest: Some(digest), scheme })
    }
}

/// Parses back to the same, the scheme aside.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.to_string();
        match self.digest {
            None => f.write_str(&name),
            Some(digest) => {
                let own_tag = format!(":{}", digest.file_name());
                write!(f, "{}@{digest}", name.strip_suffix(&own_tag).unwrap_or(&name))
            }
        }
    }
}

impl FileUrl {
    /// An address of our own making.
    ///
    /// # Errors
    /// [`SourceError`] where it does not lead to a GGUF file.
    pub fn new(url: &Url) -> Result<FileUrl, SourceError> {
        url.as_str().parse()
    }

    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The file's own name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default()
    }

    /// The address of another file in the same folder, by its percent-encoded name.
    #[must_use]
    pub fn sibling(&self, file_name: &str) -> FileUrl {
        let mut url = self.0.clone();
        let folder = url.path().rfind('/').map_or(0, |at| at + 1);
        let path = format!("{}{file_name}", &url.path()[..folder]);
        url.set_path(&path);
        FileUrl(url)
    }

    /// The name under which such a file is kept unless one was chosen.
    #[must_use]
    pub fn model_name(&self) -> Option<ModelRef> {
        name_of_file(self.file_name())
    }
}

/// The name of a model of a file: the file's, without `.gguf` and without the number of a shard; characters that a name
/// cannot hold become `-`.
#[must_use]
pub fn name_of_file(file_name: &str) -> Option<ModelRef> {
    let stem = file_name.get(..file_name.len().checked_sub(5)?).filter(|_| is_gguf(file_name))?;
    let stem = shard(file_name).map_or(stem, |shard| &stem[..shard.stem_len]);
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '-' };
    let name: String = stem.chars().map(safe).take(80).collect();
    name.trim_start_matches(['-', '.']).parse().ok()
}

impl FromStr for FileUrl {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<FileUrl, SourceError> {
        let refused =
            |reason: &str| SourceError::Url { url: text.chars().take(200).collect(), reason: reason.to_owned() };
        let mut url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("its scheme is neither `http` nor `https`"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // It would end up in a list of processes, in a history and in the store.
            return Err(SourceError::Url {
                url: url.host_str().unwrap_or_default().to_owned(),
                reason: "it contains a user name or password; put them into Docker's config.json".to_owned(),
            });
        }
        if url.host_str().is_none_or(str::is_empty) || !is_gguf(url.path()) {
            return Err(refused("it does not lead to a file that ends in `.gguf`"));
        }
        url.set_fragment(None);
        // Its short name only leads to the long one, to which the token belongs.
        if url.host_str() == Some("hf.co") {
            url.set_host(Some("huggingface.co")).map_err(|error| refused(&error.to_string()))?;
        }
        // The page about a file on Hugging Face, as it is copied from a browser.
        if url.host_str() == Some("huggingface.co") && url.path().contains("/blob/") {
            let path = url.path().replacen("/blob/", "/resolve/", 1);
            url.set_path(&path);
        }
        Ok(FileUrl(url))
    }
}

impl fmt::Display for FileUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query may hold a signature.
        write!(f, "{}://{}{}", self.0.scheme(), self.0.authority(), self.0.path())
    }
}

/// The parts of a shard's file name: `name-00002-of-00005.gguf`, as llama.cpp splits models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardName {
    pub number: u32,
    pub count: u32,
    stem_len: usize,
}

/// The shard that a file name is of, if it is one's.
#[must_use]
pub fn shard(file_name: &str) -> Option<ShardName> {
    let stem = file_name.get(..file_name.len().checked_sub(5)?).filter(|_| is_gguf(file_name))?;
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let number_of = |digits: &str| digits.parse::<u32>().ok().filter(|_| digits.len() == 5);
    let (number, count) = (number_of(number)?, number_of(count)?);
    // No model has more; a hostile name could ask for 99,999 requests.
    (count <= MAX_SHARDS && (1..=count).contains(&number)).then_some(ShardName { number, count, stem_len: name.len() })
}

/// The file names of all shards, in order, of which one is given.
#[must_use]
pub fn shard_names(file_name: &str) -> Vec<String> {
    match shard(file_name) {
        None => vec![file_name.to_owned()],
        Some(ShardName { count, stem_len, .. }) => {
            let name = &file_name[..stem_len];
            (1..=count).map(|number| format!("{name}-{number:05}-of-{count:05}.gguf")).collect()
        }
    }
}

fn is_gguf(path: &str) -> bool {
    path.len() > 5 && path.to_ascii_lowercase().ends_with(".gguf")
}

/// A text that is not a source of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Name(#[from] ModelRefError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error("`{url}` is not the address of a model: {reason}")]
    Url { url: String, reason: String },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    #[test]
    fn names_addresses_and_paths_are_told_apart() {
        assert!(matches!(source("llama3.2:1b"), Source::Registry(_)));
        assert!(matches!(source("hf.co/user/Repo-GGUF:Q4_K_M"), Source::Registry(_)));
        assert!(matches!(source("http://localhost:5000/a/b"), Source::Registry(r) if r.scheme == Some(Scheme::Http)));
        assert!(matches!(source("https://localhost/a/b"), Source::Registry(r) if r.scheme == Some(Scheme::Https)));
        assert!(matches!(source("https://example.com/a/b.GGUF?x=1#y"), Source::File(_)));
        assert!(matches!(source("./model.gguf"), Source::Path(_)));
        assert!(matches!(source("model.gguf"), Source::Path(_)));
    }

    #[test]
    fn a_pinned_name_has_the_digest_for_a_tag() {
        let hex = "0123456789abcdef".repeat(4);
        let Source::Registry(pinned) = source(&format!("me/mine@sha256:{hex}")) else { panic!("a name") };
        assert_eq!(pinned.name.to_string(), format!("me/mine:sha256-{hex}"));
        assert_eq!(pinned.to_string(), format!("me/mine@sha256:{hex}"));
        assert_eq!(pinned.tag_or_digest(), format!("sha256:{hex}"));
        let Source::Registry(both) = source(&format!("localhost:5000/me/mine:v1@sha256:{hex}")) else {
            panic!("a name")
        };
        assert_eq!(both.name.to_string(), "localhost:5000/me/mine:v1");
        assert_eq!(both.to_string(), format!("localhost:5000/me/mine:v1@sha256:{hex}"));
        assert!("mine@sha256:12".parse::<Source>().is_err());
        assert!("mine@../x".parse::<Source>().is_err());
    }

    #[test]
    fn an_address_gives_a_name_and_tells_no_secret() {
        let Source::File(url) = source("https://huggingface.co/u/r/blob/main/Tiny Llama.Q4-00002-of-00003.gguf?sig=1")
        else {
            panic!("an address")
        };
        assert_eq!(url.to_string(), "https://huggingface.co/u/r/resolve/main/Tiny%20Llama.Q4-00002-of-00003.gguf");
        assert_eq!(url.model_name().unwrap().to_string(), "Tiny-20Llama.Q4:latest");
        let Source::File(url) = source("https://hf.co/u/r/resolve/main/a.gguf") else { panic!("an address") };
        assert_eq!(url.to_string(), "https://huggingface.co/u/r/resolve/main/a.gguf");
        let error = "https://me:secret@example.com/a.gguf".parse::<Source>().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!("ftp://example.com/a.gguf".parse::<Source>().is_err());
        assert_eq!(
            "https://huggingface.co/u/r/tree/main?token=1".parse::<Source>().unwrap_err().to_string(),
            "`https://huggingface.co/u/r/tree/main` is not the address of a model: it has more than a host, a namespace and a \
             model, and a file's address ends in `.gguf`"
        );
    }

    #[test]
    fn siblings_are_spelt_as_the_address_is() {
        let Source::File(url) = source("https://h/a%20b/T%C3%A9st%20x-00001-of-00002.gguf?sig=1") else {
            panic!("an address")
        };
        let siblings: Vec<String> =
            shard_names(url.file_name()).iter().map(|name| url.sibling(name).url().to_string()).collect();
        let of = |n: u32| format!("https://h/a%20b/T%C3%A9st%20x-0000{n}-of-00002.gguf?sig=1");
        assert_eq!(siblings, [of(1), of(2)]);
    }

    #[test]
    fn shards_know_their_neighbours() {
        assert_eq!(
            shard_names("a-00002-of-00003.gguf"),
            ["a-00001-of-00003.gguf", "a-00002-of-00003.gguf", "a-00003-of-00003.gguf"]
        );
        assert_eq!(shard_names("a-2-of-3.gguf"), ["a-2-of-3.gguf"]);
        assert_eq!(shard("a-00004-of-00003.gguf"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[a-z0-9:/@.?#%é-]{0,60}|.*") {
            if let Ok(source) = text.parse::<Source>() {
                let _ = source.to_string();
                if let Source::File(url) = source {
                    let _ = (url.model_name(), url.sibling("x.gguf"), shard_names(url.file_name()).len().min(1));
                }
            }
        }
    }
}
