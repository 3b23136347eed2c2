//! Tests of Modelfiles: what is read, what is refused and where, and that what is written is read back.

use super::*;
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
REQUIRES 0.1.0
"#;
    let modelfile = Modelfile::parse(text).unwrap();
    assert_eq!(
        modelfile,
        Modelfile {
            from: Source::Path("./weights/Small.GGUF".to_owned()),
            parameters: Parameters {
                temperature: Some(0.0),
                stop: Some(vec!["<|im_end|>".to_owned(), "two words".to_owned()]),
                ..Parameters::default()
            },
            template: Some("{{ .System }} # not a comment".to_owned()),
            system: Some("You sort tickets.\nBe \"brief\".".to_owned()),
            messages: vec![Message::new(Role::User, "My parcel is late."), Message::new(Role::Assistant, "shipping")],
            licenses: vec!["MIT".to_owned(), "\nsecond\n".to_owned()],
            format: Some(Format::Schema(json!({"enum": ["b", "a"]}))),
            adapters: vec![
                AdapterSource { path: "./lora.gguf".to_owned(), scale: 1.0 },
                AdapterSource { path: "./other".to_owned(), scale: 0.5 },
            ],
            requires: Some("0.1.0".to_owned()),
        }
    );
    assert_eq!(Modelfile::parse(&modelfile.to_string()), Ok(modelfile));
}

#[test]
fn a_file_from_windows_means_the_same() {
    let unix = "FROM triage\nSYSTEM \"\"\"a\nb\"\"\"\nFORMAT @s.json\n";
    let windows = format!("\u{feff}{}", unix.replace('\n', "\r\n"));
    assert_eq!(Modelfile::parse(&windows), Modelfile::parse(unix));
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(Modelfile::parse(text).unwrap_err().to_string(), expected);
}

#[test]
fn refuses_with_line_and_column() {
    refused(
        "",
        "line 1, column 1: there is no FROM; begin with the model to build on, as in `FROM triage` or `FROM ./model.gguf`",
    );
    refused("FROM x\n  SYSTM y", "line 2, column 3: there is no instruction `SYSTM`; the nearest is `SYSTEM`");
    refused("FROM x\nFROM y", "line 2, column 1: FROM is given twice; keep one of them");
    refused("FROM x\nSYSTEM a\nSYSTEM b", "line 3, column 1: SYSTEM is given twice; keep one of them");
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
        "line 2, column 1: FORMAT is no JSON: EOF while parsing an object at line 1 column 1; put a schema of several \
         lines between `\"\"\"`, or in a file with `@schema.json`",
    );
    refused(
        "FROM a/b/c/d",
        "line 1, column 1: FROM names neither a GGUF file (`./model.gguf`) nor a model: `a/b/c/d` is no model name: it \
         has more than a host, a namespace and a model; write `[host/][namespace/]model[:tag]`, as in `llama3.2:1b`",
    );
}

/// Text that a Modelfile can hold: no line but the last ends in three quotes, and no carriage return ends a line.
fn value() -> impl Strategy<Value = String> {
    let text = proptest::string::string_regex("([ab#\" \t{}é\u{a0}]{0,6}\n?){0,4}").expect("a regular expression");
    text.prop_filter("three quotes at the end of an inner line", |text| {
        let quoted = format!("\"\"\"{text}");
        let (inner, _) = quoted.rsplit_once('\n').unwrap_or_default();
        inner.lines().enumerate().all(|(n, line)| {
            let line = line.trim_end();
            !line.ends_with("\"\"\"") || (n == 0 && line.len() < 6)
        })
    })
}

prop_compose! {
    fn modelfile()(
        path in "\\./[a-z ]{1,5}x",
        name in "[a-z]{1,8}",
        use_path in any::<bool>(),
        temperature in proptest::option::of(0.0f32..2.0),
        seed in proptest::option::of(any::<u32>().prop_map(i64::from)),
        stop in proptest::collection::vec(value().prop_filter("a stop string has text", |s| !s.is_empty()), 0..3),
        texts in proptest::collection::vec(proptest::option::of(value()), 3),
        messages in proptest::collection::vec((0usize..3, value()), 0..3),
        licenses in proptest::collection::vec(value(), 0..3),
        format in 0usize..4,
        keys in proptest::collection::hash_map(value(), value(), 0..3),
    ) -> Modelfile {
        let from = if use_path { Source::Path(path.clone()) } else { Source::Name(name.parse().expect("a name")) };
        let roles = [Role::System, Role::User, Role::Assistant];
        Modelfile {
            parameters: Parameters { temperature, seed, stop: Some(stop).filter(|stop| !stop.is_empty()), ..Parameters::default() },
            system: texts[0].clone(),
            template: texts[1].clone(),
            requires: texts[2].clone(),
            messages: messages.into_iter().map(|(role, text)| Message::new(roles[role], text)).collect(),
            licenses,
            format: [None, Some(Format::Json), Some(Format::File(path)), Some(Format::Schema(json!(keys)))][format].clone(),
            ..Modelfile::new(from)
        }
    }
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
