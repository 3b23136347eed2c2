//! What a file says of a remote, parsed into a type that cannot be wrong. It contacts nobody.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use url::{Host, Url};

use crate::dialect::Dialect;
use crate::key::KeySource;
use crate::price::Price;

/// How long one try may take, where nobody says.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a question is asked again that failed, where nobody says.
const RETRIES: u32 = 4;
const MAX_RETRIES: u32 = 50;
/// Questions at once, where nobody says.
const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(4).expect("it is not 0");
/// Fields of a request that are the client's own.
const OWN_FIELDS: [&str; 6] = ["model", "messages", "input", "state", "questions", "stream"];

/// A model behind somebody's HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Remote {
    base_url: Url,
    pub model: String,
    pub key: KeySource,
    pub dialect: Dialect,
    pub price: Option<Price>,
    /// How long one try may take.
    pub timeout: Duration,
    /// How often a question is asked again that failed in a way that may pass.
    pub retries: u32,
    pub requests_per_minute: Option<NonZeroU32>,
    /// Questions at once.
    pub concurrency: NonZeroUsize,
    /// Fields that every request has besides, over the client's own; null takes one away.
    pub body: Map<String, Value>,
}

/// What a file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    base_url: String,
    model: String,
    api_key_env: Option<String>,
    api_key_file: Option<PathBuf>,
    #[serde(default)]
    dialect: Dialect,
    price: Option<Price>,
    timeout: Option<Value>,
    retries: Option<u32>,
    requests_per_minute: Option<NonZeroU32>,
    concurrency: Option<NonZeroUsize>,
    /// Whether a host that is not this machine may be spoken to without TLS.
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    body: Map<String, Value>,
}

/// Why what a file says is not a remote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// A key that is not known or missing, or a value of another type.
    #[error("{0}")]
    Fields(String),
    #[error("`base_url` is not an address: {reason}; give one such as https://api.example.com/v1")]
    Address { reason: String },
    #[error("`base_url` cannot have {what}; {instead}")]
    AddressPart { what: &'static str, instead: &'static str },
    #[error(
        "`base_url` `{address}` has no TLS, and the key and the texts would be readable on the way; give an https address, \
         or `insecure: true` if you trust the way"
    )]
    Plain { address: String },
    #[error("`model` is empty; give the name by which the remote knows it")]
    NoModel,
    #[error("`api_key_env` and `api_key_file` are both given; leave one away")]
    TwoKeys,
    #[error("`api_key_env` cannot be `{0}`: give the name of a variable, not the key")]
    Variable(String),
    #[error("`timeout` cannot be `{0}`: give seconds, or a time such as 90s or 2m")]
    Timeout(String),
    #[error("`retries` cannot be {0}: give 0 to {MAX_RETRIES}")]
    Retries(u32),
    #[error("`body` cannot have `{0}`, which every request has already")]
    OwnField(String),
}

impl Remote {
    /// Reads what a file says, parsed already: a YAML parser's own errors show the lines around a mistake, and one mistake is to
    /// write a key there.
    ///
    /// # Errors
    /// See [`SettingError`]; none shows a key.
    pub fn from_value(value: Value) -> Result<Remote, SettingError> {
        let fields: Fields = serde_path_to_error::deserialize(value).map_err(|error| {
            let place = error.path().to_string();
            let place = if place == "." { String::new() } else { format!("`{place}`: ") };
            SettingError::Fields(format!("{place}{}", error.inner()))
        })?;
        fields.try_into()
    }

    /// The address at which a path of the API lies.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    /// The address, up to the path of the dialect.
    #[must_use]
    pub fn base_url(&self) -> &str {
        self.base_url.as_str()
    }

    /// The server, as people write it: `api.example.com`, `127.0.0.1:8000`.
    #[must_use]
    pub fn host(&self) -> String {
        let name = self.base_url.host_str().unwrap_or_default();
        self.base_url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_loopback(&self.base_url)
    }
}

impl TryFrom<Fields> for Remote {
    type Error = SettingError;

    fn try_from(fields: Fields) -> Result<Remote, SettingError> {
        let base_url = address(&fields.base_url)?;
        if base_url.scheme() == "http" && !fields.insecure && !is_loopback(&base_url) {
            return Err(SettingError::Plain { address: base_url.into() });
        }
        let key = match (fields.api_key_env, fields.api_key_file) {
            (Some(_), Some(_)) => return Err(SettingError::TwoKeys),
            (Some(name), None) if is_variable(&name) => KeySource::Variable(name),
            (Some(name), None) => return Err(SettingError::Variable(shortened(&name))),
            (None, Some(path)) => KeySource::File(path),
            (None, None) => KeySource::Nobody,
        };
        if fields.model.trim().is_empty() {
            return Err(SettingError::NoModel);
        }
        if let Some(own) = fields.body.keys().find(|name| OWN_FIELDS.contains(&name.as_str())) {
            return Err(SettingError::OwnField(own.clone()));
        }
        let timeout = fields.timeout.as_ref().map_or(Ok(TIMEOUT), time)?;
        let retries = fields.retries.unwrap_or(RETRIES);
        if retries > MAX_RETRIES {
            return Err(SettingError::Retries(retries));
        }
        Ok(Remote {
            base_url,
            model: fields.model,
            key,
            dialect: fields.dialect,
            price: fields.price,
            timeout,
            retries,
            requests_per_minute: fields.requests_per_minute,
            concurrency: fields.concurrency.unwrap_or(CONCURRENCY),
            body: fields.body,
        })
    }
}

