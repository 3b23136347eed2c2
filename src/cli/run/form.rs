//! The form of the answers, from the words of a flag or of a session's command.

use std::sync::Arc;

use super::args::RunArgs;
use crate::cli::load;
use crate::contract::{Contract, ContractError, Form, Open};
use crate::encoding;
use crate::failure::Failure;

/// The form that the flags ask for; `None` means the model's own.
///
/// # Errors
/// It is not supported, or its file cannot be read.
pub fn asked(args: &RunArgs) -> Result<Option<Form>, Failure> {
    if let Some(list) = &args.choices {
        return of_choices(list, "--choices").map(Some);
    }
    if let Some(grammar) = &args.grammar {
        return Ok(Some(Form::Open(Open::lark(&text_or_file(grammar, "grammar")?)?)));
    }
    if let Some(regex) = &args.regex {
        return Ok(Some(Form::Open(Open::regex(regex)?)));
    }
    args.format.as_deref().map(|format| of_format(format, "--format")).transpose()
}

/// The form of one of these labels, or of `@FILE` with a label per line; `said` is what named them, for messages.
///
/// # Errors
/// The list is not one of different labels.
pub fn of_choices(list: &str, said: &str) -> Result<Form, Failure> {
    let contract = match list.strip_prefix('@') {
        Some(_) => Contract::labels(listed(&text_or_file(list, "list of choices")?)),
        None => Contract::choices(list),
    };
    let contract = contract.map_err(|error| match error {
        ContractError::Choices { reason, .. } => Failure::usage(format!("`{said} {list}`: {reason}")),
        error => error.into(),
    })?;
    Ok(Form::Closed(Arc::new(contract)))
}

/// The labels of a file: one per line, with a description after a tab.
fn listed(text: &str) -> Vec<(String, Option<String>)> {
    let of = |line: &str| match line.split_once('\t') {
        Some((label, description)) => (label.trim().to_owned(), Some(description.trim().to_owned())),
        None => (line.trim().to_owned(), None),
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(of).collect()
}

/// The form of a schema, `@FILE`, `json` or `none`; `said` as in [`of_choices`].
///
/// # Errors
/// As [`asked`].
pub fn of_format(format: &str, said: &str) -> Result<Form, Failure> {
    let schema = match format.trim() {
        "none" => return Ok(Form::Free),
        "json" => return Ok(Form::json()),
        format => text_or_file(format, "schema")?,
    };
    Form::parse(&schema).map_err(|error| {
        let is_name = matches!(error, ContractError::NotJson(_)) && !format.starts_with(['{', '@']);
        let hint = if is_name { "; a file with a schema is given as `@FILE`" } else { "" };
        Failure::usage(format!("{said}: {error}{hint}"))
    })
}

/// A text, or with `@` in front the file that holds it; without the byte order mark that `"$(cat FILE)"` leaves.
fn text_or_file(given: &str, what: &str) -> Result<String, Failure> {
    match given.strip_prefix('@') {
        Some(path) => std::fs::File::open(path)
            .and_then(load::small_text)
            .map_err(|error| Failure::usage(format!("cannot read the {what} `{path}`: {error}"))),
        None => Ok(encoding::without_mark(given).to_owned()),
    }
}
