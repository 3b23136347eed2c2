//! What people rely on when they share a model: it arrives whole and answers the same, no byte goes twice without need,
//! and what is damaged stays at home.

use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use axum::http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::registry::docker::{Access, DockerRegistry, PASSWORD, USER};
use crate::registry::package::{MANIFEST, Package, blob_path, digest, leftovers, nothing_is_wrong};
use crate::registry::pull::docker_config;
use crate::registry::taker::{Fault, Taker};
use crate::slm::{Home, end_within, files, send};

const PATIENCE: Duration = Duration::from_secs(120);
const PART: u64 = 16 << 20;

/// Puts a model into a home's store as it travels.
fn put(package: &Package, home: &Home, name: &str) {
    let place = home.models().join("manifests").join(name);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::create_dir_all(home.models().join("blobs")).unwrap();
    for (digest, blob) in &package.blobs {
        std::fs::write(blob_path(&home.models(), digest), blob).unwrap();
    }
    std::fs::write(place, &package.manifest).unwrap();
}

/// A home with a model of several parts, and what to say to push it.
fn large() -> (Home, Package) {
    let (home, package) = (Home::new(), Package::random(1, 40 << 20, &[5, 300_000]));
    put(&package, &home, "registry.ollama.ai/me/large/latest");
    (home, package)
}

/// The arguments that push the large model to a server.
fn to(taker: &Taker) -> [String; 4] {
    ["push".to_owned(), "me/large".to_owned(), "--as".to_owned(), format!("{}/team/large:v1", taker.host())]
}

/// Checks that a server has a model, byte for byte.
#[track_caller]
fn arrived(taker: &Taker, package: &Package, repository: &str) {
    assert_eq!(taker.manifest(repository, "v1").as_ref(), Some(&package.manifest));
    for (digest, blob) in &package.blobs {
        assert!(taker.blob(repository, digest).as_ref() == Some(blob), "{digest} has other bytes");
    }
}

fn golden(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lora").join(name).display().to_string()
}

/// What `slm show` says, without what belongs to one place.
fn shown(home: &Home, name: &str) -> Value {
    let mut show = home.slm(["show", name, "--json"]).json();
    let map = show.as_object_mut().unwrap();
    for key in ["name", "modelfile", "modified_at"] {
        map.remove(key).unwrap();
    }
    show
}

/// The answer's own part of `slm run --json`.
fn answered(home: &Home, name: &str) -> Value {
    let answer = home.slm(["run", name, "--json", "my parcel never came"]).json();
    json!([answer["answer"], answer["probabilities"], answer["label_mass"]])
}

#[test]
fn a_tuned_task_is_shared_through_dockers_registry() {
    let Some(registry) = DockerRegistry::start(Access::Everybody) else { return };
    let home = Home::new();
    home.file(
        "rows.jsonl",
        "{\"text\": \"it came\", \"label\": \"yes\"}\n{\"text\": \"it did not\", \"label\": \"no\"}\n",
    );
    home.file(
        "Modelfile",
        format!(
            "FROM {}\nADAPTER {} 0.5\nADAPTER {}\nTEMPLATE {{% for m in messages %}}{{{{ m['content'] }}}} {{% endfor %}}\
             {{% if contract %}}{{% endif %}}\nSYSTEM Be <brief> & kind.\nMESSAGE user where is it\nMESSAGE assistant no\n\
             FORMAT {{\"enum\": [\"yes\", \"no\", \"not yet\"]}}\nPARAMETER seed 7\nLICENSE MIT\nEXAMPLES rows.jsonl k=1\n",
            golden("base.gguf"),
            golden("one"),
            golden("two")
        ),
    );
    home.slm(["create", "desk"]).succeeds();
    let name = format!("{}/team/desk:v1", registry.host());
    let before = home.slm(["show", "desk", "--json"]).json();
    let id = &before["digest"].as_str().unwrap()[..12];
    let pushed = home.slm(["push", "desk", "--as", &name]).succeeds();
    assert!(pushed.starts_with(&format!("pushed {name} ({id}, ")), "{pushed}");
    let own = std::fs::read(home.models().join("manifests/registry.ollama.ai/library/desk/latest")).unwrap();
    assert_eq!(registry.manifest("team/desk", "v1"), own);
    assert_eq!(home.slm(["list"]).succeeds().lines().count(), 3, "the store keeps its own name, and no other");
    assert!(leftovers(&home.models()).is_empty(), "{:?}", leftovers(&home.models()));
    // From now on it could be obtained again, so that nobody is asked before it goes.
    let origin = home.models().join(".slm-origins").join(&digest(&own)[7..]);
    assert_eq!(std::fs::read_to_string(origin).unwrap(), name);

    let other = Home::new();
    other.slm(["pull", &name]).succeeds();
    assert_eq!(shown(&other, &name), shown(&home, "desk"));
    assert_eq!(answered(&other, &name), answered(&home, "desk"));
    nothing_is_wrong(&other.models());

    // Others know all layers but ours, and pass those by whose type they do not know.
    let manifest: Value = serde_json::from_slice(&own).unwrap();
    let types = manifest["layers"].as_array().unwrap().iter().map(|layer| layer["mediaType"].as_str().unwrap());
    let ours: Vec<&str> = types.filter(|kind| !kind.starts_with("application/vnd.ollama.image.")).collect();
    assert_eq!(ours, ["application/vnd.slm.image.format", "application/vnd.slm.image.examples"]);

    // Pushed back as it came, by its full name, it is the same.
    let there = other.slm(["push", &name, "--dry-run", "--json"]).json();
    assert_eq!((&there["upload"], &there["name"]), (&0.into(), &name.as_str().into()));
    other.slm(["push", &name]).succeeds();
    assert_eq!(registry.manifest("team/desk", "v1"), own);
    // Removed, it can be obtained again.
    other.slm(["rm", &name]).succeeds();
    other.slm(["pull", &name]).succeeds();
    assert_eq!(answered(&other, &name), answered(&home, "desk"));
}

