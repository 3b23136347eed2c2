//! What the server says of itself is true: its OpenAPI document, judged by schemathesis, and its metrics, by Prometheus's parser.

use std::process::Command;
use std::time::Duration;

use crate::serve::scripts::{Script, output_within, stock};
use crate::serve::{Server, environments};
use crate::slm::Home;

/// As long as one run of schemathesis may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Where a random name could be a host's, and no test leaves this machine.
const ELSEWHERE: [&str; 2] = ["/api/pull", "/api/push"];

/// What the document cannot say of a request is a 400, and what is not to be lost a 403.
const ACCEPTED: &str =
    "[checks.positive_data_acceptance]\nexpected-statuses = [\"2xx\", \"400\", \"401\", \"403\", \"404\", \"5xx\"]\n";

#[test]
fn schemathesis_finds_nothing_in_requests_for_any_model() {
    schemathesis(ACCEPTED);
}

/// Requests that reach a model.
#[test]
fn schemathesis_finds_nothing_in_requests_for_models_that_are_there() {
    let hooks = environments::sources().join("known_models.py");
    schemathesis(&format!("hooks = {hooks:?}\n{ACCEPTED}"));
}

/// Runs all of its checks against every operation, with the same requests every time.
fn schemathesis(config: &str) {
    let Some(python) = environments::python() else { return };
    let home = Home::new();
    stock(&home);
    let server = Server::of(&home);
    home.file("schemathesis.toml", config);
    let mut command = Command::new(python.with_file_name("schemathesis"));
    command.args(["--config-file", "schemathesis.toml", "run", "--checks", "all", "--no-color"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--continue-on-failure"]);
    command.args(["--seed", "1", "--generation-deterministic", "--request-timeout", "60"]);
    for path in ELSEWHERE {
        command.args(["--exclude-path", path]);
    }
    command.arg(server.url("/openapi.json")).env("NO_PROXY", "*").current_dir(home.path());
    let said = output_within(command, PATIENCE);
    // Where it found nothing it may still warn that it got further with some operations than with others.
    let counts = said.split("Test cases:").nth(1).and_then(|counts| counts.trim_start().lines().next());
    let counts = counts.and_then(|counts| counts.strip_suffix(" passed")?.split_once(" generated, "));
    assert!(counts.is_some_and(|(generated, passed)| generated == passed), "{said}");
    assert!(!said.contains("Unresolvable references"), "{said}");
    println!("{}", said.split("SUMMARY").last().unwrap_or_default());
}

#[test]
fn prometheus_reads_the_metrics() {
    let Some(script) = Script::python("metrics.py") else { return };
    let home = Home::new();
    stock(&home);
    let judgement = script.judge(&Server::of(&home));
    assert_eq!(judgement.complaint(), None);
}
