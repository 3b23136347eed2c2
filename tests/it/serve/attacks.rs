//! What hostile and broken clients send, on raw sockets against the real server, and what they get. The table is printed; after all
//! of it the server answers as before.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::Server;
use crate::slm::Home;

/// Which of the endpoints is asked, where an attack is not about one.
const CHAT: &str = "POST /api/chat HTTP/1.1\r\nhost: localhost\r\n";
const DECISIONS: &str = "POST /v1/decisions HTTP/1.1\r\nhost: localhost\r\n";

/// All that is answered until the server closes the connection; a reset in its place is a fault.
pub fn said(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket of ours");
    stream.write_all(bytes).expect("the server reads");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("an answer and an end");
    String::from_utf8(said).expect("UTF-8 from the server")
}

/// The statuses in what was answered, and the last body.
fn answers(said: &str) -> (Vec<u16>, String) {
    let statuses = said.split("HTTP/1.").skip(1).filter_map(|part| part.split(' ').nth(1)?.parse().ok());
    let body = said.rsplit_once("\r\n\r\n").map_or("", |(_, body)| body);
    (statuses.collect(), body.to_owned())
}

fn post(first: &str, body: &str) -> Vec<u8> {
    format!("{first}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An attack by its name, its bytes, the statuses that it must get and words that the last answer must hold.
type Attack = (&'static str, Vec<u8>, &'static [u16], &'static str);

/// A second request after one.
const HIDDEN: &str = "GET /api/tags HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn with_hidden(fields: &str) -> Vec<u8> {
    format!("{CHAT}{fields}{HIDDEN}").into_bytes()
}

/// Heads and bodies that two programs could read in two ways, each with a second request hidden after it, which must not be
/// answered.
fn smuggled() -> Vec<Attack> {
    let with = with_hidden;
    vec![
        (
            "Content-Length and chunked",
            with("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            &[400],
            "no body",
        ),
        (
            "chunked and Content-Length",
            with("transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
            &[400],
            "no body",
        ),
        ("two lengths", with("content-length: 0\r\ncontent-length: 46\r\n\r\n"), &[400], ""),
        ("a list of lengths", with("content-length: 0, 46\r\n\r\n"), &[400], ""),
        ("a signed length", with("content-length: +0\r\n\r\n"), &[400], ""),
        ("a space before the colon", with("content-length : 0\r\n\r\n"), &[400], ""),
        ("a folded field", with("x: a\r\n content-length: 0\r\n\r\n"), &[400], ""),
        ("a bare carriage return", with("x: a\rcontent-length: 0\r\n\r\n"), &[400], ""),
        ("a zero byte in a field", with("x: a\0b\r\n\r\n"), &[400], ""),
        ("chunked, then identity", with("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"), &[400], ""),
        ("a coding nobody knows", with("transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"), &[400], ""),
        (
            "another coding before chunked",
            with("transfer-encoding: x, chunked\r\n\r\n0\r\n\r\n"),
            &[501],
            "coding is `chunked`",
        ),
        (
            "a coding in each of two fields",
            with("transfer-encoding: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            &[501],
            "coding is `chunked`",
        ),
        (
            "a chunk of bad size",
            with("transfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
            &[400],
            "ended early",
        ),
        (
            "a chunk longer than it says",
            with("transfer-encoding: chunked\r\n\r\n1\r\nhello\r\n0\r\n\r\n"),
            &[400],
            "ended early",
        ),
        ("a chunk's line feed alone", with("transfer-encoding: chunked\r\n\r\n2\n{}\n0\n\n"), &[400], "ended early"),
    ]
}

/// What RFC 9112 lets a server read, in one way: what comes after is a request of its own for a proxy too.
fn read_in_one_way() -> Vec<Attack> {
    let with = with_hidden;
    vec![
        ("two equal lengths", with("content-length: 0\r\ncontent-length: 0\r\n\r\n"), &[400, 200], "\"models\""),
        ("a bare line feed", with("x: a\ncontent-length: 0\r\n\r\n"), &[400, 200], "\"models\""),
        ("a trailer", with("transfer-encoding: chunked\r\n\r\n0\r\nhost: evil\r\n\r\n"), &[400, 200], "\"models\""),
    ]
}

/// Heads that are no HTTP, or ask for what is not ours.
fn strange() -> Vec<Attack> {
    let get = |first: &str| format!("{first}\r\nhost: localhost\r\nconnection: close\r\n\r\n").into_bytes();
    let closed = |head: &str| format!("{head}connection: close\r\n\r\n").into_bytes();
    let long_line = format!("GET /{} HTTP/1.1", "a".repeat(10_000));
    let large_head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(100_000)).into_bytes();
    let many_fields = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(500)).into_bytes();
    vec![
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400], ""),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[], ""),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec(), &[400], ""),
        ("CONNECT", get("CONNECT evil.example:443 HTTP/1.1"), &[405], "not a proxy"),
        ("another server's address", get("GET http://evil.example/ HTTP/1.1"), &[400], "differ"),
        ("a path out of the root", get("GET /../../etc/passwd HTTP/1.1"), &[404], "nothing at"),
        ("a long line", get(&long_line), &[404], "nothing at"),
        ("a large head", large_head, &[431], ""),
        ("many fields", many_fields, &[431], ""),
        ("no Host", closed("GET /api/tags HTTP/1.1\r\n"), &[400], "no Host"),
        (
            "two Hosts",
            closed("GET /api/tags HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n"),
            &[400],
            "more than one `host`",
        ),
        ("a rebound Host", closed("GET /api/tags HTTP/1.1\r\nhost: evil.example\r\n"), &[403], "SLM_ALLOWED_HOSTS"),
        (
            "a Host with a user",
            closed("GET /api/tags HTTP/1.1\r\nhost: localhost@evil.example\r\n"),
            &[400],
            "not a valid Host header",
        ),
        ("a page of another origin", closed(&format!("{CHAT}origin: https://evil.example\r\n")), &[403], "SLM_ORIGINS"),
        ("a page without an origin", closed(&format!("{CHAT}origin: null\r\n")), &[403], "SLM_ORIGINS"),
        (
            "another origin's form",
            closed("POST /api/pull HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n"),
            &[403],
            "SLM_ORIGINS",
        ),
    ]
}

