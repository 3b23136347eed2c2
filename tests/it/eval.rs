//! `slm eval`: suites over the embedded model, their reports, the gate, kept answers, and error messages.

use serde_json::{Value, json};

use crate::slm::{Home, unpullable};

/// A contract of one possible answer: every figure of its report is known.
const SUITE: &str = "model: triage\ndata: tickets.jsonl\ninput: text\nexpect: queue\nformat: {enum: [only]}\n";
const ROWS: &str = r#"{"text": "I was charged twice", "queue": "only"}
{"text": "my parcel never came", "queue": "only"}
{"text": 5, "queue": "only"}
{"text": "I will sue you", "queue": "other"}
nope
"#;
/// What is said of the row that no answer can be right for.
const IMPOSSIBLE: &str =
    "slm: `queue`: 1 row expects `other`, which no answer can be, so it counts as wrong; the answers are `only`\n";

/// What is said of the bag of words over rows of which only one has another label.
const NO_WORDS: &str = "slm: there is no baseline `words`: it is learned from four fifths of the rows at a time, and for `queue` some \
                        of these expect one label only; rows of another label are needed\n";

fn home() -> Home {
    let home = Home::new();
    home.file("suite.yaml", SUITE);
    home.file("tickets.jsonl", ROWS);
    home
}

/// The embedded model's own suite, in the home.
fn tickets() -> Home {
    let home = Home::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/Modelfiles/triage");
    std::fs::copy(format!("{folder}/tickets.jsonl"), home.path().join("tickets.jsonl")).expect("committed");
    home.file("suite.yaml", "model: triage\ndata: tickets.jsonl\ninput: text\nexpect: [queue, urgency, refund]\n");
    home
}

/// A report without what differs from run to run: label mass, the last two columns of the table of subjects, and the lines on
/// speed.
fn stable(report: &str) -> String {
    let (mut out, mut is_speed) = (String::new(), false);
    for line in report.lines() {
        is_speed = line.starts_with("latency ") || is_speed && !line.is_empty();
        let mut words: Vec<&str> = line.split(' ').collect();
        if let Some(at) = words.iter().position(|word| *word == "mass") {
            words[at + 1] = "M";
        }
        if line.starts_with("triage ") && line.matches('.').count() == 5 {
            words = line.split_whitespace().take(6).collect();
        }
        if !is_speed {
            out += &format!("{}\n", words.join(" "));
        }
    }
    out
}

