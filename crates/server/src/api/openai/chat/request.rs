//! What a request for a chat completion says, and what is asked of a model for it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::messages::{self, ChatMessage};
use super::tools::{self, ChatTool, ChatToolChoice};
use crate::api::choices::Calls;
use crate::api::fields::{self, Refused, TextOr, Whole};
use crate::api::openai::bias;
use crate::api::problem::Problem;
use crate::api::service::{AskedForm, TurnRequest};
use slm_engine::Detail;
use slm_infer::infer::{Chat, Turn};
use slm_values::sampling::Parameters;

/// A request for a chat completion.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::ChatRequest)]
pub struct ChatRequest {
    /// A model's name, as `/v1/models` gives it.
    pub model: String,
    /// The conversation, the oldest message first.
    #[schema(min_items = 1)]
    pub messages: Vec<ChatMessage>,
    pub response_format: Option<ResponseFormat>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    /// The older name of `max_completion_tokens`.
    #[schema(value_type = Option<i64>, minimum = 1)]
    pub max_tokens: Option<Whole>,
    /// Most tokens of the answer; without it, as the model's Modelfile says.
    #[schema(value_type = Option<i64>, minimum = 1)]
    pub max_completion_tokens: Option<Whole>,
    /// Without it, as the model's Modelfile says.
    #[schema(minimum = 0, maximum = 100)]
    pub temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    #[schema(value_type = Option<i64>, maximum = 4_294_967_295_i64)]
    pub seed: Option<Whole>,
    /// Texts that end an answer.
    pub stop: Option<TextOr<String>>,
    /// Answers to the same conversation.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 128)]
    pub n: Option<Whole>,
    #[schema(minimum = -100, maximum = 100)]
    pub presence_penalty: Option<f64>,
    #[schema(minimum = -100, maximum = 100)]
    pub frequency_penalty: Option<f64>,
    /// What is added to the logits of tokens, by their numbers; -100 keeps a token away.
    #[schema(value_type = Option<std::collections::HashMap<String, f64>>)]
    pub logit_bias: Option<Map<String, Value>>,
    /// Whether tokens are told with their probabilities.
    pub logprobs: Option<bool>,
    /// Likely tokens in each token's place.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 20)]
    pub top_logprobs: Option<Whole>,
    /// Has no effect: nothing is stored.
    pub store: Option<bool>,
    /// Has no effect.
    pub user: Option<String>,
    /// Has no effect.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub metadata: Option<Map<String, Value>>,
    /// `auto` and `default` have no effect: there is one tier.
    pub service_tier: Option<String>,
    /// Has no effect: beginnings are always kept.
    pub prompt_cache_key: Option<String>,
    /// Has no effect.
    pub safety_identifier: Option<String>,
    /// What the model may call.
    #[schema(value_type = Option<Vec<ChatTool>>)]
    pub tools: Option<Value>,
    /// `auto` (the default), `none`, `required`, or the one to call.
    #[schema(value_type = Option<ChatToolChoice>)]
    pub tool_choice: Option<Value>,
    /// `false` for at most one call.
    pub parallel_tool_calls: Option<bool>,
    /// `none` and `minimal` turn thinking off, where the model thinks; all others turn it on.
    pub reasoning_effort: Option<ReasoningEffort>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// The form of the answer.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::ResponseFormat)]
pub struct ResponseFormat {
    pub r#type: FormatKind,
    pub json_schema: Option<JsonSchema>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = openai::FormatKind)]
pub enum FormatKind {
    /// What the model's Modelfile says, and without that any text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// What meets `json_schema`.
    JsonSchema,
}

/// How much a model thinks before it answers; models here do it or do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = openai::ReasoningEffort)]
pub enum ReasoningEffort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

impl ReasoningEffort {
    /// Whether the model is to think.
    #[must_use]
    pub fn thinks(self) -> bool {
        !matches!(self, ReasoningEffort::None | ReasoningEffort::Minimal)
    }
}

