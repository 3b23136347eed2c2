//! JSON Schema's own test suite.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Case, Due, hand_out, hold, judge_all};
use crate::serve::environments;

/// Files whose expected results do not apply to slm, with the reason.
const OTHERS: [&str; 4] = [
    // Formats that are not checked: slm checks them, as `optional/format` says.
    "format.json",
    // Contents that draft-07 may check: since 2019-09 they are notes.
    "optional/content.json",
    // Metaschemas of one's own, which say what keywords mean: slm reads none.
    "vocabulary.json",
    "optional/format-assertion.json",
];

/// Groups that are judged otherwise on purpose.
const ON_PURPOSE: [&str; 1] = [
    // In draft-07 a reference hides what is beside it; since then both hold, and so they do here.
    "ref overrides any sibling keywords",
];

#[test]
fn the_test_suite_of_draft_2020_12_is_kept_or_refused_rightly() {
    check("draft2020-12", "https://json-schema.org/draft/2020-12/schema", &Due { accepted_percent: 66, unplaced: 0 });
}

#[test]
fn the_test_suite_of_draft_07_is_kept_or_refused_rightly() {
    check("draft7", "http://json-schema.org/draft-07/schema#", &Due { accepted_percent: 71, unplaced: 0 });
}

/// Judges a draft's suite; what is due is what was found when this was written, and may only get better.
fn check(draft: &str, metaschema: &str, due: &Due) {
    let Some(suite) = environments::suite() else { return };
    let cases = cases(&suite.join(draft), metaschema);
    assert!(cases.len() > 250, "{} schemas of {draft} are found", cases.len());
    hand_out(draft, &cases);
    hold(&judge_all(&cases), due);
}

/// The groups of all files of a draft.
fn cases(folder: &Path, metaschema: &str) -> Vec<Case> {
    let mut files = Vec::new();
    find(folder, &mut files);
    files.sort();
    let name = |file: &PathBuf| file.strip_prefix(folder).expect("it lies there").display().to_string();
    let kept = files.iter().filter(|file| !OTHERS.contains(&name(file).as_str()));
    let cases = kept.flat_map(|file| {
        let of = name(file);
        groups(file).into_iter().map(move |group| case(of.clone(), &group, metaschema))
    });
    cases.filter(|case| !ON_PURPOSE.contains(&case.name.as_str())).collect()
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the suite has this folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() { find(&path, files) } else { files.push(path) }
    }
}

fn groups(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("a readable file");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn case(of: String, group: &Value, metaschema: &str) -> Case {
    let mut schema = group["schema"].clone();
    // The suites of older drafts leave to the reader which draft they are.
    if let Value::Object(map) = &mut schema {
        map.entry("$schema").or_insert(json!(metaschema));
    }
    let tests = group["tests"].as_array().expect("a group has tests");
    let are =
        |valid: bool| tests.iter().filter(|test| test["valid"] == valid).map(|test| test["data"].clone()).collect();
    let name = group["description"].as_str().expect("a group has a description").to_owned();
    Case { of, name, schema, valid: are(true), invalid: are(false) }
}
