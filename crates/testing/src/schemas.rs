//! Random JSON Schemas of every keyword that slm speaks of, in today's spelling and in older ones, made of choices.
//!
//! The choices are bytes: a fuzzer that changes bytes changes the schema, and proptest makes small schemas of short lists.

use serde_json::{Map, Value, json};

/// How deep schemas are inside each other.
const MAX_DEPTH: usize = 4;

/// Where choices come from.
#[derive(Debug)]
pub struct Choices<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Choices<'b> {
    /// Choices from bytes; when they are used up, always the first.
    #[must_use]
    pub fn new(bytes: &'b [u8]) -> Self {
        Choices { bytes, at: 0 }
    }

    /// A number below `n`, which is at most 256.
    pub fn below(&mut self, n: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte) % n.max(1)
    }

    fn one<'v, T: ?Sized>(&mut self, of: &[&'v T]) -> &'v T {
        of[self.below(of.len())]
    }

    fn happens(&mut self, one_in: usize) -> bool {
        self.below(one_in) == one_in - 1
    }
}

const NAMES: [&str; 7] = ["a", "b", "name", "é\"x", "a b", "items", "x_1"];
const PATTERNS: [&str; 16] = [
    "^[A-Z]{2,4}-[0-9]{3}$",
    "^(a|b)+$",
    "colou?r",
    "^\\d{1,3}(\\.\\d{2})?$",
    "^.{3}$",
    "[^a-z]",
    "^$",
    "\\w+@\\w+",
    "^\\S+$",
    "é|日本",
    "(?=a)b",
    "\\bword\\b",
    "^[\\\\\"]{1,3}$",
    "^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$",
    "^a\\x01b$",
    "^a[\\x00-\\x08]b$",
];
const FORMATS: [&str; 22] = [
    "date",
    "time",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uuid4",
    "uri",
    "iri",
    "regex",
    "binary",
    "password",
    "base64",
    "json-pointer",
    "int32",
    "ulid",
    "ipv4network",
    "e164",
    "unknown",
];

/// A schema with its definitions.
#[must_use]
pub fn schema(choices: &mut Choices<'_>) -> Value {
    let mut whole = of_depth(choices, 0);
    let defs = json!({
        "node": {"type": "object", "properties": {"next": next(choices), "v": of_depth(choices, 3)}, "required": ["next"]},
        "leaf": of_depth(choices, 3),
        "base": object(choices, 2),
    });
    if let Value::Object(map) = &mut whole {
        map.insert("$defs".to_owned(), defs);
        if choices.happens(8) {
            map.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        }
    }
    whole
}

/// How a node of a tree leads on: by lists, by a choice, or without an end.
fn next(choices: &mut Choices<'_>) -> Value {
    let node = json!({"$ref": "#/$defs/node"});
    match choices.below(6) {
        0 => json!({"type": "string"}),
        1 => json!({"anyOf": [node, {"type": "null"}]}),
        2 => json!({"oneOf": [node, {"type": "null"}]}),
        3 => node,
        _ => json!({"type": "array", "items": node}),
    }
}

fn of_depth(choices: &mut Choices<'_>, depth: usize) -> Value {
    let mut schema = match choices.below(if depth < MAX_DEPTH { 16 } else { 9 }) {
        0 => text(choices),
        1 => number(choices),
        2 | 3 => listed(choices),
        4 => json!({"type": choices.one(&["boolean", "null", "string", "integer", "object", "array"])}),
        5 => {
            json!({"type": [choices.one(&["null", "string", "object"]), choices.one(&["integer", "boolean", "array"])]})
        }
        6 => choices.one(&[&json!({}), &json!(true), &json!(false)]).clone(),
        7 => json!({"type": "integer", "minimum": choices.below(4), "maximum": choices.below(9)}),
        8 => json!({"$ref": choices.one(&["#/$defs/node", "#/$defs/leaf", "#/$defs/base", "#"])}),
        9..=11 => object(choices, depth + 1),
        12 => array(choices, depth + 1),
        13 => tagged(choices, depth + 1),
        _ => combined(choices, depth + 1),
    };
    // Whatever is there, keywords of any family may be beside it.
    while choices.happens(4) {
        let beside = beside(choices, depth + 1);
        if let (Value::Object(map), Value::Object(more)) = (&mut schema, beside) {
            for (keyword, value) in more {
                map.entry(keyword).or_insert(value);
            }
        }
    }
    schema
}

fn beside(choices: &mut Choices<'_>, depth: usize) -> Value {
    let inner = |choices: &mut Choices<'_>| of_depth(choices, depth.max(MAX_DEPTH - 1));
    match choices.below(22) {
        0 => json!({"minimum": choices.below(6), "maximum": choices.below(30)}),
        1 => json!({"exclusiveMinimum": choices.below(4)}),
        2 => json!({"multipleOf": choices.one(&[&json!(2), &json!(0.5), &json!(3)])}),
        3 => json!({"minLength": choices.below(3), "maxLength": choices.below(6)}),
        4 => json!({"pattern": choices.one(&PATTERNS)}),
        5 => json!({"required": [choices.one(&NAMES)]}),
        6 => json!({"properties": {choices.one(&NAMES): inner(choices)}}),
        7 => json!({"additionalProperties": inner(choices)}),
        8 => json!({"minProperties": choices.below(3)}),
        9 => json!({"maxProperties": choices.below(4)}),
        10 => json!({"items": inner(choices), "maxItems": choices.below(4)}),
        11 => json!({"uniqueItems": true}),
        12 => json!({"not": inner(choices)}),
        13 => json!({"type": choices.one(&["string", "integer", "object", "boolean"])}),
        14 => listed(choices),
        15 => json!({"nullable": choices.happens(2)}),
        16 => json!({"allOf": [inner(choices)]}),
        17 => json!({"anyOf": [inner(choices), inner(choices)]}),
        18 => json!({"unevaluatedProperties": choices.happens(2)}),
        19 => json!({"if": inner(choices), "then": inner(choices)}),
        20 => json!({"description": "some words", "x-order": 1, "units": "metres"}),
        _ => {
            json!({"propertyNames": choices.one(&[&json!({"enum": ["a", "b"]}), &json!({"pattern": "^x_"}), &json!({"maxLength": 3})])})
        }
    }
}

