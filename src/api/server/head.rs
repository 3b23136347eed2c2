//! The head of a request, judged before it is parsed: one reading only, or none. What two programs could read in two ways
//! (lengths said twice, folded lines, bare line feeds) is how requests are smuggled past one of them.

use axum::http::{StatusCode, Uri};

pub(super) const MAX_BYTES: usize = 32 * 1024;
const MAX_LINE_BYTES: usize = 8 * 1024;
/// As many as hyper takes without another allocation.
const MAX_FIELDS: usize = 100;

/// Why a request is not read further, and what its client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub message: String,
    /// The path, as far as it is known: it chooses the shape of the error.
    pub path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// What follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Nothing,
    Length(u64),
    Chunked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub version: Version,
    pub framing: Framing,
}

/// How much of a head there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Partial,
    /// The blank line included.
    Whole(usize),
}

/// Looks for the blank line that ends a head, from `scanned` on, which are bytes that it has seen before.
pub(super) fn extent(bytes: &[u8], scanned: usize) -> Result<Extent, Refusal> {
    // A TLS handshake would otherwise wait for a line's end until the time is up.
    if bytes.first() == Some(&0x16) {
        return Err(bad("this port speaks plain HTTP, not TLS: use http:// in the address"));
    }
    for (at, &byte) in bytes.iter().enumerate().skip(scanned) {
        if byte == b'\n' {
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(refuse(bytes, "a line of the head ends in a bare line feed"));
            }
            if at >= 3 && &bytes[at - 3..=at] == b"\r\n\r\n" {
                return if at < MAX_BYTES { Ok(Extent::Whole(at + 1)) } else { Err(too_large(bytes)) };
            }
        }
    }
    if bytes.len() >= MAX_BYTES { Err(too_large(bytes)) } else { Ok(Extent::Partial) }
}

/// Judges a whole head, its blank line included.
pub(super) fn judge(head: &[u8]) -> Result<Head, Refusal> {
    let refuse = |message: &str| refuse(head, message);
    let text = head.strip_suffix(b"\r\n\r\n").ok_or_else(|| refuse("the head has no end"))?;
    let mut lines = Lines(Some(text));
    let line = lines.next().unwrap_or_default();
    let version = request_line(line).map_err(|(status, message)| Refusal { status, ..refuse(&message) })?;
    let mut fields = Fields::default();
    for (n_fields, line) in lines.enumerate() {
        if n_fields == MAX_FIELDS {
            return Err(Refusal {
                status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                ..refuse(&format!("the request has more than {MAX_FIELDS} header fields"))
            });
        }
        fields.read(line).map_err(|message| refuse(&message))?;
    }
    fields.judge(version).map_err(|(status, message)| Refusal { status, ..refuse(&message) })
}

/// The lines of a head, by CRLF: other ends of lines stay in them, and are found there.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let (line, rest) = match end {
            Some(at) => (&rest[..at], Some(&rest[at + 2..])),
            None => (rest, None),
        };
        self.0 = rest;
        Some(line)
    }
}

type Judged<T> = Result<T, (StatusCode, String)>;

fn bad_request(message: impl Into<String>) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message.into())
}

fn request_line(line: &[u8]) -> Judged<Version> {
    if line.len() > MAX_LINE_BYTES {
        return Err((StatusCode::URI_TOO_LONG, format!("the request line has more than {MAX_LINE_BYTES} bytes")));
    }
    let mut words = line.split(|&byte| byte == b' ');
    let words = (words.next(), words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = words else {
        return Err(bad_request(
            "the request line is not a method, a target and a version with one space between them",
        ));
    };
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err(bad_request("the request's method is not a token"));
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        other if other.starts_with(b"HTTP/") => {
            let message = "this server speaks HTTP/1.1 (and 1.0)".to_owned();
            return Err((StatusCode::HTTP_VERSION_NOT_SUPPORTED, message));
        }
        _ => return Err(bad_request("the request line does not end in a version of HTTP")),
    };
    if method == b"CONNECT" {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "this server is no proxy: CONNECT is not answered".to_owned()));
    }
    if target.contains(&b'#') || Uri::try_from(target).is_err() {
        return Err(bad_request("the request's target holds what must be percent-encoded"));
    }
    if !(target.starts_with(b"/") || target.starts_with(b"http://") || (method == b"OPTIONS" && target == b"*")) {
        return Err(bad_request("the request's target is no path"));
    }
    Ok(version)
}

/// The fields that say where the request ends and whom it is for.
#[derive(Debug, Default)]
struct Fields {
    n_hosts: usize,
    lengths: Vec<Vec<u8>>,
    codings: Vec<Vec<u8>>,
}

