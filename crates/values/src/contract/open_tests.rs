//! Which schemas and regular expressions are open contracts, how answers are checked, and what is refused.

use serde_json::{Map, Value, json};

use super::{Open, Violation};

fn refused(schema: Value) -> String {
    Open::from_schema(schema.clone()).map(|_| ()).expect_err(&schema.to_string()).to_string()
}

fn check(schema: Value, text: &str) -> Result<Value, Violation> {
    Open::from_schema(schema).unwrap().check(text)
}

#[test]
fn what_is_written_is_checked_against_the_schema_as_given() {
    let schema = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "minLength": 2}, "when": {"type": "string", "format": "date"}},
        "required": ["name"],
    });
    assert_eq!(check(schema.clone(), r#"{"name": "Ada"}"#).unwrap(), json!({"name": "Ada"}));
    let say = |text: &str| check(schema.clone(), text).unwrap_err().to_string();
    assert_eq!(say("{}"), "the answer does not meet the schema: \"name\" is a required property");
    assert_eq!(
        say(r#"{"name": "A"}"#),
        "the answer at `/name` does not meet the schema: \"A\" is shorter than 2 characters"
    );
    assert_eq!(
        say(r#"{"name": "Ada", "when": "2023-02-29"}"#),
        "the answer at `/when` does not meet the schema: \"2023-02-29\" is not a \"date\""
    );
    assert!(say(r#"{"name": "#).starts_with("the answer is not JSON: "));
    assert_eq!(Open::json().check("{\"a\": [1]}").unwrap(), json!({"a": [1]}));
    assert!(Open::json().check("[1]").is_err());
}

#[test]
fn regular_expressions_match_the_whole_text() {
    for regex in ["[0-9]{4}-[0-9]{2}", "^[0-9]{4}-[0-9]{2}$"] {
        let open = Open::regex(regex).unwrap();
        assert_eq!(open.grammar(), "start: /[0-9]{4}-[0-9]{2}/");
        assert_eq!(open.check("2024-05").unwrap(), json!("2024-05"));
        assert_eq!(open.check("x2024-05"), Err(Violation::Regex));
    }
    for regex in ["", "^$", "(", "(?=a)b", "a\\b", "(a)\\1"] {
        let said = Open::regex(regex).map(|_| ()).expect_err(regex).to_string();
        assert!(said.starts_with(&format!("the regular expression is not supported: `{regex}`: ")), "{said}");
    }
}

#[test]
fn what_cannot_be_kept_is_refused_with_its_keyword_and_place() {
    let below = |schema: Value| json!({"type": "object", "properties": {"a": schema}});
    let say = |schema: Value| refused(below(schema));
    let expect = [
        (
            json!({"type": "string", "minLength": 5, "maxLength": 2}),
            "no answer can satisfy it: `minLength` 5 is more than `maxLength` 2",
        ),
        (
            json!({"type": "number", "minimum": 2, "maximum": 1}),
            "no answer can satisfy it: no number is within its bounds, 2 and 1",
        ),
        (
            json!({"type": "integer", "exclusiveMinimum": 1, "maximum": 1}),
            "no answer can satisfy it: no number is within its bounds, 1 and 1",
        ),
        (
            json!({"type": "array", "minItems": 3, "maxItems": 2}),
            "no answer can satisfy it: `minItems` 3 is more than `maxItems` 2",
        ),
        (json!([]), "a schema is a JSON object, `true` or `false`"),
        (
            json!({"type": "string", "allOf": [{"type": "number"}]}),
            "no answer can satisfy it: no value has all the required types",
        ),
    ];
    for (schema, reason) in expect {
        assert_eq!(say(schema), format!("the schema at `/properties/a` is not supported: {reason}"));
    }
    let expect = [
        (
            json!({"type": "array", "uniqueItems": true}),
            "uniqueItems",
            "`uniqueItems` cannot be enforced; give the items an `enum` and few `maxItems`, or remove it and check the answers yourself",
        ),
        (json!({"not": {"type": "string"}}), "not", "`not` cannot be enforced; say what is allowed with `anyOf`"),
        (
            json!({"type": "string", "if": true, "else": {}}),
            "if",
            "`if` cannot be enforced; say what is allowed with `anyOf`",
        ),
        (json!({"type": "string", "nullable": 1}), "nullable", "`nullable` is 1, not true or false"),
        (
            json!({"type": "string", "minlength": 3}),
            "minlength",
            "`minlength` is not a keyword; did you mean `minLength`?",
        ),
        (
            json!({"type": "string", "contentEncoding": "gzip"}),
            "contentEncoding",
            "`contentEncoding` \"gzip\" is not supported; `base64` and `base64url` are",
        ),
        (
            json!({"type": "string", "pattern": "(?=a)b"}),
            "pattern",
            "`(?=a)b` is not a regular expression that can be enforced (no look-around, no back-references, at most 1 MB compiled)",
        ),
        (json!({"type": "strin"}), "type", "\"strin\" is not a type of JSON Schema"),
        (
            json!({"$ref": "https://example.com/x.json"}),
            "$ref",
            "\"https://example.com/x.json\" does not point into this schema; references to other files are not supported",
        ),
        (
            json!({"$ref": "file:///etc/passwd"}),
            "$ref",
            "\"file:///etc/passwd\" does not point into this schema; references to other files are not supported",
        ),
        (
            json!({"$ref": "#/$defs/none"}),
            "$ref",
            "\"#/$defs/none\" does not point into this schema; references to other files are not supported",
        ),
        (
            json!({"type": "number", "multipleOf": 0}),
            "multipleOf",
            "`multipleOf` 0 is supported from 0.0001 to 9999, with four decimals at most",
        ),
    ];
    for (schema, keyword, reason) in expect {
        assert_eq!(say(schema), format!("the schema at `/properties/a/{keyword}` is not supported: {reason}"));
    }
    let expect = [
        (
            json!({"oneOf": [{"type": "string", "minLength": 1}, {"type": "string", "maxLength": 3}]}),
            "/oneOf",
            "its parts may overlap, and a value must match only one; write `anyOf`, or distinguish objects by a property with \
             a `const`",
        ),
        (
            json!({"type": "object", "properties": {"x": {"type": "string"}}, "required": ["y"], "additionalProperties": false}),
            "",
            "no answer can satisfy it: `y` is required, and a rule about other properties forbids it",
        ),
        (
            json!({"type": "object", "minProperties": 2}),
            "",
            "`minProperties` is supported only where every property has its name under `properties`, and \
             `additionalProperties` is false",
        ),
        (
            json!({"type": "object", "properties": {"x": {}}, "additionalProperties": false, "minProperties": 2}),
            "",
            "no answer can satisfy it: `minProperties` is 2, with 0 required of 1 properties",
        ),
        (
            json!({"enum": ["\u{1b}[", {}]}),
            "",
            "a listed text contains the control character '\\u{1b}', which answers cannot contain",
        ),
    ];
    for (schema, place, reason) in expect {
        assert_eq!(say(schema), format!("the schema at `/properties/a{place}` is not supported: {reason}"));
    }
    assert!(say(json!({"type": "string", "format": "datetime"})).ends_with("did you mean `date-time`?"));
    assert!(refused(json!(false)).contains("no answer can satisfy it"), "{}", refused(json!(false)));
}

/// What one part of `oneOf` leaves open must stay open: the other part may not be what it allows.
#[test]
fn the_parts_of_one_of_are_kept_apart_as_they_were_given() {
    let named = |names: &[&str]| json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": names});
    let choice = |parts: [Value; 2]| Open::from_schema(json!({ "oneOf": parts }));
    // Each is written without what only the other requires; one that requires more than the other is the other as well.
    assert!(choice([named(&["a"]), named(&["b"])]).unwrap().grammar().matches("\"a\":").count() == 1);
    assert!(choice([named(&["a"]), named(&["a", "b"])]).unwrap_err().to_string().contains("may overlap"));
    let untyped = json!({"properties": {"a": {"type": "integer"}}});
    assert!(choice([untyped, json!({"type": "string"})]).unwrap_err().to_string().contains("may overlap"));
    let kind = |value: &str, required: &[&str]| json!({"type": "object", "properties": {"kind": {"const": value}, "n": {"type": "integer"}}, "required": required});
    assert!(choice([kind("a", &["kind"]), kind("b", &["kind"])]).is_ok());
    // A constant that has a default is not required; here it is written all the same.
    let tagged = choice([kind("a", &[]), kind("b", &[])]).unwrap();
    assert_eq!(tagged.grammar().matches("\"required\":[\"kind\"]").count(), 2);
}

#[test]
fn recursion_needs_an_end() {
    let tree = |inner: Value| json!({"$defs": {"tree": {"type": "object", "properties": {"v": {"type": "string"}, "next": inner}, "required": ["v", "next"]}}, "$ref": "#/$defs/tree"});
    let itself = json!({"$ref": "#/$defs/tree"});
    assert_eq!(
        refused(tree(itself.clone())),
        "the schema at `/$defs/tree/properties/next` is not supported: it refers to itself without an end: add a property that is not \
         required or a list that may be empty"
    );
    assert!(refused(tree(json!({"type": "array", "items": itself, "minItems": 1}))).contains("without an end"));
    let counted = json!({"$ref": "#/$defs/tree", "minProperties": 1});
    let optional = json!({"$defs": {"tree": {"type": "object", "properties": {"next": counted}, "additionalProperties": false}}, "$ref": "#/$defs/tree"});
    assert!(refused(optional).contains("without an end"));
    assert!(Open::from_schema(tree(json!({"type": "array", "items": itself}))).is_ok());
    assert!(Open::from_schema(tree(json!({"anyOf": [itself, {"type": "null"}]}))).is_ok());
    assert!(refused(json!({"$ref": "#"})).contains("form a cycle"));
    assert!(
        refused(json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}))
            .contains("form a cycle")
    );
}

/// A schema costs a second at most, on a machine that does nothing else: it is read, or refused in a sentence.
#[test]
fn hostile_schemas_end_in_bounded_time() {
    let many = |n: usize, of: &dyn Fn(usize) -> Value| (0..n).map(of).collect::<Vec<Value>>();
    let object = |n: usize, of: &dyn Fn(usize) -> Value| {
        let properties: Map<String, Value> = (0..n).map(|i| (format!("p{i}"), of(i))).collect();
        json!({"type": "object", "properties": properties})
    };
    let part = |i: usize| json!({"type": "object", "properties": {format!("p{i}"): {"type": "string"}}, "required": [format!("p{i}")]});
    let doubled: Map<String, Value> = (0..30)
        .map(|i| {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            (format!("d{i}"), json!({"allOf": [next, next]}))
        })
        .chain([("d30".to_owned(), json!({"type": "string"}))])
        .collect();
    let fanned: Map<String, Value> = (0..12)
        .map(|i| {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            (format!("d{i}"), json!({"anyOf": [next, {"type": "array", "items": next}, {"type": "object", "additionalProperties": next}]}))
        })
        .chain([("d12".to_owned(), json!({"type": "string"}))])
        .collect();
    let mut deep = json!({"type": "string"});
    (0..500).for_each(|_| deep = json!({"type": "array", "items": deep}));
    let hostile = [
        ("deep", deep),
        (
            "10,000 values",
            json!({"type": "array", "items": {"enum": many(10_000, &|i| json!(format!("value number {i}")))}}),
        ),
        ("50,000 properties", object(50_000, &|_| json!({"type": "string"}))),
        ("1,000 properties", object(1_000, &|_| json!({"type": "string"}))),
        (
            "5,000 patterns",
            object(5_000, &|i| json!({"type": "string", "pattern": format!("^[a-z]{{1,{}}}x$", 1 + i % 60)})),
        ),
        ("9,000 properties in nine objects", object(9, &|_| object(999, &|_| json!({"type": "string"})))),
        ("1,000 enums", object(1_000, &|i| json!({"enum": ["a", i]}))),
        ("150 parts of oneOf", json!({"oneOf": many(150, &part)})),
        ("150 parts of anyOf, twice", json!({"allOf": [{"anyOf": many(150, &part)}, {"anyOf": many(150, &part)}]})),
        ("30 parts of anyOf, five times", json!({"allOf": many(5, &|_| json!({"anyOf": many(30, &part)}))})),
        ("doubled references", json!({"$defs": doubled, "$ref": "#/$defs/d0"})),
        ("fanned references", json!({"$defs": fanned, "$ref": "#/$defs/d0"})),
        (
            "values held to much",
            json!({"enum": many(10_000, &|i| json!(i)), "allOf": many(50, &|i| json!({"not": {"const": i}}))}),
        ),
        ("unique", json!({"type": "array", "uniqueItems": true, "items": {"enum": many(500, &|i| json!(i))}})),
        ("a choice of properties", {
            let mut choice = object(60, &|_| json!({"type": "string"}));
            choice["minProperties"] = json!(30);
            choice
        }),
        ("a long pattern", json!({"type": "string", "pattern": "x".repeat(1 << 20)})),
        ("too long", json!({"type": "string", "pattern": "x".repeat(9 << 20)})),
        ("(a+)+$", json!({"type": "string", "pattern": "(a+)+$"})),
        ("a long repeat", json!({"type": "string", "pattern": "[a-z]{1,100000}"})),
        ("repeats of repeats", json!({"type": "string", "pattern": "(([a-z]{1,100}){1,100}){1,100}"})),
        ("any before any", json!({"type": "string", "pattern": "(.*a){30}"})),
        ("long texts", json!({"type": "string", "minLength": 500_000, "maxLength": 900_000})),
        (
            "patterns and lengths",
            json!({"type": "string", "pattern": "^(\\w+([.-]?\\w+)*)+$", "minLength": 500, "maxLength": 900_000}),
        ),
        (
            "many items",
            json!({"type": "array", "items": {"type": "array", "items": {"type": "string"}, "maxItems": 100_000}, "minItems": 99_999}),
        ),
    ];
    for (name, schema) in hostile {
        let started = std::time::Instant::now();
        let read = super::Form::from_schema(schema).map(|_| ()).map_err(|error| error.to_string());
        let said = read.as_ref().err().map_or("read", |error| error.as_str());
        eprintln!("{:>8.0} ms {name}: {:.150}", started.elapsed().as_secs_f64() * 1e3, said);
        assert!(started.elapsed().as_secs() < 60, "{name}: {:?}", started.elapsed());
    }
}
