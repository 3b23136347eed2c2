//! A model of a suite before it is loaded: its form, its settings, and the digest of how it is asked.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::EvalArgs;
use crate::cli::environment::Environment;
use crate::cli::{adapters, compute, load};
use crate::contract::{Contract, Form};
use crate::digest::Digest;
use crate::engine::AdapterSet;
use crate::eval::suite::{Judge, Suite, Variant};
use crate::failure::Failure;
use crate::infer::{Scoring, Turn};
use crate::load_spec;
use crate::sampling::Parameters;
use crate::store::Model;

/// A model with everything that is said of how it is asked.
#[derive(Debug)]
pub struct Subject {
    /// Its place among the suite's variants.
    pub nth: usize,
    pub variant: Variant,
    pub model: Model,
    pub form: Form,
    pub parameters: Parameters,
    pub adapters: AdapterSet,
    pub scoring: Scoring,
}

impl Subject {
    /// Finds a variant's model and what is asked of it.
    ///
    /// # Errors
    /// There is no such model, or a setting of the suite cannot be used.
    pub fn find(
        nth: usize,
        suite: &Suite,
        args: &EvalArgs,
        folder: &Path,
        environment: &Environment,
    ) -> Result<Subject, Failure> {
        let variant = suite.variants[nth].clone();
        let named = args.suite.as_deref().unwrap_or(Path::new("")).display();
        let mut parameters = Parameters::from_json(&variant.parameters.clone().into())
            .map_err(|error| Failure::usage(format!("`{named}`: {error}")))?;
        let find = if args.asking.rescore { load::find } else { load::find_or_pull };
        let model = find(&variant.model, environment)?;
        let form = match variant.schema_in(folder)? {
            Some(schema) => Form::from_schema(schema)
                .map_err(|error| Failure::usage(format!("the format of `{named}`: {error}")))?,
            None => load_spec::own_form(&model)?,
        };
        compute::say(&args.compute, &mut parameters)?;
        let adapters = adapters::chosen(&variant.adapters, &model, environment)?;
        let subject = Subject { nth, variant, model, form, parameters, adapters, scoring: args.reading.scoring() };
        subject.check(suite, &named.to_string())?;
        Ok(subject)
    }

    /// Whether the form has what the suite expects.
    fn check(&self, suite: &Suite, named: &str) -> Result<(), Failure> {
        match &self.form {
            Form::Closed(contract) => {
                let names: Vec<Option<String>> = contract.fields().iter().map(crate::contract::Field::name).collect();
                Ok(suite.check_fields(&names.iter().map(Option::as_deref).collect::<Vec<_>>())?)
            }
            Form::Open(open) => {
                let properties = open.schema().and_then(|schema| schema.get("properties")?.as_object());
                let names = properties.map(|map| map.keys().map(String::as_str).collect::<Vec<_>>());
                Ok(names.map_or(Ok(()), |names| suite.check_properties(&names))?)
            }
            Form::Free if suite.expect.len() == 1 && suite.expect[0].judge != Judge::Label => Ok(()),
            Form::Free => {
                let model = &self.variant.model;
                Err(Failure::usage(format!(
                    "`{named}` has no format and `{model}` has none of its own; add `format:` with a schema, or `as: text` to the \
                     field that a plain answer is held against"
                )))
            }
        }
    }

    /// The answers that a field of the suite can have, where it is closed.
    #[must_use]
    pub fn candidates(&self, field: &str) -> Vec<Value> {
        let Form::Closed(contract) = &self.form else { return Vec::new() };
        let is_it = |of: &&crate::contract::Field| contract.is_bare() || of.name().as_deref() == Some(field);
        let options = contract.fields().iter().find(is_it).map(|of| of.options.iter().map(|o| o.value.clone()));
        options.into_iter().flatten().collect()
    }

    /// The same with every list of labels in the opposite order; `None` where there is none.
    #[must_use]
    pub fn turned_round(&self) -> Option<Form> {
        let Form::Closed(contract) = &self.form else { return None };
        let mut schema = contract.schema().clone();
        turn_round(&mut schema);
        let turned = Contract::from_schema(schema).ok()?;
        Some(Form::Closed(Arc::new(turned)))
    }

    /// What is asked about a text.
    #[must_use]
    pub fn turn(&self, form: &Form, text: &str) -> Turn {
        Turn {
            form: form.clone(),
            parameters: self.parameters.clone(),
            scoring: self.scoring,
            ..Turn::to_text(self.variant.system.as_deref(), text)
        }
    }

    /// The digest of how it is asked, so far as that is known before it is loaded.
    #[must_use]
    pub fn asking(&self, form: &Form) -> Digest {
        let adapters: Value = self.adapters.as_slice().iter().map(|one| json!([one.id, one.scale])).collect();
        let form = match form {
            Form::Closed(contract) => json!({ "schema": contract.schema() }),
            Form::Open(open) => json!({ "grammar": open.grammar() }),
            Form::Free => Value::Null,
        };
        let asking = json!({
            "version": 1,
            "model": self.model.digest,
            "adapters": adapters,
            "form": form,
            "system": self.variant.system,
            "parameters": self.variant.parameters,
            "scoring": format!("{:?}", self.scoring),
        });
        Digest::of(asking.to_string().as_bytes())
    }
}

fn turn_round(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::Array(items) if key == "enum" || items.iter().all(|one| one.get("const").is_some()) => {
                        items.reverse();
                    }
                    value => turn_round(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(turn_round),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn labels_are_turned_round_wherever_they_stand() {
        let mut schema = json!({"properties": {"a": {"enum": [1, 2, 3]}, "b": {"type": "boolean"},
            "c": {"oneOf": [{"const": "x"}, {"const": "y"}]}}, "required": ["a", "b"]});
        super::turn_round(&mut schema);
        assert_eq!(
            schema,
            json!({"properties": {"a": {"enum": [3, 2, 1]}, "b": {"type": "boolean"},
                "c": {"oneOf": [{"const": "y"}, {"const": "x"}]}}, "required": ["a", "b"]})
        );
    }
}
