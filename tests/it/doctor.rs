//! `slm doctor`: what it says of a sound machine, and of every fault that a test can make.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::life::SmallDisk;
use crate::serve::Server;
use crate::slm::{Call, Home};

const NAMES: [&str; 12] = [
    "slm",
    "processor",
    "kernels",
    "accelerators",
    "threads",
    "memory",
    "store",
    "space",
    "Ollama's store",
    "server",
    "credentials",
    "settings",
];

/// What a call with `--json` found of one part.
#[track_caller]
fn finding(report: &Value, name: &str) -> Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}")).clone()
}

/// The report of a call that ends with this code, and says nothing else.
#[track_caller]
fn report(call: Call, code: i32) -> Value {
    let said = call.ends(code);
    assert_eq!(said.stderr, "");
    serde_json::from_str(&said.stdout).unwrap()
}

/// The status and the messages of one part.
#[track_caller]
fn problems(report: &Value, name: &str) -> (String, Vec<String>) {
    let finding = finding(report, name);
    let messages = finding["problems"].as_array().unwrap().iter().map(|problem| problem["message"].as_str().unwrap());
    (finding["status"].as_str().unwrap().to_owned(), messages.map(str::to_owned).collect())
}

fn doctor(home: &Home) -> Call {
    home.slm(["doctor", "--json"])
}

#[test]
fn a_sound_machine_has_nothing_wrong() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage");
    home.slm(["create", "mine"]).succeeds();
    let report = report(doctor(&home), 0);
    let names: Vec<&str> =
        report["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES);
    let facts = |name| finding(&report, name)["facts"].clone();
    assert_eq!(facts("slm")["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(facts("processor")["missing"], Value::Array(vec![]));
    assert!(facts("threads")["threads"].as_u64() >= Some(1));
    let store = facts("store");
    assert_eq!((&store["models"], &store["writable"], &store["broken"]), (&1.into(), &true.into(), &0.into()));
    assert!(store["bytes"].as_u64() > Some(1_000_000));
    // A line for each part, of which nothing is wrong.
    let text = home.slm(["doctor"]).ends(0).stdout;
    assert!(text.contains(&format!("store           {} (1 model, 1.4 MB)\n", home.models().display())), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("nothing is wrong")), "{text}");
    // It looks, and leaves nothing behind.
    let empty = Home::new();
    let store = finding(&super::doctor::report(doctor(&empty), 0), "store");
    assert_eq!((&store["facts"]["exists"], &store["status"]), (&false.into(), &"ok".into()));
    assert!(!empty.path().join(".local").exists());
}

#[test]
fn a_store_that_cannot_be_written_is_wrong() {
    let home = Home::new();
    let file = home.file("file", "");
    let said = report(doctor(&home).env("SLM_MODELS", file.join("models")), 1);
    let expected = format!(
        "cannot write to `{}`: Not a directory (os error 20); choose another folder with `SLM_MODELS`",
        file.display()
    );
    assert_eq!(problems(&said, "store"), ("wrong".to_owned(), vec![expected]));
    assert_eq!(said["status"], "wrong");
}

#[test]
fn a_read_only_disk_is_wrong() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage");
    home.slm(["create", "mine"]).succeeds();
    let (folder, slm) = (home.models().display().to_string(), env!("CARGO_BIN_EXE_slm"));
    let mount = format!("mount --bind '{folder}' '{folder}' && mount -o remount,bind,ro '{folder}' || exit 99");
    let script = format!("{{ {mount}; }} 2>/dev/null; exec '{slm}' doctor --json");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]).env("HOME", home.path());
    let output = match command.output() {
        Ok(output) if output.status.code() != Some(99) && !output.stderr.starts_with(b"unshare") => output,
        _ => return slm_testing::skipped!("nothing can be mounted here"),
    };
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = format!(
        "cannot write to `{folder}`: Read-only file system (os error 30); choose a folder that can be written to with \
         `SLM_MODELS`"
    );
    assert_eq!(problems(&said, "store"), ("wrong".to_owned(), vec![expected]));
}

#[test]
fn a_full_disk_is_wrong() {
    let home = Home::new();
    let store = home.path().join("small");
    let Some(_disk) = SmallDisk::mount(&store) else { return };
    // Until nothing more goes on it.
    let _ = std::fs::write(store.join("large"), vec![1; 2 << 20]);
    let said = report(doctor(&home).env("SLM_MODELS", &store), 1);
    let (status, messages) = problems(&said, "store");
    assert_eq!(status, "wrong");
    let expected = format!(
        "no space left to write `{}`; free some, or choose another disk for the store with `SLM_MODELS`",
        store.display()
    );
    assert_eq!(messages, [expected]);
    let (status, messages) = problems(&said, "space");
    assert_eq!((status.as_str(), messages.len()), ("wrong", 1));
    assert!(messages[0].starts_with("no model can be pulled; remove models with `slm rm`"), "{messages:?}");
}

#[test]
fn a_broken_manifest_is_wrong() {
    let home = Home::new();
    let folder = home.models().join("manifests/registry.ollama.ai/library/torn");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("latest"), "{").unwrap();
    let said = report(doctor(&home), 1);
    let (status, messages) = problems(&said, "store");
    assert_eq!((status.as_str(), messages.len()), ("wrong", 1));
    assert!(messages[0].ends_with("; create or pull the model again"), "{messages:?}");
}

