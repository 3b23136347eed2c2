//! What those see who run the server: its doors, its probes, its log, and how it ends.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::Server;
use super::attacks::said;
use super::connections::{becomes, figure};
use super::scripts::stock;
use crate::slm::{Home, end_within};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "my neighbour's invoice is wrong";

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().expect("a command");
    assert!(status.success());
}

/// The lines of a home's log.
fn log(home: &Home) -> Vec<Value> {
    let text = std::fs::read_to_string(home.path().join("serve.log")).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn probes_and_figures_answer() {
    let server = Server::of(&Home::new());
    assert_eq!(server.get("/health").ok(), json!({"status": "ok"}));
    assert_eq!(server.get("/ready").ok(), json!({"status": "ok"}));
    server.post("/api/generate", json!({"model": "triage", "prompt": "x", "stream": false})).ok();
    let figures = server.get("/metrics");
    assert_eq!(figures.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    for name in ["slm_models_loaded", "slm_model_loads_total", "slm_queue_admitted_total"] {
        assert_eq!(figure(&server, name), 1.0, "{name}");
    }
    let build = format!("slm_build_info{{version=\"{}\",backend=\"", env!("CARGO_PKG_VERSION"));
    for line in [
        "slm_questions_scored_total{model=\"triage:latest\"} 1",
        "slm_http_requests_total{method=\"POST\",route=\"/api/generate\",status=\"200\"} 1",
        "slm_time_to_first_token_seconds_count{model=\"triage:latest\"} 1",
        "slm_model_memory_bytes{model=\"triage:latest\"} ",
        &build,
    ] {
        assert!(figures.text().lines().any(|own| own.starts_with(line)), "{line} is not in:\n{}", figures.text());
    }
}

#[test]
fn a_request_is_one_line_of_the_log_and_holds_no_text() {
    for (variables, is_logged) in [(&[][..], false), (&[("SLM_LOG_PROMPTS", "1")][..], true)] {
        let home = Home::new();
        let server = Server::with(&home, variables);
        let body = json!({"model": "triage", "prompt": SECRET, "stream": false}).to_string();
        let head = "POST /api/generate HTTP/1.1\r\nhost: localhost\r\nx-request-id: mine-1\r\nconnection: close\r\n";
        let said = said(server.address(), format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        assert!(said.contains("\r\nx-request-id: mine-1\r\n"), "{said}");
        becomes("logged", || log(&home).iter().any(|line| line["message"] == "request"));
        let lines = log(&home);
        let line = lines.iter().find(|line| line["message"] == "request").unwrap();
        for (name, value) in [
            ("request_id", json!("mine-1")),
            ("method", json!("POST")),
            ("path", json!("/api/generate")),
            ("status", json!(200)),
            ("model", json!("triage:latest")),
        ] {
            assert_eq!(line[name], value, "{line}");
        }
        assert!(line["prompt_tokens"].as_u64().unwrap() > 5 && line["duration_ms"].is_u64(), "{line}");
        assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        let text = std::fs::read_to_string(home.path().join("serve.log")).unwrap();
        assert_eq!(text.contains(SECRET), is_logged, "{text}");
    }
}

#[test]
fn a_key_is_asked_for_where_one_is_set() {
    let server = Server::with(&Home::new(), &[("SLM_API_KEY", "secret-key")]);
    for path in ["/", "/health", "/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in ["/api/tags", "/metrics", "/v1/models", "/openapi.json"] {
        let refused = server.get(path);
        assert_eq!(refused.status, 401, "{path}");
        assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"slm\"");
    }
    for header in ["authorization: Bearer secret-key", "x-api-key: secret-key"] {
        let request = format!("GET /v1/models HTTP/1.1\r\nhost: localhost\r\n{header}\r\nconnection: close\r\n\r\n");
        assert!(said(server.address(), request.as_bytes()).starts_with("HTTP/1.1 200 "), "{header}");
    }
}

#[test]
fn a_server_for_other_machines_does_not_start_without_a_key() {
    let home = Home::new();
    let refused = home.slm(["serve", "--host", "0.0.0.0:0"]).ends(2);
    assert!(
        refused.stderr.contains("set SLM_API_KEY") && refused.stderr.contains("--insecure-bind"),
        "{}",
        refused.stderr
    );
    let refused = home.slm(["serve", "--host", "localhost:http"]).ends(2);
    assert!(refused.stderr.starts_with("slm: --host: `localhost:http` is not an address"), "{}", refused.stderr);
}

/// What is being written is written to its end, nothing new begins, and the server leaves with 0; a second signal cuts it short,
/// and so does the end of the time for it: then the last line says so.
#[test]
fn a_drain_lets_streams_end_and_a_second_signal_does_not() {
    let home = Home::new();
    stock(&home);
    for (signals, seconds, code, is_whole) in
        [(&["TERM"][..], "30", 0, true), (&["INT", "INT"][..], "30", 130, false), (&["TERM"][..], "1", 1, false)]
    {
        let mut server = Server::with(&home, &[("SLM_DRAIN_SECONDS", seconds)]);
        let n_predict = if is_whole { 200 } else { 100_000 };
        let body = json!({"model": "endless", "prompt": "x", "options": {"num_predict": n_predict}}).to_string();
        let head = "POST /api/generate HTTP/1.1\r\nhost: localhost\r\n";
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        stream.read_exact(&mut [0; 200]).unwrap();
        for name in signals {
            signal(server.pid(), name);
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut rest = String::new();
        let read = stream.read_to_string(&mut rest);
        let end = &rest[rest.len().saturating_sub(300)..];
        assert_eq!(rest.contains("\"done\":true"), is_whole, "{read:?} {end}");
        let cut = "{\"error\":\"the server was stopped before the answer was complete; try again later\"}\n";
        assert!(read.is_ok() && rest.contains(cut) != is_whole && rest.ends_with("\r\n0\r\n\r\n"), "{read:?} {end}");
        let status = server.ended(PATIENCE).expect("it ends");
        assert_eq!(status.code(), Some(code));
        assert!(TcpStream::connect(server.address()).is_err());
    }
}

#[test]
fn a_unix_socket_is_for_its_owner() {
    let home = Home::new();
    let path = home.path().join("slm.sock");
    let place = format!("unix:{}", path.display());
    let mut command = home.slm(["serve", "--host", &place]).command();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    becomes("there", || path.exists());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /api/version HTTP/1.1\r\nhost: whatever.example\r\nconnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    let second = home.slm(["serve", "--host", &place]).ends(1);
    let expected = format!(
        "slm: a server is already listening on the socket `{}`: stop it, or give another path\n",
        path.display()
    );
    assert_eq!(second.stderr, expected);
    signal(child.id(), "TERM");
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(0));
    assert!(!path.exists());
}

/// A service of type `notify` is told of when it answers and when it no longer does.
#[test]
fn systemd_is_told_when_the_server_is_ready_and_when_it_stops() {
    let home = Home::new();
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut message = [0; 100];
        let n_bytes = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..n_bytes].to_vec()).unwrap()
    };
    let mut server = Server::with(&home, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(told().trim(), "READY=1");
    signal(server.pid(), "TERM");
    assert_eq!(told().trim(), "STOPPING=1");
    assert_eq!(server.ended(PATIENCE).and_then(|status| status.code()), Some(0));
}

/// A socket that is open already is taken over, as systemd hands it, and the address that is said is not listened at.
#[test]
fn a_socket_of_systemd_is_taken_over() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let slm = env!("CARGO_BIN_EXE_slm");
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --host 127.0.0.1:1";
    let mut command = Command::new("sh");
    command.args(["-c", script, slm]).env_clear().env("HOME", home.path()).env("PATH", "/usr/bin:/bin");
    let child = command.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let said = said(&address, b"GET /api/version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    signal(child.id(), "TERM");
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(0));
}
