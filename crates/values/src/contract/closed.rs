//! A JSON Schema as closed fields whose every allowed answer is known.
//!
//! Closed are `enum`, `const`, `boolean`, `null`, a bounded `integer`, a union of these, and objects of closed fields.
//! Everything else is open, which is said here with the place and the keyword.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{ContractError, Place, parse};

/// Options of one field: what a person can tell apart, and a bound on the work of one question.
pub const MAX_OPTIONS: usize = 1024;
/// Fields of one object, nested ones counted.
pub const MAX_FIELDS: usize = 400;
/// References followed one behind the other.
const MAX_DEPTH: usize = 32;

/// A closed contract: one bare value, or the fields of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    schema: Value,
    fields: Vec<Field>,
}

/// One closed field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The names that lead to it from the answer's root; empty for a bare value.
    pub path: Vec<String>,
    pub description: Option<String>,
    pub kind: Kind,
    /// Every allowed answer, in the schema's order.
    pub options: Vec<Choice>,
}

/// How a field was written, which decides how it is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Choice,
    Boolean,
    Integer,
}

/// One allowed answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub value: Value,
    /// The answer as bare text: a string without quotes, anything else as JSON.
    pub label: String,
    pub description: Option<String>,
}

impl Contract {
    /// Parses a schema's text.
    ///
    /// # Errors
    /// [`ContractError`], naming the place in the schema.
    pub fn parse(text: &str) -> Result<Self, ContractError> {
        Self::from_schema(parse(text)?)
    }

    /// Reads a schema.
    ///
    /// # Errors
    /// [`ContractError`], naming the place in the schema.
    pub fn from_schema(schema: Value) -> Result<Self, ContractError> {
        let mut reader = Reader { root: &schema, fields: Vec::new() };
        reader.read(&schema, &mut Vec::new(), &Place::root())?;
        let fields = reader.fields;
        Ok(Contract { schema, fields })
    }

    /// The contract of `--choices a,b,c`: an `enum` of strings. Commas inside double quotes do not separate.
    ///
    /// # Errors
    /// [`ContractError::Choices`] for an empty list, an empty choice, or one given twice.
    pub fn choices(list: &str) -> Result<Self, ContractError> {
        let bad = |reason: String| ContractError::Choices(format!("`--choices {list}`: {reason}"));
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

    /// The schema as it was given.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// The fields in the schema's order; at least one. A bare value is one field with an empty path.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether the answer is one value rather than an object.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        matches!(self.fields.as_slice(), [field] if field.path.is_empty())
    }

    /// Puts one value for each field together to the answer's JSON.
    #[must_use]
    pub fn assemble(&self, values: impl IntoIterator<Item = Value>) -> Value {
        let mut answer = Value::Null;
        for (field, value) in self.fields.iter().zip(values) {
            let mut at = &mut answer;
            for name in &field.path {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                let object = at.as_object_mut().expect("made an object above");
                at = object.entry(name.clone()).or_insert(Value::Null);
            }
            *at = value;
        }
        answer
    }
}

impl Field {
    /// The field's name for people: its path with dots; `None` for a bare value.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        (!self.path.is_empty()).then(|| self.path.join("."))
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

struct Reader<'s> {
    root: &'s Value,
    fields: Vec<Field>,
}

impl<'s> Reader<'s> {
    fn read(&mut self, schema: &'s Value, path: &mut Vec<String>, at: &Place) -> Result<(), ContractError> {
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
        at: &Place,
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
        at: &Place,
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

    fn referenced(&self, reference: &Value, at: &Place) -> Result<&'s Value, ContractError> {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let found = pointer.and_then(|pointer| self.root.pointer(pointer));
        found.ok_or_else(|| at.refused(format!("`$ref` {reference} does not point into this schema")))
    }

    fn options(
        &self,
        schema: &'s Map<String, Value>,
        at: &Place,
        depth: usize,
    ) -> Result<(Kind, Vec<Choice>), ContractError> {
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
            return Ok((Kind::Choice, choices.collect::<Result<_, _>>()?));
        }
        if let Some(value) = schema.get("const") {
            known(schema, &["type", "const"], at)?;
            let description = schema.get("description").and_then(Value::as_str).map(str::to_owned);
            return Ok((Kind::Choice, vec![choice(value, description, at)?]));
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
                Ok((Kind::Choice, options))
            }
            _ => Err(at.open("it has no `type`, `enum` or `const`")),
        }
    }

    fn union(&self, parts: &'s Value, at: &Place, depth: usize) -> Result<(Kind, Vec<Choice>), ContractError> {
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
        Ok((Kind::Choice, options))
    }
}

