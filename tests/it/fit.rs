//! `slm fit`: what labelled rows teach, what is refused, what is promised, and what a check says later.

use std::path::Path;

use serde_json::{Value, json};

use crate::slm::{Home, Said};

const QUEUES: [&str; 6] = ["billing", "shipping", "account access", "technical", "legal", "other"];

/// The embedded model's own rows from `file`, where each queue is called by the name of the next: labels of a user's own, which the
/// model cannot know.
fn turned(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Modelfiles/triage").join(file);
    let text = std::fs::read_to_string(path).expect("committed");
    let row = |line: &str| {
        let mut row: Value = serde_json::from_str(line).expect("JSON");
        let at = QUEUES.iter().position(|queue| row["queue"] == *queue).expect("one of them");
        row["queue"] = QUEUES[(at + 1) % QUEUES.len()].into();
        format!("{row}\n")
    };
    text.lines().map(row).collect()
}

pub fn home() -> Home {
    let home = Home::new();
    home.file("mine.jsonl", turned("tickets.jsonl"));
    home.file("later.jsonl", turned("dev.jsonl"));
    home
}

/// Learns the turned queues under the name `mine`.
fn fitted(home: &Home) -> Value {
    home.slm(["fit", "triage", "mine.jsonl", "--label", "queue", "--as", "mine", "--json"]).ends(0).json()
}

trait Json {
    fn json(&self) -> Value;
}

impl Json for Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

pub fn field<'v>(told: &'v Value, name: &str) -> &'v Value {
    told["fields"].as_array().expect("fields").iter().find(|field| field["name"] == name).expect("it is told")
}

#[test]
fn labels_of_ones_own_are_learned_kept_and_applied() {
    let home = home();
    let told = fitted(&home);
    let queue = field(&told, "queue");
    let (before, after) = (&queue["before"], &queue["after"]);
    assert!(before["accuracy"].as_f64() < Some(0.3) && after["accuracy"].as_f64() > Some(0.6), "{before} {after}");
    assert!(after["nll"].as_f64() < before["nll"].as_f64(), "{before} {after}");
    assert_eq!(field(&told, "urgency")["method"], "nothing");
    // The model under its new name answers with the new labels, the old one as before.
    let answer = |model: &str| {
        let said = home.slm(["run", model, "--json", "I was charged twice for order 1182"]).ends(0);
        said.json()["value"]["queue"].clone()
    };
    assert_eq!((answer("mine"), answer("triage")), (json!("shipping"), json!("billing")));
    let checked = home.slm(["fit", "mine", "later.jsonl", "--label", "queue", "--check", "--json"]).ends(0).json();
    assert_eq!(checked["holds"], true);
    assert!(field(&checked, "queue")["labelled"]["accuracy"].as_f64() > Some(0.6), "{checked}");
}

#[test]
fn corrections_in_a_log_of_decisions_are_errors_found_among_its_accepted_answers() {
    let home = home();
    let fit = ["fit", "triage", "mine.jsonl", "--label", "queue", "--as", "mine", "--risk", "50%"];
    home.slm(fit).ends(0);
    let rows = turned("dev.jsonl");
    home.slm(["run", "mine", "--jsonl", "text", "--decisions", "d.jsonl"]).stdin(rows).ends(0);
    let log = home.slm(["log", "--json"]).succeeds();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let accepted: Vec<&Value> = lines.iter().filter(|line| field(line, "queue").get("abstained").is_none()).collect();
    // Each with a label that it did not get.
    let wrong = |line: &&Value| {
        let at = QUEUES.iter().position(|queue| field(line, "queue")["value"] == *queue).expect("one of them");
        json!({"id": line["id"], "queue": QUEUES[(at + 1) % QUEUES.len()]}).to_string() + "\n"
    };
    let check = || home.slm(["fit", "mine", "d.jsonl", "--check", "--json"]).run();
    home.slm(["log", "correct", "-"]).stdin(wrong(&accepted[0])).succeeds();
    let told = check().json();
    let found = &field(&told, "queue")["corrections"];
    assert_eq!((&found["accepted"], &found["wrong"], &found["right"]), (&json!(accepted.len()), &json!(1), &json!(0)));
    assert_eq!(found["holds"], true, "{told}");
    home.slm(["log", "correct", "-"]).stdin(accepted.iter().map(wrong).collect::<String>()).succeeds();
    let all = check();
    let told = all.json();
    let found = &field(&told, "queue")["corrections"];
    assert_eq!((all.code, &found["wrong"], &told["holds"]), (Some(3), &json!(accepted.len()), &json!(false)));
    let said = home.slm(["fit", "mine", "d.jsonl", "--check"]).ends(3).stdout;
    assert!(said.contains("the promise of 0.5 is broken even if all other answers are right (p = 0.000)"), "{said}");
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let home = home();
    fitted(&home);
    let manifest = |name: &str| {
        let folder = home.models().join("manifests/registry.ollama.ai/library").join(name);
        std::fs::read_to_string(folder.join("latest")).expect("it is stored")
    };
    home.slm(["fit", "triage", "mine.jsonl", "--label", "queue", "--as", "again"]).ends(0);
    assert_eq!(manifest("mine"), manifest("again"));
    home.slm(["fit", "again", "--remove"]).ends(0);
    assert!(!manifest("again").contains("slm.image.fit"), "{}", manifest("again"));
}

