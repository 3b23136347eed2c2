//! Which schemas are closed contracts, and how others are refused.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Contract, Field, Form};

fn labels(schema: Value) -> Vec<(String, Vec<String>)> {
    let contract = Contract::from_schema(schema).unwrap();
    let labels = |field: &Field| field.options.iter().map(|o| o.label.clone()).collect();
    contract.fields().iter().map(|field| (field.path.join("."), labels(field))).collect()
}

fn refused(schema: Value) -> String {
    Contract::from_schema(schema).unwrap_err().to_string()
}

fn list(path: &str, labels: &[&str]) -> (String, Vec<String>) {
    (path.to_owned(), labels.iter().map(ToString::to_string).collect())
}

#[test]
fn closed_schemas_list_their_answers() {
    assert_eq!(labels(json!({"enum": ["a", 1, null, true]})), [list("", &["a", "1", "null", "true"])]);
    assert_eq!(labels(json!({"type": "boolean"})), [list("", &["true", "false"])]);
    assert_eq!(labels(json!({"type": "integer", "minimum": 1, "maximum": 3})), [list("", &["1", "2", "3"])]);
    assert_eq!(
        labels(json!({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 30, "multipleOf": 10})),
        [list("", &["10", "20"])]
    );
    assert_eq!(labels(json!({"type": ["boolean", "null"]})), [list("", &["true", "false", "null"])]);
    assert_eq!(
        labels(json!({"oneOf": [{"const": "x", "description": "an x"}, {"type": "null"}]})),
        [list("", &["x", "null"])]
    );
}

#[test]
fn objects_are_their_fields_in_order_through_references() {
    let schema = json!({
        "$defs": {"Queue": {"enum": ["b", "a"], "type": "string"}},
        "type": "object",
        "properties": {
            "queue": {"$ref": "#/$defs/Queue"},
            "more": {"type": "object", "properties": {"refund": {"type": "boolean"}}},
        },
        "required": ["queue"], "additionalProperties": false,
    });
    assert_eq!(labels(schema.clone()), [list("queue", &["b", "a"]), list("more.refund", &["true", "false"])]);
    let answer = Contract::from_schema(schema).unwrap().assemble([json!("a"), json!(true)]);
    assert_eq!(answer, json!({"queue": "a", "more": {"refund": true}}));
}

#[test]
fn a_bare_answer_is_the_value_itself() {
    let contract = Contract::choices("yes, no").unwrap();
    assert!(contract.is_bare());
    assert_eq!(contract.assemble([json!("no")]), json!("no"));
}

#[test]
fn choices_are_read_as_a_csv_line() {
    let contract = Contract::choices(" a b ,\"c, d\",e").unwrap();
    assert_eq!(contract.fields()[0].options.iter().map(|o| o.label.as_str()).collect::<Vec<_>>(), ["a b", "c, d", "e"]);
    let error = |list: &str| Contract::choices(list).unwrap_err().to_string();
    assert_eq!(error(""), "the choices ``: the list is empty; give labels separated by commas");
    assert_eq!(error("a,,b"), "the choices `a,,b`: a choice is empty; is there a comma too many?");
    assert_eq!(error("a,b,a"), "the choices `a,b,a`: `a` is given twice");
    let one = "the choices `a`: one choice is not enough; give two or more, separated by commas";
    assert_eq!(error("a"), one);
}

#[test]
fn labels_may_have_descriptions() {
    let labels = vec![("billing".to_owned(), Some("money".to_owned())), ("other".to_owned(), None)];
    let contract = Contract::labels(labels).unwrap();
    let found: Vec<_> =
        contract.fields()[0].options.iter().map(|o| (o.label.as_str(), o.description.as_deref())).collect();
    assert_eq!(found, [("billing", Some("money")), ("other", None)]);
}

