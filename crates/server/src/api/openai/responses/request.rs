//! Requests to `/v1/responses`, converted to what is asked of a model, and the fields that the answer repeats.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::items::{self, InputItem};
use super::tools::{self, FunctionTool, FunctionToolChoice};
use crate::api::choices::Calls;
use crate::api::fields::{self, Fitting, Refused, TextOr, Whole};
use crate::api::idle_fields::{self, Object};
use crate::api::openai::chat::request::{FormatKind, ReasoningEffort, n_top};
use crate::api::problem::Problem;
use crate::api::service::{AskedForm, TurnRequest};
use slm_engine::Detail;
use slm_infer::infer::{Chat, Turn};
use slm_values::sampling::Parameters;

/// A request for a response. Nothing is stored: `input` is the whole conversation.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::ResponseRequest)]
pub struct ResponseRequest {
    /// A model's name, as `/v1/models` gives it.
    pub model: String,
    /// The user's text, or the conversation, the oldest item first.
    pub input: TextOr<InputItem>,
    /// Comes before the conversation.
    pub instructions: Option<String>,
    pub text: Option<TextConfig>,
    pub stream: Option<bool>,
    pub stream_options: Option<ResponseStreamOptions>,
    /// Maximum number of tokens of the answer, including thinking; by default the Modelfile's.
    #[schema(value_type = Option<i64>, minimum = 1)]
    pub max_output_tokens: Option<Whole>,
    /// Has no effect: it counts only calls that a server runs.
    #[schema(value_type = Option<i64>)]
    pub max_tool_calls: Option<Whole>,
    /// By default the Modelfile's.
    #[schema(minimum = 0, maximum = 100)]
    pub temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// Number of likely tokens to list for each token. More than none has the same effect as `message.output_text.logprobs`.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 20)]
    pub top_logprobs: Option<Whole>,
    /// `message.output_text.logprobs` for tokens with their probabilities. The others have no effect:
    /// `reasoning.encrypted_content`, because thinking is returned as it is, the rest because slm does not produce such output.
    pub include: Option<Vec<Includable>>,
    /// The tools that the model may call.
    pub tools: Option<Vec<FunctionTool>>,
    /// `auto` (the default), `none`, `required`, or the one to call.
    #[schema(value_type = Option<FunctionToolChoice>)]
    pub tool_choice: Option<Value>,
    /// `false`: at most one call.
    pub parallel_tool_calls: Option<bool>,
    pub reasoning: Option<Reasoning>,
    /// Has no effect; the answer repeats it.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Has no effect.
    pub user: Option<String>,
    /// Has no effect: prompt beginnings are always cached.
    pub prompt_cache_key: Option<String>,
    /// Has no effect.
    pub safety_identifier: Option<String>,
    /// `false`: the model's own probabilities, without the fit that its labels gave it. By default answers in the format that
    /// the fit was made for are fitted.
    pub fit: Option<bool>,
    /// What a bare label is replaced with where the fit leaves the answer to a person; by default nothing. In JSON it is null.
    pub abstain: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// Additional parts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = openai::Includable)]
pub enum Includable {
    #[serde(rename = "message.output_text.logprobs")]
    Logprobs,
    #[serde(rename = "reasoning.encrypted_content")]
    EncryptedReasoning,
    #[serde(rename = "code_interpreter_call.outputs")]
    InterpreterOutputs,
    #[serde(rename = "computer_call_output.output.image_url")]
    ComputerImages,
    #[serde(rename = "file_search_call.results")]
    FileResults,
    #[serde(rename = "message.input_image.image_url")]
    InputImages,
    #[serde(rename = "web_search_call.action.sources")]
    WebSources,
    #[serde(rename = "web_search_call.results")]
    WebResults,
}

/// The format of the answer's text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = openai::TextConfig)]
pub struct TextConfig {
    pub format: Option<TextFormat>,
    /// Has no effect: the model decides how much it writes. The answer repeats it.
    pub verbosity: Option<String>,
    #[serde(flatten, skip_serializing)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// The form of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = openai::TextFormat)]
pub struct TextFormat {
    pub r#type: FormatKind,
    /// Has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Has no effect; the schema's own descriptions are shown to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Of the type `json_schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// Has no effect: every schema is enforced strictly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    #[serde(flatten, skip_serializing)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// How the model thinks before it answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = openai::Reasoning)]
pub struct Reasoning {
    /// `none` and `minimal` turn a model's thinking off; all others turn it on.
    pub effort: Option<ReasoningEffort>,
    /// Has no effect: thinking is returned as it is. The answer repeats it.
    pub summary: Option<String>,
    #[serde(flatten, skip_serializing)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// How an answer is streamed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::ResponseStreamOptions)]
pub struct ResponseStreamOptions {
    /// Has no effect: parts are never padded.
    pub include_obfuscation: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// What a request wants.
#[derive(Debug)]
pub struct ParsedResponses {
    pub ask: TurnRequest,
    /// Likely tokens that are told of each token; `None` tells no probabilities.
    pub n_top: Option<u8>,
    pub calls: Calls,
    pub delivery: Delivery,
    pub echo: Echo,
}

/// How an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Whole,
    Streamed,
}

/// The fields of the request that an answer repeats.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::ResponseEcho)]
pub struct Echo {
    pub model: String,
    #[schema(required)]
    pub instructions: Option<String>,
    #[schema(required)]
    pub max_output_tokens: Option<i64>,
    #[schema(required)]
    pub max_tool_calls: Option<i64>,
    pub metadata: BTreeMap<String, String>,
    pub parallel_tool_calls: bool,
    pub reasoning: Reasoning,
    /// `null` where the model's Modelfile decides.
    #[schema(required)]
    pub temperature: Option<f64>,
    /// `null` where the model's Modelfile decides.
    #[schema(required)]
    pub top_p: Option<f64>,
    pub text: TextConfig,
    #[schema(value_type = FunctionToolChoice)]
    pub tool_choice: Value,
    pub tools: Vec<FunctionTool>,
    pub top_logprobs: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_cache_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safety_identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

const REFUSED: [Refused; 10] = [
    ("access_programs", "there are none here"),
    ("background", "background answers are not supported"),
    ("background_options", "background answers are not supported"),
    ("conversation", "nothing is stored here; give the whole conversation as `input`"),
    ("image", "models here read text"),
    ("moderation", "nobody else reads the answers"),
    ("previous_response_id", "nothing is stored here; give the whole conversation as `input`"),
    ("prompt", "nothing is stored here; give its text as `instructions`"),
    ("seed", "take `/v1/chat/completions`"),
    ("stop", "take `/v1/chat/completions`"),
];

impl ResponseRequest {
    /// Reads the request.
    ///
    /// # Errors
    /// Something in it cannot be honoured; the problem names it.
    pub fn wanted(self) -> Result<ParsedResponses, Problem> {
        fields::only_idle_left(&self.rest, "", Object::Response, &REFUSED)?;
        if let Some(options) = &self.stream_options {
            fields::none_left(&options.rest, "stream_options", &[])?;
        }
        let is_here = |what: &Includable| matches!(what, Includable::Logprobs | Includable::EncryptedReasoning);
        if self.include.iter().flatten().any(|what| !is_here(what)) {
            idle_fields::note("include", "it adds to output that slm does not produce");
        }
        let n_top = self.n_top()?;
        let parameters = self.parameters()?;
        let form = self.text.as_ref().map_or(Ok(AskedForm::Own), TextConfig::form)?;
        let think = self.reasoning.as_ref().map_or(Ok(None), Reasoning::read)?;
        let (tools, tool_choice) = tools::read(self.tools.as_deref().unwrap_or_default(), self.tool_choice.as_ref())?;
        let calls = if self.parallel_tool_calls == Some(false) { Calls::One } else { Calls::Any };
        let delivery = if self.stream == Some(true) { Delivery::Streamed } else { Delivery::Whole };
        let echo = self.echo();
        let messages = items::read(self.instructions, self.input)?;
        let chat = Chat { tools, tool_choice, think, ..Chat::of(messages) };
        let detail = n_top.map_or(Detail::Text, |n| Detail::Likely { n });
        let fitting = Fitting { fit: self.fit, abstain: self.abstain };
        let turn = fitting.of(Turn { before: chat.into(), parameters, detail, ..Turn::default() });
        let ask = TurnRequest { model: self.model, keep_alive: None, form, turn };
        Ok(ParsedResponses { ask, n_top, calls, delivery, echo })
    }