#[test]
fn a_large_model_goes_to_dockers_registry_in_parts() {
    let Some(registry) = DockerRegistry::start(Access::Everybody) else { return };
    let (home, package) = large();
    let name = format!("{}/team/large:v1", registry.host());
    let lines = home.slm(["push", "me/large", "--as", &name, "--json"]).succeeds();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({"status": "retrieving manifest"}));
    let weights = package.weights();
    let of_weights: Vec<&Value> = lines.iter().filter(|line| line["digest"] == weights.as_str()).collect();
    let (first, last) = (of_weights[0], of_weights[of_weights.len() - 1]);
    assert_eq!(first["status"], format!("pushing {}", &weights[7..19]));
    assert_eq!((&first["completed"], &last["completed"]), (&0.into(), &package.n_weights().into()));
    assert_eq!(lines[lines.len() - 2..], [json!({"status": "pushing manifest"}), json!({"status": "success"})]);
    let other = Home::new();
    other.slm(["pull", &name]).succeeds();
    package.is_named(&other.models(), &format!("{}/team/large/v1", registry.host()));
}

#[test]
fn the_embedded_model_is_pushed_from_memory() {
    let Some(registry) = DockerRegistry::start(Access::Everybody) else { return };
    let home = Home::new();
    let name = format!("{}/team/triage:v1", registry.host());
    home.slm(["push", "triage", "--as", &name]).succeeds();
    assert!(files(&home.models().join("blobs")).is_empty());
    let other = Home::new();
    other.slm(["pull", &name]).succeeds();
    assert_eq!(shown(&other, &name), shown(&home, "triage"));
}

#[test]
fn who_may_push_is_the_registrys_to_say() {
    let Some(registry) = DockerRegistry::start(Access::OneUser) else { return };
    let home = Home::new();
    let (host, name) = (registry.host(), format!("{}/team/triage:v1", registry.host()));
    let push = || home.slm(["push", "triage", "--as", &name]);
    push().fails(
        1,
        &format!(
            "slm: cannot push `{name}`: `{host}` requires credentials: run `docker login {host}`, or put a name and a \
             password into Docker's config.json\n"
        ),
    );
    docker_config(&home, &host, &format!("{USER}:wrong"));
    let said = push().ends(1).stderr;
    assert!(said.contains("it refused the credentials") && !said.contains("wrong"), "{said}");
    docker_config(&home, &host, &format!("{USER}:{PASSWORD}"));
    push().succeeds();
    let other = Home::new();
    docker_config(&other, &host, &format!("{USER}:{PASSWORD}"));
    other.slm(["pull", &name]).succeeds();
    assert_eq!(shown(&other, &name), shown(&home, "triage"));
}

