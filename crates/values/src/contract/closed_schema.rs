//! The places of an answer read as a closed contract.
//!
//! Closed are `enum`, `const`, `boolean`, `null`, a bounded `integer`, a union of these, and objects of closed fields. Every
//! option is held against the schema by the independent validator before anything is scored.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::closed::{AllowedAnswer, Contract, Field, FieldKind, MAX_FIELDS, MAX_OPTIONS};
use super::document::Document;
use super::error::{ContractError, Pointer, parse_json};
use super::places::{Place, Places};
use super::reading::{self, Reading};
use super::shapes::{Listed, NodeId, ObjectRules, Origin, Shape};

/// The most objects inside each other.
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
        reading::read(&schema, |reading| contract(&schema, reading))
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
        Self::labels(choices.into_iter().map(|choice| (choice, None)).collect()).map_err(|error| match error {
            ContractError::Choices { reason, .. } => bad(reason),
            error => error,
        })
    }

    /// The contract of labels, each with an optional description.
    ///
    /// # Errors
    /// There are fewer than two, one is empty, or one is given twice.
    pub fn labels(labels: Vec<(String, Option<String>)>) -> Result<Self, ContractError> {
        let bad = |reason: &str| {
            let list = labels.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>().join(",");
            ContractError::Choices { list, reason: reason.to_owned() }
        };
        match labels.as_slice() {
            [] => return Err(bad("the list is empty; give labels separated by commas")),
            [_] => return Err(bad("one choice is not enough; give two or more, separated by commas")),
            _ => {}
        }
        let mut seen = HashSet::new();
        for (label, _) in &labels {
            if label.is_empty() {
                return Err(bad("a choice is empty; is there a comma too many?"));
            }
            if !seen.insert(label) {
                return Err(bad(&format!("`{label}` is given twice")));
            }
        }
        if labels.iter().all(|(_, description)| description.is_none()) {
            let labels: Vec<&String> = labels.iter().map(|(label, _)| label).collect();
            return Self::from_schema(serde_json::json!({ "enum": labels }));
        }
        let described = |(label, description): &(String, Option<String>)| match description {
            Some(description) => serde_json::json!({"const": label, "description": description}),
            None => serde_json::json!({"const": label}),
        };
        Self::from_schema(serde_json::json!({ "oneOf": labels.iter().map(described).collect::<Vec<_>>() }))
    }
}

/// The closed contract of a schema that was read.
///
/// # Errors
/// [`ContractError::Open`] where not every answer can be listed.
pub(super) fn contract(schema: &Value, reading: &mut Reading<'_>) -> Result<Contract, ContractError> {
    let mut reader = FieldReader { document: &mut reading.document, places: &reading.places, fields: Vec::new() };
    let root = reader.document.root()?;
    reader.read(reader.places.get(0), &[root], &mut Vec::new())?;
    let fields = reader.fields;
    let contract = Contract { schema: schema.clone(), fields, validator: Arc::clone(&reading.validator) };
    check_options(&contract)?;
    Ok(contract)
}

/// Holds every option against the schema, in an answer with options of the other fields.
fn check_options(contract: &Contract) -> Result<(), ContractError> {
    let n_most = contract.fields.iter().map(|field| field.options.len()).max().unwrap_or(0);
    for number in 0..n_most {
        let one = |field: &Field| field.options[number % field.options.len()].value.clone();
        let answer = contract.assemble(contract.fields.iter().map(one));
        if contract.check(&answer).is_err() {
            return Err(Pointer::root().open("the allowed values of one field depend on another field"));
        }
    }
    Ok(())
}

struct FieldReader<'r, 's> {
    document: &'r mut Document<'s>,
    places: &'r Places,
    fields: Vec<Field>,
}

impl FieldReader<'_, '_> {
    fn read(&mut self, place: &Place, nodes: &[NodeId], path: &mut Vec<String>) -> Result<(), ContractError> {
        let at = &place.at;
        let Some(domain) = &place.domain else { return Err(at.open("it has no `type`, `enum` or `const`")) };
        if let [Shape::Object(rules)] = domain.shapes.as_slice() {
            return self.object(rules, path);
        }
        let (kind, options) = options(&domain.shapes, at)?;
        if self.fields.len() == MAX_FIELDS {
            return Err(at.open(&format!("there are more than {MAX_FIELDS} fields")));
        }
        let description = nodes.iter().find_map(|&node| description(self.document, node, 0));
        self.fields.push(Field { path: path.clone(), description, kind, options });
        Ok(())
    }

