//! What single houses do in their own way: Hugging Face's shards, Ollama's signatures, Docker's refresh tokens.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signature::Verifier as _;

use super::servers::{listen, runtime};
use crate::shards::split;
use crate::slm::{Home, triage_gguf};

/// A request: method, path with query, `Authorization`, body.
type Seen = (String, String, Option<String>, String);
type Answer = Box<dyn Fn(&Seen) -> Response + Send + Sync>;
type Shared = (Arc<Mutex<Vec<Seen>>>, Arc<Answer>);

/// A server that answers by a function and remembers what it was asked.
struct Server {
    host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    /// `answer` is made with the server's own address.
    fn start(answer: impl FnOnce(&str) -> Answer) -> Server {
        let runtime = runtime();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let listener = runtime.block_on(async { listen() });
        let host = listener.local_addr().unwrap().to_string();
        let state = (Arc::clone(&seen), Arc::new(answer(&host)));
        let app = Router::new().fallback(handle).with_state(state);
        runtime.spawn(async { axum::serve(listener, app).await });
        Server { host, seen, _runtime: runtime }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn handle(State((seen, answer)): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let path = head.uri.path_and_query().unwrap().to_string();
    let one = (head.method.to_string(), path, header("authorization"), String::from_utf8(body.to_vec()).unwrap());
    let response = answer(&one);
    seen.lock().unwrap().push(one);
    match header("range") {
        Some(range) if response.status().is_success() => part(response, &range).await,
        _ => response,
    }
}

/// The range of a whole body.
async fn part(response: Response, range: &str) -> Response {
    let whole = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let content_range = format!("bytes {first}-{last}/{}", whole.len());
    let builder = Response::builder().status(206).header("content-range", content_range);
    builder.body(Body::from(whole.slice(first..=last))).unwrap()
}

fn reply(status: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}

#[test]
fn a_model_in_shards_comes_from_hugging_face() {
    let shards = split(&triage_gguf(), 3);
    let paths: Vec<String> = (1..=3).map(|n| format!("Q8_0/triage-Q8_0-{n:05}-of-00003.gguf")).collect();
    let files: BTreeMap<String, Vec<u8>> = paths.iter().cloned().zip(shards.clone()).collect();
    let server = Server::start(|_| {
        Box::new(move |(method, path, _, _)| {
            if path == "/v2/user/Repo-GGUF/manifests/Q8_0" {
                return reply(400, r#"{"error":"The specified tag is a sharded GGUF."}"#);
            }
            if path == "/api/models/user/Repo-GGUF/tree/main?recursive=true" {
                let entries = files.keys().map(|path| serde_json::json!({"type": "file", "path": path, "size": 1}));
                return reply(200, serde_json::Value::from_iter(entries).to_string());
            }
            // The files themselves are kept elsewhere.
            if let Some(file) =
                path.strip_prefix("/user/Repo-GGUF/resolve/main/").filter(|file| files.contains_key(*file))
            {
                let digest = slm::digest::Digest::of(&files[file]).hex();
                let builder = Response::builder().status(302).header("location", format!("/cdn/{file}?signature=1"));
                let builder = builder.header("x-linked-etag", format!("\"{digest}\""));
                return builder.header("x-linked-size", files[file].len()).body(Body::empty()).unwrap();
            }
            let file = path.strip_prefix("/cdn/").and_then(|file| file.strip_suffix("?signature=1"));
            let Some(bytes) = file.and_then(|file| files.get(file)) else { return reply(404, "") };
            let builder = Response::builder().header("content-length", bytes.len());
            builder.body(if method == "HEAD" { Body::empty() } else { Body::from(bytes.clone()) }).unwrap()
        })
    });
    let home = Home::new();
    let pull = || home.slm(["pull", "hf.co/user/Repo-GGUF:Q8_0"]).env("HF_ENDPOINT", format!("http://{}", server.host));
    pull().succeeds();
    let name = "hf.co/user/Repo-GGUF:Q8_0";
    let format = r#"{"enum": ["billing", "shipping"]}"#;
    let text = "I was charged twice";
    let of = |model: &str| home.slm(["run", model, "--format", format, "--json", text]).json()["probabilities"].clone();
    home.file("whole.gguf", triage_gguf());
    home.slm(["pull", "./whole.gguf"]).succeeds();
    assert_eq!(of(name), of("whole"));
    assert!(of(name).is_array());

    // The same version costs no second download.
    let n_before =
        server.seen().iter().filter(|(method, path, ..)| method == "GET" && path.starts_with("/cdn/")).count();
    assert!(pull().succeeds().contains("is complete"));
    let n_after =
        server.seen().iter().filter(|(method, path, ..)| method == "GET" && path.starts_with("/cdn/")).count();
    assert_eq!((n_before, n_after), (3, 3));
}

/// A registry of one tiny model that wants a token, which `token` gives or refuses.
fn registry(token: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Server {
    let gguf = triage_gguf();
    let config = b"{}".to_vec();
    let digest = |bytes: &[u8]| slm::digest::Digest::of(bytes).to_string();
    let layer =
        |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": layer("application/vnd.docker.container.image.v1+json", &config),
        "layers": [layer("application/vnd.ollama.image.model", &gguf)],
    });
    let blobs: BTreeMap<String, Vec<u8>> = [config, gguf].into_iter().map(|blob| (digest(&blob), blob)).collect();
    Server::start(move |host| {
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"here\",scope=\"repository:me/m:pull\"");
        Box::new(move |seen| {
            let (_, path, authorization, _) = seen;
            if path.starts_with("/token") {
                return token(seen);
            }
            if authorization.as_deref() != Some("Bearer given") {
                return Response::builder()
                    .status(401)
                    .header("www-authenticate", &challenge)
                    .body(Body::empty())
                    .unwrap();
            }
            match path.rsplit('/').next() {
                Some("latest") => reply(200, manifest.to_string()),
                Some(digest) if blobs.contains_key(digest) => reply(200, blobs[digest].clone()),
                _ => reply(404, ""),
            }
        })
    })
}

#[test]
fn ollamas_key_signs_for_a_token() {
    let key = ssh_key::PrivateKey::new(ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]).into(), "me").unwrap();
    let server = registry(|(_, path, authorization, _)| match authorization {
        None => reply(401, "who are you?"),
        Some(_) if path.contains("nonce=") => reply(200, r#"{"token": "given"}"#),
        Some(_) => reply(400, ""),
    });
    let home = Home::new();
    let source = format!("{}/me/m", server.host);
    let refused = home.slm(["pull", &source]).ends(1);
    assert!(refused.stderr.contains("returned no token"), "{}", refused.stderr);

    std::fs::create_dir_all(home.path().join(".ollama")).unwrap();
    home.file(".ollama/id_ed25519", key.to_openssh(ssh_key::LineEnding::LF).unwrap().as_bytes());
    home.slm(["pull", &source]).succeeds();
    let seen = server.seen();
    let signed = seen.iter().find(|(_, path, ..)| path.contains("nonce=")).unwrap();
    let (public, signature) = signed.2.as_deref().unwrap().split_once(':').unwrap();
    assert!(key.public_key().to_openssh().unwrap().contains(public));
    let empty = STANDARD.encode(slm::digest::Digest::of(b"").hex());
    let said = format!("GET,http://{}{},{empty}", server.host, signed.1);
    let signature = ssh_key::Signature::new(ssh_key::Algorithm::Ed25519, STANDARD.decode(signature).unwrap()).unwrap();
    key.public_key().key_data().verify(said.as_bytes(), &signature).unwrap();
    assert!(!signed.1.contains("scope=&") && signed.1.contains("scope=repository%3Ame%2Fm%3Apull"), "{}", signed.1);
}

