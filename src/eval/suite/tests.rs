//! Suites that are good, broken in every way, or hostile.

use super::{Baseline, End, ExpectedField, Format, Judge, Limit, MAX_BYTES, Metric, RemoteSource, Source, Suite, Whom};
use proptest::prelude::*;
use serde_json::{Value, json};
use slm_stats::text::Tolerance;
use std::fmt::Write as _;
use std::path::Path;

const SMALL: &str = "model: triage\ndata: tickets.jsonl\ninput: text\nexpect: queue\n";

fn refused(yaml: &str) -> String {
    Suite::parse(yaml).expect_err(yaml).to_string()
}

/// The small suite with one of its lines replaced.
fn with(key: &str, value: &str) -> String {
    let other = |line: &&str| !line.starts_with(&format!("{key}:"));
    let rest: Vec<&str> = SMALL.lines().filter(other).collect();
    format!("{key}: {value}\n{}\n", rest.join("\n"))
}

#[test]
fn a_full_suite() {
    let suite = Suite::parse(
        "# How good is it?
model: hf.co/user/repo:Q4_K_M
data: data/tickets.csv
input: text
expect: {queue: true_queue, urgency: urgency}
format:
  type: object
  properties:
    queue: {enum: [no, billing, 'yes']}
    urgency: {type: integer, minimum: 1, maximum: 3}
system: Read the ticket.
parameters: {num_ctx: 2048, stop: [a], temperature: 0.5}
limit: 100
",
    )
    .expect("a good suite");
    let field = |field: &str, column: &str| ExpectedField {
        field: field.into(),
        column: Some(column.into()),
        judge: Judge::Label,
        limits: None,
    };
    let [variant] = suite.variants.as_slice() else { panic!("one model") };
    let model = "hf.co/user/repo:Q4_K_M";
    assert_eq!((&variant.whom, variant.name.as_str()), (&Whom::Model(model.to_owned()), model));
    assert_eq!(suite.data, [Source::File("data/tickets.csv".into())]);
    assert_eq!(suite.input, "text");
    assert_eq!(suite.expect, [field("queue", "true_queue"), field("urgency", "urgency")]);
    let schema = variant.schema_in(Path::new("")).expect("inline").expect("there is one");
    let text = r#"{"type":"object","properties":{"queue":{"enum":["no","billing","yes"]},"#.to_owned()
        + r#""urgency":{"type":"integer","minimum":1,"maximum":3}}}"#;
    assert_eq!(schema.to_string(), text, "order kept, `no` a text");
    assert_eq!(variant.system.as_deref(), Some("Read the ticket."));
    assert_eq!(Value::Object(variant.parameters.clone()), json!({"num_ctx": 2048, "stop": ["a"], "temperature": 0.5}));
    assert_eq!(suite.limit, Some(100));
}

