//! `slm run --lines` and `--jsonl`: standard input as records, as shells and terminals use it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::slm::{Call, Home, NOT_TEXT, end_within};

const PATIENCE: Duration = Duration::from_secs(120);

fn lines(home: &Home, more: &[&str]) -> Call {
    home.slm([&["run", "triage", "--lines", "--choices", "billing,shipping,legal"], more].concat())
}

#[test]
fn answers_come_in_order_and_are_those_of_single_calls() {
    let home = Home::new();
    let texts = ["I was charged twice", "my parcel never came", "I will sue you", "I was charged twice"];
    let together = lines(&home, &[]).stdin(texts.join("\n")).succeeds();
    let alone = |text: &&str| home.slm(["run", "triage", "--choices", "billing,shipping,legal", text]).succeeds();
    assert_eq!(together, texts.iter().map(alone).collect::<String>());
    // A line's end is none of the text's, whichever system wrote it, and the last may have none.
    assert_eq!(lines(&home, &[]).stdin(texts.join("\r\n") + "\r\n").succeeds(), together);
    assert_eq!(lines(&home, &[]).stdin("").succeeds(), "");
}

#[test]
fn a_later_row_takes_over_the_stable_part() {
    let home = Home::new();
    let json = lines(&home, &["--json"]).stdin("one\ntwo\n").succeeds();
    let rows: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows[0]["line"].clone(), rows[1]["line"].clone()), (1.into(), 2.into()));
    assert_eq!(rows[0]["tokens"]["reused"], 0);
    assert!(rows[1]["tokens"]["reused"].as_u64() > Some(0), "{json}");
    assert_eq!(rows[0]["prompt_digest"], rows[1]["prompt_digest"]);
}

#[test]
fn throughput_gives_the_same_answers_and_nearly_the_same_probabilities() {
    let home = Home::new();
    let texts: String = (0..40).map(|n| ["charged twice", "late parcel", "sue you"][n % 3].to_owned() + "\n").collect();
    let rows = |more: &[&str]| -> Vec<Value> {
        let said = lines(&home, &[&["--json"], more].concat()).stdin(&texts).succeeds();
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for (canonical, batched) in rows(&[]).iter().zip(rows(&["--throughput"])) {
        assert_eq!((&canonical["line"], &canonical["value"]), (&batched["line"], &batched["value"]));
        // The id promises the same bits.
        assert!(canonical["evaluation_id"].is_string() && batched.get("evaluation_id").is_none(), "{batched}");
        for (label, p) in canonical["probabilities"].as_object().unwrap() {
            let difference = (p.as_f64().unwrap() - batched["probabilities"][label].as_f64().unwrap()).abs();
            assert!(difference < 0.02, "{canonical} {batched}");
        }
    }
}

/// A reader that waits for an answer before it asks again must get it.
#[test]
fn every_answer_is_flushed_before_the_next_line_is_read() {
    let home = Home::new();
    let mut child =
        lines(&home, &[]).command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for text in ["I was charged twice\n", "my parcel never came\n"] {
        stdin.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stdout.read_line(&mut answer).unwrap();
        assert!(["billing\n", "shipping\n", "legal\n"].contains(&answer.as_str()), "{answer}");
    }
    drop(stdin);
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(0));
}

/// Good, empty, not UTF-8, too long, good.
fn mixed() -> Vec<u8> {
    let long = "word ".repeat(2000);
    [b"charged twice\n\ncaf\xe9\n", long.as_bytes(), b"\nlate parcel"].concat()
}

