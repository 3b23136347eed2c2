//! Tightens a schema to one that a grammar keeps exactly.
//!
//! Every answer to the stricter schema is an answer to the given one. What is stricter: unnamed properties are not written
//! unless `additionalProperties` says so, nor are items after `prefixItems`; numbers stay below 10^15 (10^9 where
//! `multipleOf` has decimals) and have no exponent; values without any constraint nest at most [`FREE_DEPTH`] deep; formats
//! are those of `formats`. Where several parts of a schema constrain one value (`allOf`, `oneOf`), nothing is closed. What
//! can be neither kept nor tightened is refused with its place and keyword.

use serde_json::{Map, Value, json};

use super::error::{ContractError, Pointer};
use super::keywords::{ARRAY, IN_PLACE, NUMBER, OBJECT, STRING, TYPES, check_keywords, has, types};
use super::recursion::check_ends;
use super::scalars::{
    LARGEST, check_order, check_pattern, check_value, count, names_controls, read_number, read_string, values_of,
};

/// Schemas inside schemas.
const MAX_DEPTH: usize = 64;
/// Schemas in a schema.
const MAX_NODES: usize = 20_000;
/// Lists and objects inside each other, where a value has no constraint.
const FREE_DEPTH: usize = 8;

/// A stricter schema.
#[derive(Debug)]
pub struct Strict {
    /// The schema, references as `#/$defs/…`.
    pub schema: Value,
    /// Every part of it with its place in the given schema, inner ones first; each without `$defs`.
    pub parts: Vec<(Pointer, Value)>,
}

/// Tightens a schema.
///
/// # Errors
/// [`ContractError::Schema`] with the place and the keyword that cannot be kept.
pub fn tighten(schema: &Value) -> Result<Strict, ContractError> {
    let mut tightener = Tightener {
        root: schema,
        targets: Vec::new(),
        parts: Vec::new(),
        n_nodes: 0,
        is_combined: is_combined(schema, 0),
    };
    let mut strict = tightener.read(schema, &Pointer::root(), 0)?;
    // Reading a target may find more of them.
    let mut defs = Map::new();
    let mut places = Vec::new();
    while let Some((pointer, target)) = tightener.targets.get(places.len()).cloned() {
        let (name, place) = (def(places.len()), Pointer::of(pointer));
        defs.insert(name.clone(), tightener.read(target, &place, 0)?);
        places.push((name, place));
    }
    check_ends(&strict, &defs, &places)?;
    defs.extend(free());
    if let Value::Object(map) = &mut strict {
        map.insert("$defs".to_owned(), Value::Object(defs));
    }
    Ok(Strict { schema: strict, parts: tightener.parts })
}

/// The name of a reference's target.
fn def(number: usize) -> String {
    format!("r{number}")
}

/// Whether anything in a schema constrains one value twice (by `allOf` or `oneOf`, or by a reference or a choice with keywords
/// beside it). Properties that one part names are then unknown to the other, and nothing may be closed.
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

/// Values without any constraint, bounded in depth.
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

struct Tightener<'s> {
    root: &'s Value,
    /// What references point to, each once.
    targets: Vec<(String, &'s Value)>,
    parts: Vec<(Pointer, Value)>,
    n_nodes: usize,
    is_combined: bool,
}

impl<'s> Tightener<'s> {
    fn read(&mut self, schema: &'s Value, at: &Pointer, depth: usize) -> Result<Value, ContractError> {
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
        at: &Pointer,
        depth: usize,
    ) -> Result<Map<String, Value>, ContractError> {
        let mut strict = Map::new();
        let mut types = types(map, at)?;
        if self.is_combined && !types.is_empty() && !map.contains_key("type") {
            // Keywords of one type do not constrain the others, which another part may allow.
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
        at: &Pointer,
        depth: usize,
        strict: &mut Map<String, Value>,
    ) -> Result<(), ContractError> {
        if !OBJECT.iter().any(|keyword| map.contains_key(*keyword)) && !self.wants_free(map, "object") {
            return Ok(());
        }
        let mut named = self.read_named(map.get("properties"), &at.below("properties"), depth)?;
        let patterns = self.read_patterns(map, &at.below("patternProperties"), depth)?;
        let more = match map.get("additionalProperties") {
            Some(schema) => Some(self.read(schema, &at.below("additionalProperties"), depth + 1)?),
            None => None,
        };
        let required = required(map, &at.below("required"))?;
        let unnamed = |name: &&String| !named.contains_key(*name) && patterns.is_empty();
        for name in required.iter().filter(unnamed).cloned().collect::<Vec<_>>() {
            match &more {
                Some(Value::Bool(false)) => {
                    let reason = format!("`{name}` is required, and `additionalProperties` forbids it");
                    return Err(at.below("required").refused(reason));
                }
                // Nothing constrains it.
                None => drop(named.insert(name, self.anything())),
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

    fn read_patterns(
        &mut self,
        map: &'s Map<String, Value>,
        at: &Pointer,
        depth: usize,
    ) -> Result<Map<String, Value>, ContractError> {
        let patterns = self.read_named(map.get("patternProperties"), at, depth)?;
        for pattern in patterns.keys() {
            let at = at.below(pattern);
            check_pattern(pattern, &at)?;
            if names_controls(pattern) {
                return Err(at.refused("a pattern of names may not spell characters by their codes; write them"));
            }
        }
        Ok(patterns)
    }

    /// Whether a type by itself allows values without any constraint, which are bounded.
    fn wants_free(&self, map: &Map<String, Value>, kind: &str) -> bool {
        !self.is_combined && !IN_PLACE.iter().any(|keyword| map.contains_key(*keyword)) && has(map.get("type"), kind)
    }

    fn read_named(
        &mut self,
        schemas: Option<&'s Value>,
        at: &Pointer,
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
        at: &Pointer,
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
    fn target(&mut self, reference: &Value, at: &Pointer) -> Result<usize, ContractError> {
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

fn required(map: &Map<String, Value>, at: &Pointer) -> Result<Vec<String>, ContractError> {
    let Some(names) = map.get("required") else { return Ok(Vec::new()) };
    let names: Option<Vec<String>> =
        names.as_array().and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    names.ok_or_else(|| at.refused("`required` is not a list of names"))
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
