//! Tests of Modelfiles: what is read, what is refused and where, and that what is written is read back.

use super::*;
use crate::digest::Digest;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn reads_every_instruction() {
    let text = r#"# how to answer
from ./weights/Small.GGUF

PARAMETER temperature 0
parameter stop "<|im_end|>"
PARAMETER stop two words
System """You sort tickets.
Be "brief"."""
TEMPLATE {{ .System }} # not a comment
MESSAGE user My parcel is late.
message Assistant "shipping"
FORMAT {"enum": ["b", "a"]}
LICENSE MIT
LICENSE """
second
"""
ADAPTER ./lora.gguf
ADAPTER ./other 0.5
requires v0.14.0-rc1
RENDERER qwen3-coder
Parser "qwen3"
DRAFT ./small.gguf
EXAMPLES rows.jsonl label=queue k=2
"#;
    let modelfile = Modelfile::parse(text).unwrap();
    assert_eq!(
        modelfile,
        Modelfile {
            from: BaseSource::Path("./weights/Small.GGUF".to_owned()),
            parameters: Parameters {
                temperature: Some(0.0),
                stop: Some(vec!["<|im_end|>".to_owned(), "two words".to_owned()]),
                ..Parameters::default()
            },
            template: Some("{{ .System }} # not a comment".to_owned()),
            system: Some("You sort tickets.\nBe \"brief\".".to_owned()),
            messages: vec![Message::new(Role::User, "My parcel is late."), Message::new(Role::Assistant, "shipping")],
            examples: Some(ExamplesSource {
                k: 2,
                label: "queue".to_owned(),
                ..ExamplesSource::new("rows.jsonl".to_owned())
            }),
            licenses: vec!["MIT".to_owned(), "\nsecond\n".to_owned()],
            format: Some(Format::Schema(json!({"enum": ["b", "a"]}))),
            adapters: vec![
                AdapterSource { path: "./lora.gguf".to_owned(), scale: 1.0 },
                AdapterSource { path: "./other".to_owned(), scale: 0.5 },
            ],
            requires: Some("0.14.0-rc1".to_owned()),
            renderer: Some("qwen3-coder".to_owned()),
            parser: Some("qwen3".to_owned()),
            draft: Some("./small.gguf".to_owned()),
        }
    );
    assert_eq!(Modelfile::parse(&modelfile.to_string()), Ok(modelfile));
}

#[test]
fn a_file_from_windows_means_the_same() {
    let unix = "FROM triage\nSYSTEM \"\"\"a\nb\"\"\"\nFORMAT @s.json\n";
    let windows = format!("\u{feff}{}", unix.replace('\n', "\r\n"));
    assert_eq!(Modelfile::parse(&windows), Modelfile::parse(unix));
    assert_eq!(Modelfile::parse(&unix.replace('\n', "\r")), Modelfile::parse(unix));
}

#[test]
fn a_format_that_a_shell_read_from_a_file_may_begin_with_a_mark() {
    assert_eq!("\u{feff}{\"enum\": [1]}\r\n".parse(), Ok(Format::Schema(json!({"enum": [1]}))));
}

#[test]
fn of_instructions_given_again_the_last_one_holds() {
    let text = "TEMPLATE a\nSYSTEM b\nFROM x\nREQUIRES 1\nPARAMETER top_k 1\nSYSTEM c\nTEMPLATE d\nREQUIRES 0.2\n\
                PARAMETER top_k 2\nLICENSE e\nLICENSE f\nPARAMETER stop g\nPARAMETER stop h";
    let modelfile = Modelfile::parse(text).unwrap();
    assert_eq!((modelfile.template.as_deref(), modelfile.system.as_deref()), (Some("d"), Some("c")));
    assert_eq!((modelfile.requires.as_deref(), modelfile.parameters.top_k), (Some("0.2"), Some(2)));
    assert_eq!((modelfile.licenses.len(), modelfile.parameters.stop.map(|stop| stop.len())), (2, Some(2)));
}

