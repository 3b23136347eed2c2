//! `--max-words`, `--max-sentences`, `--matches` and `--retry`: generated text keeps its limits or is withheld.

use serde_json::{Value, json};

use crate::slm::{Call, Home};
use slm_testing::shared;

/// A home with a model that writes the word it has learned for a ticket, and other words after a longer chat.
fn home() -> Home {
    let home = Home::new();
    home.file("Modelfile", "FROM triage\nTEMPLATE {% for m in messages %}{{ m['content'] }}{% endfor %}");
    home.slm(["create", "free"]).succeeds();
    home
}

fn ask(home: &Home, more: &[&str]) -> Call {
    let args = ["run", "free", "--format", "none", "--temperature", "0", "--num-predict", "20"];
    home.slm([&args, more].concat())
}

#[test]
fn an_answer_that_keeps_its_limits_is_given_as_ever() {
    let home = home();
    let text = "I was charged twice";
    let free = ask(&home, &[text]).succeeds();
    let limits = ["--max-words", "1", "--max-sentences", "1", "--matches", "[a-z]+"];
    assert_eq!(ask(&home, &[&limits[..], &[text]].concat()).succeeds(), free);
    let json = ask(&home, &[&limits[..], &["--json", text]].concat()).json();
    assert_eq!(json["contract"], json!({"met": true, "violations": [], "retried": false}));
    assert_eq!(ask(&home, &["--json", text]).json().get("contract"), None);
}

#[test]
fn an_answer_that_breaks_a_limit_is_withheld_with_exit_3() {
    let home = home();
    let text = "I was charged twice";
    let pattern = "slm: the whole answer does not match `[0-9]`\n";
    assert_eq!(ask(&home, &["--matches", "[0-9]", text]).fails(3, pattern), "");
    let said = ask(&home, &["--json", "--matches", "[0-9]", text]).ends(3);
    let json: Value = serde_json::from_str(&said.stdout).unwrap();
    let violations = json!([{"limit": "matches", "pattern": "[0-9]"}]);
    assert_eq!(json["contract"], json!({"met": false, "violations": violations, "retried": false}));
    // What is withheld is where nobody takes it for the answer.
    assert_eq!(
        (&json["response"], &json["value"], &json["rejected"]),
        (&Value::Null, &Value::Null, &json!(" billing"))
    );
}

/// A model that writes its prompt's last word as it is there would pass by copying what it was asked.
#[test]
fn a_retry_asks_anew_with_the_limits_behind_the_text() {
    let home = home();
    let text = "my parcel never came";
    let digit = ["--matches", "[0-9]", text];
    ask(&home, &digit).fails(3, "slm: the whole answer does not match `[0-9]`\n");
    let retried = ask(&home, &[&["--retry", "--json"], &digit[..]].concat()).run();
    let json: Value = serde_json::from_str(&retried.stdout).unwrap();
    assert_eq!(json["contract"]["retried"], json!(true));
    let first = "slm: asked again: the whole answer does not match `[0-9]`\n";
    assert!(retried.stderr.starts_with(first), "{}", retried.stderr);
    // The second prompt ends with the limits, and has neither the first answer nor a complaint.
    let shown = ask(&home, &[&["--retry", "--dry-run", "--json"], &digit[..]].concat()).json();
    assert_eq!(shown["retry"], "The whole answer must match the regular expression `[0-9]`.");
    let again = format!("{text}\n\n{}", shown["retry"].as_str().unwrap());
    let prompt = ask(&home, &["--dry-run", "--json", &again]).json();
    assert_eq!(json["tokens"]["prompt"], prompt["tokens"].as_array().unwrap().len());
    // Where there is no room for a second question the first answer stands.
    let n_tokens = shown["tokens"].as_array().unwrap().len() + 6;
    let tight = ask(&home, &[&["--num-ctx", &n_tokens.to_string(), "--retry"], &digit[..]].concat()).ends(3);
    assert_eq!(tight.stderr, "slm: the whole answer does not match `[0-9]`\n");
}