#[test]
fn a_promise_says_what_it_takes_and_is_refused_where_rows_are_too_few() {
    let home = home();
    let call = |risk: &str| {
        home.slm(["fit", "triage", "mine.jsonl", "--label", "queue", "--as", "sure", "--risk", risk]).run()
    };
    let said = call("1%");
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(
        said.stdout.starts_with(
            "a risk of 0.01 at a confidence of 0.95 takes 299 accepted rows without an error to certify, 473 with one; half of the \
             rows certify\n"
        ),
        "{}",
        said.stdout
    );
    assert!(
        said.stderr.contains("`queue`: 299 accepted rows are needed to certify a risk of 0.01, and half of the 306"),
        "{}",
        said.stderr
    );
    let said = call("0.3");
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    for part in ["promised: at most 0.3 of accepted answers wrong", "thresholds from ", "coverage  risk"] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
}

#[test]
fn a_model_that_needs_nothing_is_left_alone() {
    let home = home();
    std::fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("Modelfiles/triage/tickets.jsonl"),
        home.path().join("own.jsonl"),
    )
    .expect("committed");
    let said = home.slm(["fit", "triage", "own.jsonl", "--label", "queue", "--limit", "60", "--dry-run"]).ends(0);
    assert!(said.stdout.contains("queue: ") && said.stdout.contains("method"), "{}", said.stdout);
}

#[test]
fn data_that_cannot_teach_is_told_with_numbers() {
    let home = Home::new();
    let row = |text: &str, queue: &str| format!("{}\n", json!({"text": text, "queue": queue}));
    let rows = |rows: &[(&str, &str)]| rows.iter().map(|(text, queue)| row(text, queue)).collect::<String>();
    home.file("one.jsonl", rows(&[("a", "billing"), ("b", "billing"), ("c", "billing")]));
    let said = home.slm(["fit", "triage", "one.jsonl", "--input", "text", "--label", "queue"]).ends(1);
    assert!(
        said.stderr
            .contains("`queue`: the 3 rows have 1 of the field's labels; at least 2 different labels are needed"),
        "{}",
        said.stderr
    );
    home.file(
        "odd.jsonl",
        rows(&[("a", "billing"), ("A ", "legal"), ("b", "shipping"), ("b", "shipping"), ("c", "biling")]),
    );
    let said = home.slm(["fit", "triage", "odd.jsonl", "--input", "text", "--label", "queue"]).ends(0);
    for part in [
        "1 row expects `biling`, which no answer can be, so it is left out; did you mean `billing`?",
        "the same text has different labels: `billing` (line 1), `legal` (line 2); one is often wrong",
        "1 rows repeat a text with the same label and count once",
        "3 of 6 labels have no rows",
    ] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    let said = home.slm(["fit", "triage", "odd.jsonl", "--risk", "2"]).ends(2);
    assert!(said.stderr.contains("--risk `2` is not a share"), "{}", said.stderr);
}

