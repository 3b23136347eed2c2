//! `slm log correct`: labels that people say are right, checked against the decisions before any of them is kept.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::args::CorrectArgs;
use super::corrections::{self, Correction};
use super::entry::{Slot, is_same, slots};
use super::files::{LogFiles, unreadable};
use crate::api::decision_log::DecisionLine;
use crate::cli::environment::timestamp;
use crate::eval::label::{Expected, show};
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::{Output, say};
use crate::ui::table::counted;

/// Mistakes of a file that are told one by one.
const MAX_MISTAKES: usize = 20;
/// Keys of a file's lines that say nothing of what is right: exported rows have them.
const OTHERS: [&str; 4] = ["id", "text", "time", "model"];

/// What somebody said of a decision.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    id: String,
    labels: Vec<SaidLabel>,
    /// Where it stands in a file.
    at: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
enum SaidLabel {
    /// `LABEL` or `FIELD=LABEL`.
    Text(String),
    /// `None` of the answer that is one value.
    Typed(Option<String>, Value),
}

/// A line's id, of all its keys the only one that is read at first.
#[derive(Deserialize)]
struct Head {
    id: String,
}

/// Keeps corrections.
///
/// # Errors
/// A label is no answer of its decision, an id is in no file, or nothing can be written; then nothing is.
pub fn run(log: &Path, args: &CorrectArgs) -> Outcome {
    let said = said(args)?;
    let lines = lines(log, &said)?;
    let (mut kept, mut mistakes) = (Vec::new(), Vec::new());
    let (mut n_confirmed, time) = (0_u64, timestamp(SystemTime::now()));
    for one in &said {
        for label in &one.labels {
            match resolved(one, label, lines.get(&one.id).map_or(&[][..], Vec::as_slice)) {
                Ok((input, slot, label)) => {
                    n_confirmed += u64::from(slot.best.as_ref().is_some_and(|best| is_same(best, &label)));
                    kept.push(Correction { time: time.clone(), id: one.id.clone(), input, field: slot.name, label });
                }
                Err(mistake) => mistakes.push(match one.at {
                    Some(at) => format!("`{}`: line {at}: {mistake}", args.what),
                    None => mistake,
                }),
            }
        }
    }
    if !mistakes.is_empty() {
        let more = mistakes.len().saturating_sub(MAX_MISTAKES);
        mistakes.truncate(MAX_MISTAKES);
        mistakes.extend((more > 0).then(|| format!("and {more} more")));
        if said.len() > 1 {
            mistakes.push("nothing was corrected".to_owned());
        }
        return Err(Failure::failed(mistakes.join("\n")));
    }
    corrections::append(log, &kept)?;
    let n_changed = kept.len() as u64 - n_confirmed;
    Output::default().line(&format!(
        "{} corrected: {} other than the answer, {n_confirmed} the same",
        counted(said.len() as u64, "decision"),
        counted(n_changed, "label"),
    ))?;
    Ok(Exit::Done)
}

/// What the arguments or the file say.
fn said(args: &CorrectArgs) -> Result<Vec<Said>, Failure> {
    if !args.labels.is_empty() {
        let labels = args.labels.iter().cloned().map(SaidLabel::Text).collect();
        return Ok(vec![Said { id: args.what.clone(), labels, at: None }]);
    }
    let path = Path::new(&args.what);
    let text = if args.what == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else if path.exists() {
        std::fs::read_to_string(path)
    } else {
        return Err(Failure::usage(format!(
            "there is no file `{0}`; to correct a decision give its label too: `slm log correct {0} LABEL`",
            args.what
        )));
    };
    let text = text.map_err(|error| unreadable(path, &error))?;
    let (mut all, mut n_empty) = (Vec::new(), 0_u64);
    for (nth, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = nth + 1;
        let read = row(line).map_err(|why| Failure::failed(format!("`{}`: line {at}: {why}", args.what)))?;
        let (id, labels) = read;
        if labels.is_empty() {
            n_empty += 1;
        } else {
            all.push(Said { id, labels, at: Some(at) });
        }
    }
    if n_empty > 0 {
        say(format_args!(
            "{} without a label left out",
            if n_empty == 1 { "1 row".to_owned() } else { format!("{n_empty} rows") }
        ));
    }
    if all.is_empty() {
        return Err(Failure::failed(format!("`{}` has no labels", args.what)));
    }
    Ok(all)
}

