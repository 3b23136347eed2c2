//! OpenAI's `/v1/decisions`: an input, and a list of questions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::systemone::probability_of_true;
use super::{confidence, usage, with_evaluation_id, with_path, within_one};
use crate::api::body::Body;
use crate::api::problem::Problem;
use crate::api::service::{Answered, AnsweredQuestions, AskQuestions, Service};
use slm_infer::decide::question::{Kind, MAX_QUESTIONS};
use slm_infer::decide::{Question, QuestionError, expected_level};

/// A request to `/v1/decisions`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    pub model: String,
    pub input: Input,
    /// 1 to 400 questions.
    pub questions: Vec<DecisionQuestion>,
    /// Has no effect: the cache finds what was evaluated before by its tokens.
    #[serde(default, rename = "prompt_cache_key")]
    #[schema(value_type = Option<String>)]
    _prompt_cache_key: Value,
    /// Without effect.
    #[serde(default, rename = "prompt_cache_options")]
    #[schema(value_type = Option<Object>)]
    _prompt_cache_options: Value,
    /// Without effect.
    #[serde(default, rename = "safety_identifier")]
    #[schema(value_type = Option<String>)]
    _safety_identifier: Value,
}

/// What the questions are about: a text, or a conversation.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "`input` is a text or a list of messages, calls and their outputs")]
pub enum Input {
    Text(String),
    Items(Vec<Item>),
}

/// A message, a call or its output.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct Item {
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    content: Option<Parts>,
    name: Option<String>,
    arguments: Option<String>,
    input: Option<String>,
    output: Option<Parts>,
}

/// A text, or a list of parts.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text or a list of parts")]
pub enum Parts {
    Text(String),
    List(Vec<Part>),
}

/// A part of a content.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    InputText { text: String },
    InputJson { data: Value },
    InputImage {},
    OutputText { text: String },
    Refusal { refusal: String },
}

/// One question.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum DecisionQuestion {
    /// How likely a statement about the input is true.
    Predicate { name: Option<String>, instructions: Parts },
    /// One of 2 to 255 values.
    Choice { name: Option<String>, instructions: Parts, choices: Vec<Choice> },
    /// A level of a scale, the lowest first.
    Score { name: Option<String>, instructions: Parts, levels: Vec<Level> },
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// A text or a boolean, which are never the same.
    value: ChoiceValue,
    description: Option<String>,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a choice's value is a text or a boolean")]
pub enum ChoiceValue {
    Text(String),
    Flag(bool),
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Level {
    label: String,
    description: Option<String>,
}

/// Answers typed questions about an input, each separately
#[utoipa::path(post, path = "/v1/decisions", tag = "decisions", request_body = DecisionRequest,
    responses((status = 200, description = "An answer for each question, in their order; with an `evaluation_id` unless \
        they were asked for with `x-slm-lane: throughput`: under equal ids equal questions have equal probabilities, to the \
        last bit. `confidence` is `(p - 1/k) / (1 - 1/k)` for the best of k answers: 0 is a guess, 1 is certainty", body = Object),
        (status = 400, description = "The request is not supported", body = Object)))]
pub async fn decide(
    State(service): State<Arc<Service>>,
    Body(request): Body<DecisionRequest>,
) -> Result<Response, Problem> {
    let (names, questions) = service.read(&request.model, questions(request.questions))?;
    let (system, state) = service.read(&request.model, request.input.read())?;
    let ask = AskQuestions { model: request.model, system, state, questions: questions.clone() };
    let answered = service.ask_questions(ask).await?;
    Ok(Json(reply(&names, &questions, &answered)).into_response())
}

type Named = (Vec<Option<String>>, Vec<Arc<Question>>);

