//! A JSON Schema read as a closed contract.
//!
//! Closed are `enum`, `const`, `boolean`, `null`, a bounded `integer`, a union of these, and objects of closed fields.
//! Everything else is open, and refused here with the place and the keyword.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::closed::{AllowedAnswer, Contract, Field, FieldKind};
use super::error::{ContractError, Pointer, parse_json};

/// Options of one field: what a person can tell apart, and a bound on the work of one question.
pub const MAX_OPTIONS: usize = 1024;
/// Fields of one object, nested ones counted.
pub const MAX_FIELDS: usize = 400;
/// The most references that are followed one after the other.
const MAX_DEPTH: usize = 32;

impl Contract {
    /// Parses a schema's text.
    ///
    /// # Errors
    /// [`ContractError`], naming the place in the schema.
    pub fn parse(text: &str) -> Result<Self, ContractError> {
        Self::from_schema(parse_json(text)?)
    }

    /// Reads a schema.
    ///
    /// # Errors
    /// [`ContractError`], naming the place in the schema.
    pub fn from_schema(schema: Value) -> Result<Self, ContractError> {
        let mut reader = SchemaReader { root: &schema, fields: Vec::new() };
        reader.read(&schema, &mut Vec::new(), &Pointer::root())?;
        let fields = reader.fields;
        Ok(Contract { schema, fields })
    }

    /// The contract of `a,b,c`: an `enum` of strings. Commas inside double quotes do not separate.
    ///
    /// # Errors
    /// [`ContractError::Choices`] for an empty list, an empty choice, or one given twice.
    pub fn choices(list: &str) -> Result<Self, ContractError> {
        let bad = |reason: String| ContractError::Choices { list: list.to_owned(), reason };
        let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(list.as_bytes());
        let mut choices: Vec<String> = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| bad(format!("not a list: {error}")))?;
            choices.extend(record.iter().map(str::to_owned));
        }
        if choices.is_empty() {
            return Err(bad("the list is empty; give labels separated by commas".to_owned()));
        }
        let mut seen = HashSet::new();
        for choice in &choices {
            if choice.is_empty() {
                return Err(bad("a choice is empty; is there a comma too many?".to_owned()));
            }
            if !seen.insert(choice) {
                return Err(bad(format!("`{choice}` is given twice")));
            }
        }
        Self::from_schema(serde_json::json!({ "enum": choices }))
    }
}

/// Keywords that say nothing about which answers are allowed.
const ANNOTATIONS: [&str; 11] = [
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
];

struct SchemaReader<'s> {
    root: &'s Value,
    fields: Vec<Field>,
}

impl<'s> SchemaReader<'s> {
    fn read(&mut self, schema: &'s Value, path: &mut Vec<String>, at: &Pointer) -> Result<(), ContractError> {
        let (schema, description) = self.resolve(schema, at)?;
        let is_object = schema.get("type").is_some_and(|t| t == "object") || schema.contains_key("properties");
        if is_object {
            return self.read_object(schema, path, at);
        }
        let (kind, options) = self.options(schema, at, 0)?;
        if options.len() > MAX_OPTIONS {
            return Err(at.open(&format!("{} options are too many to score: at most {MAX_OPTIONS}", options.len())));
        }
        distinct(&options, at)?;
        if self.fields.len() == MAX_FIELDS {
            return Err(at.open(&format!("there are more than {MAX_FIELDS} fields")));
        }
        self.fields.push(Field { path: path.clone(), description, kind, options });
        Ok(())
    }