#[test]
fn a_bad_row_is_reported_in_its_place_and_the_rest_goes_on() {
    let home = Home::new();
    let said = lines(&home, &[]).stdin(mixed()).ends(1);
    let answers: Vec<&str> = said.stdout.split('\n').collect();
    assert!(!answers[0].is_empty() && !answers[4].is_empty(), "{answers:?}");
    assert_eq!((&answers[1..4], &answers[5..]), (&["", "", ""][..], &[""][..]));
    let errors: Vec<&str> = said.stderr.lines().collect();
    assert_eq!(errors[0], "slm: line 2: the line is empty");
    assert_eq!(errors[1], format!("slm: line 3: column 4: {NOT_TEXT}"));
    assert!(
        errors[2].starts_with("slm: line 4: the prompt is too long: ") && errors[2].contains("has 1024"),
        "{errors:?}"
    );
    assert_eq!(errors[3..], ["slm: 3 of 5 rows failed"]);

    let json = lines(&home, &["--json"]).stdin(mixed()).ends(1);
    assert_eq!(json.stderr, said.stderr);
    let rows: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().map(|row| row["line"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(rows[1].to_string(), r#"{"line":2,"error":"the line is empty"}"#);
    assert_eq!(rows[2].to_string(), format!("{{\"line\":3,\"error\":\"column 4: {NOT_TEXT}\"}}"));
    assert!(rows[3]["error"].as_str().unwrap().starts_with("the prompt is too long: "));

    let said = lines(&home, &["--keep-going=false"]).stdin(mixed()).ends(1);
    assert_eq!(said.stdout.lines().count(), 1);
    assert_eq!(said.stderr, "slm: line 2: the line is empty\nslm: stopped at line 2; 1 rows were answered\n");
}

#[test]
fn truncation_makes_long_rows_fit_and_the_reply_says_so() {
    let json = lines(&Home::new(), &["--json", "--truncate", "100"]).stdin("word ".repeat(2000)).succeeds();
    let row: Value = serde_json::from_str(&json).unwrap();
    assert!(row["tokens"]["truncated"].as_u64() >= Some(1900), "{json}");
}

#[test]
fn open_text_stays_on_its_line() {
    let home = Home::new();
    free(&home);
    let args =
        ["run", "free", "--lines", "--format", "none", "--temperature", "2", "--top-k", "0", "--num-predict", "40"];
    let rows = "one two\n".repeat(6);
    let said = home.slm(args).stdin(&rows).ends(0);
    assert_eq!(said.stdout.lines().count(), 6, "{}", said.stdout);
}

const RECORDS: &str = r#"{"id": 12345678901234567890123, "body": "charged twice", "price": 1.10}
{"ticket": {"a/b": "late parcel"}}
[1]
{"body": 7}
{"body": ""}
{"body": "x", "answer": 1}
{"body": "café", "error": "none"}
{}
"#;

#[test]
fn jsonl_writes_each_record_back_with_its_answer() {
    let home = Home::new();
    let jsonl = |field: &str| {
        home.slm(["run", "triage", "--format", r#"{"const": "one"}"#, "--jsonl", field]).stdin(RECORDS).ends(1)
    };
    let said = jsonl("body");
    assert_eq!(
        said.stdout,
        r#"{"id": 12345678901234567890123, "body": "charged twice", "price": 1.10,"answer":"one"}
{"ticket": {"a/b": "late parcel"},"error":"there is no field `body`; the record has `ticket`"}
{"line":3,"error":"this line is JSON but not an object"}
{"body": 7,"error":"`body` is a number, not a string"}
{"body": "","error":"`body` is empty"}
{"body": "x", "answer": 1,"error":"the record has a field `answer` already"}
{"body": "café", "error": "none","answer":"one"}
{"error":"there is no field `body`; the record is empty"}
"#
    );
    assert_eq!(
        said.stderr,
        "slm: line 2: there is no field `body`; the record has `ticket`
slm: line 3: this line is JSON but not an object
slm: line 4: `body` is a number, not a string
slm: line 5: `body` is empty
slm: line 6: the record has a field `answer` already
slm: line 8: there is no field `body`; the record is empty
slm: 6 of 8 rows failed
"
    );
    let pointed = jsonl("/ticket/a~1b");
    assert_eq!(pointed.stdout.lines().nth(1), Some(r#"{"ticket": {"a/b": "late parcel"},"answer":"one"}"#));
    // A field `error` of the record's own is not overwritten.
    assert_eq!(
        pointed.stdout.lines().nth(6),
        Some(r#"{"line":7,"error":"there is no field `/ticket/a~1b`; the record has `body`, `error`"}"#)
    );
}

#[test]
fn jsonl_with_json_adds_everything_that_is_known() {
    let input = r#"{"body": "charged twice"}"#;
    let row = Home::new().slm(["run", "triage", "--jsonl", "body", "--json"]).stdin(input).json();
    assert_eq!(row["body"], "charged twice");
    assert_eq!(row["answer"]["fields"].as_object().unwrap().len(), 3);
    let bare = Home::new().slm(["run", "triage", "--jsonl", "body"]).stdin(input).json();
    assert_eq!(bare["answer"], row["answer"]["value"]);
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let home = Home::new();
    let script = "yes 'charged twice' | head -5000 | \"$SLM\" run triage --lines --format '{\"const\": \"one\"}' | head -1; \
                  echo \"${PIPESTATUS[2]}\"";
    let output = Command::new("bash")
        .args(["-c", script])
        .env("HOME", home.path())
        .env("SLM", env!("CARGO_BIN_EXE_slm"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\n0\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

fn interrupt(child: &std::process::Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[test]
fn ctrl_c_ends_a_wait_for_input_at_once_with_130() {
    let home = Home::new();
    let mut child = lines(&home, &[])
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdin.write_all(b"charged twice\n").unwrap();
    let mut answer = String::new();
    stdout.read_line(&mut answer).unwrap();
    interrupt(&child);
    // Standard input stays open: nothing else could end it.
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(130));
    drop(stdin);
}

/// A model that writes without end, as far as it is let.
fn free(home: &Home) {
    home.file("Modelfile", "FROM triage\nTEMPLATE {% for m in messages %}{{ m['content'] }}{% endfor %}");
    home.slm(["create", "free"]).succeeds();
}

#[test]
fn rows_in_flight_are_written_in_order_whichever_ends_first() {
    let home = Home::new();
    free(&home);
    let rows: String = (0..40).map(|n| format!("{{\"id\": {n}, \"b\": \"row {n} wants\"}}\n")).collect();
    let run = |parallel: &str| {
        let mut args = vec!["run", "free", "--jsonl", "b", "--format", "none", "--num-predict", "12", "--seed", "7"];
        args.extend(["--parallel", parallel]);
        home.slm(args).stdin(&rows).succeeds()
    };
    for parallel in ["1", "5", "40"] {
        let ids: Vec<Value> = run(parallel).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ids: Vec<u64> = ids.iter().map(|row| row["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, (0..40).collect::<Vec<_>>(), "--parallel {parallel}");
    }
}

#[test]
fn rows_in_flight_are_a_number_that_can_be() {
    let home = Home::new();
    let refusal = |name: &str, value: &str| {
        format!("slm: {name}: `{value}` is not a number of rows in flight; give one from 1 to 1024\n")
    };
    for value in ["0", "1025", "many"] {
        lines(&home, &["--parallel", value]).fails(2, &refusal("--parallel", value));
    }
    lines(&home, &[]).env("OLLAMA_NUM_PARALLEL", "-1").fails(2, &refusal("SLM_NUM_PARALLEL", "-1"));
    lines(&home, &[]).env("OLLAMA_NUM_PARALLEL", "0").succeeds();
    let said = lines(&home, &["--parallel", "4"]).env("SLM_NUM_PARALLEL", "x").stdin("a\nb\n").succeeds();
    assert_eq!(said.lines().count(), 2);
}

#[test]
fn ctrl_c_lets_the_rows_in_flight_end_and_reads_no_more() {
    let home = Home::new();
    free(&home);
    let args = "run free --lines --json --format none --num-predict 40 --temperature 2 --parallel 4".split(' ');
    let mut child =
        home.slm(args).command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than are in flight at once; the pipe stays open.
    stdin.write_all("tell me more\n".repeat(500).as_bytes()).unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    interrupt(&child);
    let rest: Vec<String> = stdout.lines().map(|line| line.unwrap()).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(130), ""));
    let rows = std::iter::once(&first).chain(&rest).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let numbers: Vec<u64> = rows.map(|row| row["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    // At most the window: 4 in flight and 12 that wait for their turn, some time after the first line was read.
    assert!((4..100).contains(&numbers.len()), "{} rows", numbers.len());
    drop(stdin);
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let home = Home::new();
    free(&home);
    // Rows that take long: nobody wants to wait for them.
    let args = "run free --lines --format none --num-predict 900 --temperature 2 --parallel 8".split(' ');
    let mut child =
        home.slm(args).command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all("tell me more\n".repeat(200).as_bytes()).unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    interrupt(&child);
    std::thread::sleep(Duration::from_millis(50));
    interrupt(&child);
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(130));
    drop(stdin);
}

#[test]
fn ctrl_c_between_rows_leaves_whole_lines_and_130() {
    let home = Home::new();
    home.file("many.txt", "charged twice\n\n".repeat(50_000));
    let input = std::fs::File::open(home.path().join("many.txt")).unwrap();
    let mut child =
        lines(&home, &["--json"]).command().stdin(input).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    interrupt(&child);
    let rest: Vec<String> = stdout.lines().map(|line| line.unwrap()).collect();
    assert_eq!(end_within(child, PATIENCE).and_then(|status| status.code()), Some(130));
    assert!(rest.len() < 99_000, "{} rows came after Ctrl-C", rest.len());
    for line in std::iter::once(first).chain(rest) {
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

/// The program on a terminal, by Python's pty module: what it wrote, its error output, and its code.
fn on_a_terminal(home: &Home, args: &[&str], stdin: &str) -> Option<(String, i32)> {
    const SCRIPT: &str = r#"
import os, pty, subprocess, sys
try:
    ours, theirs = pty.openpty()
except OSError:
    sys.exit(77)
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=theirs, stderr=theirs)
os.close(theirs)
child.stdin.write(os.environb[b"TEXT"])
child.stdin.close()
while True:
    try:
        piece = os.read(ours, 65536)
    except OSError:
        break
    if not piece:
        break
    sys.stdout.buffer.write(piece)
sys.stdout.buffer.flush()
sys.exit(child.wait())
"#;
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT, env!("CARGO_BIN_EXE_slm")]).args(args);
    command.env("HOME", home.path()).env("TEXT", stdin).env("TERM", "xterm").current_dir(home.path());
    let output = command.output();
    let output = output.ok().filter(|output| output.status.code() != Some(77));
    let Some(output) = output else {
        slm_testing::skipped!("there is no python3, or no pseudo-terminal");
        return None;
    };
    Some((String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n"), output.status.code().unwrap()))
}

#[test]
fn a_terminal_gets_one_line_a_field_with_a_bar() {
    let home = Home::new();
    let Some((page, code)) = on_a_terminal(&home, &["run", "triage", "I was charged twice, give me my money back"], "")
    else {
        return;
    };
    assert_eq!(code, 0, "{page}");
    let rows: Vec<Vec<&str>> = page.lines().map(|line| line.split_whitespace().collect()).collect();
    let [queue, urgency, refund] = rows.as_slice() else { panic!("{page}") };
    assert_eq!(
        (&queue[..2], urgency[0], &refund[..2]),
        (&["queue", "billing"][..], "urgency", &["refund", "true"][..])
    );
    for row in rows {
        let (percent, bar) = (row[2].parse::<f64>().unwrap(), row[4].chars().count() as f64);
        assert!((bar - percent / 5.0).abs() <= 1.0, "{page}");
    }
    let Some((page, _)) = on_a_terminal(&home, &["run", "triage", "--format", r#"{"const": "one"}"#, "x"], "") else {
        return;
    };
    assert_eq!(page, "one  100.0 %  ████████████████████\n");
}

#[test]
fn a_terminal_sees_how_rows_get_on() {
    let home = Home::new();
    let rows = "charged twice\n".repeat(1500) + "\n";
    let args = ["run", "triage", "--lines", "--format", r#"{"const": "one"}"#, "--output", "out"];
    let Some((page, code)) = on_a_terminal(&home, &args, &rows) else { return };
    assert_eq!(code, 1, "{page}");
    // The bar is drawn now and then; some picture of it has a rate and the running totals.
    let picture = page.split(['\r', '\n']).find(|line| line.contains("/s") && line.contains("one "));
    let picture = picture.unwrap_or_else(|| panic!("{page:?}"));
    assert!(
        (picture.contains(" rows  ") || picture.contains(" 1 row  ")) && picture.contains(" tokens  one "),
        "{picture:?}"
    );
    assert!(page.ends_with("slm: 1 of 1501 rows failed\n"), "{page:?}");
}

#[test]
fn verbose_ends_with_the_totals() {
    let home = Home::new();
    let said = home.slm(["run", "triage", "--lines", "--verbose"]).stdin("I was charged twice\n\nhello\n").ends(1);
    let totals: Vec<&str> = said.stderr.lines().skip_while(|line| !line.starts_with("answered ")).collect();
    assert!(totals[0].contains(" 3 rows in ") && totals[0].contains(" rows/s, 1 failed; "), "{}", said.stderr);
    assert!(
        totals[0].contains(" tokens evaluated, ") && totals[0].ends_with(" reused, 0 generated"),
        "{}",
        said.stderr
    );
    for field in ["queue ", "urgency ", "refund "] {
        let line = totals.iter().find(|line| line.starts_with(field)).unwrap_or_else(|| panic!("{}", said.stderr));
        // A label may be a number too: its count is the last word of its part.
        let counts = line.split(", ").map(|part| part.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        assert_eq!(counts.sum::<u64>(), 2, "{line}");
    }
    assert_eq!(totals.last(), Some(&"slm: 1 of 3 rows failed"));
}

#[test]
fn no_escape_sequence_reaches_a_terminal() {
    let home = Home::new();
    let evil = "\u{1b}]0;title\u{7}\u{1b}[31mred\u{9b}0m";
    let calls: [(&[&str], &str); 5] = [
        (&["run", "triage", "--dry-run", evil], ""),
        (&["run", "triage", "--choices", &format!("a{evil}"), "x"], ""),
        (&["run", evil, "x"], ""),
        (&["run", "triage", "--dry-run", "--json", evil], ""),
        (&["run", "triage", "--dry-run", "--system", evil, "x"], ""),
    ];
    for (args, stdin) in calls {
        let Some((page, _)) = on_a_terminal(&home, args, stdin) else { return };
        assert!(page.contains("red"), "{page:?}");
        assert!(!page.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{args:?}: {page:?}");
    }
    // Rows: the bar on standard error draws with sequences of its own, so standard error goes elsewhere.
    let record = "{\"red\u{9b}31m\": 1, \"b\": \"x\u{9b}0m\"}\n{\"c\u{9b}\": 2}\n";
    let slm = env!("CARGO_BIN_EXE_slm");
    let script = format!("'{slm}' run triage --jsonl b --format '{{\"const\": \"one\"}}' 2>errors");
    let mut command = Command::new("script");
    command.args(["-qec", &script, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.env("HOME", home.path()).current_dir(home.path()).spawn() else {
        slm_testing::skipped!("there is no `script`");
        return;
    };
    // `script` gives its input to the program's terminal, where Ctrl-D is the end.
    child.stdin.take().unwrap().write_all(format!("{record}\u{4}").as_bytes()).unwrap();
    let page = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(page.contains("\"answer\":\"one\"") && page.contains("\u{fffd}31m"), "{page:?}");
}
