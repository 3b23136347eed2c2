//! Which credentials belong to which host: Docker's configuration, Hugging Face's token, Ollama's key. It sends nothing.

use super::error::RegistryError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use reqwest::header::HeaderValue;
use ssh_key::PrivateKey;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Where credentials are kept.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    pub hugging_face: Option<Secret>,
    /// OpenSSH files of ed25519 keys as Ollama makes them; the first that can be read counts.
    pub ollama_keys: Vec<PathBuf>,
}

/// For whom there are credentials. It holds no credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The servers that Docker's configuration has an entry for, as it spells them.
    pub docker_servers: Vec<String>,
    /// The program that keeps Docker's other credentials.
    pub docker_helper: Option<String>,
    /// The file of Ollama's key.
    pub ollama_key: Option<PathBuf>,
}

impl CredentialSources {
    /// For whom there are credentials on this machine; no value is given, and no helper is asked.
    ///
    /// # Errors
    /// Docker's configuration cannot be read, or is not JSON.
    pub fn held(&self) -> Result<Held, RegistryError> {
        let ollama_key = self.ollama_keys.iter().find(|path| ollama_key(std::slice::from_ref(path)).is_some()).cloned();
        let Some(path) = &self.docker_config else { return Ok(Held { ollama_key, ..Held::default() }) };
        let failed = |reason: String| RegistryError::DockerConfig { path: path.clone(), reason };
        let Some(bytes) = docker_config(path).map_err(|error| failed(error.to_string()))? else {
            return Ok(Held { ollama_key, ..Held::default() });
        };
        let config: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
        let keys = |field: &str| config[field].as_object().into_iter().flatten().map(|(server, _)| server.clone());
        let mut docker_servers: Vec<String> = keys("auths").chain(keys("credHelpers")).collect();
        docker_servers.sort();
        docker_servers.dedup();
        Ok(Held { docker_servers, docker_helper: config["credsStore"].as_str().map(str::to_owned), ollama_key })
    }
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// As the header of a request.
    #[must_use]
    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        sensitive(&format!("Bearer {}", self.0))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What Docker's configuration holds for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// The header of basic authentication.
    Basic(Secret),
    /// A token that is exchanged for others.
    Refresh(Secret),
}

impl Login {
    pub(super) fn header(&self) -> Option<HeaderValue> {
        match self {
            Login::Basic(pair) => sensitive(&format!("Basic {}", pair.0)),
            Login::Refresh(_) => None,
        }
    }
}

/// The bytes of Docker's configuration; `None` if the file does not exist. A file that is too long is an error.
fn docker_config(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        let reason = format!("it has more than {MAX_CONFIG_BYTES} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason));
    }
    Ok(Some(bytes))
}

/// What Docker's configuration holds for `host`, with its port where it has one.
pub(super) fn docker_login(config: &Path, host: &str) -> Result<Option<Login>, RegistryError> {
    let failed = |reason: String| RegistryError::Credentials { host: host.to_owned(), reason };
    let read = docker_config(config).map_err(|error| failed(format!("`{}`: {error}", config.display())))?;
    let Some(bytes) = read else { return Ok(None) };
    // As Docker's own tools spell a server.
    let host = if host == "registry-1.docker.io" { "index.docker.io" } else { host };
    for server in [host.to_owned(), format!("https://{host}"), format!("http://{host}"), format!("https://{host}/v1/")]
    {
        match docker_credential::get_credential_from_reader(bytes.as_slice(), &server) {
            Ok(DockerCredential::UsernamePassword(name, word)) if name == "<token>" => {
                return Ok(Some(Login::Refresh(Secret(word))));
            }
            Ok(DockerCredential::UsernamePassword(name, word)) => {
                return Ok(Some(Login::Basic(Secret(STANDARD.encode(format!("{name}:{word}"))))));
            }
            Ok(DockerCredential::IdentityToken(token)) => return Ok(Some(Login::Refresh(Secret(token)))),
            // A helper that knows nothing of the host fails too, and one that is not installed has nothing to say.
            Err(
                CredentialRetrievalError::NoCredentialConfigured
                | CredentialRetrievalError::HelperFailure { .. }
                | CredentialRetrievalError::HelperCommunicationError,
            ) => {}
            Err(error) => return Err(failed(format!("`{}`: {error}", config.display()))),
        }
    }
    Ok(None)
}

