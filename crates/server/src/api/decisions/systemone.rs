//! System One's `/v1/systemone`: a state, and questions by their ids; `/v1/systemone/batches`: many states, the same questions of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{confidence, usage, with_evaluation_id, with_path, within_one};
use crate::api::body::{self, Body};
use crate::api::dialect::Dialect;
use crate::api::problem::{self, Problem};
use crate::api::service::{Answered, AnsweredQuestions, AskQuestions, Service};
use slm_infer::decide::question::{Kind, MAX_QUESTIONS};
use slm_infer::decide::{Question, QuestionError, expected_level};

/// A request to `/v1/systemone`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemOneRequest {
    /// The model that answers; by default the server's default model.
    pub model: Option<String>,
    /// What the questions are about: a text, or JSON.
    pub state: Value,
    /// 1 to 400 questions by their ids.
    #[schema(value_type = std::collections::HashMap<String, SystemOneQuestion>)]
    pub questions: Map<String, Value>,
}

/// One question.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum SystemOneQuestion {
    /// One of 2 to 255 options.
    Choice {
        instructions: Value,
        /// Each option with its description, or null.
        criteria: Map<String, Value>,
    },
    /// A level of a scale.
    Score {
        instructions: Value,
        /// 2 to 10 levels, the lowest first.
        criteria: Vec<Value>,
    },
    /// Yes or no.
    Noul {
        instructions: Value,
        /// What yes and no mean: an object with `true` and `false`, or a text.
        #[serde(default)]
        criteria: Value,
    },
}

/// The most levels of a score in this dialect.
const MAX_LEVELS: usize = 10;

/// Answers questions about a state, each separately
#[utoipa::path(post, path = "/v1/systemone", tag = "decisions", request_body = SystemOneRequest,
    responses((status = 200, description = "An answer for each question; with an `evaluation_id` unless \
        they were asked for with `x-slm-lane: throughput`: under equal ids equal questions have equal probabilities, to the \
        last bit. `confidence` is `(p - 1/k) / (1 - 1/k)` for the best of k answers: 0 is a guess, 1 is certainty", body = Object),
        (status = 400, description = "The request is not supported", body = Object)))]
pub async fn answer(
    State(service): State<Arc<Service>>,
    Body(request): Body<SystemOneRequest>,
) -> Result<Response, Problem> {
    let ids: Vec<String> = request.questions.keys().cloned().collect();
    let model = service.model_or_default(request.model.as_deref())?;
    let questions = service.read(&model, questions(request.questions))?;
    let ask = AskQuestions { model, system: None, state: text(&request.state), questions: questions.clone() };
    let answered = service.ask_questions(ask).await?;
    Ok(Json(reply(&ids, &questions, &answered)).into_response())
}

/// A request to `/v1/systemone/batches`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemOneBatchRequest {
    /// The model that answers; by default the server's default model.
    pub model: Option<String>,
    /// The states, each with an id of its own. States times questions are at most 1024.
    pub states: Vec<SystemOneState>,
    /// The questions about each of them, by their ids.
    #[schema(value_type = std::collections::HashMap<String, SystemOneQuestion>)]
    pub questions: Map<String, Value>,
}

/// A state of several.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemOneState {
    /// What its result is found by.
    #[schema(min_length = 1)]
    pub id: String,
    /// What the questions are about: a text, or JSON.
    pub state: Value,
}

/// Answers in one request.
const MAX_ANSWERS: usize = 1024;
/// States that are asked about at once.
const STATES_AT_ONCE: usize = 4;

/// Answers the same questions about many states, each separately
#[utoipa::path(post, path = "/v1/systemone/batches", tag = "decisions", request_body = SystemOneBatchRequest,
    responses((status = 200, description = "For each state, in their order, its `id` with `answers` as `/v1/systemone` has them, or \
        with the `error` that kept it from them", body = Object),
        (status = 400, description = "The request is not supported", body = Object)))]
