//! The keys of a suite as its YAML has them, and what each of their values can be.

use serde::Deserialize;
use serde_json::Value;
use serde_yaml::Spanned;

use super::error::SuiteError;
use super::variant::{RawVariant, Variant, Whom};
use super::yaml::{self, invalid, named};
use super::{Baseline, Source};

/// What the YAML may hold. Kinds that serde would name poorly are checked by hand, with the line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    pub model: Option<Spanned<String>>,
    pub models: Option<Vec<Spanned<Value>>>,
    pub data: Spanned<Value>,
    pub input: Spanned<String>,
    pub expect: Option<Spanned<Value>>,
    pub limits: Option<Spanned<Value>>,
    pub id: Option<Spanned<String>>,
    pub format: Option<Spanned<Value>>,
    pub system: Option<String>,
    pub prompt: Option<Spanned<String>>,
    pub parameters: Option<Spanned<Value>>,
    pub adapters: Option<Vec<String>>,
    pub filter: Option<Spanned<Value>>,
    pub limit: Option<Spanned<Value>>,
    pub baselines: Option<Spanned<Value>>,
    pub gate: Option<Spanned<Value>>,
}

/// Whether a line may be the key of a map, so that what follows is worth a parser's message.
pub fn is_key(line: &str) -> bool {
    !line.trim_start().starts_with('#') && line.contains(':')
}

pub fn variants(
    one: Option<Spanned<String>>,
    several: Option<Vec<Spanned<Value>>>,
    defaults: &Variant,
) -> Result<Vec<Variant>, SuiteError> {
    let mut variants: Vec<Variant> = Vec::new();
    match (one, several) {
        (Some(model), None) => {
            let model = named("model", model)?;
            variants.push(Variant { name: model.clone(), whom: Whom::Model(model), ..defaults.clone() });
        }
        (None, Some(several)) => {
            for value in several {
                let line = yaml::line(&value);
                let one = variant_of(value)?.over(defaults).map_err(|error| moved(error, line))?;
                if variants.iter().any(|other| other.name == one.name) {
                    let problem = format!("names `{}` twice; give one of them another `name`", one.name);
                    return Err(SuiteError::Value { line, key: "models".to_owned(), problem });
                }
                variants.push(one);
            }
        }
        (Some(model), Some(_)) => return invalid("model", &model, "and `models` are both here; keep one of them"),
        (None, None) => {}
    }
    if variants.is_empty() { Err(SuiteError::MissingKey { key: "model" }) } else { Ok(variants) }
}

fn variant_of(value: Spanned<Value>) -> Result<RawVariant, SuiteError> {
    let Spanned { value: said, referenced, defined } = value;
    let line = referenced.line().max(1);
    match said {
        Value::String(model) => {
            let model = Some(Spanned::new(model, referenced, defined));
            let (remote, name, prompt, system) = (None, None, None, None);
            let (format, parameters, adapters) = (None, None, None);
            Ok(RawVariant { model, remote, name, prompt, system, format, parameters, adapters })
        }
        // Its own lines are lost in a value, so that it is written again and read as a document of its own.
        Value::Object(_) => yaml::parse(&said.to_string()).map_err(|error| moved(error, line)),
        other => {
            let problem = format!("has `{other}`; write a model's name, or a map with `model` or `remote`");
            Err(SuiteError::Value { line, key: "models".to_owned(), problem })
        }
    }
}

/// An error of a part of the suite, with the line of that part.
fn moved(error: SuiteError, line: u64) -> SuiteError {
    match error {
        SuiteError::Yaml { message, .. } => SuiteError::Yaml { line, message },
        SuiteError::UnknownKey { key, known, .. } => SuiteError::UnknownKey { line, key, known },
        SuiteError::Value { key, problem, .. } => SuiteError::Value { line, key, problem },
        SuiteError::MissingKey { .. } => {
            let problem = "has an entry without `model` or `remote`".to_owned();
            SuiteError::Value { line, key: "models".to_owned(), problem }
        }
        error => error,
    }
}

pub fn sources(value: Spanned<Value>) -> Result<Vec<Source>, SuiteError> {
    const KINDS: &str = "is neither a file, nor a list of files and rows";
    let mut sources: Vec<Source> = Vec::new();
    let entries = match &value.value {
        Value::String(_) => std::slice::from_ref(&value.value),
        Value::Array(entries) => entries.as_slice(),
        _ => return invalid("data", &value, KINDS),
    };
    for entry in entries {
        match entry {
            Value::String(path) if path.trim().is_empty() => return invalid("data", &value, "is empty"),
            Value::String(path) => sources.push(Source::File(path.into())),
            Value::Object(row) => match sources.last_mut() {
                Some(Source::Rows(rows)) => rows.push(row.clone()),
                _ => sources.push(Source::Rows(vec![row.clone()])),
            },
            _ => return invalid("data", &value, KINDS),
        }
    }
    if sources.is_empty() { invalid("data", &value, "has no file and no row") } else { Ok(sources) }
}

pub fn filter(value: Spanned<Value>) -> Result<Vec<(String, String)>, SuiteError> {
    let pair = |(column, wanted): (&String, &Value)| match wanted {
        Value::String(text) => Some((column.clone(), text.clone())),
        Value::Number(_) | Value::Bool(_) => Some((column.clone(), wanted.to_string())),
        _ => None,
    };
    let pairs = value.value.as_object().map(|map| map.iter().map(pair).collect::<Option<Vec<_>>>());
    match pairs {
        Some(Some(pairs)) => Ok(pairs),
        _ => invalid("filter", &value, "is not a map of columns to values, such as `split: test`"),
    }
}

pub fn baselines(value: Spanned<Value>) -> Result<Vec<Baseline>, SuiteError> {
    let named = |value: &Value| Baseline::ALL.into_iter().find(|one| value.as_str() == Some(one.name()));
    let said = match &value.value {
        Value::String(none) if none == "none" => Some(Vec::new()),
        Value::Array(names) => names.iter().map(named).collect(),
        _ => None,
    };
    match said {
        Some(said) => Ok(said),
        None => invalid("baselines", &value, "is neither `none` nor a list of `majority` and `words`"),
    }
}

pub fn limit(value: Spanned<Value>) -> Result<usize, SuiteError> {
    match value.value.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(n) if n > 0 => Ok(n),
        _ => {
            let problem = format!("is `{}`; write a whole number of rows, 1 or more", value.value);
            invalid("limit", &value, problem)
        }
    }
}