#[test]
fn a_row_that_breaks_a_limit_is_reported_in_its_place() {
    let home = home();
    let texts = ["I was charged twice", "my parcel never came", "", "I was charged twice"];
    let lines = texts.join("\n");
    let said = ask(&home, &["--lines", "--matches", "billing"]).stdin(&lines).ends(1);
    assert_eq!(said.stdout, "billing\n\n\nbilling\n");
    assert_eq!(
        said.stderr,
        "slm: line 2: the whole answer does not match `billing`\nslm: line 3: the line is empty\n\
         slm: 1 of 4 rows failed, and of the answers 1 failed their format or limits\n"
    );

    let objects: String = texts[..2].iter().map(|text| json!({"b": text}).to_string() + "\n").collect();
    let said = ask(&home, &["--jsonl", "b", "--matches", "billing"]).stdin(&objects).ends(3);
    let second = r#"{"b":"my parcel never came","error":"the whole answer does not match `billing`"}"#;
    assert_eq!(said.stdout.lines().nth(1), Some(second));
    assert!(said.stderr.ends_with("slm: 1 of 2 answers failed their format or limits\n"), "{}", said.stderr);
    let rows = |json: &str| -> Vec<Value> {
        let said = ask(&home, &["--jsonl", "b", json, "--matches", "billing"]).stdin(&objects).ends(3);
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let flat = rows("--json");
    assert_eq!(flat[0], json!({"b": texts[0], "answer": "billing"}));
    let rejected = flat[1]["rejected"].as_str().unwrap();
    let why = "the whole answer does not match `billing`";
    assert_eq!(flat[1], json!({"b": texts[1], "error": why, "rejected": rejected}));
    let rows = rows("--json=full");
    assert_eq!(rows[1]["refused"]["rejected"], rejected);
    assert_eq!(
        (&rows[0]["answer"]["contract"]["met"], &rows[1]["refused"]["contract"]["met"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(rows[1].get("answer"), None);

    let stopped = ask(&home, &["--lines", "--matches", "billing", "--keep-going=false"]).stdin(&lines).ends(3);
    assert!(stopped.stderr.ends_with("slm: stopped at line 2; 1 rows were answered\n"), "{}", stopped.stderr);
    ask(&home, &["--lines", "--matches", "[0-9]|billing", "--retry"]).stdin(texts[..2].join("\n")).succeeds();
}

#[test]
fn limits_that_cannot_hold_are_refused_before_anything_is_loaded() {
    let home = home();
    let refused = |args: &[&str], why: &str| {
        ask(&home, &[args, &["text"]].concat()).fails(2, &format!("slm: {why}\n"));
    };
    refused(&["--matches", "(a"], "--matches: `(a` is not a supported regular expression: unclosed group");
    refused(
        &["--matches", r"(\w{900}){900}"],
        r"--matches: `(\w{900}){900}` is not a supported regular expression: Compiled regex exceeds size limit of 4194304 bytes",
    );
    refused(&["--retry"], "--retry needs a limit that can be broken; give --max-words, --max-sentences or --matches");
    let none = ask(&home, &["--max-words", "0", "text"]).ends(2);
    assert!(none.stderr.contains("no answer has none; give at least 1"), "{}", none.stderr);
    let closed = "slm: limits are for generated text, and these answers are scored from a closed list; add --format none for \
                  open text\n";
    home.slm(["run", "triage", "--max-words", "3", "text"]).fails(2, closed);
}

/// Real sentences: one of seven words, told by a model that was stopped at its end.
#[test]
fn a_story_keeps_its_limits() {
    let Some(path) = shared("models/stories260K.gguf") else { return };
    let home = Home::new();
    home.file("Stories", format!("FROM {}\n", path.display()));
    home.slm(["create", "stories", "-f", "Stories"]).succeeds();
    let tell = |more: &[&str]| {
        let args = ["run", "stories", "--temperature", "0", "--num-predict", "60", "Once upon a time"];
        home.slm([&args, more].concat()).run()
    };
    let sentence = tell(&["--stop", "."]);
    let n_words = sentence.stdout.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
    let kept = tell(&["--stop", ".", "--max-words", &n_words.to_string()]);
    assert_eq!((kept.code, kept.stdout.trim()), (Some(0), sentence.stdout.trim()));
    let fewer = tell(&["--stop", ".", "--max-words", &(n_words - 1).to_string()]);
    assert_eq!((fewer.code, fewer.stdout.as_str()), (Some(3), ""));
    let both = format!("slm: too long: {n_words} words (maximum {})\n", n_words - 1);
    assert!(fewer.stderr.ends_with(&both), "{}", fewer.stderr);
    // Nothing can be said of the whole of a text that was cut.
    let cut = tell(&["--max-words", "1000"]);
    assert_eq!((cut.code, cut.stdout.as_str()), (Some(3), ""));
    assert!(cut.stderr.ends_with("slm: the answer was cut off after 60 tokens, before its end\n"), "{}", cut.stderr);
}
