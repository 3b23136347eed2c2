//! A schema to a stricter one that is kept exactly: what it says, without what cannot be held while text is written.
//!
//! Every answer to the stricter schema is an answer to the given one. What is stricter: properties that nobody named are
//! not written unless `additionalProperties` says so, items behind `prefixItems` neither; numbers stay below 10^15 (10^9
//! where `multipleOf` has decimals) and have no exponent; values of which nothing is said nest at most [`FREE_DEPTH`] deep;
//! formats are those of `formats`. Where parts of a schema speak of one value (`allOf`, `oneOf`) nothing is closed.
//! What can be neither kept nor tightened is refused by place and keyword.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{ContractError, Place, formats};

/// Schemas inside schemas.
const MAX_DEPTH: usize = 64;
/// Schemas in a schema.
const MAX_NODES: usize = 20_000;
/// Lists and objects inside each other, where nothing is said of a value.
const FREE_DEPTH: usize = 8;
/// Whole numbers up to here are exact in JSON's usual arithmetic.
const LARGEST: f64 = 1e15;
/// Numbers with a few decimals are exact enough up to here to be told from their neighbours.
const LARGEST_IN_STEPS: f64 = 1e9;

const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
const OBJECT: [&str; 6] =
    ["properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"];
const ARRAY: [&str; 4] = ["items", "prefixItems", "minItems", "maxItems"];
const STRING: [&str; 4] = ["minLength", "maxLength", "pattern", "format"];
const NUMBER: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
const IN_PLACE: [&str; 6] = ["enum", "const", "$ref", "allOf", "anyOf", "oneOf"];

/// Keywords that say nothing about which answers are allowed.
const ANNOTATIONS: [&str; 13] = [
    "$schema",
    "$defs",
    "definitions",
    "$comment",
    "title",
    "description",
    "default",
    "example",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "enumDescriptions",
];

/// A stricter schema.
#[derive(Debug)]
pub struct Strict {
    /// The schema, references as `#/$defs/…`.
    pub schema: Value,
    /// Every part of it with its place in the given schema, inner ones first; each without `$defs`.
    pub parts: Vec<(Place, Value)>,
}

/// Tightens a schema.
///
/// # Errors
/// [`ContractError::Schema`] with the place and the keyword that cannot be kept.
pub fn tighten(schema: &Value) -> Result<Strict, ContractError> {
    let mut reader = Reader {
        root: schema,
        targets: Vec::new(),
        parts: Vec::new(),
        n_nodes: 0,
        is_combined: is_combined(schema, 0),
    };
    let mut strict = reader.read(schema, &Place::root(), 0)?;
    // Reading a target may find more of them.
    let mut defs = Map::new();
    let mut at = 0;
    while let Some((pointer, target)) = reader.targets.get(at).cloned() {
        let place = Place(pointer);
        defs.insert(def(at), reader.read(target, &place, 0)?);
        at += 1;
    }
    check_ends(&strict, &defs, &reader.targets)?;
    defs.extend(free());
    if let Value::Object(map) = &mut strict {
        map.insert("$defs".to_owned(), Value::Object(defs));
    }
    Ok(Strict { schema: strict, parts: reader.parts })
}

/// The name of a reference's target.
fn def(number: usize) -> String {
    format!("r{number}")
}

/// Whether anything in a text says two things of one value (by `allOf` or `oneOf`, or by a reference or a choice with keywords
/// beside it). Properties that one of them names are then unnamed to the other, and nothing may be closed.
fn is_combined(value: &Value, depth: usize) -> bool {
    match value {
        Value::Object(map) => {
            let said = |key: &&String| IN_PLACE[2..].contains(&key.as_str());
            let n_choices = map.keys().filter(said).count();
            let n_beside =
                [&OBJECT[..], &ARRAY, &STRING, &NUMBER].concat().iter().filter(|k| map.contains_key(**k)).count();
            let has_parts = |key: &str| map.get(key).and_then(Value::as_array).is_some_and(|parts| parts.len() > 1);
            // Of `oneOf` the other parts must fail as they were given, not as they were tightened.
            let is_both = has_parts("allOf") || has_parts("oneOf");
            is_both
                || n_choices > 1
                || (n_choices == 1 && n_beside > 0)
                || (depth < 2 * MAX_DEPTH && map.values().any(|value| is_combined(value, depth + 1)))
        }
        Value::Array(list) => depth < 2 * MAX_DEPTH && list.iter().any(|value| is_combined(value, depth + 1)),
        _ => false,
    }
}