fn questions(given: Vec<DecisionQuestion>) -> Result<Named, Problem> {
    if given.is_empty() || given.len() > MAX_QUESTIONS {
        let message = format!("`questions` has {} entries: give 1 to {MAX_QUESTIONS}", given.len());
        return Err(Problem::invalid(message).of("questions"));
    }
    let one = |(number, question): (usize, DecisionQuestion)| {
        let at = format!("questions[{number}]");
        let (name, question) = question.read(&at)?;
        let question = question.map_err(|error| Problem::invalid(format!("`{at}`: {error}")).of(at))?;
        Ok((name, Arc::new(question)))
    };
    given.into_iter().enumerate().map(one).collect::<Result<Vec<_>, Problem>>().map(|list| list.into_iter().unzip())
}

impl DecisionQuestion {
    fn read(self, at: &str) -> Result<(Option<String>, Result<Question, QuestionError>), Problem> {
        let words = |parts: Parts| parts.text(&format!("{at}.instructions"));
        Ok(match self {
            DecisionQuestion::Predicate { name, instructions } => {
                (name, Ok(Question::predicate(words(instructions)?, None, None)))
            }
            DecisionQuestion::Choice { name, instructions, choices } => {
                let option = |choice: Choice| match choice.value {
                    ChoiceValue::Text(text) => (Value::from(text), choice.description),
                    ChoiceValue::Flag(flag) => (Value::from(flag), choice.description),
                };
                (name, Question::choice(words(instructions)?, choices.into_iter().map(option)))
            }
            DecisionQuestion::Score { name, instructions, levels } => {
                let level = |level: Level| (level.label, level.description);
                (name, Question::score(words(instructions)?, levels.into_iter().map(level)))
            }
        })
    }
}

impl Input {
    /// The instructions of the system, where there are some, and the rest as one text: a single message by itself, several
    /// each with who wrote it.
    fn read(self) -> Result<(Option<String>, String), Problem> {
        let items = match self {
            Input::Text(text) => return Ok((None, text)),
            Input::Items(items) => items,
        };
        let (mut system, mut rest) = (Vec::new(), Vec::new());
        for (number, item) in items.into_iter().enumerate() {
            let (who, text) = item.read(&format!("input[{number}]"))?;
            if matches!(who.as_str(), "system" | "developer") { system.push(text) } else { rest.push((who, text)) }
        }
        let state = match rest.as_slice() {
            [(_, only)] => only.clone(),
            several => several.iter().map(|(who, text)| format!("{who}: {text}")).collect::<Vec<_>>().join("\n\n"),
        };
        Ok((Some(system.join("\n\n")).filter(|system| !system.is_empty()), state))
    }
}

impl Item {
    /// Who wrote it, and what.
    fn read(self, at: &str) -> Result<(String, String), Problem> {
        let kind = self.kind.as_deref().unwrap_or("message");
        let missing = |field: &str| Problem::invalid(format!("`{at}.{field}` is missing")).of(format!("{at}.{field}"));
        match kind {
            "message" => {
                let role = self.role.ok_or_else(|| missing("role"))?;
                if !["user", "assistant", "system", "developer"].contains(&role.as_str()) {
                    let known = "user, assistant, system or developer";
                    return Err(Problem::invalid(format!("`{at}.role` cannot be `{role}`: it is {known}")).of(at));
                }
                let text = self.content.ok_or_else(|| missing("content"))?.text(&format!("{at}.content"))?;
                Ok((role, text))
            }
            "function_call" | "custom_tool_call" => {
                let name = self.name.ok_or_else(|| missing("name"))?;
                let given = self.arguments.or(self.input).ok_or_else(|| missing("arguments"))?;
                Ok(("assistant".to_owned(), format!("{name} {given}")))
            }
            "function_call_output" | "custom_tool_call_output" => {
                let text = self.output.ok_or_else(|| missing("output"))?.text(&format!("{at}.output"))?;
                Ok(("tool".to_owned(), text))
            }
            other => Err(Problem::invalid(format!("`{at}.type` `{other}` is not supported: input is text")).of(at)),
        }
    }
}

