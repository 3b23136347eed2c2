//! One schema: accepted or refused, and whether what slm makes of it agrees with its instances and with another validator.

use std::panic::catch_unwind;

use jsonschema::{Draft, Validator};
use serde_json::Value;
use slm::contract::{Contract, ContractError, Field, Form, Open, Pointer};

use super::Case;

/// The most answers of a closed form that are all checked; of one with more, each option beside the others' first ones.
const MOST_ANSWERS: usize = 2_000;

/// What slm makes of a schema.
pub enum Found {
    Closed,
    Open,
    Refused { keyword: String, message: String },
}

impl Found {
    fn refused(keyword: &str, message: &str) -> Found {
        Found::Refused { keyword: keyword.to_owned(), message: message.to_owned() }
    }
}

pub struct Judged {
    pub found: Found,
    /// Where slm contradicts the instances or the other validator.
    pub wrong: Vec<String>,
    /// What a refusal does not say.
    pub unplaced: Option<String>,
}

/// Judges one schema.
pub fn judge(case: &Case) -> Judged {
    let schema = case.schema.clone();
    let mut unplaced = None;
    let (found, wrong) = match catch_unwind(|| Form::from_schema(schema)) {
        Err(_) => (Found::refused("", "a panic"), vec![format!("panics: {}", case.schema)]),
        Ok(Ok(Form::Closed(contract))) => (Found::Closed, closed(&contract, case)),
        Ok(Ok(Form::Open(open))) => (Found::Open, open_form(&open, case)),
        Ok(Ok(Form::Free)) => (Found::Open, vec!["is free of any schema".to_owned()]),
        Ok(Err(error)) => {
            unplaced = self::unplaced(&error, &case.schema);
            (Found::refused(&keyword(&error), &error.to_string()), Vec::new())
        }
    };
    Judged { found, wrong, unplaced }
}

/// Another validator, of the draft that the schema names; `None` where no draft of JSON Schema can read it, as those with OpenAPI's
/// `nullable`.
pub fn reader(schema: &Value) -> Option<Validator> {
    let build = |draft: Option<Draft>| {
        let options = jsonschema::options().should_validate_formats(true);
        draft.map_or(options.clone(), |draft| options.with_draft(draft)).build(schema).ok()
    };
    // Many packages write draft-07 without saying so.
    let has_name = schema.get("$schema").is_some();
    let guess = |draft: Draft| if has_name { None } else { build(Some(draft)) };
    if is_nullable(schema) {
        None
    } else {
        build(None).or_else(|| guess(Draft::Draft7)).or_else(|| guess(Draft::Draft4))
    }
}

fn is_nullable(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.get("nullable") == Some(&Value::Bool(true)) || map.values().any(is_nullable),
        Value::Array(list) => list.iter().any(is_nullable),
        _ => false,
    }
}

fn closed(contract: &Contract, case: &Case) -> Vec<String> {
    let mut wrong: Vec<String> = Vec::new();
    if let Some(reader) = reader(&case.schema) {
        let answers = answers(contract);
        wrong.extend(answers.iter().filter(|answer| !reader.is_valid(answer)).map(|answer| format!("offers {answer}")));
    }
    let offered = case.invalid.iter().filter(|instance| is_offered(contract, instance));
    wrong.extend(offered.map(|instance| format!("offers {instance}, which is invalid")));
    wrong
}

/// Answers with every option of every field.
fn answers(contract: &Contract) -> Vec<Value> {
    let fields = contract.fields();
    let n_answers = fields.iter().try_fold(1usize, |n, field| n.checked_mul(field.options.len()));
    let pick = |field: &Field, number: usize| field.options[number].value.clone();
    if let Some(n_answers) = n_answers.filter(|n| *n <= MOST_ANSWERS) {
        let answer = |mut number: usize| {
            let values: Vec<Value> = fields
                .iter()
                .map(|field| {
                    let value = pick(field, number % field.options.len());
                    number /= field.options.len();
                    value
                })
                .collect();
            contract.assemble(values)
        };
        return (0..n_answers).map(answer).collect();
    }
    let with = |chosen: usize, option: usize| {
        let number = move |at: usize| if at == chosen { option } else { 0 };
        contract.assemble(fields.iter().enumerate().map(|(at, field)| pick(field, number(at))))
    };
    let places =
        fields.iter().enumerate().flat_map(|(at, field)| (0..field.options.len()).map(move |option| (at, option)));
    places.map(|(at, option)| with(at, option)).collect()
}

/// Whether the fields' options can be put together to this value.
fn is_offered(contract: &Contract, instance: &Value) -> bool {
    let at = |field: &Field| field.path.iter().try_fold(instance, |value, name| value.get(name));
    let chosen = |field: &Field| {
        let value = at(field)?;
        field.options.iter().find(|option| option.value == *value).map(|option| option.value.clone())
    };
    let values: Option<Vec<Value>> = contract.fields().iter().map(chosen).collect();
    values.is_some_and(|values| contract.assemble(values) == *instance)
}

fn open_form(open: &Open, case: &Case) -> Vec<String> {
    let refusals =
        case.valid.iter().filter_map(|instance| open.check(&instance.to_string()).err().map(|why| (instance, why)));
    let mut wrong: Vec<String> =
        refusals.map(|(instance, why)| format!("refuses the valid {instance}: {why}")).collect();
    let taken = case.invalid.iter().filter(|instance| open.check(&instance.to_string()).is_ok());
    wrong.extend(taken.map(|instance| format!("takes the invalid {instance}")));
    wrong
}

/// What is missing in a refusal: a place of the schema, or a keyword that is there.
fn unplaced(error: &ContractError, schema: &Value) -> Option<String> {
    let ContractError::Schema { at, reason } = error else {
        return Some(format!("is refused by another error: {error}"));
    };
    let pointer = pointer(at);
    let Some(place) = schema.pointer(&pointer) else {
        return Some(format!("names a place that is not there: {error}"));
    };
    let says = |keyword: &String| reason.contains(&format!("`{keyword}`"));
    let is_named = is_keyword(&pointer, schema)
        || place.as_object().is_some_and(|map| map.keys().any(says))
        // Several keywords together may allow nothing, and `false` does so without any.
        || reason.starts_with("no answer can satisfy it");
    (!is_named).then(|| format!("names no keyword that stands at its place: {error}"))
}

/// Whether a place is a keyword of a schema, rather than a name or a number below one.
fn is_keyword(pointer: &str, schema: &Value) -> bool {
    const OF_SCHEMAS: [&str; 5] = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];
    let Some((parent, _)) = pointer.rsplit_once('/') else { return false };
    let is_name = OF_SCHEMAS.iter().any(|keyword| parent.ends_with(&format!("/{keyword}")));
    !is_name && schema.pointer(parent).is_some_and(Value::is_object)
}

/// The keyword that a refusal is about: the first that it names, or the last name of its place.
fn keyword(error: &ContractError) -> String {
    let ContractError::Schema { at, reason } = error else { return String::new() };
    let named = reason.split('`').nth(1).filter(|word| word.chars().all(|c| c.is_alphanumeric() || "$-_".contains(c)));
    named.map_or_else(|| pointer(at).rsplit('/').next().unwrap_or_default().to_owned(), str::to_owned)
}

/// A place as a JSON pointer.
fn pointer(at: &Pointer) -> String {
    at.to_string().trim_start_matches(" at `").trim_end_matches('`').to_owned()
}