impl Fields {
    fn read(&mut self, line: &[u8]) -> Result<(), String> {
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            return Err("a header field is folded over several lines".to_owned());
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return Err("a line of the head is no header field: it has no colon".to_owned());
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            let shown = shown(name);
            return Err(format!("`{shown}` is no name of a header field"));
        }
        if let Some(byte) = value.iter().find(|&&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            let name = shown(name);
            return Err(format!("the header field `{name}` holds the control character 0x{byte:02x}"));
        }
        let value = value.trim_ascii().to_ascii_lowercase();
        match &*name.to_ascii_lowercase() {
            b"host" => self.n_hosts += 1,
            b"content-length" => self.lengths.push(value),
            b"transfer-encoding" => self.codings.push(value),
            _ => {}
        }
        Ok(())
    }

    fn judge(self, version: Version) -> Judged<Head> {
        if self.n_hosts > 1 {
            return Err(bad_request("the request has more than one Host"));
        }
        if self.n_hosts == 0 && version == Version::Http11 {
            return Err(bad_request("the request has no Host"));
        }
        let framing = match (&*self.lengths, &*self.codings) {
            ([], []) => Framing::Nothing,
            ([length], []) => Framing::Length(content_length(length)?),
            ([], [coding]) => chunked(coding, version)?,
            ([_, _, ..], []) => return Err(bad_request("the request has more than one Content-Length")),
            ([], _) => return Err(bad_request("the request has more than one Transfer-Encoding")),
            _ => return Err(bad_request("the request has both Content-Length and Transfer-Encoding")),
        };
        Ok(Head { version, framing })
    }
}

fn content_length(value: &[u8]) -> Judged<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    // hyper keeps the highest numbers for itself.
    number.filter(|&number| number < u64::MAX - 2).ok_or_else(|| {
        let shown = shown(value);
        bad_request(format!("`{shown}` is no Content-Length"))
    })
}