/// Keywords that are beside each other hold together, whatever applies them.
#[test]
fn keywords_beside_each_other_all_hold() {
    let n = json!({"N": {"type": "integer", "minimum": 1, "maximum": 5}});
    let object =
        |property: Value| json!({"$defs": n, "type": "object", "properties": {"c": property}, "required": ["c"]});
    let beside = object(json!({"$ref": "#/$defs/N", "minimum": 4}));
    assert_eq!(labels(beside), [list("c", &["4", "5"])]);
    let twice = object(json!({"allOf": [{"$ref": "#/$defs/N"}, {"minimum": 2}, {"maximum": 3}]}));
    assert_eq!(labels(twice), [list("c", &["2", "3"])]);
    let inherited = json!({
        "type": "object", "allOf": [{"$ref": "#/$defs/B"}], "properties": {"extra": {"type": "boolean"}}, "required": ["extra"],
        "$defs": {"B": {"type": "object", "properties": {"id": {"enum": ["x", "y"]}}, "required": ["id"]}},
    });
    assert_eq!(labels(inherited), [list("id", &["x", "y"]), list("extra", &["true", "false"])]);
    let dynamic = json!({"$dynamicRef": "#n", "minimum": 4, "$defs": {"N": {"$dynamicAnchor": "n", "type": "integer", "minimum": 1, "maximum": 5}}});
    assert_eq!(labels(dynamic), [list("", &["4", "5"])]);
    let typed = json!({"type": "string", "anyOf": [{"const": 1}, {"const": 2}, {"const": "x"}]});
    assert_eq!(labels(typed), [list("", &["x"])]);
    assert_eq!(labels(json!({"enum": ["a", "b", 3], "not": {"const": "b"}})), [list("", &["a", "3"])]);
    assert_eq!(
        labels(json!({"enum": ["a", "b", null], "type": "string", "nullable": true})),
        [list("", &["a", "b", "null"])]
    );
    assert_eq!(labels(json!({"oneOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]})), [list("", &["1", "3"])]);
    assert_eq!(labels(json!({"type": "integer", "minimum": 0.5, "maximum": 3.5})), [list("", &["1", "2", "3"])]);
    assert_eq!(
        labels(json!({"type": "integer", "minimum": 1, "maximum": 4, "not": {"multipleOf": 2}})),
        [list("", &["1", "3"])]
    );
    assert_eq!(labels(json!({"enum": ["a", 1.0, "a", 1]})), [list("", &["a", "1"])]);
    let nothing = "the schema is not supported: no answer can satisfy it: ";
    for schema in [json!({"type": "boolean", "const": 3}), json!({"type": "integer", "enum": ["1", "2"]}), json!(false)]
    {
        assert!(refused(schema.clone()).starts_with(nothing), "{schema}: {}", refused(schema.clone()));
    }
}

/// What is not closed is written, under a grammar that allows all of it.
#[test]
fn what_cannot_be_listed_is_open() {
    for (schema, answers) in [
        (json!({"type": "string", "properties": {"a": {"type": "boolean"}}}), ["\"x\"", "\"\""]),
        (json!({"type": ["object", "null"], "properties": {"ok": {"type": "boolean"}}}), ["null", "{\"ok\": true}"]),
        (json!({"enum": ["1", 1]}), ["\"1\"", "1"]),
        (json!({"type": "object", "properties": {"a": {"type": "boolean"}}, "maxProperties": 0}), ["{}", "{}"]),
    ] {
        let Ok(Form::Open(open)) = Form::from_schema(schema.clone()) else { panic!("{schema}") };
        for answer in answers {
            assert!(open.check(answer).is_ok(), "{schema}: {answer}");
        }
    }
}

#[test]
fn what_cannot_be_kept_is_refused_with_its_place() {
    let closed = "and here answers are scored from a closed list: use `enum`, `boolean`, an `integer` with `minimum` \
                  and `maximum`, or an object of these";
    assert_eq!(
        refused(json!({"type": "object", "properties": {"name": {"type": "string"}}})),
        format!("the schema at `/properties/name` is open (`type` `string`), {closed}")
    );
    assert_eq!(
        refused(json!({"enum": []})),
        "the schema at `/enum` is not supported: `enum` is empty: give at least one value"
    );
    assert_eq!(
        refused(json!({"enum": ["1", 1]})),
        format!("the schema is open (two of its values are `1` as plain text), {closed}")
    );
    assert_eq!(
        refused(json!({"type": "integer", "minimum": 0, "maximum": 9e9})),
        format!("the schema is open (0 to 9000000000 are too many integers to score: at most 1024), {closed}")
    );
    assert_eq!(refused(json!({"$ref": "#"})), "the schema is not supported: its references form a cycle");
    assert_eq!(
        refused(json!({"type": "object", "properties": {"a/b": {"enum": ["x"], "type": "integer"}}})),
        "the schema at `/properties/a~1b` is not supported: no answer can satisfy it: no value has all the required types"
    );
    assert_eq!(refused(json!([])), "the schema is not supported: a schema is a JSON object, `true` or `false`");
    assert!(Contract::parse("{").unwrap_err().to_string().starts_with("the schema is not JSON: "));
}

fn any_json() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(vec![
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "anyOf",
        "$ref",
        "minimum",
        "maximum",
        "multipleOf",
        "allOf",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["object", "boolean", "integer", "string", "#", "#/anyOf/0", "q"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((keys.clone(), inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    /// Any JSON is a contract with distinct answers or a sentence; never a panic.
    #[test]
    fn hostile_schemas_end_in_a_sentence(schema in any_json()) {
        if let Ok(contract) = Contract::from_schema(schema) {
            for field in contract.fields() {
                let labels: HashSet<_> = field.options.iter().map(|o| &o.label).collect();
                prop_assert_eq!(labels.len(), field.options.len());
                prop_assert!(!labels.is_empty());
            }
        }
    }
}

#[test]
fn an_example_is_an_answer_as_json_as_a_label_or_in_lines() {
    let form = |schema| Form::from_schema(schema).unwrap();
    let broken = |form: &Form, answer: &str| form.check_example(answer).map_err(|violation| violation.to_string());
    let bare = form(json!({"enum": ["positive", "not so good"]}));
    for answer in ["positive", " not so good\n", "\"positive\""] {
        assert_eq!(broken(&bare, answer), Ok(()), "{answer}");
    }
    let reason = "the answer does not meet the schema: \"bad\" is not one of \"positive\" or \"not so good\"";
    assert_eq!(broken(&bare, "bad"), Err(reason.to_owned()));
    let object = form(json!({"type": "object", "properties": {"queue": {"enum": ["a", "b"]},
        "at": {"type": "object", "properties": {"urgency": {"type": "integer", "minimum": 1, "maximum": 3}}}}}));
    for answer in ["{\"queue\": \"a\", \"at\": {\"urgency\": 2}}", "queue: a\nat.urgency: 2"] {
        assert_eq!(broken(&object, answer), Ok(()), "{answer}");
    }
    for answer in ["queue: c\nat.urgency: 2", "queue: a", "a", "{\"queue\": \"a\", \"at\": {\"urgency\": 4}}"] {
        assert!(broken(&object, answer).is_err(), "{answer}");
    }
    assert!(broken(&Form::json(), "[1]").is_err() && broken(&Form::json(), "{}").is_ok());
    assert_eq!(broken(&Form::Free, "anything"), Ok(()));
}
