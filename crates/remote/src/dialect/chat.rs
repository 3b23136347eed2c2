//! OpenAI's chat completions: the schema goes as `response_format`, an answer that is not an object in one with a field for it.

use serde_json::{Map, Value, json};

use super::{Content, Dialect, FieldProbabilities, object, probabilities};
use crate::error::RemoteError;
use crate::question::Question;
use slm_values::contract::{Form, Violation};

/// The field of an answer that is not an object by itself: hosted models take no other schemas.
const FIELD: &str = "answer";
/// The keywords under which a schema keeps those that it refers to from its root.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

pub(super) fn body(question: &Question) -> Map<String, Value> {
    let message = |role: &str, content: &String| json!({ "role": role, "content": content });
    let system = question.system.iter().map(|system| message("system", system));
    let earlier = question.earlier.iter().map(|earlier| message(earlier.role.as_str(), &earlier.content));
    let messages: Vec<Value> = system.chain(earlier).chain([message("user", &question.text)]).collect();
    let mut body = object([("messages", messages.into())]);
    body.extend(sampling(question));
    if let Some(schema) = question.form.schema() {
        let schema = if is_object(schema) { schema.clone() } else { wrapped(schema) };
        let format = json!({ "name": "answer", "strict": is_strict(&schema), "schema": schema });
        body.insert("response_format".to_owned(), json!({ "type": "json_schema", "json_schema": format }));
    }
    body
}

/// What was said of sampling, under OpenAI's names.
fn sampling(question: &Question) -> impl Iterator<Item = (String, Value)> {
    let said = &question.parameters;
    let number = |value: f32| Value::from((f64::from(value) * 1e6).round() / 1e6);
    let fields = [
        ("temperature", Some(said.temperature.map_or(0.into(), number))),
        ("top_p", said.top_p.map(number)),
        ("seed", said.seed.map(Value::from)),
        ("stop", said.stop.clone().filter(|stop| !stop.is_empty()).map(Value::from)),
        ("max_tokens", said.num_predict.filter(|n| *n > 0).map(Value::from)),
        ("presence_penalty", said.presence_penalty.map(number)),
        ("frequency_penalty", said.frequency_penalty.map(number)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)))
}

pub(super) fn read(host: &str, question: &Question, answer: &Value) -> Result<Content, RemoteError> {
    let choice = &answer["choices"][0];
    let message = &choice["message"];
    if !message.is_object() {
        return Err(Dialect::Chat.missing(host, "`choices[0].message`"));
    }
    if let Some(refusal) = message["refusal"].as_str() {
        return Err(RemoteError::Declined(refusal.chars().take(300).collect()));
    }
    match choice["finish_reason"].as_str() {
        Some("content_filter") => return Err(RemoteError::Declined("its filter took the answer".to_owned())),
        Some("length") if !matches!(question.form, Form::Free) => return Err(RemoteError::Unfinished),
        _ => {}
    }
    let is_cut = choice["finish_reason"] == "length";
    let Some(text) = message["content"].as_str() else {
        return Err(Dialect::Chat.missing(host, "`choices[0].message.content`"));
    };
    let broken = |error: serde_json::Error| RemoteError::Broken(Violation::NotJson(error.to_string()));
    let unwrapped = || -> Result<Value, RemoteError> {
        let mut value: Value = serde_json::from_str(text).map_err(broken)?;
        let is_wrapped = question.form.schema().is_some_and(|schema| !is_object(schema));
        let inner = value.get_mut(FIELD).filter(|_| is_wrapped).map(Value::take);
        Ok(inner.unwrap_or(value))
    };
    let json = match &question.form {
        Form::Free if is_cut => return Ok(Content::Cut(text.to_owned())),
        Form::Free => return Ok(Content::Text(text.to_owned())),
        Form::Closed(contract) => {
            let json = unwrapped()?;
            contract.check(&json).map_err(RemoteError::Broken)?;
            json
        }
        Form::Open(open) if open.schema().is_some() => {
            open.check(&unwrapped()?.to_string()).map_err(RemoteError::Broken)?
        }
        Form::Open(open) => open.check(text).map_err(RemoteError::Broken)?,
    };
    Ok(Content::Value { json, probabilities: told(question, &choice["slm"]["fields"]) })
}

/// The probabilities that `slm serve` gives beside a closed answer. Those of single tokens, which other servers give, are not
/// probabilities of answers.
fn told(question: &Question, fields: &Value) -> Vec<FieldProbabilities> {
    let is_wrapped = question.form.schema().is_some_and(|schema| !is_object(schema));
    let field = |field: &Value| {
        let name = field["name"].as_str().filter(|name| !(is_wrapped && *name == FIELD));
        let listed = field["probabilities"].as_array()?.iter();
        let of = probabilities(listed.map(|one| (one["value"].clone(), one["probability"].clone())))?;
        Some(FieldProbabilities { field: name.map(str::to_owned), of })
    };
    fields.as_array().into_iter().flatten().filter_map(field).collect()
}

fn is_object(schema: &Value) -> bool {
    schema["type"] == "object" || schema["properties"].is_object()
}

/// The schema of an object whose one field has this schema; what that refers to from its root stays at the root.
fn wrapped(schema: &Value) -> Value {
    let mut inner = schema.clone();
    let mut outer = json!({ "type": "object", "required": [FIELD], "additionalProperties": false });
    for name in DEFINITIONS {
        if let Some(definitions) = inner.as_object_mut().and_then(|inner| inner.remove(name)) {
            outer[name] = definitions;
        }
    }
    outer["properties"] = json!({ FIELD: inner });
    outer
}