/// A schema that the answer must meet.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::JsonSchema)]
pub struct JsonSchema {
    /// Has no effect.
    pub name: Option<String>,
    /// Has no effect; the schema's own descriptions are shown to the model.
    pub description: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// Has no effect: every schema is kept strictly.
    pub strict: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// How an answer is streamed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::StreamOptions)]
pub struct StreamOptions {
    /// Whether the last part tells how many tokens it took.
    pub include_usage: Option<bool>,
    /// Has no effect: parts are never padded.
    pub include_obfuscation: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// What a request wants.
#[derive(Debug)]
pub struct ParsedChat {
    pub model: String,
    pub ask: TurnRequest,
    pub n_choices: usize,
    /// Likely tokens that are told of each token; `None` tells no probabilities.
    pub n_top: Option<u8>,
    pub calls: Calls,
    pub stream: Option<WithUsage>,
}

/// Whether a stream tells how many tokens it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithUsage {
    Yes,
    No,
}

const REFUSED: [Refused; 9] = [
    ("audio", "answers are text"),
    ("function_call", "give `tool_choice`"),
    ("functions", "give `tools`"),
    ("moderation", "no one reads along here"),
    ("prediction", "text is guessed ahead without it"),
    ("prompt_cache_options", "beginnings are always kept, as long as there is room"),
    ("prompt_cache_retention", "beginnings are always kept, as long as there is room"),
    ("web_search_options", "models here do not leave this machine"),
    ("best_of", "give `n`"),
];

/// The most answers of one request, as many as OpenAI gives.
pub const MAX_CHOICES: i64 = 128;

impl ChatRequest {
    /// Reads the request.
    ///
    /// # Errors
    /// Something in it cannot be honoured; the problem names it.
    pub fn wanted(mut self) -> Result<ParsedChat, Problem> {
        self.pass_defaults();
        fields::none_left(&self.rest, "", &REFUSED)?;
        // Without any of its options it is a wish to search, too.
        if self.rest.get("web_search_options").is_some_and(Value::is_object) {
            return Err(Problem::unsupported("web_search_options", "models here do not leave this machine"));
        }
        one_service(self.store, self.service_tier.as_deref())?;
        let n_top = n_top(self.logprobs, self.top_logprobs)?;
        let n_choices = n_choices(self.n)?;
        let stream = stream(self.stream, self.stream_options.take())?;
        let form = self.response_format.take().map_or(Ok(AskedForm::Own), ResponseFormat::form)?;
        let parameters = self.parameters()?;
        let (tools, tool_choice) = tools::read(self.tools.as_ref(), self.tool_choice.as_ref())?;
        let calls = if self.parallel_tool_calls == Some(false) { Calls::One } else { Calls::Any };
        let think = self.reasoning_effort.map(ReasoningEffort::thinks);
        let chat = Chat { tools, tool_choice, think, ..Chat::of(messages::read(self.messages)?) };
        let detail = n_top.map_or(Detail::Text, |n| Detail::Likely { n });
        let bias = bias::read(self.logit_bias.as_ref())?;
        let turn = Turn { before: chat.into(), parameters, detail, bias, ..Turn::default() };
        let ask = TurnRequest { model: self.model.clone(), keep_alive: None, form, turn };
        Ok(ParsedChat { model: self.model, ask, n_choices, n_top, calls, stream })
    }

    /// Takes out what says no more than nothing.
    fn pass_defaults(&mut self) {
        let is_default = |name: &str, value: &Value| match name {
            "modalities" => value.as_array().is_some_and(|list| list.iter().all(|kind| kind == "text")),
            "verbosity" => value == "medium",
            _ => false,
        };
        self.rest.retain(|name, value| !is_default(name, value));
    }

