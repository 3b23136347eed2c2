//! Authentication to a registry: anonymous, basic and bearer authentication, Ollama's signatures.

use super::address::{authority, is_realm_of};
use super::challenge::{self, Challenge};
use super::credentials::{self, CredentialSources, Login, sensitive};
use super::error::{Forbidden, RegistryError};
use super::http::{ConnectionUse, Http, HttpRequest, HttpResponse, host, read_whole};
use super::{Access, Repository};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use ssh_key::PrivateKey;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use url::Url;

const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// Who we are, and the tokens that were given to us.
#[derive(Debug)]
pub(super) struct Authorizer {
    keeping: CredentialSources,
    now: fn() -> SystemTime,
    /// By server, repository and access: what the last request with these was authorized by.
    known: Mutex<HashMap<(String, String), HeaderValue>>,
}

impl Authorizer {
    pub(super) fn new(keeping: CredentialSources, now: fn() -> SystemTime) -> Authorizer {
        Authorizer { keeping, now, known: Mutex::default() }
    }

    /// Sends a request to a repository's own server, and once more with credentials where it asks for them.
    pub(super) async fn send(
        &self,
        http: &Http,
        repository: &Repository,
        access: Access,
        ask: HttpRequest<'_>,
    ) -> Result<HttpResponse, RegistryError> {
        let key = (authority(&repository.base), format!("{}:{}", repository.path, access.actions()));
        let known = self.known(&key).or_else(|| self.beforehand(repository));
        let answer = http.send(HttpRequest { authorization: known, ..ask.clone() }).await?;
        if answer.response.status() != StatusCode::UNAUTHORIZED || answer.url.host_str() != repository.base.host_str() {
            return Ok(answer);
        }
        let headers = answer.response.headers().get_all(WWW_AUTHENTICATE);
        let texts: Vec<&str> = headers.iter().filter_map(|header| header.to_str().ok()).collect();
        let Some(challenge) = challenge::parse(&texts.join(", ")) else {
            return Err(
                self.unauthorized(repository, "it does not say which; slm supports basic and bearer authentication")
            );
        };
        let authorization = match challenge {
            Challenge::Basic => self.basic(repository)?,
            Challenge::Bearer { realm, service, scope } => {
                let scope = scope.unwrap_or_else(|| repository.scope(access));
                self.token(http, repository, &realm, service.as_deref(), &scope).await?
            }
        };
        let again = http.send(HttpRequest { authorization: Some(authorization.clone()), ..ask }).await?;
        if again.response.status() == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized(repository, &format!("it refused the credentials; {}", how(repository))));
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, authorization);
        Ok(again)
    }

    fn known(&self, key: &(String, String)) -> Option<HeaderValue> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// What is sent before anybody asks: Hugging Face answers a private repository with "not found".
    fn beforehand(&self, repository: &Repository) -> Option<HeaderValue> {
        let token = self.keeping.hugging_face.as_ref().filter(|_| repository.is_hugging_face)?;
        token.bearer()
    }

    fn login(&self, repository: &Repository) -> Result<Option<Login>, RegistryError> {
        let Some(config) = &self.keeping.docker_config else { return Ok(None) };
        credentials::docker_login(config, &host(&repository.base))
    }

    fn basic(&self, repository: &Repository) -> Result<HeaderValue, RegistryError> {
        let header = self.login(repository)?.and_then(|login| login.header());
        header.ok_or_else(|| self.unauthorized(repository, &how(repository)))
    }

    /// Asks the keeper of a registry's tokens for one.
    async fn token(
        &self,
        http: &Http,
        repository: &Repository,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<HeaderValue, RegistryError> {
        // A realm may be any text (Hugging Face's says what is missing); only an address leads to tokens.
        let address = if realm.starts_with('/') { repository.base.join(realm) } else { Url::parse(realm) };
        let Ok(mut url) = address else {
            return Err(self.unauthorized(repository, &format!("it names no token server; {}", how(repository))));
        };
        if !is_realm_of(&repository.base, &url) && !http.named().allows(&url) {
            let is_web = matches!(url.scheme(), "http" | "https");
            let (to, why) = if is_web {
                (authority(&url), Forbidden::ForeignRealm)
            } else {
                (url.as_str().chars().take(200).collect(), Forbidden::NotWeb)
            };
            return Err(RegistryError::Forbidden { from: host(&repository.base), to, why });
        }
        let login = self.login(repository)?;
        if let Some(Login::Refresh(token)) = &login {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", service.unwrap_or_default())
                .append_pair("client_id", "slm")
                .append_pair("scope", scope)
                .append_pair("refresh_token", token.text())
                .finish();
            let mut ask = HttpRequest::get(url.clone(), &repository.base, ConnectionUse::Talk);
            ask.method = Method::POST;
            ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            ask.body = form.into_bytes().into();
            return self.token_of(http, repository, ask, &url).await;
        }
        url.query_pairs_mut().extend_pairs(service.map(|service| ("service", service)));
        for scope in scope.split(' ').filter(|scope| !scope.is_empty()) {
            url.query_pairs_mut().append_pair("scope", scope);
        }
        let mut plain = HttpRequest::get(url.clone(), &repository.base, ConnectionUse::Talk);
        plain.authorization = login.as_ref().and_then(Login::header);
        let given = self.token_of(http, repository, plain, &url).await;
        match given {
            // Who asks is known by a key in place of a password.
            Err(RegistryError::Unauthorized { .. } | RegistryError::Refused { .. }) if login.is_none() => {
                let Some(key) = credentials::ollama_key(&self.keeping.ollama_keys) else { return given };
                self.token_for_key(http, repository, url, &key).await
            }
            given => given,
        }
    }

    /// Asks for a token as Ollama does, with a signature of the address.
    async fn token_for_key(
        &self,
        http: &Http,
        repository: &Repository,
        mut url: Url,
        key: &PrivateKey,
    ) -> Result<HeaderValue, RegistryError> {
        let seconds = (self.now)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let nonce: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        url.query_pairs_mut()
            .append_pair("ts", &seconds.to_string())
            .append_pair("nonce", &URL_SAFE_NO_PAD.encode(nonce));
        let mut signed = HttpRequest::get(url.clone(), &repository.base, ConnectionUse::Talk);
        signed.authorization = credentials::sign(key, url.as_str());
        self.token_of(http, repository, signed, &url).await
    }

    async fn token_of(
        &self,
        http: &Http,
        repository: &Repository,
        ask: HttpRequest<'_>,
        realm: &Url,
    ) -> Result<HeaderValue, RegistryError> {
        let answer = http.send(ask).await?;
        match answer.response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(
                    self.unauthorized(repository, &format!("`{}` returned no token; {}", host(realm), how(repository)))
                );
            }
            _ => return Err(http.refusal(answer, "token").await),
        }
        let wrong = || RegistryError::Protocol { host: host(realm), what: "something that is not a token".to_owned() };
        let body = read_whole(http, answer, realm, MAX_TOKEN_BYTES, "a token").await?;
        let json: serde_json::Value = serde_json::from_slice(&body).map_err(|_| wrong())?;
        let token = json["token"].as_str().or(json["access_token"].as_str()).filter(|token| !token.is_empty());
        sensitive(&format!("Bearer {}", token.ok_or_else(wrong)?)).ok_or_else(wrong)
    }

    fn unauthorized(&self, repository: &Repository, hint: &str) -> RegistryError {
        RegistryError::Unauthorized { host: host(&repository.base), hint: hint.to_owned() }
    }
}

/// How a person gives credentials for a registry.
fn how(repository: &Repository) -> String {
    let host = host(&repository.base);
    if repository.is_hugging_face {
        "set HF_TOKEN to a token that may read it".to_owned()
    } else if repository.is_ollama() {
        "add the key `~/.ollama/id_ed25519.pub` to your account there".to_owned()
    } else {
        format!("run `docker login {host}`, or put a name and a password into Docker's config.json")
    }
}
