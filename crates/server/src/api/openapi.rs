//! The OpenAPI description of all paths: `/openapi.json`.

use std::sync::OnceLock;

use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::{anthropic, batches, decisions, idle_fields, ollama, openai, operations, page, tokenizer};

/// What holds for every operation.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "slm",
        description = "Small language models behind Ollama's, OpenAI's, System One's and Anthropic's APIs: answers that always \
                       fit the format, with probabilities."
    ),
    paths(decisions::decide, decisions::answer, decisions::answer_batch)
)]
struct Document;

/// Statuses that any operation may answer with, each in its dialect's shape.
const REFUSALS: [(&str, &str); 11] = [
    ("400", "the request is invalid or asks for something unsupported"),
    ("401", "a key is missing or wrong"),
    ("403", "not allowed here"),
    ("404", "there is no such model"),
    ("405", "the path does not take this method"),
    ("408", "the body did not arrive in time"),
    ("413", "the body is too large"),
    ("415", "the body is encoded, or not in UTF-8"),
    ("500", "the model's process failed"),
    ("503", "the queue is full"),
    ("504", "the request timed out"),
];

/// Serves the description.
pub async fn serve() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str())
}

/// The whole description.
#[must_use]
pub fn document() -> Value {
    let mut all = Document::openapi();
    all.merge(ollama::Document::openapi());
    all.merge(openai::Document::openapi());
    all.merge(operations::Document::openapi());
    all.merge(page::Document::openapi());
    all.merge(anthropic::Document::openapi());
    all.merge(tokenizer::Document::openapi());
    all.merge(batches::Document::openapi());
    let mut all = serde_json::to_value(&all).expect("a description is plain data");
    idle_fields::describe(&mut all["components"]["schemas"]);
    let schemas = all["components"]["schemas"].as_object_mut().into_iter().flatten();
    schemas.for_each(|(_, schema)| say_that_one_is_needed(schema));
    let operations = all["paths"].as_object_mut().into_iter().flatten();
    let operations = operations.filter_map(|(_, path)| path.as_object_mut()).flat_map(|path| path.iter_mut());
    for (_, operation) in operations {
        let Some(responses) = operation["responses"].as_object_mut() else { continue };
        for (status, why) in REFUSALS {
            let refusal =
                json!({ "description": why, "content": { "application/json": { "schema": { "type": "object" } } } });
            responses.entry(status).or_insert(refusal);
        }
    }
    all
}

/// Describes of a request that may call its model `model` or `name` that one of these must be there, and not empty.
fn say_that_one_is_needed(schema: &mut Value) {
    let is_optional = |name: &str| schema["properties"][name]["type"] == json!(["string", "null"]);
    if is_optional("model") && is_optional("name") {
        let named =
            |name: &str| json!({ "required": [name], "properties": { name: { "type": "string", "minLength": 1 } } });
        schema["anyOf"] = json!([named("model"), named("name")]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two types of one name would be one in the description, which would then be wrong for one of them.
    #[test]
    fn no_two_types_share_a_name() {
        let mut known: Vec<(String, Value)> = Vec::new();
        let ollama = ollama::Document::openapi();
        for part in [
            Document::openapi(),
            ollama,
            openai::Document::openapi(),
            anthropic::Document::openapi(),
            tokenizer::Document::openapi(),
            batches::Document::openapi(),
        ] {
            let part = serde_json::to_value(&part).unwrap();
            for (name, schema) in part["components"]["schemas"].as_object().unwrap() {
                match known.iter().find(|(known, _)| known == name) {
                    Some((_, earlier)) => assert_eq!(earlier, schema, "{name}"),
                    None => known.push((name.clone(), schema.clone())),
                }
            }
        }
        assert!(known.len() > 40, "{}", known.len());
    }
}
