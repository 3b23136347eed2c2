//! Registries that mean harm: manifests that lie, challenges that fish for passwords, redirects into private networks.

use serde_json::{Value, json};

use crate::registry::faulty::{Access, Fault, Faulty, Seen, What};
use crate::registry::judge::{Case, Wanted, judge};
use crate::registry::package::Package;
use crate::registry::proxy::Proxy;
use crate::registry::pull::docker_config;
use crate::slm::{Home, files};

fn package() -> Package {
    Package::random(1, 200_000, &[1000])
}

fn edited(name: &str, words: &'static str, edit: impl FnOnce(&mut Value)) -> Case {
    let package = package();
    let offered = package.edited(edit);
    Case::new(name, &package, Wanted::Refused(words)).offers(offered)
}

fn raw(name: &str, words: &'static str, manifest: impl Into<bytes::Bytes>) -> Case {
    let package = package();
    let offered = Package { manifest: manifest.into(), blobs: package.blobs.clone() };
    Case::new(name, &package, Wanted::Refused(words)).offers(offered)
}

#[test]
fn manifests_that_lie_are_refused() {
    let digest_of = |m: &Value| m["layers"][0]["digest"].as_str().unwrap().to_owned();
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let many: Vec<Value> =
        (0..6000).map(|n| json!({"mediaType": "a/b", "digest": format!("sha256:{n:064x}"), "size": 9})).collect();
    judge(
        "Hostile manifests",
        &[
            edited("a digest that climbs out", "manifest", |m| {
                m["layers"][0]["digest"] = "sha256:../../../../../../etc/passwd".into();
            }),
            edited("a digest that is a path", "manifest", |m| m["layers"][0]["digest"] = "/etc/passwd".into()),
            edited("a digest in capitals", "manifest", |m| {
                m["layers"][0]["digest"] = digest_of(m).to_uppercase().into();
            }),
            edited("a digest of another algorithm", "manifest", |m| m["layers"][0]["digest"] = "md5:0123".into()),
            edited("a digest of 10 MB", "manifest", |m| {
                m["layers"][0]["digest"] = format!("sha256:{}", "a".repeat(900_000)).into();
            }),
            edited("the config's digest climbs out", "manifest", |m| {
                m["config"]["digest"] = "sha256:../../x".into();
            }),
            edited("layers are null", "manifest", |m| m["layers"] = Value::Null),
            edited("a layer is null", "manifest", |m| m["layers"][0] = Value::Null),
            edited("layers are no list", "manifest", |m| m["layers"] = json!({"0": m["layers"][0]})),
            edited("no layers", "manifest", |m| drop(m.as_object_mut().unwrap().remove("layers"))),
            edited("no config", "manifest", |m| drop(m.as_object_mut().unwrap().remove("config"))),
            edited("a layer twice", "twice", |m| {
                let layer = m["layers"][0].clone();
                m["layers"].as_array_mut().unwrap().push(layer);
            }),
            edited("one blob with two sizes", "", |m| {
                let mut layer = m["layers"][0].clone();
                layer["mediaType"] = "application/x".into();
                layer["size"] = 5.into();
                m["layers"].as_array_mut().unwrap().push(layer);
            }),
            edited("a size below zero", "manifest", |m| m["layers"][0]["size"] = (-1).into()),
            edited("a size that is text", "manifest", |m| m["layers"][0]["size"] = "200000".into()),
            edited("a size of 2^64 - 1", "manifest", |m| m["layers"][0]["size"] = u64::MAX.into()),
            edited("a size of 2^60", "space", |m| m["layers"][0]["size"] = (1u64 << 60).into()),
            edited("two sizes of 2^62", "", |m| {
                m["layers"][0]["size"] = (1u64 << 62).into();
                m["layers"][1]["size"] = (1u64 << 62).into();
            }),
            edited("a size that is too small", "", |m| m["layers"][0]["size"] = 100_000.into()).exhausts_patience(),
            edited("a size that is too large", "", |m| m["layers"][0]["size"] = 300_000.into()).exhausts_patience(),
            edited("a size of zero", "", |m| m["layers"][0]["size"] = 0.into()),
            edited("schema version 1", "manifest", |m| m["schemaVersion"] = 1.into()),
            edited("a blob that the registry has not", "has no", |m| {
                m["layers"][0]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
            }),
            edited("6,000 layers that it has not", "", |m| m["layers"] = many.into()),
            edited("no layer at all", "no GGUF file", |m| m["layers"] = json!([])),
            edited("weights that are none", "not with `GGUF`", |m| {
                m["layers"][1]["mediaType"] = m["layers"][0]["mediaType"].clone();
            }),
            raw("a list of manifests", "manifest", r#"{"schemaVersion":2,"manifests":[]}"#),
            raw("nothing", "manifest", ""),
            raw("no JSON", "manifest", vec![0xff; 1000]),
            raw("JSON with an end too much", "manifest", [&package().manifest[..], b"}"].concat()),
            raw("JSON nested 500,000 deep", "manifest", deep),
            raw("100 MB of JSON", "1048576", vec![b' '; 100 << 20]),
            raw("100 MB of JSON, of unknown length", "1048576", vec![b' '; 100 << 20])
                .fault(|seen| if seen.what == What::Manifest { Fault::Endless } else { Fault::None }),
        ],
    );
}

/// What is strange and does no harm: it may come, and all is as it says.
#[test]
fn strange_manifests_do_no_harm() {
    let harmless = |name: &str, edit: fn(&mut Value)| {
        let offered = package().edited(edit);
        Case::new(name, &offered, Wanted::Either)
    };
    judge(
        "Strange manifests",
        &[
            harmless("a media type that climbs out", |m| m["layers"][1]["mediaType"] = "../../../../x".into()),
            harmless("a media type with control characters", |m| m["layers"][1]["mediaType"] = "\u{1b}[31m\n".into()),
            harmless("an empty media type", |m| m["layers"][1]["mediaType"] = "".into()),
            harmless("fields that nobody knows", |m| m["annotations"] = json!({"../x": ["y"]})),
            harmless("the config is a layer too", |m| {
                let config = m["config"].clone();
                m["layers"].as_array_mut().unwrap().push(config);
            }),
        ],
    );
}

/// A registry that asks for passwords, and the host that it would like to have them.
#[test]
fn passwords_go_to_their_registry_alone() {
    let package = package();
    let thief = Faulty::serve(&package);
    let there = thief.host();
    let locked = |name: &str, words: &'static str, how: String| {
        Case::new(name, &package, Wanted::Refused(words))
            .prepare(|home, server| docker_config(home, &server.host(), "me:secret"))
            .fault(move |_| Fault::Challenge(Some(how.clone())))
    };
    let bearer = |realm: &str| format!("Bearer realm=\"{realm}\",service=\"tests\"");
    judge(
        "Hostile challenges",
        &[
            locked("a realm on another port", "--allow-host", bearer(&format!("http://{there}/token"))),
            locked("a realm on another host", "--allow-host", bearer("https://tokens.invalid/token")),
            locked("a realm at a private address", "--allow-host", bearer("http://169.254.169.254/latest")),
            locked("a realm behind a user's name", "", bearer(&format!("http://HOST@{there}/token"))),
            locked("a realm behind a backslash", "", bearer(&format!("http://{there}\\@HOST/token"))),
            locked("a realm without a scheme", "", bearer(&format!("//{there}/token"))),
            locked("a realm that is a file", "which is not a web address", bearer("file:///etc/passwd")),
            locked("a realm that is nothing", "", bearer("")),
            locked("a scheme that nobody knows", "basic and bearer", "Negotiate abc".to_owned()),
            locked("a broken challenge", "", "Bearer realm=\"".to_owned()),
            locked("a challenge of 60 KB", "", bearer(&"x".repeat(60_000))),
            Case::new("401 that does not say how", &package, Wanted::Refused("requires credentials"))
                .fault(|_| Fault::Challenge(None)),
            Case::new("401 for every token", &package, Wanted::Refused("refused"))
                .prepare(|_, server| {
                    let realm = format!("http://{}/token", server.host());
                    server.access(Access::Bearer { realm, user: None });
                })
                .fault(|seen| match seen.what {
                    What::Token | What::Ping => Fault::None,
                    _ => Fault::Challenge(Some("Bearer realm=\"/token\",service=\"tests\"".to_owned())),
                }),
            token("a token that is a page", &package, Fault::Page),
            token("a token that never ends", &package, Fault::Endless),
            token("no token: 500", &package, Fault::Status(500)),
            token("a token from elsewhere", &package, Fault::Redirect(format!("http://{there}/cdn/x/y"))),
        ],
    );
    // It was led to by redirects of the issuer alone, and had no password from them.
    let secrets: Vec<Seen> = thief.seen().into_iter().filter(|seen| seen.authorization.is_some()).collect();
    assert!(secrets.is_empty(), "{secrets:?}");
    assert!(thief.seen().iter().all(|seen| seen.what == What::Cdn), "{:?}", thief.seen());
}