#[test]
fn a_name_without_a_place_is_not_pushed() {
    let home = Home::new();
    let push = |args: &[&str]| home.slm(args).env("SLM_REGISTRY", "");
    push(&["push", "triage"]).fails(
        2,
        "slm: `triage:latest` does not say where to push it; give a registry with --as, for example `--as registry.example.com/team/triage`\n",
    );
    push(&["push", "a", "b", "--as", "c"])
        .fails(2, "slm: --as names one model, but there are several to push; push them one by one\n");
    push(&["push", "nothing", "--as", "127.0.0.1:1/a/b"])
        .fails(1, "slm: there is no model `nothing:latest`; there are `triage:latest`\n");
    // With a registry of one's own it has one.
    let taker = Taker::serve();
    let pushed = home.slm(["push", "triage"]).env("SLM_REGISTRY", taker.host()).succeeds();
    assert!(pushed.starts_with("pushed triage:latest ("), "{pushed}");
    assert!(taker.manifest("library/triage", "latest").is_some());
}

#[test]
fn a_pinned_name_is_pushed_as_what_it_is() {
    let (taker, home) = (Taker::serve(), Home::new());
    let package = Package::triage();
    put(&package, &home, "registry.ollama.ai/library/m/latest");
    let pinned = format!("m:latest@{}", digest(&package.manifest));
    home.slm(["push", &pinned, "--as", &format!("{}/team/m:v1", taker.host())]).succeeds();
    arrived(&taker, &package, "team/m");
    let wrong = format!("m:latest@{}", digest(b"another"));
    home.slm(["push", &wrong, "--as", &format!("{}/team/m:v1", taker.host())]).fails(
        1,
        &format!(
            "slm: cannot push `{wrong}`: its manifest has the digest `{}`, not `{}`; remove the digest to push it\n",
            digest(&package.manifest),
            digest(b"another")
        ),
    );
}

#[test]
fn what_another_repository_has_is_not_uploaded() {
    let (taker, (home, package)) = (Taker::serve(), large());
    home.slm(to(&taker)).succeeds();
    arrived(&taker, &package, "team/large");
    assert_eq!(taker.n_came(), package.n_bytes());
    let manifests: Vec<_> =
        taker.seen_of(Method::PUT).into_iter().filter(|put| put.path.contains("manifests")).collect();
    assert_eq!(manifests.len(), 1);
    assert_eq!(manifests[0].content_type.as_deref(), Some(MANIFEST));

    taker.forget();
    home.slm(["push", "me/large", "--as", &format!("{}/others/copy:v1", taker.host())]).succeeds();
    arrived(&taker, &package, "others/copy");
    assert_eq!(taker.n_came(), 0);

    // Whole already: looked at, and given its manifest again.
    taker.forget();
    home.slm(to(&taker)).succeeds();
    let methods: Vec<Method> = taker.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods.len(), package.blobs.len() + 1);
    assert_eq!((methods.last(), taker.n_came()), (Some(&Method::PUT), 0));
}

#[test]
fn a_mount_that_is_refused_becomes_an_upload() {
    let Some(registry) = DockerRegistry::start(Access::Everybody) else { return };
    let (home, package) = (Home::new(), Package::triage());
    // The store believes that the registry has it there; it has not.
    put(&package, &home, &format!("{}/elsewhere/m/v1", registry.host()));
    let [from, to] = ["elsewhere/m:v1", "team/m:v1"].map(|name| format!("{}/{name}", registry.host()));
    home.slm(["push", &from, "--as", &to]).succeeds();
    assert_eq!(registry.manifest("team/m", "v1"), package.manifest);
}

#[test]
fn nothing_is_written_by_a_dry_run() {
    let (taker, (home, package)) = (Taker::serve(), large());
    let said = home.slm(to(&taker).iter().map(String::as_str).chain(["--dry-run"])).succeeds();
    assert_eq!(said.lines().count(), package.blobs.len() + 2);
    assert!(said.ends_with("43 MB of 43 MB to upload\n"), "{said}");
    assert!(taker.seen().iter().all(|seen| seen.method == Method::HEAD), "{:?}", taker.seen());
    assert!(leftovers(&home.models()).is_empty());
}

#[test]
fn a_killed_push_goes_on_where_it_was() {
    let (taker, (home, package)) = (Taker::serve(), large());
    taker.faults(|seen| match seen.method {
        Method::PATCH => Fault::Slow { bytes_per_second: 30 << 20 },
        _ => Fault::None,
    });
    for stop in [PART / 2, PART + PART / 2, 2 * PART + PART / 8] {
        let mut child = home.slm(to(&taker)).command().spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while taker.n_came() < stop && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(taker.n_came() < package.n_bytes(), "it was too fast for this test");
        // What is on the line still comes.
        std::thread::sleep(Duration::from_millis(500));
    }
    home.slm(to(&taker)).succeeds();
    arrived(&taker, &package, "team/large");
    let twice = taker.n_came() - package.n_bytes();
    println!("sent twice over three kills: {twice} of {} bytes", package.n_bytes());
    assert!(twice <= package.n_bytes() / 20, "{twice}");
    assert!(leftovers(&home.models()).is_empty(), "{:?}", leftovers(&home.models()));
}

