//! Requests to `/v1/chat/completions`, converted to what is asked of a model.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use utoipa::ToSchema;

use super::messages::{self, ChatMessage};
use super::tools::{self, ChatTool, ChatToolChoice};
use crate::api::choices::Calls;
use crate::api::fields::{self, Fitting, Refused, TextOr, Whole};
use crate::api::idle_fields::Object;
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
    /// Maximum number of tokens of the answer; by default the Modelfile's.
    #[schema(value_type = Option<i64>, minimum = 1)]
    pub max_completion_tokens: Option<Whole>,
    /// By default the Modelfile's.
    #[schema(minimum = 0, maximum = 100)]
    pub temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// Seed of the random numbers; a seed of more than 32 bits is folded into 32.
    #[schema(value_type = Option<i64>)]
    pub seed: Option<Number>,
    /// Texts that end an answer.
    pub stop: Option<TextOr<String>>,
    /// Number of answers to the same conversation.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 128)]
    pub n: Option<Whole>,
    #[schema(minimum = -100, maximum = 100)]
    pub presence_penalty: Option<f64>,
    #[schema(minimum = -100, maximum = 100)]
    pub frequency_penalty: Option<f64>,
    /// Added to the logits of tokens, by token id; -100 excludes a token.
    #[schema(value_type = Option<std::collections::HashMap<String, f64>>)]
    pub logit_bias: Option<Map<String, Value>>,
    /// Whether tokens are returned with their log-probabilities.
    pub logprobs: Option<bool>,
    /// Number of likely tokens to list for each token.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 20)]
    pub top_logprobs: Option<Whole>,
    /// Sample from that many most likely tokens; 0 and -1: from all.
    #[schema(value_type = Option<i64>, minimum = -1, maximum = 2_147_483_647)]
    pub top_k: Option<Whole>,
    /// Drop tokens below this fraction of the most likely token's probability.
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f64>,
    /// Divides the logits of repeated tokens; 1 is off.
    #[schema(minimum = 0.001, maximum = 100)]
    pub repetition_penalty: Option<f64>,
    /// Variables of the model's template: `enable_thinking` or `thinking`, the same as `reasoning_effort`.
    #[schema(value_type = Option<std::collections::HashMap<String, bool>>)]
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// The tools that the model may call.
    #[schema(value_type = Option<Vec<ChatTool>>)]
    pub tools: Option<Value>,
    /// `auto` (the default), `none`, `required`, or the one to call.
    #[schema(value_type = Option<ChatToolChoice>)]
    pub tool_choice: Option<Value>,
    /// `false`: at most one call.
    pub parallel_tool_calls: Option<bool>,
    /// `none` and `minimal` turn a model's thinking off; all others turn it on.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// `false`: the model's own probabilities, without the fit that its labels gave it. By default answers in the format that
    /// the fit was made for are fitted.
    pub fit: Option<bool>,
    /// What a bare label is replaced with where the fit leaves the answer to a person; by default nothing. In JSON it is null.
    pub abstain: Option<String>,
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
    /// What the model's Modelfile says, and without that any text. A label of a Modelfile's list comes without quotes.
    Text,
    /// JSON: what the model's Modelfile says, and without that any object.
    JsonObject,
    /// What meets `json_schema`.
    JsonSchema,
}

/// How much a model thinks before it answers; here only on or off.
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
    /// Has no effect: every schema is enforced strictly.
    pub strict: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// How an answer is streamed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::StreamOptions)]
pub struct StreamOptions {
    /// Whether the last part has the token counts.
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

const REFUSED: [Refused; 6] = [
    ("audio", "answers are text"),
    ("function_call", "give `tool_choice`"),
    ("functions", "give `tools`"),
    ("modalities", "answers are text; remove it or give `[\"text\"]`"),
    ("moderation", "nobody else reads the answers"),
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
        let is_text = |kinds: &Value| kinds.as_array().is_some_and(|list| list.iter().all(|kind| kind == "text"));
        self.rest.retain(|name, value| name != "modalities" || !is_text(value));
        fields::only_idle_left(&self.rest, "", Object::Chat, &REFUSED)?;
        let n_top = n_top(self.logprobs, self.top_logprobs)?;
        let n_choices = n_choices(self.n)?;
        let stream = stream(self.stream, self.stream_options.take())?;
        let form = self.response_format.take().map_or(Ok(AskedForm::Own), ResponseFormat::form)?;
        let parameters = self.parameters()?;
        let (tools, tool_choice) = tools::read(self.tools.as_ref(), self.tool_choice.as_ref())?;
        let calls = if self.parallel_tool_calls == Some(false) { Calls::One } else { Calls::Any };
        let switched = self.chat_template_kwargs.as_ref().map_or(Ok(None), thinks)?;
        let think = switched.or(self.reasoning_effort.map(ReasoningEffort::thinks));
        let chat = Chat { tools, tool_choice, think, ..Chat::of(messages::read(self.messages)?) };
        let detail = n_top.map_or(Detail::Text, |n| Detail::Likely { n });
        let bias = bias::read(self.logit_bias.as_ref())?;
        let fitting = Fitting { fit: self.fit, abstain: self.abstain };
        let turn = fitting.of(Turn { before: chat.into(), parameters, detail, bias, ..Turn::default() });
        let ask = TurnRequest { model: self.model.clone(), keep_alive: None, form, turn };
        Ok(ParsedChat { model: self.model, ask, n_choices, n_top, calls, stream })
    }