    fn n_top(&self) -> Result<Option<u8>, Problem> {
        let is_included = self.include.iter().flatten().any(|&what| what == Includable::Logprobs);
        let is_meant = self.top_logprobs.is_some_and(|Whole(n)| n > 0);
        n_top(Some(is_included || is_meant), self.top_logprobs)
    }

    fn parameters(&self) -> Result<Parameters, Problem> {
        let mut parameters = Parameters::default();
        fields::set(&mut parameters, "temperature", "temperature", self.temperature.map(Value::from))?;
        fields::set(&mut parameters, "top_p", "top_p", self.top_p.map(Value::from))?;
        fields::set_most_tokens(&mut parameters, "max_output_tokens", self.max_output_tokens)?;
        Ok(parameters)
    }

    fn echo(&self) -> Echo {
        let text = self.text.clone().unwrap_or_default();
        let number = |n: Option<Whole>| n.map(|Whole(n)| n);
        Echo {
            model: self.model.clone(),
            instructions: self.instructions.clone(),
            max_output_tokens: number(self.max_output_tokens),
            max_tool_calls: number(self.max_tool_calls),
            metadata: self.metadata.clone().unwrap_or_default(),
            parallel_tool_calls: self.parallel_tool_calls.unwrap_or(true),
            reasoning: self.reasoning.clone().unwrap_or_default(),
            temperature: self.temperature,
            top_p: self.top_p,
            text: TextConfig { format: Some(text.format.unwrap_or_else(TextFormat::text)), ..text },
            tool_choice: self.tool_choice.clone().unwrap_or_else(|| "auto".into()),
            // What the model was not told of is not repeated either.
            tools: self.tools.iter().flatten().filter(|tool| tool.is_own()).cloned().collect(),
            top_logprobs: number(self.top_logprobs).unwrap_or(0),
            prompt_cache_key: self.prompt_cache_key.clone(),
            safety_identifier: self.safety_identifier.clone(),
            user: self.user.clone(),
        }
    }
}

impl TextConfig {
    fn form(&self) -> Result<AskedForm, Problem> {
        fields::none_left(&self.rest, "text", &[])?;
        idle_fields::repeated(Object::ResponseText, "verbosity", "text.verbosity", self.verbosity.as_deref());
        self.format.as_ref().map_or(Ok(AskedForm::Own), TextFormat::form)
    }
}

impl TextFormat {
    /// The form where none is asked for.
    fn text() -> TextFormat {
        TextFormat {
            r#type: FormatKind::Text,
            name: None,
            description: None,
            schema: None,
            strict: None,
            rest: Map::new(),
        }
    }