#[test]
fn control_c_ends_a_push_that_can_go_on() {
    let (taker, (home, package)) = (Taker::serve(), large());
    taker.faults(|seen| match seen.method {
        Method::PATCH => Fault::Slow { bytes_per_second: 30 << 20 },
        _ => Fault::None,
    });
    let mut command = home.slm(to(&taker)).command();
    let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while taker.n_came() < PART + PART / 4 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    send(Signal::INT, child.id());
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(130));
    home.slm(to(&taker)).succeeds();
    arrived(&taker, &package, "team/large");
    assert!(taker.n_came() <= package.n_bytes() + package.n_bytes() / 20);
}

#[test]
fn what_a_server_asks_for_is_done_and_what_it_forgets_begun_anew() {
    let (home, package) = large();
    let later = |status| Fault::Answer(status, "retry-after", "1", "");
    let plain = |status| Fault::Answer(status, "x-tests", "", "");
    type Choose = Box<dyn Fn(&crate::registry::taker::Seen) -> Fault + Send + Sync>;
    let one = |method: Method, index: usize, fault: Fault| -> Choose {
        Box::new(move |seen| if seen.method == method && seen.index == index { fault.clone() } else { Fault::None })
    };
    let weights = package.weights().replace(':', "%3A");
    let is_first = std::sync::atomic::AtomicBool::new(true);
    let wrong_once: Choose = Box::new(move |seen| match seen.path.contains(&weights) && is_first.swap(false, SeqCst) {
        true => plain(400),
        false => Fault::None,
    });
    // By how much the bytes may be more than the model's.
    let cases: Vec<(&str, Choose, u64)> = vec![
        ("429 on a part", one(Method::PATCH, 1, later(429)), 0),
        ("503 at the end", one(Method::PUT, 0, later(503)), 0),
        ("500 on a part", one(Method::PATCH, 1, plain(500)), 0),
        // The part before, and what came of the next one until the refusal was heard.
        ("forgotten", one(Method::PATCH, 1, Fault::Forgotten), 2 * PART),
        ("no answer to a part", one(Method::PATCH, 1, Fault::Unanswered), 0),
        ("416 on a part", one(Method::PATCH, 1, plain(416)), 0),
        ("silence", one(Method::PATCH, 1, Fault::Silence), 0),
        ("wrong digest once", wrong_once, package.n_weights()),
    ];
    for (case, choose, more) in cases {
        let taker = Taker::serve();
        taker.faults(choose);
        let began = Instant::now();
        // Nothing else may look like a silence, however busy the machine is.
        let stall = if case == "silence" { "1" } else { "15" };
        let said = home.slm(to(&taker)).env("SLM_STALL_SECONDS", stall).run();
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{case}: {}", said.stdout);
        arrived(&taker, &package, "team/large");
        // A refusal in the middle of a part may be lost with its line; one at the end is heard, and waited for.
        if case.starts_with("503") {
            assert!(began.elapsed() >= Duration::from_secs(1), "{case}");
        }
        let twice = taker.n_came() - package.n_bytes();
        println!("{case}: {twice} bytes twice");
        assert!(twice <= more, "{case}: {twice}");
    }
}

#[test]
fn a_registry_without_parts_gets_blobs_whole() {
    for status in [404, 405, 416] {
        let (taker, (home, package)) = (Taker::serve(), large());
        taker.faults(move |seen| match seen.method {
            Method::PATCH => Fault::Answer(status, "x-tests", "", ""),
            _ => Fault::None,
        });
        home.slm(to(&taker)).succeeds();
        arrived(&taker, &package, "team/large");
        assert_eq!(taker.n_came(), package.n_bytes());
    }
}

#[test]
fn parts_are_as_large_as_a_registry_wants() {
    let (taker, (home, package)) = (Taker::serve(), large());
    taker.least(20 << 20);
    home.slm(to(&taker)).succeeds();
    arrived(&taker, &package, "team/large");
    let sizes: Vec<u64> = taker.seen_of(Method::PATCH).iter().map(|seen| seen.n_bytes).collect();
    assert_eq!(sizes, [20 << 20, 20 << 20, package.n_weights() - (40 << 20)]);
}