#[test]
fn what_is_expected_in_three_forms() {
    let fields = |value: &str| {
        let suite = Suite::parse(&with("expect", value)).expect(value);
        suite.expect.into_iter().map(|e| (e.field, e.column.unwrap_or_default())).collect::<Vec<_>>()
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(fields("queue"), [pair("queue", "queue")]);
    assert_eq!(fields("[queue, urgency]"), [pair("queue", "queue"), pair("urgency", "urgency")]);
    assert_eq!(fields("{queue: b, urgency: a}"), [pair("queue", "b"), pair("urgency", "a")]);
}

#[test]
fn a_mistake_is_named_with_its_line_and_the_way_out() {
    let check = |yaml: &str, expect: &str| assert_eq!(refused(yaml), expect, "{yaml}");
    let known = "`model`, `models`, `data`, `input`, `expect`, `limits`, `id`, `format`, `system`, `prompt`, `parameters`, \
                     `adapters`, `filter`, `limit`, `baselines`, `gate`";
    check(&format!("{SMALL}modle: x\n"), &format!("line 5: unknown key `modle`; the keys here are {known}"));
    check(
        "model: a\ndata: b\nexpect: c\n",
        "the suite has no `input`; it needs `model` or `models`, `data`, `input` and `expect`",
    );
    check(&with("model", "''"), "line 1: `model` is empty");
    check(
        &with("expect", "3"),
        "line 1: `expect` is neither a column's name, nor a list of fields, nor a map of fields to columns",
    );
    check(
        &with("expect", "[a, 3]"),
        "line 1: `expect` is neither a column's name, nor a list of fields, nor a map of fields to columns",
    );
    check(&with("expect", "[]"), "line 1: `expect` names no field");
    check(&with("expect", "[a, b, a]"), "line 1: `expect` names `a` twice");
    check(&with("expect", "[a, '']"), "line 1: `expect` has an empty name");
    check(
        &format!("{SMALL}format: json\n"),
        "line 5: `format` is `json`; write a JSON schema, or `\"@file\"` that holds one",
    );
    check(&format!("{SMALL}format: [a]\n"), "line 5: `format` is neither a JSON schema nor `\"@file\"`");
    check(&format!("{SMALL}limit: 0\n"), "line 5: `limit` is `0`; write a whole number of rows, 1 or more");
    check(&format!("{SMALL}limit: many\n"), "line 5: `limit` is `\"many\"`; write a whole number of rows, 1 or more");
    check(
        &format!("{SMALL}parameters: [1]\n"),
        "line 5: `parameters` is `[1]`; write a map of names to values, such as `num_ctx: 2048`",
    );
}

#[test]
fn what_is_no_yaml_of_one_suite_is_refused_with_its_line() {
    for (yaml, line) in [
        (format!("{SMALL}model: again\n"), "line 5: "),
        (format!("{SMALL}system: [a\n"), "line "),
        (format!("{SMALL}format: {{enum: [!include a]}}\n"), "line 5: "),
        (format!("{SMALL}---\n{SMALL}"), "line "),
        (format!("{SMALL}system: *nothing\n"), "line 5: "),
        (format!("{SMALL}parameters: {{a: .nan}}\n"), "line 5: "),
        ("just a text".to_owned(), "this is not a suite"),
        (String::new(), "this is not a suite"),
        ("# nothing: yet\n".to_owned(), "this is not a suite"),
    ] {
        let message = refused(&yaml);
        assert!(message.starts_with(line), "{yaml}\n{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn hostile_yaml_is_refused_at_once() {
    let mut bomb = format!("{SMALL}parameters:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(bomb, "  a{level}: &a{level} [{aliases}]").expect("a string takes it");
    }
    let nested = |open: &str, close: &str| format!("{SMALL}format: {}{}", open.repeat(10_000), close.repeat(10_000));
    let blocks: String = (0..5000).map(|depth| format!("{}a:\n", " ".repeat(depth + 1))).collect();
    for yaml in [
        bomb.clone(),
        nested("[", "]"),
        nested("{a: ", "}"),
        format!("{SMALL}format:\n{blocks}"),
        format!("{SMALL}parameters: &a {{b: *a}}\n"),
        format!("{SMALL}parameters: [{}]\n", "x,".repeat(100_000)),
        format!("{SMALL}system: {}\n", "x".repeat(MAX_BYTES)),
    ] {
        let message = refused(&yaml);
        assert!(message.len() < 300, "{message}");
    }
    assert_eq!(refused(&bomb), "line 10: more nesting, values, aliases or documents than a suite may have");
}

#[test]
fn a_schema_comes_from_its_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let suite = Suite::parse(&format!("{SMALL}format: '@schema.json'\n")).expect("a good suite");
    let suite = &suite.variants[0];
    assert_eq!(suite.format, Some(Format::File("schema.json".into())));
    let path = folder.path().join("schema.json");
    let missing = suite.schema_in(folder.path()).expect_err("no file yet").to_string();
    assert!(missing.starts_with(&format!("cannot read `{}`: ", path.display())), "{missing}");
    std::fs::write(&path, "{").expect("written");
    let broken = suite.schema_in(folder.path()).expect_err("broken").to_string();
    assert!(broken.starts_with(&format!("`{}`: the schema is not JSON: ", path.display())), "{broken}");
    std::fs::write(&path, r#"{"enum": ["b", "a"]}"#).expect("written");
    assert_eq!(suite.schema_in(folder.path()).expect("good"), Some(json!({"enum": ["b", "a"]})));
}

#[test]
fn a_file_is_named_in_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("suite.yaml");
    std::fs::write(&path, SMALL).expect("written");
    assert_eq!(Suite::load(&path).expect("good"), Suite::parse(SMALL).expect("good"));
    std::fs::write(&path, "x: 1").expect("written");
    let message = Suite::load(&path).expect_err("bad").to_string();
    assert!(message.starts_with(&format!("`{}`: line 1: unknown key `x`", path.display())), "{message}");
    std::fs::write(&path, vec![b'#'; MAX_BYTES + 5]).expect("written");
    let message = Suite::load(&path).expect_err("large").to_string();
    let expect = format!(
        "`{}`: {} bytes are too many for a suite or a schema; the most is {MAX_BYTES}",
        path.display(),
        MAX_BYTES + 1
    );
    assert_eq!(message, expect);
}

#[test]
fn fields_are_checked_against_the_contract() {
    let suite = Suite::parse(&with("expect", "[queue, refund]")).expect("good");
    assert!(suite.check_fields(&[Some("refund"), Some("urgency"), Some("queue")]).is_ok());
    assert_eq!(
        suite.check_fields(&[Some("queue"), Some("urgency")]).expect_err("no refund").to_string(),
        "`expect` names `refund`, which is no field of the answer; its fields are `queue`, `urgency`"
    );
    assert_eq!(
        suite.check_fields(&[None]).expect_err("bare").to_string(),
        "`expect` names 2 fields, but the answer is one value; name the column that holds it"
    );
    assert!(Suite::parse(SMALL).expect("good").check_fields(&[None]).is_ok());
}

#[test]
fn several_models_differ_in_what_they_say() {
    let suite = Suite::parse(
        "models:
  - triage
  - {model: triage, name: short, prompt: '{{ input }}!', parameters: {num_ctx: 512}}
data: [a.jsonl, {text: x, queue: a}, {text: y, queue: b}, b.csv]
input: text
expect:
  queue: queue
  total: {column: amount, as: number, tolerance: 0.5}
  tags: {as: tags}
id: ticket
system: All of them.
parameters: {num_ctx: 256, seed: 1}
filter: {split: test, year: 2024}
baselines: [majority]
gate:
  level: 0.01
  accuracy: {at_least: 0.9, bound: lower}
  queue.macro_f1: {at_least: 0.8}
",
    )
    .expect("a good suite");
    let names: Vec<&str> = suite.variants.iter().map(|variant| variant.name.as_str()).collect();
    assert_eq!(names, ["triage", "short"]);
    assert_eq!(suite.variants[1].prompt.as_deref(), Some("{{ input }}!"));
    assert_eq!(suite.variants[1].system.as_deref(), Some("All of them."));
    assert_eq!(Value::Object(suite.variants[1].parameters.clone()), json!({"num_ctx": 512, "seed": 1}));
    let [Source::File(_), Source::Rows(rows), Source::File(_)] = suite.data.as_slice() else {
        panic!("{:?}", suite.data)
    };
    assert_eq!(rows.len(), 2);
    let judges: Vec<&Judge> = suite.expect.iter().map(|field| &field.judge).collect();
    assert_eq!(
        judges,
        [&Judge::Label, &Judge::Number { tolerance: Tolerance { absolute: 0.5, relative: 0.0 } }, &Judge::Tags]
    );
    assert_eq!(suite.filter, [("split".to_owned(), "test".to_owned()), ("year".to_owned(), "2024".to_owned())]);
    assert_eq!(suite.baselines, [Baseline::Majority]);
    let bounds = &suite.gate.bounds;
    assert!((suite.gate.level - 0.01).abs() < 1e-12);
    assert_eq!((bounds[0].metric, bounds[0].end, bounds[0].limit), (Metric::Accuracy, End::Lower, Limit::AtLeast(0.9)));
    assert_eq!((bounds[1].field.as_deref(), bounds[1].metric), (Some("queue"), Metric::MacroF1));
}

#[test]
fn remotes_stand_beside_models() {
    let mut suite = Suite::parse(
        "models: [triage, {remote: remotes/big.yaml}, {remote: {base_url: u, model: m}, system: Be brief.}]
data: a.csv\ninput: text\nexpect: queue\nsystem: All of them.\nparameters: {num_ctx: 256}\n",
    )
    .expect("a good suite");
    let names = |suite: &Suite| suite.variants.iter().map(|variant| variant.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&suite), ["triage", "big", "m"]);
    let [_, big, m] = suite.variants.as_slice() else { panic!("three subjects") };
    assert_eq!(big.whom, Whom::Remote(RemoteSource::File("remotes/big.yaml".into())));
    assert_eq!((big.system.as_deref(), m.system.as_deref()), (Some("All of them."), Some("Be brief.")));
    let Whom::Remote(keys @ RemoteSource::Keys(_)) = &m.whom else { panic!("keys in the suite") };
    assert_eq!(keys.value_in(Path::new("")).expect("inline"), json!({"base_url": "u", "model": "m"}));
    assert!(big.parameters.is_empty(), "those are of models");
    suite.ask_instead(&["other".to_owned()]);
    assert_eq!(names(&suite), ["other", "big", "m"]);
    suite.ask_instead(&["m".to_owned()]);
    assert_eq!(names(&suite), ["m", "big"]);
}

#[test]
fn a_mistake_in_a_part_is_named() {
    let check = |more: &str, expect: &str| {
        let message = refused(&format!("{SMALL}{more}"));
        assert!(message.starts_with(expect), "{more}\n{message}");
    };
    let of_models = |models: &str| refused(&SMALL.replace("model: triage", &format!("models: {models}")));
    assert_eq!(of_models("[a, a]"), "line 1: `models` names `a` twice; give one of them another `name`");
    assert_eq!(of_models("[{name: a}]"), "line 1: `models` has an entry without `model` or `remote`");
    let message = of_models("[{model: a, promt: x}]");
    assert!(
        message.starts_with("line 1: unknown key `promt`; the keys here are `model`, `remote`, `name`, "),
        "{message}"
    );
    assert_eq!(of_models("[{model: a, remote: b}]"), "line 1: `model` and `remote` are both here; keep one of them");
    let source = "line 1: `remote` is neither a file nor a map with `base_url` and `model`";
    assert_eq!(of_models("[{remote: [sk-secret]}]"), source);
    let settings = "line 1: `adapters` is of models of the store; what a remote is sent stands in its `body`";
    assert_eq!(of_models("[{remote: a.yaml, adapters: [b]}]"), settings);
    assert_eq!(of_models("[]"), "the suite has no `model`; it needs `model` or `models`, `data`, `input` and `expect`");
    check("models: [a]\n", "line 1: `model` and `models` are both here; keep one of them");
    check(
        "gate: {acuracy: {at_least: 1}}\n",
        "line 5: `gate` names the figure `acuracy`, which does not exist; did you mean `accuracy`?",
    );
    check("gate: {accuracy: 0.9}\n", "line 5: `gate` of `accuracy` is not a bound; write `{at_least: 0.9}`");
    check(
        "gate: {accuracy: {bound: lower}}\n",
        "line 5: `gate` of `accuracy` needs one number: `at_least` or `at_most`",
    );
    check(
        "gate: {accuracy: {at_least: 0.9, bound: low}}\n",
        "line 5: `gate` of `accuracy`: `bound` is \"low\"; it can be",
    );
    check(
        "gate: {topic.accuracy: {at_least: 0.9}}\n",
        "`gate` names the field `topic`, which `expect` does not; it has `queue`",
    );
    check("baselines: [words, luck]\n", "line 5: `baselines` is neither `none` nor a list of `majority` and `words`");
    check("filter: [a]\n", "line 5: `filter` is not a map of columns to values");
    let judged = |said: &str| refused(&with("expect", &format!("{{a: {said}}}")));
    assert!(judged("{as: about}").starts_with("line 1: `expect` of `a`: `as` is \"about\"; it can be `exact`, "));
    assert_eq!(judged("{key: x}"), "line 1: `expect` of `a`: `key` goes with `as: list` alone");
    assert!(judged("{tolerence: 1}").starts_with("line 1: `expect` of `a` has an unknown key `tolerence`"));
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = Suite::parse(&text);
    }

    #[test]
    fn no_yaml_like_text_panics(text in "(model|data|input|expect|format|limit|[-&*!|>:?#{}\\[\\], \n'\"a1~%@`]){0,60}") {
        let _ = Suite::parse(&text);
        let _ = Suite::parse(&format!("{SMALL}format: {text}"));
    }
}