fn chunked(coding: &[u8], version: Version) -> Judged<Framing> {
    match (coding, version) {
        (b"chunked", Version::Http11) => Ok(Framing::Chunked),
        (_, Version::Http10) => Err(bad_request("HTTP/1.0 has no Transfer-Encoding")),
        (coding, _) if coding.ends_with(b"chunked") => {
            let message = "of transfer codings this server knows `chunked` alone".to_owned();
            Err((StatusCode::NOT_IMPLEMENTED, message))
        }
        _ => {
            Err(bad_request("the request's Transfer-Encoding does not end in `chunked`, so nobody knows where it ends"))
        }
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Bytes of others in a message: short, and printable.
fn shown(bytes: &[u8]) -> String {
    let end = bytes.len().min(60);
    bytes[..end].escape_ascii().to_string()
}

fn bad(message: &str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, message: message.to_owned(), path: String::new() }
}

pub(super) fn refuse(head: &[u8], message: &str) -> Refusal {
    Refusal { path: path(head), ..bad(message) }
}

fn too_large(head: &[u8]) -> Refusal {
    let message = format!("the head of the request has more than {MAX_BYTES} bytes");
    Refusal { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, ..refuse(head, &message) }
}

/// The path in what may be a request line.
fn path(head: &[u8]) -> String {
    let target = head.split(|&byte| matches!(byte, b' ' | b'\r' | b'\n')).nth(1).unwrap_or_default();
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Extent, Framing, Head, MAX_BYTES, Version, extent, judge};

    fn said(head: &str) -> String {
        match judge(head.as_bytes()) {
            Ok(head) => format!("{:?} {:?}", head.version, head.framing),
            Err(refusal) => format!("{} {}", refusal.status.as_u16(), refusal.message),
        }
    }

    #[test]
    fn ordinary_heads_are_read() {
        let post = |fields: &str| said(&format!("POST /api/chat HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n"));
        assert_eq!(post(""), "Http11 Nothing");
        assert_eq!(post("Content-Length: 12\r\n"), "Http11 Length(12)");
        assert_eq!(post("content-length:\t12 \r\n"), "Http11 Length(12)");
        assert_eq!(post("Transfer-Encoding: Chunked\r\n"), "Http11 Chunked");
        assert_eq!(post("x-name: caf\u{e9}\r\nx-empty:\r\n"), "Http11 Nothing");
        assert_eq!(said("GET / HTTP/1.0\r\n\r\n"), "Http10 Nothing");
        assert_eq!(said("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), "Http11 Nothing");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let post = |fields: &str| said(&format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        let both = "400 the request has both Content-Length and Transfer-Encoding";
        for (fields, expected) in [
            ("content-length: 3\r\ntransfer-encoding: chunked\r\n", both),
            ("transfer-encoding: chunked\r\ncontent-length: 3\r\n", both),
            ("content-length: 3\r\ncontent-length: 3\r\n", "400 the request has more than one Content-Length"),
            ("content-length: 3\r\ncontent-length: 4\r\n", "400 the request has more than one Content-Length"),
            ("content-length: 3, 3\r\n", "400 `3, 3` is no Content-Length"),
            ("content-length: +3\r\n", "400 `+3` is no Content-Length"),
            ("content-length: -1\r\n", "400 `-1` is no Content-Length"),
            ("content-length: 0x10\r\n", "400 `0x10` is no Content-Length"),
            ("content-length:\r\n", "400 `` is no Content-Length"),
            ("content-length: 18446744073709551615\r\n", "400 `18446744073709551615` is no Content-Length"),
            ("content-length: 99999999999999999999\r\n", "400 `99999999999999999999` is no Content-Length"),
            ("content-length : 3\r\n", "400 `content-length ` is no name of a header field"),
            ("transfer-encoding: gzip, chunked\r\n", "501 of transfer codings this server knows `chunked` alone"),
            ("transfer-encoding: xchunked\r\n", "501 of transfer codings this server knows `chunked` alone"),
            (
                "transfer-encoding: chunked, identity\r\n",
                "400 the request's Transfer-Encoding does not end in `chunked`, so nobody knows where it ends",
            ),
            (
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                "400 the request has more than one Transfer-Encoding",
            ),
            ("x: a\r\n b\r\n", "400 a header field is folded over several lines"),
            ("x: a\r\n\tb\r\n", "400 a header field is folded over several lines"),
            ("no colon\r\n", "400 a line of the head is no header field: it has no colon"),
            (": empty\r\n", "400 `` is no name of a header field"),
            ("x: a\rb\r\n", "400 the header field `x` holds the control character 0x0d"),
            ("x: a\0b\r\n", "400 the header field `x` holds the control character 0x00"),
            ("host: b\r\n", "400 the request has more than one Host"),
        ] {
            assert_eq!(post(fields), expected, "{fields:?}");
        }
        assert_eq!(said("GET / HTTP/1.1\r\n\r\n"), "400 the request has no Host");
        let ten = said("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(ten, "400 HTTP/1.0 has no Transfer-Encoding");
        let line = "400 the request line is not a method, a target and a version with one space between them";
        for first in
            ["GET  / HTTP/1.1", "GET /\tHTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET /", "", "GET / a b"]
        {
            let said = said(&format!("{first}\r\nhost: a\r\n\r\n"));
            assert!(said == line || said.starts_with("400 the request"), "{first:?}: {said}");
        }
        assert_eq!(said("GET / HTTP/2.0\r\n\r\n"), "505 this server speaks HTTP/1.1 (and 1.0)");
        assert_eq!(said("PRI * HTTP/2.0\r\n\r\n"), "505 this server speaks HTTP/1.1 (and 1.0)");
        assert!(said("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n").starts_with("405 "));
        let many = "x: y\r\n".repeat(100);
        assert!(post(&many).starts_with("431 "), "{}", post(&many));
        let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(9000));
        assert!(said(&long).starts_with("414 "));
    }

    #[test]
    fn the_end_of_a_head_is_found_once_it_is_there() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nbody";
        for cut in 0..head.len() {
            let found = extent(&head[..cut], cut.saturating_sub(1)).unwrap();
            assert_eq!(found, if cut < 27 { Extent::Partial } else { Extent::Whole(27) }, "{cut}");
            if cut >= 27 {
                break;
            }
        }
        assert_eq!(judge(&head[..27]), Ok(Head { version: Version::Http11, framing: Framing::Nothing }));
        let message = |bytes: &[u8]| extent(bytes, 0).unwrap_err().message;
        assert_eq!(message(b"GET / HTTP/1.1\nhost: a\n\n"), "a line of the head ends in a bare line feed");
        assert_eq!(message(b"\n"), "a line of the head ends in a bare line feed");
        assert!(message(b"\x16\x03\x01").contains("not TLS"));
        let endless = vec![b'a'; MAX_BYTES];
        assert_eq!(extent(&endless, 0).unwrap_err().status.as_u16(), 431);
        assert_eq!(extent(&endless[1..], 0), Ok(Extent::Partial));
        assert_eq!(extent(b"POST /v1/chat HTTP/1.1\n", 0).unwrap_err().path, "/v1/chat");
    }
}