/// A line of a file: an id, and the label under `label` or under the names of fields. Empty cells are labels that nobody gave yet.
fn row(line: &str) -> Result<(String, Vec<SaidLabel>), String> {
    let object: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| format!("it is not an object of JSON: {error}"))?;
    let id = match object.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(other) => return Err(format!("`id` is {other}; give the id of a decision as text")),
        None => return Err("`id` is missing; give the id of a decision".to_owned()),
    };
    let is_given = |value: &Value| !value.is_null() && value != "";
    let mut labels = Vec::new();
    for (name, value) in object.into_iter().filter(|(name, value)| !OTHERS.contains(&name.as_str()) && is_given(value))
    {
        match (name.as_str(), value) {
            ("label", Value::Object(fields)) => {
                let fields = fields.into_iter().filter(|(_, value)| is_given(value));
                labels.extend(fields.map(|(name, value)| SaidLabel::Typed(Some(name), value)));
            }
            ("label", value) => labels.push(SaidLabel::Typed(None, value)),
            (_, value) => labels.push(SaidLabel::Typed(Some(name), value)),
        }
    }
    Ok((id, labels))
}

/// The decisions with these ids.
fn lines(log: &Path, said: &[Said]) -> Result<HashMap<String, Vec<DecisionLine>>, Failure> {
    let mut found: HashMap<String, Vec<DecisionLine>> = said.iter().map(|one| (one.id.clone(), Vec::new())).collect();
    LogFiles::open(log)?.lines(|line| {
        if let Ok(Head { id }) = serde_json::from_str::<Head>(line)
            && let Some(of) = found.get_mut(&id)
            && let Ok(line) = serde_json::from_str(line)
        {
            of.push(line);
        }
        Ok(())
    })?;
    Ok(found)
}

/// The text, the field and the label that are meant.
fn resolved(said: &Said, label: &SaidLabel, lines: &[DecisionLine]) -> Result<(String, Slot, Value), String> {
    let id = &said.id;
    let Some(first) = lines.first() else {
        return Err(format!(
            "no decision has the id `{id}`; `slm log` lists them, and those of files that are gone are not known any more"
        ));
    };
    if lines.iter().any(|line| line.input.digest != first.input.digest) {
        return Err(format!(
            "the id `{id}` is that of decisions about several texts, because a client gave it to several requests"
        ));
    }
    let mut known: Vec<Slot> = Vec::new();
    for slot in lines.iter().flat_map(slots) {
        if !known.iter().any(|one| one.name == slot.name) {
            known.push(slot);
        }
    }
    let (slot, label) = match label {
        SaidLabel::Typed(name, value) => (slot(id, name.as_deref(), known)?, Expected::Json(value.clone())),
        SaidLabel::Text(text) => {
            let whole = Expected::Text(text.clone());
            let is_answer = |slot: &Slot| slot.name.is_none() && allows(slot, &whole.resolve(&slot.options));
            match text.split_once('=') {
                // A label may have the sign itself.
                Some((name, label)) if !known.iter().any(is_answer) => {
                    (slot(id, Some(name), known)?, Expected::Text(label.to_owned()))
                }
                _ => (slot(id, None, known)?, whole),
            }
        }
    };
    let label = label.resolve(&slot.options);
    // Text that a CSV or a spreadsheet made of a number, and the other way round.
    let label = match &label {
        Value::String(text) if !allows(&slot, &label) => Expected::Text(text.clone()).resolve(&slot.options),
        _ => label,
    };
    if allows(&slot, &label) {
        return Ok((first.input.digest.clone(), slot, label));
    }
    let answers: Vec<String> = slot.options.iter().map(|option| format!("`{}`", show(option))).collect();
    let field = slot.name.as_deref().map_or_else(String::new, |name| format!(" of `{name}`"));
    Err(format!("`{}` is not an answer{field} of `{id}`; its answers are {}", show(&label), answers.join(", ")))
}

fn allows(slot: &Slot, label: &Value) -> bool {
    slot.options.is_empty() || slot.options.iter().any(|option| is_same(option, label))
}

