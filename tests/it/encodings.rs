//! What a person gives as a file or on standard input, in every encoding and with either line end: the answers are the same.

use serde_json::Value;

use crate::slm::{Home, NOT_TEXT, allowed};

/// A text in every encoding, with the line ends of Unix and of Windows; the first is the text as it is.
fn coats(text: &str) -> Vec<Vec<u8>> {
    let utf16 = |text: &str, order: fn(u16) -> [u8; 2]| {
        [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(order).collect::<Vec<u8>>()
    };
    let in_encodings = |text: &str| {
        let marked = format!("\u{feff}{text}").into_bytes();
        [text.as_bytes().to_vec(), marked, utf16(text, u16::to_le_bytes), utf16(text, u16::to_be_bytes)]
    };
    [in_encodings(text), in_encodings(&text.replace('\n', "\r\n"))].concat()
}

/// Asserts that what `result` makes of every coat is what it makes of the text as it is, and gives that.
#[track_caller]
fn same_in_every_coat<R: PartialEq + std::fmt::Debug>(text: &str, result: impl Fn(&[u8]) -> R) -> R {
    let mut coats = coats(text).into_iter();
    let plain = result(&coats.next().unwrap());
    for coat in coats {
        assert_eq!(result(&coat), plain, "{:x?}", &coat[..coat.len().min(20)]);
    }
    plain
}

const RECORDS: &str =
    "\n{\"id\": 1, \"body\": \"caf\u{e9} charged twice\"}\n \t\n\n{\"id\": 2}\n{\"body\": \"\u{1f4e6} late\"}\n\n";

#[test]
fn json_lines_are_read_without_their_blank_lines() {
    let home = Home::new();
    let args = ["run", "triage", "--choices", "billing,shipping", "--jsonl", "body", "--verbose"];
    let (answers, troubles) = same_in_every_coat(RECORDS, |input| {
        let said = home.slm(args).stdin(input).ends(1);
        let troubles = said.stderr.lines().filter(|line| line.starts_with("slm: ")).map(str::to_owned);
        (said.stdout, troubles.collect::<Vec<_>>())
    });
    let lines: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0]["answer"].is_string() && lines[2]["answer"].is_string(), "{answers}");
    assert_eq!(
        troubles,
        [
            "slm: line 5: there is no field `body`; the record has `id`",
            "slm: 4 blank lines were skipped",
            "slm: 1 of 3 rows failed"
        ]
    );
    // Blank lines of texts are bad rows: answers stay beside their lines.
    let texts = home
        .slm(["run", "triage", "--format", r#"{"const": "one"}"#, "--lines", "--verbose"])
        .stdin("a\n\nb\n")
        .ends(1);
    assert_eq!(texts.stdout, "one\n\none\n");
    assert!(!texts.stderr.contains("skipped"), "{}", texts.stderr);
}

#[test]
fn lines_and_prompts_are_read() {
    let home = Home::new();
    let rows = same_in_every_coat("caf\u{e9}\ncharged twice\n", |input| {
        home.slm(["run", "triage", "--lines", "--choices", "billing,shipping"]).stdin(input).succeeds()
    });
    assert_eq!(rows.lines().count(), 2);
    let prompt = same_in_every_coat("caf\u{e9}\n", |input| {
        home.slm(["run", "triage", "--dry-run", "--json"]).stdin(input).json()["prompt"].clone()
    });
    assert_eq!(prompt, "<|user|>caf\u{e9}<|end|><|assistant|>");
}

/// The same input may come in another encoding when a run continues.
#[test]
fn a_run_goes_on_behind_blank_lines() {
    let home = Home::new();
    let run = |more: &[&str], input: &[u8], code| {
        let args = ["run", "triage", "--choices", "billing,shipping", "--jsonl", "body"];
        home.slm([&args, more].concat()).stdin(input).ends(code).stdout
    };
    let whole = run(&[], RECORDS.as_bytes(), 1);
    let begun = RECORDS.split_inclusive('\n').take(5).collect::<String>();
    let out = home.path().join("out");
    for (coat, rest) in coats(&begun).into_iter().zip(coats(RECORDS).into_iter().take(4).rev()) {
        run(&["--output", "out", "--overwrite"], &coat, 1);
        assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 2);
        // The row that failed was in the first part.
        run(&["--output", "out", "--resume"], &rest, 0);
        assert_eq!(std::fs::read_to_string(&out).unwrap(), whole);
    }
}

const SCHEMA: &str =
    "{\n  \"type\": \"object\",\n  \"properties\": {\"queue\": {\"enum\": [\"caf\u{e9}\", \"billing\"]}}\n}\n";

#[test]
fn formats_and_grammars_are_read_from_their_files() {
    let home = Home::new();
    let fields = same_in_every_coat(SCHEMA, |schema| {
        home.file("schema.json", schema);
        home.slm(["run", "triage", "--json", "--format", "@schema.json", "charged twice"]).json()["fields"].clone()
    });
    assert_eq!(allowed(&fields["queue"]), ["caf\u{e9}", "billing"]);
    let inline = format!("\u{feff}{SCHEMA}");
    let inline = home.slm(["run", "triage", "--json", "--format", &inline, "charged twice"]).json();
    assert_eq!(inline["fields"], fields);
    let written = same_in_every_coat("start: word\nword: \"caf\u{e9}\"\n", |grammar| {
        home.file("grammar.lark", grammar);
        home.slm(["run", "triage", "--grammar", "@grammar.lark", "x"]).succeeds()
    });
    assert_eq!(written, "caf\u{e9}\n");
}