    fn read_object(
        &mut self,
        schema: &'s Map<String, Value>,
        path: &mut Vec<String>,
        at: &Pointer,
    ) -> Result<(), ContractError> {
        known(
            schema,
            &["type", "properties", "required", "additionalProperties", "propertyOrdering", "unevaluatedProperties"],
            at,
        )?;
        let none = || at.open("an object without `properties`");
        let properties =
            schema.get("properties").and_then(Value::as_object).filter(|p| !p.is_empty()).ok_or_else(none)?;
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !name.as_str().is_some_and(|name| properties.contains_key(name)) {
                let what = format!("{name} is required but not one of the properties");
                return Err(if is_shut(schema) { at.below("required").refused(what) } else { at.open(&what) });
            }
        }
        if path.len() >= MAX_DEPTH {
            return Err(at.open("objects are nested too deep"));
        }
        for (name, property) in properties {
            if name.trim().is_empty() || name.contains(['\n', '\r']) {
                return Err(at.below("properties").refused(format!("{name:?} is not a name that a field can have")));
            }
            path.push(name.clone());
            self.read(property, path, &at.below("properties").below(name))?;
            path.pop();
        }
        Ok(())
    }

    /// Follows `$ref` and an `allOf` of one; the description nearest to the field wins.
    fn resolve(
        &self,
        schema: &'s Value,
        at: &Pointer,
    ) -> Result<(&'s Map<String, Value>, Option<String>), ContractError> {
        let mut schema = schema;
        let mut description = None;
        for _ in 0..MAX_DEPTH {
            let map = match schema {
                Value::Object(map) => map,
                Value::Bool(_) => return Err(at.open("`true` allows everything, `false` nothing")),
                _ => return Err(at.refused("a schema is a JSON object".to_owned())),
            };
            description = description.or_else(|| map.get("description").and_then(Value::as_str).map(str::to_owned));
            let all_of = map.get("allOf").and_then(Value::as_array).map(Vec::as_slice);
            schema = match (map.get("$ref"), all_of) {
                (Some(reference), _) => self.referenced(reference, at)?,
                (None, Some([only])) => only,
                _ => return Ok((map, description)),
            };
        }
        Err(at.open("its references go round in a circle"))
    }

    fn referenced(&self, reference: &Value, at: &Pointer) -> Result<&'s Value, ContractError> {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let found = pointer.and_then(|pointer| self.root.pointer(pointer));
        found.ok_or_else(|| at.refused(format!("`$ref` {reference} does not point into this schema")))
    }

    fn options(
        &self,
        schema: &'s Map<String, Value>,
        at: &Pointer,
        depth: usize,
    ) -> Result<(FieldKind, Vec<AllowedAnswer>), ContractError> {
        if let Some(values) = schema.get("enum") {
            known(schema, &["type", "enum", "enumDescriptions"], at)?;
            let values = values.as_array().ok_or_else(|| at.refused("`enum` is not a list".to_owned()))?;
            if values.is_empty() {
                return Err(at.refused("`enum` is empty: give at least one value".to_owned()));
            }
            let described = schema.get("enumDescriptions").and_then(Value::as_array);
            let of_type: Vec<&Value> = values.iter().filter(|value| has_type(value, schema.get("type"))).collect();
            if let Some(odd) = values.iter().find(|value| !has_type(value, schema.get("type"))) {
                return Err(at.refused(format!("{odd} in `enum` is not of the schema's `type`")));
            }
            let describe = |i: usize| described.and_then(|d| d.get(i)).and_then(Value::as_str).map(str::to_owned);
            let choices = of_type.into_iter().enumerate().map(|(i, value)| choice(value, describe(i), at));
            return Ok((FieldKind::Choice, choices.collect::<Result<_, _>>()?));
        }
        if let Some(value) = schema.get("const") {
            known(schema, &["type", "const"], at)?;
            let description = schema.get("description").and_then(Value::as_str).map(str::to_owned);
            return Ok((FieldKind::Choice, vec![choice(value, description, at)?]));
        }
        for union in ["anyOf", "oneOf"] {
            if let Some(parts) = schema.get(union) {
                known(schema, &["type", union], at)?;
                return self.union(parts, &at.below(union), depth);
            }
        }
        match schema.get("type") {
            Some(Value::String(name)) => typed(name, schema, at),
            Some(Value::Array(names)) if !names.is_empty() => {
                let mut options = Vec::new();
                for name in names {
                    options.extend(typed(name.as_str().unwrap_or_default(), schema, at)?.1);
                }
                Ok((FieldKind::Choice, options))
            }
            _ => Err(at.open("it has no `type`, `enum` or `const`")),
        }
    }

    fn union(
        &self,
        parts: &'s Value,
        at: &Pointer,
        depth: usize,
    ) -> Result<(FieldKind, Vec<AllowedAnswer>), ContractError> {
        let parts = parts.as_array().filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(|| at.refused("it is not a list of schemas".to_owned()))?;
        if depth >= MAX_DEPTH {
            return Err(at.open("unions are nested too deep"));
        }
        let mut options = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let at = at.below(&number.to_string());
            let (part, _) = self.resolve(part, &at)?;
            if part.contains_key("properties") {
                return Err(at.open("a choice between objects"));
            }
            options.extend(self.options(part, &at, depth + 1)?.1);
            // Checked here too: references can make a small schema grow beyond any size.
            if options.len() > MAX_OPTIONS {
                return Err(at.open(&format!("there are more than {MAX_OPTIONS} options")));
            }
        }
        Ok((FieldKind::Choice, options))
    }
}