pub async fn answer_batch(
    State(service): State<Arc<Service>>,
    Body(request): Body<SystemOneBatchRequest>,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let ids: Vec<String> = request.questions.keys().cloned().collect();
    let model = service.model_or_default(request.model.as_deref())?;
    let questions = service.read(&model, questions(request.questions))?;
    service.read(&model, check_states(&request.states, questions.len()))?;
    let ask = |one: &SystemOneState| {
        let (model, state, questions) = (model.clone(), text(&one.state), questions.clone());
        AskQuestions { model, system: None, state, questions }
    };
    let asks: Vec<AskQuestions> = request.states.iter().map(ask).collect();
    let answered = stream::iter(asks).map(|ask| service.ask_questions(ask)).buffered(STATES_AT_ONCE);
    let answered: Vec<Result<AnsweredQuestions, Problem>> = answered.collect().await;
    let mut results = Vec::new();
    let (mut whole, mut input_tokens, mut cached_tokens) = (None, 0, 0);
    for (one, answered) in request.states.iter().zip(answered) {
        match answered {
            Ok(answered) => {
                let (input, cached) = usage(&answered);
                (input_tokens, cached_tokens) = (input_tokens + input, cached_tokens + cached);
                results.push(json!({ "id": one.id, "answers": answers(&ids, &questions, &answered) }));
                whole = Some(answered);
            }
            // What is not this state's fault ends the request.
            Err(problem) if problem.kind != problem::Kind::TooLong => return Err(problem),
            Err(problem) => results.push(json!({ "id": one.id, "error": Dialect::SystemOne.message(&problem) })),
        }
    }
    let reply = [
        ("model", whole.as_ref().map_or(model, |answered| answered.model.to_string()).into()),
        ("results", results.into()),
        ("usage", json!({ "input_tokens": input_tokens, "output_tokens": 0, "cached_tokens": cached_tokens })),
        ("latency_ms", (began.elapsed().as_secs_f64() * 1e3).into()),
    ];
    Ok(Json(with_evaluation_id(reply, whole.as_ref())).into_response())
}

fn check_states(states: &[SystemOneState], n_questions: usize) -> Result<(), Problem> {
    let n_answers = states.len() * n_questions;
    if states.is_empty() || n_answers > MAX_ANSWERS {
        let message = format!(
            "{} states with {n_questions} questions each are {n_answers} answers: give 1 to {MAX_ANSWERS}, or send several requests",
            states.len()
        );
        return Err(Problem::invalid(message).of("states"));
    }
    let mut seen = HashMap::new();
    for (number, one) in states.iter().enumerate() {
        if one.id.is_empty() {
            return Err(Problem::invalid(format!("`states[{number}].id` is empty")).of(format!("states[{number}].id")));
        }
        if let Some(first) = seen.insert(&one.id, number) {
            let message = format!("`states[{number}].id` is `{}`, which is also that of `states[{first}]`", one.id);
            return Err(Problem::invalid(message).of(format!("states[{number}].id")));
        }
    }
    Ok(())
}

fn questions(given: Map<String, Value>) -> Result<Vec<Arc<Question>>, Problem> {
    if given.is_empty() || given.len() > MAX_QUESTIONS {
        let message = format!("`questions` has {} entries: give 1 to {MAX_QUESTIONS}", given.len());
        return Err(Problem::invalid(message).of("questions"));
    }
    let question = |(id, question): (String, Value)| {
        let at = format!("questions.{id}");
        let question: SystemOneQuestion = body::part(&question, &at)?;
        // All that can be wrong with a question that was read is in there.
        let criteria = format!("{at}.criteria");
        let of_criteria = |error| Problem::invalid(format!("`{criteria}`: {error}")).of(criteria.as_str());
        question.read().map(Arc::new).map_err(of_criteria)
    };
    given.into_iter().map(question).collect()
}

impl SystemOneQuestion {
    fn read(self) -> Result<Question, QuestionError> {
        let words = |value: &Value| Some(text(value)).filter(|text| !text.is_empty());
        match self {
            SystemOneQuestion::Choice { instructions, criteria } => {
                let options = criteria.into_iter().map(|(option, means)| (Value::from(option), words(&means)));
                Question::choice(text(&instructions), options)
            }
            SystemOneQuestion::Score { instructions, criteria } => {
                if !(2..=MAX_LEVELS).contains(&criteria.len()) {
                    return Err(QuestionError::Levels { n: criteria.len(), most: MAX_LEVELS });
                }
                Question::score(text(&instructions), criteria.iter().map(|level| (text(level), None)))
            }
            SystemOneQuestion::Noul { instructions, criteria } => {
                let mut instructions = text(&instructions);
                let meaning = |name| criteria.get(name).and_then(words);
                match &criteria {
                    Value::Null => {}
                    Value::String(text) => instructions = format!("{instructions}\n{text}").trim().to_owned(),
                    Value::Object(means) if means.keys().all(|key| key == "true" || key == "false") => {}
                    _ => return Err(QuestionError::Meanings),
                }
                Ok(Question::predicate(instructions, meaning("true"), meaning("false")))
            }
        }
    }
}