/// The field of this name; without one the only field that there is.
fn slot(id: &str, name: Option<&str>, mut known: Vec<Slot>) -> Result<Slot, String> {
    if let Some(at) = known.iter().position(|slot| slot.name.as_deref() == name) {
        return Ok(known.swap_remove(at));
    }
    let names: Vec<String> = known.iter().filter_map(|slot| Some(format!("`{}`", slot.name.as_ref()?))).collect();
    match (name, known.len()) {
        (None, 1) => Ok(known.swap_remove(0)),
        // Of a withheld answer without probabilities nobody knows the fields.
        (name, 0) => Ok(Slot {
            name: name.map(str::to_owned),
            options: Vec::new(),
            best: None,
            probability: None,
            is_withheld: true,
        }),
        (None, _) => Err(format!("the answer of `{id}` has the fields {}; write FIELD=LABEL", names.join(", "))),
        (Some(name), _) if names.is_empty() => {
            Err(format!("the answer of `{id}` is one value and has no field `{name}`; write the label alone"))
        }
        (Some(name), _) => {
            Err(format!("the answer of `{id}` has no field `{name}`; its fields are {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(id: &str) -> Said {
        Said { id: id.to_owned(), labels: Vec::new(), at: None }
    }

    fn line(fields: Value) -> DecisionLine {
        let line = json!({"time": "2026-11-30T00:00:00Z", "id": "a", "model": "m", "manifest": "", "prompt": "",
            "input": {"digest": "sha256:0", "chars": 1}, "fields": fields,
            "tokens": {"prompt": 0, "reused": 0, "branch": 0}, "ms": 0.0});
        serde_json::from_value(line).unwrap()
    }

    fn field(name: Value, options: &[Value]) -> Value {
        let p = 1.0 / options.len() as f64;
        let of: Vec<Value> = options.iter().map(|value| json!({"value": value, "probability": p})).collect();
        json!({"name": name, "value": options[0], "probability": p, "margin": 0.0, "probabilities": of, "label_mass": 1.0})
    }

    fn meant(lines: &[DecisionLine], label: &str) -> Result<(Option<String>, Value), String> {
        let found = resolved(&said("a"), &SaidLabel::Text(label.to_owned()), lines);
        found.map(|(_, slot, label)| (slot.name, label))
    }

    #[test]
    fn a_label_is_found_in_the_answers_of_its_field() {
        let bare = [line(json!([field(Value::Null, &[json!("x"), json!("a=b"), json!(2)])]))];
        assert_eq!(meant(&bare, "x"), Ok((None, json!("x"))));
        assert_eq!(meant(&bare, "a=b"), Ok((None, json!("a=b"))));
        assert_eq!(meant(&bare, "2"), Ok((None, json!(2))));
        assert_eq!(meant(&bare, "y").unwrap_err(), "`y` is not an answer of `a`; its answers are `x`, `a=b`, `2`");
        let fields =
            [line(json!([field(json!("queue"), &[json!("x"), json!("y")]), field(json!("n"), &[json!(1), json!(2)])]))];
        assert_eq!(meant(&fields, "n=2"), Ok((Some("n".to_owned()), json!(2))));
        assert_eq!(
            meant(&fields, "x").unwrap_err(),
            "the answer of `a` has the fields `queue`, `n`; write FIELD=LABEL"
        );
        assert_eq!(
            meant(&fields, "m=2").unwrap_err(),
            "the answer of `a` has no field `m`; its fields are `queue`, `n`"
        );
        assert!(meant(&[], "x").unwrap_err().starts_with("no decision has the id `a`; `slm log` lists them"));
        let mut other = fields[0].clone();
        other.input.digest = "sha256:1".to_owned();
        assert!(meant(&[fields[0].clone(), other], "n=2").unwrap_err().contains("decisions about several texts"));
    }

    #[test]
    fn a_line_of_a_file_names_fields_or_a_label() {
        let typed = |name: Option<&str>, value: Value| SaidLabel::Typed(name.map(str::to_owned), value);
        assert_eq!(row(r#"{"id": "a", "label": "x"}"#), Ok(("a".to_owned(), vec![typed(None, json!("x"))])));
        let fields = vec![typed(Some("queue"), json!("x")), typed(Some("n"), json!(2))];
        assert_eq!(
            row(r#"{"id": "a", "text": "t", "queue": "x", "n": 2, "m": null}"#),
            Ok(("a".to_owned(), fields.clone()))
        );
        assert_eq!(row(r#"{"id": "a", "label": {"queue": "x", "n": 2}}"#), Ok(("a".to_owned(), fields)));
        assert_eq!(row(r#"{"id": "a", "label": ""}"#), Ok(("a".to_owned(), Vec::new())));
        assert_eq!(row(r#"{"label": "x"}"#).unwrap_err(), "`id` is missing; give the id of a decision");
        assert!(row("[]").unwrap_err().starts_with("it is not an object of JSON"));
    }
}
