//! Typed questions, one for each field of a closed contract, in OpenAI's words (`decisions`) or System One's.

use serde_json::{Map, Value, json};

use super::{Content, Dialect, FieldProbabilities, object, probabilities};
use crate::error::RemoteError;
use crate::question::Question;
use slm_values::contract::{Contract, Field, Form};

/// How a field is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// There is one answer: nothing is asked.
    Certain,
    /// The probability of true.
    YesNo,
    Choice,
}

impl Kind {
    fn of(field: &Field) -> Kind {
        let is = |value: bool| field.options.iter().any(|option| option.value == Value::Bool(value));
        match field.options.len() {
            1 => Kind::Certain,
            2 if is(true) && is(false) => Kind::YesNo,
            _ => Kind::Choice,
        }
    }
}

pub(super) fn body(dialect: Dialect, question: &Question) -> Result<Map<String, Value>, RemoteError> {
    let contract = contract(dialect, question)?;
    let asked: Vec<(String, &Field)> = asked(contract).collect();
    if asked.is_empty() {
        let why = "the schema allows one answer only".to_owned();
        return Err(RemoteError::Unaskable { dialect: dialect.as_str(), why });
    }
    if dialect == Dialect::SystemOne && !question.earlier.is_empty() {
        let why = "it has one text and nothing before it".to_owned();
        return Err(RemoteError::Unaskable { dialect: dialect.as_str(), why });
    }
    let system = question.system.as_deref().filter(|system| !system.is_empty());
    Ok(match dialect {
        Dialect::SystemOne => {
            let of = |(id, field): (String, &Field)| (id, of_system_one(system, field));
            let questions: Map<String, Value> = asked.into_iter().map(of).collect();
            object([("state", question.text.as_str().into()), ("questions", questions.into())])
        }
        Dialect::Chat | Dialect::Decisions => {
            let message = |role: &str, content: &str| json!({ "role": role, "content": content });
            let input: Vec<Value> = system.map(|system| message("system", system)).into_iter().collect();
            let earlier = question.earlier.iter().map(|earlier| message(earlier.role.as_str(), &earlier.content));
            let input: Vec<Value> = input.into_iter().chain(earlier).chain([message("user", &question.text)]).collect();
            let questions: Vec<Value> = asked.iter().map(|(id, field)| of_openai(id, field)).collect();
            object([("input", input.into()), ("questions", questions.into())])
        }
    })
}

pub(super) fn read(dialect: Dialect, host: &str, question: &Question, answer: &Value) -> Result<Content, RemoteError> {
    let contract = contract(dialect, question)?;
    let mut told = Vec::new();
    let mut values = Vec::new();
    let mut number = 0;
    for field in contract.fields() {
        if Kind::of(field) == Kind::Certain {
            values.push(field.options[0].value.clone());
            continue;
        }
        let id = id(field);
        let (place, found) = match dialect {
            Dialect::SystemOne => (format!("`answers.{id}`"), &answer["answers"][id.as_str()]),
            Dialect::Chat | Dialect::Decisions => (format!("`answers[{number}]`"), &answer["answers"][number]),
        };
        number += 1;
        let of = read_field(field, found).ok_or_else(|| dialect.missing(host, format!("readable {place}")))?;
        values.push(best(&of));
        told.push(FieldProbabilities { field: field.name(), of });
    }
    let json = contract.assemble(values);
    contract.check(&json).map_err(RemoteError::Broken)?;
    Ok(Content::Value { json, probabilities: told })
}

/// The probability of every allowed answer, in the schema's order.
fn read_field(field: &Field, answer: &Value) -> Option<Vec<(Value, f64)>> {
    if Kind::of(field) == Kind::YesNo {
        let p = [&answer["probability"], &answer["noul"]].into_iter().find_map(Value::as_f64)?;
        let of = |value: &Value| if *value == Value::Bool(true) { p } else { 1.0 - p };
        return probabilities(field.options.iter().map(|option| (option.value.clone(), of(&option.value).into())));
    }
    let told = &answer["probabilities"];
    let of = |label: &str| match told {
        Value::Array(list) => list.iter().find(|one| one["value"] == label).map(|one| one["probability"].clone()),
        told => told.get(label).cloned(),
    };
    let listed = field.options.iter().map(|option| Some((option.value.clone(), of(&option.label)?)));
    probabilities(listed.collect::<Option<Vec<_>>>()?)
}

/// The first of the most probable.
fn best(of: &[(Value, f64)]) -> Value {
    let best = of.iter().fold(&of[0], |best, one| if one.1 > best.1 { one } else { best });
    best.0.clone()
}

fn contract(dialect: Dialect, question: &Question) -> Result<&Contract, RemoteError> {
    match &question.form {
        Form::Closed(contract) => Ok(contract),
        Form::Open(_) | Form::Free => {
            let why = "its questions are of answers that can be listed, and the format is open".to_owned();
            Err(RemoteError::Unaskable { dialect: dialect.as_str(), why })
        }
    }
}

/// The fields that there is something to ask of, with their names.
fn asked(contract: &Contract) -> impl Iterator<Item = (String, &Field)> {
    contract.fields().iter().filter(|field| Kind::of(field) != Kind::Certain).map(|field| (id(field), field))
}

fn id(field: &Field) -> String {
    field.name().unwrap_or_else(|| "answer".to_owned())
}

