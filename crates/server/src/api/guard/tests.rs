//! Requests past the guard, as clients and pages send them.

use super::{Caller, Exposure, Management, Rules, RulesError, Said, guard};
use crate::api::server::{Local, Peer};
use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::http::{Request, header};
use axum::routing::any;
use std::net::SocketAddr;
use std::sync::Arc;
use tower::ServiceExt as _;

const LOOPBACK: &str = "127.0.0.1:11434";
const LAN: &str = "192.168.1.5:11434";

fn rules(said: &Said<'_>) -> Arc<Rules> {
    Arc::new(Rules::new(said).unwrap())
}

/// Asks as a client at `local` and gives the status, the body, and the headers that a browser looks at.
fn asked(rules: &Arc<Rules>, local: &str, first: &str, fields: &[(&str, &str)]) -> (u16, String, Vec<String>) {
    let (method, target) = first.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    let address = local.parse::<SocketAddr>();
    let socket = if local == "own" { Local::Own } else { Local::Unix };
    request.extensions_mut().insert(address.clone().map_or(socket, Local::Tcp));
    request.extensions_mut().insert(address.map_or(Peer::Unix, Peer::Tcp));
    let router = Router::new()
        .fallback(any(|Extension(Caller(caller)): Extension<Caller>| async move { caller }))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(rules), guard))
        .layer(axum::middleware::from_fn(crate::api::refusal::write));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let cors = response.headers().iter().filter(|(name, _)| name.as_str().starts_with("access-control"));
        let mut cors: Vec<_> = cors.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        cors.sort();
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), status == 401);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap(), cors)
    })
}

#[test]
fn a_request_calls_us_by_one_of_our_names() {
    let names = ["box".to_owned()];
    let rules =
        rules(&Said { names: &names, allowed_hosts: Some("slm.example.org, Other.example:8080"), ..Said::default() });
    let status = |local: &str, host: &str| asked(&rules, local, "GET /api/tags", &[("host", host)]).0;
    for host in [
        "localhost",
        "localhost:8080",
        "LOCALHOST.",
        "127.0.0.1:11434",
        "127.0.0.2",
        "[::1]:11434",
        "[::ffff:127.0.0.1]:11434",
        "0.0.0.0:11434",
        "box",
        "box.local:11434",
        "host.docker.internal:11434",
        "slm.example.org",
        "other.example",
    ] {
        assert_eq!(status(LOOPBACK, host), 200, "{host}");
    }
    for host in
        ["evil.example", "localhost.evil.example", "notlocalhost", "192.168.1.5", "slm.example.org.evil", "8.8.8.8"]
    {
        assert_eq!(status(LOOPBACK, host), 403, "{host}");
    }
    for host in
        ["", "a b", "localhost:port", "localhost:80:80", "[::1", "[zz]", "user@localhost", "local/host", ":80", "::1"]
    {
        assert_eq!(status(LOOPBACK, host), 400, "{host}");
    }
    // On the network an address may be of a machine that forwards to this one; a name may still be anybody's.
    assert_eq!(status(LAN, "192.168.1.5:11434"), 200);
    assert_eq!(status(LAN, "10.0.0.1"), 200);
    assert_eq!(status(LAN, "evil.example"), 403);
    assert_eq!(status("unix", "evil.example"), 200);
    let (_, body, _) = asked(&rules, LOOPBACK, "GET /v1/models", &[("host", "evil.example")]);
    assert_eq!(
        body,
        "{\"error\":{\"message\":\"`evil.example` is not a name of this server; if it should be, add it to \
         SLM_ALLOWED_HOSTS\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"forbidden\"}}"
    );
    assert_eq!(asked(&rules, LOOPBACK, "GET /api/tags", &[]).0, 400);
    assert_eq!(asked(&rules, LOOPBACK, "GET /api/tags", &[("host", "localhost"), ("host", "evil.example")]).0, 400);
    assert_eq!(asked(&rules, LOOPBACK, "GET http://localhost/api/tags", &[("host", "localhost")]).0, 200);
    assert_eq!(asked(&rules, LOOPBACK, "GET http://evil.example/api/tags", &[("host", "localhost")]).0, 400);
    // Probes call us by anything.
    assert_eq!(asked(&rules, LOOPBACK, "GET /health", &[]).0, 200);
    let any = self::rules(&Said { allowed_hosts: Some("*"), ..Said::default() });
    assert_eq!(asked(&any, LOOPBACK, "GET /", &[("host", "evil.example")]).0, 200);
}