/// Bodies that are no request.
fn bodies() -> Vec<Attack> {
    let nested = |open: &str| post(DECISIONS, &open.repeat(60_000));
    let claimed = format!("{CHAT}connection: close\r\ncontent-length: 99999999999\r\n\r\n").into_bytes();
    let mut not_text = post(CHAT, "{\"model\": \"??\"}");
    let end = not_text.len();
    not_text[end - 4..end - 2].copy_from_slice(b"\xc3\x28");
    let gzip = format!("{CHAT}content-encoding: gzip\r\n");
    let model = "{\"model\": \"triage\", ";
    vec![
        ("a body larger than is taken", claimed, &[413], "16777216"),
        ("lists in lists", nested("["), &[400], "128 deep"),
        ("objects in objects", nested("{\"a\":"), &[400], "128 deep"),
        ("no body", post(CHAT, ""), &[400], "no body"),
        ("no JSON", post(CHAT, "model=triage"), &[400], "not JSON"),
        ("half a body", post(CHAT, "{\"model\": \"triage\""), &[400], "not JSON"),
        ("a list", post(CHAT, "[]"), &[400], "not a JSON object"),
        ("no UTF-8", not_text, &[400], "byte 11 (0xc3)"),
        ("half a character", post(CHAT, "{\"model\": \"\\ud800\"}"), &[400], "not JSON"),
        (
            "a number beyond numbers",
            post(CHAT, &format!("{model}\"options\": {{\"temperature\": 1e999}}}}")),
            &[400],
            "out of range",
        ),
        ("a key twice", post(CHAT, &format!("{model}\"model\": \"other\"}}")), &[400], "`model` is given twice"),
        ("compressed", post(&gzip, "{}"), &[415], "`gzip`"),
        (
            "a model's name with a path",
            post(CHAT, "{\"model\": \"../../etc/passwd\", \"messages\": []}"),
            &[404],
            "is not a model name",
        ),
        ("a field nobody knows", post(CHAT, &format!("{model}\"bogus\": 1}}")), &[400], "`bogus`"),
        ("a wrong type", post(DECISIONS, "{\"model\": 5}"), &[400], "\"param\":\"model\""),
    ]
}

#[test]
fn attacks_get_their_status_and_change_nothing() {
    let home = Home::new();
    let server = Server::of(&home);
    let before = server.get("/api/tags").ok();
    let mut wrong = Vec::new();
    let all = [smuggled(), read_in_one_way(), strange(), bodies()];
    for (name, bytes, expected, words) in all.into_iter().flatten() {
        let said = said(server.address(), &bytes);
        let (statuses, body) = answers(&said);
        println!("{name:<34} {statuses:?}");
        if statuses != expected || !body.contains(words) {
            wrong.push(format!("{name}: {expected:?} with `{words}` expected, and this came:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(server.get("/api/tags").ok(), before);
    let asked =
        json!({"model": "triage", "messages": [{"role": "user", "content": "I was charged twice"}], "stream": false});
    assert_eq!(server.post("/api/chat", asked).ok()["done"], true);
}
