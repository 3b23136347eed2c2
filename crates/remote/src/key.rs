//! A remote's key: from a variable of the environment or a file, in memory for as long as its client lives, and shown nowhere.

use std::fmt;
use std::path::PathBuf;

use reqwest::header::HeaderValue;

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    Nobody,
    /// A variable of the environment.
    Variable(String),
    File(PathBuf),
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the environment variable `{0}` is not set: it holds the remote's key; set it, or change `api_key_env`")]
    NotSet(String),
    #[error("the key file `{}` cannot be read: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{from} holds no key: it is empty, or has characters that no header can have; write the key alone")]
    Unusable { from: String },
}

/// A key, as a header has it.
#[derive(Clone)]
pub(crate) struct Key {
    text: String,
    header: HeaderValue,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}

impl KeySource {
    /// Fetches the key; `variable` looks one up in the environment.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub(crate) fn fetch(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Key>, KeyError> {
        let (text, from) = match self {
            KeySource::Nobody => return Ok(None),
            KeySource::Variable(name) => {
                (variable(name).ok_or_else(|| KeyError::NotSet(name.clone()))?, format!("the variable `{name}`"))
            }
            KeySource::File(path) => {
                let text = std::fs::read_to_string(path);
                let unreadable = |error: std::io::Error| KeyError::Unreadable {
                    path: path.clone(),
                    reason: error.kind().to_string(),
                };
                (text.map_err(unreadable)?, format!("the file `{}`", path.display()))
            }
        };
        Key::new(text.trim()).map(Some).ok_or(KeyError::Unusable { from })
    }
}

impl Key {
    fn new(text: &str) -> Option<Key> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
        header.set_sensitive(true);
        Some(Key { text: text.to_owned(), header })
    }

    /// The value of `Authorization`.
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// What somebody else said, without the key: some servers repeat it where it is wrong.
    pub(crate) fn hidden_in(&self, said: &str) -> String {
        said.replace(&self.text, "(key)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(source: &KeySource) -> Result<Option<Key>, KeyError> {
        source.fetch(|name| (name == "KEY").then(|| " sk-123\n".to_owned()))
    }

    #[test]
    fn a_key_comes_from_where_it_is_said_to_be_and_is_not_shown() {
        assert!(fetch(&KeySource::Nobody).unwrap().is_none());
        let key = fetch(&KeySource::Variable("KEY".to_owned())).unwrap().unwrap();
        assert_eq!(key.header().to_str().unwrap(), "Bearer sk-123");
        assert_eq!(format!("{key:?} {:?}", key.header()), "Key(hidden) Sensitive");
        assert_eq!(key.hidden_in("wrong key sk-123!"), "wrong key (key)!");
        let missing = fetch(&KeySource::Variable("OTHER".to_owned())).unwrap_err();
        let said =
            "the environment variable `OTHER` is not set: it holds the remote's key; set it, or change `api_key_env`";
        assert_eq!(missing.to_string(), said);
        assert!(matches!(fetch(&KeySource::File("/no/such/file".into())), Err(KeyError::Unreadable { .. })));
        for text in ["", "two words", "schlüssel", "a\u{7f}"] {
            assert!(Key::new(text).is_none(), "{text:?}");
        }
    }
}
