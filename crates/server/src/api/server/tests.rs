//! Raw sockets against a real server on a port of its own.

use super::{Bind, Drain, Ended, Listeners, Local, Patience, Peer, Settings, SocketMode, Terms, serve};
use crate::api::metrics::{Build, Metrics, Now};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Extension;
use axum::routing::{get, post};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// More than sockets hold.
const LARGE_BYTES: usize = 32_000_000;

struct Running {
    address: SocketAddr,
    drain: Drain,
    metrics: Metrics,
    server: JoinHandle<Ended>,
    /// Handlers that were dropped before they had answered.
    cancelled: Arc<AtomicUsize>,
    /// Those at work.
    at_work: Arc<AtomicUsize>,
}

struct AtWork {
    cancelled: Arc<AtomicUsize>,
    at_work: Arc<AtomicUsize>,
    is_done: bool,
}

impl AtWork {
    fn done(&mut self) {
        self.is_done = true;
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.at_work.fetch_sub(1, Ordering::SeqCst);
        if !self.is_done {
            self.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn router(cancelled: &Arc<AtomicUsize>, at_work: &Arc<AtomicUsize>) -> Router {
    let (cancelled, at_work) = (Arc::clone(cancelled), Arc::clone(at_work));
    let work = move || {
        at_work.fetch_add(1, Ordering::SeqCst);
        AtWork { cancelled: Arc::clone(&cancelled), at_work: Arc::clone(&at_work), is_done: false }
    };
    let for_streams = work.clone();
    Router::new()
        .route("/", get(|| async { "here" }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/large", get(|| async { vec![b'x'; LARGE_BYTES] }))
        .route("/ignore", post(|| async { "ignored" }))
        .route(
            "/peer",
            get(|Extension(peer): Extension<Peer>, Extension(_): Extension<Local>| async move { peer.to_string() }),
        )
        .route(
            "/slow",
            post(move |_: Bytes| {
                let mut work = work();
                async move {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    work.done();
                    "at last"
                }
            }),
        )
        .route(
            "/stream",
            get(move || {
                let work = for_streams();
                async move {
                    let lines = futures_util::stream::unfold(work, |work| async move {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        Some((Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 64 * 1024])), work))
                    });
                    Body::from_stream(lines)
                }
            }),
        )
}

async fn start(settings: Settings) -> Running {
    let (cancelled, at_work) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut listeners = Listeners::default();
    listeners.add(&"127.0.0.1:0".parse().unwrap(), SocketMode::Owner).await.unwrap();
    let address = listeners.addresses()[0];
    let drain = Drain::default();
    let metrics = Metrics::new(Build::this());
    let terms = Terms { settings, drain: drain.clone(), metrics: metrics.clone() };
    let server = tokio::spawn(serve(listeners, router(&cancelled, &at_work), terms));
    Running { address, drain, metrics, server, cancelled, at_work }
}

fn short() -> Settings {
    let patience = Patience {
        head: Duration::from_millis(600),
        body: Duration::from_millis(300),
        write: Duration::from_millis(500),
    };
    Settings { max_connections: 64, patience, grace: Duration::from_secs(5) }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// All that is answered to these bytes, until the server closes the connection.
    async fn said(&self, bytes: impl Into<Vec<u8>>) -> String {
        let (mut stream, bytes) = (self.connect(), bytes.into());
        tokio::task::spawn_blocking(move || {
            stream.write_all(&bytes).unwrap();
            rest(&mut stream)
        })
        .await
        .unwrap()
    }

    async fn becomes(&self, what: &str, is_so: impl Fn(&Running) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < Duration::from_secs(10), "never {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until the metrics have this line.
    async fn metrics_say(&self, line: &str) {
        let told = |server: &Running| server.metrics.render(&Now::default(), "").1.lines().any(|own| own == line);
        self.becomes(line, told).await;
    }

    fn n_at_work(&self) -> usize {
        self.at_work.load(Ordering::SeqCst)
    }

    fn n_cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }
}

/// What is left to read; a reset instead of an end is a fault of the server.
fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    String::from_utf8(said).unwrap()
}

/// Status lines and bodies, without what differs from run to run.
fn short_of(said: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in said.split("HTTP/1.").skip(1) {
        let status = part.split_whitespace().nth(1).unwrap_or_default();
        let body = part.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        found.push(format!("{status} {body}").trim().to_owned());
    }
    found
}

const MULTI: &str = "a runtime";

fn run<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect(MULTI).block_on(test);
}