fn address(text: &str) -> Result<Url, SettingError> {
    let url = Url::parse(text).map_err(|error| SettingError::Address { reason: error.to_string() })?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(SettingError::Address { reason: format!("`{}` is not of the web", url.scheme()) });
    }
    let wrong = |what, instead| Err(SettingError::AddressPart { what, instead });
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("a user or a password", "give the key as `api_key_env` or `api_key_file`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("a query or a fragment", "leave away what begins with `?` or `#`");
    }
    if ["/chat/completions", "/decisions", "/systemone"].iter().any(|path| url.path().ends_with(path)) {
        return wrong("the path of the dialect", "end it before that, with `/v1` for example");
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// Whether a text is the name of a variable, as those are usually written: a key that was put there by mistake seldom is.
fn is_variable(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase() || byte == b'_');
    begins && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The beginning of what may be a secret.
fn shortened(text: &str) -> String {
    let beginning: String = text.chars().take(3).collect();
    if beginning.len() < text.len() { beginning + "…" } else { beginning }
}

/// Seconds, or a time with its unit.
fn time(value: &Value) -> Result<Duration, SettingError> {
    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let seconds = match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => {
            let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
            let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
            let (digits, factor) = found.unwrap_or((text, 1.0));
            digits.trim().parse::<f64>().ok().map(|n| n * factor)
        }
        _ => None,
    };
    let within = seconds.filter(|seconds| *seconds > 0.0 && *seconds <= 24.0 * 3600.0);
    within.map(Duration::from_secs_f64).ok_or(SettingError::Timeout(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(yaml: &str) -> Result<Remote, String> {
        Remote::from_value(serde_yaml::from_str(yaml).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn three_lines_are_a_remote() {
        let remote = remote("base_url: https://api.example.com/v1\nmodel: big\napi_key_env: BIG_KEY\n").unwrap();
        assert_eq!((remote.model.as_str(), remote.host().as_str()), ("big", "api.example.com"));
        assert_eq!(remote.url("chat/completions").as_str(), "https://api.example.com/v1/chat/completions");
        assert_eq!(remote.key, KeySource::Variable("BIG_KEY".to_owned()));
        assert_eq!((remote.dialect, remote.timeout, remote.retries), (Dialect::Chat, TIMEOUT, RETRIES));
        assert!(!remote.is_local());
    }

    #[test]
    fn everything_can_be_said() {
        let remote = remote(
            "base_url: http://127.0.0.1:8000/v1/\nmodel: m\ndialect: systemone\ntimeout: 1.5m\nretries: 0\n\
             requests_per_minute: 60\nconcurrency: 2\nbody: {temperature: null}\n\
             price: {input: 1, output: 2, per: 1M, date: 2026-11-30}\n",
        )
        .unwrap();
        assert_eq!(remote.url("systemone").as_str(), "http://127.0.0.1:8000/v1/systemone");
        assert_eq!((remote.dialect, remote.timeout), (Dialect::SystemOne, Duration::from_secs(90)));
        assert_eq!((remote.retries, remote.concurrency.get(), remote.is_local()), (0, 2, true));
        assert_eq!((remote.requests_per_minute, remote.price.is_some()), (NonZeroU32::new(60), true));
        assert!(remote.body["temperature"].is_null());
    }

    #[test]
    fn what_is_wrong_is_named_and_a_key_is_not_shown() {
        for (more, said) in [
            ("base_url: api.example.com", "`base_url` is not an address"),
            ("base_url: ftp://example.com", "`base_url` is not an address: `ftp` is not of the web"),
            ("base_url: http://api.example.com/v1", "has no TLS"),
            ("base_url: https://me:pw@example.com/v1", "cannot have a user or a password"),
            ("base_url: https://example.com/v1?key=x", "cannot have a query or a fragment"),
            ("base_url: https://example.com/v1/chat/completions", "cannot have the path of the dialect"),
            ("model: ' '", "`model` is empty"),
            ("api_key_env: sk-secret", "`api_key_env` cannot be `sk-…`"),
            ("{api_key_env: A, api_key_file: b}", "`api_key_env` and `api_key_file` are both given"),
            ("timeout: soon", "`timeout` cannot be `soon`"),
            ("timeout: 0", "`timeout` cannot be `0`"),
            ("retries: 51", "`retries` cannot be 51"),
            ("concurrency: 0", "`concurrency`: invalid value"),
            ("dialect: telepathy", "`dialect`: unknown variant `telepathy`"),
            ("body: {model: x}", "`body` cannot have `model`"),
            ("api_key: sk-secret", "unknown field `api_key`"),
        ] {
            let mut fields: Map<String, Value> =
                serde_yaml::from_str("{base_url: 'https://example.com/v1', model: m}").unwrap();
            fields.extend(serde_yaml::from_str::<Map<String, Value>>(more).unwrap());
            let error = remote(&Value::Object(fields).to_string()).unwrap_err();
            assert!(error.contains(said), "{more}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(remote("{base_url: 'http://10.0.0.7:8000/v1', model: m, insecure: true}").is_ok());
    }
}
