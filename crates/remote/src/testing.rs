//! A remote that fails as it is told to: raw bytes for each request, in order, and what was asked of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What one request is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status {
        status: u16,
        headers: &'static str,
        body: String,
    },
    /// The length of the body is promised, and half of it comes.
    Cut(String),
    /// The connection ends before anything comes.
    Closed,
    /// Nothing comes, and the connection stays.
    Silence,
    /// The whole answer, late.
    Late(Duration, String),
}

pub(crate) fn ok(body: impl ToString) -> Reply {
    Reply::Status { status: 200, headers: "", body: body.to_string() }
}

pub(crate) fn status(status: u16, headers: &'static str, body: &str) -> Reply {
    Reply::Status { status, headers, body: body.to_owned() }
}

/// A server on a port of its own; it ends with its runtime.
#[derive(Debug)]
pub(crate) struct FaultyRemote {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl FaultyRemote {
    /// Answers requests with these in order; when they are used up, with the last one again.
    pub(crate) async fn start(replies: Vec<Reply>) -> FaultyRemote {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, replies.clone(), Arc::clone(&requests)));
            }
        });
        FaultyRemote { address, seen }
    }

    /// The requests so far, as they came.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers one request, and ends the connection.
async fn answer(mut stream: TcpStream, replies: Vec<Reply>, seen: Arc<Mutex<Vec<String>>>) {
    let Some(request) = request(&mut stream).await else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request);
        seen.len() - 1
    };
    let head = |status: u16, headers: &str, n_bytes: usize| {
        format!("HTTP/1.1 {status} Said\r\ncontent-length: {n_bytes}\r\nconnection: close\r\n{headers}\r\n")
    };
    let written = match replies[number.min(replies.len() - 1)].clone() {
        Reply::Status { status, headers, body } => head(status, headers, body.len()) + &body,
        Reply::Cut(body) => head(200, "", body.len()) + &body[..body.len() / 2],
        Reply::Closed => return,
        Reply::Silence => {
            std::future::pending::<()>().await;
            return;
        }
        Reply::Late(wait, body) => {
            tokio::time::sleep(wait).await;
            head(200, "", body.len()) + &body
        }
    };
    let _ = stream.write_all(written.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A whole request, head and body; nothing where the client leaves before its end.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
