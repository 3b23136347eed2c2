//! Which hosts this machine has credentials for: hosts, files and names of variables, never a value.

use serde_json::json;

use super::report::Finding;
use crate::cli::environment::Environment;
use crate::registry::{CredentialSources, Held};

/// What a pull or a push could show a server.
pub fn finding(environment: &Environment) -> Finding {
    let network = environment.network();
    let sources = CredentialSources {
        docker_config: network.docker_config.clone(),
        hugging_face: None,
        ollama_keys: network.ollama_keys.clone(),
    };
    let (held, problem) = match sources.held() {
        Ok(held) => (held, None),
        Err(error) => (Held::default(), Some(error.to_string())),
    };
    let mut shown = Vec::new();
    if !held.docker_servers.is_empty() {
        shown.push(format!("Docker's for {}", held.docker_servers.join(", ")));
    }
    if let Some(helper) = &held.docker_helper {
        shown.push(format!("Docker's in docker-credential-{helper}"));
    }
    shown.extend(network.hugging_face_token_from.as_ref().map(|from| format!("Hugging Face's ({from})")));
    shown.extend(held.ollama_key.as_ref().map(|path| format!("Ollama's key ({})", path.display())));
    if environment.api_key().is_some() {
        shown.push("a server's (SLM_API_KEY)".to_owned());
    }
    let facts = json!({
        "docker": held.docker_servers,
        "docker_helper": held.docker_helper,
        "hugging_face": network.hugging_face_token_from,
        "ollama_key": held.ollama_key.as_ref().map(|path| path.display().to_string()),
        "server_key": environment.api_key().map(|_| "SLM_API_KEY"),
    });
    let found = if shown.is_empty() { "none".to_owned() } else { shown.join("; ") };
    let finding = Finding::new("credentials", found, facts);
    problem.into_iter().fold(finding, Finding::fail)
}
