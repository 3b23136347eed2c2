//! `slm serve` as programs use it: the real binary on a port of its own, spoken to over HTTP.

mod anthropic;
mod attacks;
mod browser;
mod canonical;
mod clients;
mod connections;
mod crash;
mod described;
pub mod environments;
mod fits;
mod forms;
mod habits;
mod labels;
mod lm_eval;
mod load;
mod ollama;
mod operations;
mod promises;
mod prompts;
pub mod scripts;

use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::registry::servers::{http, on_runtime};
use crate::slm::{Home, end_within};

/// A server over a home's store, ended when dropped.
pub struct Server {
    child: Option<Child>,
    address: String,
}

/// What a server answered.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8 from the server")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The lines of a stream.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.text().lines().map(line).collect()
    }

    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }
}

/// The lines of a file, once it has so many: no answer waits for its line.
pub fn written(path: &Path, n: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = std::fs::read_to_string(path).unwrap();
        if text.lines().count() == n && text.ends_with('\n') {
            return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        assert!(Instant::now() < deadline, "{n} lines are awaited in {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Server {
    pub fn of(home: &Home) -> Server {
        Server::with(home, &[])
    }

    /// With variables of the environment.
    pub fn with(home: &Home, variables: &[(&str, &str)]) -> Server {
        Server::start(home, &[], variables)
    }

    /// With arguments of its own.
    pub fn with_args(home: &Home, args: &[&str]) -> Server {
        Server::start(home, args, &[])
    }

    /// With both.
    pub fn start(home: &Home, args: &[&str], variables: &[(&str, &str)]) -> Server {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port").to_string();
        let mut call = home.slm(["serve", "--host", &address].iter().chain(args));
        for (name, value) in variables {
            call = call.env(name, value);
        }
        let mut command = call.command();
        let log = std::fs::File::create(home.path().join("serve.log")).expect("a writable home");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let server = Server { child: Some(command.spawn().expect("the binary starts")), address };
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(&server.address).is_err() {
            assert!(Instant::now() < deadline, "the server listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it is taken at its end only").id()
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// How it ended by itself; `None` where it did not in this time.
    pub fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.child.take().and_then(|child| end_within(child, patience))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None)
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body.to_string().into_bytes()))
    }

    /// With a header of its own.
    pub fn post_with(&self, header: (&str, &str), path: &str, body: Value) -> Answer {
        let request = http().post(self.url(path)).header(header.0, header.1);
        answer(request.header("content-type", "application/json").body(body.to_string()))
    }

    /// With a header of its own, and any method.
    pub fn send_with(&self, header: (&str, &str), method: Method, path: &str, body: Option<Vec<u8>>) -> Answer {
        let request = http().request(method, self.url(path)).header(header.0, header.1);
        answer(request.body(body.unwrap_or_default()))
    }

    pub fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Answer {
        let mut request = http().request(method, self.url(path));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        answer(request)
    }
}

pub fn answer(request: reqwest::RequestBuilder) -> Answer {
    on_runtime(async {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.bytes().await.expect("a whole answer").to_vec() }
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            end_within(child, Duration::from_secs(10));
        }
    }
}