/// Values of which nothing is said, bounded in depth.
fn free() -> Map<String, Value> {
    let mut defs = Map::new();
    for depth in 0..=FREE_DEPTH {
        let mut kinds = vec![json!({"type": ["null", "boolean", "string"]}), number("number")];
        if depth < FREE_DEPTH {
            let inner = json!({ "$ref": format!("#/$defs/free{}", depth + 1) });
            kinds.push(json!({"type": "array", "items": inner}));
            kinds.push(json!({"type": "object", "additionalProperties": inner}));
        }
        defs.insert(format!("free{depth}"), json!({ "anyOf": kinds }));
    }
    defs
}

fn number(kind: &str) -> Value {
    json!({"type": kind, "minimum": -LARGEST, "maximum": LARGEST})
}

struct Reader<'s> {
    root: &'s Value,
    /// What references point to, each once.
    targets: Vec<(String, &'s Value)>,
    parts: Vec<(Place, Value)>,
    n_nodes: usize,
    is_combined: bool,
}

impl<'s> Reader<'s> {
    fn read(&mut self, schema: &'s Value, at: &Place, depth: usize) -> Result<Value, ContractError> {
        self.n_nodes += 1;
        if self.n_nodes > MAX_NODES {
            return Err(at.refused(format!("there are more than {MAX_NODES} schemas in it")));
        }
        if depth > MAX_DEPTH {
            return Err(at.refused(format!("schemas are nested more than {MAX_DEPTH} deep")));
        }
        let map = match schema {
            Value::Bool(true) => return Ok(self.anything()),
            Value::Bool(false) => return Ok(Value::Bool(false)),
            Value::Object(map) => map,
            _ => return Err(at.refused("a schema is a JSON object, `true` or `false`")),
        };
        check_keywords(map, at)?;
        let strict = self.read_map(map, at, depth)?;
        if strict.is_empty() {
            return Ok(self.anything());
        }
        let strict = Value::Object(strict);
        self.parts.push((at.clone(), strict.clone()));
        Ok(strict)
    }

    fn anything(&self) -> Value {
        if self.is_combined { Value::Bool(true) } else { json!({"$ref": "#/$defs/free0"}) }
    }

    fn read_map(
        &mut self,
        map: &'s Map<String, Value>,
        at: &Place,
        depth: usize,
    ) -> Result<Map<String, Value>, ContractError> {
        let mut strict = Map::new();
        let mut types = types(map, at)?;
        if self.is_combined && !types.is_empty() && !map.contains_key("type") {
            // Keywords of one type say nothing of the others, which another part may speak of.
            types = TYPES.iter().filter(|name| **name != "integer").map(|name| (*name).to_owned()).collect();
        }
        let is = |name: &str| types.iter().any(|of| of == name);
        if let Some(values) = map.get("enum") {
            strict.insert("enum".to_owned(), values_of(values, &types, at)?);
        }
        if let Some(value) = map.get("const") {
            check_value(value, &at.below("const"), "const")?;
            strict.insert("const".to_owned(), value.clone());
        }
        let is_listed = !strict.is_empty();
        if !types.is_empty() && !is_listed {
            strict.insert("type".to_owned(), json!(types));
        }
        if is("object") || is_listed {
            self.read_object(map, at, depth, &mut strict)?;
        }
        if is("array") || is_listed {
            self.read_array(map, at, depth, &mut strict)?;
        }
        if is("string") || is_listed {
            read_string(map, at, &mut strict)?;
        }
        if is("number") || is("integer") || is_listed {
            read_number(map, at, !is_listed, &mut strict)?;
        }
        if let Some(reference) = map.get("$ref") {
            let number = self.target(reference, &at.below("$ref"))?;
            strict.insert("$ref".to_owned(), Value::from(format!("#/$defs/{}", def(number))));
        }
        for choice in ["allOf", "anyOf", "oneOf"] {
            let Some(parts) = map.get(choice) else { continue };
            let at = at.below(choice);
            let parts = parts.as_array().filter(|parts| !parts.is_empty());
            let parts = parts.ok_or_else(|| at.refused(format!("`{choice}` is not a list of schemas")))?;
            let parts: Result<Vec<Value>, _> = parts
                .iter()
                .enumerate()
                .map(|(number, part)| self.read(part, &at.below(&number.to_string()), depth + 1))
                .collect();
            let mut parts = parts?;
            if let Some(Value::Array(more)) = strict.remove(choice) {
                parts.extend(more);
            }
            strict.insert(choice.to_owned(), Value::Array(parts));
        }
        Ok(strict)
    }