impl Parts {
    fn text(self, at: &str) -> Result<String, Problem> {
        let parts = match self {
            Parts::Text(text) => return Ok(text),
            Parts::List(parts) => parts,
        };
        let part = |part: Part| match part {
            Part::InputText { text } | Part::OutputText { text } | Part::Refusal { refusal: text } => Ok(text),
            Part::InputJson { data } => Ok(data.to_string()),
            Part::InputImage {} => {
                Err(Problem::invalid(format!("`{at}`: `input_image` is not supported: input is text")).of(at))
            }
        };
        Ok(parts.into_iter().map(part).collect::<Result<Vec<_>, _>>()?.join("\n"))
    }
}

fn reply(names: &[Option<String>], questions: &[Arc<Question>], answered: &AnsweredQuestions) -> Map<String, Value> {
    let one = |((name, question), answered): ((&Option<String>, &Arc<Question>), &Answered)| {
        let answer = &answered.answer;
        let confidence = confidence(answer);
        let told = match question.kind() {
            Kind::Predicate => {
                json!({ "type": "predicate", "name": name, "probability": probability_of_true(answer) })
            }
            Kind::Choice => {
                let p = |(value, p): &(Value, f64)| json!({ "value": value, "probability": within_one(*p) });
                json!({ "type": "choice", "name": name, "choice": answer.value, "confidence": confidence,
                    "probabilities": answer.probabilities.iter().map(p).collect::<Vec<_>>() })
            }
            Kind::Score => {
                let p = |((value, p), label): (&(Value, f64), &str)| json!({ "value": value, "label": label, "probability": within_one(*p) });
                json!({ "type": "score", "name": name, "score": expected_level(answer), "confidence": confidence,
                    "probabilities": answer.probabilities.iter().zip(question.legend()).map(p).collect::<Vec<_>>() })
            }
        };
        with_path(told, answered)
    };
    let answers = names.iter().zip(questions).zip(&answered.answers).map(one);
    let (input, cached) = usage(answered);
    let usage = json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": cached, "cache_write_tokens": 0 },
        "output_tokens": 0,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input,
    });
    let answers = answers.collect::<Vec<_>>().into();
    let reply = [("model", answered.model.to_string().into()), ("answers", answers), ("usage", usage)];
    with_evaluation_id(reply, Some(answered))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: Value) -> Result<(Option<String>, String), String> {
        serde_json::from_value::<Input>(input).unwrap().read().map_err(|problem| problem.message)
    }

    #[test]
    fn a_conversation_is_a_state_and_its_instructions() {
        assert_eq!(read(json!("text")), Ok((None, "text".to_owned())));
        let parts = json!([{"type": "input_text", "text": "a"}, {"type": "input_json", "data": {"b": 1}}]);
        assert_eq!(read(json!([{"role": "user", "content": parts}])), Ok((None, "a\n{\"b\":1}".to_owned())));
        let chat = json!([
            {"role": "developer", "content": "be brief"},
            {"type": "message", "role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "3"},
        ]);
        let state = "user: hi\n\nassistant: f {}\n\ntool: 3".to_owned();
        assert_eq!(read(chat), Ok((Some("be brief".to_owned()), state)));
    }

    #[test]
    fn images_and_unknown_items_are_named() {
        let image = json!([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]);
        assert!(read(image).unwrap_err().starts_with("`input[0].content`: `input_image` is not supported"));
        assert!(read(json!([{"role": "boss", "content": ""}])).unwrap_err().contains("`boss`"));
        assert!(read(json!([{"type": "reasoning"}])).unwrap_err().contains("`input[0].type` `reasoning`"));
    }

    #[test]
    fn typed_choices_stay_apart() {
        let given = json!([{"type": "choice", "instructions": "?", "choices": [{"value": true}, {"value": "true"}]}]);
        let (_, questions) = questions(serde_json::from_value(given).unwrap()).unwrap();
        assert_eq!(questions[0].group("").candidates, ["true", "\"true\""]);
    }
}
