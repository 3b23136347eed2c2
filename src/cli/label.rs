//! `slm label`: texts with a teacher's labels and their probabilities, for a smaller model to learn from.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::complete;
use super::compute::ComputeArgs;
use super::environment::Environment;
use super::eval::args::{AskingArgs, EvalArgs};
use super::eval::course::Asking;
use super::eval::subject::candidates;
use super::eval::{Found, parquet};
use super::interrupt;
use super::reading::ReadingArgs;
use crate::contract::{Contract, Field as ContractField, Form};
use crate::eval::answer::FieldAnswer;
use crate::eval::data::{Data, Selection};
use crate::eval::init;
use crate::eval::label::show;
use crate::eval::record::{Field, Record, Records};
use crate::eval::suite::{Judge, Source, Suite};
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::{Output, say};
use crate::ui::table::counted;

/// Label texts with a model, for another to learn from
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// The teacher: a model, or the YAML of a remote (docs/remotes.md)
    #[arg(add = complete::models())]
    pub model: String,
    /// The texts: a data file, or a .txt with one text per line
    pub texts: PathBuf,
    /// Where the labelled rows go, as JSONL [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The column with the text [default: guessed]
    #[arg(long, value_name = "COLUMN")]
    pub input: Option<String>,
    /// The labels, with commas between them, where the teacher has no FORMAT
    #[arg(long, value_name = "A,B,C", conflicts_with = "format")]
    pub choices: Option<String>,
    /// A JSON Schema of the answers, or @file
    #[arg(long, value_name = "SCHEMA")]
    pub format: Option<String>,
    /// What the teacher is told
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Drop answers below this probability; 0 keeps all
    #[arg(long, value_name = "P", default_value_t = 0.7)]
    pub min_probability: f64,
    /// Use at most N texts
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Ask every text again, also those whose answers are kept
    #[arg(long)]
    pub fresh: bool,
    /// Texts in flight at once
    #[arg(long, value_name = "N")]
    pub parallel: Option<usize>,
    /// Load the model here, also where a running `slm serve` has this store
    #[arg(long)]
    pub local: bool,
    /// Write what came of it as JSON to standard output; needs --output
    #[arg(long, requires = "output")]
    pub json: bool,
    #[command(flatten)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// What became of the texts.
#[derive(Debug, Default)]
struct Tally {
    n_texts: usize,
    n_labelled: usize,
    n_doubtful: usize,
    /// Whether any answer came without probabilities.
    is_blind: bool,
    failed: BTreeMap<String, usize>,
    labels: BTreeMap<String, usize>,
}

/// Asks the teacher about every text and writes those that it is sure of.
///
/// # Errors
/// The texts or the teacher cannot be used, or its answers are not closed.
pub fn run(args: &LabelArgs, environment: &Environment) -> Outcome {
    if !(0.0..=1.0).contains(&args.min_probability) {
        return Err(Failure::usage(format!(
            "--min-probability is `{}`; give a number from 0 to 1",
            args.min_probability
        )));
    }
    let eval = eval_args(args);
    let (suite, folder) = suite(args, environment)?;
    let selection = Selection { filter: Vec::new(), shard: None, limit: args.limit };
    let data = Data::load(&folder, &suite, &selection, &parquet::read_apart)?;
    let found = Found::find(0, &suite, &eval, &folder, environment)?;
    let Form::Closed(contract) = found.form().clone() else {
        return Err(Failure::usage(format!(
            "the answers of `{}` are written, not chosen; say what the labels are with --choices or --format",
            args.model
        )));
    };
    let fields = suite.expect.iter().map(|expected| Field {
        name: expected.field.clone(),
        judge: Judge::Label,
        candidates: candidates(found.form(), &expected.field),
        limits: None,
    });
    // Where each of the contract's fields is among those of the records.
    let place = |field: &ContractField| suite.expect.iter().position(|one| one.is_of(field, &contract)).unwrap_or(0);
    let places: Vec<usize> = contract.fields().iter().map(place).collect();
    let mut records = Records::new(args.texts.display().to_string(), &data, fields.collect());
    found.ask(&mut records, Asking { suite: &suite, data: &data, args: &eval, environment })?;
    interrupt::finished()?;
    let mut tally = Tally { n_texts: records.rows.len(), ..Tally::default() };
    let lines: String = records
        .rows
        .iter()
        .filter_map(|row| labelled(args, row, (&contract, &places), &mut tally))
        .map(|line| line.to_string() + "\n")
        .collect();
    match &args.output {
        Some(path) => written(path, &lines)?,
        None => drop(Output::default().text(&lines)?),
    }
    tell(args, &tally)?;
    Ok(Exit::Done)
}

