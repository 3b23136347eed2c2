//! `slm rm`, `cp`, `verify` and `prune`: what goes, what stays, and what they say of a store that is damaged.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::registry::faulty::{Fault, Faulty, What};
use crate::registry::package::{Package, blob_path};
use crate::slm::{Home, end_within, files};

const HOUR: u64 = 3600;

/// A home with a model of ours, which nobody pulled.
fn home_with(names: &[&str]) -> Home {
    let home = Home::new();
    home.file("Modelfile", "FROM triage\nSYSTEM x");
    for name in names {
        home.slm(["create", name]).succeeds();
    }
    home
}

fn manifest(home: &Home, name: &str) -> PathBuf {
    home.models().join("manifests/registry.ollama.ai/library").join(name).join("latest")
}

fn blobs(home: &Home) -> Vec<PathBuf> {
    files(&home.models().join("blobs")).into_iter().map(|(path, _)| path).collect()
}

/// The blob of a layer, by the last word of its media type.
fn blob(home: &Home, name: &str, kind: &str) -> PathBuf {
    let manifest: Value = serde_json::from_slice(&fs::read(manifest(home, name)).unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let layer = layers.iter().find(|layer| layer["mediaType"].as_str().unwrap().ends_with(kind)).unwrap();
    home.models().join("blobs").join(layer["digest"].as_str().unwrap().replace(':', "-"))
}

fn short(blob: &Path) -> String {
    blob.file_name().unwrap().to_str().unwrap()["sha256-".len()..][..12].to_owned()
}

fn make_older(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

fn origin(home: &Home, name: &str, source: &str) {
    let digest = home.slm(["show", name, "--json"]).json()["digest"].as_str().unwrap().to_owned();
    let folder = home.models().join(".slm-origins");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(digest), source).unwrap();
}

/// A pull of another process's that needs these bytes: the file that it would hold, and its lock.
struct Lease(std::process::Child);

impl Lease {
    fn of(home: &Home, digests: &str) -> Lease {
        let folder = home.models().join(".slm-downloads");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("lease-1-1");
        fs::write(&path, digests).unwrap();
        let child = std::process::Command::new("flock")
            .args(["--exclusive", "--no-fork"])
            .arg(&path)
            .args(["sleep", "600"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while File::open(&path).unwrap().try_lock_shared().is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Lease(child)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn what_was_made_here_goes_only_where_somebody_says_so() {
    let home = home_with(&["mine"]);
    let before = files(&home.models());
    let refused = "slm: `mine:latest` was not downloaded by slm and may be lost for good; remove it with --yes\n";
    home.slm(["rm", "mine"]).fails(1, refused);
    // An answer that nobody typed is none.
    home.slm(["rm", "mine"]).stdin("y\n").fails(1, refused);
    assert_eq!(files(&home.models()), before);
    let said = home.slm(["rm", "mine", "--yes"]).succeeds();
    assert!(said == "removed mine:latest (1.4 MB freed)\n", "{said}");
    assert_eq!(files(&home.models()), []);
    // As people type it.
    home.file("Modelfile", "FROM triage");
    home.slm(["create", "mine"]).succeeds();
    home.slm(["rm", "-f", "mine"]).succeeds();
    assert_eq!(files(&home.models()), []);
}

/// At a terminal, which `script` pretends to be.
#[test]
fn a_person_is_asked() {
    if !Path::new("/usr/bin/script").exists() {
        slm_testing::skipped!("`/usr/bin/script` does not exist");
        return;
    }
    let home = home_with(&["mine"]);
    let before = files(&home.models());
    let answered = |answer: &str| {
        let slm = format!("{} rm mine", env!("CARGO_BIN_EXE_slm"));
        let mut script = std::process::Command::new("/usr/bin/script");
        script.args(["-qec", &slm, "/dev/null"]).env_clear().env("HOME", home.path()).env("PATH", "/usr/bin:/bin");
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap().replace('\r', ""))
    };
    let question = "slm: `mine:latest` was not downloaded by slm and may be lost for good. Remove it? [y/N] ";
    for no in ["n\n", "\n", "yess\n", "\u{4}"] {
        let (code, said) = answered(no);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(question) && said.ends_with("slm: nothing was removed\n"), "{said}");
        assert_eq!(files(&home.models()), before);
    }
    let (code, said) = answered("Y\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(question) && said.ends_with("removed mine:latest (1.4 MB freed)\n"), "{said}");
    assert_eq!(files(&home.models()), []);
}

#[test]
fn what_can_be_had_again_goes_without_a_question() {
    let home = home_with(&["pulled", "local"]);
    home.slm(["create", "plain", "-f", home.file("Plain", "FROM triage").to_str().unwrap()]).succeeds();
    origin(&home, "pulled", "hf.co/somebody/something");
    // It is in the binary too.
    home.slm(["rm", "plain"]).succeeds();
    // Both names are one model: with both, it would go. With one, nothing is lost.
    home.slm(["rm", "pulled"]).succeeds();
    let refused = "slm: `local:latest` was not downloaded by slm and may be lost for good; remove it with --yes\n";
    // The other name's note went with the last of its manifests, or stays with it.
    origin(&home, "local", "/nowhere/model.gguf");
    home.slm(["rm", "local"]).fails(1, refused);
    origin(&home, "local", home.file("model.gguf", "").to_str().unwrap());
    home.slm(["rm", "local"]).succeeds();
    assert_eq!(files(&home.models()), []);
}

#[test]
fn several_go_together_or_none() {
    let home = home_with(&["a", "b", "kept"]);
    home.file("Modelfile", "FROM triage\nSYSTEM y");
    home.slm(["create", "c"]).succeeds();
    let before = files(&home.models());
    let said = home.slm(["rm", "a", "nothing", "--yes"]).ends(1);
    assert_eq!(
        said.stderr,
        "slm: there is no model `nothing:latest`; there are `a:latest`, `b:latest`, `c:latest`, `kept:latest`, \
         `triage:latest`\n"
    );
    home.slm(["rm", "a", "triage", "--yes"])
        .fails(1, "slm: the embedded model `triage:latest` is part of slm and cannot be removed\n");
    home.slm(["rm", "c", "a", "b", "kept"]).fails(
        1,
        "slm: `c:latest`, `a:latest`, `b:latest` and `kept:latest` were not downloaded by slm and may be lost for good; \
         remove them with --yes\n",
    );
    assert_eq!(files(&home.models()), before);
    home.slm(["rm", "../../x"]).fails(
        2,
        "slm: `../../x` is not a model name: its host begins with `.`, not with a letter, a digit or `_`; write \
         `[host/][namespace/]model[:tag]`, for example `llama3.2:1b`\n",
    );

    // `kept` has the same manifest: nothing of it is lost, and no blob goes.
    let removed = home.slm(["remove", "a", "b", "a", "--json"]).json();
    let names: Vec<&str> = removed["removed"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!((names, &removed["freed"]), (vec!["a:latest", "b:latest"], &json!(0)));
    home.slm(["verify"]).succeeds();
    assert_eq!(home.slm(["list"]).succeeds().lines().count(), 4);
}

#[test]
fn a_copy_is_the_same_model_and_replaces_nothing_unasked() {
    let home = home_with(&["a"]);
    let digest = home.slm(["show", "a", "--json"]).json()["digest"].clone();
    let n_blobs = blobs(&home).len();
    let copied = home.slm(["cp", "a", "me/b:1", "--json"]).json();
    assert_eq!(copied, json!({ "source": "a:latest", "destination": "me/b:1", "digest": digest }));
    assert_eq!(blobs(&home).len(), n_blobs);
    let bytes = |path: PathBuf| fs::read(path).unwrap();
    assert_eq!(bytes(manifest(&home, "a")), bytes(home.models().join("manifests/registry.ollama.ai/me/b/1")));
    // Again, and onto one that can be obtained again.
    home.slm(["cp", "a", "me/b:1"]).succeeds();
    home.slm(["cp", "triage", "c"]).succeeds();
    home.slm(["cp", "a", "c"]).succeeds();

    home.file("Modelfile", "FROM triage\nSYSTEM other");
    home.slm(["create", "d"]).succeeds();
    home.slm(["cp", "a", "d"])
        .fails(1, "slm: `d:latest` was not downloaded by slm and may be lost for good; replace it with --yes\n");
    assert_ne!(home.slm(["show", "d", "--json"]).json()["digest"], digest);
    home.slm(["cp", "a", "d", "--yes"]).succeeds();
    assert_eq!(home.slm(["show", "d", "--json"]).json()["digest"], digest);

    home.slm(["cp", "a", "a:latest"]).fails(2, "slm: `a:latest` already has this name; give another destination\n");
    assert_eq!(home.slm(["cp", "nothing", "x"]).ends(1).stderr.lines().count(), 1);
}

/// A digest after a name is a condition, not a decoration.
#[test]
fn a_digest_that_a_model_has_not_keeps_it_from_being_taken() {
    let home = home_with(&["mine"]);
    let digest = home.slm(["show", "mine", "--json"]).json()["digest"].as_str().unwrap().to_owned();
    let (own, zeros) = (format!("mine:latest@sha256:{digest}"), "0".repeat(64));
    let other = format!("mine:latest@sha256:{zeros}");
    let here = format!("slm: `mine:latest` is `sha256:{digest}` here, not `sha256:{zeros}`;");
    let refused = format!("{here} remove the digest to use the one that is here\n");
    home.slm(["rm", "--yes", &other]).fails(1, &refused);
    home.slm(["verify", &other]).fails(1, &refused);
    home.slm(["cp", &other, "copy"]).fails(1, &format!("{here} `slm pull {other}` downloads that one\n"));

    home.slm(["verify", &own]).succeeds();
    home.slm(["cp", &own, "copy"]).succeeds();
    home.slm(["rm", "--yes", &own]).succeeds();
    assert!(!manifest(&home, "mine").exists() && manifest(&home, "copy").exists());
}

#[test]
fn the_embedded_model_can_be_copied() {
    let home = Home::new();
    let said = home.slm(["cp", "triage", "mine"]).succeeds();
    assert!(said.starts_with("copied triage:latest to mine:latest ("), "{said}");
    let answer = |model: &str| home.slm(["run", model, "I was charged twice", "--json"]).json()["answer"].clone();
    assert_eq!(answer("mine"), answer("triage"));
    home.slm(["verify"]).succeeds();
}

#[test]
fn verify_tells_every_kind_of_damage_and_pull_is_what_heals_it() {
    let home = home_with(&["good", "bad"]);
    let whole = home.slm(["verify"]).succeeds();
    let lines: Vec<Vec<&str>> = whole.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["MODEL", "LAYER", "BLOB", "SIZE", "STATE"]);
    assert!(lines[1..].iter().all(|line| line.last() == Some(&"ok")), "{whole}");
    assert_eq!(whole.matches("model ").count(), 2);

    home.file("Modelfile", "FROM triage\nSYSTEM other\nMESSAGE user hi\nPARAMETER seed 3");
    home.slm(["create", "bad"]).succeeds();
    let [system, messages, params] = ["system", "messages", "params"].map(|kind| blob(&home, "bad", kind));
    fs::write(&system, "othEr").unwrap();
    let n_bytes = fs::metadata(&messages).unwrap().len();
    fs::write(&messages, "[]").unwrap();
    fs::remove_file(&params).unwrap();
    let said = home.slm(["verify"]).ends(1);
    let state = |blob: &Path| {
        let line = said.stdout.lines().find(|line| line.contains(&short(blob))).unwrap();
        line.split("  ").last().unwrap().trim().to_owned()
    };
    assert_eq!(
        [state(&system), state(&messages), state(&params)],
        ["hash mismatch", &format!("wrong size: 2 bytes, not {n_bytes}"), "missing"].map(str::to_owned)
    );
    assert_eq!(
        said.stderr,
        "slm: `bad:latest` is damaged: `slm pull bad:latest` repairs it if it came from a registry; otherwise create it again\nslm: 1 of 2 models damaged\n"
    );
    home.slm(["verify", "good"]).succeeds();

    origin(&home, "good", "hf.co/a/b");
    fs::write(manifest(&home, "worse").with_file_name("x"), "").unwrap_err();
    fs::create_dir_all(manifest(&home, "worse").parent().unwrap()).unwrap();
    fs::write(manifest(&home, "worse"), "{").unwrap();
    let weights = blob(&home, "good", "model");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let said = home.slm(["verify", "--json"]).ends(1);
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&json["ok"], json["broken"].as_array().unwrap().len()), (&json!(false), 1));
    let good = &json["models"].as_array().unwrap()[1];
    assert_eq!(
        (&good["name"], &good["ok"], &good["origin"]),
        (&json!("good:latest"), &json!(false), &json!("hf.co/a/b"))
    );
    let states: Vec<&str> = good["blobs"].as_array().unwrap().iter().map(|b| b["state"].as_str().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "hash mismatch").count(), 1);
    assert!(
        said.stderr.contains("slm: `good:latest` is damaged: `slm pull hf.co/a/b` repairs it\n"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.ends_with("slm: 3 of 3 models damaged\n"), "{}", said.stderr);
}

#[test]
fn verify_of_nothing_is_well() {
    let home = Home::new();
    assert_eq!(home.slm(["verify"]).succeeds(), "");
    assert_eq!(home.slm(["verify", "--json"]).json(), json!({ "ok": true, "models": [], "broken": [] }));
    let said = home.slm(["verify", "triage"]).ends(0);
    assert_eq!(said.stderr, "slm: `triage:latest` is part of slm: it has no files to verify\n");
    assert_eq!(files(home.path()), []);
    home.slm(["verify", "x"]).fails(1, "slm: there is no model `x:latest`; there are `triage:latest`\n");
}

#[test]
fn verify_reads_a_store_that_cannot_be_written_to() {
    let home = home_with(&["a"]);
    let folders = [home.models(), home.models().join("blobs")];
    let system = blob(&home, "a", "system");
    fs::write(&system, "y").unwrap();
    let set = |mode| folders.iter().for_each(|f| fs::set_permissions(f, fs::Permissions::from_mode(mode)).unwrap());
    set(0o555);
    let said = home.slm(["verify"]).ends(1);
    // Removal says what stops it, where anything does (it does not stop root).
    let removed = home.slm(["rm", "a", "--yes"]).run();
    set(0o755);
    assert!(said.stdout.contains("hash mismatch"), "{}", said.stdout);
    if removed.code == Some(1) {
        assert!(removed.stderr.contains("Permission denied"), "{}", removed.stderr);
        assert!(manifest(&home, "a").exists());
    }
}

#[test]
fn ctrl_c_ends_verify() {
    let home = home_with(&["a"]);
    let weights = blob(&home, "a", "model");
    // Long enough to be interrupted, and no byte of the disk: a hole.
    let n_bytes = 64 << 30;
    File::options().write(true).open(&weights).unwrap().set_len(n_bytes).unwrap();
    let path = manifest(&home, "a");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json["layers"][0]["size"] = n_bytes.into();
    fs::write(&path, json.to_string()).unwrap();
    let before = files(&home.models().join("manifests"));
    let mut command = home.slm(["verify"]).command();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let status = end_within(child, Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert_eq!(files(&home.models().join("manifests")), before);
}

#[test]
fn models_that_go_while_they_are_verified_are_no_damage() {
    let home = home_with(&["a", "kept"]);
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for n in 0..30 {
                home.file("Other", format!("FROM triage\nSYSTEM {n}"));
                home.slm(["create", "b", "-f", "Other", "--yes"]).succeeds();
                home.slm(["rm", "b", "--yes"]).succeeds();
            }
        });
        while !changes.is_finished() {
            home.slm(["verify"]).succeeds();
        }
    });
}