#[test]
fn a_report_is_what_the_rows_say() {
    let said = home().slm(["eval", "suite.yaml"]).ends(0);
    assert_eq!(said.stderr, format!("{IMPOSSIBLE}{NO_WORDS}"));
    assert_eq!(
        stable(&said.stdout),
        "\
suite.yaml on tickets.jsonl
5 rows, 2 of them cannot be read and count as wrong

rows right           right  95 % interval   failed    p50 ms  rows/s
triage 0.400 0.118 to 0.769 2
majority (baseline)  0.400  0.118 to 0.769       2         -       -

queue                right  macro-F1  95 % interval     NLL  Brier    ECE
triage               0.400     0.400  0.000 to 1.000  12.015  0.667  0.333
majority (baseline)  0.400     0.400  0.000 to 1.000       -      -      -

what differs (McNemar's exact test, corrected by Holm)
  no difference shown between majority and triage: +0.000 (-0.434 to +0.434), p
    = 1.000; these rows could not have shown any

queue of triage: 2 of 5 right
  balanced accuracy 0.500  micro-F1 0.667  weighted F1 0.533  Matthews 0.000
  mean probability 1.000  mean label mass M  over 3 rows
  right among the surest 50 %: 0.667, 80 %: 0.500, 90 %: 0.400  area under
    risk-coverage 0.420
  rows whose expected label is no possible answer: 1 (taken as probability 0)

  label                precision  recall     F1    rows
  only                     0.667   1.000  0.800       2
  other                    0.000   0.000  0.000       1
  macro-F1                                0.400

  expected \\ answered  1  2  failed
   1 only              2  .       .
   2 other             1  .       .
     (not read)        .  .       2


failed rows of triage: 2 not read
  line 3  `text` is a number, not a text
  line 5  the row is not JSON: expected ident at column 2
"
    );
}

#[test]
fn json_has_the_same_figures_and_the_rows_when_asked() {
    let home = home();
    let report: Value =
        serde_json::from_str(&home.slm(["eval", "suite.yaml", "--json", "--rows"]).ends(0).stdout).unwrap();
    assert_eq!(report["counts"], json!({"total": 5, "rows": 5, "unreadable": 2}));
    let subject = &report["subjects"][0];
    assert_eq!((subject["name"].as_str(), subject["accuracy"]["hits"].as_u64()), (Some("triage"), Some(2)));
    assert_eq!(subject["fields"][0]["labels"]["confusion"]["counts"], json!([[2, 0], [1, 0]]));
    assert_eq!(
        subject["failures"][0],
        json!({"id": "0:3", "at": "line 3", "why": "unreadable", "reason": "`text` is a number, not a text"})
    );
    assert_eq!(report["rows"].as_array().map(Vec::len), Some(5));
    assert_eq!(report["rows"][3]["answers"][0]["fields"][0]["verdict"], "wrong");
    let reply = home.slm(["run", "triage", "--json", "x"]).json();
    assert_eq!(subject["evaluation_id"], reply["evaluation_id"]);
    let summary: Value = serde_json::from_str(&home.slm(["eval", "suite.yaml", "--json"]).ends(0).stdout).unwrap();
    assert_eq!(summary["rows"], json!(null));
}

#[test]
fn the_embedded_models_own_suite_is_its_cards_source() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/Modelfiles/triage/suite.yaml");
    let report = Home::new().slm(["eval", folder, "--json", "--limit", "20", "--no-baselines"]).json();
    assert_eq!(report["counts"], json!({"total": 20, "rows": 20, "unreadable": 0}));
    let fields = report["subjects"][0]["fields"].as_array().unwrap();
    let names: Vec<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["queue", "urgency", "refund"]);
    for field in fields {
        let mass = field["probabilities"]["mean_label_mass"].as_f64().unwrap();
        assert!((0.5..=1.0).contains(&mass), "{field}");
    }
}

#[test]
fn csv_is_read_and_columns_may_have_other_names() {
    let home = home();
    home.file("t.csv", "\u{feff}body,true queue,z\n\"charged, twice\",only,1\n\"two\nlines\",only,2\nshort\n");
    home.file("s.yaml", "model: triage\ndata: t.csv\ninput: body\nexpect: {q: true queue}\nformat: {type: object, properties: {q: {enum: [only]}}}\n");
    let report = home.slm(["eval", "s.yaml", "--json", "--no-baselines"]).json();
    assert_eq!(report["counts"], json!({"total": 3, "rows": 3, "unreadable": 1}));
    let subject = &report["subjects"][0];
    assert_eq!((subject["fields"][0]["name"].as_str(), subject["accuracy"]["hits"].as_u64()), (Some("q"), Some(2)));
    assert_eq!(subject["failures"][0]["at"], "line 5");
    assert_eq!(subject["failures"][0]["reason"], "cells in the row: 1; in the header: 3");
    let limited = home.slm(["eval", "s.yaml", "--json", "--no-baselines", "--limit", "1"]).json();
    assert_eq!(limited["counts"]["rows"], 1);
}