    fn form(&self) -> Result<AskedForm, Problem> {
        fields::none_left(&self.rest, "text.format", &[])?;
        let place = "text.format.schema";
        match (self.r#type, &self.schema) {
            (FormatKind::JsonSchema, Some(schema)) => {
                AskedForm::schema(schema.clone()).map_err(|problem| problem.of(place))
            }
            (FormatKind::JsonSchema, None) => {
                let message = format!("`{place}` is missing: give the schema that the answer must meet");
                Err(Problem::invalid(message).of(place))
            }
            (_, Some(_)) => Err(Problem::invalid(format!("`{place}` needs the type `json_schema`")).of(place)),
            (FormatKind::Text, None) => Ok(AskedForm::Own),
            (FormatKind::JsonObject, None) => Ok(AskedForm::AnyJson),
        }
    }
}

impl Reasoning {
    /// Whether the model thinks; `None` leaves it to the model.
    fn read(&self) -> Result<Option<bool>, Problem> {
        let says_nothing = |name: &str, value: &Value| match name {
            "context" => value == "auto",
            "mode" => value == "standard",
            _ => false,
        };
        let rest = self.rest.iter().filter(|(name, value)| !says_nothing(name, value));
        let rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
        let refused = [
            ("context", "the thinking in `input` is shown to the model"),
            ("mode", "a model has one way to think; give `effort`"),
        ];
        fields::only_idle_left(&rest, "reasoning", Object::ResponseReasoning, &refused)?;
        idle_fields::repeated(Object::ResponseReasoning, "summary", "reasoning.summary", self.summary.as_deref());
        Ok(self.effort.map(ReasoningEffort::thinks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use slm_values::contract::Form;

    fn wanted(more: Value) -> Result<ParsedResponses, Problem> {
        let mut request = json!({"model": "m", "input": "hi"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<ResponseRequest>(request)
            .map_err(|error| Problem::invalid(error.to_string()))?
            .wanted()
    }

    #[test]
    fn nothing_is_imposed() {
        let wanted = wanted(json!({"temperature": null, "tools": [], "text": {"format": null}})).unwrap();
        assert!(wanted.ask.turn.parameters.is_empty() && wanted.ask.turn.chat().unwrap().think.is_none());
        assert!(matches!(wanted.ask.form, AskedForm::Own));
        assert_eq!((wanted.n_top, wanted.calls, wanted.delivery), (None, Calls::Any, Delivery::Whole));
        let expected = json!({
            "model": "m", "instructions": null, "max_output_tokens": null, "max_tool_calls": null, "metadata": {},
            "parallel_tool_calls": true, "reasoning": {"effort": null, "summary": null}, "temperature": null, "top_p": null,
            "text": {"format": {"type": "text"}, "verbosity": null}, "tool_choice": "auto", "tools": [], "top_logprobs": 0,
        });
        assert_eq!(json!(wanted.echo), expected);
    }

    #[test]
    fn everything_that_has_an_effect_is_read_and_repeated() {
        let format = json!({"type": "json_schema", "name": "a", "schema": {"enum": ["a", "b"]}, "strict": true});
        let tool = json!({"type": "function", "name": "f", "description": null, "parameters": {"type": "object"}, "strict": null});
        let wanted = wanted(json!({
            "instructions": "be kind", "max_output_tokens": 5, "temperature": 0.0, "top_p": 0.5, "stream": true,
            "top_logprobs": 4, "include": ["message.output_text.logprobs"], "parallel_tool_calls": false,
            "reasoning": {"effort": "low"}, "text": {"format": format}, "metadata": {"a": "b"}, "user": "u",
        }))
        .unwrap();
        let expected = json!({"num_predict": 5, "temperature": 0, "top_p": 0.5});
        assert_eq!(wanted.ask.turn.parameters, Parameters::from_json(&expected).unwrap());
        assert_eq!((wanted.n_top, wanted.calls, wanted.delivery), (Some(4), Calls::One, Delivery::Streamed));
        assert!(
            matches!(wanted.ask.form, AskedForm::Form(Form::Closed(_)))
                && wanted.ask.turn.chat().unwrap().think == Some(true)
        );
        let expected = json!({
            "model": "m", "instructions": "be kind", "max_output_tokens": 5, "max_tool_calls": null, "metadata": {"a": "b"},
            "parallel_tool_calls": false, "reasoning": {"effort": "low", "summary": null}, "temperature": 0.0, "top_p": 0.5,
            "text": {"format": format, "verbosity": null}, "tool_choice": "auto", "tools": [], "top_logprobs": 4, "user": "u",
        });
        assert_eq!(json!(wanted.echo), expected);
        let choice = json!({"type": "function", "name": "f"});
        let wanted = self::wanted(json!({"tools": [tool], "tool_choice": choice})).unwrap();
        assert_eq!((&json!(wanted.echo.tools), &wanted.echo.tool_choice), (&json!([tool]), &choice));
        assert_eq!(wanted.ask.turn.chat().unwrap().tools.len(), 1);
    }

    #[test]
    fn likely_tokens_come_where_either_field_asks_for_them() {
        let n_top = |more: Value| wanted(more).unwrap().n_top;
        assert_eq!(n_top(json!({"include": ["message.output_text.logprobs"]})), Some(0));
        assert_eq!(n_top(json!({"top_logprobs": 2})), Some(2));
        assert_eq!(n_top(json!({"top_logprobs": 0, "include": ["reasoning.encrypted_content"]})), None);
    }

    #[test]
    fn what_has_no_effect_passes() {
        wanted(json!({
            "store": false, "background": false, "truncation": "disabled", "service_tier": "auto", "prompt_cache_key": "k",
            "safety_identifier": "s", "previous_response_id": null, "conversation": null, "stream_options": {"include_obfuscation": false},
            "text": {"verbosity": "medium"}, "max_tool_calls": 3,
            "reasoning": {"summary": "auto", "generate_summary": "auto", "context": "auto", "mode": "standard"},
        }))
        .unwrap();
    }

    /// What coding tools send with every request.
    #[test]
    fn what_only_tunes_what_is_not_here_passes() {
        let wanted = wanted(json!({
            "store": true, "truncation": "auto", "service_tier": "priority", "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "k", "prompt_cache_retention": "24h", "client_metadata": {"x-codex-installation-id": "1"},
            "reasoning": {"effort": "medium", "summary": "detailed"}, "text": {"verbosity": "low"},
            "context_management": [{"type": "compaction"}], "parallel_tool_calls": false, "tool_choice": "auto",
            "tools": [{"type": "web_search"}, {"type": "function", "name": "f"}, {"type": "local_shell"}],
        }))
        .unwrap();
        let chat = wanted.ask.turn.chat().unwrap();
        assert_eq!((chat.tools.len(), chat.think), (1, Some(true)));
        let echo = json!(wanted.echo);
        assert_eq!((echo["tools"].as_array().unwrap().len(), &echo["tools"][0]["name"]), (1, &json!("f")));
        assert_eq!((&echo["text"]["verbosity"], &echo["reasoning"]["summary"]), (&json!("low"), &json!("detailed")));
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let kept = "nothing is stored here; give the whole conversation as `input`";
        let expected = [
            (
                json!({"previous_response_id": "resp_1"}),
                format!("`previous_response_id` is not supported: {kept}"),
                "previous_response_id",
            ),
            (json!({"conversation": "conv_1"}), format!("`conversation` is not supported: {kept}"), "conversation"),
            (
                json!({"background": true}),
                "`background` is not supported: background answers are not supported".to_owned(),
                "background",
            ),
            (json!({"colour": 1}), "`colour` is not known here; remove it".to_owned(), "colour"),
            (
                json!({"max_output_tokens": 0}),
                "`max_output_tokens` cannot be `0`: at least 1 token must be allowed".to_owned(),
                "max_output_tokens",
            ),
            (
                json!({"top_logprobs": 21}),
                "`top_logprobs` cannot be `21`: it must be a whole number from 0 to 20".to_owned(),
                "top_logprobs",
            ),
            (
                json!({"text": {"format": {"type": "json_schema", "name": "x"}}}),
                "`text.format.schema` is missing: give the schema that the answer must meet".to_owned(),
                "text.format.schema",
            ),
            (
                json!({"text": {"format": {"type": "text", "schema": {}}}}),
                "`text.format.schema` needs the type `json_schema`".to_owned(),
                "text.format.schema",
            ),
            (
                json!({"reasoning": {"mode": "pro"}}),
                "`reasoning.mode` is not supported: a model has one way to think; give `effort`".to_owned(),
                "reasoning.mode",
            ),
            (
                json!({"stream": true, "stream_options": {"x": 1}}),
                "`stream_options.x` is not known here; remove it".to_owned(),
                "stream_options.x",
            ),
        ];
        for (more, message, field) in expected {
            let problem = wanted(more).unwrap_err();
            assert_eq!((problem.message, problem.field), (message, Some(field.to_owned())));
        }
    }
}
