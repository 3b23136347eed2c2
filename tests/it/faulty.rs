//! A remote of the tests' own, on a port: it answers chat completions as it is told to, and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// How a request is answered.
#[derive(Debug, Clone)]
pub enum Manner {
    /// With this text of the model's.
    Says(String),
    /// With this whole body and status.
    Body(u16, String),
    /// Half of an answer, then the connection ends.
    Cut,
    /// The connection ends before anything comes.
    Closed,
    /// Nothing comes.
    Silent,
}

/// A remote that answers every request in one manner, which can change.
pub struct Remote {
    pub address: String,
    manner: Arc<Mutex<Manner>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Remote {
    pub fn new(manner: Manner) -> Remote {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (manner, asked) = (Arc::new(Mutex::new(manner)), Arc::new(Mutex::new(Vec::new())));
        let (shared, seen) = (Arc::clone(&manner), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (manner, seen) = (Arc::clone(&shared), Arc::clone(&seen));
                // A client that goes away is no matter here.
                std::thread::spawn(move || drop(answer(stream, &manner, &seen)));
            }
        });
        Remote { address, manner, asked }
    }

    pub fn is_to(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// The head and the body of every request so far.
    pub fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }

    /// The last message of the last request.
    #[track_caller]
    pub fn last_text(&self) -> String {
        let asked = self.asked();
        let (_, body) = asked.last().expect("it was asked");
        body["messages"].as_array().and_then(|all| all.last()).expect("a message")["content"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

fn answer(mut stream: TcpStream, manner: &Mutex<Manner>, asked: &Mutex<Vec<(String, Value)>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut n_bytes) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            n_bytes = length.trim().parse().expect("a number");
        }
        head += &line;
    }
    let mut body = vec![0; n_bytes];
    reader.read_exact(&mut body)?;
    asked.lock().unwrap().push((head, serde_json::from_slice(&body).unwrap_or_default()));
    let manner = manner.lock().unwrap().clone();
    let (status, body) = match manner {
        Manner::Says(text) => (200, completion(json!({ "content": text }), "stop")),
        Manner::Body(status, body) => (status, body),
        Manner::Cut => {
            let body = completion(json!({ "content": "x" }), "stop");
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
                body.len(),
                &body[..body.len() / 2]
            );
        }
        Manner::Closed => return Ok(()),
        Manner::Silent => {
            std::thread::sleep(Duration::from_secs(30));
            return Ok(());
        }
    };
    let more = if status == 307 { "location: https://elsewhere.example/v1\r\n" } else { "" };
    write!(stream, "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n{body}", body.len())
}

/// The body of a chat completion.
pub fn completion(message: Value, finish_reason: &str) -> String {
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 10});
    json!({"choices": [{"message": message, "finish_reason": finish_reason}], "usage": usage}).to_string()
}

/// The regular files below a folder that have this text in them.
pub fn holders(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => {
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                        found.push(path);
                    }
                }
                _ => {}
            }
        }
    }
    found
}