/// A row as a line of labelled data; `None` where the teacher gave no answer, or is not sure enough of it.
fn labelled(
    args: &LabelArgs,
    row: &Record,
    (contract, places): (&Contract, &[usize]),
    tally: &mut Tally,
) -> Option<Value> {
    // The first subject is the model as it answers, with its fit where it has one.
    let fields = match row.answers.first()?.as_ref()?.fields.as_ref() {
        Ok(fields) => fields,
        Err(failed) => {
            *tally.failed.entry(failed.reason.clone()).or_default() += 1;
            return None;
        }
    };
    let fields: Vec<&FieldAnswer> = places.iter().map(|&at| &fields[at]).collect();
    let own = |field: &FieldAnswer, options: &[Value]| options.iter().position(|option| *option == field.value);
    let options: Vec<Vec<Value>> = contract.fields().iter().map(ContractField::values).collect();
    let probability =
        |(field, options): (&&FieldAnswer, &Vec<Value>)| field.probabilities.get(own(field, options)?).copied();
    let probabilities: Vec<Option<f64>> = fields.iter().zip(&options).map(probability).collect();
    tally.is_blind |= probabilities.iter().any(Option::is_none);
    let least = probabilities.iter().flatten().copied().fold(1.0, f64::min);
    let is_withheld = fields.iter().any(|field| field.is_withheld);
    if least < args.min_probability || is_withheld {
        tally.n_doubtful += 1;
        return None;
    }
    let mut line = Map::new();
    line.insert("text".to_owned(), row.input.as_str().into());
    let mut shares = Map::new();
    for ((of, field), options) in contract.fields().iter().zip(&fields).zip(&options) {
        let name = of.name().unwrap_or_else(|| "label".to_owned());
        let told = options.iter().zip(&field.probabilities).map(|(option, p)| (show(option), json!(p)));
        shares.insert(name.clone(), Value::Object(told.collect()));
        line.insert(name, field.value.clone());
    }
    tally.n_labelled += 1;
    let labels: Vec<String> = fields.iter().map(|field| show(&field.value)).collect();
    *tally.labels.entry(labels.join(", ")).or_default() += 1;
    line.insert("probability".to_owned(), json!(least));
    line.insert("probabilities".to_owned(), if contract.is_bare() { shares.remove("label")? } else { shares.into() });
    line.insert("labelled_by".to_owned(), args.model.as_str().into());
    Some(line.into())
}

fn written(path: &Path, lines: &str) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("cannot write `{}`: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    file.write_all(lines.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(|error| failed(&error))?;
    file.persist(path).map(drop).map_err(|error| failed(&error))
}

fn tell(args: &LabelArgs, tally: &Tally) -> Result<(), Failure> {
    let Tally { n_texts, n_labelled, n_doubtful, is_blind, failed, labels } = tally;
    let n_failed: usize = failed.values().sum();
    if args.json {
        Output::default().json(&json!({
            "texts": n_texts, "labelled": n_labelled, "doubtful": n_doubtful, "failed": n_failed, "labels": labels,
        }))?;
    } else {
        let least = args.min_probability;
        say(format_args!(
            "{}: {n_labelled} labelled, {n_doubtful} below {least} dropped",
            counted(*n_texts as u64, "text")
        ));
        labels.iter().for_each(|(label, n)| say(format_args!("{n:>7} {label}")));
    }
    if let Some((reason, _)) = failed.iter().max_by_key(|(_, n)| **n) {
        say(format_args!("{n_failed} texts have no answer: {reason}"));
    }
    if *is_blind {
        say("the teacher gives no probabilities for some answers, so that doubtful ones among them are kept too");
    }
    say(
        "these labels are the teacher's, its mistakes among them: measure whatever learns from them on rows that people labelled \
         (slm tune --held-out ROWS)",
    );
    Ok(())
}