#[test]
fn requests_are_answered_in_turn_on_one_connection() {
    run(async {
        let server = start(short()).await;
        let two = "GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc\
                   POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                   2\r\nde\r\n1;x=y\r\nf\r\n0\r\n\r\n";
        assert_eq!(short_of(&server.said(two).await), ["200 here", "200 abc", "200 def"]);
        let ten = server.said("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(short_of(&ten), ["200 here"]);
        let peer = server.said("GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(short_of(&peer)[0].starts_with("200 127.0.0.1:"), "{peer}");
        let empty_line = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx\r\nGET / HTTP/1.0\r\n\r\n";
        assert_eq!(short_of(&server.said(empty_line).await), ["200 x", "200 here"]);
        let expect =
            "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx";
        assert_eq!(short_of(&server.said(expect).await), ["100", "200 x"]);
    });
}

#[test]
fn what_smuggles_is_refused_and_its_connection_closed() {
    run(async {
        let server = start(short()).await;
        let post = "POST /echo HTTP/1.1\r\nhost: a\r\n";
        let next = "GET /peer HTTP/1.1\r\nhost: a\r\n\r\n";
        for fields in [
            "content-length: 0\r\ncontent-length: 33\r\n\r\n",
            "content-length: 0, 0\r\n\r\n",
            "content-length: +0\r\n\r\n",
            "content-length: 99999999999999999999\r\n\r\n",
            "content-length : 0\r\n\r\n",
            "x: a\r\n b\r\n\r\n",
            "x: a\rcontent-length: 3\r\n\r\n",
            "x: a\0b\r\n\r\n",
            "no colon\r\n\r\n",
            "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
            "transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        ] {
            let said = server.said(format!("{post}{fields}{next}")).await;
            assert_eq!(short_of(&said), ["400"], "{fields:?}: {said}");
            assert!(said.contains("connection: close\r\n"), "{said}");
        }
        server.metrics_say("slm_http_requests_total{method=\"other\",route=\"refused\",status=\"400\"} 12").await;
        let old = "POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(short_of(&server.said(format!("{old}{next}")).await), ["400"]);
        for codings in [
            "gzip, chunked",
            "chunked, chunked",
            "chunked\r\ntransfer-encoding: chunked",
            "x\r\ntransfer-encoding: chunked",
        ] {
            let said = server.said(format!("{post}transfer-encoding: {codings}\r\n\r\n0\r\n\r\n{next}")).await;
            let statuses = short_of(&said);
            assert!(statuses.len() == 1 && statuses[0].starts_with("501 {\"error\":"), "{codings:?}: {said}");
            assert!(said.contains("connection: close\r\n"), "{said}");
        }
        for chunks in
            ["5\nhello\r\n0\r\n\r\n", "-1\r\n", "0x2\r\nab\r\n0\r\n\r\n", "2\r\nabc\r\n0\r\n\r\n", "2\r\nab0\r\n\r\n"]
        {
            let said = server.said(format!("{post}transfer-encoding: chunked\r\n\r\n{chunks}{next}")).await;
            let statuses = short_of(&said);
            assert!(statuses.len() == 1 && statuses[0].starts_with("400 "), "{chunks:?}: {said}");
        }
        // What came before is answered first, and in order.
        let said = server.said(format!("GET / HTTP/1.1\r\nhost: a\r\n\r\n{post}x : a\r\n\r\n{next}")).await;
        assert_eq!(short_of(&said), ["200 here", "400"]);
    });
}

/// What RFC 9112 gives one reading, and hyper reads so.
#[test]
fn what_has_one_reading_is_read_in_that_way() {
    run(async {
        let server = start(short()).await;
        let post = "POST /echo HTTP/1.1\r\nhost: a\r\n";
        let next = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        // The coding counts, and what comes after may be anything: the connection is closed.
        for fields in
            ["content-length: 6\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 6"]
        {
            let said = server.said(format!("{post}{fields}\r\n\r\n1\r\na\r\n0\r\n\r\n{next}")).await;
            assert_eq!(short_of(&said), ["200 a"], "{fields:?}");
            assert!(said.contains("connection: close\r\n"), "{said}");
        }
        // Equal lengths are one; a line feed ends a line without a carriage return too; fields after chunks are left out.
        for rest in [
            "content-length: 1\r\ncontent-length: 1\r\n\r\na",
            "x: a\ncontent-length: 1\n\na",
            "transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\ncontent-length: 9\r\n\r\n",
        ] {
            assert_eq!(short_of(&server.said(format!("{post}{rest}{next}")).await), ["200 a", "200 here"], "{rest:?}");
        }
    });
}

#[test]
fn a_head_that_is_not_served_gets_a_status() {
    run(async {
        let server = start(short()).await;
        let proxy = server.said("CONNECT /v1/messages HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let expected = r#"405 {"type":"error","error":{"type":"invalid_request_error","message":"this server is not a proxy: CONNECT is not supported"}}"#;
        assert_eq!(short_of(&proxy), [expected]);
        assert_eq!(short_of(&server.said(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await), ["400"]);
        let large = server.said(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(400_000))).await;
        assert_eq!(short_of(&large), ["431"]);
        let many = server.said(format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(120))).await;
        assert_eq!(short_of(&many), ["431"]);
        server.metrics_say("slm_http_requests_total{method=\"other\",route=\"refused\",status=\"431\"} 2").await;
        for target in ["localhost", "*"] {
            let said = server.said(format!("OPTIONS {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
            assert_eq!(short_of(&said), ["404"], "{target}");
        }
    });
}

#[test]
fn patience_with_slow_clients_ends() {
    run(async {
        let server = start(short()).await;
        let slow = |first: &'static [u8], drip: &'static [u8]| {
            let mut stream = server.connect();
            tokio::task::spawn_blocking(move || {
                stream.write_all(first).unwrap();
                let began = Instant::now();
                stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                let mut said = Vec::new();
                loop {
                    let _ = stream.write_all(drip);
                    let mut piece = [0; 1000];
                    match stream.read(&mut piece) {
                        Ok(0) => break,
                        Ok(n_bytes) => said.extend_from_slice(&piece[..n_bytes]),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                    assert!(began.elapsed() < Duration::from_secs(5), "it went on for ever");
                }
                (String::from_utf8(said).unwrap(), began.elapsed())
            })
        };
        let (said, took) = slow(b"GET / HTTP/1.1\r\nhost: a\r\nx: ", b"a").await.unwrap();
        assert_eq!(said, "");
        assert!(took < Duration::from_secs(3), "{took:?}");
        let (said, _) = slow(b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\na", b"").await.unwrap();
        assert!(short_of(&said)[0].starts_with("400 "), "{said}");
        let (said, took) = slow(b"", b"").await.unwrap();
        assert_eq!(said, "");
        assert!(took >= Duration::from_millis(500), "{took:?}");
        assert_eq!(server.n_at_work(), 0);
    });
}

#[test]
fn a_client_that_is_gone_cancels() {
    run(async {
        let server = start(short()).await;
        let slow = "POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}";
        // Closed.
        let mut gone = server.connect();
        gone.write_all(slow.as_bytes()).unwrap();
        server.becomes("at work", |server| server.n_at_work() == 1).await;
        let began = Instant::now();
        drop(gone);
        server.becomes("cancelled", |server| server.n_cancelled() == 1).await;
        assert!(began.elapsed() < Duration::from_millis(600), "it ran to its end");
        // Closed with a request after it: a reset, for the answer before it was not read.
        let mut gone = server.connect();
        gone.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        gone.write_all(slow.as_bytes()).unwrap();
        server.becomes("at work", |server| server.n_at_work() == 1).await;
        drop(gone);
        server.becomes("cancelled", |server| server.n_cancelled() == 2).await;
        // One that says that it sends no more looks the same.
        let mut half = server.connect();
        half.write_all(slow.as_bytes()).unwrap();
        server.becomes("at work", |server| server.n_at_work() == 1).await;
        half.shutdown(Shutdown::Write).unwrap();
        server.becomes("cancelled", |server| server.n_cancelled() == 3).await;
        assert_eq!(tokio::task::spawn_blocking(move || rest(&mut half)).await.unwrap(), "");
        // A request that breaks off is never begun.
        let mut broken = server.connect();
        broken.write_all(b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n{}").unwrap();
        broken.shutdown(Shutdown::Write).unwrap();
        let said = tokio::task::spawn_blocking(move || rest(&mut broken)).await.unwrap();
        assert!(short_of(&said)[0].starts_with("400 "), "{said}");
        let cut = server.connect();
        (&cut).write_all(b"POST /slow HTTP/1.1\r\nhost").unwrap();
        cut.shutdown(Shutdown::Write).unwrap();
        let said = tokio::task::spawn_blocking(move || rest(&mut { cut })).await.unwrap();
        assert_eq!(said, "");
    });
}

#[test]
fn a_reader_that_stops_holds_little_and_not_for_ever() {
    run(async {
        let server = start(short()).await;
        let mut stuck = server.connect();
        stuck.write_all(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        server.becomes("at work", |server| server.n_at_work() == 1).await;
        let began = Instant::now();
        // Others are answered meanwhile.
        let said = server.said("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(short_of(&said), ["200 here"]);
        server.becomes("ended", |server| server.n_at_work() == 0).await;
        assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
        // One that leaves in the middle ends it too.
        let mut leaves = server.connect();
        leaves.write_all(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        leaves.read_exact(&mut [0; 100_000]).unwrap();
        drop(leaves);
        server.becomes("ended", |server| server.n_at_work() == 0).await;
    });
}

#[test]
fn an_answer_before_the_bodys_end_reaches_its_client() {
    run(async {
        let server = start(short()).await;
        let mut body = b"POST /ignore HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n".to_vec();
        body.resize(body.len() + 8_000_000, b'x');
        let said = server.said(body).await;
        assert_eq!(short_of(&said), ["200 ignored"]);
    });
}

#[test]
fn idle_connections_make_room_and_busy_ones_stay() {
    run(async {
        let patience = Patience { head: Duration::from_secs(60), ..short().patience };
        let server = start(Settings { max_connections: 8, patience, ..short() }).await;
        let mut idle: Vec<_> = (0..20)
            .map(|n| {
                let mut stream = server.connect();
                // A part of a head keeps no place.
                stream.write_all(if n == 1 { b"GET / HTTP/1.1\r\nhost: " } else { b"" }).unwrap();
                stream
            })
            .collect();
        let said = server.said("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(short_of(&said), ["200 here"]);
        // The oldest was asked to go; the youngest is served.
        assert_eq!((rest(&mut idle[0]), rest(&mut idle[1])), (String::new(), String::new()));
        idle[19].write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(short_of(&rest(&mut idle[19])), ["200 here"]);
        let slow = b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let mut busy: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for stream in &mut busy {
            stream.write_all(slow).unwrap();
        }
        server.becomes("all at work", |server| server.n_at_work() == 8).await;
        let refused = server.said("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(short_of(&refused), [r#"503 {"error":"too many connections; try again in a moment"}"#]);
        for stream in &mut busy {
            let mut stream = stream.try_clone().unwrap();
            let said = tokio::task::spawn_blocking(move || rest(&mut stream)).await.unwrap();
            assert_eq!(short_of(&said), ["200 at last"]);
        }
    });
}

#[test]
fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    run(async {
        let server = start(short()).await;
        let (idle, mut busy) = (server.connect(), server.connect());
        server.metrics_say("slm_http_connections 2").await;
        busy.write_all(b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").unwrap();
        server.becomes("at work", |server| server.n_at_work() == 1).await;
        server.drain.begin();
        assert!(server.drain.is_draining());
        let said = tokio::task::spawn_blocking(move || (rest(&mut { idle }), rest(&mut busy))).await.unwrap();
        assert_eq!(said.0, "");
        assert_eq!(short_of(&said.1), ["200 at last"]);
        assert!(said.1.contains("connection: close\r\n"), "{}", said.1);
        server.metrics_say("slm_http_connections 0").await;
        assert_eq!(server.server.await.unwrap(), Ended::Drained);
        assert!(TcpStream::connect(server.address).is_err());
    });
}

#[test]
fn a_drain_leaves_time_for_the_end_of_an_answer() {
    run(async {
        let patience = Patience { write: Duration::from_secs(10), ..short().patience };
        let server = start(Settings { patience, ..short() }).await;
        let mut slow = server.connect();
        slow.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        // Some of it is here, so all of it has been handed over to be written.
        slow.read_exact(&mut [0; 1000]).unwrap();
        server.drain.begin();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let said = tokio::task::spawn_blocking(move || rest(&mut slow)).await.unwrap();
        assert!(said.len() > LARGE_BYTES - 1000, "{} bytes", said.len());
        assert_eq!(server.server.await.unwrap(), Ended::Drained);
    });
}

#[test]
fn a_drain_ends_when_its_grace_does_or_at_once() {
    run(async {
        for (is_told_twice, expected) in [(false, Ended::CutOff(1)), (true, Ended::AtOnce)] {
            let server = start(Settings { grace: Duration::from_millis(100), ..short() }).await;
            let mut busy = server.connect();
            busy.write_all(b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").unwrap();
            server.becomes("at work", |server| server.n_at_work() == 1).await;
            server.drain.begin();
            if is_told_twice {
                server.drain.end();
            }
            let (at_work, cancelled) = (Arc::clone(&server.at_work), Arc::clone(&server.cancelled));
            assert_eq!(server.server.await.unwrap(), expected);
            let began = Instant::now();
            while at_work.load(Ordering::SeqCst) > 0 {
                assert!(began.elapsed() < Duration::from_secs(5));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(cancelled.load(Ordering::SeqCst), 1);
        }
    });
}

#[test]
fn a_unix_sockets_file_is_replaced_when_its_server_is_dead_and_only_then() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slm.sock");
        // What a server that died has left: a socket at which nobody listens.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let bind: Bind = format!("unix:{}", path.display()).parse().unwrap();
        let mut listeners = Listeners::default();
        listeners.add(&bind, SocketMode::Group).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        // People are told of it, and not of the socket for this user's commands.
        listeners.add_own(&folder.path().join("own.sock")).unwrap();
        assert_eq!(std::fs::metadata(folder.path().join("own.sock")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listeners.places(), [bind.to_string()]);
        let (cancelled, at_work) = (Arc::default(), Arc::default());
        let drain = Drain::default();
        let terms = Terms { settings: short(), drain: drain.clone(), metrics: Metrics::new(Build::this()) };
        let server = tokio::spawn(serve(listeners, router(&cancelled, &at_work), terms));
        let mut second = Listeners::default();
        let error = second.add(&bind, SocketMode::Owner).await.unwrap_err().to_string();
        assert_eq!(
            error,
            format!("a server is already listening on the socket `{}`: stop it, or give another path", path.display())
        );
        let mut stream = UnixStream::connect(&path).unwrap();
        let said = tokio::task::spawn_blocking(move || {
            stream.write_all(b"GET /peer HTTP/1.0\r\n\r\n").unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).unwrap();
            said
        });
        assert_eq!(short_of(&said.await.unwrap()), ["200 unix"]);
        // Gone on a Unix socket.
        let mut gone = UnixStream::connect(&path).unwrap();
        gone.write_all(b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").unwrap();
        while at_work.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(gone);
        let began = Instant::now();
        while cancelled.load(Ordering::SeqCst) == 0 {
            assert!(began.elapsed() < Duration::from_secs(5), "never cancelled");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drain.begin();
        assert_eq!(server.await.unwrap(), Ended::Drained);
        assert!(!path.exists());
        std::fs::write(&path, "somebody's file").unwrap();
        let error = second.add(&bind, SocketMode::Owner).await.unwrap_err().to_string();
        assert_eq!(error, format!("`{}` exists and is not a socket: give another path", path.display()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's file");
    });
}

#[test]
fn a_place_that_is_taken_is_said_with_the_way_out() {
    run(async {
        let server = start(short()).await;
        let mut listeners = Listeners::default();
        let bind: Bind = server.address.to_string().parse().unwrap();
        let error = listeners.add(&bind, SocketMode::Owner).await.unwrap_err().to_string();
        let expected = format!(
            "`{}` is in use by another program (Ollama, or another slm serve?): stop it, or listen elsewhere, for example with \
             SLM_HOST=127.0.0.1:11435",
            server.address
        );
        assert_eq!(error, expected);
    });
}

#[test]
fn addresses_are_read_as_ollama_reads_them() {
    let read = |text: &str| text.parse::<Bind>().map_or_else(|error| error.to_string(), |bind| bind.to_string());
    for (text, expected) in [
        ("127.0.0.1", "127.0.0.1:11434"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("localhost", "localhost:11434"),
        ("http://localhost:8080/", "localhost:8080"),
        ("http://example.org", "example.org:80"),
        (":8080", "0.0.0.0:8080"),
        ("::1", "[::1]:11434"),
        ("[::1]", "[::1]:11434"),
        ("[::1]:8080", "[::1]:8080"),
        ("0.0.0.0", "0.0.0.0:11434"),
        ("unix:/run/slm.sock", "unix:/run/slm.sock"),
        ("unix:///run/slm.sock", "unix:/run/slm.sock"),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
    let unknown = |text: &str| {
        format!(
            "`{text}` is not an address to listen on: give host:port (for example 127.0.0.1:11434) or unix:/path/of/a/socket"
        )
    };
    for text in ["", "localhost:", "localhost:99999", "a b", "user@host:1", "ftp://a", "host:-1"] {
        assert_eq!(read(text), unknown(text), "{text}");
    }
    assert!(read("https://localhost").contains("which slm does not support"));
    assert_eq!(read("unix:relative"), "`unix:relative` has no socket path: give unix:/path/of/a/socket");
}