#[test]
fn prune_frees_what_nothing_needs_and_nothing_else() {
    let home = home_with(&["a"]);
    let folder = home.models().join("blobs");
    let outside = home.file("outside", "not ours");
    let named = |text: &str| folder.join(format!("sha256-{text:0>64}"));
    let [old, young, link, folder_of_blob] = ["1", "2", "3", "4"].map(named);
    fs::write(&old, "12345").unwrap();
    make_older(&old, 2 * HOUR);
    fs::write(&young, "123").unwrap();
    symlink(&outside, &link).unwrap();
    fs::create_dir(&folder_of_blob).unwrap();
    fs::write(folder.join("notes.txt"), "a person's").unwrap();
    make_older(&folder.join("notes.txt"), 9999 * HOUR);
    let before = files(&home.models());
    let kept = "slm: 1 blob (3 B) stays: another program may be about to use it; --all removes it\n";
    let name = old.file_name().unwrap().to_str().unwrap().to_owned();

    let said = home.slm(["prune", "--dry-run"]).ends(0);
    assert_eq!(
        (said.stdout, said.stderr.as_str()),
        (format!("KIND  SIZE  FILE\nblob  5 B   {name}\n5 B would be freed\n"), kept)
    );
    assert_eq!(files(&home.models()), before);
    let said = home.slm(["prune"]).ends(0);
    assert_eq!(
        (said.stdout, said.stderr.as_str()),
        (format!("KIND  SIZE  FILE\nblob  5 B   {name}\n5 B freed\n"), kept)
    );
    let said = home.slm(["prune", "--all", "--json"]).json();
    assert_eq!(
        said,
        json!({ "dry_run": false, "freed": 3, "kept": [], "broken": [], "failed": [],
                "removed": [{ "path": young.to_str().unwrap(), "kind": "blob", "size": 3 }] })
    );
    assert_eq!(home.slm(["prune", "--all", "--partial"]).succeeds(), "nothing to prune\n");
    assert!(link.is_symlink() && folder_of_blob.is_dir() && outside.exists() && folder.join("notes.txt").exists());
    home.slm(["verify"]).succeeds();
}