#[test]
fn pages_of_other_origins_ask_only_where_they_were_allowed() {
    let rules = rules(&Said {
        origins: Some("https://app.example.org,http://192.168.1.*, https://*.lan.example"),
        ..Said::default()
    });
    let ask =
        |origin: &str| asked(&rules, LOOPBACK, "POST /api/chat", &[("host", "localhost:11434"), ("origin", origin)]);
    for origin in [
        "http://localhost",
        "http://localhost:3000",
        "https://127.0.0.1:3000",
        "http://[::1]:11434",
        "vscode-webview://abc",
        "tauri://localhost",
        "https://app.example.org",
        "http://192.168.1.7:3000",
        "https://a.lan.example",
    ] {
        let (status, _, cors) = ask(origin);
        let expected = [
            format!("access-control-allow-origin: {origin}"),
            "access-control-expose-headers: x-request-id, request-id, retry-after".to_owned(),
        ];
        assert_eq!((status, cors), (200, expected.to_vec()), "{origin}");
    }
    for origin in [
        "https://evil.example",
        "null",
        "",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://localhost:3000@evil.example",
        "http://localhost:3000/evil",
        "http://localhost:evil",
        "http://[::1]:3000@evil.example",
        "https://app.example.org.evil.example",
        "https://lan.example",
        "http://app.example.org",
        "http://192.168.10.7",
        "ftp://localhost",
    ] {
        let (status, body, cors) = ask(origin);
        assert_eq!((status, cors), (403, vec![]), "{origin}: {body}");
    }
    let (_, body, _) = ask("https://evil.example");
    let expected =
        r#"{"error":"pages of `https://evil.example` may not use this server; to allow them, add it to SLM_ORIGINS"}"#;
    assert_eq!(body, expected);
    // A page of our own, under the name that we are called by.
    let own = [("host", "192.168.7.5:11434"), ("origin", "http://192.168.7.5:11434")];
    assert_eq!(asked(&rules, LAN, "POST /api/chat", &own).0, 200);
    let other_port = [("host", "192.168.7.5:11434"), ("origin", "http://192.168.7.5:80")];
    assert_eq!(asked(&rules, LAN, "POST /api/chat", &other_port).0, 403);
    let two = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "https://evil.example")];
    assert_eq!(asked(&rules, LOOPBACK, "POST /api/chat", &two).0, 400);
}

#[test]
fn a_browsers_question_before_is_answered_for_pages_that_may_ask() {
    let rules = rules(&Said { keys: Some("secret"), ..Said::default() });
    let preflight = |origin: &str| {
        let fields = [
            ("host", "localhost:11434"),
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
            ("access-control-request-private-network", "true"),
        ];
        asked(&rules, LOOPBACK, "OPTIONS /v1/chat/completions", &fields)
    };
    let (status, body, cors) = preflight("http://localhost:3000");
    assert_eq!((status, &*body), (204, ""));
    let expected = [
        "access-control-allow-headers: authorization,content-type",
        "access-control-allow-methods: GET, HEAD, POST, DELETE",
        "access-control-allow-origin: http://localhost:3000",
        "access-control-allow-private-network: true",
        "access-control-expose-headers: x-request-id, request-id, retry-after",
        "access-control-max-age: 600",
    ];
    assert_eq!(cors, expected);
    assert_eq!(preflight("https://evil.example").0, 403);
    // The answer that the key is missing can be read by the page that forgot it.
    let (status, _, cors) =
        asked(&rules, LOOPBACK, "POST /api/chat", &[("host", "localhost"), ("origin", "http://localhost:3000")]);
    assert_eq!((status, cors.len()), (401, 2));
}