/// Answers every request at a port of its own, by its path.
fn answering(answer: impl Fn(&str) -> Option<&'static str> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let n_read = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..n_read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (status, body) = answer(path).map_or(("404 Not Found", "no such page"), |body| ("200 OK", body));
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn a_server_is_told_by_what_it_answers() {
    let home = Home::new();
    let at = |address: &str| {
        let said = report(doctor(&home).env("SLM_HOST", address), 0);
        let (status, messages) = problems(&said, "server");
        (status, messages, finding(&said, "server")["facts"]["kind"].clone())
    };
    let ours = env!("CARGO_PKG_VERSION");
    let warns = |message: String, kind: Value| ("warning".to_owned(), vec![message], kind);

    let other = answering(|path| match path {
        "/api/version" => Some(r#"{"version":"9.9.9"}"#),
        "/health" => Some(r#"{"status":"ok"}"#),
        _ => None,
    });
    let message = format!("the server at `http://{other}` is slm 9.9.9 and this is {ours}; restart it with this one");
    assert_eq!(at(&other), warns(message, "slm".into()));

    let ollama = answering(|path| (path == "/api/version").then_some(r#"{"version":"0.9.0"}"#));
    let message = format!(
        "Ollama is listening on `http://{ollama}`, slm's default address; stop it, or give `slm serve` another address with SLM_HOST"
    );
    assert_eq!(at(&ollama), warns(message, "ollama".into()));

    let page = answering(|_| None);
    let message = format!("the server at `http://{page}` cannot be queried: it answers with status 404");
    assert_eq!(at(&page), warns(message, "other".into()));

    // Nobody takes what comes in: the system alone has answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let message = format!("the server at `http://{address}` cannot be queried: it does not answer");
    assert_eq!(at(&address), warns(message, "other".into()));
    drop(silent);
    let message = format!(
        "SLM_HOST names `http://{address}` and no server is running there; start `slm serve`, or unset SLM_HOST"
    );
    assert_eq!(at(&address), warns(message, Value::Null));
}

#[test]
fn the_socket_of_a_killed_server_is_a_warning() {
    let home = Home::new();
    std::fs::create_dir_all(home.models()).unwrap();
    let path = home.models().join(".slm-serve.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let address = answering(|_| Some("{}"));
    let said = report(doctor(&home).env("SLM_HOST", &address), 0);
    let (status, messages) = problems(&said, "server");
    assert_eq!(status, "warning");
    assert_eq!(
        messages[0],
        format!(
            "no server is running at the store's socket `{}`, which a crashed one left; the next `slm serve` replaces it",
            path.display()
        )
    );
}

#[test]
fn a_running_server_is_found() {
    let home = Home::new();
    let server = Server::of(&home);
    let said = report(doctor(&home).env("SLM_HOST", server.address()), 0);
    let found = finding(&said, "server");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(found["found"], format!("slm {version} at http://{}, and for this store", server.address()));
    assert_eq!((&found["status"], &found["facts"]["of_this_store"]), (&"ok".into(), &true.into()));
}

#[test]
fn settings_that_nobody_can_use_are_wrong() {
    let home = Home::new();
    let call = doctor(&home).env("SLM_KEEP_ALIVE", "soon").env("SLM_KERNELS", "fast").env("OLLAMA_MAX_QUEUE", "-1");
    let said = report(call.env("SLM_KEEPALIVE", "5m").env("SLM_API_KEY", "my secret"), 1);
    let found = finding(&said, "settings");
    assert_eq!(
        found["found"],
        "OLLAMA_MAX_QUEUE, SLM_API_KEY, SLM_KEEPALIVE, SLM_KEEP_ALIVE, SLM_KERNELS, SLM_REGISTRY"
    );
    let (status, messages) = problems(&said, "settings");
    assert_eq!(status, "wrong");
    let begins = [
        "SLM_KEEP_ALIVE: ",
        "SLM_MAX_QUEUE is `-1`; give a whole number",
        "a key in SLM_API_KEY contains characters other than visible ASCII; make a new key",
        "SLM_KERNELS: ",
        "slm does not read `SLM_KEEPALIVE`; did you mean `SLM_KEEP_ALIVE`?",
    ];
    assert_eq!(messages.len(), begins.len(), "{messages:?}");
    for (message, begin) in messages.iter().zip(begins) {
        assert!(message.starts_with(begin), "{message}");
    }
    assert!(!said.to_string().contains("my secret"));
}

#[test]
fn credentials_are_named_and_never_shown() {
    let home = Home::new();
    std::fs::create_dir(home.path().join(".docker")).unwrap();
    let config = r#"{"auths": {"reg.corp:5000": {"auth": "bWU6aHVzaA=="}}, "credHelpers": {"ecr.aws": "ecr-login"}}"#;
    let path = home.file(".docker/config.json", config);
    let call = || doctor(&home).env("HF_TOKEN", "hf_hush").env("SLM_API_KEY", "hush");
    let said = report(call(), 0);
    let found = finding(&said, "credentials");
    assert_eq!(
        found["found"],
        "Docker's for ecr.aws, reg.corp:5000; Hugging Face's (HF_TOKEN); a server's (SLM_API_KEY)"
    );
    assert!(!said.to_string().contains("hush") && !said.to_string().contains("bWU6"), "{said}");
    home.file(".docker/config.json", "{");
    let said = report(call(), 1);
    let (status, messages) = problems(&said, "credentials");
    assert_eq!((status.as_str(), messages.len()), ("wrong", 1));
    let begin = format!("Docker's configuration `{}` cannot be read: ", path.display());
    assert!(messages[0].starts_with(&begin) && messages[0].ends_with("with `docker login`"), "{messages:?}");
}
