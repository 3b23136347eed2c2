//! An answer as people read it, as a pipe takes it, and as JSON.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Run, embedding, limited};
use crate::cascade::Step;
use crate::contract::Form;
use crate::decide::{Answer, FieldAnswer};
use crate::engine::{Counts, Finish, Timings};
use crate::extract::{self, Certainty, Field};
use crate::failure;
use crate::infer::{End, Finding, Finished, Limited};
use crate::ui::look::{Bars, Look};
use crate::ui::table::bar;

/// Characters of a probability's bar.
const BAR: usize = 20;

/// One line a field: name, answer, probability and a bar.
pub fn for_people(answer: &Answer, look: Look) -> String {
    let rows: Vec<(String, String, f64)> = answer
        .fields
        .iter()
        .map(|field| (field.name.clone().unwrap_or_default(), shown(field), field.probability()))
        .collect();
    let width =
        |of: fn(&(String, String, f64)) -> &String| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (names, answers) = (width(|row| &row.0), width(|row| &row.1));
    let gap = if names > 0 { "  " } else { "" };
    let line =
        |(name, answer, p): &(String, String, f64)| format!("{name:names$}{gap}{answer:answers$}{}", share(*p, look));
    rows.iter().map(line).collect()
}

/// A field's answer on one line; of one that is withheld the best guess, marked.
pub fn shown(field: &FieldAnswer) -> String {
    let label = label(&field.value).replace('\n', "␊");
    if field.given().is_some() { label } else { format!("? {label}") }
}

/// A probability at the end of a line, with its bar where the terminal can show one.
pub fn share(probability: f64, look: Look) -> String {
    let line = match look.bars {
        Bars::Blocks => format!("  {:>5.1} %  {}", probability * 100.0, bar(probability, BAR)),
        Bars::Numbers => format!("  {:>5.1} %", probability * 100.0),
    };
    format!("{}\n", line.trim_end())
}

/// An answer without anything around it: the bare label or what is written where it is withheld, the object as one line of JSON,
/// the vector, or the text.
pub fn bare(finished: &Finished, abstained: &str) -> String {
    match &finished.end.finding {
        Finding::Closed(Answer { fields, json }) => match fields.as_slice() {
            [field @ FieldAnswer { name: None, .. }] => field.given().map_or_else(|| abstained.to_owned(), label),
            _ => json.to_string(),
        },
        Finding::Vectors(embeddings) => embedding::value(embeddings).to_string(),
        Finding::Free | Finding::Open(_) => finished.text.clone(),
    }
}

/// An answer as its contract reads it: JSON parsed, other text as it is.
pub fn value(finished: &Finished) -> Value {
    match &finished.end.finding {
        Finding::Closed(answer) => answer.json.clone(),
        Finding::Vectors(embeddings) => embedding::value(embeddings),
        Finding::Open(Ok(value)) => value.clone(),
        Finding::Open(Err(_)) | Finding::Free => finished.text.as_str().into(),
    }
}

/// Everything that is known about an answer.
pub fn details(run: &Run<'_>, limited: &Limited, n_tokens_cut: usize) -> Value {
    let Limited { finished, .. } = limited;
    let end = &*finished.end;
    let mut object = Map::from_iter([("model".to_owned(), Value::from(run.model_name.clone()))]);
    match &end.finding {
        Finding::Closed(answer) => object.extend(closed(answer)),
        Finding::Vectors(embeddings) => {
            let name = run.embeds.map_or("embedding", embedding::name);
            object.insert(name.to_owned(), embedding::value(embeddings));
        }
        Finding::Free | Finding::Open(_) => object.extend(written(limited)),
    }
    object.insert("tokens".to_owned(), tokens(&end.counts, n_tokens_cut));
    object.insert("timings".to_owned(), timings(&end.timings, end.elapsed, run));
    object.extend((!end.path.is_empty()).then(|| ("path".to_owned(), path(&end.path))));
    object.extend(end.review.clone().map(|why| ("review".to_owned(), why.into())));
    object.extend(end.cost.map(|cost| ("cost".to_owned(), cost.into())));
    object.extend(end.evaluation_id.clone().map(|id| ("evaluation_id".to_owned(), id.into())));
    match &end.finding {
        Finding::Closed(_) => {
            object.insert("prompt_digest".to_owned(), end.prompt_digest.clone().into());
        }
        Finding::Vectors(_) => {}
        Finding::Free | Finding::Open(_) => {
            object.extend((!run.limits.is_empty()).then(|| ("contract".to_owned(), limited::contract(limited))));
        }
    }
    Value::Object(object)
}

