//! The columns that answers add to a table.

use serde_json::Value;

use super::answer;
use crate::contract::Form;
use crate::decide::FieldAnswer;
use crate::infer::{Finding, Finished};

/// Their names. The last one is for what keeps a row from its answer.
pub fn names(form: &Form) -> Vec<String> {
    let mut names: Vec<String> = match form {
        Form::Closed(contract) => match contract.fields() {
            [field] if field.name().is_none() => ["label", "probability", "label_mass"].map(str::to_owned).into(),
            fields => fields.iter().filter_map(|field| field.name()).flat_map(pair).collect(),
        },
        Form::Open(_) | Form::Free => properties(form).unwrap_or_else(|| vec!["answer".to_owned()]),
    };
    names.push("error".to_owned());
    names
}

/// The cells of an answer, in the order of [`names`].
pub fn cells(form: &Form, finished: &Finished) -> Vec<String> {
    match &finished.end.finding {
        Finding::Closed(found) => match found.fields.as_slice() {
            [field] if field.name.is_none() => {
                let p = answer::probability(field);
                vec![answer::label(&field.value), p.to_string(), field.label_mass.to_string()]
            }
            fields => {
                let cells = |field: &FieldAnswer| [cell(&field.value), answer::probability(field).to_string()];
                fields.iter().flat_map(cells).collect()
            }
        },
        Finding::Open(_) | Finding::Free | Finding::Vectors(_) => match (&finished.end.finding, properties(form)) {
            (Finding::Open(Ok(Value::Object(object))), Some(names)) => {
                names.iter().map(|name| object.get(name).map(cell).unwrap_or_default()).collect()
            }
            _ => vec![answer::bare(finished).trim().to_owned()],
        },
    }
}

fn pair(name: String) -> [String; 2] {
    let probability = format!("{name}_probability");
    [name, probability]
}

/// The names of an object's fields, where a schema names them at its top.
fn properties(form: &Form) -> Option<Vec<String>> {
    let named = form.schema()?.get("properties")?.as_object()?;
    (!named.is_empty()).then(|| named.keys().cloned().collect())
}

/// A value as a table has it: text as it is, nothing for null, the rest as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => answer::label(value),
    }
}
