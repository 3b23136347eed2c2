//! A suite for data that somebody has: which column is the text, which the labels, and how answers are held against them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use slm_stats::text::{DayMonth, parse_date, parse_number};

use super::data::{Column, DataError, columns, parquet};

/// The most different values that a column of labels has.
const MAX_LABELS: usize = 255;
/// Names that people give to the text, likeliest first.
const TEXTS: [&str; 10] =
    ["text", "input", "body", "message", "sentence", "content", "review", "question", "prompt", "description"];
/// Names that people give to labels, likeliest first.
const LABELS: [&str; 12] = [
    "label",
    "class",
    "category",
    "intent",
    "sentiment",
    "topic",
    "target",
    "queue",
    "expected",
    "answer",
    "output",
    "labels",
];

/// Why there is no suite for data.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(
        "the data `{name}` has no column that looks like a text; its columns are {columns}; write a suite by hand (docs/eval.md)"
    )]
    NoText { name: String, columns: String },
    #[error(
        "the data `{name}` has no column beside `{text}` that looks like labels, tags or values; an evaluation needs what is expected"
    )]
    NoTruth { name: String, text: String },
}

/// What a column seems to hold.
#[derive(Debug, Clone, PartialEq)]
enum Guess {
    Labels(Vec<Value>),
    Tags(Vec<String>),
    Number,
    Date,
    Text,
}

/// The columns of the text and of the labels, by their names and by what they hold; those of a Parquet file with `parquet`.
///
/// # Errors
///
/// The data cannot be read.
pub fn text_and_labels(path: &Path, parquet: parquet::Reader<'_>) -> Result<(Option<String>, Vec<String>), DataError> {
    let columns = columns(path, parquet)?;
    let text = text_column(&columns);
    let labels = columns.iter().filter(|column| Some(&column.name) != text.as_ref() && !is_id(column));
    let mut labels: Vec<&Column> = labels.filter(|one| matches!(guess(one), Some(Guess::Labels(_)))).collect();
    labels.sort_by_key(|column| rank(&LABELS, &column.name));
    Ok((text, labels.into_iter().map(|column| column.name.clone()).collect()))
}

/// The different values of a column, in the order of their texts.
///
/// # Errors
///
/// The data cannot be read.
pub fn values(path: &Path, column: &str, parquet: parquet::Reader<'_>) -> Result<Vec<Value>, DataError> {
    let columns = columns(path, parquet)?;
    let found = columns.iter().find(|one| one.name == column);
    let texts = found.into_iter().flat_map(|one| one.values.keys());
    Ok(texts.filter_map(|text| serde_json::from_str(text).ok()).filter(|value: &Value| !value.is_null()).collect())
}

/// A commented suite for the data at `path`, which the suite is to name as `shown`.
///
/// # Errors
///
/// The data cannot be read, or has no text or nothing that can be expected.
pub fn suite(path: &Path, shown: &str, parquet: parquet::Reader<'_>) -> Result<String, InitError> {
    let columns = columns(path, parquet)?;
    let name = path.display().to_string();
    let Some(text) = text_column(&columns) else {
        let columns = super::suite::list(columns.iter().map(|column| &column.name));
        return Err(InitError::NoText { name, columns });
    };
    let id = columns.iter().find(|column| is_id(column) && column.name != text);
    let candidates = columns.iter().filter(|column| column.name != text && id.is_none_or(|id| id.name != column.name));
    let guesses: Vec<(&Column, Guess)> = candidates.filter_map(|column| Some((column, guess(column)?))).collect();
    if guesses.is_empty() {
        return Err(InitError::NoTruth { name, text });
    }
    Ok(written(shown, &columns, &text, id, &guesses))
}

fn written(shown: &str, columns: &[Column], text: &str, id: Option<&Column>, guesses: &[(&Column, Guess)]) -> String {
    // Labels make a suite of their own; without any, everything that can be read out of the text does.
    let is_closed = |(_, guess): &&(&Column, Guess)| matches!(guess, Guess::Labels(_));
    let likely = |(column, _): &&&(&Column, Guess)| rank(&LABELS, &column.name);
    let closed: Vec<_> = guesses.iter().filter(is_closed).collect();
    let named: Vec<_> =
        closed.iter().copied().filter(|(column, _)| rank(&LABELS, &column.name) < LABELS.len()).collect();
    let chosen: Vec<&(&Column, Guess)> = match (named.as_slice(), closed.as_slice()) {
        ([_, ..], _) => named,
        ([], [_, ..]) => closed.iter().min_by_key(likely).map(|one| vec![*one]).unwrap_or_default(),
        ([], []) => guesses.iter().collect(),
    };
    let n_rows = columns.first().map_or(0, |column| column.n_rows);
    let mut out = format!("# A suite for {n_rows} rows. Check what was guessed, then: slm eval FILE (docs/eval.md)\n");
    out += "\n# The model to measure; several are compared: `models: [triage, other]`.\nmodel: triage\n\n";
    let _ = writeln!(out, "# Files are relative to this one.\ndata: {}\n", quoted(shown));
    let _ = writeln!(out, "# The column with the text that the model reads.\ninput: {}\n", quoted(text));
    match id {
        Some(id) => {
            let _ = writeln!(out, "# The column of a row's own id.\nid: {}\n", quoted(&id.name));
        }
        None => out += "# A row's id is a hash of its text; `id: COLUMN` names another.\n\n",
    }
    out += "# What is expected: the answer's fields, from the columns of these names.\nexpect:\n";
    for (column, guess) in &chosen {
        let judged = match guess {
            Guess::Labels(_) => quoted(&column.name),
            Guess::Tags(_) => format!("{{column: {}, as: tags}}", quoted(&column.name)),
            Guess::Number => format!("{{column: {}, as: number}}", quoted(&column.name)),
            Guess::Date => format!("{{column: {}, as: date}}", quoted(&column.name)),
            Guess::Text => format!("{{column: {}, as: text}}", quoted(&column.name)),
        };
        let _ = writeln!(out, "  {}: {judged}", quoted(&column.name));
    }
    out += "\n# The answers that the model may give. Without it the model's own FORMAT holds.\n";
    out += &format(&chosen);
    out += "# What the model is told; with a format in the model's own file it may be left out.\n";
    out += "# system: Sort the text.\n\n# What must hold for exit code 0.\n# gate:\n#   accuracy: {at_least: 0.9, bound: lower}\n";
    let unused = guesses.iter().filter(|one| !chosen.iter().any(|other| other.0.name == one.0.name));
    let unused: Vec<String> = unused.map(|(column, _)| format!("`{}`", column.name)).collect();
    if !unused.is_empty() {
        let _ = writeln!(out, "\n# Columns that could be expected too: {}", unused.join(", "));
    }
    out
}

