//! A crash is contained: a model's process that is killed ends its own requests, with words, and nothing else.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Server;
use super::connections::becomes;
use super::scripts::stock;
use crate::slm::Home;

/// The processes that a process has started.
fn children(of: u32) -> Vec<Pid> {
    let listed = std::process::Command::new("pgrep").args(["-P", &of.to_string()]).output().expect("pgrep runs");
    let pid = |line: &str| line.parse().ok().and_then(Pid::from_raw);
    String::from_utf8_lossy(&listed.stdout).lines().filter_map(pid).collect()
}

/// A request that writes for a while.
fn long() -> Value {
    let text = json!({"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]});
    json!({"model": "triage", "format": text, "options": {"num_predict": 700, "temperature": 1.5},
        "messages": [{"role": "user", "content": "Where is my parcel?"}]})
}

/// The answer to a request; the first may still be sent to a process that has just been killed, and then says so.
fn answered(server: &Server, body: &Value) -> Value {
    let first = server.post("/api/chat", body.clone());
    if first.status == 200 {
        return first.json();
    }
    assert!(first.text().contains("signal 9"), "{}", first.text());
    server.post("/api/chat", body.clone()).ok()
}

#[test]
fn a_killed_model_ends_its_own_requests_and_comes_back() {
    let home = Home::new();
    let server = Server::of(&home);
    let short = json!({"model": "triage", "messages": [{"role": "user", "content": "Refund"}], "stream": false});
    let before = server.post("/api/chat", short.clone()).ok()["message"]["content"].clone();
    for _ in 0..5 {
        let [child] = children(server.pid())[..] else { panic!("one model has one process") };
        let lines = std::thread::scope(|scope| {
            let streamed = scope.spawn(|| server.post("/api/chat", long()).lines());
            std::thread::sleep(Duration::from_millis(60));
            kill_process(child, Signal::KILL).unwrap();
            streamed.join().unwrap()
        });
        let last = lines.last().expect("a stream has a last line");
        // A fast machine may have been done already; then nothing was lost.
        if last["done"] != true {
            let error = last["error"].as_str().unwrap_or_else(|| panic!("{last}"));
            assert!(error.contains("signal 9"), "{error}");
        }
        assert_eq!(answered(&server, &short)["message"]["content"], before);
    }
}

/// Who reads the log learns that a stream that began well did not end well, and why.
#[test]
fn a_stream_that_fails_says_so_in_the_log_too() {
    let home = Home::new();
    stock(&home);
    let server = Server::of(&home);
    let body = json!({"model": "endless", "prompt": "x", "options": {"num_predict": 100_000}}).to_string();
    let head = "POST /api/generate HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-request-id: failing\r\n";
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    stream.read_exact(&mut [0; 500]).unwrap();
    let [child] = children(server.pid())[..] else { panic!("one model has one process") };
    kill_process(child, Signal::KILL).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let is_line = |line: &&str| line.starts_with("{\"error\":");
    let error: Value = serde_json::from_str(rest.lines().rfind(is_line).expect("a last line that says so")).unwrap();
    let logged = || {
        let log = std::fs::read_to_string(home.path().join("serve.log")).expect("a log");
        let line =
            log.lines().find(|line| line.contains("\"request_id\":\"failing\"") && line.contains("/api/generate"));
        line.map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
    };
    becomes("logged", || logged().is_some());
    let line = logged().unwrap();
    assert_eq!(json!([line["level"], line["status"], line["problem"]]), json!(["warn", 200, error["error"]]), "{line}");
}

#[test]
fn no_process_is_left_behind_by_a_server_that_is_killed() {
    let home = Home::new();
    let server = Server::of(&home);
    server.post("/api/chat", json!({"model": "triage", "messages": [{"role": "user", "content": "a"}]}));
    let [child] = children(server.pid())[..] else { panic!("one model has one process") };
    drop(server);
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::path::Path::new(&format!("/proc/{}", child.as_raw_nonzero())).exists() {
        assert!(Instant::now() < deadline, "the model's process is gone with its server");
        std::thread::sleep(Duration::from_millis(20));
    }
}