#[test]
fn rows_may_stand_in_the_suite_and_in_several_files() {
    let home = home();
    home.file("a.csv", "text,queue,part\none,only,x\ntwo,only,y\n");
    let suite = SUITE.replace("tickets.jsonl", "[a.csv, {text: three, queue: only, part: y}]");
    home.file("s.yaml", suite);
    let rows = |args: &[&str]| {
        let report = home.slm([&["eval", "s.yaml", "--json", "--rows", "--no-baselines"], args].concat()).json();
        let rows = report["rows"].as_array().unwrap().iter();
        rows.map(|row| format!("{} {}", row["at"].as_str().unwrap(), row["input"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&[]), ["`a.csv`, line 2 one", "`a.csv`, line 3 two", "row 1 of the suite three"]);
    assert_eq!(rows(&["--filter", "part=y"]), ["`a.csv`, line 3 two", "row 1 of the suite three"]);
    home.slm(["eval", "s.yaml", "--shard", "3/2"])
        .fails(2, "slm: --shard: `3/2` is not a part of the rows; write `2/5` for the second of five\n");
    home.slm(["eval", "s.yaml", "--filter", "part=z"])
        .fails(1, "slm: no row of the data `a.csv, the suite` is left by `part=z`\n");
}

#[test]
fn models_are_compared_on_the_same_rows() {
    let home = tickets();
    home.file("Modelfile", "FROM triage\nSYSTEM Answer at random.");
    home.slm(["create", "mine"]).succeeds();
    let ask = [
        "eval",
        "suite.yaml",
        "--limit",
        "120",
        "--json",
        "--model",
        "triage",
        "--model",
        "mine",
        "--non-inferior",
        "5%",
    ];
    let report = home.slm(ask).json();
    let names: Vec<&str> = report["subjects"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["triage", "mine", "majority", "words"]);
    let pairs: Vec<(&str, &str)> = report["comparisons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["first"].as_str().unwrap(), one["second"].as_str().unwrap()))
        .collect();
    let expected =
        [("triage", "mine"), ("triage", "majority"), ("mine", "majority"), ("triage", "words"), ("mine", "words")];
    assert_eq!(pairs, expected);
    assert_eq!(report["comparisons"][1]["differs"], true, "{report}");
    let answer = report["non_inferiority"][0]["answer"].as_str().unwrap();
    assert!(["yes", "no", "too_few_rows"].contains(&answer), "{answer}");
    home.slm(["eval", "suite.yaml", "--model", "nope"])
        .fails(1, &unpullable("nope:latest", "there are `mine:latest`, `triage:latest`"));
    home.slm(["eval", "suite.yaml", "--model", "mine", "--model", "mine"])
        .fails(2, "slm: --model names `mine` twice\n");
}

#[test]
fn nothing_is_asked_twice() {
    let home = tickets();
    let ask = |args: &[&str]| {
        let report = home
            .slm([&["eval", "suite.yaml", "--limit", "12", "--json", "--rows", "--no-baselines"], args].concat())
            .json();
        let cached = report["subjects"][0]["speed"]["cached_rows"].as_u64().unwrap();
        (cached, report["rows"].clone())
    };
    let (cached, first) = ask(&[]);
    assert_eq!(cached, 0);
    for (args, expected) in [(&[][..], 12), (&["--rescore"][..], 12)] {
        let (cached, rows) = ask(args);
        assert_eq!((cached, &rows), (expected, &first), "to the last bit");
    }
    let answers = |rows: &Value| rows[3]["answers"][0]["fields"].clone();
    let (cached, fresh) = ask(&["--fresh"]);
    assert_eq!((cached, answers(&fresh)), (0, answers(&first)));
    // Another suite asks the same.
    home.file("other.yaml", "model: triage\ndata: tickets.jsonl\ninput: text\nexpect: queue\nlimit: 14\n");
    let report = home.slm(["eval", "other.yaml", "--json", "--no-baselines"]).json();
    assert_eq!(report["subjects"][0]["speed"]["cached_rows"], 12);
    home.file("new.yaml", "model: triage\ndata: tickets.jsonl\ninput: text\nexpect: queue\nsystem: x\n");
    home.slm(["eval", "new.yaml", "--rescore"])
        .fails(1, "slm: no answers of `triage` are kept; run once without --rescore\n");
}

#[test]
fn labels_turned_round_are_asked_too() {
    let report = tickets().slm(["eval", "suite.yaml", "--limit", "120", "--permute", "--json"]).json();
    let names = report["subjects"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["triage", "majority", "words"]);
    let flips = &report["subjects"][0]["fields"][0]["flip_rate"];
    assert_eq!(flips["rows"], 120, "{flips}");
}

#[test]
fn the_gate_holds_bounds_and_a_baseline() {
    let home = tickets();
    let suite = "model: triage\ndata: tickets.jsonl\ninput: text\nexpect: queue\nlimit: 60\nbaselines: none\n";
    home.file("suite.yaml", suite);
    let base = ["eval", "suite.yaml", "--baseline", "base.jsonl"];
    home.slm(base).fails(1, "slm: there is no baseline `base.jsonl` yet; --bless writes it from this run\n");
    let said = home.slm([&base[..], &["--bless"]].concat()).ends(0);
    assert_eq!(said.stderr, "slm: `base.jsonl` has this run's answers now\n");
    let written = std::fs::read_to_string(home.path().join("base.jsonl")).unwrap();
    let ids: Vec<&str> = written.lines().skip(1).collect();
    assert!(ids.len() == 60 && ids.is_sorted(), "sorted by id");
    let report = home.slm([&base[..], &["--json"]].concat()).json();
    assert_eq!((report["gate"]["passed"].as_bool(), report["changes"][0]["broken"].as_u64()), (Some(true), Some(0)));

    // The model now answers under a format that lacks the label of most rows.
    home.file("suite.yaml", suite.replace("limit", "format: {enum: [shipping, legal]}\nlimit"));
    let said = home.slm([&base[..], &["--junit", "junit.xml", "--github"]].concat()).ends(3);
    assert!(said.stdout.contains("gate: not passed\n"), "{}", said.stdout);
    assert!(
        said.stdout.contains("::error file=suite.yaml,title=triage baseline::worse than the baseline: "),
        "{}",
        said.stdout
    );
    let junit = std::fs::read_to_string(home.path().join("junit.xml")).unwrap();
    assert!(junit.contains("<failure message=\"worse than the baseline: "), "{junit}");

    home.file(
        "suite.yaml",
        format!("{suite}gate: {{accuracy: {{at_least: 0.999, bound: lower}}, queue.macro_f1: {{at_least: 0.1}}}}\n"),
    );
    let report = home.slm(["eval", "suite.yaml", "--json"]).ends(3).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    let passed: Vec<bool> =
        report["gate"]["checks"].as_array().unwrap().iter().map(|check| check["passed"].as_bool().unwrap()).collect();
    assert_eq!(passed, [false, true]);

    home.file("suite.yaml", suite.replace("expect: queue", "expect: urgency"));
    home.slm(base).fails(
        1,
        "slm: the baseline `base.jsonl` is of another suite: its fields are `queue`, and here they are `urgency`; name this \
         suite's own, or write this one anew with --bless\n",
    );
}

#[test]
fn other_faces_tell_the_same() {
    let home = tickets();
    let ask =
        |args: &[&str]| home.slm([&["eval", "suite.yaml", "--limit", "8", "--no-baselines"], args].concat()).succeeds();
    let csv = ask(&["--csv"]);
    let mut lines = csv.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("id,at,input,expected queue,expected urgency,expected refund,triage correct,triage queue,")
    );
    assert_eq!(csv::Reader::from_reader(csv.as_bytes()).records().map(Result::unwrap).count(), 8);
    let markdown = ask(&["--markdown"]);
    assert!(markdown.contains("| | rows right | queue right | queue F1 |"), "{markdown}");
    ask(&["--output", "report.html"]);
    let page = std::fs::read_to_string(home.path().join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<tr data-is=").count(), 8);
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="), "it needs no network");
}

#[test]
fn a_suite_is_written_for_data() {
    let home = tickets();
    let suite = home.slm(["eval", "--init", "tickets.jsonl"]).succeeds();
    home.file("made.yaml", &suite);
    // The model was not taught this format, which is said.
    let report = home.slm(["eval", "made.yaml", "--limit", "5", "--json"]).ends(0).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["counts"]["rows"], 5, "{suite}");
    home.file("one.csv", "text\nx\n");
    home.slm(["eval", "--init", "one.csv"]).fails(
        1,
        "slm: the data `one.csv` has no column beside `text` that looks like labels, tags or values; an evaluation needs what is \
         expected\n",
    );
}

#[test]
fn values_are_read_out_of_written_answers() {
    let home = Home::new();
    home.file(
        "rows.jsonl",
        "{\"text\": \"order 1182\", \"order\": \"1182\"}\n{\"text\": \"hello\"}\n{\"text\": \"x\", \"order\": null}\n",
    );
    home.file(
        "suite.yaml",
        "model: triage\ndata: rows.jsonl\ninput: text\nexpect: {order: {as: text}}\n\
         format: {type: object, properties: {order: {const: \"1182\"}, note: {type: string, maxLength: 4}}, required: [order, note]}\n",
    );
    let report = home.slm(["eval", "suite.yaml", "--json"]).json();
    let field = &report["subjects"][0]["fields"][0];
    assert_eq!((field["as"].as_str(), field["accuracy"]["hits"].as_u64()), (Some("text"), Some(1)), "{report}");
    assert_eq!((field["extraction"]["invented"]["hits"].as_u64(), field["labels"].as_null()), (Some(2), Some(())));
}

#[test]
fn parquet_is_read_and_a_hostile_file_is_a_sentence() {
    let home = Home::new();
    let suite = |name: &str| {
        let path = format!("{}/tests/golden/parquet/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(path, home.path().join("rows.parquet")).expect("committed");
        home.file("suite.yaml", SUITE.replace("tickets.jsonl", "rows.parquet").replace("only", "billing, shipping"));
        home.slm(["eval", "suite.yaml", "--json", "--rows", "--no-baselines"])
    };
    for name in ["pyarrow.parquet", "pandas.parquet", "duckdb.parquet", "zstd.parquet"] {
        let report: Value = serde_json::from_str(&suite(name).ends(0).stdout).unwrap();
        let row = &report["rows"][1];
        assert_eq!((&row["at"], &row["input"]), (&json!("row 2"), &json!("text 1 äß")), "{name}");
        assert_eq!((&row["expected"], &report["counts"]["rows"]), (&json!(["shipping"]), &json!(6)), "{name}");
    }
    let refused = |name: &str, reason: &str| {
        suite(name).fails(1, &format!("slm: the data `rows.parquet` cannot be read as Parquet: {reason}\n"));
    };
    refused(
        "gzip.parquet",
        "its column `text` is compressed with gzip, which is not supported; write it with snappy or zstd",
    );
    refused("damaged.parquet", "its reader found it damaged");
    refused("../parquet.py", "Invalid Parquet file. Corrupt footer");
    let made = home
        .slm(["eval", "--init", "rows.parquet"])
        .fails(1, "slm: the data `rows.parquet` cannot be read as Parquet: Invalid Parquet file. Corrupt footer\n");
    assert_eq!(made, "");
}

#[test]
fn limits_of_texts_are_counted_beside_what_is_expected() {
    let home = Home::new();
    home.file("rows.csv", "text,ref\na,two words\nb,\n");
    let suite = "model: triage\ndata: rows.csv\ninput: text\nexpect: {summary: {column: ref, as: overlap}}\n\
                 limits: {max_words: 1, max_characters: 20}\n\
                 format: {type: object, properties: {summary: {const: two words}}, required: [summary]}\n";
    home.file("suite.yaml", suite);
    let report = home.slm(["eval", "suite.yaml", "--json"]).json();
    let field = &report["subjects"][0]["fields"][0];
    // The row without a reference is judged by the limits alone.
    assert_eq!(
        (field["accuracy"]["hits"].as_u64(), field["extraction"]["rouge_l"]["value"].as_f64()),
        (Some(1), Some(1.0))
    );
    let kept = |limit: &str| field["limits"][limit]["hits"].as_u64();
    assert_eq!((kept("kept"), kept("words"), kept("characters"), kept("sentences")), (Some(0), Some(0), Some(2), None));
    let text = home.slm(["eval", "suite.yaml"]).succeeds();
    assert!(text.contains("\nsummary  right   wrong  missed  invented  ROUGE-L  limits\n"), "{text}");
    assert!(text.contains("\n  limits kept: all 0 of 2  words 0  characters 2\n"), "{text}");

    home.file(
        "suite.yaml",
        format!("{suite}gate: {{summary.characters_kept: {{at_least: 1}}, summary.words_kept: {{at_least: 0.5}}}}\n"),
    );
    let report: Value = serde_json::from_str(&home.slm(["eval", "suite.yaml", "--json"]).ends(3).stdout).unwrap();
    let message = &report["gate"]["checks"][1]["message"];
    assert_eq!(message, "`summary.words_kept` is only 0.0000; at least 0.5 is demanded");
    assert_eq!(report["gate"]["checks"][0]["passed"], true);

    home.file("alone.yaml", "model: triage\ndata: rows.csv\ninput: text\nlimits: {max_words: 2}\nformat: {enum: [two words, far too many words]}\n");
    let report: Value = serde_json::from_str(&home.slm(["eval", "alone.yaml", "--json"]).ends(0).stdout).unwrap();
    let field = &report["subjects"][0]["fields"][0];
    assert_eq!(
        (&field["name"], &field["as"], &field["accuracy"]),
        (&json!("answer"), &json!("limits"), &field["limits"]["words"])
    );
}

#[test]
fn a_bag_of_words_that_cannot_be_learned_says_why() {
    let home = home();
    home.file("rows.csv", "text,queue\na,only\nb,only\nc,only\n");
    home.file("suite.yaml", SUITE.replace("tickets.jsonl", "rows.csv"));
    let said = home.slm(["eval", "suite.yaml"]).ends(0).stderr;
    assert_eq!(
        said,
        "slm: there is no baseline `words`: every row that can be read expects `only` for `queue`, so there is nothing to tell apart\n"
    );
}

#[test]
fn a_written_answer_has_a_first_token_and_every_model_a_peak_of_memory() {
    let home = Home::new();
    home.file("rows.csv", "text,queue\na,billing\nb,billing\n");
    let suite = "model: triage\ndata: rows.csv\ninput: text\nexpect: {note: {column: queue, as: text}}\n\
                 format: {type: object, properties: {note: {type: string, minLength: 4, maxLength: 8}}, required: [note]}\n";
    home.file("suite.yaml", suite);
    let speed = |args: &[&str]| {
        let report = home.slm([&["eval", "suite.yaml", "--json", "--no-baselines"], args].concat()).json();
        report["subjects"][0]["speed"].clone()
    };
    let ms = |speed: &Value, name: &str| speed[name].as_f64();
    let written = speed(&[]);
    let (first, all) = (ms(&written, "first_token_p50_ms"), ms(&written, "latency_p50_ms"));
    assert!(first > Some(0.0) && first < all, "{written}");
    if cfg!(target_os = "linux") {
        // The model alone has 1.4 MB.
        assert!(written["peak_memory_bytes"].as_u64() > Some(2_000_000), "{written}");
    }
    // Of kept answers the first tokens are known, but nothing was computed.
    let kept = speed(&[]);
    assert_eq!((ms(&kept, "first_token_p50_ms"), &kept["peak_memory_bytes"]), (first, &Value::Null));
    home.file("suite.yaml", SUITE.replace("tickets.jsonl", "rows.csv").replace("only", "billing"));
    assert_eq!(speed(&["--fresh"])["first_token_p50_ms"], Value::Null, "a scored answer comes all at once");
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
        "`wrong.yaml`: line 3: unknown key `inputs`; the keys here are `model`, `models`, `data`, `input`, `expect`, `limits`, `id`, \
         `format`, `system`, `prompt`, `parameters`, `adapters`, `filter`, `limit`, `baselines`, `gate`",
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
        "the data `suite.yaml` is none of `.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`; convert it, or rename it to what it is",
    );
    refused(
        "{enum: [only]}",
        "{type: nothing}",
        2,
        "the format of `wrong.yaml`: the schema at `/type` is not supported: \"nothing\" is not a type of JSON Schema",
    );
    refused(
        "{enum: [only]}",
        "{type: object, properties: {topic: {type: string}}}",
        1,
        "`expect` names `queue`, which is no field of the answer; its fields are `topic`",
    );
    home.slm(["eval", "none.yaml"]).fails(1, "slm: cannot read `none.yaml`: No such file or directory (os error 2)\n");
    home.slm(["eval", "tickets.jsonl"]).fails(
        1,
        "slm: `tickets.jsonl`: this is not a suite; a suite is YAML with `model`, `data`, `input` and `expect` \
         (`slm eval --init DATA` writes one)\n",
    );
}