/// Another program's pull writes its small blobs first and its manifest last, hours later perhaps.
#[test]
fn blobs_stay_while_an_ollama_downloads_into_the_same_store() {
    let home = home_with(&["a"]);
    let blob = home.models().join("blobs").join(format!("sha256-{:0>64}", "1"));
    let download = home.models().join("blobs").join(format!("sha256-{:0>64}-partial", "2"));
    fs::write(&blob, "12345").unwrap();
    make_older(&blob, 2 * HOUR);
    fs::write(&download, "1").unwrap();
    let said = home.slm(["prune"]).ends(0);
    assert_eq!(said.stdout, "nothing to prune\n");
    assert!(blob.exists() && download.exists());
    // Nobody has written to it for two hours: then it is not a pull that continues.
    make_older(&download, 2 * HOUR);
    home.slm(["prune"]).ends(0);
    assert!(!blob.exists() && download.exists());
}

#[test]
fn prune_of_nothing_makes_nothing() {
    let home = Home::new();
    assert_eq!(home.slm(["prune"]).succeeds(), "nothing to prune\n");
    assert_eq!(files(home.path()), []);
    assert!(!home.models().exists());
}

#[test]
fn downloads_stay_while_somebody_is_at_them_or_soon_may_be() {
    let home = home_with(&["a"]);
    let folder = home.models().join(".slm-downloads");
    fs::create_dir_all(&folder).unwrap();
    let [old, young, busy, lone] = ["1", "2", "3", "4"].map(|text| folder.join(format!("sha256-{text:0>64}")));
    let ollama = home.models().join("blobs").join(format!("sha256-{:0>64}-partial", "5"));
    let journal = |path: &Path| PathBuf::from(format!("{}.parts", path.display()));
    for path in [&old, &young, &busy] {
        fs::write(path, "12345").unwrap();
        fs::write(journal(path), "1").unwrap();
    }
    fs::write(journal(&lone), "1").unwrap();
    fs::write(&ollama, "1").unwrap();
    for path in [&old, &busy, &journal(&old), &journal(&busy), &journal(&lone), &ollama] {
        make_older(path, 30 * HOUR);
    }
    let lock = File::open(&busy).unwrap();
    lock.lock().unwrap();
    let said = home.slm(["prune"]).ends(0);
    assert_eq!(
        said.stderr,
        "slm: 2 downloads (7 B) stay: it may still be resumed; --partial removes downloads that no process is using, Ollama's after a day\n\
         slm: 1 file (6 B) stays: a pull needs it\n"
    );
    let left = || -> Vec<PathBuf> { files(&folder).into_iter().map(|(path, _)| path).collect() };
    assert_eq!(left(), [&young, &journal(&young), &busy, &journal(&busy)].map(Clone::clone));
    // Leased, though nobody is at it just now.
    let lease = Lease::of(&home, &format!("sha256:{:0>64}\n", "2"));
    home.slm(["prune", "--partial"]).ends(0);
    assert!(young.exists() && journal(&young).exists() && busy.exists() && !ollama.exists());
    drop(lease);
    home.slm(["prune", "--partial"]).ends(0);
    assert_eq!(left(), [&busy, &journal(&busy)].map(Clone::clone));
}

