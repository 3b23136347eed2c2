//! Tasks whose answers are written, not chosen: the label of a row is a whole answer, an object of the FORMAT's properties.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::args::TuneArgs;
use crate::contract::Open;
use crate::eval::data::Content;
use crate::eval::label::Expected;
use crate::eval::suite::{ExpectedField, Judge, Suite};
use crate::failure::Failure;

/// The column of a whole answer, where nobody says.
pub const LABEL: &str = "label";

/// How rows say what the written answer is, and the answers that they said.
pub struct Written {
    open: Open,
    properties: Map<String, Value>,
    /// The properties that rows tell, as the evaluation judges them.
    expect: Vec<ExpectedField>,
    /// What the rows' suite expects, a property each; `None` where one column has the whole answer.
    columns: Option<Vec<ExpectedField>>,
    answers: Vec<Value>,
    /// The number of each answer among these.
    known: HashMap<String, usize>,
}

impl Written {
    /// How the rows of DATA are read for a model with this form: with the suite that reads them, and the folder of its files.
    ///
    /// # Errors
    /// The form is not one of objects whose properties are known, or the suite cannot be used.
    pub fn new(
        args: &TuneArgs,
        (name, data): (&str, &Path),
        open: &Open,
    ) -> Result<(Written, Suite, PathBuf), Failure> {
        let properties = open.schema().and_then(|schema| schema.get("properties")?.as_object()).cloned();
        let properties = properties.ok_or_else(|| {
            Failure::usage(format!(
                "the answers of `{name}` are written, and `slm tune` needs a FORMAT that names their properties: a JSON schema of an \
                 object with `properties`"
            ))
        })?;
        let (suite, folder, expect, columns) = if slm_yaml::is_yaml(data) {
            let mut suite = Suite::load(data)?;
            suite.ask_instead(&[name.to_owned()]);
            let expect = suite.expect.iter().filter(|one| one.column.is_some()).cloned().collect();
            let columns = suite.expect.clone();
            (suite, data.parent().unwrap_or(Path::new(".")).to_owned(), expect, Some(columns))
        } else {
            let label = args.label.first().map_or(LABEL, String::as_str);
            let input = args.input.as_deref().unwrap_or("text");
            // An object is no label of a suite's, and is read as it stands where several answers may be right.
            let expect = json!({label: {"as": "one_of"}});
            let suite = json!({"model": name, "data": data.display().to_string(), "input": input, "expect": expect});
            let expect = properties.iter().map(|(name, schema)| expected_of(name, schema)).collect();
            (Suite::parse(&suite.to_string())?, PathBuf::from("."), expect, None)
        };
        let (answers, known) = (Vec::new(), HashMap::new());
        Ok((Written { open: open.clone(), properties, expect, columns, answers, known }, suite, folder))
    }

    /// What the evaluation expects, as a suite says it.
    #[must_use]
    pub fn expect(&self) -> Value {
        let pair = |one: &ExpectedField| (one.field.clone(), one.to_json(&column(&one.field)));
        Value::Object(self.expect.iter().map(pair).collect())
    }

    /// The number of a row's answer; `None` where the FORMAT does not allow it.
    pub fn truth(&mut self, content: &Content) -> Option<usize> {
        let expected = self.expected(content).filter(|one| self.open.check(&self.text_of(one)).is_ok())?;
        let nth = *self.known.entry(expected.to_string()).or_insert(self.answers.len());
        if nth == self.answers.len() {
            self.answers.push(expected);
        }
        Some(nth)
    }

    /// What a row says of the answer: an object. A property may have several right values (`as: one_of`).
    fn expected(&self, content: &Content) -> Option<Value> {
        let Some(columns) = &self.columns else {
            return match &content.expected[0] {
                Expected::Json(value) => value.is_object().then(|| value.clone()),
                Expected::Text(text) => serde_json::from_str::<Value>(text).ok().filter(Value::is_object),
            };
        };
        let told = columns.iter().zip(&content.expected).filter(|(one, _)| one.column.is_some());
        let pair = |(one, value): (&ExpectedField, &Expected)| {
            let kinds = self.properties.get(&one.field).map(typical).unwrap_or_default();
            (one.field.clone(), value.resolve(&kinds))
        };
        Some(Value::Object(told.map(pair).collect()))
    }

    /// The answer with this number as the model is to write it.
    #[must_use]
    pub fn text(&self, nth: usize) -> String {
        self.text_of(&self.answers[nth])
    }

    fn text_of(&self, expected: &Value) -> String {
        let mut answer = expected.clone();
        for one in self.expect.iter().filter(|one| one.judge == Judge::OneOf) {
            if let Some(value) = answer.get_mut(&one.field)
                && let Some(first) = value.as_array().and_then(|several| several.first()).cloned()
            {
                *value = first;
            }
        }
        self.open.text_of(&answer)
    }

    /// What a row with this answer expects, under the names of [`Written::expect`].
    #[must_use]
    pub fn columns(&self, nth: usize) -> Map<String, Value> {
        let answer = &self.answers[nth];
        let of = |one: &ExpectedField| (column(&one.field), answer.get(&one.field).cloned().unwrap_or_default());
        self.expect.iter().map(of).collect()
    }
}

/// The column of a field in the job's rows; a field may be called `text` too.
#[must_use]
pub fn column(field: &str) -> String {
    format!("{LABEL} {field}")
}

/// How a property is judged by its type.
fn expected_of(name: &str, schema: &Value) -> ExpectedField {
    let is = |kind: &str| kinds(schema).contains(&kind);
    let judge = match () {
        () if schema.get("enum").is_some() || schema.get("const").is_some() => Judge::Label,
        () if is("string") => Judge::Text,
        () if is("number") || is("integer") => Judge::NUMBER,
        () if is("array") => Judge::List { key: None },
        () => Judge::Label,
    };
    ExpectedField { field: name.to_owned(), column: Some(column(name)), judge, limits: None }
}

/// Values of a property's types, by which a cell of a table is read.
fn typical(schema: &Value) -> Vec<Value> {
    let of = |kind: &str| match kind {
        "null" => vec![Value::Null],
        "boolean" => vec![false.into(), true.into()],
        "number" | "integer" => vec![0.into()],
        _ => Vec::new(),
    };
    kinds(schema).into_iter().flat_map(of).collect()
}

fn kinds(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