/// Through which tiers of a cascade a text went, and why each but the last did not have the last word.
fn path(steps: &[Step]) -> Value {
    let step = |step: &Step| {
        let mut object = Map::from_iter([
            ("tier".to_owned(), Value::from(step.tier.as_str())),
            ("outcome".to_owned(), step.outcome.as_str().into()),
        ]);
        if let Some(reason) = step.outcome.reason() {
            object.insert("reason".to_owned(), reason.as_str().into());
            object.insert("why".to_owned(), reason.to_string().into());
        }
        object.extend(step.answer.clone().map(|answer| ("answer".to_owned(), answer)));
        object.insert("ms".to_owned(), ms(step.elapsed).into());
        object.extend(step.cost.map(|cost| ("cost".to_owned(), cost.into())));
        object
    };
    steps.iter().map(step).map(Value::Object).collect()
}

/// What is known of the answer of a closed form.
pub fn closed(answer: &Answer) -> Map<String, Value> {
    match answer.fields.as_slice() {
        [field @ FieldAnswer { name: None, .. }] => field_json(field),
        fields => {
            let fields = fields.iter().map(|field| (field.name.clone().unwrap_or_default(), field_json(field).into()));
            let fields = Value::Object(fields.collect());
            Map::from_iter([("value".to_owned(), answer.json.clone()), ("fields".to_owned(), fields)])
        }
    }
}

/// A generated answer, with what is known of its fields where it was written under a schema. One that is withheld is under
/// `rejected`, so that nobody takes it for an answer.
fn written(limited: &Limited) -> Map<String, Value> {
    let Finished { text, thinking, end, .. } = &limited.finished;
    let is_withheld = limited::refusal(limited).is_some();
    let mut object = Map::new();
    let mut insert = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    if is_withheld {
        insert("response", Value::Null);
        insert("value", Value::Null);
        insert("rejected", text.as_str().into());
    } else {
        insert("response", text.as_str().into());
    }
    if !thinking.is_empty() {
        insert("thinking", thinking.as_str().into());
    }
    match &end.finding {
        Finding::Open(Ok(value)) if !is_withheld => {
            insert("value", value.clone());
            if let Some(fields) = &end.fields {
                insert("fields", extracted(fields));
            }
        }
        Finding::Open(Err(violation)) => insert("violation", failure::violation(violation).into()),
        Finding::Open(Ok(_)) | Finding::Free | Finding::Closed(_) | Finding::Vectors(_) => {}
    }
    insert("done_reason", done_reason(end.finish).into());
    object
}

/// Why a model wrote no more.
pub fn done_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

/// As the server tells it: labels are not always texts, so that their probabilities are a list.
fn field_json(field: &FieldAnswer) -> Map<String, Value> {
    let probability = |(value, p): (&Value, f64)| json!({"value": value, "probability": p});
    let probabilities = field.probabilities.iter().map(|(value, p)| probability((value, *p))).collect();
    let mut object = Map::from_iter([
        ("value".to_owned(), field.given().cloned().unwrap_or_default()),
        ("probability".to_owned(), field.probability().into()),
        ("margin".to_owned(), field.margin().into()),
        ("probabilities".to_owned(), probabilities),
        ("label_mass".to_owned(), field.label_mass.into()),
    ]);
    if let Some(reason) = field.abstention() {
        object.insert("guess".to_owned(), field.value.clone());
        object.insert("abstained".to_owned(), reason.to_string().into());
    }
    let Some(fitted) = &field.fitted else { return object };
    let values = field.probabilities.iter().map(|(value, _)| value);
    let raw = values.zip(&fitted.raw).map(|(value, p)| probability((value, *p))).collect();
    if !fitted.raw.is_empty() {
        object.insert("raw".to_owned(), raw);
    }
    let fit = json!({"digest": *fitted.fit, "method": fitted.method_name(), "threshold": fitted.threshold});
    object.insert("fit".to_owned(), fit);
    object
}