    fn read_object(
        &mut self,
        map: &'s Map<String, Value>,
        at: &Place,
        depth: usize,
        strict: &mut Map<String, Value>,
    ) -> Result<(), ContractError> {
        if !OBJECT.iter().any(|keyword| map.contains_key(*keyword)) && !self.wants_free(map, "object") {
            return Ok(());
        }
        let mut named = self.read_named(map.get("properties"), &at.below("properties"), depth)?;
        let patterns = self.read_named(map.get("patternProperties"), &at.below("patternProperties"), depth)?;
        for pattern in patterns.keys() {
            let at = at.below("patternProperties").below(pattern);
            check_pattern(pattern, &at)?;
            if names_controls(pattern) {
                return Err(at.refused("a pattern of names may not spell characters by their codes; write them"));
            }
        }
        let more = match map.get("additionalProperties") {
            Some(schema) => Some(self.read(schema, &at.below("additionalProperties"), depth + 1)?),
            None => None,
        };
        let required = required(map, &at.below("required"))?;
        for name in &required {
            if named.contains_key(name) || !patterns.is_empty() {
                continue;
            }
            match &more {
                Some(Value::Bool(false)) => {
                    let reason = format!("`{name}` is required, and `additionalProperties` forbids it");
                    return Err(at.below("required").refused(reason));
                }
                // Nobody said what it is: anything.
                None => drop(named.insert(name.clone(), self.anything())),
                Some(_) => {}
            }
        }
        let (least, most) = (count(map, "minProperties", at)?, count(map, "maxProperties", at)?);
        check_order(least, most, "minProperties", "maxProperties", at)?;
        let is_named = map.contains_key("properties") || !patterns.is_empty();
        let more = match more {
            Some(more) => Some(more),
            None if is_named && !self.is_combined => Some(Value::Bool(false)),
            None => None,
        };
        // A name that is written twice is one property: with free names a count of them proves nothing.
        if least.is_some_and(|n| n > required.len() as u64)
            && (more != Some(Value::Bool(false)) || !patterns.is_empty())
        {
            let reason = "`minProperties` is kept only where every property has its name under `properties`, and \
                          `additionalProperties` is false";
            return Err(at.below("minProperties").refused(reason));
        }
        if !named.is_empty() {
            strict.insert("properties".to_owned(), Value::Object(named));
        }
        if !patterns.is_empty() {
            strict.insert("patternProperties".to_owned(), Value::Object(patterns));
        }
        strict.insert("additionalProperties".to_owned(), more.unwrap_or_else(|| self.anything()));
        if !required.is_empty() {
            strict.insert("required".to_owned(), json!(required));
        }
        for (name, n) in [("minProperties", least), ("maxProperties", most)] {
            strict.extend(n.map(|n| (name.to_owned(), Value::from(n))));
        }
        Ok(())
    }

    /// Whether a type by itself stands for free values, which are bounded.
    fn wants_free(&self, map: &Map<String, Value>, kind: &str) -> bool {
        !self.is_combined && !IN_PLACE.iter().any(|keyword| map.contains_key(*keyword)) && has(map.get("type"), kind)
    }

