//! The suite that a fit's data is, or one that is made for it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::FitArgs;
use crate::cli::eval::args::{AskingArgs, EvalArgs};
use crate::cli::eval::parquet;
use crate::contract::{self, Form};
use crate::eval::init;
use crate::eval::suite::Suite;
use crate::failure::Failure;
use crate::load_spec;
use crate::store::Model;
use crate::ui::output::say;

/// Whether data says what is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    Given,
    None,
}

/// Data as a suite.
pub struct LabelledSuite {
    pub suite: Suite,
    /// What its files are relative to.
    pub folder: PathBuf,
    pub labels: Labels,
    /// The answers that the labels are, where the model itself says nothing of its answers.
    pub schema: Option<Value>,
}

/// The suite that DATA is, or one made for it.
///
/// # Errors
/// The data cannot be read, or nobody knows what its text or its labels are.
pub fn labelled(args: &FitArgs, path: &Path, model: &Model) -> Result<LabelledSuite, Failure> {
    if slm_yaml::is_yaml(path) {
        let mut suite = Suite::load(path)?;
        suite.ask_instead(std::slice::from_ref(&args.model));
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let labels = if args.other.unlabelled.is_some() { Labels::None } else { Labels::Given };
        return Ok(LabelledSuite { suite, folder, labels, schema: None });
    }
    let own = load_spec::own_form(model)?;
    if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("txt")) {
        let suite =
            json!({"model": args.model, "data": lines(path)?, "input": "text", "expect": nothing(&own, "text")});
        let (suite, folder) = (Suite::parse(&suite.to_string())?, PathBuf::from("."));
        return Ok(LabelledSuite { suite, folder, labels: Labels::None, schema: None });
    }
    let (text, labels) = init::text_and_labels(path, &parquet::read_apart)?;
    let Some(input) = args.input.clone().or(text) else {
        return Err(Failure::failed(format!(
            "`{}` has no column that looks like a text; name it with --input COLUMN",
            path.display()
        )));
    };
    let wants_none = args.other.unlabelled.is_some();
    let expect = if wants_none { None } else { expected(args, &own, labels, path)? };
    let (expect, labels) = match expect {
        Some(expect) => (expect, Labels::Given),
        None => (nothing(&own, &input), Labels::None),
    };
    let mut suite = json!({"model": args.model, "data": path.display().to_string(), "input": input, "expect": expect});
    if !matches!(own, Form::Closed(_)) {
        if labels == Labels::None {
            return Err(Failure::usage(format!(
                "`{}` has no FORMAT, so that nobody knows its labels; give the model one, or labelled data",
                args.model
            )));
        }
        let Some(column) = expect.as_str() else {
            return Err(Failure::usage(format!(
                "`{}` has no FORMAT, so that one column of labels is needed; give the model a FORMAT, or one --label COLUMN",
                args.model
            )));
        };
        let values = init::values(path, column, &parquet::read_apart)?;
        say(format_args!("`{}` has no FORMAT: its answers are the {} labels of `{column}`", args.model, values.len()));
        suite["format"] = json!({"enum": values});
    }
    let schema = suite.get("format").cloned();
    Ok(LabelledSuite { suite: Suite::parse(&suite.to_string())?, folder: PathBuf::from("."), labels, schema })
}

/// A suite expects something always: where data has no labels, the text itself, which nobody looks at.
fn nothing(own: &Form, input: &str) -> Value {
    match own {
        Form::Closed(contract) if !contract.is_bare() => {
            let name = contract.fields().first().and_then(contract::Field::name).unwrap_or_default();
            json!({name: input})
        }
        _ => input.into(),
    }
}

/// The texts of a file, one a line, as rows.
fn lines(path: &Path) -> Result<Vec<Value>, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot read `{}`: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(failed)?;
    let text = String::from_utf8_lossy(&crate::encoding::utf8(&bytes)).into_owned();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(|line| json!({"text": line})).collect())
}

/// What a suite calls `expect`; `None` where data without labels is checked.
fn expected(args: &FitArgs, own: &Form, guessed: Vec<String>, path: &Path) -> Result<Option<Value>, Failure> {
    let fields: Vec<String> = match own {
        Form::Closed(contract) if !contract.is_bare() => {
            contract.fields().iter().filter_map(contract::Field::name).collect()
        }
        _ => Vec::new(),
    };
    if args.other.check && args.label.is_empty() && guessed.is_empty() {
        return Ok(None);
    }
    if fields.is_empty() {
        let column = match args.label.as_slice() {
            [] => guessed.into_iter().next(),
            [one] => Some(one.clone()),
            _ => return Err(Failure::usage("the model's answer is one value; give one --label")),
        };
        return column.map(|column| Some(column.into())).ok_or_else(|| {
            Failure::failed(format!(
                "`{}` has no column that looks like labels; name it with --label COLUMN",
                path.display()
            ))
        });
    }
    let mut map = serde_json::Map::new();
    for label in &args.label {
        let (field, column) = label.split_once('=').unwrap_or((label, label));
        map.insert(field.to_owned(), column.into());
    }
    if map.is_empty() {
        map.extend(
            fields.iter().filter(|field| guessed.contains(field)).map(|field| (field.clone(), field.clone().into())),
        );
    }
    if map.is_empty() {
        return Err(Failure::failed(format!(
            "`{}` has no column named like a field of the answer ({}); name them with --label FIELD=COLUMN",
            path.display(),
            fields.join(", ")
        )));
    }
    Ok(Some(Value::Object(map)))
}

/// How an evaluation would ask the same.
pub fn eval_args(args: &FitArgs, path: &Path) -> EvalArgs {
    let asking = AskingArgs {
        fresh: args.asking.fresh,
        parallel: args.asking.parallel,
        local: args.asking.local,
        ..AskingArgs::default()
    };
    EvalArgs {
        suite: Some(path.to_owned()),
        model: vec![args.model.clone()],
        asking,
        reading: args.reading,
        compute: args.compute.clone(),
        ..EvalArgs::default()
    }
}