#[test]
fn a_refresh_token_is_exchanged_and_a_helper_is_asked() {
    let server = registry(|(method, _, authorization, body)| match (method.as_str(), authorization) {
        ("POST", None) if body.contains("refresh_token=kept+secret") => reply(200, r#"{"access_token": "given"}"#),
        _ => reply(401, ""),
    });
    let source = format!("{}/me/m", server.host);
    let configured = |config: String| {
        let home = Home::new();
        std::fs::create_dir_all(home.path().join(".docker")).unwrap();
        home.file(".docker/config.json", config);
        home
    };
    let home = configured(format!(r#"{{"auths": {{"{}": {{"identitytoken": "kept secret"}}}}}}"#, server.host));
    home.slm(["pull", &source]).succeeds();

    let home = configured(format!(r#"{{"credHelpers": {{"{}": "ours"}}}}"#, server.host));
    std::fs::create_dir(home.path().join("bin")).unwrap();
    executable(
        &home.path().join("bin/docker-credential-ours"),
        "#!/bin/sh\ncat > asked\necho '{\"Username\": \"<token>\", \"Secret\": \"kept secret\"}'\n",
    );
    let path = format!("{}:/usr/bin:/bin", home.path().join("bin").display());
    home.slm(["pull", &source]).env("PATH", path).succeeds();

    // A helper that is not there is no reason to fail before the registry has refused.
    let home = configured(r#"{"credsStore": "desktop"}"#.to_owned());
    let refused = home.slm(["pull", &source]).ends(1);
    assert!(refused.stderr.contains("docker login"), "{}", refused.stderr);
}

/// Writes a script by a process of its own: were this process to write it, a child that another test starts meanwhile
/// would hold the file open, and the kernel would refuse to run it ("text file busy").
fn executable(path: &Path, script: &str) {
    let mut install = std::process::Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(path)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    install.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(install.wait().unwrap().success());
}