/// The answers that a `type` by itself allows, where they can be listed.
fn typed(name: &str, schema: &Map<String, Value>, at: &Place) -> Result<(Kind, Vec<Choice>), ContractError> {
    match name {
        "boolean" => {
            known(schema, &["type"], at)?;
            let values = [Value::Bool(true), Value::Bool(false)];
            Ok((Kind::Boolean, values.iter().map(|value| choice(value, None, at)).collect::<Result<_, _>>()?))
        }
        "null" => Ok((Kind::Choice, vec![choice(&Value::Null, None, at)?])),
        "integer" => integers(schema, at),
        "string" | "number" | "array" | "object" => Err(at.open(&format!("`type` `{name}`"))),
        other => Err(at.refused(format!("`{other}` is not a type of JSON Schema"))),
    }
}

fn integers(schema: &Map<String, Value>, at: &Place) -> Result<(Kind, Vec<Choice>), ContractError> {
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
    let values: Vec<Choice> = (least..=most)
        .filter(|n| n % step == 0)
        .map(|n| Choice { value: Value::from(n), label: n.to_string(), description: None })
        .collect();
    if values.is_empty() {
        return Err(at.refused(format!("no multiple of {step} is between {least} and {most}")));
    }
    Ok((Kind::Integer, values))
}

fn choice(value: &Value, description: Option<String>, at: &Place) -> Result<Choice, ContractError> {
    let label = match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => return Err(at.open("a list or an object as a value")),
        scalar => scalar.to_string(),
    };
    Ok(Choice { value: value.clone(), label, description })
}

fn distinct(options: &[Choice], at: &Place) -> Result<(), ContractError> {
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
fn known(schema: &Map<String, Value>, keywords: &[&str], at: &Place) -> Result<(), ContractError> {
    let unknown = schema.keys().find(|key| !keywords.contains(&key.as_str()) && !ANNOTATIONS.contains(&key.as_str()));
    match unknown {
        Some(keyword) => Err(at.open(&format!("`{keyword}`"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

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
        assert_eq!(
            contract.fields()[0].options.iter().map(|o| o.label.as_str()).collect::<Vec<_>>(),
            ["a b", "c, d", "e"]
        );
        let error = |list: &str| Contract::choices(list).unwrap_err().to_string();
        assert_eq!(error(""), "`--choices `: the list is empty; give labels separated by commas");
        assert_eq!(error("a,,b"), "`--choices a,,b`: a choice is empty; is there a comma too many?");
        assert_eq!(error("a,b,a"), "`--choices a,b,a`: `a` is given twice");
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_its_place() {
        let closed = "and here answers are scored from a closed list: use `enum`, `boolean`, an `integer` with `minimum` \
                      and `maximum`, or an object of these";
        assert_eq!(
            refused(json!({"type": "object", "properties": {"name": {"type": "string"}}})),
            format!("the schema at `/properties/name` is open (`type` `string`), {closed}")
        );
        assert_eq!(refused(json!({"enum": []})), "the schema cannot be kept: `enum` is empty: give at least one value");
        assert_eq!(refused(json!({"enum": ["1", 1]})), "the schema cannot be kept: `1` is given twice");
        assert_eq!(
            refused(json!({"type": "boolean", "not": {"const": true}})),
            format!("the schema is open (`not`), {closed}")
        );
        assert_eq!(
            refused(json!({"type": "integer", "minimum": 0, "maximum": 9e9})),
            format!("the schema is open (0 to 9000000000 are too many integers to score: at most 1024), {closed}")
        );
        assert_eq!(
            refused(json!({"$ref": "#"})),
            format!("the schema is open (its references go round in a circle), {closed}")
        );
        assert_eq!(
            refused(json!({"type": "object", "properties": {"a/b": {"enum": ["x"], "type": "integer"}}})),
            "the schema at `/properties/a~1b` cannot be kept: \"x\" in `enum` is not of the schema's `type`"
        );
        assert_eq!(refused(json!([])), "the schema cannot be kept: a schema is a JSON object");
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
}