#[test]
fn a_pull_in_progress_keeps_its_blobs_from_rm_and_prune_until_it_is_killed() {
    let home = home_with(&["a"]);
    let weights = blob(&home, "a", "model");
    let digest = weights.file_name().unwrap().to_str().unwrap().replace('-', ":");
    let lease = Lease::of(&home, &format!("{digest}\n"));
    home.slm(["rm", "a", "--yes"]).succeeds();
    assert_eq!(blobs(&home), std::slice::from_ref(&weights));
    make_older(&weights, 2 * HOUR);
    let said = home.slm(["prune", "--all", "--partial"]).ends(0);
    assert!(weights.exists());
    assert_eq!(said.stdout, "nothing to prune\n");
    assert!(said.stderr.ends_with(" stays: a pull needs it\n"), "{}", said.stderr);
    drop(lease);
    let said = home.slm(["prune", "--json"]).json();
    let kinds: Vec<&str> =
        said["removed"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["blob", "leftover"]);
    assert_eq!(files(&home.models()), []);
}

#[test]
fn a_broken_manifest_neither_stops_prune_nor_loses_what_it_may_need() {
    let home = home_with(&["cut", "good"]);
    home.file("Modelfile", "FROM triage\nSYSTEM only mine");
    home.slm(["create", "cut"]).succeeds();
    let whole = fs::read(manifest(&home, "cut")).unwrap();
    // The configuration's digest is left, and not one of a layer.
    let config_ends = String::from_utf8_lossy(&whole).find("\"layers\"").unwrap();
    fs::write(manifest(&home, "cut"), &whole[..config_ends]).unwrap();
    let stray = home.models().join("blobs").join(format!("sha256-{:0>64}", "1"));
    fs::write(&stray, "12345").unwrap();
    blobs(&home).iter().for_each(|blob| make_older(blob, 2 * HOUR));
    let said = home.slm(["prune", "--all"]).ends(0);
    assert!(
        said.stdout.ends_with("\n5 B freed\n") && said.stderr.contains("is broken: "),
        "{}{}",
        said.stdout,
        said.stderr
    );
    assert!(!stray.exists());
    fs::write(manifest(&home, "cut"), whole).unwrap();
    home.slm(["verify"]).succeeds();
}