    fn read_named(
        &mut self,
        schemas: Option<&'s Value>,
        at: &Place,
        depth: usize,
    ) -> Result<Map<String, Value>, ContractError> {
        let Some(schemas) = schemas else { return Ok(Map::new()) };
        let schemas = schemas.as_object().ok_or_else(|| at.refused("it is not an object of schemas"))?;
        let read = |(name, schema): (&String, &'s Value)| {
            self.read(schema, &at.below(name), depth + 1).map(|schema| (name.clone(), schema))
        };
        schemas.iter().map(read).collect()
    }

    fn read_array(
        &mut self,
        map: &'s Map<String, Value>,
        at: &Place,
        depth: usize,
        strict: &mut Map<String, Value>,
    ) -> Result<(), ContractError> {
        if !ARRAY.iter().any(|keyword| map.contains_key(*keyword)) && !self.wants_free(map, "array") {
            return Ok(());
        }
        let items = match map.get("items") {
            Some(Value::Array(_)) => {
                return Err(at
                    .below("items")
                    .refused("a list of schemas is written `prefixItems` since draft 2020-12"));
            }
            Some(schema) => self.read(schema, &at.below("items"), depth + 1)?,
            None if map.contains_key("prefixItems") && !self.is_combined => Value::Bool(false),
            None => self.anything(),
        };
        strict.insert("items".to_owned(), items);
        if let Some(first) = map.get("prefixItems") {
            let at = at.below("prefixItems");
            let first = first.as_array().ok_or_else(|| at.refused("`prefixItems` is not a list of schemas"))?;
            let first: Result<Vec<Value>, _> = first
                .iter()
                .enumerate()
                .map(|(number, item)| self.read(item, &at.below(&number.to_string()), depth + 1))
                .collect();
            strict.insert("prefixItems".to_owned(), Value::Array(first?));
        }
        let (least, most) = (count(map, "minItems", at)?, count(map, "maxItems", at)?);
        check_order(least, most, "minItems", "maxItems", at)?;
        for (name, n) in [("minItems", least), ("maxItems", most)] {
            strict.extend(n.map(|n| (name.to_owned(), Value::from(n))));
        }
        Ok(())
    }

    /// The number of what a reference points to.
    fn target(&mut self, reference: &Value, at: &Place) -> Result<usize, ContractError> {
        let refused = || at.refused(format!("{reference} does not point into this schema, and nothing else is read"));
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).ok_or_else(refused)?;
        let pointer = percent_decoded(pointer).ok_or_else(refused)?;
        let found = self.root.pointer(&pointer).ok_or_else(refused)?;
        if let Some(number) = self.targets.iter().position(|(known, _)| *known == pointer) {
            return Ok(number);
        }
        self.targets.push((pointer, found));
        Ok(self.targets.len() - 1)
    }
}

/// The types that a value may have; those that the keywords speak of where none are named.
fn types(map: &Map<String, Value>, at: &Place) -> Result<Vec<String>, ContractError> {
    let place = at.below("type");
    let known = |name: &Value| match name.as_str() {
        Some(name) if TYPES.contains(&name) => Ok(name.to_owned()),
        _ => Err(place.refused(format!("{name} is not a type of JSON Schema"))),
    };
    match map.get("type") {
        Some(Value::Array(names)) if !names.is_empty() => names.iter().map(known).collect(),
        Some(name) => Ok(vec![known(name)?]),
        None if IN_PLACE.iter().any(|keyword| map.contains_key(*keyword)) => Ok(Vec::new()),
        None => {
            let families: [(&str, &[&str]); 4] =
                [("object", &OBJECT), ("array", &ARRAY), ("string", &STRING), ("number", &NUMBER)];
            let said = families.iter().filter(|(_, keywords)| keywords.iter().any(|k| map.contains_key(*k)));
            Ok(said.map(|(name, _)| (*name).to_owned()).collect())
        }
    }
}