/// What is known of the fields of a written answer.
fn extracted(fields: &[Field]) -> Value {
    let fields = fields.iter().map(|field| (field.name.clone().unwrap_or_default(), extracted_field(field)));
    Value::Object(fields.collect())
}

fn extracted_field(field: &Field) -> Value {
    let mut object = Map::from_iter([("value".to_owned(), field.value.clone())]);
    match &field.certainty {
        Certainty::Written { tokens, found } => {
            let tokens =
                tokens.map(|tokens| json!({"mean": tokens.mean, "min": tokens.min, "tokens": tokens.n_tokens}));
            object.insert("token_probability".to_owned(), tokens.into());
            let found = found.as_ref().map(|found| {
                json!({
                    "bytes": [found.bytes.start, found.bytes.end],
                    "chars": [found.chars.start, found.chars.end],
                    "match": found.likeness.as_str(),
                })
            });
            object.insert("span".to_owned(), found.into());
        }
        Certainty::Chosen { answer: Some(answer), .. } => {
            // What was written is the answer, also where another one is more probable as a whole.
            object.extend(field_json(&FieldAnswer { value: field.value.clone(), ..answer.clone() }));
        }
        Certainty::Chosen { answer: None, .. } | Certainty::Plain => {}
    }
    Value::Object(object)
}

/// Token counts: `evaluated` is what this request cost, `reused` what an earlier one had left.
fn tokens(counts: &Counts, n_tokens_cut: usize) -> Value {
    json!({
        "prompt": counts.prompt,
        "reused": counts.reused,
        "evaluated": counts.prompt - counts.reused,
        "branch": counts.branch,
        "generated": counts.generated,
        "forced": counts.forced,
        "drafted": counts.drafted,
        "accepted": counts.accepted,
        "truncated": n_tokens_cut,
    })
}