#[test]
fn an_empty_manifest_keeps_weights_alone() {
    let home = home_with(&["lost"]);
    let [weights, system] = ["model", "system"].map(|kind| blob(&home, "lost", kind));
    blobs(&home).iter().for_each(|blob| make_older(blob, 2 * HOUR));
    fs::write(manifest(&home, "lost"), "").unwrap();
    let said = home.slm(["prune"]).ends(0);
    assert!(weights.exists() && !system.exists());
    assert!(
        said.stderr.contains("1 blob (1.4 MB) stays: ")
            && said.stderr.contains("/lost/latest` may need it; remove that model"),
        "{}",
        said.stderr
    );
    home.slm(["prune", "--all"]).ends(0);
    assert_eq!(blobs(&home), Vec::<PathBuf>::new());
}

#[test]
fn leftovers_of_killed_processes_go() {
    let home = home_with(&["a"]);
    let leftover = home.models().join("blobs/.slm-1-1.partial");
    fs::write(&leftover, "12345").unwrap();
    let note = home.models().join(".slm-origins").join(format!("{:0>64}", "1"));
    fs::create_dir_all(note.parent().unwrap()).unwrap();
    fs::write(&note, "x").unwrap();
    origin(&home, "a", "x");
    home.slm(["prune"]).succeeds();
    assert!(!leftover.exists() && !note.exists());
    // The note of a model that is there stays.
    home.slm(["rm", "a"]).succeeds();
    assert_eq!(files(&home.models()), []);
}

