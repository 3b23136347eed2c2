//! What `deploy/` has for Kubernetes and Docker: judged by Kubernetes' own schemas and by a linter, and its commands run here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::{CommandFactory as _, Parser as _};
use serde_json::Value;

use crate::serve::environments;
use crate::slm::Home;

/// The oldest and the newest version whose schemas the manifests are held against.
const VERSIONS: [&str; 2] = ["1.33.0", "1.37.0"];
/// Kinds that are not Kubernetes' own; nothing here knows their schemas.
const FOREIGN: [&str; 1] = ["PodMonitor"];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn manifests() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(deploy().join("kubernetes")).expect("a folder");
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 4, "{paths:?}");
    paths
}

/// The documents of a manifest.
fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let parse = |text| serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split("\n---\n").map(parse).collect()
}

/// Every container of a manifest's pods, those that run before the others included.
fn containers(path: &Path) -> Vec<Value> {
    let documents = documents(path);
    let pods = documents.iter().map(|document| &document["spec"]["template"]["spec"]);
    let lists = pods.flat_map(|pod| [&pod["initContainers"], &pod["containers"]]);
    lists.filter_map(Value::as_array).flatten().cloned().collect()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().expect("a text")).collect()
}

fn validated(python: &Path, version: &str, path: &Path) -> Output {
    let mut command = Command::new(python.with_file_name("kubernetes-validate"));
    command.args(["--strict", "--kubernetes-version", version]).arg(path).output().expect("a program")
}

#[test]
fn manifests_are_what_kubernetes_takes() {
    let Some(python) = environments::manifests() else { return };
    for path in manifests() {
        for version in VERSIONS {
            let found = validated(&python, version, &path);
            let said = String::from_utf8_lossy(&found.stdout) + String::from_utf8_lossy(&found.stderr);
            let own = documents(&path).into_iter().filter(|document| {
                let kind = document["kind"].as_str().expect("a kind");
                !FOREIGN.contains(&kind)
            });
            assert!(found.status.success(), "{said}");
            assert_eq!(said.matches(" passed for resource ").count(), own.count(), "{said}");
        }
    }
    // What judges them knows a wrong name.
    let home = Home::new();
    let text = std::fs::read_to_string(deploy().join("kubernetes/serve.yaml")).unwrap();
    let wrong = home.file("wrong.yaml", text.replace("terminationGracePeriodSeconds", "terminationGraceSeconds"));
    assert!(!validated(&python, VERSIONS[1], &wrong).status.success());
}

#[test]
fn the_dockerfiles_have_no_known_mistakes() {
    let Some(python) = environments::manifests() else { return };
    for name in ["Dockerfile", "ray/Dockerfile"] {
        // Versions of Debian's packages are those of its release, which the image's name pins.
        let mut command = Command::new(python.with_file_name("hadolint"));
        let found = command.args(["--ignore", "DL3008"]).arg(deploy().join(name)).output().expect("a program");
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
    }
}

/// `slm` and its options, as they stand in the manifests, are understood by this build.
#[test]
fn the_commands_in_manifests_are_understood() {
    let known: BTreeSet<String> = slm::cli::Cli::command().get_subcommands().map(|one| one.get_name().into()).collect();
    let mut n_calls = 0;
    for container in manifests().iter().flat_map(|path| containers(path)) {
        let args = strings(&container["args"]);
        let call: Vec<String> = if container["command"].is_null() {
            ["slm"].iter().chain(&args).map(|&word| word.to_owned()).collect()
        } else {
            let script = args.last().and_then(|script| script.split("exec ").nth(1)).expect("a command of slm");
            let words = script.split(" > ").next().into_iter().flat_map(str::split_whitespace);
            words.map(|word| word.trim_matches('"').replace("$part/$SHARDS", "1/8")).collect()
        };
        if !known.contains(&call[1]) {
            slm_testing::skipped!("this build has no `slm {}`", call[1]);
            continue;
        }
        let parsed = slm::cli::Cli::try_parse_from(&call);
        assert!(parsed.is_ok(), "{call:?}: {}", parsed.unwrap_err());
        n_calls += 1;
    }
    assert!(n_calls >= 5, "{n_calls}");
}

/// Pods write into volumes alone, have no rights, and end later than their last request may.
#[test]
fn pods_are_locked_and_may_finish() {
    let read = std::fs::read_to_string(deploy().join("../src/cli/environment.rs")).unwrap();
    for container in manifests().iter().flat_map(|path| containers(path)) {
        let security = &container["securityContext"];
        assert_eq!(
            (
                &security["readOnlyRootFilesystem"],
                &security["allowPrivilegeEscalation"],
                strings(&security["capabilities"]["drop"])
            ),
            (&true.into(), &false.into(), vec!["ALL"]),
            "{container}"
        );
        assert!(container["resources"]["limits"]["memory"].is_string(), "{container}");
        let names = container["env"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
        for name in names.filter_map(|name| name.strip_prefix("SLM_")) {
            assert!(read.contains(&format!("\"{name}\",")), "slm reads no SLM_{name}");
        }
    }
    let serve = documents(&deploy().join("kubernetes/serve.yaml"));
    let pod = &serve[0]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0];
    let wait: u64 = strings(&container["lifecycle"]["preStop"]["exec"]["command"])[1].parse().unwrap();
    let variables = container["env"].as_array().unwrap();
    let drain = variables.iter().find(|one| one["name"] == "SLM_DRAIN_SECONDS").and_then(|one| one["value"].as_str());
    let drain: u64 = drain.unwrap().parse().unwrap();
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > wait + drain);
}

/// The pods of the Indexed Job, one after the other, ask every row, and each row in one of them.
#[test]
fn the_parts_of_the_indexed_job_are_all_rows() {
    let home = Home::new();
    for name in ["suite.yaml", "tickets.jsonl"] {
        std::fs::copy(deploy().join("../Modelfiles/triage").join(name), home.path().join(name)).unwrap();
    }
    let container = containers(&deploy().join("kubernetes/eval.yaml")).pop().unwrap();
    let script = strings(&container["args"])[0].to_owned();
    let bin = Path::new(env!("CARGO_BIN_EXE_slm")).parent().unwrap();
    let (mut ids, mut n_rows) = (BTreeSet::new(), 0);
    for index in 0..3 {
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(home.path()).env_clear().env("HOME", home.path());
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        command.env("SHARDS", "3").env("JOB_COMPLETION_INDEX", index.to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report = std::fs::read(home.path().join(format!("report-{}.json", index + 1))).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        let rows = report["rows"].as_array().unwrap();
        assert!(rows.len() > 60, "{}", rows.len());
        n_rows += rows.len();
        ids.extend(rows.iter().map(|row| row["id"].to_string()));
    }
    let all = std::fs::read_to_string(home.path().join("tickets.jsonl")).unwrap().lines().count();
    assert_eq!((n_rows, ids.len()), (all, all));
    assert!(home.path().join("cache-3").is_dir(), "answers are kept by part");
}
