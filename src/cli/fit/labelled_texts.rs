//! Labelled rows as examples: a text with the whole answer that it should get.

use std::path::Path;

use serde_json::{Map, Value};

use super::args::FitArgs;
use super::suite::{self, LabelledSuite, Labels};
use crate::cli::eval::parquet;
use crate::contract::{Contract, Form};
use crate::encoding;
use crate::eval::data::{Content, Data, Selection};
use crate::eval::suite::Suite;
use crate::examples::{self, LabelledText};
use crate::failure::Failure;
use crate::store::Model;
use crate::ui::output::say;

/// The rows of DATA that have an answer in the model's form.
///
/// # Errors
/// DATA cannot be read, or none of its rows has one.
pub fn read(args: &FitArgs, data: &Path, model: &Model, form: &Form) -> Result<Vec<LabelledText>, Failure> {
    let mut rows = match form {
        Form::Closed(contract) => of_columns(args, data, model, contract)?,
        Form::Open(_) | Form::Free => of_lines(args, data)?,
    };
    let n_rows = rows.len();
    rows.retain(|row| form.check_example(&row.answer()).is_ok());
    if rows.len() < n_rows {
        let (n_left_out, n) = (n_rows - rows.len(), n_rows);
        say(format_args!("{n_left_out} of {n} rows are left out: their label is no answer that the FORMAT allows"));
    }
    if rows.is_empty() {
        return Err(Failure::failed(format!(
            "none of the {n_rows} rows of `{}` has a label that the FORMAT of `{}` allows; name the column with --label COLUMN",
            data.display(),
            args.model
        )));
    }
    rows.truncate(args.limit.unwrap_or(usize::MAX));
    Ok(rows)
}

/// Written answers are whole values, which a cell of a table cannot hold: one JSON object on a line has them.
fn of_lines(args: &FitArgs, data: &Path) -> Result<Vec<LabelledText>, Failure> {
    let shown = data.display();
    let is_lines = data.extension().is_some_and(|extension| extension == "jsonl" || extension == "ndjson");
    if !is_lines {
        return Err(Failure::usage(format!(
            "`{shown}` is not JSON lines, and the answers of `{}` are written, not chosen: give a .jsonl file with a text and the whole \
             answer on each line",
            args.model
        )));
    }
    let bytes = std::fs::read(data).map_err(|error| Failure::failed(format!("cannot read `{shown}`: {error}")))?;
    let text = encoding::decode(&bytes).map_err(|error| Failure::failed(format!("`{shown}`: {error}")))?;
    let input = args.input.as_deref().unwrap_or("text");
    let label = match args.label.as_slice() {
        [] => "label",
        [one] => one,
        _ => return Err(Failure::usage("the model's answer is one value of a line; give one --label")),
    };
    examples::read(&text, input, label).map_err(|error| {
        let message =
            format!("`{shown}`: {error}").replace("text=KEY", "--input KEY").replace("label=KEY", "--label KEY");
        Failure::failed(message)
    })
}

/// Chosen answers stand in columns, one for each field.
fn of_columns(args: &FitArgs, data: &Path, model: &Model, contract: &Contract) -> Result<Vec<LabelledText>, Failure> {
    let LabelledSuite { suite, folder, labels, .. } = suite::labelled(args, data, model)?;
    if labels == Labels::None {
        return Err(Failure::failed(format!(
            "`{}` has no column that looks like labels; name it with --label COLUMN",
            data.display()
        )));
    }
    let missing: Vec<String> = contract
        .fields()
        .iter()
        .filter(|field| !suite.expect.iter().any(|one| one.is_of(field, contract)))
        .filter_map(|field| Some(format!("`{}`", field.name()?)))
        .collect();
    if !missing.is_empty() {
        return Err(Failure::failed(format!(
            "an example is a whole answer, and `{}` has no labels for {}; name their columns with --label FIELD=COLUMN",
            data.display(),
            missing.join(", ")
        )));
    }
    let selection = Selection { filter: suite.filter.clone(), shard: None, limit: suite.limit };
    let data = Data::load(&folder, &suite, &selection, &parquet::read_apart)?;
    let contents = data.rows.iter().filter_map(|row| row.content.as_ref().ok());
    Ok(contents.filter_map(|content| labelled(content, &suite, contract)).collect())
}

/// A row's text with the answer that its columns give; `None` where a field has no label, or one that is not allowed.
fn labelled(content: &Content, suite: &Suite, contract: &Contract) -> Option<LabelledText> {
    let text = content.text().to_owned();
    let mut values = Map::new();
    for field in contract.fields() {
        let options = field.values();
        let expected = suite.expect.iter().position(|one| one.is_of(field, contract))?;
        let value = options[content.expected[expected].among(&options)?].clone();
        match field.name() {
            Some(name) if !contract.is_bare() => values.insert(name, value),
            _ => return Some(LabelledText { text, label: value }),
        };
    }
    Some(LabelledText { text, label: Value::Object(values) })
}
