//! A model's name, parsed into parts that are safe as parts of a path; it knows neither the disk nor the network.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The registry of a name that gives none.
pub const DEFAULT_HOST: &str = "registry.ollama.ai";
/// The namespace of a name that gives none.
pub const DEFAULT_NAMESPACE: &str = "library";
/// The tag of a name that gives none.
pub const DEFAULT_TAG: &str = "latest";

const MAX_HOST_CHARS: usize = 350;
const MAX_PART_CHARS: usize = 80;

/// A model's full name: `[scheme://][host/][namespace/]model[:tag]` with the defaults filled in.
///
/// The rules are Ollama's: a part begins with a letter, a digit or `_`, and continues with these, `-` and `.`; a namespace
/// has no `.`, only a host has a port. So no part is empty, a parent folder, or holds a path separator. A scheme
/// (`http` or `https`) is accepted and is not a part of the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelRef {
    host: String,
    namespace: String,
    model: String,
    tag: String,
}

impl ModelRef {
    /// The registry's host, with its port where it has one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Whether the two differ in the case of letters at most.
    #[must_use]
    pub fn is_spelt_like(&self, other: &ModelRef) -> bool {
        let parts = |name: &ModelRef| {
            [&name.host, &name.namespace, &name.model, &name.tag].map(|part| part.to_ascii_lowercase())
        };
        parts(self) == parts(other)
    }

    /// Where the manifest is under the store's `manifests`: `host/namespace/model/tag`.
    #[must_use]
    pub fn relative_path(&self) -> PathBuf {
        [&self.host, &self.namespace, &self.model, &self.tag].iter().collect()
    }

    /// The name of four parts as they are on disk, in the order of [`ModelRef::relative_path`].
    ///
    /// # Errors
    ///
    /// [`ModelRefError`] where a part is not one that a name can hold.
    pub fn from_parts(host: &str, namespace: &str, model: &str, tag: &str) -> Result<ModelRef, ModelRefError> {
        let name = format!("{host}/{namespace}/{model}:{tag}");
        let refused = |reason| ModelRefError { name: clipped(&name), reason };
        check_host(host).map_err(refused)?;
        check_namespace(namespace).map_err(refused)?;
        check_part("model", model).map_err(refused)?;
        check_part("tag", tag).map_err(refused)?;
        let [host, namespace, model, tag] = [host, namespace, model, tag].map(str::to_owned);
        Ok(ModelRef { host, namespace, model, tag })
    }
}

impl FromStr for ModelRef {
    type Err = ModelRefError;

    fn from_str(name: &str) -> Result<ModelRef, ModelRefError> {
        let refused = |reason| ModelRefError { name: clipped(name), reason };
        let path = match name.split_once("://") {
            None => name,
            Some(("http" | "https", path)) => path,
            Some((scheme, _)) => return Err(refused(NameFault::Scheme(clipped(scheme)))),
        };
        if path.is_empty() {
            return Err(refused(NameFault::Empty("name")));
        }
        let parts: Vec<&str> = path.split('/').collect();
        let (host, namespace, model_and_tag) = match parts.as_slice() {
            [model] => (DEFAULT_HOST, DEFAULT_NAMESPACE, *model),
            // A namespace has neither, so a host is meant.
            [host, _] if host.contains([':', '.']) && !host.starts_with('.') => {
                return Err(refused(NameFault::HostWithoutNamespace(clipped(host))));
            }
            [namespace, model] => (DEFAULT_HOST, *namespace, *model),
            [host, namespace, model] => (*host, *namespace, *model),
            _ => return Err(refused(NameFault::TooManyParts)),
        };
        let (model, tag) = model_and_tag.split_once(':').unwrap_or((model_and_tag, DEFAULT_TAG));
        ModelRef::from_parts(host, namespace, model, tag).map_err(|error| refused(error.reason))
    }
}

/// The shortest form that parses back to the same name, with the tag always, as `ollama list` shows it.
impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host != DEFAULT_HOST {
            write!(f, "{}/", self.host)?;
        }
        if self.host != DEFAULT_HOST || self.namespace != DEFAULT_NAMESPACE {
            write!(f, "{}/", self.namespace)?;
        }
        write!(f, "{}:{}", self.model, self.tag)
    }
}

impl TryFrom<String> for ModelRef {
    type Error = ModelRefError;

    fn try_from(name: String) -> Result<ModelRef, ModelRefError> {
        name.parse()
    }
}

impl From<ModelRef> for String {
    fn from(name: ModelRef) -> String {
        name.to_string()
    }
}