/// A text as it is, anything else as JSON, nothing for null.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The answers by their questions' ids.
fn answers(ids: &[String], questions: &[Arc<Question>], answered: &AnsweredQuestions) -> Map<String, Value> {
    let one = |(question, answered): (&Arc<Question>, &Answered)| {
        let answer = &answered.answer;
        let probabilities = || answer.probabilities.iter().map(|(value, p)| (text(value), within_one(*p).into()));
        let probabilities = || probabilities().collect::<Map<String, Value>>();
        let told = match question.kind() {
            Kind::Choice => json!({ "type": "choice", "choice": answer.value, "probabilities": probabilities(),
                "confidence": confidence(answer) }),
            Kind::Score => {
                let legend = question.legend().enumerate().map(|(level, text)| (level.to_string(), text.into()));
                json!({ "type": "score", "score": expected_level(answer), "legend": legend.collect::<Map<_, Value>>(),
                    "probabilities": probabilities(), "confidence": confidence(answer) })
            }
            Kind::Predicate => json!({ "type": "noul", "noul": probability_of_true(answer) }),
        };
        with_path(told, answered)
    };
    ids.iter().cloned().zip(questions.iter().zip(&answered.answers).map(one)).collect()
}

fn reply(ids: &[String], questions: &[Arc<Question>], answered: &AnsweredQuestions) -> Map<String, Value> {
    let (input_tokens, cached_tokens) = usage(answered);
    let reply = [
        ("model", answered.model.to_string().into()),
        ("answers", answers(ids, questions, answered).into()),
        ("usage", json!({ "input_tokens": input_tokens, "output_tokens": 0, "cached_tokens": cached_tokens })),
        ("latency_ms", (answered.elapsed.as_secs_f64() * 1e3).into()),
    ];
    with_evaluation_id(reply, Some(answered))
}

/// The probability of `true`, which is the first option of a predicate.
pub fn probability_of_true(answer: &slm_infer::decide::FieldAnswer) -> f64 {
    answer.probabilities.first().map_or(0.0, |(_, p)| within_one(*p))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(given: Value) -> String {
        questions(given.as_object().unwrap().clone()).unwrap_err().message
    }

    #[test]
    fn every_kind_of_question_is_read() {
        let given = json!({
            "a": {"type": "choice", "instructions": "Who?", "criteria": {"x": "an x", "y": null}},
            "b": {"type": "score", "instructions": ["How", "urgent"], "criteria": ["calm", "urgent"]},
            "c": {"type": "noul", "instructions": "Refund?", "criteria": {"true": "money back", "false": ""}},
            "d": {"type": "noul", "instructions": "Refund?"},
            "e": {"type": "noul", "instructions": "Refund?", "criteria": "only if asked for"},
        });
        let questions = questions(given.as_object().unwrap().clone()).unwrap();
        let described: Vec<String> = questions.iter().map(|question| question.describe()).collect();
        assert!(described[0].contains("- x (an x)\n- y"));
        assert!(described[1].starts_with("[\"How\",\"urgent\"]\n"));
        assert!(described[2].ends_with("- yes (money back)\n- no"));
        assert!(described[4].starts_with("Refund?\nonly if asked for\n"));
    }

    #[test]
    fn what_cannot_be_asked_is_named() {
        assert!(refused(json!({})).contains("`questions` has 0 entries"));
        assert!(
            refused(json!({"q": {"type": "choice", "instructions": "?", "criteria": {"x": null}}}))
                .starts_with("`questions.q.criteria`: a choice has")
        );
        assert_eq!(
            refused(json!({"q": {"type": "rank", "instructions": "?", "criteria": {}}})),
            "`questions.q.type` cannot be \"rank\"; give `choice`, `score` or `noul`"
        );
        assert_eq!(
            refused(json!({"q": {"type": "noul", "instructions": "?", "because": 1}})),
            "`questions.q.because` is not known here; remove it"
        );
        for criteria in [json!({"true": "a", "maybe": "b"}), json!(["a", "b"]), json!(5)] {
            assert_eq!(
                refused(json!({"q": {"type": "noul", "instructions": "?", "criteria": criteria}})),
                "`questions.q.criteria`: `criteria` of a yes/no question is an object with `true` and `false`, or a text"
            );
        }
        let levels: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        assert!(refused(json!({"q": {"type": "score", "instructions": "?", "criteria": levels}})).contains("not 11"));
    }
}
