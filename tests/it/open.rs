//! `slm run` with an open format: text that meets its contract, and what is said where it does not.

use serde_json::Value;

use crate::slm::{Home, probability};
use slm_testing::shared;

const NO_TEMPLATE: &str = "slm: `stories:latest` has no chat template; it continues `Text: …`, `Answer:` (a Modelfile's MESSAGE gives it examples, TEMPLATE another form)\n";
const UNFINISHED: &str = "the answer is unfinished: it reached the limit of tokens; raise --num-predict or --num-ctx";
const PET: &str = r#"{
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 20},
        "kind": {"enum": ["dog", "cat"]},
        "born": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 6}, "minItems": 1, "maxItems": 2}
    },
    "required": ["name", "kind", "born", "tags"]
}"#;

/// A home with a small real model, and with one of it that has a format of its own.
fn stories(format: &str) -> Option<Home> {
    let path = shared("models/stories260K.gguf")?;
    let home = Home::new();
    let modelfile = home.file("Modelfile", format!("FROM {}\n{format}", path.display()));
    home.slm(["create", "stories", "-f", modelfile.to_str().unwrap()]).succeeds();
    Some(home)
}

#[track_caller]
fn check_pet(text: &str) {
    let pet: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(pet.as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "kind", "born", "tags"]);
    assert!(["dog", "cat"].contains(&pet["kind"].as_str().unwrap()), "{text}");
    assert!(!text.trim_end_matches('\n').contains(['\n', '\t']), "{text}");
}

#[test]
fn an_open_schema_is_met() {
    let Some(home) = stories("") else { return };
    home.file("pet.json", PET);
    for format in [PET, "@pet.json"] {
        let said = home.slm(["run", "stories", "--format", format, "Once upon a time"]).run();
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), NO_TEMPLATE), "{}", said.stdout);
        check_pet(&said.stdout);
        // No spread where there is a format: the same answer every time.
        assert_eq!(home.slm(["run", "stories", "--format", PET, "Once upon a time"]).run().stdout, said.stdout);
    }
    let said = home.slm(["run", "stories", "--format", PET, "--json", "Once upon a time"]).run();
    let reply: Value = serde_json::from_str(&said.stdout).unwrap();
    check_pet(reply["response"].as_str().unwrap());
    check_pet(&reply["value"].to_string());
    assert_eq!(reply["done_reason"], "stop");
    let fields = reply["fields"].as_object().unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>()[..3], ["name", "kind", "born"]);
    let name = &reply["fields"]["name"]["token_probability"];
    let [mean, min] = ["mean", "min"].map(|name_of| name[name_of].as_f64().unwrap());
    assert!(0.0 < min && min <= mean && mean <= 1.0, "{name}");
    let kind = &reply["fields"]["kind"];
    let [dog, cat] = ["dog", "cat"].map(|value| probability(kind, value));
    assert!((dog + cat - 1.0).abs() < 1e-9 && kind["value"] == reply["value"]["kind"], "{kind}");
    let margin = kind["margin"].as_f64().unwrap();
    assert!(kind["probability"] == probability(kind, kind["value"].clone()), "{kind}");
    assert!((margin - (dog - cat).abs()).abs() < 1e-12, "{kind}");
    assert!(kind["label_mass"].as_f64().is_some_and(|mass| mass > 0.0 && mass <= 1.0 + 1e-9), "{kind}");
}