#[test]
fn a_model_is_pinned_by_its_digest() {
    let digest = "a".repeat(64);
    for from in [format!("me/mine@sha256:{digest}"), format!("localhost:5000/me/mine:v1@sha256:{digest}")] {
        let modelfile = Modelfile::parse(&format!("FROM {from}")).unwrap();
        assert_eq!(modelfile.from.to_string(), from);
        assert_eq!(Modelfile::parse(&modelfile.to_string()), Ok(modelfile));
    }
    let plain = Modelfile::parse("FROM http://localhost:5000/me/mine").unwrap();
    assert_eq!(Modelfile::parse(&plain.to_string()), Ok(plain));
}

#[test]
fn parameters_of_older_programs_are_kept() {
    let text = "FROM x\nPARAMETER mirostat 1\nPARAMETER mirostat_tau 5.5\nPARAMETER use_mlock true\n";
    let modelfile = Modelfile::parse(text).unwrap();
    assert_eq!(
        Value::Object(modelfile.parameters.idle().clone()),
        json!({"mirostat": 1, "mirostat_tau": 5.5, "use_mlock": true})
    );
    assert_eq!(Modelfile::parse(&modelfile.to_string()), Ok(modelfile));
}

/// Values that a person cannot write are those that came with a pulled model.
#[test]
fn values_that_quotes_cannot_hold_are_written_as_json() {
    let written = |system: &str| {
        let modelfile = Modelfile { system: Some(system.to_owned()), ..Modelfile::parse("FROM x").unwrap() };
        let text = modelfile.to_string();
        assert_eq!(Modelfile::parse(&text), Ok(modelfile));
        text.strip_prefix("FROM x:latest\nSYSTEM ").unwrap().to_owned()
    };
    for (system, expected) in [
        ("plain # text", "plain # text\n"),
        ("", "\"\"\"\"\"\"\n"),
        (" a ", "\"\"\" a \"\"\"\n"),
        ("a\nb \"", "\"\"\"a\nb \"\"\"\"\n"),
        ("say \"\"\"x\"\"\"\nb", "json:\"say \\\"\\\"\\\"x\\\"\\\"\\\"\\nb\"\n"),
        ("a\r\nb", "json:\"a\\r\\nb\"\n"),
        ("json:\"a\"", "\"\"\"json:\"a\"\"\"\"\n"),
        ("json:\"a", "json:\"a\n"),
    ] {
        assert_eq!(written(system), expected, "{system}");
    }
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(Modelfile::parse(text).unwrap_err().to_string(), expected);
}

#[test]
fn refuses_with_line_and_column() {
    refused(
        "",
        "line 1, column 1: there is no FROM; begin with the model to build on, for example `FROM triage` or `FROM ./model.gguf`",
    );
    refused("FROM x\n  SYSTM y", "line 2, column 3: there is no instruction `SYSTM`; the nearest is `SYSTEM`");
    refused("FROM x\nFROM y", "line 2, column 1: FROM is given twice; keep one of them");
    refused("FROM x\nFORMAT json\nFORMAT json", "line 3, column 1: FORMAT is given twice; keep one of them");
    refused("FROM x\nREQUIRES soon", "line 2, column 1: REQUIRES is `soon`, but takes a version, for example `0.14.0`");
    refused(
        "FROM x\nMESSAGE tool y",
        "line 2, column 1: MESSAGE has the role `tool`, but takes `system`, `user` or `assistant`",
    );
    refused(
        "FROM x\nSYSTEM",
        "line 2, column 1: SYSTEM has no value; write one on the same line, or `\"\"\"` for several lines",
    );
    refused(
        "FROM x\nSYSTEM é \"\nLICENSE \"\"\"a\"",
        "line 3, column 9: the quotes that open here are never closed; close them with `\"\"\"` at the end of a line",
    );
    refused("FROM x\nPARAMETER top_q 1", "line 2, column 1: there is no parameter `top_q`; did you mean `top_k`?");
    refused(
        "FROM x\nFORMAT 3",
        "line 2, column 1: FORMAT is `3`, but takes a JSON Schema (an object), `json` or `@file`",
    );
    refused(
        "FROM x\nFORMAT {",
        "line 2, column 1: FORMAT is not JSON: EOF while parsing an object at line 1 column 1; put a schema of several \
         lines between `\"\"\"`, or in a file with `@schema.json`",
    );
    refused(
        "FROM a/b/c/d",
        "line 1, column 1: FROM names neither a GGUF file (`./model.gguf`) nor a model: `a/b/c/d` is not a model name: it \
         has more than a host, a namespace and a model; write `[host/][namespace/]model[:tag]`, for example `llama3.2:1b`",
    );
}

