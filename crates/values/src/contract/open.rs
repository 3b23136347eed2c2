//! Open contracts: a grammar that text is written under, and an independent check of what was written.
//!
//! A schema is tightened (`strict`), compiled once by llguidance to find what it cannot keep, and the finished answer is
//! checked against the schema as it was given by another implementation (the `jsonschema` crate, without a network and
//! without files). White space is bounded: `, ` and `: ` and nothing else, as Python's `json.dumps` writes objects on one
//! line. That is what models have read most, common vocabularies have a token for each, and a model that is unsure
//! cannot write line feeds forever.

use std::sync::Arc;

use jsonschema::Validator;
use llguidance::api::TopLevelGrammar;
use llguidance::regex_to_lark;
use serde_json::{Map, Value, json};

use super::error::{ContractError, Pointer, Violation, parse_json};
use super::grammar::{build, compile, on_stack, with_options};
use super::reading::{self, Reading};
use super::strict::{self, Strict};
use super::validator::{is_regular, validator};
use crate::spaced::spaced;

/// Parts that are compiled each by itself, so that an error names its place.
const MAX_PARTS: usize = 1000;
/// References that are followed from one place.
const MAX_REFERENCES: usize = 16;

/// A contract for text. Its large parts are shared: every row of a run has a clone of it.
#[derive(Debug, Clone)]
pub struct Open {
    schema: Option<Arc<Value>>,
    regex: Option<String>,
    grammar: Arc<str>,
    check: AnswerCheck,
}

/// How a finished text is checked.
#[derive(Debug, Clone)]
enum AnswerCheck {
    /// It is JSON that satisfies the schema.
    Json(Arc<Validator>),
    /// As a string it satisfies the schema.
    Text(Arc<Validator>),
    /// The grammar alone says what it is.
    Grammar,
}

impl Open {
    /// Parses a schema's text.
    ///
    /// # Errors
    /// As [`Open::from_schema`].
    pub fn parse(text: &str) -> Result<Self, ContractError> {
        Self::from_schema(parse_json(text)?)
    }

    /// The contract of a schema.
    ///
    /// # Errors
    /// [`ContractError`], naming the place in the schema and the keyword that cannot be kept.
    pub fn from_schema(schema: Value) -> Result<Self, ContractError> {
        reading::read(&schema, |reading| open(&schema, reading))
    }

    /// Any JSON object.
    #[must_use]
    pub fn json() -> Self {
        Self::from_schema(json!({"type": "object"})).expect("a constant that a test reads")
    }

    /// Text that as a whole matches a regular expression. `\d` and `\w` are ASCII, as in JSON Schema.
    ///
    /// # Errors
    /// [`ContractError::Regex`].
    pub fn regex(regex: &str) -> Result<Self, ContractError> {
        let body = whole(regex);
        let refused = |reason: String| ContractError::Regex(format!("`{regex}`: {reason}"));
        if body.is_empty() {
            return Err(refused("it is empty".to_owned()));
        }
        let pattern = format!("^(?:{body})$");
        let validator = validator(&json!({"type": "string", "pattern": pattern}))
            .ok()
            .filter(|_| is_regular(&pattern))
            .ok_or_else(|| refused("no look-around, no back-references, at most 1 MB compiled".to_owned()))?;
        let grammar = format!("start: /{}/", regex_to_lark(body, "dw"));
        on_stack(|| compile(TopLevelGrammar::from_lark(grammar.clone())))
            .and_then(|compiled| compiled)
            .map_err(refused)?;
        Ok(Open {
            schema: None,
            regex: Some(body.to_owned()),
            grammar: grammar.into(),
            check: AnswerCheck::Text(Arc::new(validator)),
        })
    }

    /// Text that follows a grammar in llguidance's dialect of Lark. What depends on a vocabulary, the engine checks.
    ///
    /// # Errors
    /// [`ContractError::Grammar`]: it is not a grammar, or is too large.
    pub fn lark(grammar: &str) -> Result<Self, ContractError> {
        on_stack(|| compile(TopLevelGrammar::from_lark(grammar.to_owned())))
            .and_then(|compiled| compiled)
            .map_err(ContractError::Grammar)?;
        Ok(Open { schema: None, regex: None, grammar: grammar.into(), check: AnswerCheck::Grammar })
    }

    /// The schema as it was given, where it was one.
    #[must_use]
    pub fn schema(&self) -> Option<&Value> {
        self.schema.as_deref()
    }

    /// The regular expression, where it was one.
    #[must_use]
    pub fn regex_text(&self) -> Option<&str> {
        self.regex.as_deref()
    }

    /// The grammar in Lark.
    #[must_use]
    pub fn grammar(&self) -> &str {
        &self.grammar
    }

    /// The same text without copying it.
    #[must_use]
    pub fn shared_grammar(&self) -> Arc<str> {
        Arc::clone(&self.grammar)
    }