/// A name that cannot be a model's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a model name: {reason}; write `[host/][namespace/]model[:tag]`, for example `llama3.2:1b`")]
pub struct ModelRefError {
    /// The refused name, cut to 100 characters.
    pub name: String,
    /// What is wrong with it.
    pub reason: NameFault,
}

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    #[error("its {0} is empty")]
    Empty(&'static str),
    #[error("its {part} has {n_chars} characters, more than {limit}")]
    TooLong { part: &'static str, n_chars: usize, limit: usize },
    #[error("its {part} begins with `{character}`, not with a letter, a digit or `_`")]
    Beginning { part: &'static str, character: char },
    #[error("its {part} contains `{character}`")]
    Character { part: &'static str, character: char },
    #[error("its port `{0}` is not a number from 1 to 65535")]
    Port(String),
    #[error("the host `{0}` needs a namespace and a model after it")]
    HostWithoutNamespace(String),
    #[error("it has more than a host, a namespace and a model")]
    TooManyParts,
    #[error("its scheme `{0}` is neither `http` nor `https`")]
    Scheme(String),
}

fn check_host(host: &str) -> Result<(), NameFault> {
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    check_characters("host", name, MAX_HOST_CHARS)?;
    match port {
        // A leading `+` would parse, and a leading zero would give one host two folders.
        Some(port) if port.starts_with(['+', '0']) || !port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Err(NameFault::Port(clipped(port)))
        }
        _ => Ok(()),
    }
}

fn check_namespace(namespace: &str) -> Result<(), NameFault> {
    check_part("namespace", namespace)?;
    if namespace.contains('.') {
        return Err(NameFault::Character { part: "namespace", character: '.' });
    }
    Ok(())
}

fn check_part(part: &'static str, text: &str) -> Result<(), NameFault> {
    check_characters(part, text, MAX_PART_CHARS)
}

fn check_characters(part: &'static str, text: &str, limit: usize) -> Result<(), NameFault> {
    let Some(first) = text.chars().next() else {
        return Err(NameFault::Empty(part));
    };
    let n_chars = text.chars().count();
    if n_chars > limit {
        return Err(NameFault::TooLong { part, n_chars, limit });
    }
    let is_inner = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
    if let Some(character) = text.chars().find(|&character| !is_inner(character)) {
        return Err(NameFault::Character { part, character });
    }
    if matches!(first, '-' | '.') {
        return Err(NameFault::Beginning { part, character: first });
    }
    Ok(())
}

/// At most 100 characters of `text`, so that an error stays readable.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    #[track_caller]
    fn check(name: &str, expected_path: &str, expected_display: &str) {
        let name: ModelRef = name.parse().unwrap();
        assert_eq!(name.relative_path().to_str().unwrap(), expected_path);
        assert_eq!(name.to_string(), expected_display);
    }

    #[test]
    fn fills_in_the_defaults() {
        check("triage", "registry.ollama.ai/library/triage/latest", "triage:latest");
        check("llama3.2:3b", "registry.ollama.ai/library/llama3.2/3b", "llama3.2:3b");
        check("me/mine", "registry.ollama.ai/me/mine/latest", "me/mine:latest");
        check("library/x:1", "registry.ollama.ai/library/x/1", "x:1");
        check("hf.co/user/Repo-GGUF:Q4_K_M", "hf.co/user/Repo-GGUF/Q4_K_M", "hf.co/user/Repo-GGUF:Q4_K_M");
        check("http://localhost:5000/a/b", "localhost:5000/a/b/latest", "localhost:5000/a/b:latest");
        check("https://registry.ollama.ai/library/x", "registry.ollama.ai/library/x/latest", "x:latest");
    }

    #[track_caller]
    fn refused(name: &str, reason: &str) {
        let error = name.parse::<ModelRef>().unwrap_err();
        assert_eq!(error.reason.to_string(), reason, "{name}");
    }

    #[test]
    fn refuses_with_the_reason() {
        refused("", "its name is empty");
        refused("a/", "its model is empty");
        refused("a:", "its tag is empty");
        refused("/a/b", "its host is empty");
        refused("..", "its model begins with `.`, not with a letter, a digit or `_`");
        refused("../x", "its namespace begins with `.`, not with a letter, a digit or `_`");
        refused("x/../y", "its namespace begins with `.`, not with a letter, a digit or `_`");
        refused("a\\b", "its model contains `\\`");
        refused("a b", "its model contains ` `");
        refused("a\0", "its model contains `\0`");
        refused("a.b/c", "the host `a.b` needs a namespace and a model after it");
        refused("a/b.c/d", "its namespace contains `.`");
        refused("x:1:2", "its tag contains `:`");
        refused("x@sha256", "its model contains `@`");
        refused("localhost:5000/x", "the host `localhost:5000` needs a namespace and a model after it");
        refused("host:0/a/b", "its port `0` is not a number from 1 to 65535");
        refused("host:+1/a/b", "its port `+1` is not a number from 1 to 65535");
        refused("a/b/c/d", "it has more than a host, a namespace and a model");
        refused("ftp://a/b/c", "its scheme `ftp` is neither `http` nor `https`");
        refused(&"m".repeat(81), "its model has 81 characters, more than 80");
        assert_eq!(
            "no!".parse::<ModelRef>().unwrap_err().to_string(),
            "`no!` is not a model name: its model contains `!`; write `[host/][namespace/]model[:tag]`, for example `llama3.2:1b`"
        );
    }

    proptest! {
        #[test]
        fn names_round_trip(name in "([a-z0-9.]{1,9}(:[1-9][0-9]{0,3})?/)?([A-Za-z0-9_][a-z_-]{0,5}/)?[a-z_][a-z0-9._-]{0,9}(:[a-z0-9_][A-Z._-]{0,5})?") {
            if let Ok(parsed) = name.parse::<ModelRef>() {
                prop_assert_eq!(parsed.to_string().parse::<ModelRef>(), Ok(parsed));
            }
        }

        #[test]
        fn no_text_panics_or_leaves_the_folder(text in "[a-z./:\\\\~ \u{0}é-]{0,40}|.*") {
            if let Ok(name) = text.parse::<ModelRef>() {
                let path = name.relative_path();
                prop_assert_eq!(path.components().count(), 4);
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(name.to_string().parse::<ModelRef>(), Ok(name));
            }
        }
    }
}