    fn object(&mut self, rules: &ObjectRules, path: &mut Vec<String>) -> Result<(), ContractError> {
        let n = rules.named.len() as u64;
        if n == 0 {
            return Err(rules.at.open("an object without `properties`"));
        }
        if n < rules.least || rules.most.is_some_and(|most| n > most) {
            return Err(rules.at.open("a choice of properties"));
        }
        if path.len() >= MAX_DEPTH {
            return Err(rules.at.open("objects are nested too deep"));
        }
        for named in &rules.named {
            if named.name.trim().is_empty() || named.name.contains(['\n', '\r']) {
                return Err(rules.at.open(&format!("a property of the name {:?}", named.name)));
            }
            path.push(named.name.clone());
            let place = self.places.get(self.places.id(&named.nodes));
            self.read(place, &named.nodes, path)?;
            path.pop();
        }
        Ok(())
    }
}

/// The description nearest to a node: its own, or that of what it refers to.
fn description(document: &mut Document<'_>, node: NodeId, depth: usize) -> Option<String> {
    let map = document.map(node).filter(|_| depth < MAX_DEPTH)?;
    if let Some(text) = map.get("description").and_then(Value::as_str) {
        return Some(text.to_owned());
    }
    let at = document.at(node).clone();
    let next = match (map.get("$ref"), map.get("allOf").and_then(Value::as_array).map(Vec::as_slice)) {
        (Some(reference), _) => document.target(reference, &at).ok()?,
        (None, Some([only])) => document.node(at.below("allOf").below("0"), only).ok()?,
        _ => return None,
    };
    description(document, next, depth + 1)
}

/// The allowed answers of a field.
fn options(shapes: &[Shape], at: &Pointer) -> Result<(FieldKind, Vec<AllowedAnswer>), ContractError> {
    let mut listed: Vec<Listed> = Vec::new();
    for shape in shapes {
        match shape {
            Shape::Values(values) => listed.extend(values.iter().cloned()),
            Shape::Number(rules) if rules.is_whole => {
                let numbers = rules.listed(MAX_OPTIONS).ok_or_else(|| match rules.ends() {
                    Some((least, most)) => {
                        at.open(&format!("{least} to {most} are too many integers to score: at most {MAX_OPTIONS}"))
                    }
                    None => at.open("an `integer` without `minimum` and `maximum`"),
                })?;
                let of = |n| Listed { value: Value::from(n), description: None, origin: Origin::Integer };
                listed.extend(numbers.into_iter().map(of));
            }
            Shape::Number(_) => return Err(at.open("`type` `number`")),
            Shape::Text(_) => return Err(at.open("`type` `string`")),
            Shape::List(_) => return Err(at.open("`type` `array`")),
            Shape::Object(_) => return Err(at.open("a choice between objects and other values")),
        }
    }
    let mut seen = HashSet::new();
    listed.retain(|one| seen.insert(one.value.to_string()));
    if listed.len() > MAX_OPTIONS {
        return Err(at.open(&format!("{} options are too many to score: at most {MAX_OPTIONS}", listed.len())));
    }
    let all_are = |origin| listed.iter().all(|one| one.origin == origin);
    let kind = match () {
        () if all_are(Origin::Boolean) && listed.len() == 2 => FieldKind::Boolean,
        () if all_are(Origin::Integer) => FieldKind::Integer,
        () => FieldKind::Choice,
    };
    let options: Vec<AllowedAnswer> = listed.into_iter().map(|one| choice(one, at)).collect::<Result<_, _>>()?;
    let mut labels = HashSet::new();
    match options.iter().find(|option| !labels.insert(&option.label)) {
        Some(twice) => Err(at.open(&format!("two of its values are `{}` as plain text", twice.label))),
        None => Ok((kind, options)),
    }
}

fn choice(listed: Listed, at: &Pointer) -> Result<AllowedAnswer, ContractError> {
    let label = match &listed.value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => return Err(at.open("a list or an object as a value")),
        scalar => scalar.to_string(),
    };
    Ok(AllowedAnswer { value: listed.value, label, description: listed.description })
}