    fn parameters(&self) -> Result<Parameters, Problem> {
        let mut parameters = Parameters::default();
        let number = |n: Option<f64>| n.map(Value::from);
        for (name, value) in [
            ("temperature", number(self.temperature)),
            ("top_p", number(self.top_p)),
            ("seed", self.seed.clone().map(Value::Number)),
            ("presence_penalty", number(self.presence_penalty)),
            ("frequency_penalty", number(self.frequency_penalty)),
            ("min_p", number(self.min_p)),
            ("stop", stop(self.stop.as_ref())),
        ] {
            fields::set(&mut parameters, name, name, value)?;
        }
        set_of_peers(&mut parameters, self.top_k, self.repetition_penalty)?;
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

/// Parameters that other local servers take here, under their names and with their meanings.
///
/// # Errors
/// A value is out of range.
pub fn set_of_peers(
    parameters: &mut Parameters,
    top_k: Option<Whole>,
    repetition_penalty: Option<f64>,
) -> Result<(), Problem> {
    let top_k = top_k.map(|Whole(k)| if k == -1 { 0.into() } else { k.into() });
    fields::set(parameters, "top_k", "top_k", top_k)?;
    fields::set(parameters, "repetition_penalty", "repeat_penalty", repetition_penalty.map(Value::from))
}

/// Whether the model thinks, as variables of its template say; `None` where they do not say.
fn thinks(variables: &Map<String, Value>) -> Result<Option<bool>, Problem> {
    const FIELD: &str = "chat_template_kwargs";
    let mut think = None;
    for (name, value) in variables.iter().filter(|(_, value)| !value.is_null()) {
        let place = fields::below(FIELD, name);
        match (name.as_str(), value) {
            ("enable_thinking" | "thinking", Value::Bool(is_on)) => think = Some(*is_on),
            ("enable_thinking" | "thinking", _) => {
                return Err(Problem::invalid(format!("`{place}` cannot be `{value}`: give true or false")).of(place));
            }
            // A text of a client's in a template could be a control token.
            _ => {
                let why = "of a template's variables a request sets `enable_thinking` and `thinking` only";
                return Err(Problem::unsupported(&place, why));
            }
        }
    }
    Ok(think)
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

/// Whether parts are wanted as they come, and the usage after them; `None` wants one object.
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
                    None => Ok(AskedForm::AnyJson),
                }
            }
            (FormatKind::JsonSchema, None) => {
                Err(Problem::invalid(format!("`{place}` is missing: give the schema that the answer must meet"))
                    .of(place))
            }
            (_, Some(_)) => Err(Problem::invalid(format!("`{place}` needs the type `json_schema`")).of(place)),
            (FormatKind::Text, None) => Ok(AskedForm::Own),
            (FormatKind::JsonObject, None) => Ok(AskedForm::AnyJson),
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
            "tool_choice": "none", "reasoning_effort": null, "functions": [], "verbosity": "low", "response_format": {"type": "text"},
            "prediction": {"type": "content", "content": "x"}, "web_search_options": {}, "prompt_cache_retention": "24h",
        }))
        .unwrap();
    }

    #[test]
    fn what_other_local_servers_take_has_its_meaning() {
        let read = wanted(json!({"top_k": -1, "min_p": 0.05, "repetition_penalty": 1.1})).unwrap();
        let expected = json!({"top_k": 0, "min_p": 0.05, "repeat_penalty": 1.1});
        assert_eq!(read.ask.turn.parameters, Parameters::from_json(&expected).unwrap());
        for (more, think) in [
            (json!({"chat_template_kwargs": {"enable_thinking": false}}), Some(false)),
            (json!({"chat_template_kwargs": {"thinking": true, "other": null}}), Some(true)),
            (json!({"chat_template_kwargs": {"enable_thinking": false}, "reasoning_effort": "high"}), Some(false)),
            (json!({"chat_template_kwargs": {}, "reasoning_effort": "high"}), Some(true)),
            (json!({"chat_template_kwargs": null}), None),
        ] {
            assert_eq!(wanted(more.clone()).unwrap().ask.turn.chat().unwrap().think, think, "{more}");
        }
    }

    #[test]
    fn a_seed_is_any_whole_number() {
        for (seed, used) in [(json!(7), 7), (json!(-1), -1), (json!(1_u64 << 32), 1), (json!(u64::MAX), 0)] {
            assert_eq!(wanted(json!({"seed": seed})).unwrap().ask.turn.parameters.seed, Some(used), "{seed}");
        }
        let message = "`seed` cannot be `7.5`: it must be a whole number of at most 64 bits; -1 is random";
        assert_eq!(refused(json!({"seed": 7.5})), (message.to_owned(), Some("seed".to_owned())));
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let expected = [
            (json!({"audio": {"voice": "x"}}), "`audio` is not supported: answers are text", "audio"),
            (json!({"colour": 1}), "`colour` is not known here; remove it", "colour"),
            (
                json!({"chat_template_kwargs": {"enable_thinking": "yes"}}),
                "`chat_template_kwargs.enable_thinking` cannot be `\"yes\"`: give true or false",
                "chat_template_kwargs.enable_thinking",
            ),
            (
                json!({"chat_template_kwargs": {"bos_token": "x"}}),
                "`chat_template_kwargs.bos_token` is not supported: of a template's variables a request sets \
                 `enable_thinking` and `thinking` only",
                "chat_template_kwargs.bos_token",
            ),
            (
                json!({"repetition_penalty": 0}),
                "`repetition_penalty` cannot be `0.0`: it must be a number from 0.001 to 100",
                "repetition_penalty",
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
                "`stream_options.x` is not known here; remove it",
                "stream_options.x",
            ),
            (json!({"top_p": 2}), "`top_p` cannot be `2.0`: it must be a number from 0 to 1", "top_p"),
            (
                json!({"modalities": ["text", "audio"]}),
                "`modalities` is not supported: answers are text; remove it or give `[\"text\"]`",
                "modalities",
            ),
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