    /// A value as the grammar lets it be written: on one line with `, ` and `: `, an object's properties in the order of the schema
    /// where that names them, and a text as it is where the contract is one of texts.
    #[must_use]
    pub fn text_of(&self, value: &Value) -> String {
        match (&self.check, value) {
            (AnswerCheck::Text(_) | AnswerCheck::Grammar, Value::String(text)) => text.clone(),
            _ => {
                let root = self.schema.as_deref().unwrap_or(&Value::Null);
                spaced(&in_order(value, root, root))
            }
        }
    }

    /// Checks a finished text; JSON comes back parsed, other text as a string.
    ///
    /// # Errors
    /// [`Violation`]: how it breaks the contract.
    pub fn check(&self, text: &str) -> Result<Value, Violation> {
        match &self.check {
            AnswerCheck::Grammar => Ok(Value::from(text)),
            AnswerCheck::Text(validator) => {
                let value = Value::from(text);
                if validator.is_valid(&value) { Ok(value) } else { Err(Violation::Regex) }
            }
            AnswerCheck::Json(validator) => {
                let value = serde_json::from_str(text).map_err(|error| Violation::NotJson(error.to_string()))?;
                match validator.validate(&value) {
                    Ok(()) => Ok(value),
                    Err(error) => Err(Violation::of(&error)),
                }
            }
        }
    }
}

/// The open contract of a schema that was read.
///
/// # Errors
/// [`ContractError::Schema`] with the place and the keyword that cannot be enforced.
pub(super) fn open(schema: &Value, reading: &Reading<'_>) -> Result<Open, ContractError> {
    let Strict { schema: strict, parts, texts } = strict::write(&reading.places)?;
    let defs = strict.get("$defs").cloned().unwrap_or_default();
    let whole = with_options(&strict);
    let compiled = compile(TopLevelGrammar::from_json_schema(whole.clone()));
    // A text that cannot be is found where it is optional too, and would never be written.
    for (at, text) in texts {
        build(text).map_err(|reason| at.refused(reason))?;
    }
    // Every part by itself, inner ones first: the error is then at its place.
    for (at, mut part) in parts.into_iter().take(if compiled.is_err() { MAX_PARTS } else { 0 }) {
        part.as_object_mut().expect("parts are objects").insert("$defs".to_owned(), defs.clone());
        build(part).map_err(|reason| at.refused(reason))?;
    }
    compiled.map_err(|reason| Pointer::root().refused(reason))?;
    Ok(Open {
        schema: Some(Arc::new(schema.clone())),
        regex: None,
        grammar: format!("start: %json {whole}").into(),
        check: AnswerCheck::Json(Arc::clone(&reading.validator)),
    })
}

/// A regular expression without the anchors at its two ends, which a whole match does not need.
fn whole(regex: &str) -> &str {
    let Some(body) = regex.strip_prefix('^') else { return regex };
    let Some(body) = body.strip_suffix('$') else { return regex };
    let n_escapes = body.len() - body.trim_end_matches('\\').len();
    if body.contains('|') || n_escapes % 2 == 1 { regex } else { body }
}

/// The value with its properties in the order of a schema, which is a part of `root`. Properties that it does not name come last.
fn in_order(value: &Value, schema: &Value, root: &Value) -> Value {
    let schema = resolved(schema, root);
    match value {
        Value::Array(items) => {
            let prefix = schema.get("prefixItems").and_then(Value::as_array);
            let of = |nth: usize| prefix.and_then(|prefix| prefix.get(nth)).or(schema.get("items"));
            let items = items.iter().enumerate();
            items.map(|(nth, item)| in_order(item, of(nth).unwrap_or(&Value::Null), root)).collect()
        }
        Value::Object(map) => {
            let named = schema_of_object(map, schema, root).get("properties").and_then(Value::as_object);
            let first = named.into_iter().flatten().filter_map(|(name, schema)| Some((name, map.get(name)?, schema)));
            let mut ordered: Map<String, Value> =
                first.map(|(name, value, schema)| (name.clone(), in_order(value, schema, root))).collect();
            for (name, value) in map {
                if !ordered.contains_key(name) {
                    ordered.insert(name.clone(), value.clone());
                }
            }
            Value::Object(ordered)
        }
        other => other.clone(),
    }
}

/// The schema behind references within the document; a few, since a reference may lead to itself.
fn resolved<'a>(mut schema: &'a Value, root: &'a Value) -> &'a Value {
    for _ in 0..MAX_REFERENCES {
        let pointer = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        match pointer.and_then(|pointer| root.pointer(pointer)) {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

/// Of a schema with alternatives the first that names all properties of an object, otherwise the schema itself.
fn schema_of_object<'a>(map: &Map<String, Value>, schema: &'a Value, root: &'a Value) -> &'a Value {
    let alternatives = ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let names_all = |schema: &&Value| {
        let properties = schema.get("properties").and_then(Value::as_object);
        properties.is_some_and(|properties| map.keys().all(|name| properties.contains_key(name)))
    };
    alternatives.map(|one| resolved(one, root)).find(names_all).unwrap_or(schema)
}