fn has(types: Option<&Value>, kind: &str) -> bool {
    match types {
        Some(Value::String(name)) => name == kind,
        Some(Value::Array(names)) => names.iter().any(|name| name == kind),
        _ => false,
    }
}

fn check_keywords(map: &Map<String, Value>, at: &Place) -> Result<(), ContractError> {
    let families = [&OBJECT[..], &ARRAY, &STRING, &NUMBER, &IN_PLACE, &["type"]];
    let is_kept = |key: &str| families.iter().any(|keywords| keywords.contains(&key));
    let is_said = |key: &str| ANNOTATIONS.contains(&key) || key.starts_with("x-");
    // A name for the whole schema changes nothing in it; one further in changes what references mean.
    let is_name = |key: &str| key == "$id" && at.0.is_empty();
    let Some(keyword) = map.keys().map(String::as_str).find(|key| !is_kept(key) && !is_said(key) && !is_name(key))
    else {
        return Ok(());
    };
    let hint = match keyword {
        "not" | "if" | "then" | "else" => "; say what is allowed with `anyOf`",
        "unevaluatedProperties" => "; write `additionalProperties`",
        "unevaluatedItems" | "additionalItems" => "; write `prefixItems` and `items`",
        "nullable" => "; write `\"type\": [\"string\", \"null\"]`",
        "uniqueItems" | "contains" | "minContains" | "maxContains" => "; leave it away and check the answers yourself",
        _ => "",
    };
    Err(at.below(keyword).refused(format!("`{keyword}` cannot be held while text is written{hint}")))
}

fn values_of(values: &Value, types: &[String], at: &Place) -> Result<Value, ContractError> {
    let at = at.below("enum");
    let list = values.as_array().ok_or_else(|| at.refused("`enum` is not a list"))?;
    if list.is_empty() {
        return Err(at.refused("`enum` is empty: give at least one value"));
    }
    let mut seen = HashSet::new();
    for value in list {
        check_value(value, &at, "enum")?;
        if !types.is_empty() && !types.iter().any(|name| is_of(value, name)) {
            return Err(at.refused(format!("{value} in `enum` is not of the schema's `type`")));
        }
        if !seen.insert(value.to_string()) {
            return Err(at.refused(format!("{value} is given twice")));
        }
    }
    Ok(values.clone())
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}

/// Characters that no text of an answer holds: JSON spells them as `\u001b`, which the grammar leaves out.
fn is_unspelled(c: char) -> bool {
    c == '\u{7f}' || (c < ' ' && !matches!(c, '\n' | '\r' | '\t' | '\u{8}' | '\u{c}'))
}

/// Values must be ones that a grammar can spell exactly.
fn check_value(value: &Value, at: &Place, keyword: &str) -> Result<(), ContractError> {
    match value {
        Value::Number(number) => {
            let n = number.as_f64().unwrap_or(f64::INFINITY);
            let n_decimals = number.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
            if n.abs() > LARGEST || number.to_string().contains('e') || n_decimals > 15 {
                return Err(at.refused(format!("{number} in `{keyword}` has too many digits: at most 15 are kept")));
            }
            Ok(())
        }
        Value::String(text) => match text.chars().find(|&c| is_unspelled(c)) {
            Some(c) => Err(
                at.refused(format!("a text in `{keyword}` holds the control character {c:?}, which is never written"))
            ),
            None => Ok(()),
        },
        Value::Array(list) => list.iter().try_for_each(|value| check_value(value, at, keyword)),
        Value::Object(map) => map.values().try_for_each(|value| check_value(value, at, keyword)),
        _ => Ok(()),
    }
}