fn scalar(choices: &mut Choices<'_>) -> Value {
    match choices.below(8) {
        0 => Value::Null,
        1 => Value::Bool(choices.happens(2)),
        2 => json!(choices.below(6)),
        3 => json!(choices.below(40) as f64 / 8.0),
        4 => json!(choices.one(&["1", "true", "", "a b", "\u{1b}", "é\"\\"])),
        _ => json!(choices.one(&["x", "y", "red", "green", "billing"])),
    }
}

fn listed(choices: &mut Choices<'_>) -> Value {
    if choices.happens(4) {
        return json!({ "const": scalar(choices) });
    }
    let mut values: Vec<Value> = (0..=choices.below(5)).map(|_| scalar(choices)).collect();
    if choices.happens(8) {
        values.push(json!({"a": [1, {"b": null}]}));
    }
    json!({ "enum": values })
}

fn text(choices: &mut Choices<'_>) -> Value {
    let mut map = Map::from_iter([("type".to_owned(), json!("string"))]);
    match choices.below(6) {
        0 => drop(map.insert("pattern".to_owned(), json!(choices.one(&PATTERNS)))),
        1 => drop(map.insert("format".to_owned(), json!(choices.one(&FORMATS)))),
        2 => drop(map.insert("maxLength".to_owned(), json!(choices.below(8)))),
        3 => drop(map.insert("minLength".to_owned(), json!(choices.below(4)))),
        _ => {}
    }
    if choices.happens(12) {
        map.insert("contentEncoding".to_owned(), json!("base64"));
    }
    Value::Object(map)
}

fn number(choices: &mut Choices<'_>) -> Value {
    let is_whole = choices.happens(2);
    let mut map = Map::from_iter([("type".to_owned(), json!(if is_whole { "integer" } else { "number" }))]);
    if choices.happens(2) {
        let least = choices.below(100) as f64 / 4.0 - 12.0;
        map.insert(choices.one(&["minimum", "exclusiveMinimum"]).to_owned(), json!(least));
    }
    if choices.happens(2) {
        let most = choices.below(200) as f64 / 4.0 - 9.0;
        map.insert(choices.one(&["maximum", "exclusiveMaximum"]).to_owned(), json!(most));
    }
    if choices.happens(3) {
        let step = choices.one(&[&json!(1), &json!(3), &json!(0.25), &json!(0.1), &json!(7.5), &json!(1e-9)]).clone();
        map.insert("multipleOf".to_owned(), step);
    }
    if choices.happens(10) && map.contains_key("minimum") {
        map.insert("exclusiveMinimum".to_owned(), json!(true));
    }
    Value::Object(map)
}

fn object(choices: &mut Choices<'_>, depth: usize) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for _ in 0..choices.below(4) {
        let name = choices.one(&NAMES);
        properties.insert(name.to_owned(), of_depth(choices, depth));
        if choices.happens(2) {
            required.push(name);
        }
    }
    required.dedup();
    let mut map = json!({"type": "object", "properties": properties});
    let object = map.as_object_mut().expect("made an object above");
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    match choices.below(8) {
        0..=2 => drop(object.insert("additionalProperties".to_owned(), json!(false))),
        3 => drop(object.insert("additionalProperties".to_owned(), of_depth(choices, depth))),
        4 => drop(object.insert("patternProperties".to_owned(), json!({"^x_": of_depth(choices, depth)}))),
        _ => {}
    }
    map
}

fn array(choices: &mut Choices<'_>, depth: usize) -> Value {
    let mut map = json!({"type": "array", "items": of_depth(choices, depth), "minItems": choices.below(3)});
    let array = map.as_object_mut().expect("made an object above");
    if choices.happens(2) {
        array.insert("maxItems".to_owned(), json!(choices.below(4)));
    }
    match choices.below(6) {
        0 => drop(array.insert("prefixItems".to_owned(), json!([of_depth(choices, depth), of_depth(choices, depth)]))),
        1 => {
            array.insert("items".to_owned(), json!([of_depth(choices, depth)]));
            array.insert("additionalItems".to_owned(), of_depth(choices, depth));
        }
        2 => drop(array.insert("uniqueItems".to_owned(), json!(true))),
        3 => drop(array.insert("unevaluatedItems".to_owned(), json!(false))),
        _ => {}
    }
    map
}

/// Objects that a constant distinguishes.
fn tagged(choices: &mut Choices<'_>, depth: usize) -> Value {
    let part = |tag: &str, choices: &mut Choices<'_>| json!({"type": "object", "properties": {"kind": {"const": tag}, "v": of_depth(choices, depth)}, "required": ["kind"]});
    let parts = [part("a", choices), part("b", choices)];
    json!({ choices.one(&["oneOf", "anyOf"]): parts, "discriminator": {"propertyName": "kind"} })
}

fn combined(choices: &mut Choices<'_>, depth: usize) -> Value {
    let keyword = choices.one(&["anyOf", "oneOf", "allOf"]);
    let parts: Vec<Value> = (0..=choices.below(3)).map(|_| of_depth(choices, depth)).collect();
    json!({ keyword: parts })
}
