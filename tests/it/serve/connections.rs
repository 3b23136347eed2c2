//! Many clients, slow clients and clients that leave.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Server;
use super::scripts::stock;
use crate::slm::Home;

/// Bytes of a process that are in memory.
fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// A figure without labels.
pub fn figure(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics");
    let line = text.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
    line.unwrap_or_else(|| panic!("`{name}` is not in:\n{}", text.text())).parse().expect("a number")
}

pub fn becomes(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "never {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A request for a text that has no end of itself.
fn endless(stream: &mut TcpStream, id: &str, is_streamed: bool) {
    let body = json!({
        "model": "endless", "prompt": "x", "stream": is_streamed, "options": {"num_predict": 100_000},
    });
    let body = body.to_string();
    let headers = format!("host: localhost\r\nx-request-id: {id}\r\ncontent-length: {}", body.len());
    let head = format!("POST /api/generate HTTP/1.1\r\n{headers}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).expect("the server reads");
}

#[test]
fn a_thousand_idle_connections_do_not_hurt() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < 4000) {
        slm_testing::skipped!("this process may not open 4000 files");
        return;
    }
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let server = Server::of(&Home::new());
    let asked = json!({"model": "triage", "prompt": "I was charged twice", "stream": false});
    server.post("/api/generate", asked.clone()).ok();
    let before = resident_bytes(server.pid());
    let mut idle: Vec<TcpStream> = (0..1000).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    for (n, stream) in idle.iter_mut().enumerate() {
        // Some have asked before, some are in the middle of a head.
        match n % 3 {
            0 => stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap(),
            1 => stream.write_all(b"GET /health HTTP/1.1\r\nhost: ").unwrap(),
            _ => {}
        }
    }
    becomes("all connected", || figure(&server, "slm_http_connections") >= 1000.0);
    server.post("/api/generate", asked).ok();
    let each = (resident_bytes(server.pid()).saturating_sub(before)) / 1000;
    println!("an idle connection takes {each} bytes");
    assert!(each < 64 * 1024, "an idle connection takes {each} bytes");
    drop(idle);
    becomes("all gone", || figure(&server, "slm_http_connections") < 10.0);
}

#[test]
fn a_client_that_leaves_is_computed_for_no_longer() {
    let home = Home::new();
    stock(&home);
    let server = Server::of(&home);
    for is_streamed in [true, false] {
        let mut leaves = TcpStream::connect(server.address()).unwrap();
        endless(&mut leaves, "leaves", is_streamed);
        if is_streamed {
            leaves.read_exact(&mut [0; 500]).unwrap();
        }
        becomes("at work", || figure(&server, "slm_queue_running") == 1.0);
        drop(leaves);
        becomes("at rest", || figure(&server, "slm_queue_running") == 0.0);
    }
    let log = std::fs::read_to_string(home.path().join("serve.log")).unwrap();
    assert_eq!(log.matches("\"status\":499").count(), 2, "{log}");
}

/// As the page at `/` asks for those who wait.
#[test]
fn who_waits_is_told_how_far_a_request_has_come() {
    let home = Home::new();
    stock(&home);
    let server = Server::with(&home, &[("SLM_NUM_PARALLEL", "1")]);
    let status = |id: &str| server.get(&format!("/page/status?request={id}")).ok();
    let is_at = |id: &str, stage: Value| becomes("so far", || status(id)["request"] == stage);
    let ask = |id: &str| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        endless(&mut stream, id, true);
        stream
    };
    assert_eq!(server.get("/page/status").ok()["models"], json!([]));
    let first = ask("first");
    is_at("first", json!({"stage": "answering"}));
    let second = ask("second");
    is_at("second", json!({"stage": "waiting", "before": 0}));
    let third = ask("third");
    is_at("third", json!({"stage": "waiting", "before": 1}));
    let now = status("third");
    assert_eq!(now["queue"], json!({"waiting": 2, "limit": 512, "running": 1}));
    let model = &now["models"][0];
    assert_eq!([&model["name"], &model["answering"]], [&json!("endless:latest"), &json!(1)]);
    drop(first);
    is_at("second", json!({"stage": "answering"}));
    is_at("third", json!({"stage": "waiting", "before": 0}));
    is_at("first", Value::Null);
    drop((second, third));
    becomes("at rest", || figure(&server, "slm_queue_running") + figure(&server, "slm_queue_depth") == 0.0);
    assert!(!server.get("/metrics").text().contains("/page/"));
    assert!(!std::fs::read_to_string(home.path().join("serve.log")).unwrap().contains("/page/"));
}

/// Schemas that take seconds to understand, more of them at once than the server has threads.
#[test]
fn what_takes_long_to_understand_keeps_nobody_else_waiting() {
    let server = Server::of(&Home::new());
    let properties = (0..2500).map(|n| (format!("k{n}"), json!({"type": "string"})));
    let properties: serde_json::Map<String, serde_json::Value> = properties.collect();
    let asked = json!({"model": "triage", "prompt": "x", "stream": false, "format": {"type": "object", "properties": properties}});
    let n_threads = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    std::thread::scope(|scope| {
        let began = Instant::now();
        let asking = (0..=n_threads).map(|_| scope.spawn(|| server.post("/api/generate", asked.clone())));
        let asking: Vec<_> = asking.collect();
        let mut longest = Duration::ZERO;
        while !asking.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let began = Instant::now();
            server.get("/health").ok();
            longest = longest.max(began.elapsed());
        }
        let all = began.elapsed();
        assert!(longest < all / 4, "one waited {longest:?} of the {all:?} that all took");
    });
}

/// The answer of one that does not read waits in its socket, and others are answered meanwhile.
#[test]
fn a_reader_that_stops_does_no_harm_to_others() {
    let home = Home::new();
    stock(&home);
    let server = Server::of(&home);
    let mut stuck = TcpStream::connect(server.address()).unwrap();
    endless(&mut stuck, "stuck", true);
    becomes("at work", || figure(&server, "slm_queue_running") == 1.0);
    let asked = json!({"model": "fox", "prompt": "x", "stream": false});
    for _ in 0..5 {
        assert_eq!(server.post("/api/generate", asked.clone()).ok()["done"], true);
    }
    assert_eq!(figure(&server, "slm_queue_running"), 1.0);
    drop(stuck);
    becomes("at rest", || figure(&server, "slm_queue_running") == 0.0);
}