/// Times in milliseconds; `load` is the model's, once for all rows, and `generation` a scored answer's candidates'.
fn timings(timings: &Timings, elapsed: Duration, run: &Run<'_>) -> Value {
    let Ok(session) = run.responder.session() else { return json!({ "total_ms": ms(elapsed) }) };
    json!({
        "load_ms": ms(session.engine().info().load_duration),
        "queued_ms": ms(timings.queued),
        "prompt_ms": ms(timings.prompt),
        "generation_ms": ms(timings.generation),
        "total_ms": ms(elapsed),
    })
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Token counts and rates for --verbose.
pub fn figures(end: &End) -> String {
    let End { counts, timings, .. } = end;
    if *timings == Timings::default() {
        return elsewhere(end);
    }
    let rate = |n: usize, time: Duration| n as f64 / time.as_secs_f64().max(1e-9);
    let evaluated = counts.prompt - counts.reused + counts.branch;
    let evaluation = if counts.generated > 0 { timings.prompt } else { timings.prompt + timings.generation };
    let mut text = format!(
        "prompt         {} tokens, {} of them reused\nevaluated      {evaluated} tokens ({} of candidates) in {:.1} ms, {:.0} tokens/s\n",
        counts.prompt,
        counts.reused,
        counts.branch,
        evaluation.as_secs_f64() * 1e3,
        rate(evaluated, evaluation),
    );
    if counts.generated > 0 {
        let (ms, rate) = (timings.generation.as_secs_f64() * 1e3, rate(counts.generated, timings.generation));
        text += &format!("generated      {} tokens in {ms:.1} ms, {rate:.1} tokens/s\n", counts.generated);
        if counts.forced + counts.drafted > 0 {
            text += &format!(
                "of these       {} written by the grammar; {} of {} drafted ones were right\n",
                counts.forced, counts.accepted, counts.drafted
            );
        }
    }
    text
}

/// The same of an answer that was not computed here alone, of which there are no times but the whole.
fn elsewhere(end: &End) -> String {
    let step = |step: &Step| {
        let why = step.outcome.reason().map_or_else(String::new, |reason| format!(": {reason}"));
        format!("{:<15}{}{why} ({:.1} ms)\n", step.tier, step.outcome.as_str(), ms(step.elapsed))
    };
    let path: String = end.path.iter().map(step).collect();
    let cost = end.cost.map_or_else(String::new, |cost| format!("cost           {cost}\n"));
    let Counts { prompt, generated, .. } = end.counts;
    format!(
        "{path}tokens         {prompt} in prompts, {generated} written\nanswered in    {:.1} ms\n{cost}",
        ms(end.elapsed)
    )
}

/// A value as bare text: a string without its quotes.
pub fn label(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Why an answer is left to a person.
pub fn withheld(field: &FieldAnswer) -> Option<String> {
    let name = field.name.as_ref().map_or_else(|| "the answer".to_owned(), |name| format!("`{name}`"));
    let guess = shortened(&label(&field.value));
    field.abstention().map(|reason| format!("{name} is left to a person: {reason}; the best guess is `{guess}`"))
}

/// A label mass below this says that the model would have answered something else.
pub const LITTLE_MASS: f64 = 0.01;

/// What is to be said of an answer that means little.
pub fn doubt(field: &FieldAnswer) -> Option<String> {
    let name = field.name.as_ref().map(|name| format!("`{name}`: ")).unwrap_or_default();
    let mass = field.label_mass?;
    let percent = mass * 100.0;
    (mass < LITTLE_MASS).then(|| {
        format!("{name}this model wanted to say something else: all allowed answers together have {percent:.2} % of its probability")
    })
}

/// Values of one answer that are named where they are not in its text.
const MAX_NAMED: usize = 5;
/// Characters of a value that are shown there.
const MAX_VALUE: usize = 40;

/// What is to be said of the values in an answer's JSON that do not stand in the text: the same that have `"span": null` in
/// `--json`. Nothing where the form is no schema, or all of them do.
pub fn not_in_text(form: &Form, answer: &str, text: &str) -> Option<String> {
    let Form::Open(open) = form else { return None };
    let fields = extract::read(open.schema()?, answer, &[], text)?.alone();
    let is_missing = |field: &&Field| {
        matches!(field.certainty, Certainty::Written { found: None, .. }) && !label(&field.value).trim().is_empty()
    };
    let missing: Vec<&Field> = fields.iter().filter(is_missing).collect();
    let named = |field: &&Field| {
        let value = shortened(&label(&field.value));
        field.name.as_ref().map_or_else(|| format!("`{value}`"), |name| format!("`{name}` (`{value}`)"))
    };
    let names: Vec<String> = missing.iter().take(MAX_NAMED).map(named).collect();
    let more = match missing.len().checked_sub(MAX_NAMED) {
        None | Some(0) => String::new(),
        Some(n) => format!(" and {n} more"),
    };
    let names = names.join(", ");
    (!missing.is_empty())
        .then(|| format!("not in the text: {names}{more}; the model wrote this in its own words or made it up"))
}

/// One line of a value, cut where it is long.
fn shortened(value: &str) -> String {
    let line = value.replace('\n', "␊");
    match line.char_indices().nth(MAX_VALUE) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(schema: &Value, answer: &str) -> Option<String> {
        let form = Form::from_schema(schema.clone()).expect("a schema of ours");
        not_in_text(&form, answer, "Jane  DOE ordered 3 chairs, order 1182")
    }

    #[test]
    fn values_that_are_not_in_the_text_are_named() {
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"},
            "city": {"type": "string"}, "notes": {"type": "array", "items": {"type": "string"}}}});
        let rest = "the model wrote this in its own words or made it up";
        assert_eq!(said(&schema, r#"{"name": "jane doe", "n": 3, "city": "", "notes": []}"#), None);
        assert_eq!(
            said(&schema, r#"{"name": "Jane Doe", "n": 4, "city": "Berlin\nMitte", "notes": []}"#),
            Some(format!("not in the text: `n` (`4`), `city` (`Berlin␊Mitte`); {rest}"))
        );
        let long = "x".repeat(50);
        let notes = format!(r#"{{"notes": ["{long}", "b1", "c1", "d1", "e1", "f1", "g1"]}}"#);
        let cut = "x".repeat(40);
        assert_eq!(
            said(&schema, &notes),
            Some(format!(
                "not in the text: `notes.0` (`{cut}…`), `notes.1` (`b1`), `notes.2` (`c1`), `notes.3` (`d1`), `notes.4` (`e1`) \
                 and 2 more; {rest}"
            ))
        );
        assert_eq!(said(&json!({"type": "string"}), r#""chair""#), None);
        assert_eq!(said(&json!({"type": "string"}), r#""table""#), Some(format!("not in the text: `table`; {rest}")));
        assert_eq!(not_in_text(&Form::Free, "table", "chair"), None);
    }
}