/// What is asked of a field: its description, else its name.
fn instructions(field: &Field) -> String {
    field.description.clone().unwrap_or_else(|| id(field).replace(['_', '.'], " "))
}

fn of_openai(id: &str, field: &Field) -> Value {
    let instructions = instructions(field);
    if Kind::of(field) == Kind::YesNo {
        return json!({ "type": "predicate", "name": id, "instructions": instructions });
    }
    let choice = |option: &slm_values::contract::AllowedAnswer| {
        let mut choice = object([("value", option.label.as_str().into())]);
        choice.extend(option.description.iter().map(|words| ("description".to_owned(), words.as_str().into())));
        Value::Object(choice)
    };
    let choices: Vec<Value> = field.options.iter().map(choice).collect();
    json!({ "type": "choice", "name": id, "instructions": instructions, "choices": choices })
}

fn of_system_one(system: Option<&str>, field: &Field) -> Value {
    let own = instructions(field);
    let instructions = system.map_or_else(|| own.clone(), |system| format!("{system}\n\n{own}"));
    if Kind::of(field) == Kind::YesNo {
        return json!({ "type": "noul", "instructions": instructions });
    }
    let criteria = field.options.iter().map(|option| (option.label.clone(), json!(option.description)));
    json!({ "type": "choice", "instructions": instructions, "criteria": criteria.collect::<Map<_, _>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        let schema = json!({"type": "object", "properties": {
            "queue": {"description": "Which team?", "oneOf": [{"const": "billing", "description": "money"}, {"const": "other"}]},
            "urgency": {"type": "integer", "minimum": 1, "maximum": 3},
            "wants_refund": {"type": "boolean"}, "version": {"const": 2},
        }});
        let form = Form::from_schema(schema).unwrap();
        Question { system: Some("Be fair.".to_owned()), text: "charged twice".to_owned(), form, ..Question::default() }
    }

    #[test]
    fn every_field_is_a_question_in_both_dialects() {
        let decisions = json!({
            "input": [{"role": "system", "content": "Be fair."}, {"role": "user", "content": "charged twice"}],
            "questions": [
                {"type": "choice", "name": "queue", "instructions": "Which team?",
                    "choices": [{"value": "billing", "description": "money"}, {"value": "other"}]},
                {"type": "choice", "name": "urgency", "instructions": "urgency",
                    "choices": [{"value": "1"}, {"value": "2"}, {"value": "3"}]},
                {"type": "predicate", "name": "wants_refund", "instructions": "wants refund"},
            ],
        });
        assert_eq!(Value::Object(body(Dialect::Decisions, &question()).unwrap()), decisions);
        let system_one = Value::Object(body(Dialect::SystemOne, &question()).unwrap());
        let expected = json!({"type": "choice", "instructions": "Be fair.\n\nWhich team?",
            "criteria": {"billing": "money", "other": null}});
        assert_eq!(system_one["questions"]["queue"], expected);
        assert_eq!(system_one["questions"]["wants_refund"]["type"], "noul");
        assert_eq!(system_one["state"], "charged twice");
    }

    #[test]
    fn probabilities_become_an_answer() {
        let decisions = json!({"answers": [
            {"type": "choice", "choice": "other", "probabilities":
                [{"value": "other", "probability": 0.75}, {"value": "billing", "probability": 0.25}]},
            {"type": "choice", "probabilities": [{"value": "1", "probability": 0.1}, {"value": "2", "probability": 0.8},
                {"value": "3", "probability": 0.1}]},
            {"type": "predicate", "probability": 0.5},
        ]});
        let system_one = json!({"answers": {
            "queue": {"type": "choice", "probabilities": {"billing": 0.25, "other": 0.75}},
            "urgency": {"type": "choice", "probabilities": {"1": 0.1, "2": 0.8, "3": 0.1}},
            "wants_refund": {"type": "noul", "noul": 0.5},
        }});
        let field =
            |name: &str, of: &[(Value, f64)]| FieldProbabilities { field: Some(name.to_owned()), of: of.to_vec() };
        let expected = Content::Value {
            json: json!({"queue": "other", "urgency": 2, "wants_refund": true, "version": 2}),
            probabilities: vec![
                field("queue", &[(json!("billing"), 0.25), (json!("other"), 0.75)]),
                field("urgency", &[(json!(1), 0.1), (json!(2), 0.8), (json!(3), 0.1)]),
                field("wants_refund", &[(json!(true), 0.5), (json!(false), 0.5)]),
            ],
        };
        for (dialect, answer) in [(Dialect::Decisions, decisions), (Dialect::SystemOne, system_one)] {
            assert_eq!(read(dialect, "h", &question(), &answer), Ok(expected.clone()));
        }
    }

    #[test]
    fn what_cannot_be_asked_or_read_is_said() {
        let open = Question { form: Form::Free, ..question() };
        let said = "the dialect `decisions` cannot ask this: its questions are of answers that can be listed, and the format \
                    is open; set `dialect: chat`";
        assert_eq!(body(Dialect::Decisions, &open).unwrap_err().to_string(), said);
        for answer in [json!({}), json!({"answers": [{"probabilities": [{"value": "other", "probability": 2}]}]})] {
            let error = read(Dialect::Decisions, "h", &question(), &answer).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the answer of `h` has no readable `answers[0]`; is its dialect `decisions`?"
            );
        }
    }
}