/// The answers that a `type` by itself allows, where they can be listed.
fn typed(
    name: &str,
    schema: &Map<String, Value>,
    at: &Pointer,
) -> Result<(FieldKind, Vec<AllowedAnswer>), ContractError> {
    match name {
        "boolean" => {
            known(schema, &["type"], at)?;
            let values = [Value::Bool(true), Value::Bool(false)];
            Ok((FieldKind::Boolean, values.iter().map(|value| choice(value, None, at)).collect::<Result<_, _>>()?))
        }
        "null" => Ok((FieldKind::Choice, vec![choice(&Value::Null, None, at)?])),
        "integer" => integers(schema, at),
        "string" | "number" | "array" | "object" => Err(at.open(&format!("`type` `{name}`"))),
        other => Err(at.refused(format!("`{other}` is not a type of JSON Schema"))),
    }
}

fn integers(schema: &Map<String, Value>, at: &Pointer) -> Result<(FieldKind, Vec<AllowedAnswer>), ContractError> {
    let bounds = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
    known(schema, &[&["type"], &bounds[..]].concat(), at)?;
    let number = |name: &str| -> Result<Option<i64>, ContractError> {
        let Some(value) = schema.get(name) else { return Ok(None) };
        let whole =
            value.as_i64().or_else(|| value.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 1e15).map(|f| f as i64));
        whole.map(Some).ok_or_else(|| at.below(name).refused(format!("{value} is not a whole number")))
    };
    let least =
        [number("minimum")?, number("exclusiveMinimum")?.map(|n| n.saturating_add(1))].into_iter().flatten().max();
    let most =
        [number("maximum")?, number("exclusiveMaximum")?.map(|n| n.saturating_sub(1))].into_iter().flatten().min();
    let (Some(least), Some(most)) = (least, most) else {
        return Err(at.open("an `integer` without `minimum` and `maximum`"));
    };
    let step = number("multipleOf")?.unwrap_or(1);
    if step < 1 {
        return Err(at.below("multipleOf").refused(format!("{step} is not above 0")));
    }
    if least > most {
        return Err(at.refused(format!("no integer is between {least} and {most}")));
    }
    let span = most.abs_diff(least) / step.unsigned_abs();
    if span >= MAX_OPTIONS as u64 {
        return Err(at.open(&format!("{least} to {most} are too many integers to score: at most {MAX_OPTIONS}")));
    }
    let values: Vec<AllowedAnswer> = (least..=most)
        .filter(|n| n % step == 0)
        .map(|n| AllowedAnswer { value: Value::from(n), label: n.to_string(), description: None })
        .collect();
    if values.is_empty() {
        return Err(at.refused(format!("no multiple of {step} is between {least} and {most}")));
    }
    Ok((FieldKind::Integer, values))
}

fn choice(value: &Value, description: Option<String>, at: &Pointer) -> Result<AllowedAnswer, ContractError> {
    let label = match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => return Err(at.open("a list or an object as a value")),
        scalar => scalar.to_string(),
    };
    Ok(AllowedAnswer { value: value.clone(), label, description })
}

fn distinct(options: &[AllowedAnswer], at: &Pointer) -> Result<(), ContractError> {
    let mut seen = HashSet::new();
    match options.iter().find(|option| !seen.insert(&option.label)) {
        Some(twice) => Err(at.refused(format!("`{}` is given twice", twice.label))),
        None => Ok(()),
    }
}

fn has_type(value: &Value, of: Option<&Value>) -> bool {
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0),
        _ => false,
    };
    match of {
        None => true,
        Some(Value::String(name)) => is(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        Some(_) => false,
    }
}

/// Whether the object allows no property beyond those that it names.
fn is_shut(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
}

/// Keywords that narrow the answers in a way that cannot be listed here make them open: nothing is ignored in silence.
fn known(schema: &Map<String, Value>, keywords: &[&str], at: &Pointer) -> Result<(), ContractError> {
    let unknown = schema.keys().find(|key| !keywords.contains(&key.as_str()) && !ANNOTATIONS.contains(&key.as_str()));
    match unknown {
        Some(keyword) => Err(at.open(&format!("`{keyword}`"))),
        None => Ok(()),
    }
}
