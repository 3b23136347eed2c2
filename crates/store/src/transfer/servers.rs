//! Which server a model's name leads to, and how servers are contacted, as the user has set it up. It contacts none.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use url::Url;

use crate::registry::{CredentialSources, NamedHosts, Registry, Repository, Settings};
use slm_values::model_ref::{DEFAULT_HOST, DEFAULT_NAMESPACE};
use slm_values::source::Reference;

const HUGGING_FACE: &str = "https://huggingface.co";
/// Docker Hub's registry has another name than its images.
const DOCKER_HUB: &str = "https://registry-1.docker.io";

/// The servers that models come from and go to.
#[derive(Debug, Clone)]
pub struct Servers {
    /// The registry of names that give no host, in place of Ollama's.
    pub registry: Option<String>,
    /// What stands for Hugging Face.
    pub hugging_face: Option<String>,
    /// The hosts that a person named.
    pub named: NamedHosts,
    pub keeping: CredentialSources,
    /// How long a server may send nothing.
    pub stall: Duration,
    /// Roots of other stores on this machine.
    pub neighbours: Vec<PathBuf>,
    /// The time of day.
    pub now: fn() -> SystemTime,
}

/// Why a name or a setting leads to no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    #[error("{what} is `{text}`, which is not a server; write `[https://]host[:port]`")]
    NoServer { what: &'static str, text: String },
    /// Nobody but Ollama may write there.
    #[error(
        "`{name}` does not say where to push it; give it a name with a registry, for example `registry.example.com/team/{model}`"
    )]
    Nowhere { name: String, model: String },
}

impl Servers {
    /// A speaker with registries.
    ///
    /// # Errors
    /// The setting for Hugging Face is not a server.
    pub fn client(&self) -> Result<Registry, ServerError> {
        let user_agent =
            format!("slm/{} ({}; {})", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS);
        let (named, keeping, stall) = (self.named.clone(), self.keeping.clone(), self.stall);
        let (hugging_face, now) = (self.hugging_face()?, self.now);
        Ok(Registry::new(Settings { named, keeping, user_agent, stall, hugging_face, now }))
    }

    /// Where a name's manifests and blobs are.
    ///
    /// # Errors
    /// The name or the setting is not a server.
    pub fn repository(&self, reference: &Reference) -> Result<Repository, ServerError> {
        let name = &reference.name;
        let path = format!("{}/{}", name.namespace(), name.model());
        if matches!(name.host(), "hf.co" | "huggingface.co") {
            return Ok(Repository::of_hugging_face(self.hugging_face()?, path));
        }
        if let Some(registry) = self.registry.as_deref().filter(|_| name.host() == DEFAULT_HOST) {
            return Ok(Repository::new(self.server("SLM_REGISTRY", registry)?, path));
        }
        if name.host() == "docker.io" {
            return Ok(Repository::new(self.server("the name", DOCKER_HUB)?, path));
        }
        let address = match reference.scheme {
            Some(scheme) => format!("{}://{}", scheme.as_str(), name.host()),
            None => name.host().to_owned(),
        };
        Ok(Repository::new(self.server("the name", &address)?, path))
    }

    /// Where a model of that name can be pushed to.
    ///
    /// # Errors
    /// As [`Servers::repository`]; or it is the place of Ollama's own models.
    pub fn target(&self, reference: &Reference) -> Result<Repository, ServerError> {
        let name = &reference.name;
        if name.host() == DEFAULT_HOST && name.namespace() == DEFAULT_NAMESPACE && self.registry.is_none() {
            return Err(ServerError::Nowhere { name: reference.to_string(), model: name.model().to_owned() });
        }
        self.repository(reference)
    }

    fn hugging_face(&self) -> Result<Url, ServerError> {
        // What may be plain elsewhere says nothing of Hugging Face.
        server("HF_ENDPOINT", self.hugging_face.as_deref().unwrap_or(HUGGING_FACE), &NamedHosts::default())
    }

    fn server(&self, what: &'static str, text: &str) -> Result<Url, ServerError> {
        server(what, text, &self.named)
    }
}

/// The base address of a server, `[scheme://]host[:port]`. Without a scheme it is `http` for this machine and for hosts that
/// were named insecure, else `https`.
fn server(what: &'static str, text: &str, named: &NamedHosts) -> Result<Url, ServerError> {
    let refused = || ServerError::NoServer { what, text: text.to_owned() };
    let parse = |text: String| Url::parse(&text).map_err(|_| refused());
    let url = if text.contains("://") {
        parse(text.to_owned())?
    } else {
        let url = parse(format!("http://{text}"))?;
        if named.may_be_plain(&url) { url } else { parse(format!("https://{text}"))? }
    };
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) || !is_bare {
        return Err(refused());
    }
    Ok(url)
}
