//! The schemas that people's packages make of classes: pydantic, instructor, langchain, zod and others (`tests/clients/schemas.*`).

use std::process::Command;

use serde_json::Value;

use super::{Case, Due, hand_out, hold, judge, judge_all};
use crate::serve::environments;

/// As many classes as each package is asked for at least.
const LEAST_CLASSES: usize = 20;

/// No files beside the scripts, and sets in one order.
const PYTHON: [(&str, &str); 2] = [("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONHASHSEED", "0")];

#[test]
fn the_schemas_of_pythons_packages_are_kept_or_refused_rightly() {
    let Some(python) = environments::python() else { return };
    let mut script = Command::new(python);
    script.arg(environments::sources().join("schemas.py")).envs(PYTHON);
    check(&read(&mut script), &Due { accepted_percent: 97, unplaced: 0 });
}

#[test]
fn the_schemas_of_javascripts_packages_are_kept_or_refused_rightly() {
    let Some(folder) = environments::node() else { return };
    check(&read(Command::new("node").arg(folder.join("schemas.mjs"))), &Due { accepted_percent: 99, unplaced: 0 });
}

/// Judges what a script printed; what is due is what was found when this was written, and may only get better.
fn check(cases: &[Case], due: &Due) {
    hand_out("package", cases);
    let tallies = judge_all(cases);
    for (package, tally) in &tallies {
        let n_cases = tally.n_cases;
        assert!(n_cases >= LEAST_CLASSES, "{package} made {n_cases} schemas, at least {LEAST_CLASSES} are due");
    }
    hold(&tallies, due);
}

/// The cases that a script prints, one per line.
fn read(script: &mut Command) -> Vec<Case> {
    let output = script.output().expect("a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script:?} ended with {}: {said}", output.status);
    let text = String::from_utf8(output.stdout).expect("scripts write UTF-8");
    let cases: Vec<Case> = text.lines().map(case).collect();
    assert!(!cases.is_empty(), "{script:?} wrote nothing: {said}");
    cases
}

fn case(line: &str) -> Case {
    let mut line: Value = serde_json::from_str(line).expect("scripts write JSON");
    let text = |name: &str| line[name].as_str().expect("scripts name their cases").to_owned();
    let (of, name, schema) = (text("package"), text("class"), line["schema"].take());
    let mut list = |name: &str| match line[name].take() {
        Value::Array(list) => list,
        _ => panic!("`{name}` is a list"),
    };
    let (mut valid, invalid) = (list("valid"), list("invalid"));
    // A few packages write what their own schemas forbid: a duration with fractions of seconds.
    if let Some(reader) = judge::reader(&schema) {
        valid.retain(|instance| reader.is_valid(instance));
    }
    Case { of, name, schema, valid, invalid }
}