/// The layers of the models have the same digests.
#[test]
fn a_modelfile_and_its_format_make_the_same_model() {
    let home = Home::new();
    let digest = |modelfile: &[u8]| {
        home.file("Modelfile", modelfile);
        home.slm(["create", "mine", "--json"]).json()["digest"].clone()
    };
    let head = "FROM triage\nSYSTEM \"\"\"two\ncaf\u{e9}s\"\"\"\n";
    let of_text = same_in_every_coat(&format!("{head}FORMAT \"\"\"{SCHEMA}\"\"\"\n"), |modelfile| digest(modelfile));
    let of_marked_text = digest(format!("{head}FORMAT \"\"\"\u{feff}{SCHEMA}\"\"\"\n").as_bytes());
    let of_file = same_in_every_coat(SCHEMA, |schema| {
        home.file("schema.json", schema);
        digest(format!("{head}FORMAT @schema.json\n").as_bytes())
    });
    assert_eq!([&of_marked_text, &of_file], [&of_text; 2]);
    let from_input = same_in_every_coat(&format!("{head}FORMAT @schema.json\n"), |modelfile| {
        home.slm(["create", "mine", "--json", "-f", "-"]).stdin(modelfile).json()["digest"].clone()
    });
    assert_eq!(from_input, of_text);
}

/// A report without what differs from run to run.
fn stable(mut report: Value) -> Value {
    let object = report.as_object_mut().unwrap();
    object.retain(|name, _| ["counts", "subjects"].contains(&name.as_str()));
    for subject in object["subjects"].as_array_mut().unwrap() {
        subject.as_object_mut().unwrap().remove("speed");
    }
    report
}

#[test]
fn suites_their_formats_and_their_data_are_read() {
    let home = Home::new();
    let suite = |data: &str| {
        format!(
            "model: triage\ndata: {data}\ninput: text\nexpect: queue\nformat: \"@schema.json\"\nsystem: |\n  Sort.\n  Caf\u{e9}s.\n"
        )
    };
    let jsonl = "\n{\"text\": \"caf\u{e9}\", \"queue\": \"caf\u{e9}\"}\n\t\n{\"text\": 1}\n{\"text\": \"charged\", \"queue\": \"billing\"}\n";
    let csv = "text,queue\ncaf\u{e9},caf\u{e9}\n\n\"charged, twice\",billing\n";
    for (data, content, blank_lines, n_failed) in
        [("d.jsonl", jsonl, "slm: 2 blank lines were skipped\n", 1), ("d.csv", csv, "", 0)]
    {
        let files = [("suite.yaml", suite(data)), ("schema.json", SCHEMA.to_owned()), (data, content.to_owned())];
        let write = || files.iter().for_each(|(name, text)| drop(home.file(name, text)));
        let mut reports = Vec::new();
        for (name, text) in &files {
            write();
            reports.push(same_in_every_coat(text, |coat| {
                home.file(name, coat);
                let said = home.slm(["eval", "suite.yaml", "--json", "--no-baselines"]).ends(0);
                assert_eq!(said.stderr, blank_lines);
                stable(serde_json::from_str(&said.stdout).unwrap())
            }));
        }
        assert_eq!(reports[0]["subjects"][0]["failed"]["hits"], n_failed);
        assert!(reports.iter().all(|report| *report == reports[0]), "{reports:?}");
    }
    // Lines are those of the file.
    home.file("suite.yaml", suite("d.jsonl"));
    let report = home.slm(["eval", "suite.yaml", "--json"]).ends(0).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    let failures = &report["subjects"][0]["failures"];
    assert_eq!(failures[0]["at"], "line 4");
    assert_eq!(failures[0]["reason"], "`text` is a number, not a text");
}

#[test]
fn what_is_in_no_encoding_is_refused_where_it_is() {
    let home = Home::new();
    home.file("latin", b"{\"enum\":\n [\"caf\xe9\"]}");
    // UTF-16 without a mark.
    home.file("unmarked", "{}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    let run = |flag: &str, file: &str| home.slm(["run", "triage", flag, file, "x"]);
    run("--format", "@latin").fails(2, &format!("slm: cannot read the schema `latin`: line 2, column 7: {NOT_TEXT}\n"));
    run("--grammar", "@unmarked")
        .fails(2, &format!("slm: cannot read the grammar `unmarked`: line 1, column 2: {NOT_TEXT}\n"));
    home.slm(["eval", "latin"]).fails(1, &format!("slm: `latin`: line 2, column 7: {NOT_TEXT}\n"));
    home.slm(["create", "mine", "-f", "unmarked"])
        .fails(1, &format!("slm: `unmarked`: line 1, column 2: {NOT_TEXT}\n"));
    home.file("Modelfile", "FROM triage\nFORMAT @latin");
    home.slm(["create", "mine"])
        .fails(1, &format!("slm: the schema `latin` of FORMAT cannot be read: line 2, column 7: {NOT_TEXT}\n"));
    let rows = b"{\"b\": \"x\"}\n{\"b\": \"caf\xe9\"}\n";
    let said = home.slm(["run", "triage", "--format", r#"{"const": "one"}"#, "--jsonl", "b"]).stdin(rows).ends(1);
    assert_eq!(said.stdout.lines().next(), Some("{\"b\": \"x\",\"answer\":\"one\"}"));
    assert_eq!(said.stderr, format!("slm: line 2: column 11: {NOT_TEXT}\nslm: 1 of 2 rows failed\n"));
}
