//! Requests to `/v1/messages`, converted to what is asked of a model.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::messages::{self, Block, WireMessage};
use super::tools::{self, WireTool, WireToolChoice};
use crate::api::choices::Calls;
use crate::api::fields::{self, Fitting, Refused, TextOr, Whole};
use crate::api::idle_fields::Object;
use crate::api::problem::Problem;
use crate::api::service::{AskedForm, TurnRequest};
use slm_infer::infer::{Chat, Turn};
use slm_values::chat::Role;
use slm_values::sampling::Parameters;

/// A request for a message.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = anthropic::MessagesRequest)]
pub struct MessagesRequest {
    /// A model's name, as `/v1/models` gives it.
    pub model: String,
    /// Maximum number of tokens of the answer, including thinking.
    #[schema(value_type = i64, minimum = 1)]
    pub max_tokens: Whole,
    /// The conversation, the oldest message first.
    #[schema(min_items = 1)]
    pub messages: Vec<WireMessage>,
    /// Replaces the Modelfile's.
    pub system: Option<TextOr<Block>>,
    pub stream: Option<bool>,
    /// Texts that end an answer.
    pub stop_sequences: Option<Vec<String>>,
    /// By default the Modelfile's.
    #[schema(minimum = 0, maximum = 100)]
    pub temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub top_k: Option<Whole>,
    pub tools: Option<Vec<WireTool>>,
    pub tool_choice: Option<WireToolChoice>,
    pub thinking: Option<Thinking>,
    pub output_config: Option<OutputConfig>,
    /// The older name of `output_config.format`.
    pub output_format: Option<OutputFormat>,
    /// `false`: the model's own probabilities, without the fit that its labels gave it. By default answers in the format that
    /// the fit was made for are fitted.
    pub fit: Option<bool>,
    /// What a bare label is replaced with where the fit leaves the answer to a person; by default nothing. In JSON it is null.
    pub abstain: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// A request for the number of a conversation's tokens.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = anthropic::CountRequest)]
pub struct CountRequest {
    pub model: String,
    #[schema(min_items = 1)]
    pub messages: Vec<WireMessage>,
    pub system: Option<TextOr<Block>>,
    pub tools: Option<Vec<WireTool>>,
    pub tool_choice: Option<WireToolChoice>,
    pub thinking: Option<Thinking>,
    pub output_config: Option<OutputConfig>,
    pub output_format: Option<OutputFormat>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// Whether the model thinks before it answers.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = anthropic::Thinking)]
pub struct Thinking {
    pub r#type: ThinkingKind,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = anthropic::ThinkingKind)]
pub enum ThinkingKind {
    Enabled,
    Disabled,
    /// As the model likes.
    Adaptive,
}

/// The form of the answer.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = anthropic::OutputConfig)]
pub struct OutputConfig {
    pub format: Option<OutputFormat>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// A schema that the answer must meet.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = anthropic::OutputFormat)]
pub struct OutputFormat {
    #[schema(pattern = "^json_schema$")]
    pub r#type: String,
    #[schema(value_type = Object)]
    pub schema: Value,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// What a request wants.
#[derive(Debug)]
pub struct ParsedMessages {
    pub model: String,
    pub ask: TurnRequest,
    pub calls: Calls,
    pub stop_sequences: Vec<String>,
}

const REFUSED: [Refused; 3] = [
    ("container", "only models run here"),
    ("inference_geo", "models run on this machine"),
    ("mcp_servers", "models here run on this machine only"),
];

impl From<CountRequest> for MessagesRequest {
    fn from(request: CountRequest) -> MessagesRequest {
        let CountRequest { model, messages, system, tools, tool_choice, thinking, .. } = request;
        MessagesRequest {
            model,
            max_tokens: Whole(1),
            messages,
            system,
            stream: None,
            stop_sequences: None,
            temperature: None,
            top_p: None,
            top_k: None,
            tools,
            tool_choice,
            thinking,
            output_config: request.output_config,
            output_format: request.output_format,
            // A prompt is as long with a fit as without one.
            fit: Some(false),
            abstain: None,
            rest: request.rest,
        }
    }
}

impl MessagesRequest {
    /// Reads the request.
    ///
    /// # Errors
    /// Something in it cannot be honoured; the problem names it.
    pub fn wanted(self) -> Result<ParsedMessages, Problem> {
        fields::only_idle_left(&self.rest, "", Object::Messages, &REFUSED)?;
        let parameters = self.parameters()?;
        let think = self.thinking.map_or(Ok(None), Thinking::read)?;
        let form = form(self.output_config, self.output_format)?;
        let (tools, left_out) = tools::read(self.tools.unwrap_or_default())?;
        let (tool_choice, calls) = tools::choice(self.tool_choice, &tools, &left_out)?;
        let messages = messages::read(self.system, self.messages)?;
        if think == Some(true) && messages.last().is_some_and(|last| last.role == Role::Assistant) {
            let message = "`thinking` is on and the last message begins the answer: a model thinks before it answers, so use \
                           only one of them";
            return Err(Problem::invalid(message).of("thinking"));
        }
        let chat = Chat { tools, tool_choice, think, ..Chat::of(messages) };
        let fitting = Fitting { fit: self.fit, abstain: self.abstain };
        let turn = fitting.of(Turn { before: chat.into(), parameters, ..Turn::default() });
        let ask = TurnRequest { model: self.model.clone(), keep_alive: None, form, turn };
        Ok(ParsedMessages { model: self.model, ask, calls, stop_sequences: self.stop_sequences.unwrap_or_default() })
    }

