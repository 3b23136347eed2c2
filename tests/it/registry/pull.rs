//! What people rely on when all is well: whole models from real registries, by every way to name one, and no more work than
//! there is.

use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::registry::docker::{self, DockerRegistry, PASSWORD, USER};
use crate::registry::faulty::{Access, Fault, Faulty, What};
use crate::registry::package::{MODEL, Package, blob_path, digest, leftovers, outside_of_the_store};
use crate::slm::{Home, end_within, files, triage_gguf};

const PATIENCE: Duration = Duration::from_secs(120);

/// Docker's configuration with one password, as `docker login` writes it.
pub fn docker_config(home: &Home, host: &str, user: &str) {
    let auth = base64::engine::general_purpose::STANDARD.encode(user);
    std::fs::create_dir_all(home.path().join(".docker")).unwrap();
    home.file(".docker/config.json", serde_json::json!({"auths": {host: {"auth": auth}}}).to_string());
}

#[test]
fn a_model_comes_from_dockers_registry_and_answers() {
    let Some(registry) = DockerRegistry::start(docker::Access::Everybody) else { return };
    let (home, package) = (Home::new(), Package::triage());
    registry.upload("team/m", "v1", &package);
    let name = format!("{}/team/m:v1", registry.host());
    home.slm(["pull", &name]).succeeds();
    package.is_in(&home.models(), &format!("{}/team/m/v1", registry.host()));
    let show = home.slm(["show", &name, "--json"]).json();
    assert_eq!((&show["system"], &show["parameters"]["seed"]), (&"You sort tickets.".into(), &7.into()));
    assert_eq!(home.slm(["run", &name, "--choices", "one,two", "x"]).succeeds().lines().count(), 1);
}

#[test]
fn a_password_in_dockers_configuration_opens_a_registry() {
    let Some(registry) = DockerRegistry::start(docker::Access::OneUser) else { return };
    let package = Package::triage();
    registry.upload("team/m", "v1", &package);
    let name = format!("{}/team/m:v1", registry.host());
    let place = format!("{}/team/m/v1", registry.host());

    let home = Home::new();
    let said = home.slm(["pull", &name]).ends(1);
    let locked = format!(
        "`{0}` requires credentials: run `docker login {0}`, or put a name and a password into Docker's config.json",
        registry.host()
    );
    assert!(said.stderr.contains(&locked), "{}", said.stderr);
    assert_eq!(leftovers(&home.models()), Vec::<String>::new());

    docker_config(&home, &registry.host(), &format!("{USER}:wrong"));
    let said = home.slm(["pull", &name]).ends(1);
    assert!(said.stderr.contains("it refused the credentials") && !said.stderr.contains("wrong"), "{}", said.stderr);

    docker_config(&home, &registry.host(), &format!("{USER}:{PASSWORD}"));
    home.slm(["pull", &name]).succeeds();
    package.is_in(&home.models(), &place);

    // The same file in another place.
    let other = Home::new();
    std::fs::rename(home.path().join(".docker"), other.path().join("elsewhere")).unwrap();
    other.slm(["pull", &name]).env("DOCKER_CONFIG", other.path().join("elsewhere")).succeeds();
    package.is_in(&other.models(), &place);
}

#[test]
fn a_registry_of_choice_stands_in_for_ollamas() {
    let (home, package) = (Home::new(), Package::triage());
    let server = Faulty::serve(&package);
    home.slm(["pull", "m"]).env("SLM_REGISTRY", server.host()).succeeds();
    package.is_in(&home.models(), "registry.ollama.ai/library/m/latest");
    home.slm(["pull", "ns/m:tag"]).env("SLM_REGISTRY", format!("http://{}", server.host())).succeeds();
    package.is_in(&home.models(), "registry.ollama.ai/ns/m/tag");
    let manifests: Vec<_> = server.seen().into_iter().filter(|seen| seen.what == What::Manifest).collect();
    let paths: Vec<_> = manifests.iter().map(|seen| seen.path.as_str()).collect();
    assert_eq!(paths, ["/v2/library/m/manifests/latest", "/v2/ns/m/manifests/tag"]);
    // A registry that is named is asked itself.
    let other = Faulty::serve(&package);
    server.forget();
    home.slm(["pull", &other.model()]).env("SLM_REGISTRY", server.host()).succeeds();
    assert_eq!((server.seen().len(), other.n_seen(What::Manifest)), (0, 1));
}