/// The texts as a suite with one subject, the teacher, and the folder that its files are relative to. A suite expects something
/// always: the text itself, which nobody looks at.
fn suite(args: &LabelArgs, environment: &Environment) -> Result<(Suite, PathBuf), Failure> {
    let extension = args.texts.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let (data, input) = if extension == "txt" {
        (Source::Rows(lines(&args.texts)?), "text".to_owned())
    } else {
        let (text, _) = init::text_and_labels(&args.texts, &parquet::read_apart)?;
        let input = args.input.clone().or(text).ok_or_else(|| {
            Failure::failed(format!(
                "`{}` has no column that looks like a text; name it with --input COLUMN",
                args.texts.display()
            ))
        })?;
        (Source::File(args.texts.clone()), input)
    };
    let is_remote = slm_yaml::is_yaml(Path::new(&args.model));
    let whom =
        if is_remote { json!({"remote": absolute(Path::new(&args.model))}) } else { json!({"model": args.model}) };
    let format = match (&args.choices, &args.format) {
        (Some(choices), _) => Some(Contract::choices(choices)?.schema().clone()),
        (None, Some(format)) => Some(schema(format)?),
        (None, None) => None,
    };
    let form = match &format {
        Some(schema) => Form::from_schema(schema.clone())?,
        None if is_remote => Form::Free,
        None => crate::load_spec::own_form(&super::load::find_or_pull(&args.model, environment)?)?,
    };
    let expect: Value = match &form {
        Form::Closed(contract) if !contract.is_bare() => {
            let pair = |field: &ContractField| (field.name().unwrap_or_default(), input.as_str().into());
            Value::Object(contract.fields().iter().map(pair).collect())
        }
        _ => input.as_str().into(),
    };
    let mut suite = json!({"models": [whom], "data": "texts", "input": input, "expect": expect, "baselines": []});
    if let Some(format) = format {
        suite["format"] = format;
    }
    if let Some(system) = &args.system {
        suite["system"] = system.as_str().into();
    }
    // Texts may be more than a suite's own bounds allow to be written in it.
    Ok((Suite { data: vec![data], ..Suite::parse(&suite.to_string())? }, PathBuf::from(".")))
}

/// The texts of a file, one per line, as rows.
fn lines(path: &Path) -> Result<Vec<Map<String, Value>>, Failure> {
    let failed = |error| Failure::failed(format!("cannot read `{}`: {error}", path.display()));
    let text = std::fs::File::open(path).and_then(super::load::small_text).map_err(failed)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(|line| Map::from_iter([("text".to_owned(), Value::from(line))])).collect())
}

/// A schema as it is given on the command line.
fn schema(said: &str) -> Result<Value, Failure> {
    let text = match said.strip_prefix('@') {
        Some(path) => std::fs::File::open(path)
            .and_then(super::load::small_text)
            .map_err(|error| Failure::failed(format!("cannot read `{path}`: {error}")))?,
        None => said.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("--format is not JSON: {error}")))
}

/// How an evaluation would ask the same.
fn eval_args(args: &LabelArgs) -> EvalArgs {
    let asking = AskingArgs { fresh: args.fresh, parallel: args.parallel, local: args.local, ..AskingArgs::default() };
    EvalArgs {
        suite: Some(args.texts.clone()),
        asking,
        reading: args.reading,
        compute: args.compute.clone(),
        ..EvalArgs::default()
    }
}