fn read_string(map: &Map<String, Value>, at: &Place, strict: &mut Map<String, Value>) -> Result<(), ContractError> {
    let (least, most) = (count(map, "minLength", at)?, count(map, "maxLength", at)?);
    check_order(least, most, "minLength", "maxLength", at)?;
    for (name, n) in [("minLength", least), ("maxLength", most)] {
        strict.extend(n.map(|n| (name.to_owned(), Value::from(n))));
    }
    let mut patterns = Vec::new();
    if let Some(pattern) = map.get("pattern") {
        let at = at.below("pattern");
        let pattern = pattern.as_str().ok_or_else(|| at.refused("`pattern` is not a text"))?;
        check_pattern(pattern, &at)?;
        patterns.push(pattern.to_owned());
        if names_controls(pattern) {
            // llguidance leaves a character that it cannot spell out of the text, where it must leave out the text.
            patterns.push("^[^\\x00-\\x07\\x0b\\x0e-\\x1f\\x7f]*$".to_owned());
        }
    }
    if let Some(format) = map.get("format") {
        let at = at.below("format");
        patterns.push(format.as_str().and_then(formats::pattern).ok_or_else(|| {
            at.refused(format!("`format` {format} cannot be kept; these can: {}", formats::NAMES.join(", ")))
        })?);
    }
    let mut patterns = patterns.into_iter();
    strict.extend(patterns.next().map(|pattern| ("pattern".to_owned(), Value::from(pattern))));
    let more: Vec<Value> = patterns.map(|pattern| json!({"type": "string", "pattern": pattern})).collect();
    if !more.is_empty() {
        strict.insert("allOf".to_owned(), Value::Array(more));
    }
    Ok(())
}

/// Whether a pattern may speak of a character that no text of an answer holds.
fn names_controls(pattern: &str) -> bool {
    let escapes = ["\\x", "\\u", "\\0", "\\c", "\\a", "\\v", "\\e"];
    pattern.chars().any(is_unspelled) || escapes.iter().any(|escape| pattern.contains(escape))
}

/// A pattern must be one for the validator too.
fn check_pattern(pattern: &str, at: &Place) -> Result<(), ContractError> {
    super::open::validator(&json!({ "pattern": pattern })).map(drop).map_err(|_| {
        at.refused(format!(
            "`{pattern}` is not a regular expression that can be kept (no look-around, no \
                                        references back, at most 1 MB compiled)"
        ))
    })
}

fn read_number(
    map: &Map<String, Value>,
    at: &Place,
    is_typed: bool,
    strict: &mut Map<String, Value>,
) -> Result<(), ContractError> {
    let bound = |name: &str| match map.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(n) => Ok(Some(n)),
            None => Err(at.below(name).refused(format!("`{name}` is {value}, not a number"))),
        },
    };
    let (low, over) = (bound("minimum")?, bound("exclusiveMinimum")?);
    let (high, under) = (bound("maximum")?, bound("exclusiveMaximum")?);
    let least = low.into_iter().chain(over).reduce(f64::max);
    let most = high.into_iter().chain(under).reduce(f64::min);
    if let (Some(least), Some(most)) = (least, most)
        && (least > most || (least == most && (over == Some(least) || under == Some(most))))
    {
        return Err(at.refused(format!("no number is between {least} and {most} as its bounds ask")));
    }
    let has_decimals = map.get("multipleOf").is_some_and(|step| step.as_f64().is_some_and(|step| step.fract() != 0.0));
    let (largest, shown) = if has_decimals { (LARGEST_IN_STEPS, "10^9") } else { (LARGEST, "10^15") };
    if least.is_some_and(|n| n > largest) || most.is_some_and(|n| n < -largest) {
        return Err(at.refused(format!("numbers are kept below {shown}, and its bounds ask for larger ones")));
    }
    for (name, value) in [("exclusiveMinimum", over), ("exclusiveMaximum", under)] {
        if value.is_some_and(|n| n.abs() <= largest) {
            strict.insert(name.to_owned(), map[name].clone());
        }
    }
    if is_typed || has_decimals || low.is_some() {
        let exact = low.filter(|n| n.abs() <= largest).map_or(json!(-largest), |_| map["minimum"].clone());
        strict.insert("minimum".to_owned(), exact);
    }
    if is_typed || has_decimals || high.is_some() {
        let exact = high.filter(|n| n.abs() <= largest).map_or(json!(largest), |_| map["maximum"].clone());
        strict.insert("maximum".to_owned(), exact);
    }
    if let Some(step) = bound("multipleOf")? {
        // llguidance keeps them as a whole number of 32 bits over a power of ten, and multiplies two of them.
        let digits = map["multipleOf"].to_string();
        let n_decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.trim_end_matches('0').len());
        if !(step > 0.0 && step < 10_000.0 && n_decimals <= 4 && !digits.contains('e')) {
            let reason = format!("`multipleOf` {digits} is kept from 0.0001 to 9999, with four decimals at most");
            return Err(at.below("multipleOf").refused(reason));
        }
        strict.insert("multipleOf".to_owned(), map["multipleOf"].clone());
    }
    Ok(())
}

