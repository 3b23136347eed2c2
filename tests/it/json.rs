//! `slm run --json` over rows, and JSON as its input: flat rows say what tables and full records say, and an array is its elements.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::slm::{Call, Home, allowed, end_within, probability};

const TEXTS: [&str; 3] = ["I was charged twice", "my parcel never came", "I will sue you"];
const PATIENCE: Duration = Duration::from_secs(120);

fn run(home: &Home, more: &[&str]) -> Call {
    home.slm([&["run", "triage"], more].concat())
}

fn rows(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn objects() -> Vec<Value> {
    TEXTS.iter().enumerate().map(|(id, text)| json!({"id": id, "body": text})).collect()
}

fn jsonl() -> String {
    objects().iter().map(|object| format!("{object}\n")).collect()
}

/// The same answers as a table, as flat rows of lines and of objects, and in full, for one label and for an object.
#[test]
fn flat_rows_say_what_a_table_and_the_full_record_say() {
    let home = Home::new();
    let table: String = TEXTS.iter().map(|text| format!("{text}\n")).collect();
    let mixed = r#"{"enum": ["refund", 1, true, null]}"#;
    for form in [&[][..], &["--choices", "billing,shipping,legal"], &["--format", mixed]] {
        let asked = |more: &[&str], input: &str| run(&home, &[form, more].concat()).stdin(input).succeeds();
        let csv = asked(&["--csv", "body"], &format!("body\n{table}"));
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let (lines, objects) = (asked(&["--lines", "--json"], &table), asked(&["--jsonl", "body", "--json"], &jsonl()));
        let full = rows(&asked(&["--jsonl", "body", "--json=full"], &jsonl()));
        let records = reader.records().map(Result::unwrap).zip(rows(&lines)).zip(rows(&objects)).zip(full);
        for (id, (((cells, line), object), full)) in records.enumerate() {
            let line = line.as_object().unwrap();
            let object = object.as_object().unwrap();
            assert_eq!(line.keys().skip(1).collect::<Vec<_>>(), names[1..names.len() - 1].iter().collect::<Vec<_>>());
            assert_eq!(
                (&line["line"], &object["id"], &object["body"]),
                (&json!(id + 1), &json!(id), &json!(TEXTS[id]))
            );
            assert_eq!(line.iter().skip(1).collect::<Vec<_>>(), object.iter().skip(2).collect::<Vec<_>>());
            let text = |value: &Value| match value {
                Value::Null => String::new(),
                value => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            };
            assert_eq!(
                line.values().skip(1).map(text).collect::<Vec<_>>(),
                cells.iter().skip(1).take(line.len() - 1).collect::<Vec<_>>()
            );
            let answer = &full["answer"];
            assert!(answer["tokens"].is_object() && answer["evaluation_id"].is_string(), "{full}");
            match answer.get("fields").and_then(Value::as_object) {
                None => {
                    assert_eq!((&line["label"], &line["probability"]), (&answer["value"], &answer["probability"]));
                    assert_eq!(line["label_mass"], answer["label_mass"]);
                }
                Some(fields) => {
                    for (name, field) in fields {
                        assert_eq!((&line[name], &line[name]), (&field["value"], &answer["value"][name]));
                        assert_eq!(line[&format!("{name}_probability")], field["probability"]);
                    }
                }
            }
        }
    }
}

#[test]
fn one_text_has_either_shape() {
    let home = Home::new();
    let asked = |shape: &str| run(&home, &["--choices", "billing,shipping", shape, TEXTS[0]]).json();
    let (usual, full, flat) = (asked("--json"), asked("--json=full"), asked("--json=flat"));
    assert_eq!(
        usual.as_object().unwrap().keys().collect::<Vec<_>>(),
        full.as_object().unwrap().keys().collect::<Vec<_>>()
    );
    let expected =
        json!({"label": full["value"], "probability": full["probability"], "label_mass": full["label_mass"]});
    assert_eq!(flat, expected);
    assert_eq!(probability(&full, "billing"), full["probability"]);
    assert_eq!(allowed(&full), ["billing", "shipping"]);
    // The value of the flag needs its sign: what follows is the text.
    let bare = run(&home, &["--choices", "billing,shipping", "--json", "full", "refund"]).json();
    assert_eq!(bare["model"], "triage:latest");
}

/// Data with labels has a column `label` of its own.
#[test]
fn names_that_the_records_have_already_are_left_to_them() {
    let home = Home::new();
    let asked =
        |input: &str| run(&home, &["--choices", "billing,shipping", "--jsonl", "b", "--json"]).stdin(input).run();
    let taken =
        rows(&asked("{\"b\": \"charged twice\", \"label\": \"x\"}\n{\"b\": \"\"}\n{\"b\": \"late parcel\"}\n").stdout);
    assert_eq!((&taken[0]["label"], &taken[0]["slm_label"]), (&json!("x"), &json!("billing")));
    assert_eq!(taken[1], json!({"b": "", "slm_error": "`b` is empty"}));
    let keys: Vec<&String> = taken[2].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["b", "slm_label", "slm_probability", "slm_label_mass"]);
    let late = asked("{\"b\": \"charged twice\"}\n{\"b\": \"late parcel\", \"label\": 1}\n");
    assert_eq!(rows(&late.stdout)[1]["error"], "the record has a field `label` already");
    assert_eq!(late.code, Some(1));
}