/// Any text, and often one that looks like the syntax.
fn value() -> impl Strategy<Value = String> {
    let syntax = proptest::string::string_regex("(json:\")?([ab#\" \t{}é\u{a0}]{0,6}[\r\n]{0,2}){0,4}");
    prop_oneof![syntax.expect("a regular expression"), ".{0,9}", "(?s).{0,9}"]
}

prop_compose! {
    fn modelfile()(
        path in "\\./[a-z ]{1,5}x",
        name in "[a-z]{1,8}",
        use_path in any::<bool>(),
        temperature in proptest::option::of(0.0f32..2.0),
        seed in proptest::option::of(any::<u32>().prop_map(i64::from)),
        stop in proptest::collection::vec(value().prop_filter("a stop string has text", |s| !s.is_empty()), 0..3),
        texts in proptest::collection::vec(proptest::option::of(value()), 5),
        version in proptest::option::of("[0-9]{1,3}(\\.[0-9]{1,3}){0,2}(-rc[0-9])?"),
        mirostat in proptest::option::of(0..9),
        messages in proptest::collection::vec((0usize..3, value()), 0..3),
        licenses in proptest::collection::vec(value(), 0..3),
        format in 0usize..4,
        keys in proptest::collection::hash_map(value(), value(), 0..3),
        examples in proptest::option::of(
            ("[a-z=4]{1,3}( [ktexlaby]{1,5}=?[0-9a-z]{0,2}){0,2}", 1..=MAX_EXAMPLES, "[a-z]{0,3}", by()),
        ),
    ) -> Modelfile {
        let from = if use_path { BaseSource::Path(path.clone()) } else { BaseSource::Name(name.parse().expect("a name")) };
        let roles = [Role::System, Role::User, Role::Assistant];
        Modelfile {
            parameters: Parameters {
                temperature,
                seed,
                stop: Some(stop).filter(|stop| !stop.is_empty()),
                other: mirostat.map(|n| ("mirostat".to_owned(), json!(n))).into_iter().collect(),
                ..Parameters::default()
            },
            system: texts[0].clone(),
            template: texts[1].clone(),
            requires: version,
            renderer: texts[2].clone(),
            parser: texts[3].clone(),
            draft: texts[4].clone(),
            messages: messages.into_iter().map(|(role, text)| Message::new(roles[role], text)).collect(),
            examples: examples.and_then(|(path, k, label, by)| {
                // A path that looks like nothing but settings names no file.
                let path: ExamplesSource = path.parse().ok()?;
                Some(ExamplesSource { k, by, label, ..ExamplesSource::new(path.path) })
            }),
            licenses,
            format: [None, Some(Format::Json), Some(Format::File(path)), Some(Format::Schema(json!(keys)))][format].clone(),
            ..Modelfile::new(from)
        }
    }
}

fn by() -> impl Strategy<Value = FoundBy> {
    let model = |name: String| FoundBy::Model(name.parse().expect("a name"));
    let weights = |bytes: Vec<u8>| FoundBy::Weights(Digest::of(&bytes));
    prop_oneof![
        Just(FoundBy::Words),
        "[a-z]{1,5}(:[a-z0-9]{1,3})?".prop_map(model),
        proptest::collection::vec(any::<u8>(), 0..3).prop_map(weights),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(modelfile in modelfile()) {
        let text = modelfile.to_string();
        prop_assert_eq!(Modelfile::parse(&text), Ok(modelfile), "{}", text);
    }

    #[test]
    fn any_text_is_answered(text in "((FROM|SYSTEM|message user|PARAMETER stop|FORMAT) *[ab\"{}\r ]{0,9}\n{0,2}){0,6}|.*") {
        if let Ok(modelfile) = Modelfile::parse(&text) {
            let written = modelfile.to_string();
            prop_assert_eq!(Modelfile::parse(&written), Ok(modelfile), "{}", written);
        }
    }
}