fn required(map: &Map<String, Value>, at: &Place) -> Result<Vec<String>, ContractError> {
    let Some(names) = map.get("required") else { return Ok(Vec::new()) };
    let names: Option<Vec<String>> =
        names.as_array().and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    names.ok_or_else(|| at.refused("`required` is not a list of names"))
}

fn count(map: &Map<String, Value>, name: &str, at: &Place) -> Result<Option<u64>, ContractError> {
    let Some(value) = map.get(name) else { return Ok(None) };
    let whole = value.as_u64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64));
    let n = whole.filter(|&n| n < 1_000_000_000);
    n.map(Some).ok_or_else(|| at.below(name).refused(format!("`{name}` is {value}, not a whole number below 10^9")))
}

fn check_order(
    least: Option<u64>,
    most: Option<u64>,
    least_name: &str,
    most_name: &str,
    at: &Place,
) -> Result<(), ContractError> {
    match (least, most) {
        (Some(least), Some(most)) if least > most => {
            Err(at.refused(format!("`{least_name}` {least} is more than `{most_name}` {most}")))
        }
        _ => Ok(()),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Refuses a schema whose every answer would go on for ever.
fn check_ends(root: &Value, defs: &Map<String, Value>, targets: &[(String, &Value)]) -> Result<(), ContractError> {
    let mut ending: HashSet<String> = HashSet::new();
    loop {
        let n_known = ending.len();
        let found: Vec<String> =
            defs.iter().filter(|(_, def)| ends(def, &ending)).map(|(name, _)| name.clone()).collect();
        ending.extend(found);
        if ending.len() == n_known {
            break;
        }
    }
    if ends(root, &ending) {
        return Ok(());
    }
    let endless = (0..targets.len()).find(|&number| !ending.contains(&def(number)));
    let at = endless.map_or_else(Place::root, |number| Place(targets[number].0.clone()));
    Err(at.refused(
        "it needs itself again without an end: let it end somewhere, with a property that is not required or a \
                    list that may be empty",
    ))
}

/// Whether some finite answer satisfies a strict schema, given the references of which that is known.
fn ends(schema: &Value, known: &HashSet<String>) -> bool {
    let Value::Object(map) = schema else { return true };
    if map.contains_key("enum") || map.contains_key("const") {
        return true;
    }
    let inner = |key: &str| map.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let reference = map.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix("#/$defs/"));
    let is_known = reference.is_none_or(|name| name.starts_with("free") || known.contains(name));
    let is_one = |key: &str| !map.contains_key(key) || inner(key).iter().any(|part| ends(part, known));
    if !(is_known && inner("allOf").iter().all(|part| ends(part, known)) && is_one("anyOf") && is_one("oneOf")) {
        return false;
    }
    let kinds = inner("type");
    kinds.is_empty()
        || kinds.iter().any(|kind| match kind.as_str() {
            Some("object") => {
                let named = |name: &Value| map.get("properties")?.get(name.as_str()?);
                inner("required").iter().filter_map(named).all(|property| ends(property, known))
            }
            Some("array") => {
                let least = map.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
                let first = inner("prefixItems");
                let rest = map.get("items").is_none_or(|items| ends(items, known));
                first.iter().take(least).all(|item| ends(item, known)) && (first.len() >= least || rest)
            }
            _ => true,
        })
}