#[test]
fn what_was_copied_from_the_input_has_its_place() {
    let Some(home) = stories("") else { return };
    let input = "Once upon a time: LILY, aged 7";
    let format = r#"{"type": "object", "properties": {"who": {"enum": ["x"]}, "name": {"type": "string", "pattern": "^Lily$"}}, "required": ["who", "name"]}"#;
    let said = home.slm(["run", "stories", "--format", format, "--json", input]).run();
    let reply: Value = serde_json::from_str(&said.stdout).unwrap();
    let span = &reply["fields"]["name"]["span"];
    assert_eq!(span.to_string(), r#"{"bytes":[18,22],"chars":[18,22],"match":"normalized"}"#, "{}", said.stdout);
}

#[test]
fn a_models_own_open_format_holds() {
    for (format, is_pet) in [(format!("FORMAT \"\"\"{PET}\"\"\"\n"), true), ("FORMAT json\n".to_owned(), false)] {
        let Some(home) = stories(&format) else { return };
        let said = home.slm(["run", "stories", "--num-predict", "300", "Once upon a time"]).run();
        if is_pet {
            assert_eq!(said.code, Some(0), "{}", said.stderr);
            check_pet(&said.stdout);
        } else {
            assert!(said.stdout.starts_with('{'), "{}", said.stdout);
            let is_whole = serde_json::from_str::<Value>(&said.stdout).is_ok_and(|value| value.is_object());
            assert_eq!(said.code, Some(if is_whole { 0 } else { 3 }), "{}", said.stdout);
        }
        // `none` sets it aside.
        let open = home.slm(["run", "stories", "--format", "none", "--num-predict", "8", "Once upon a time"]).run();
        assert!(open.code == Some(0) && !open.stdout.starts_with('{'), "{}", open.stdout);
    }
}

#[test]
fn regular_expressions_and_grammars_hold() {
    let Some(home) = stories("") else { return };
    let ask = |args: &[&str]| {
        let said = home.slm([&["run", "stories", "--num-predict", "60"], args, &["Once upon a time"]].concat()).run();
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), NO_TEMPLATE), "{}", said.stdout);
        said.stdout
    };
    let date = ask(&["--regex", r"\d{4}-[01]\d"]);
    let digits: Vec<&str> = date.trim_end().split('-').collect();
    assert!(digits.len() == 2 && digits[0].len() == 4 && digits[1].len() == 2, "{date}");
    assert!(["yes\n", "no\n"].contains(&ask(&["--grammar", "start: \"yes\" | \"no\""]).as_str()));
    home.file("list.lark", "start: item (\", \" item){2}\nitem: /[a-z]{2,6}/\n");
    let list = ask(&["--grammar", "@list.lark"]);
    assert_eq!(list.trim_end().split(", ").count(), 3, "{list}");
}

#[test]
fn an_unfinished_answer_is_said_and_ends_with_3() {
    let Some(home) = stories("") else { return };
    for limit in [["--num-predict", "9"], ["--num-ctx", "200"]] {
        let said = home
            .slm([&["run", "stories", "--format", PET], &limit[..], &["Once upon a time there was"]].concat())
            .run();
        assert_eq!((said.code, said.stderr), (Some(3), format!("{NO_TEMPLATE}slm: {UNFINISHED}\n")), "{}", said.stdout);
        assert!(said.stdout.starts_with("{\"name\": "), "{}", said.stdout);
    }
    let said = home.slm(["run", "stories", "--format", PET, "--num-predict", "9", "--json", "Once"]).run();
    let reply: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code, reply["violation"].as_str()), (Some(3), Some(UNFINISHED)));
    assert_eq!((&reply["value"], &reply["response"]), (&Value::Null, &Value::Null));
    assert!(reply["rejected"].as_str().unwrap().starts_with("{\"name\": "), "{reply}");
}

#[test]
fn rows_meet_their_contract_one_by_one() {
    let Some(home) = stories("") else { return };
    let said = home
        .slm(["run", "stories", "--format", PET, "--jsonl", "body"])
        .stdin("{\"body\": \"Once upon a time\"}\n{\"body\": \"Lily had a cat\"}\n")
        .run();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let rows: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    rows.iter().for_each(|row| check_pet(&row["answer"].to_string()));
    let said = home
        .slm(["run", "stories", "--format", PET, "--jsonl", "body", "--num-predict", "9"])
        .stdin("{\"body\": \"Once\"}\n")
        .run();
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert_eq!(said.stdout, format!("{{\"body\": \"Once\",\"error\":\"{UNFINISHED}\"}}\n"));
}

#[test]
fn a_grammar_that_cannot_be_kept_is_wrong_use() {
    let Some(home) = stories("") else { return };
    for grammar in ["start: \"a\" start", "start: /(/", "nothing", "start: <|im_end|>", ""] {
        let said = home.slm(["run", "stories", "--grammar", grammar, "Once"]).run();
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{grammar}: {}", said.stderr);
        assert!(said.stderr.contains("slm: the grammar is not supported: "), "{}", said.stderr);
    }
}