    fn parameters(&self) -> Result<Parameters, Problem> {
        let mut parameters = Parameters::default();
        let number = |n: Option<f64>| n.map(Value::from);
        for (name, value) in [
            ("temperature", number(self.temperature)),
            ("top_p", number(self.top_p)),
            ("seed", self.seed.map(|Whole(seed)| seed.into())),
            ("presence_penalty", number(self.presence_penalty)),
            ("frequency_penalty", number(self.frequency_penalty)),
            ("stop", stop(self.stop.as_ref())),
        ] {
            fields::set(&mut parameters, name, name, value)?;
        }
        fields::set_most_tokens(&mut parameters, "max_tokens", self.max_tokens)?;
        fields::set_most_tokens(&mut parameters, "max_completion_tokens", self.max_completion_tokens)?;
        Ok(parameters)
    }
}

/// The texts that end an answer; an empty list says nothing.
pub fn stop(stop: Option<&TextOr<String>>) -> Option<Value> {
    match stop? {
        TextOr::Text(text) => Some(text.as_str().into()),
        TextOr::List(list) if list.is_empty() => None,
        TextOr::List(list) => Some(list.clone().into()),
    }
}

/// Refuses to store, and tiers of service: there is one here.
///
/// # Errors
/// More than that is asked for.
pub fn one_service(store: Option<bool>, tier: Option<&str>) -> Result<(), Problem> {
    if store == Some(true) {
        return Err(Problem::unsupported("store", "nothing is stored here; leave it away or give `false`"));
    }
    match tier.filter(|tier| !matches!(*tier, "auto" | "default")) {
        Some(tier) => {
            let message =
                format!("`service_tier` cannot be `{tier}`: there is one tier here; give `auto` or leave it away");
            Err(Problem::unsupported_value(message, "service_tier"))
        }
        None => Ok(()),
    }
}

/// Likely tokens for each token; `None` where no probabilities are wanted.
///
/// # Errors
/// More than 20, or any without the probabilities themselves.
pub fn n_top(logprobs: Option<bool>, top: Option<Whole>) -> Result<Option<u8>, Problem> {
    let refused =
        |why: &str, n: i64| Err(Problem::invalid(format!("`top_logprobs` cannot be `{n}`: {why}")).of("top_logprobs"));
    match (logprobs.unwrap_or(false), top.map(|Whole(n)| n)) {
        (_, Some(n)) if !(0..=20).contains(&n) => refused("it must be a whole number from 0 to 20", n),
        (false, Some(n)) if n > 0 => refused("it needs `logprobs: true`", n),
        (true, n) => Ok(Some(u8::try_from(n.unwrap_or(0)).unwrap_or(0))),
        (false, _) => Ok(None),
    }
}

/// How many answers are wanted.
///
/// # Errors
/// None, or too many.
pub fn n_choices(n: Option<Whole>) -> Result<usize, Problem> {
    match n.map_or(1, |Whole(n)| n) {
        n if !(1..=MAX_CHOICES).contains(&n) => {
            let message = format!("`n` cannot be `{n}`: it must be a whole number from 1 to {MAX_CHOICES}");
            Err(Problem::invalid(message).of("n"))
        }
        n => Ok(usize::try_from(n).unwrap_or(1)),
    }
}

/// Whether parts are wanted as they come, and the usage behind them; `None` wants one object.
///
/// # Errors
/// Something in the options is not known, or says nothing.
pub fn stream(stream: Option<bool>, options: Option<StreamOptions>) -> Result<Option<WithUsage>, Problem> {
    let with_usage = match options {
        Some(options) => {
            fields::none_left(&options.rest, "stream_options", &[])?;
            if stream != Some(true) {
                let message = "`stream_options` needs `stream: true`";
                return Err(Problem::invalid(message).of("stream_options"));
            }
            options.include_usage.unwrap_or(false)
        }
        None => false,
    };
    Ok((stream == Some(true)).then_some(if with_usage { WithUsage::Yes } else { WithUsage::No }))
}

impl ResponseFormat {
    fn form(self) -> Result<AskedForm, Problem> {
        fields::none_left(&self.rest, "response_format", &[])?;
        let place = "response_format.json_schema";
        match (self.r#type, self.json_schema) {
            (FormatKind::JsonSchema, Some(schema)) => {
                fields::none_left(&schema.rest, place, &[])?;
                match schema.schema {
                    Some(schema) => AskedForm::schema(schema).map_err(|problem| {
                        let message = format!("`response_format`: {}", problem.message);
                        Problem { message, ..problem }.of("response_format")
                    }),
                    None => Ok(AskedForm::json()),
                }
            }
            (FormatKind::JsonSchema, None) => {
                Err(Problem::invalid(format!("`{place}` is missing: give the schema that the answer must meet"))
                    .of(place))
            }
            (_, Some(_)) => Err(Problem::invalid(format!("`{place}` needs the type `json_schema`")).of(place)),
            (FormatKind::Text, None) => Ok(AskedForm::Own),
            (FormatKind::JsonObject, None) => Ok(AskedForm::json()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(more: Value) -> Result<ParsedChat, Problem> {
        let mut request = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<ChatRequest>(request).map_err(|error| Problem::invalid(error.to_string()))?.wanted()
    }

    fn refused(more: Value) -> (String, Option<String>) {
        let problem = wanted(more).unwrap_err();
        (problem.message, problem.field)
    }

    #[test]
    fn nothing_is_imposed() {
        let wanted = wanted(json!({"temperature": null, "seed": null, "stop": []})).unwrap();
        assert!(wanted.ask.turn.parameters.is_empty());
        assert!(matches!(wanted.ask.form, AskedForm::Own));
        assert_eq!((wanted.n_choices, wanted.n_top, wanted.stream), (1, None, None));
    }

    #[test]
    fn everything_that_has_an_effect_is_read() {
        let wanted = wanted(json!({
            "max_completion_tokens": 5, "temperature": 0, "top_p": 0.5, "seed": 3.0, "stop": "x", "n": 2, "stream": true,
            "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 4, "presence_penalty": 1,
            "frequency_penalty": -1, "logit_bias": {"263": -100}, "response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": true,
            "schema": {"enum": ["a", "b"]}}},
        }))
        .unwrap();
        let expected = json!({"num_predict": 5, "temperature": 0, "top_p": 0.5, "seed": 3, "stop": ["x"],
            "presence_penalty": 1, "frequency_penalty": -1});
        assert_eq!(wanted.ask.turn.parameters, Parameters::from_json(&expected).unwrap());
        assert_eq!(wanted.ask.turn.bias, [(263, -100.0)]);
        assert_eq!((wanted.n_choices, wanted.n_top, wanted.stream), (2, Some(4), Some(WithUsage::Yes)));
        assert!(matches!(wanted.ask.form, AskedForm::Form(slm_values::contract::Form::Closed(_))));
    }

    #[test]
    fn what_has_no_effect_passes() {
        wanted(json!({
            "user": "u", "metadata": {"a": "b"}, "store": false, "service_tier": "auto", "prompt_cache_key": "k",
            "safety_identifier": "s", "parallel_tool_calls": true, "modalities": ["text"], "audio": null, "tools": [],
            "tool_choice": "none", "reasoning_effort": null, "functions": [], "verbosity": "medium", "response_format": {"type": "text"},
        }))
        .unwrap();
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let expected = [
            (json!({"audio": {"voice": "x"}}), "`audio` is not supported: answers are text", "audio"),
            (json!({"colour": 1}), "`colour` is not known here; leave it away", "colour"),
            (
                json!({"store": true}),
                "`store` is not supported: nothing is stored here; leave it away or give `false`",
                "store",
            ),
            (
                json!({"web_search_options": {}}),
                "`web_search_options` is not supported: models here do not leave this machine",
                "web_search_options",
            ),
            (json!({"n": 0}), "`n` cannot be `0`: it must be a whole number from 1 to 128", "n"),
            (json!({"top_logprobs": 2}), "`top_logprobs` cannot be `2`: it needs `logprobs: true`", "top_logprobs"),
            (
                json!({"logprobs": true, "top_logprobs": 21}),
                "`top_logprobs` cannot be `21`: it must be a whole number from 0 to 20",
                "top_logprobs",
            ),
            (json!({"stream_options": {}}), "`stream_options` needs `stream: true`", "stream_options"),
            (
                json!({"stream": true, "stream_options": {"x": 1}}),
                "`stream_options.x` is not known here; leave it away",
                "stream_options.x",
            ),
            (json!({"top_p": 2}), "`top_p` cannot be `2.0`: it must be a number from 0 to 1", "top_p"),
            (json!({"modalities": ["audio"]}), "`modalities` is not known here; leave it away", "modalities"),
            (
                json!({"response_format": {"type": "json_schema"}}),
                "`response_format.json_schema` is missing: give the schema that the answer must meet",
                "response_format.json_schema",
            ),
        ];
        for (more, message, field) in expected {
            assert_eq!(refused(more), (message.to_owned(), Some(field.to_owned())));
        }
    }
}
