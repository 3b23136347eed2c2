//! A model of a suite before it is loaded: its form, its settings, and the digest of how it is asked; and what holds for the form
//! of every subject.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::EvalArgs;
use crate::cli::environment::Environment;
use crate::cli::{adapters, compute, load};
use crate::contract::{Contract, Form};
use crate::decide::ModelFit;
use crate::digest::Digest;
use crate::engine::AdapterSet;
use crate::eval::record::Field;
use crate::eval::suite::{ExpectedField, Judge, Suite, Variant};
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
    /// The model, as the suite names it.
    pub name: String,
    pub variant: Variant,
    pub model: Model,
    pub form: Form,
    pub parameters: Parameters,
    pub adapters: AdapterSet,
    pub scoring: Scoring,
    /// The model's fit, where it was made for answers in this form.
    pub fit: Option<ModelFit>,
}

impl Subject {
    /// Finds a variant's model and what is asked of it.
    ///
    /// # Errors
    /// There is no such model, or a setting of the suite cannot be used.
    pub fn find(
        (nth, name): (usize, &str),
        suite: &Suite,
        args: &EvalArgs,
        folder: &Path,
        environment: &Environment,
    ) -> Result<Subject, Failure> {
        let find = if args.asking.rescore { load::find } else { load::find_or_pull };
        Subject::of((nth, name), find(name, environment)?, (suite, folder), args, environment)
    }

    /// As [`Subject::find`], of a model that was found, whatever its name.
    ///
    /// # Errors
    /// A setting of the suite cannot be used.
    pub fn of(
        (nth, name): (usize, &str),
        model: Model,
        (suite, folder): (&Suite, &Path),
        args: &EvalArgs,
        environment: &Environment,
    ) -> Result<Subject, Failure> {
        let variant = suite.variants[nth].clone();
        let named = args.suite.as_deref().unwrap_or(Path::new("")).display();
        let mut parameters = Parameters::from_json(&variant.parameters.clone().into())
            .map_err(|error| Failure::usage(format!("`{named}`: {error}")))?;
        let form = match pinned(&variant, args, folder)? {
            Some(form) => form,
            None => load_spec::own_form(&model)?,
        };
        check(&form, suite, args, name)?;
        compute::say(&args.compute, &mut parameters)?;
        let adapters = adapters::chosen(&variant.adapters, &model, environment)?;
        let (name, scoring) = (name.to_owned(), args.reading.scoring());
        let fit = if args.asking.no_fit { None } else { load_spec::own_fit(&model)? };
        let fit = fit.filter(|fit| matches!(&form, Form::Closed(contract) if fit.knows(contract)));
        Ok(Subject { nth, name, variant, model, form, parameters, adapters, scoring, fit })
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
        let asking = json!({
            "version": 1,
            "model": self.model.digest_without_fit(),
            "adapters": adapters,
            "form": identity(form),
            "system": self.variant.system,
            "parameters": self.variant.parameters,
            "scoring": format!("{:?}", self.scoring),
        });
        Digest::of(asking.to_string().as_bytes())
    }
}

/// The form that the suite pins; `None` where it pins none.
///
/// # Errors
/// It cannot be read, or is not a schema that is supported.
pub fn pinned(variant: &Variant, args: &EvalArgs, folder: &Path) -> Result<Option<Form>, Failure> {
    let Some(schema) = variant.schema_in(folder)? else { return Ok(None) };
    let form = Form::from_schema(schema);
    form.map(Some).map_err(|error| Failure::usage(format!("the format of `{}`: {error}", suite_name(args))))
}

fn suite_name(args: &EvalArgs) -> String {
    args.suite.as_deref().unwrap_or(Path::new("")).display().to_string()
}

/// Whether the form of the subject `name` has what the suite expects.
///
/// # Errors
/// The first field that it lacks; there is no form.
pub fn check(form: &Form, suite: &Suite, args: &EvalArgs, name: &str) -> Result<(), Failure> {
    match form {
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
        Form::Free => Err(Failure::usage(format!(
            "`{}` has no format and `{name}` has none of its own; add `format:` with a schema, or `as: text` to the \
             field that a plain answer is held against",
            suite_name(args)
        ))),
    }
}

/// The answers that a field of the suite can have in this form, where it is closed.
#[must_use]
pub fn candidates(form: &Form, field: &str) -> Vec<Value> {
    let Form::Closed(contract) = form else { return Vec::new() };
    let is_it = |of: &&crate::contract::Field| contract.is_bare() || of.name().as_deref() == Some(field);
    let options = contract.fields().iter().find(is_it).map(|of| of.options.iter().map(|o| o.value.clone()));
    options.into_iter().flatten().collect()
}

/// The suite's fields with every answer that can be given in any of these forms.
#[must_use]
pub fn fields(suite: &Suite, forms: &[&Form]) -> Vec<Field> {
    let field = |expected: &ExpectedField| {
        let mut candidates = Vec::new();
        if expected.judge == Judge::Label {
            for candidate in forms.iter().flat_map(|form| self::candidates(form, &expected.field)) {
                if !candidates.contains(&candidate) {
                    candidates.push(candidate);
                }
            }
        }
        Field {
            name: expected.field.clone(),
            judge: expected.judge.clone(),
            candidates,
            limits: expected.limits.clone(),
        }
    };
    suite.expect.iter().map(field).collect()
}

/// The form with every list of labels in reverse order; `None` if the form is not closed.
#[must_use]
pub fn turned_round(form: &Form) -> Option<Form> {
    let Form::Closed(contract) = form else { return None };
    let mut schema = contract.schema().clone();
    turn_round(&mut schema);
    let turned = Contract::from_schema(schema).ok()?;
    Some(Form::Closed(Arc::new(turned)))
}

/// What tells a form from every other.
#[must_use]
pub fn identity(form: &Form) -> Value {
    match form {
        Form::Closed(contract) => json!({ "schema": contract.schema() }),
        Form::Open(open) => json!({ "grammar": open.grammar() }),
        Form::Free => Value::Null,
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