    fn parameters(&self) -> Result<Parameters, Problem> {
        let mut parameters = Parameters::default();
        let stop = self.stop_sequences.as_ref().filter(|stop| !stop.is_empty());
        fields::set(&mut parameters, "temperature", "temperature", self.temperature.map(Value::from))?;
        fields::set(&mut parameters, "top_p", "top_p", self.top_p.map(Value::from))?;
        fields::set(&mut parameters, "top_k", "top_k", self.top_k.map(|Whole(k)| k.into()))?;
        fields::set(&mut parameters, "stop_sequences", "stop", stop.map(|stop| stop.clone().into()))?;
        fields::set_most_tokens(&mut parameters, "max_tokens", Some(self.max_tokens))?;
        Ok(parameters)
    }
}

impl Thinking {
    /// Whether the model thinks; `None` leaves it to the model.
    fn read(self) -> Result<Option<bool>, Problem> {
        fields::only_idle_left(&self.rest, "thinking", Object::Thinking, &[])?;
        Ok(match self.r#type {
            ThinkingKind::Enabled => Some(true),
            ThinkingKind::Disabled => Some(false),
            ThinkingKind::Adaptive => None,
        })
    }
}

fn form(config: Option<OutputConfig>, older: Option<OutputFormat>) -> Result<AskedForm, Problem> {
    let config = match config {
        Some(config) => {
            fields::only_idle_left(&config.rest, "output_config", Object::OutputConfig, &[])?;
            config.format.map(|format| ("output_config.format", format))
        }
        None => None,
    };
    let Some((at, format)) = config.or_else(|| older.map(|format| ("output_format", format))) else {
        return Ok(AskedForm::Own);
    };
    fields::none_left(&format.rest, at, &[])?;
    if format.r#type != "json_schema" {
        let message = format!("`{at}.type` cannot be `{}`: only `json_schema` is supported", format.r#type);
        return Err(Problem::unsupported_value(message, at));
    }
    // This dialect's errors have no other place for the field.
    let named = |problem: Problem| Problem { message: format!("`{at}`: {}", problem.message), ..problem }.of(at);
    AskedForm::schema(format.schema).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use slm_values::contract::Form;

    fn wanted(more: Value) -> Result<ParsedMessages, Problem> {
        let mut request = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<MessagesRequest>(request)
            .map_err(|error| Problem::invalid(error.to_string()))?
            .wanted()
    }

    #[test]
    fn what_is_said_is_read_and_nothing_else() {
        let plain =
            wanted(json!({"tools": [], "cache_control": {"type": "ephemeral"}, "metadata": {"user_id": "u"}})).unwrap();
        assert_eq!(plain.ask.turn.parameters, Parameters::from_json(&json!({"num_predict": 9})).unwrap());
        assert!(matches!(plain.ask.form, AskedForm::Own) && plain.ask.turn.chat().unwrap().think.is_none());
        let all = wanted(json!({
            "temperature": 0, "top_p": 0.5, "top_k": 3, "stop_sequences": ["x"], "thinking": {"type": "enabled", "budget_tokens": 1024},
            "output_config": {"format": {"type": "json_schema", "schema": {"enum": ["a", "b"]}}},
        }))
        .unwrap();
        let expected = json!({"num_predict": 9, "temperature": 0, "top_p": 0.5, "top_k": 3, "stop": ["x"]});
        assert_eq!(all.ask.turn.parameters, Parameters::from_json(&expected).unwrap());
        assert!(
            matches!(all.ask.form, AskedForm::Form(Form::Closed(_)))
                && all.ask.turn.chat().unwrap().think == Some(true)
        );
    }

    /// What coding tools send with every request.
    #[test]
    fn what_only_tunes_what_is_not_here_passes() {
        let cached = json!({"type": "ephemeral", "ttl": "1h"});
        let read = wanted(json!({
            "system": [{"type": "text", "text": "be brief", "cache_control": cached}], "metadata": {"user_id": "u"},
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": cached}]}],
            "tools": [
                {"name": "add", "input_schema": {"type": "object"}, "cache_control": cached, "eager_input_streaming": true},
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
                {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
            ],
            "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}, "service_tier": "auto",
            "thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "high"}, "speed": "fast",
            "betas": ["claude-code-20250219"], "container": null, "mcp_servers": [],
        }))
        .unwrap();
        let chat = read.ask.turn.chat().unwrap();
        assert_eq!((chat.tools.len(), chat.tools[0].name(), chat.messages.len()), (1, "add", 2));
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let expected = [
            (json!({"container": "c"}), "`container` is not supported: only models run here"),
            (json!({"colour": 1}), "`colour` is not known here; remove it"),
            (json!({"max_tokens": 0}), "`max_tokens` cannot be `0`: at least 1 token must be allowed"),
            (json!({"top_k": -1}), "`top_k` cannot be `-1`: it must be a whole number of at least 0"),
            (
                json!({"mcp_servers": [{"type": "url", "url": "https://a.test", "name": "a"}]}),
                "`mcp_servers` is not supported: models here run on this machine only",
            ),
            (
                json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "any"}}),
                "`tool_choice` asks for a call of `web_search`, which slm cannot run: only the client's own tools, with \
                 a schema, are supported",
            ),
            (
                json!({"thinking": {"type": "enabled"}, "messages": [{"role": "assistant", "content": "a"}]}),
                "`thinking` is on and the last message begins the answer: a model thinks before it answers, so use only one \
                 of them",
            ),
            (
                json!({"output_format": {"type": "grammar", "schema": {}}}),
                "`output_format.type` cannot be `grammar`: only `json_schema` is supported",
            ),
            (
                json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "nonsense"}}}}),
                "`output_config.format`: the schema at `/type` is not supported: \"nonsense\" is not a type of JSON Schema",
            ),
        ];
        for (more, message) in expected {
            assert_eq!(wanted(more).unwrap_err().message, message);
        }
    }
}
