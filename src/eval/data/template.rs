//! A text made of a row's columns by a template (Jinja), or a column as it is.

use std::collections::BTreeSet;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value};

use super::cells::Cells;
use super::error::DataError;

/// More than any honest template of one row takes.
const FUEL: u64 = 1_000_000;
const NAME: &str = "text";

/// How a text is made of a row.
#[derive(Debug)]
pub enum Maker {
    Column(String),
    Template { environment: Box<Environment<'static>>, columns: BTreeSet<String> },
}

impl Maker {
    /// What a suite's `input` says: a column, or with `{{` in it a template.
    ///
    /// # Errors
    ///
    /// It is a template that cannot be parsed.
    pub fn of_input(said: &str) -> Result<Maker, DataError> {
        if said.contains("{{") || said.contains("{%") {
            Maker::template(said)
        } else {
            Ok(Maker::Column(said.to_owned()))
        }
    }

    /// A template over columns and `input`.
    ///
    /// # Errors
    ///
    /// It cannot be parsed.
    pub fn template(said: &str) -> Result<Maker, DataError> {
        let refused =
            |error: minijinja::Error| DataError::Template { template: said.to_owned(), reason: one_line(&error) };
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.add_template_owned(NAME, said.to_owned()).map_err(refused)?;
        let names = environment.get_template(NAME).map_err(refused)?.undeclared_variables(false);
        let columns = names.into_iter().filter(|name| name != "input").collect();
        Ok(Maker::Template { environment: Box::new(environment), columns })
    }

    /// The columns that it reads.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Maker::Column(column) => vec![column],
            Maker::Template { columns, .. } => columns.iter().map(String::as_str).collect(),
        }
    }

    /// The text of a row.
    ///
    /// # Errors
    ///
    /// The column is not there or no text, or the template cannot be rendered.
    pub fn make(&self, cells: &Cells, input: Option<&str>) -> Result<String, String> {
        match self {
            Maker::Column(column) => match cells.get(column)? {
                Some(cell) => cell.input(column),
                None => Err(format!("the row has no `{column}`")),
            },
            Maker::Template { environment, .. } => {
                let mut columns: Map<String, Value> = cells.all();
                if let Some(input) = input {
                    columns.insert("input".to_owned(), input.into());
                }
                let template = environment.get_template(NAME).expect("parsed when it was made");
                template
                    .render(Serde(&columns))
                    .map_err(|error| format!("the template cannot be filled: {}", one_line(&error)))
            }
        }
    }
}

fn one_line(error: &minijinja::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().replace(" (in text:1)", "")
}
