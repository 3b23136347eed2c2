//! `slm log`: decisions that were written down, listed, shown, corrected, and handed on as rows.

use serde_json::{Value, json};

use crate::faulty::{Manner, Remote};
use crate::serve::{Server, written};
use crate::slm::Home;

const TEXTS: [&str; 3] = ["I was charged twice for order 1182", "my parcel never came", "my lawyer will sue you"];

/// A log of three decisions of `triage` with their texts; gives their ids.
fn decided(home: &Home) -> Vec<String> {
    let lines = TEXTS.join("\n");
    home.slm(["run", "triage", "--lines", "--parallel", "1", "--decisions", "decisions.jsonl", "--decisions-text"])
        .stdin(lines)
        .succeeds();
    ids(home)
}

fn ids(home: &Home) -> Vec<String> {
    let listed = home.slm(["log", "--json"]).succeeds();
    listed.lines().map(|line| parsed(line)["id"].as_str().unwrap().to_owned()).collect()
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(parsed).collect()
}

#[test]
fn corrections_come_back_as_rows() {
    let home = Home::new();
    let ids = decided(&home);
    assert_eq!(ids.len(), 3);
    // The last correction of a field holds; the log itself is left as it is.
    let log = std::fs::read(home.path().join("decisions.jsonl")).unwrap();
    let said = home.slm(["log", "correct", &ids[0], "queue=other"]).succeeds();
    assert_eq!(said, "1 decision corrected: 1 label other than the answer, 0 the same\n");
    home.slm(["log", "correct", &ids[0], "queue=legal", "urgency=3"]).succeeds();
    home.file(
        "labels.jsonl",
        format!("{}\n\n{}\n", json!({"id": ids[1], "queue": "shipping"}), json!({"id": ids[2], "queue": ""})),
    );
    let said = home.slm(["log", "correct", "labels.jsonl"]).run();
    assert_eq!(
        (said.code, said.stderr.as_str()),
        (Some(0), "slm: 1 row without a label left out\n"),
        "{}",
        said.stdout
    );
    assert_eq!(std::fs::read(home.path().join("decisions.jsonl")).unwrap(), log);

    let exported = rows(&home.slm(["log", "export", "--corrected"]).succeeds());
    assert_eq!(
        exported,
        [
            json!({"id": ids[0], "text": TEXTS[0], "queue": "legal", "urgency": 3}),
            json!({"id": ids[1], "text": TEXTS[1], "queue": "shipping"}),
        ]
    );
    let said = home.slm(["log", "export", "--corrected", "-o", "rows.jsonl"]).ends(0);
    assert_eq!(said.stderr, "slm: 2 rows in `rows.jsonl`\n");
    let refused = home.slm(["log", "export", "--corrected", "-o", "rows.jsonl"]).ends(2).stderr;
    assert_eq!(refused, "slm: `rows.jsonl` exists; give another file, or --overwrite\n");
    // An evaluation reads them as they are.
    home.file("suite.yaml", "model: triage\ndata: rows.jsonl\ninput: text\nid: id\nexpect: queue\nbaselines: none\n");
    let report = home.slm(["eval", "suite.yaml", "--json"]).json();
    assert_eq!(report["subjects"][0]["accuracy"]["rows"], 2, "{report}");

    let corrected = rows(&home.slm(["log", "--json", "--corrected"]).succeeds());
    assert_eq!((corrected.len(), &corrected[0]["corrected"]), (2, &json!({"queue": "legal", "urgency": 3})));
    let table = home.slm(["log", "-n", "1", "--corrected"]).run();
    assert!(
        table.stdout.starts_with("TIME ") && table.stdout.contains("corrected: queue=shipping"),
        "{}",
        table.stdout
    );
    assert_eq!(table.stderr, "slm: the last 1 of 2 decisions; -n 2 shows all\n");
    let shown = home.slm(["log", "show", &ids[0]]).succeeds();
    for line in [
        "corrected      queue=legal urgency=3\n",
        &format!("text           {}\n", TEXTS[0]),
        "model          triage:latest (sha256:",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn a_fit_learns_from_exported_rows() {
    let home = Home::new();
    let texts: Vec<String> = (0..60).map(|n| format!("{} (case {n})", TEXTS[n % 3])).collect();
    home.slm(["run", "triage", "--lines", "--parallel", "1", "--decisions", "d.jsonl", "--decisions-text"])
        .stdin(texts.join("\n"))
        .succeeds();
    let labels = ["billing", "shipping", "legal"];
    let lines: String = ids(&home)
        .iter()
        .enumerate()
        .map(|(n, id)| json!({"id": id, "label": {"queue": labels[n % 3]}}).to_string() + "\n")
        .collect();
    let said = home.slm(["log", "correct", "-"]).stdin(lines).succeeds();
    assert!(said.starts_with("60 decisions corrected: "), "{said}");
    home.slm(["log", "export", "--corrected", "-o", "rows.jsonl"]).ends(0);
    let fitted = home.slm(["fit", "triage", "rows.jsonl", "--as", "router"]).run();
    assert_eq!(fitted.code, Some(0), "{}{}", fitted.stdout, fitted.stderr);
    assert!(fitted.stdout.contains("queue"), "{}", fitted.stdout);
}

#[test]
fn what_is_wrong_with_a_correction_is_said_and_nothing_is_kept() {
    let home = Home::new();
    let no_log = "slm: no log of decisions is known here; `slm serve --decisions FILE` writes one, and --decisions FILE says which to \
                  read\n";
    home.slm(["log"]).fails(2, no_log);
    let ids = decided(&home);
    let id = ids[0].as_str();
    for (label, said) in [
        ("sales", format!("the answer of `{id}` has the fields `queue`, `urgency`, `refund`; write FIELD=LABEL")),
        (
            "colour=red",
            format!("the answer of `{id}` has no field `colour`; its fields are `queue`, `urgency`, `refund`"),
        ),
        ("refund=maybe", format!("`maybe` is not an answer of `refund` of `{id}`; its answers are `false`, `true`")),
    ] {
        let stderr = home.slm(["log", "correct", id, label]).ends(1).stderr;
        let is_it = stderr == format!("slm: {said}\n")
            || label.starts_with("refund") && stderr.contains("is not an answer of `refund`");
        assert!(is_it, "{stderr}");
    }
    let unknown = "slm: no decision has the id `nobody`; `slm log` lists them, and those of files that are gone are not known any more\n";
    home.slm(["log", "correct", "nobody", "x"]).fails(1, unknown);
    home.file(
        "labels.jsonl",
        format!("{}\n{}\n", json!({"id": id, "queue": "legal"}), json!({"id": "nobody", "queue": "legal"})),
    );
    let stderr = home.slm(["log", "correct", "labels.jsonl"]).ends(1).stderr;
    assert!(stderr.starts_with("slm: `labels.jsonl`: line 2: no decision has the id `nobody`"), "{stderr}");
    assert!(stderr.ends_with("nothing was corrected\n"), "{stderr}");
    home.file("labels.jsonl", "{\"id\": 5}\n");
    let said = "slm: `labels.jsonl`: line 1: `id` is 5; give the id of a decision as text\n";
    home.slm(["log", "correct", "labels.jsonl"]).fails(1, said);
    assert!(!home.path().join("decisions.jsonl.corrections").exists());
    home.slm(["log", "export", "--corrected"])
        .fails(1, "slm: of 3 decisions none is corrected; `slm log correct ID LABEL` corrects one\n");
    home.slm(["log", "--since", "soon"]).ends(2);
    assert_eq!(home.slm(["log", "--since", "1h", "--model", "triage", "--json"]).succeeds().lines().count(), 3);
    assert_eq!(home.slm(["log", "--model", "other", "--json"]).succeeds(), "");
    assert_eq!(home.slm(["log", "--abstained", "--json"]).succeeds(), "");
}

#[test]
fn texts_that_are_not_in_the_log_are_found_by_their_hash_and_older_files_are_read() {
    let home = Home::new();
    home.slm(["run", "triage", "--lines", "--parallel", "1", "--decisions", "d.jsonl"])
        .stdin(TEXTS.join("\n"))
        .succeeds();
    let log = home.path().join("d.jsonl");
    // As the log is renamed when it is long enough.
    std::fs::rename(&log, home.path().join("d.jsonl.1")).unwrap();
    home.slm(["run", "triage", "one more", "--decisions", "d.jsonl"]).succeeds();
    let ids = ids(&home);
    assert_eq!(ids.len(), 4);
    home.slm(["log", "correct", &ids[1], "queue=shipping"]).succeeds();
    let said = "slm: the log has no text of the decision, only the SHA-256; --texts FILE finds them in a file of yours, and \
                --decisions-text of `slm serve` writes them from now on\n";
    home.slm(["log", "export", "--corrected"]).fails(1, said);
    home.file("mine.csv", "id,body\n7,my parcel never came\n");
    let row = home.slm(["log", "export", "--corrected", "--texts", "mine.csv"]).succeeds();
    assert_eq!(parsed(&row), json!({"id": ids[1], "text": TEXTS[1], "queue": "shipping"}));
    let shown = home.slm(["log", "show", &ids[1]]).succeeds();
    assert!(shown.contains("text           not in the log: 20 characters, sha256:"), "{shown}");
    // A torn line, as a loss of power leaves it, spoils nothing.
    std::fs::write(&log, [std::fs::read(&log).unwrap(), b"{\"time\": \"20".to_vec()].concat()).unwrap();
    let listed = home.slm(["log", "--json"]).run();
    assert_eq!(listed.stdout.lines().count(), 4);
    assert_eq!(listed.stderr, format!("slm: `{}`: 1 lines are not decisions and are left out\n", log.display()));
}

#[test]
fn a_remote_without_probabilities_is_written_down_and_corrected_too() {
    let answer = r#"{"queue": "other", "urgency": 1, "refund": false}"#;
    let (home, remote) = (Home::new(), Remote::new(Manner::Says(answer.to_owned())));
    home.file(
        "remote.yaml",
        format!(
            "base_url: http://{}/v1\nmodel: far\nprice: {{input: 1, output: 2, per: 1M, date: 2026-11-30}}\n",
            remote.address
        ),
    );
    let schema = r#"{"type":"object","properties":{"queue":{"enum":["billing","other"]},"urgency":{"enum":[1,2]},"refund":{"type":"boolean"}}}"#;
    home.file("Modelfile", format!("FROM remote.yaml\nFORMAT {schema}\n"));
    home.slm(["create", "big"]).succeeds();
    let file = home.path().join("decisions.jsonl");
    let server = Server::start(&home, &["--decisions", file.to_str().unwrap(), "--decisions-text"], &[]);
    let body = json!({"model": "big", "prompt": TEXTS[0], "stream": false});
    let reply = server.post("/api/generate", body.clone());
    let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    let line = written(&file, 1).remove(0);
    assert_eq!((&line["id"], &line["fields"], &line["answer"]), (&json!(id), &json!([]), &parsed(answer)));
    assert_eq!((&line["tokens"]["generated"], line.get("weights")), (&json!(10), None));
    assert!((line["cost"].as_f64().unwrap() - 0.00012).abs() < 1e-12, "{line}");
    assert!(
        line["remote"].as_str().unwrap().starts_with("sha256:") && line["task"].as_str().unwrap().len() == 16,
        "{line}"
    );
    home.slm(["log", "correct", &id, "queue=billing"]).succeeds();
    let row = home.slm(["log", "export", "--corrected"]).succeeds();
    assert_eq!(parsed(&row), json!({"id": id, "text": TEXTS[0], "queue": "billing"}));
    // An answer that is of no use was billed all the same.
    remote.is_to(Manner::Says("I think billing.".to_owned()));
    assert_ne!(server.post("/api/generate", body).status, 200);
    let metrics = server.get("/metrics");
    let metrics = metrics.text();
    let spent = metrics.lines().find_map(|line| line.strip_prefix("slm_remote_cost_total{model=\"big:latest\"} "));
    let spent: f64 = spent.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap();
    assert!((spent - 0.00024).abs() < 1e-12, "{spent}");
}