#[test]
fn a_complete_model_costs_one_small_request() {
    let (home, package) = (Home::new(), Package::random(1, 100_000, &[5000, 0]));
    let server = Faulty::serve(&package);
    home.slm(["pull", &server.model()]).succeeds();
    package.is_in(&home.models(), &server.place());
    assert_eq!(server.n_sent(), package.n_bytes());
    let before = files(&home.models());

    server.forget();
    home.slm(["pull", &server.model()]).succeeds();
    let what: Vec<_> = server.seen().iter().map(|seen| seen.what).collect();
    assert_eq!((what, server.n_sent()), (vec![What::Manifest], 0));
    assert!(files(&home.models()) == before);

    // One layer more: that one alone comes.
    let more = Package::random(1, 100_000, &[5000, 0, 700]);
    server.offer(&more);
    server.forget();
    home.slm(["pull", &server.model()]).succeeds();
    more.is_in(&home.models(), &server.place());
    let config = more.n_bytes() - more.n_weights() - 5700;
    assert_eq!(server.n_sent(), 700 + config);
}

/// As where a store is baked into an image: what is complete is complete there too, and goes to other registries.
#[test]
fn a_store_on_a_read_only_disk_serves_complete_models() {
    let (home, package) = (Home::new(), Package::random(1, 50_000, &[]));
    let server = Faulty::serve(&package);
    home.slm(["pull", &server.model()]).succeeds();
    let read_only = |args: &[&str]| {
        let (folder, slm) = (home.models().display().to_string(), env!("CARGO_BIN_EXE_slm"));
        let mount = format!("mount --bind '{folder}' '{folder}' && mount -o remount,bind,ro '{folder}' || exit 99");
        let script = format!("{{ {mount}; }} 2>/dev/null; exec '{slm}' \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"]).args(args).env("HOME", home.path());
        command.output()
    };
    let complete = match read_only(&["pull", &server.model()]) {
        Ok(output) if output.status.code() != Some(99) && !output.stderr.starts_with(b"unshare") => output,
        _ => return slm_testing::skipped!("nothing can be mounted here"),
    };
    assert_eq!(String::from_utf8_lossy(&complete.stderr), "");
    assert!(String::from_utf8_lossy(&complete.stdout).contains(" is complete ("), "{complete:?}");
    server.offer(&Package::random(2, 50_000, &[]));
    let refused = String::from_utf8(read_only(&["pull", &server.model()]).unwrap().stderr).unwrap();
    assert!(refused.ends_with("choose a folder that can be written to with `SLM_MODELS`\n"), "{refused}");
    if let Some(registry) = DockerRegistry::start(docker::Access::Everybody) {
        let name = format!("{}/team/m:v1", registry.host());
        let pushed = read_only(&["push", &server.model(), "--as", &name]).unwrap();
        assert!(pushed.status.success(), "{pushed:?}");
        assert_eq!(registry.manifest("team/m", "v1"), package.manifest);
    }
}

#[test]
fn a_digest_pins_what_comes() {
    let (home, package) = (Home::new(), Package::random(1, 100_000, &[]));
    let server = Faulty::serve(&package);
    let pinned = digest(&package.manifest);
    home.slm(["pull", &format!("{}:v1@{pinned}", server.model())]).succeeds();
    package.is_in(&home.models(), &format!("{}/library/m/v1", server.host()));
    assert_eq!(server.seen()[0].path, format!("/v2/library/m/manifests/{pinned}"));

    let others = format!("sha256:{}", "0".repeat(64));
    let said = home.slm(["pull", &format!("{}:v2@{others}", server.model())]).ends(1);
    assert!(said.stderr.contains(&pinned) && said.stderr.contains(&others), "{}", said.stderr);
    package.is_in(&home.models(), &format!("{}/library/m/v1", server.host()));
    assert!(!home.models().join(format!("manifests/{}/library/m/v2", server.host())).exists());
}