#[test]
fn credentials_stay_with_the_registry() {
    let (taker, elsewhere, (home, package)) = (Taker::serve(), Taker::serve(), large());
    taker.uploads_at(&format!("http://{}", elsewhere.host()));
    taker.wants("Basic bWU6b3BlbiBzZXNhbWU=");
    docker_config(&home, &taker.host(), "me:open sesame");
    home.slm(to(&taker)).succeeds();
    assert_eq!(elsewhere.n_came(), package.n_bytes());
    assert!(elsewhere.seen().iter().all(|seen| seen.authorization.is_none()), "{:?}", elsewhere.seen());
    assert!(taker.manifest("team/large", "v1").is_some());

    // A private address that nobody named is not contacted.
    let taker = Taker::serve();
    taker.uploads_at("https://10.1.2.3");
    let name = format!("{}/team/large:v1", taker.host());
    home.slm(to(&taker)).fails(
        1,
        &format!(
            "slm: cannot push `{name}`: `{}` redirects to `10.1.2.3:443`, which is not a public address; if you trust that host, use \
             `--allow-host 10.1.2.3:443`\n",
            taker.host()
        ),
    );
}

#[test]
fn a_refusal_is_a_sentence() {
    let (home, package) = large();
    let denied = r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#;
    let weights = &package.weights()[7..19];
    let cases = [
        (
            Method::POST,
            Fault::Answer(403, "x-tests", "", denied),
            "`HOST` does not allow you to push to `team/large`: not yours; check the name, and that the account in Docker's config.json \
             may write there"
                .to_owned(),
        ),
        (
            Method::POST,
            Fault::Answer(404, "x-tests", "", ""),
            "`HOST` does not allow you to push to `team/large`: it has no such place; check the name, and that the account in \
             Docker's config.json may write there"
                .to_owned(),
        ),
        (
            Method::POST,
            Fault::Answer(202, "x-tests", "", ""),
            "`HOST` answered with an upload without an address, which slm does not understand".to_owned(),
        ),
        (
            Method::PUT,
            Fault::Answer(400, "x-tests", "", r#"{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}"#),
            format!(
                "`HOST` refused the upload of `{weights}`: other bytes: it was damaged in transit, or the registry is wrong; \
                 the same command continues from what the registry has"
            ),
        ),
    ];
    for (method, fault, expected) in cases {
        let taker = Taker::serve();
        let weights = package.weights().replace(':', "%3A");
        taker.faults(move |seen| {
            let is_it = seen.method == method && (method == Method::POST || seen.path.contains(&weights));
            if is_it { fault.clone() } else { Fault::None }
        });
        let name = format!("{}/team/large:v1", taker.host());
        let expected = format!("slm: cannot push `{name}`: {expected}\n").replace("HOST", &taker.host());
        home.slm(to(&taker)).fails(1, &expected);
        assert_eq!(taker.manifest("team/large", "v1"), None);
    }
}

#[test]
fn a_manifest_that_a_registry_understands_otherwise_is_told() {
    let (taker, home) = (Taker::serve(), Home::new());
    let other = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    taker.faults(move |seen| match seen.path.contains("/manifests/") {
        true => Fault::Answer(201, "docker-content-digest", other, ""),
        false => Fault::None,
    });
    let said = home.slm(["push", "triage", "--as", &format!("{}/team/m:v1", taker.host())]).ends(1).stderr;
    assert!(said.contains(&format!("has the digest `{other}`, not `sha256:")), "{said}");
}

#[test]
fn damaged_blobs_stay_at_home() {
    // In the last part, in an earlier one, in a small blob.
    for (which, at) in [("weights", 41 << 20), ("weights", 3 << 20), ("small", 2)] {
        let (taker, (home, package)) = (Taker::serve(), large());
        let digest = match which {
            "weights" => package.weights(),
            _ => package.blobs.iter().find(|(_, blob)| blob.len() == 5).unwrap().0.clone(),
        };
        let path = blob_path(&home.models(), &digest);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = if at >= bytes.len() { bytes.len() - 1 } else { at };
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let name = format!("{}/team/large:v1", taker.host());
        let found = crate::registry::package::digest(&bytes);
        home.slm(to(&taker)).fails(
            1,
            &format!(
                "slm: cannot push `{name}`: the content of its blob `{digest}` does not match its hash (it is `{found}`); check the store with `slm verify`, and pull or create the model again\n"
            ),
        );
        assert_eq!((taker.blob("team/large", &digest), taker.manifest("team/large", "v1")), (None, None));
    }
    // One that is missing is told before anything is sent.
    let (taker, (home, package)) = (Taker::serve(), large());
    let path = blob_path(&home.models(), &package.weights());
    std::fs::remove_file(&path).unwrap();
    home.slm(to(&taker))
        .fails(1, &format!("slm: the blob `{}` is missing; create or pull the model again\n", path.display()));
    assert!(taker.seen().is_empty());
}