fn token(name: &str, package: &Package, fault: Fault) -> Case {
    Case::new(name, package, Wanted::Refused(""))
        .prepare(|home, server| {
            docker_config(home, &server.host(), "me:secret");
            let realm = format!("http://{}/token", server.host());
            server.access(Access::Bearer { realm, user: Some("me:secret".to_owned()) });
        })
        .fault(move |seen| if seen.what == What::Token { fault.clone() } else { Fault::None })
}

/// The same stranger, once a person has named it.
#[test]
fn a_host_that_was_allowed_may_issue_tokens() {
    let (package, home) = (package(), Home::new());
    let (server, issuer) = (Faulty::serve(&package), Faulty::serve(&package));
    server.access(Access::Bearer { realm: format!("http://{}/token", issuer.host()), user: None });
    let said = home.slm(["pull", &server.model()]).ends(1);
    assert!(said.stderr.contains(&format!("--allow-host {}", issuer.host())), "{}", said.stderr);
    assert_eq!(issuer.seen().len(), 0);
    home.slm(["pull", &server.model(), "--allow-host", &issuer.host()]).succeeds();
    package.is_in(&home.models(), &server.place());
}

#[test]
fn redirects_lead_to_no_private_place() {
    let package = package();
    let to = |name: &str, words: &'static str, location: &str| {
        let location = location.to_owned();
        Case::new(name, &package, Wanted::Refused(words))
            .fault(move |seen| if seen.what == What::Blob { Fault::Redirect(location.clone()) } else { Fault::None })
    };
    let manifest = |name: &str, words: &'static str, location: &str| {
        let location = location.to_owned();
        Case::new(name, &package, Wanted::Refused(words)).fault(move |seen| match seen.what {
            What::Manifest => Fault::Redirect(location.clone()),
            _ => Fault::None,
        })
    };
    let private = "--allow-host";
    judge(
        "Hostile redirects",
        &[
            to("to the cloud's metadata", "--insecure", "http://169.254.169.254/latest/meta-data/"),
            to("to the cloud's metadata over TLS", private, "https://169.254.169.254/latest/meta-data/"),
            to("to 10.0.0.1", private, "https://10.0.0.1/x"),
            to("to 192.168.0.1", "--insecure", "http://192.168.0.1/x"),
            to("to 0.0.0.0", private, "https://0.0.0.0/x"),
            to("to [fe80::1]", private, "https://[fe80::1]/x"),
            to("to [::ffff:10.0.0.1]", private, "https://[::ffff:10.0.0.1]/x"),
            to("to 10.0.0.1 as one number", private, "https://167772161/x"),
            to("to 10.0.0.1 in octal", private, "https://012.1/x"),
            to("to a name that may be this machine", "", "https://localhost./x").exhausts_patience(),
            to(
                "to a public host without TLS",
                "without TLS; if you trust the network, use `--insecure example.com:80`",
                "http://example.com/x",
            ),
            to("to a file", "which is not a web address", "file:///etc/passwd"),
            to("to FTP", "which is not a web address", "ftp://127.0.0.1/x"),
            to("to data", "which is not a web address", "data:text/plain,x"),
            to("to no address", "", "http://[::bad"),
            to("to itself, for ever", "redirects", "?again"),
            manifest("the manifest, to the cloud's metadata", "--insecure", "http://169.254.169.254/latest/meta-data/"),
            manifest("the manifest, to itself, for ever", "redirects", "?again"),
            manifest("the manifest, to a file", "which is not a web address", "file:///etc/passwd"),
        ],
    );
}