#[test]
fn a_run_that_had_to_pull_still_ends_its_rows_at_ctrl_c() {
    let (home, package) = (Home::new(), Package::triage());
    let server = Faulty::serve(&package);
    let input: String = (0..3000).map(|n| format!("I was charged twice for order {n}\n")).collect();
    let path = home.file("input", input);
    let args = ["run", &server.model(), "--choices", "one,two", "--lines", "--output", "out", "--verbose"];
    let mut command = home.slm(args).command();
    command.stdin(std::fs::File::open(path).unwrap()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let out = home.path().join("out");
    let started = std::time::Instant::now();
    while std::fs::read(&out).map_or(0, |bytes| bytes.len()) == 0 {
        assert!(started.elapsed() < PATIENCE, "no answer came");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(130));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert!(said.starts_with(&format!("slm: `{}:latest` is not here yet: pulling it\n", server.model())), "{said}");
    // A run that ends in order counts what it has answered.
    let n_lines = std::fs::read_to_string(&out).unwrap().lines().count();
    assert!((1..3000).contains(&n_lines) && said.contains(&format!("{n_lines} rows")), "{n_lines}: {said}");
}

/// Some tools push a list around a single manifest; the model is stored as if there were none.
#[test]
fn a_list_of_one_manifest_is_that_manifest() {
    let (home, package) = (Home::new(), Package::random(1, 50_000, &[]));
    let list = |manifests: &[&Package]| {
        let entry = |of: &&Package| json!({"digest": digest(&of.manifest), "size": of.manifest.len()});
        let json = json!({"schemaVersion": 2, "manifests": manifests.iter().map(entry).collect::<Vec<_>>()});
        let mut blobs = package.blobs.clone();
        blobs.extend(manifests.iter().map(|of| (digest(&of.manifest), of.manifest.clone())));
        Package { manifest: json.to_string().into(), blobs }
    };
    let server = Faulty::serve(&list(&[&package]));
    home.slm(["pull", &server.model()]).succeeds();
    package.is_in(&home.models(), &server.place());

    let other = package.edited(|manifest| manifest["annotations"] = json!({"other": "one"}));
    server.offer(&list(&[&package, &other]));
    let own = digest(&package.manifest);
    let refused = format!(
        "slm: cannot pull `{}:latest`: it is a list of 2 manifests, not a model; name one of them by its digest, as `@{own}`\n",
        server.model()
    );
    home.slm(["pull", &server.model()]).fails(1, &refused);
    home.slm(["pull", &format!("{}@{own}", server.model())]).succeeds();
}

#[test]
fn a_dry_run_of_a_file_copies_nothing() {
    let home = Home::new();
    let n_bytes = triage_gguf().len();
    home.file("m.gguf", triage_gguf());
    assert_eq!(home.slm(["pull", "--dry-run", "m.gguf"]).succeeds(), "m:latest: 1.4 MB to copy\n");
    let layer = json!({"digest": null, "media_type": MODEL, "total": n_bytes, "completed": n_bytes});
    let told = json!({"name": "m:latest", "layers": [layer], "total": n_bytes, "download": 0, "complete": false});
    assert_eq!(home.slm(["pull", "--dry-run", "--json", "m.gguf"]).json(), told);
    let missing = home.slm(["pull", "--dry-run", "none.gguf"]).ends(1).stderr;
    assert_eq!(missing, home.slm(["pull", "none.gguf"]).ends(1).stderr);
    assert!(missing.contains("`none.gguf`"), "{missing}");
    home.file("page.gguf", "<html></html>");
    let page = home.slm(["pull", "--dry-run", "page.gguf"]).ends(1).stderr;
    assert_eq!(page, home.slm(["pull", "page.gguf"]).ends(1).stderr);
}

#[test]
fn a_dry_run_writes_nothing() {
    let (home, package) = (Home::new(), Package::random(1, 3_000_000, &[5000]));
    let server = Faulty::serve(&package);
    let said = home.slm(["pull", "--dry-run", &server.model()]).succeeds();
    assert!(said.contains(&package.weights()[7..19]), "{said}");
    assert_eq!(files(home.path()), []);
    assert_eq!((server.seen().len(), server.n_sent()), (1, 0));
}

#[test]
fn json_lines_are_ollamas() {
    let (home, package) = (Home::new(), Package::random(1, 3_000_000, &[5000]));
    let server = Faulty::serve(&package);
    let lines = home.slm(["pull", "--json", &server.model()]).succeeds();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let status = |line: &Value| line["status"].as_str().unwrap().to_owned();
    assert_eq!(status(&lines[0]), "pulling manifest");
    let ends: Vec<String> = lines[lines.len() - 3..].iter().map(status).collect();
    assert_eq!(ends, ["verifying sha256 digest", "writing manifest", "success"]);
    let middle = &lines[1..lines.len() - 3];
    for (digest, blob) in &package.blobs {
        let of: Vec<&Value> = middle.iter().filter(|line| line["digest"] == digest.as_str()).collect();
        assert!(of.iter().all(|line| status(line) == format!("pulling {}", &digest[7..19])));
        assert!(of.iter().all(|line| line["total"] == blob.len()));
        let completed: Vec<u64> = of.iter().map(|line| line["completed"].as_u64().unwrap_or(0)).collect();
        assert!(completed.is_sorted() && completed.last() == Some(&(blob.len() as u64)), "{completed:?}");
    }
    assert!(middle.iter().all(|line| status(line).starts_with("pulling ")));

    server.faults(|seen| if seen.what == What::Manifest { Fault::Status(404) } else { Fault::None });
    let said = home.slm(["pull", "--json", &server.model()]).ends(1);
    let last: Value = serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap();
    let error = last["error"].as_str().unwrap();
    assert!(error.contains(&server.host()) && error.contains("check the spelling"), "{error}");
}

#[test]
fn several_models_come_one_after_the_other_and_one_failure_is_told() {
    let (home, package) = (Home::new(), Package::random(1, 50_000, &[]));
    let server = Faulty::serve(&package);
    let missing = |path: &str| path.contains("/missing/");
    server.faults(move |seen| if missing(&seen.path) { Fault::Status(404) } else { Fault::None });
    let names = ["a", "missing", "b"].map(|name| format!("{}/library/{name}", server.host()));
    let said = home.slm(std::iter::once("pull").chain(names.iter().map(String::as_str))).ends(1);
    assert!(said.stderr.contains("library/missing"), "{}", said.stderr);
    package.is_in(&home.models(), &format!("{}/library/a/latest", server.host()));
}

#[test]
fn a_file_comes_by_its_address_and_from_this_machine() {
    let (home, server) = (Home::new(), Faulty::serve(&Package::triage()));
    let gguf = triage_gguf();
    let url = server.file("Tri-Age.Q8_0.gguf", gguf.clone(), None);
    home.slm(["pull", &url]).succeeds();
    home.slm(["pull", &url, "--as", "mine:v2"]).succeeds();
    let local = home.file("local.gguf", &gguf);
    home.slm(["pull", local.to_str().unwrap(), "--as", "local"]).succeeds();
    let listed = home.slm(["list"]).succeeds();
    for name in ["Tri-Age.Q8_0:latest", "mine:v2", "local:latest"] {
        assert!(listed.contains(name), "{listed}");
    }
    assert!(std::fs::read(blob_path(&home.models(), &digest(&gguf))).unwrap() == gguf);
    assert!(std::fs::read(local).unwrap() == gguf);
    assert_eq!(home.slm(["run", "mine:v2", "--choices", "one,two", "x"]).succeeds().lines().count(), 1);
    assert_eq!(leftovers(&home.models()), Vec::<String>::new());
}

#[test]
fn a_token_opens_a_registry_and_goes_nowhere_else() {
    let (home, package) = (Home::new(), Package::random(1, 200_000, &[]));
    let server = Faulty::serve(&package);
    let realm = format!("http://{}/token", server.host());
    server.access(Access::Bearer { realm, user: Some("me:secret".to_owned()) });
    docker_config(&home, &server.host(), "me:secret");
    // Blobs come from a content network.
    let network = Faulty::serve(&package);
    let there = network.address();
    server.faults(move |seen| match (&seen.digest, seen.what, &seen.authorization) {
        (Some(digest), What::Blob, Some(_)) => Fault::Redirect(format!("http://{there}/cdn/ticket/{digest}")),
        _ => Fault::None,
    });
    home.slm(["pull", &server.model()]).succeeds();
    package.is_in(&home.models(), &server.place());
    assert!(network.n_seen(What::Cdn) > 0);
    assert!(network.seen().iter().all(|seen| seen.authorization.is_none()));
    let tokens: Vec<_> = server.seen().into_iter().filter(|seen| seen.what == What::Token).collect();
    assert!(tokens[0].path.contains("service=tests"), "{}", tokens[0].path);
    let scope = url::form_urlencoded::byte_serialize(b"repository:library/m:pull").collect::<String>();
    assert!(tokens[0].path.contains(&scope), "{}", tokens[0].path);
    // The password goes to the issuer, the token to the registry.
    let is_basic = |seen: &crate::registry::faulty::Seen| {
        seen.authorization.as_deref().is_some_and(|header| header.starts_with("Basic"))
    };
    assert!(server.seen().iter().all(|seen| is_basic(seen) == (seen.what == What::Token)));
}

#[test]
fn a_token_for_hugging_face_is_for_hugging_face() {
    let (home, package) = (Home::new(), Package::random(1, 200_000, &[]));
    let (server, other) = (Faulty::serve(&package), Faulty::serve(&package));
    let place = home.models().join("manifests/hf.co/user/Repo-GGUF/Q4_K_M");
    let pull = |source: &str| {
        let call = home.slm(["pull", source]).env("HF_ENDPOINT", format!("http://{}", server.host()));
        call.env("HF_TOKEN", "hf_secret")
    };
    pull("hf.co/user/Repo-GGUF:Q4_K_M").succeeds();
    assert!(place.is_file());
    assert!(server.seen().iter().all(|seen| seen.authorization.as_deref() == Some("Bearer hf_secret")));
    assert!(server.seen()[0].path.starts_with("/v2/user/Repo-GGUF/manifests/Q4_K_M"));
    pull(&other.model()).succeeds();
    assert!(other.seen().iter().all(|seen| seen.authorization.is_none()));

    let file = Home::new();
    std::fs::create_dir_all(file.path().join(".cache/huggingface")).unwrap();
    file.file(".cache/huggingface/token", "hf_filed\n");
    server.forget();
    let endpoint = format!("http://{}", server.host());
    file.slm(["pull", "huggingface.co/user/Repo-GGUF"]).env("HF_ENDPOINT", endpoint).succeeds();
    assert!(server.seen().iter().all(|seen| seen.authorization.as_deref() == Some("Bearer hf_filed")));
}

#[test]
fn nothing_is_written_outside_of_the_store() {
    let (home, package) = (Home::new(), Package::random(1, 200_000, &[]));
    let server = Faulty::serve(&package);
    docker_config(&home, &server.host(), "me:secret");
    home.file("mine.txt", "mine");
    let before = outside_of_the_store(&home);
    home.slm(["pull", &server.model()]).succeeds();
    server.faults(|_| Fault::Status(404));
    home.slm(["pull", &format!("{}/library/other", server.host())]).ends(1);
    assert_eq!(outside_of_the_store(&home), before);
}

#[test]
fn two_at_once_share_the_work() {
    let (home, package) = (Home::new(), Package::random(1, 6_000_000, &[300_000]));
    let server = Faulty::serve(&package).with(|_| Fault::Slow { bytes_per_second: 4_000_000 });
    let start = || {
        let mut command = home.slm(["pull", &server.model()]).command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    for child in [start(), start(), start()] {
        assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(0));
    }
    package.is_in(&home.models(), &server.place());
    assert_eq!(server.n_sent(), package.n_bytes());
}

/// What the program writes where a person would see bars: nothing, for nobody is there.
#[test]
fn without_a_terminal_it_is_quiet() {
    let (home, package) = (Home::new(), Package::random(1, 2_000_000, &[]));
    let server = Faulty::serve(&package).with(|_| Fault::Slow { bytes_per_second: 4_000_000 });
    let said = home.slm(["pull", &server.model()]).ends(0);
    assert_eq!(said.stderr, "");
    assert!(said.stdout.lines().count() <= 1 && !said.stdout.contains('\x1b'), "{}", said.stdout);
}

#[test]
fn names_that_cannot_be_are_refused_before_anything_is_asked() {
    let home = Home::new();
    let bad =
        ["a/b/c/d/e", "m:tag:tag", "../m", "m@sha256:12", "", "ftp://host/m.gguf", "http://me:pw@127.0.0.1/m.gguf"];
    for name in bad {
        let said = home.slm(["pull", "--", name]).ends(2);
        assert!(said.stderr.starts_with("slm: ") && !said.stderr.contains("pw@"), "{name}: {}", said.stderr);
        assert!(said.stderr.trim_end().lines().count() == 1, "{}", said.stderr);
    }
    home.slm(["pull"]).ends(2);
    assert_eq!(files(home.path()), []);
}

#[test]
fn a_host_without_tls_must_be_named() {
    let home = Home::new();
    // A name that leads nowhere: it is refused before it is looked up.
    let said = home.slm(["pull", "http://registry.invalid:5000/a/m"]).ends(1);
    assert!(said.stderr.contains("--insecure registry.invalid:5000"), "{}", said.stderr);
    let said = home.slm(["pull", "http://10.1.2.3/file.gguf"]).ends(1);
    assert!(said.stderr.contains("--insecure 10.1.2.3"), "{}", said.stderr);
}

/// Debian's proxy between.
#[test]
fn a_proxy_is_used_and_passed_by() {
    let program = "/usr/bin/tinyproxy";
    if !std::path::Path::new(program).exists() {
        slm_testing::skipped!("`{program}` does not exist (Debian's package tinyproxy)");
        return;
    }
    let (home, package) = (Home::new(), Package::random(1, 500_000, &[]));
    let server = Faulty::serve(&package);
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = socket.local_addr().unwrap();
    drop(socket);
    let log = home.path().join("proxy.log");
    let config = home.file(
        "proxy.conf",
        format!(
            "Port {}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 50\nLogLevel Connect\nLogFile \"{}\"\n",
            proxy.port(),
            log.display()
        ),
    );
    let mut child = Command::new(program).arg("-d").arg("-c").arg(config).stdout(Stdio::null()).spawn().unwrap();
    while std::net::TcpStream::connect(proxy).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "tinyproxy ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pull = || home.slm(["pull", &server.model()]).env("HTTP_PROXY", format!("http://{proxy}"));
    let said = pull().run();
    let passed = std::fs::read_to_string(&log).unwrap().matches(&format!("http://{}/v2/", server.host())).count();
    std::fs::write(&log, "").unwrap();
    let around = pull().env("NO_PROXY", "127.0.0.1").run();
    let passed_around = std::fs::read_to_string(&log).unwrap().matches("/v2/").count();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    package.is_in(&home.models(), &server.place());
    assert!(passed >= 3, "{passed} requests went through the proxy");
    assert_eq!((around.code, passed_around), (Some(0), 0));
}