#[test]
fn what_was_meant_otherwise_is_refused_before_anything_is_asked() {
    let home = home();
    home.file("empty.jsonl", "");
    home.file("bad.jsonl", "not json\n");
    home.file("texts.txt", "one\ntwo\n");
    home.file("other.jsonl", "{\"text\": \"a\", \"queue\": \"x\"}\n{\"text\": \"b\", \"queue\": \"y\"}\n");
    for (words, code, said) in [
        (vec!["."], 2, "`.` is a folder; name the file with the rows"),
        (vec!["empty.jsonl"], 1, "`empty.jsonl` is empty; it needs a row for each text, with a label"),
        (vec!["bad.jsonl"], 1, "no row of the data `bad.jsonl` can be read; line 1: "),
        (vec!["nowhere.jsonl"], 1, "cannot read `nowhere.jsonl`: "),
        (
            vec!["texts.txt"],
            1,
            "`texts.txt` has texts and no labels, from which only means can be learned; label some, or centre with",
        ),
        (vec!["mine.jsonl", "--label", "queue", "--as", "no name"], 2, "no name"),
        (
            vec!["mine.jsonl", "--label", "queue", "--limit", "30", "--person", "nobody"],
            2,
            "--person names `nobody`, which is no label; they are `billing`, `shipping`, ",
        ),
        (
            vec![
                "mine.jsonl",
                "--label",
                "queue",
                "--limit",
                "30",
                "--cost",
                "1",
                "--cost",
                "no=2",
                "--hand-over",
                "1",
            ],
            2,
            "--cost names `no`, which is no label",
        ),
        (vec!["mine.jsonl", "--limit", "0"], 2, "'--limit <N>'"),
        (
            vec!["other.jsonl", "--input", "text", "--label", "queue"],
            1,
            "`queue`: none of the 2 rows has a label that the model can answer, such as `billing`, ",
        ),
    ] {
        let call = ["fit", "triage"].into_iter().chain(words.iter().copied());
        let stderr = home.slm(call).ends(code).stderr;
        assert!(stderr.contains(said), "{words:?}: {stderr}");
    }
}

#[test]
fn examples_are_compared_with_none_and_left_out_where_they_do_not_help() {
    let home = home();
    home.file("Modelfile", "FROM triage\nFORMAT {\"enum\": [\"billing\", \"shipping\", \"technical\"]}\n");
    home.slm(["create", "short"]).ends(0);
    let call = ["fit", "short", "mine.jsonl", "--label", "queue", "--limit", "24", "--examples=2"];
    let said = home.slm(call.into_iter().chain(["--as", "shown", "--json"])).ends(0).json();
    assert_eq!(said["rows"], 24);
    let [before, after] = ["before", "after"].map(|part| said[part]["loss"].as_f64().expect("a number"));
    assert!(before > 0.0 && after > 0.0 && said["slower"].as_f64() > Some(0.0), "{said}");
    let helps = said["helps"].as_bool().expect("a boolean");
    assert_eq!(home.slm(["show", "shown"]).run().code == Some(0), helps, "{said}");
    let page = home.slm(call.into_iter().chain(["--dry-run"])).ends(0).stdout;
    for part in ["24 rows, each asked without examples", "ms a row", "times as long with examples"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let few = home.slm(["fit", "short", "mine.jsonl", "--label", "queue", "--limit", "5", "--examples"]).ends(1);
    assert!(few.stderr.contains("has 5 labelled rows, and 20 are the fewest"), "{}", few.stderr);
    home.file("Modelfile", "FROM triage\nFORMAT {\"type\": \"string\"}\n");
    let both = home.slm(["fit", "short", "mine.jsonl", "--examples", "--risk", "2%"]).ends(2);
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
}

#[test]
fn texts_without_labels_centre_and_say_what_they_assume() {
    let home = home();
    let texts: String = turned("tickets.jsonl")
        .lines()
        .filter_map(|line| Some(format!("{}\n", serde_json::from_str::<Value>(line).ok()?["text"].as_str()?)))
        .collect();
    home.file("texts.txt", texts);
    let said = home.slm(["fit", "triage", "--unlabelled", "texts.txt", "--as", "centred"]).ends(0);
    assert!(
        said.stdout.contains("answered before") && said.stdout.contains("`centred:latest` has this fit now"),
        "{}",
        said.stdout
    );
    assert!(said.stderr.contains("all labels are taken to be about as frequent"), "{}", said.stderr);
    let answer = home.slm(["run", "centred", "--json", "where is my parcel"]).ends(0);
    assert_eq!(answer.json()["value"]["queue"], "shipping");
}
