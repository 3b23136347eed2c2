//! `slm bench`: every figure with its unit, and runs held against each other.

use serde_json::Value;

use crate::slm::Home;

/// A run of a second.
const SHORT: [&str; 5] = ["--quick", "--repetitions=2", "--prefill=16,40", "--decode=4", "--sequences=1,3"];

fn bench(home: &Home, flags: &[&str]) -> crate::slm::Call {
    home.slm(["bench", "triage"].iter().chain(&SHORT).chain(flags))
}

fn positive(value: &Value) -> f64 {
    let number = value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"));
    assert!(number > 0.0, "{value}");
    number
}

#[test]
fn every_kind_of_figure_is_measured() {
    let home = Home::new();
    let report = bench(&home, &["--json", "--num-thread=1"]).json();
    let lengths: Vec<&Value> = report["prefill"].as_array().unwrap().iter().map(|p| &p["n_tokens"]).collect();
    assert_eq!(lengths, [16, 40]);
    let sequences: Vec<&Value> = report["decode"].as_array().unwrap().iter().map(|d| &d["n_sequences"]).collect();
    assert_eq!(sequences, [1, 3]);
    let figures = report["prefill"].as_array().unwrap().iter().chain(report["decode"].as_array().unwrap());
    for figure in figures {
        let speed = &figure["tokens_per_second"];
        let runs: Vec<f64> = speed["runs"].as_array().unwrap().iter().map(positive).collect();
        assert_eq!(runs.len(), 2);
        assert!((positive(&speed["mean"]) - runs.iter().sum::<f64>() / 2.0).abs() < 1e-6 * runs[0]);
    }
    for rows in [&report["scored"], &report["extracted"]] {
        positive(&rows["rows_per_second"]["mean"]);
        positive(&rows["answer_tokens"]);
        assert_eq!(rows["n_rows"], 2);
    }
    assert!(positive(&report["scored"]["prompt_tokens"]) > 40.0);
    positive(&report["ceiling"]["read_bytes_per_second"]);
    positive(&report["ceiling"]["product_flops"]);
    let peak = positive(&report["memory"]["peak_resident_bytes"]);
    assert!(peak > positive(&report["memory"]["kv_bytes"]) + positive(&report["model"]["weights_bytes"]));
    assert_eq!(report["setting"]["n_threads"], 1);
}

#[test]
fn the_table_names_figures_and_units() {
    let text = bench(&Home::new(), &["--num-thread=1"]).succeeds();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("triage:latest on ") && lines[0].contains(", 1 thread, llama-cpp-sys-2 "), "{text}");
    assert!(lines[2].starts_with("FIGURE") && lines[2].ends_with("CEILING"), "{text}");
    let starts = [
        "prefill of 16 tokens ",
        "prefill of 40 tokens ",
        "decode of 4 tokens ",
        "decode of 1 tokens, 3 at once ",
        "scored rows, 1 in flight: ",
        "extracted records, 2 in flight: ",
    ];
    for (line, (start, unit)) in
        lines[3..].iter().zip(starts.into_iter().zip([" tokens/s"; 4].into_iter().chain([" rows/s"; 2])))
    {
        assert!(line.starts_with(start) && line.contains(unit) && line.contains(" ± "), "{line}");
    }
    assert!(text.contains("\nreading: ") && text.contains("\nproducts: ") && text.contains("\nmemory: "), "{text}");
}

#[test]
fn an_earlier_run_is_compared_in_ratios() {
    let home = Home::new();
    let before = bench(&home, &["--json", "--num-thread=1", "--no-ceiling", "--rows=0"]).succeeds();
    home.file("before.json", &before);
    let compare = ["--compare=before.json", "--num-thread=2", "--no-ceiling", "--rows=0"];
    let now = bench(&home, &[&compare[..], &["--json"]].concat()).json();
    let changes = now["compared"]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 4);
    for change in changes {
        let ratio = positive(&change["now"]) / positive(&change["before"]);
        assert!((positive(&change["ratio"]) - ratio).abs() < 1e-9, "{change}");
    }
    assert_eq!(now["compared"]["differences"], serde_json::json!(["threads: 1, now 2"]));
    let text = bench(&home, &compare).succeeds();
    assert!(text.contains("\nFIGURE ") && text.contains("  RATIO\nprefill of 16 tokens "), "{text}");
    assert!(text.ends_with("\ndiffers: threads: 1, now 2\n"), "{text}");
}

#[test]
fn what_cannot_be_compared_is_refused_before_measuring() {
    let home = Home::new();
    let mut report = bench(&home, &["--json", "--no-ceiling", "--rows=0"]).json();
    let fails = |said: &str| bench(&home, &["--compare=old.json"]).fails(2, said);
    fails("slm: cannot read `old.json`: No such file or directory (os error 2)\n");
    report["form"] = 7.into();
    home.file("old.json", report.to_string());
    fails("slm: `old.json` cannot be compared: it has form 7, and this slm writes form 1; measure again\n");
    report["form"] = 1.into();
    report["model"]["digest"] = "sha256:00".into();
    home.file("old.json", report.to_string());
    fails(
        "slm: `old.json` cannot be compared: it measured another model, `triage:latest` (sha256:00); compare runs of one \
         model\n",
    );
    home.file("old.json", "[]");
    let said = bench(&home, &["--compare=old.json"]).ends(2).stderr;
    assert!(
        said.starts_with("slm: `old.json` cannot be compared: it is not a report of `slm bench --json`: "),
        "{said}"
    );
}