/// Signs a request for a token as Ollama does: `<public key>:<signature>`, both in base64, over
/// `GET,<address>,<base64 of the hex SHA-256 of the empty body>` (Ollama's `auth` package). The signature holds for that address only.
pub(super) fn sign(key: &PrivateKey, url: &str) -> Option<HeaderValue> {
    use signature::Signer as _;
    let empty = STANDARD.encode(slm_values::digest::Digest::of(b"").hex());
    let signature: ssh_key::Signature = key.try_sign(format!("GET,{url},{empty}").as_bytes()).ok()?;
    let public = key.public_key().to_openssh().ok()?;
    let public = public.split(' ').nth(1)?.to_owned();
    sensitive(&format!("{public}:{}", STANDARD.encode(signature.as_bytes())))
}

/// The first key of a list that can be read.
pub(super) fn ollama_key(paths: &[PathBuf]) -> Option<PrivateKey> {
    paths.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        PrivateKey::from_openssh(text).ok().filter(|key| key.algorithm() == ssh_key::Algorithm::Ed25519)
    })
}

/// A header that logs do not show; `None` where a character cannot be in one.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_configuration_speaks_for_one_host() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        // me:secret
        fs::write(
            &config,
            r#"{"auths": {"reg.corp:5000": {"auth": "bWU6c2VjcmV0"}, "ghcr.io": {"identitytoken": "t"}}}"#,
        )
        .unwrap();
        let login = |host| docker_login(&config, host).unwrap();
        assert_eq!(login("reg.corp:5000"), Some(Login::Basic(Secret("bWU6c2VjcmV0".to_owned()))));
        assert_eq!(login("ghcr.io"), Some(Login::Refresh(Secret("t".to_owned()))));
        assert_eq!((login("reg.corp"), login("reg.corp:5001"), login("corp")), (None, None, None));
        assert_eq!(docker_login(Path::new("/nowhere/config.json"), "ghcr.io").unwrap(), None);
        fs::write(&config, "{").unwrap();
        assert!(docker_login(&config, "ghcr.io").is_err());
        assert!(!format!("{:?}", Secret("hidden".to_owned())).contains("hidden"));
    }

    #[test]
    fn a_configuration_without_end_is_refused() {
        let config = PathBuf::from("/dev/zero");
        let sources = CredentialSources { docker_config: Some(config.clone()), ..CredentialSources::default() };
        let errors = [sources.held().unwrap_err(), docker_login(&config, "ghcr.io").unwrap_err()];
        assert!(errors.iter().all(|error| error.to_string().contains("more than 1048576 bytes")), "{errors:?}");
    }

    #[test]
    fn a_signature_is_of_the_key_and_the_address() {
        use signature::Verifier as _;
        let key = PrivateKey::new(ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]).into(), "").unwrap();
        let header = sign(&key, "https://ollama.com/token?ts=1").unwrap();
        let (public, signature) = header.to_str().unwrap().split_once(':').unwrap();
        assert!(key.public_key().to_openssh().unwrap().contains(public));
        let signature =
            ssh_key::Signature::new(ssh_key::Algorithm::Ed25519, STANDARD.decode(signature).unwrap()).unwrap();
        // SHA-256 of nothing, its hex digits in base64.
        let empty = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ==";
        let signed = format!("GET,https://ollama.com/token?ts=1,{empty}");
        key.public_key().key_data().verify(signed.as_bytes(), &signature).unwrap();
    }
}