/// Whether a schema is one that OpenAI's strict mode takes: every object names all of its fields and has no others.
fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            let is_closed = map.get("properties").and_then(Value::as_object).is_none_or(|properties| {
                let required = map.get("required").and_then(Value::as_array);
                let names = |name: &String| required.is_some_and(|list| list.iter().any(|one| one == name.as_str()));
                map.get("additionalProperties") == Some(&Value::Bool(false)) && properties.keys().all(names)
            });
            is_closed && map.values().all(is_strict)
        }
        Value::Array(list) => list.iter().all(is_strict),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slm_values::chat::{Message, Role};
    use slm_values::sampling::Parameters;

    fn question(schema: Option<Value>) -> Question {
        let form = schema.map_or(Form::Free, |schema| Form::from_schema(schema).unwrap());
        Question { system: Some("be brief".to_owned()), text: "hi".to_owned(), form, ..Question::default() }
    }

    fn answer(content: impl Into<Value>) -> Value {
        json!({ "choices": [{ "message": { "content": content.into() }, "finish_reason": "stop" }] })
    }

    fn refused(schema: Option<Value>, answer: Value) -> RemoteError {
        read("h", &question(schema), &answer).unwrap_err()
    }

    #[test]
    fn free_text_is_asked_for_without_a_format() {
        let body = Value::Object(body(&question(None)));
        let messages = json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]);
        assert_eq!(body, json!({ "messages": messages, "temperature": 0 }));
        assert_eq!(read("h", &question(None), &answer("hello")), Ok(Content::Text("hello".to_owned())));
    }

    #[test]
    fn what_was_said_before_and_of_sampling_goes_along() {
        let mut parameters = Parameters::default();
        for (name, value) in
            [("temperature", "0.7"), ("seed", "7"), ("stop", "END"), ("num_predict", "5"), ("top_k", "3")]
        {
            parameters.set(name, value).unwrap();
        }
        let earlier = vec![Message::new(Role::User, "a"), Message::new(Role::Assistant, "b")];
        let body = Value::Object(body(&Question { earlier, parameters, ..question(None) }));
        let said = |n: usize| (body["messages"][n]["role"].clone(), body["messages"][n]["content"].clone());
        assert_eq!((said(1), said(2)), (("user".into(), "a".into()), ("assistant".into(), "b".into())));
        let sampling = json!([body["temperature"], body["seed"], body["stop"], body["max_tokens"], body["top_k"]]);
        assert_eq!(sampling, json!([0.7, 7, ["END"], 5, null]));
    }

    #[test]
    fn a_bare_answer_goes_in_an_object_and_comes_out_of_it() {
        let schema = json!({"$ref": "#/$defs/q", "$defs": {"q": {"enum": ["a", "b"]}}});
        let body = Value::Object(body(&question(Some(schema.clone()))));
        let format = &body["response_format"]["json_schema"];
        let expected = json!({"type": "object", "required": ["answer"], "additionalProperties": false,
            "$defs": {"q": {"enum": ["a", "b"]}}, "properties": {"answer": {"$ref": "#/$defs/q"}}});
        assert_eq!((&format["schema"], &format["strict"]), (&expected, &json!(true)));
        let mut reply = answer(r#"{"answer": "b"}"#);
        reply["choices"][0]["slm"] = json!({"fields": [{"name": "answer", "probabilities":
            [{"value": "a", "probability": 0.25}, {"value": "b", "probability": 0.75}]}]});
        let of = vec![(json!("a"), 0.25), (json!("b"), 0.75)];
        let probabilities = vec![FieldProbabilities { field: None, of }];
        let expected = Content::Value { json: json!("b"), probabilities };
        assert_eq!(read("h", &question(Some(schema.clone())), &reply), Ok(expected));
        assert!(matches!(refused(Some(schema.clone()), answer(r#"{"answer": "c"}"#)), RemoteError::Broken(_)));
        assert!(matches!(refused(Some(schema), answer("b")), RemoteError::Broken(Violation::NotJson(_))));
    }

    #[test]
    fn objects_are_asked_for_as_they_are() {
        let open = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
        let body = body(&question(Some(open.clone())));
        assert_eq!(body["response_format"]["json_schema"]["strict"], false);
        let read = read("h", &question(Some(open.clone())), &answer(r#"{"name": "x"}"#)).unwrap();
        assert_eq!(read, Content::Value { json: json!({"name": "x"}), probabilities: Vec::new() });
        assert!(matches!(refused(Some(open), answer("{}")), RemoteError::Broken(_)));
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let with = |finish_reason: &str, message: Value| json!({ "choices": [{ "message": message, "finish_reason": finish_reason }] });
        let json = json!({"type": "object"});
        assert_eq!(refused(Some(json), with("length", json!({"content": "a"}))), RemoteError::Unfinished);
        // What has no form is as good as it is.
        let cut = read("h", &question(None), &with("length", json!({"content": "a"})));
        assert_eq!(cut, Ok(Content::Cut("a".to_owned())));
        let declined = refused(None, with("stop", json!({"content": null, "refusal": "no"})));
        assert_eq!(declined.to_string(), "the model refused to answer: no");
        assert!(matches!(refused(None, with("content_filter", json!({"content": ""}))), RemoteError::Declined(_)));
        let shape = refused(None, json!({"choices": []}));
        assert_eq!(shape.to_string(), "the answer of `h` has no `choices[0].message`; is its dialect `chat`?");
        assert!(matches!(refused(None, with("stop", json!({"content": null}))), RemoteError::WrongShape { .. }));
    }
}