/// Processes that are killed while they remove and prune leave a store in which every name has all its bytes.
#[test]
fn killed_removals_leave_no_broken_model() {
    let home = home_with(&["kept"]);
    let mut random = crate::slm::Random::new(7);
    for n in 0..40 {
        home.file("Other", format!("FROM triage\nSYSTEM {}", n % 3));
        home.slm(["create", "b", "-f", "Other", "--yes"]).succeeds();
        let args = [&["rm", "b", "--yes"][..], &["prune", "--all"], &["cp", "b", "kept", "--yes"]][n % 3];
        let mut command = home.slm(args).command();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(6000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        home.slm(["verify"]).succeeds();
    }
    home.slm(["prune", "--all"]).succeeds();
    home.slm(["verify"]).succeeds();
}

#[test]
fn what_was_pulled_goes_without_a_question_and_comes_again() {
    let (home, package) = (Home::new(), Package::random(1, 10_000, &[]));
    let server = Faulty::serve(&package);
    home.slm(["pull", &server.model()]).succeeds();
    home.slm(["rm", &server.model()]).succeeds();
    assert_eq!(files(&home.models()), []);
    home.slm(["pull", &server.model()]).succeeds();
    package.is_in(&home.models(), &server.place());
    // Something of one's own on top of it is another model.
    home.file("Modelfile", format!("FROM {}\nSYSTEM mine", server.model()));
    home.slm(["create", "mine"]).succeeds();
    home.slm(["rm", "mine"])
        .fails(1, "slm: `mine:latest` was not downloaded by slm and may be lost for good; remove it with --yes\n");
}

#[test]
fn what_verify_says_heals_a_damaged_model() {
    let (home, package) = (Home::new(), Package::random(1, 100_000, &[5000, 700]));
    let server = Faulty::serve(&package);
    home.slm(["pull", &server.model()]).succeeds();
    let weights = blob_path(&home.models(), &package.weights());
    let mut bytes = fs::read(&weights).unwrap();
    bytes[90_000] ^= 0x10;
    fs::write(&weights, bytes).unwrap();
    let heals = format!("slm pull {}:latest", server.model());
    let said = home.slm(["verify"]).ends(1);
    assert!(said.stderr.contains(&format!("is damaged: `{heals}` repairs it\n")), "{}", said.stderr);

    server.forget();
    home.slm(heals.split(' ').skip(1)).succeeds();
    package.is_in(&home.models(), &server.place());
    // What is whole does not come again.
    assert_eq!(server.n_sent(), package.n_weights());
    home.slm(["verify"]).succeeds();
}

#[test]
fn nothing_is_taken_away_from_under_a_pull() {
    let (home, first) = (Home::new(), Package::random(1, 100_000, &[5000]));
    let server = Faulty::serve(&first);
    home.slm(["pull", &server.model()]).succeeds();
    let second = Package::random(1, 100_000, &[5000, 400_000]);
    server.offer(&second);
    server.forget();
    server.faults(|seen| match seen.what {
        What::Blob => Fault::Slow { bytes_per_second: 200_000 },
        _ => Fault::None,
    });
    let mut pull = home.slm(["pull", &server.model(), "--as", "other"]).command();
    let pull = pull.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    while server.n_sent() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    // The weights are in no other manifest than the one that goes.
    home.slm(["rm", &server.model()]).succeeds();
    home.slm(["prune", "--all", "--partial"]).ends(0);
    assert!(blob_path(&home.models(), &first.weights()).exists());
    assert!(end_within(pull, Duration::from_secs(60)).is_some_and(|status| status.success()));
    second.is_in(&home.models(), "registry.ollama.ai/library/other/latest");
    let again = |seen: &crate::registry::faulty::Seen| seen.digest.as_ref() == Some(&first.weights());
    assert!(!server.seen().iter().any(again));
    home.slm(["verify"]).succeeds();
}