/// A registry that is not on this machine may not lead to it, under any of its names. Its own name is known to the proxy
/// alone.
#[test]
fn a_registry_elsewhere_cannot_lead_to_this_machine() {
    let package = package();
    let (server, here) = (Faulty::serve(&package), Faulty::serve(&package));
    let proxy = Proxy::to(&[
        ("registry.test", server.address()),
        ("127.0.0.1", here.address()),
        ("localhost", here.address()),
        ("[::1]", here.address()),
        ("network.test", here.address()),
    ]);
    let home = Home::new();
    let pull = |more: &[&str]| {
        let call = home.slm([&["pull", "registry.test/library/m", "--insecure", "registry.test"], more].concat());
        call.env("HTTP_PROXY", proxy.url())
    };
    let port = here.address().port();
    for name in ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "LOCALHOST"]
    {
        let location = format!("http://{name}:{port}/cdn/x");
        server.faults(move |seen| match &seen.digest {
            Some(digest) => Fault::Redirect(format!("{location}/{digest}")),
            None => Fault::None,
        });
        let said = pull(&[]).ends(1);
        let is_told = ["--allow-host", "--insecure"].iter().any(|flag| said.stderr.contains(flag));
        assert!(is_told, "{name}: {}", said.stderr);
        assert_eq!(here.seen().len(), 0, "{name}");
        assert!(proxy.asked().iter().all(|host| host == "registry.test"), "{:?}", proxy.asked());
    }
    assert!(files(&home.models()).iter().all(|(path, _)| !path.starts_with(home.models().join("manifests"))));

    // What a person named may be led to, and still gets nobody's password.
    docker_config(&home, "registry.test", "me:secret");
    server.access(Access::Basic("me:secret".to_owned()));
    server.faults(move |seen| match (&seen.digest, &seen.authorization) {
        (Some(digest), Some(_)) => Fault::Redirect(format!("http://network.test/cdn/x/{digest}")),
        _ => Fault::None,
    });
    pull(&["--insecure", "network.test"]).succeeds();
    package.is_in(&home.models(), "registry.test/library/m/latest");
    assert!(here.n_seen(What::Cdn) >= 3 && here.seen().iter().all(|seen| seen.authorization.is_none()));
    assert!(server.seen().iter().any(|seen| seen.authorization.is_some()));
}