/// The contract of the answers: of one label the list of them, else an object.
fn format(chosen: &[&(&Column, Guess)]) -> String {
    if let [(_, Guess::Labels(labels))] = chosen {
        return format!("format: {{enum: {}}}\n\n", Value::Array(labels.clone()));
    }
    let mut out = "format:\n  type: object\n  properties:\n".to_owned();
    for (column, guess) in chosen {
        let schema = match guess {
            Guess::Labels(labels) => format!("{{enum: {}}}", Value::Array(labels.clone())),
            Guess::Tags(tags) => format!("{{type: array, items: {{enum: {}}}}}", Value::from(tags.clone())),
            Guess::Number => "{type: [number, \"null\"]}".to_owned(),
            Guess::Date | Guess::Text => "{type: [string, \"null\"]}".to_owned(),
        };
        let _ = writeln!(out, "    {}: {schema}", quoted(&column.name));
    }
    let required = Value::from(chosen.iter().map(|(column, _)| column.name.clone()).collect::<Vec<_>>());
    let _ = writeln!(out, "  required: {required}\n");
    out
}

/// The place of a name among likely ones; their number for any other.
fn rank(names: &[&str], name: &str) -> usize {
    let name = name.to_lowercase();
    names.iter().position(|likely| *likely == name).unwrap_or(names.len())
}

/// The column with the text: by its name, else the one with the longest texts that differ from row to row.
fn text_column(columns: &[Column]) -> Option<String> {
    let texts = || columns.iter().filter(|column| column.n_texts * 2 > column.n_rows);
    let named = texts().filter(|column| rank(&TEXTS, &column.name) < TEXTS.len());
    let named = named.min_by_key(|column| rank(&TEXTS, &column.name));
    let longest = || texts().max_by(|one, other| one.mean_length().total_cmp(&other.mean_length()));
    named.or_else(longest).map(|column| column.name.clone())
}

fn is_id(column: &Column) -> bool {
    let name = column.name.to_lowercase();
    let is_named = name == "id" || name.ends_with("_id") || name.ends_with("-id") || name == "key";
    is_named && column.values.len() == column.n_rows && column.n_rows > 1
}

fn guess(column: &Column) -> Option<Guess> {
    if column.n_lists * 2 > column.n_rows {
        return Some(Guess::Tags(column.tags.iter().cloned().collect())).filter(|_| column.tags.len() <= MAX_LABELS);
    }
    let values: Vec<Value> = column.values.keys().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let named: BTreeMap<String, Value> =
        values.iter().filter(|value| !value.is_null()).map(|value| (value.to_string(), value.clone())).collect();
    let n = named.len();
    // A label comes back: on average each is there three times or more.
    let n_filled: usize = column.values.iter().filter(|(text, _)| *text != "null").map(|(_, n)| n).sum();
    let comes_back = (2..=MAX_LABELS).contains(&n) && n * 3 <= n_filled;
    if comes_back {
        return Some(Guess::Labels(named.into_values().collect()));
    }
    let of_all = |is: &dyn Fn(&Value) -> bool| !named.is_empty() && named.values().all(is);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if of_all(&|value| value.is_number() || parse_number(&text(value)).is_some()) {
        Some(Guess::Number)
    } else if of_all(&|value| parse_date(&text(value), DayMonth::DayFirst).is_some()) {
        Some(Guess::Date)
    } else if of_all(&Value::is_string) {
        Some(Guess::Text)
    } else {
        None
    }
}

/// A name as YAML takes it.
fn quoted(name: &str) -> String {
    let is_plain = !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && name.starts_with(char::is_alphabetic)
        && !["null", "true", "false", "yes", "no", "on", "off", "none"].contains(&name.to_lowercase().as_str());
    if is_plain { name.to_owned() } else { Value::from(name).to_string() }
}