#[test]
fn an_array_is_answered_as_its_elements_one_per_line() {
    let home = Home::new();
    let asked = |more: &[&str], input: &str| {
        run(&home, &[&["--choices", "billing,shipping,legal", "--jsonl", "body"], more].concat()).stdin(input).run()
    };
    for more in [&[][..], &["--json"]] {
        let by_line = rows(&asked(more, &jsonl()).stdout);
        let array = Value::from(objects());
        let pretty = serde_json::to_string_pretty(&array).unwrap();
        for input in [array.to_string(), pretty.clone(), format!("\u{feff}\r\n {}\r\n", pretty.replace('\n', "\r\n"))] {
            let said = asked(more, &input);
            assert_eq!((rows(&said.stdout), said.stderr.as_str(), said.code), (by_line.clone(), "", Some(0)));
        }
    }
    let said = asked(&[], &json!(TEXTS).to_string());
    assert_eq!(rows(&said.stdout)[1], json!({"body": TEXTS[1], "answer": "shipping"}));
    let empty = asked(&[], " [ ] ");
    assert_eq!((empty.stdout.as_str(), empty.stderr.as_str(), empty.code), ("", "", Some(0)));
}

#[test]
fn what_is_wrong_in_an_array_is_told_by_element_and_line() {
    let home = Home::new();
    let asked = |input: &str| run(&home, &["--format", r#"{"const": "one"}"#, "--jsonl", "body"]).stdin(input).run();
    let said = asked("[{\"body\": \"a\"},\n {\"body\": 7},\n\n {\"body\"\n  \"b\"}, [1],\n {\"body\": \"c\"},\n]\n");
    assert_eq!(
        said.stdout,
        "{\"body\": \"a\",\"answer\":\"one\"}\n\
         {\"body\": 7,\"error\":\"`body` is a number, not a string\"}\n\
         {\"element\":3,\"line\":4,\"error\":\"the element is not JSON: expected `:` at line 5 column 3\"}\n\
         {\"element\":4,\"line\":5,\"error\":\"this element is JSON but not an object\"}\n\
         {\"body\": \"c\",\"answer\":\"one\"}\n\
         {\"element\":6,\"line\":7,\"error\":\"the element is empty; remove a comma\"}\n"
    );
    let errors: Vec<&str> = said.stderr.lines().collect();
    assert_eq!(errors[0], "slm: element 2 (line 2): `body` is a number, not a string");
    assert_eq!((errors.last(), said.code), (Some(&"slm: 4 of 6 rows failed"), Some(1)));
    for (input, why) in [
        ("[{\"body\": \"a\"},\n{\"body\": \"b\"", "element 2 (line 2) is not complete: the array is not closed"),
        ("[{\"body\": \"a\"}\n", "element 1 (line 1) is not complete: the array is not closed"),
        (
            "[{\"body\": \"a\"}]\n{}",
            "line 2: there is more after the end of the array; give one array, or one object per line",
        ),
    ] {
        let said = asked(input);
        assert_eq!(
            (said.stderr, said.code),
            (format!("slm: cannot read standard input: {why}\n"), Some(1)),
            "{}",
            said.stdout
        );
    }
}

/// The array's end has not come yet when the first elements are answered.
#[test]
fn an_array_is_answered_while_it_comes() {
    let home = Home::new();
    let mut command = run(&home, &["--choices", "billing,shipping", "--jsonl", "b"]).command();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut next = "[";
    for _ in 0..2 {
        stdin.write_all(format!("{next}{{\"b\": \"charged twice\"}},").as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "{\"b\": \"charged twice\",\"answer\":\"billing\"}\n");
        next = "";
    }
    stdin.write_all(b"\"late parcel\"]").unwrap();
    drop(stdin);
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(0));
}

#[test]
fn an_array_that_was_stopped_continues() {
    let home = Home::new();
    let args = ["--choices", "billing,shipping,legal", "--jsonl", "body", "--json", "--output", "out"];
    let objects: Vec<Value> = (0..20).map(|n| json!({"id": n, "body": format!("I was charged\n{n} times")})).collect();
    let array = serde_json::to_string_pretty(&Value::from(objects)).unwrap();
    let path = home.path().join("out");
    run(&home, &args).stdin(&array).succeeds();
    let whole = std::fs::read_to_string(&path).unwrap();
    // An input that ends too early, and a line that was not written to its end, as after a kill.
    let cut = array.find("\"id\": 11").unwrap();
    run(&home, &[&args[..], &["--overwrite"]].concat()).stdin(&array[..cut]).ends(1);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{ \"id\": 11, \"bo").unwrap();
    run(&home, &[&args[..], &["--resume"]].concat()).stdin(&array).succeeds();
    assert!(std::fs::read_to_string(&path).unwrap() == whole);
    let other = array.replacen("charged", "billed", 1);
    let said = run(&home, &[&args[..], &["--resume"]].concat()).stdin(&other).ends(1);
    assert!(said.stderr.starts_with("slm: cannot continue `out`"), "{}", said.stderr);
}
