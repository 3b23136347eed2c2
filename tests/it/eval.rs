//! `slm eval`: a suite over the embedded model, its report, and what is said of suites and data that are wrong.

use serde_json::json;

use crate::slm::{Home, unpullable};

/// A contract of one possible answer: every figure of its report is known.
const SUITE: &str = "model: triage\ndata: tickets.jsonl\ninput: text\nexpect: queue\nformat: {enum: [only]}\n";
const ROWS: &str = r#"{"text": "I was charged twice", "queue": "only"}
{"text": "my parcel never came", "queue": "only"}
{"text": 5, "queue": "only"}
{"text": "I will sue you", "queue": "other"}
nope
"#;

fn home() -> Home {
    let home = Home::new();
    home.file("suite.yaml", SUITE);
    home.file("tickets.jsonl", ROWS);
    home
}

/// A report without what differs from run to run: label mass and speed.
fn stable(report: &str) -> String {
    let cut = |line: &str| match line.trim_start() {
        text if text.starts_with("mean label mass ") => {
            format!("  mean label mass M  {}", text.split_once("  ").unwrap().1)
        }
        text if text.starts_with("latency p50 ") => "latency".to_owned(),
        _ => line.to_owned(),
    };
    report.lines().map(|line| cut(line) + "\n").collect()
}

#[test]
fn a_report_is_what_the_rows_say() {
    let report = home().slm(["eval", "suite.yaml"]).succeeds();
    assert_eq!(
        stable(&report),
        "\
triage on tickets.jsonl
5 rows, 3 answered, 2 failed (counted as wrong)

queue  accuracy 0.400  (95 % interval 0.118 to 0.769)  2 of 5
  always `only` would be 0.400
  negative log-likelihood 12.015  Brier score 0.667 (0 to 2)
  expected calibration error 0.333 (15 bins)  mean confidence 1.000
  mean label mass M  over 3 rows with probabilities
  rows whose expected label is no possible answer: 1 (taken as probability 0)

  label                precision  recall     F1    rows
  only                     0.667   1.000  0.800       2
  other                    0.000   0.000  0.000       1
  macro-F1                                0.400

  expected \\ answered  1  2  failed
   1 only              2  .       .
   2 other             1  .       .
     (not read)        .  .       2

latency

failed rows
  line 3  `text` is a number, not a text
  line 5  the row is not JSON: expected ident at column 2
"
    );
}

#[test]
fn json_has_the_same_figures_and_the_rows_when_asked() {
    let home = home();
    let report = home.slm(["eval", "suite.yaml", "--json", "--rows"]).json();
    assert_eq!(report["counts"], json!({"total": 5, "rows": 5, "answered": 3, "failed": 2, "unreadable": 2}));
    assert_eq!((report["model"].as_str(), report["accuracy"]["correct"].as_u64()), (Some("triage"), Some(2)));
    assert_eq!(report["fields"][0]["confusion"]["counts"], json!([[2, 0], [1, 0]]));
    assert_eq!(report["failures"][0], json!({"line": 3, "reason": "`text` is a number, not a text"}));
    assert_eq!(report["rows"].as_array().map(Vec::len), Some(5));
    let reply = home.slm(["run", "triage", "--json", "x"]).json();
    assert_eq!(report["evaluation_id"], reply["evaluation_id"]);
    assert_eq!(home.slm(["eval", "suite.yaml", "--json"]).json()["rows"], json!(null));
}

#[test]
fn the_embedded_models_own_suite_is_its_cards_source() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/Modelfiles/triage/suite.yaml");
    let report = Home::new().slm(["eval", folder, "--json", "--limit", "20"]).json();
    assert_eq!(report["counts"], json!({"total": 20, "rows": 20, "answered": 20, "failed": 0, "unreadable": 0}));
    let names: Vec<&str> =
        report["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["queue", "urgency", "refund"]);
    for field in report["fields"].as_array().unwrap() {
        let mass = field["probabilities"]["mean_label_mass"].as_f64().unwrap();
        assert!((0.5..=1.0).contains(&mass), "{field}");
    }
}

#[test]
fn csv_is_read_and_columns_may_have_other_names() {
    let home = home();
    home.file("t.csv", "\u{feff}body,true queue,z\n\"charged, twice\",only,1\n\"two\nlines\",only,2\nshort\n");
    home.file("s.yaml", "model: triage\ndata: t.csv\ninput: body\nexpect: {q: true queue}\nformat: {type: object, properties: {q: {enum: [only]}}}\n");
    let report = home.slm(["eval", "s.yaml", "--json"]).json();
    assert_eq!(report["counts"], json!({"total": 3, "rows": 3, "answered": 2, "failed": 1, "unreadable": 1}));
    assert_eq!((report["fields"][0]["name"].as_str(), report["accuracy"]["correct"].as_u64()), (Some("q"), Some(2)));
    assert_eq!(report["failures"], json!([{"line": 5, "reason": "cells in the row: 1; in the header: 3"}]));
    let limited = home.slm(["eval", "s.yaml", "--json", "--limit", "1"]).json();
    assert_eq!(limited["counts"]["rows"], 1);
}

#[test]
fn another_model_can_be_asked() {
    let home = home();
    home.file("Modelfile", "FROM triage");
    home.slm(["create", "mine"]).succeeds();
    assert_eq!(home.slm(["eval", "suite.yaml", "--json", "--model", "mine"]).json()["model"], "mine");
    home.slm(["eval", "suite.yaml", "--model", "nope"])
        .fails(1, &unpullable("nope:latest", "there are `mine:latest`, `triage:latest`"));
}

#[test]
fn what_is_wrong_with_a_suite_or_its_data_is_a_sentence() {
    let home = home();
    let refused = |from: &str, to: &str, code: i32, expected: &str| {
        assert!(SUITE.contains(from));
        home.file("wrong.yaml", SUITE.replace(from, to));
        assert_eq!(home.slm(["eval", "wrong.yaml"]).fails(code, &format!("slm: {expected}\n")), "");
    };
    refused(
        "input:",
        "inputs:",
        1,
        "`wrong.yaml`: line 3: unknown key `inputs`; the keys of a suite are `model`, `data`, `input`, `expect`, \
         `format`, `system`, `parameters`, `limit`",
    );
    refused(
        "input: text",
        "input: body",
        1,
        "the data `tickets.jsonl` has no column `body`, which the suite reads; its columns are `queue`, `text`",
    );
    refused(
        "expect: queue",
        "expect: [queues]",
        1,
        "the data `tickets.jsonl` has no column `queues`, which the suite reads; its columns are `queue`, `text`",
    );
    refused(
        "tickets.jsonl",
        "none.jsonl",
        1,
        "cannot read the data `none.jsonl`: No such file or directory (os error 2)",
    );
    refused(
        "tickets.jsonl",
        "suite.yaml",
        1,
        "the data `suite.yaml` is neither `.jsonl` nor `.csv`; convert it, or rename it to what it is",
    );
    refused(
        "{enum: [only]}",
        "{type: string}",
        2,
        "the format of `wrong.yaml`: the schema is open (`type` `string`), and here answers are scored from a closed \
         list: use `enum`, `boolean`, an `integer` with `minimum` and `maximum`, or an object of these",
    );
    home.slm(["eval", "none.yaml"]).fails(1, "slm: cannot read `none.yaml`: No such file or directory (os error 2)\n");
}