#[test]
fn a_key_opens_all_and_none_opens_little() {
    let rules = rules(&Said { keys: Some("first, second-key"), ..Said::default() });
    let ask = |path: &str, name: &str, value: &str| {
        let (status, body, _) =
            asked(&rules, LOOPBACK, &format!("GET {path}"), &[("host", "localhost"), (name, value)]);
        (status, body)
    };
    for (name, value) in [
        ("authorization", "Bearer first"),
        ("authorization", "bearer second-key"),
        ("x-api-key", "second-key"),
        ("X-Api-Key", " first "),
    ] {
        assert_eq!(ask("/api/tags", name, value).0, 200, "{name}: {value}");
    }
    for (name, value) in [
        ("authorization", "Bearer First"),
        ("authorization", "Bearer "),
        ("authorization", "Bearer first,second-key"),
        ("authorization", "Basic first"),
        ("authorization", "first"),
        ("x-api-key", ""),
        ("x-api-key", "firs"),
        ("cookie", "key=first"),
    ] {
        assert_eq!(ask("/api/tags", name, value).0, 401, "{name}: {value}");
    }
    let (_, body) = ask("/v1/messages", "x-api-key", "wrong");
    assert!(
        body.starts_with(r#"{"type":"error","error":{"type":"authentication_error","message":"a key is needed"#),
        "{body}"
    );
    for path in ["/", "/page/app.js", "/health", "/ready"] {
        assert_eq!(ask(path, "accept", "*/*").0, 200, "{path}");
    }
    for path in ["/metrics", "/api/version", "/v1/models", "/pages", "/page/status", "/healthy"] {
        assert_eq!(ask(path, "accept", "*/*").0, 401, "{path}");
    }
    // The socket in the store is for the user whose keys these are; another Unix socket may have a group.
    assert_eq!(["own", "unix"].map(|local| asked(&rules, local, "GET /api/ps", &[]).0), [200, 401]);
    // Those who ask are distinguished by key and machine, and the key cannot be read from it.
    let (first, second) = (ask("/api/tags", "x-api-key", "first").1, ask("/api/tags", "x-api-key", "second-key").1);
    assert!(first.ends_with("@127.0.0.1") && second.ends_with("@127.0.0.1") && first != second, "{first} {second}");
    assert!(!first.contains("first"));
    assert_eq!(format!("{:?}", rules.keys), "Keys(2)");
}

#[test]
fn management_can_be_switched_off() {
    let off = rules(&Said { management: Management::Off, ..Said::default() });
    let on = rules(&Said::default());
    let status = |rules: &Arc<Rules>, first: &str| asked(rules, LOOPBACK, first, &[("host", "localhost")]).0;
    for first in [
        "POST /api/pull",
        "POST /api/push",
        "POST /api/create",
        "POST /api/copy",
        "DELETE /api/delete",
        "POST /api/blobs/sha256:0",
        "HEAD /api/blobs/sha256:0",
    ] {
        assert_eq!(status(&off, first), 403, "{first}");
        assert_eq!(status(&on, first), 200, "{first}");
    }
    for first in ["POST /api/chat", "GET /api/tags", "POST /api/show", "GET /api/ps", "POST /v1/decisions"] {
        assert_eq!(status(&off, first), 200, "{first}");
    }
    let (_, body, _) = asked(&off, LOOPBACK, "POST /api/pull", &[("host", "localhost")]);
    assert_eq!(body, r#"{"error":"`/api/pull` changes the store, which this server refuses (--inference-only)"}"#);
}

#[test]
fn a_server_open_to_the_network_needs_a_key_or_the_word() {
    let refused = |addresses: &[&str], said: Said<'_>| {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Rules::new(&Said { addresses: &addresses, ..said }).err().map(|error| error.to_string())
    };
    for address in ["0.0.0.0:11434", "[::]:11434", "192.168.1.5:11434", "[::ffff:10.0.0.1]:1"] {
        let expected = format!(
            "`{address}` can be reached from other machines and no key is set: set SLM_API_KEY to a secret that clients send, \
             or use --insecure-bind to accept everyone"
        );
        let addresses = ["127.0.0.1:11434", address];
        assert_eq!(refused(&addresses, Said::default()), Some(expected));
        assert_eq!(refused(&addresses, Said { keys: Some("a"), ..Said::default() }), None);
        assert_eq!(refused(&addresses, Said { exposure: Exposure::Insecure, ..Said::default() }), None);
    }
    assert_eq!(refused(&["127.0.0.1:1", "127.1.2.3:1", "[::1]:1"], Said::default()), None);
    assert_eq!(refused(&[], Said::default()), None);
    let error = |said: Said<'_>| Rules::new(&said).err();
    assert_eq!(error(Said { keys: Some(" , "), ..Said::default() }), Some(RulesError::NoKey));
    assert_eq!(error(Said { keys: Some("se cret"), ..Said::default() }), Some(RulesError::Key("se...".to_owned())));
    assert_eq!(error(Said { allowed_hosts: Some("a b"), ..Said::default() }), Some(RulesError::Host("a b".to_owned())));
    let origins = Said { origins: Some("example.org"), ..Said::default() };
    assert_eq!(error(origins), Some(RulesError::Origin("example.org".to_owned())));
    let stars = Said { origins: Some("http://*.a.*"), ..Said::default() };
    assert_eq!(error(stars), Some(RulesError::Origin("http://*.a.*".to_owned())));
}
