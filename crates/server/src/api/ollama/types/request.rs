//! Requests to `/api/generate` and `/api/chat`, converted to what is asked of a model.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::options::{self, Options};
use super::{Format, KeepAliveText};
use crate::api::fields::{self, Fitting, Refused, Whole};
use crate::api::idle_fields::Object;
use crate::api::problem::Problem;
use crate::api::service::{AskedForm, TurnRequest};
use slm_engine::Detail;
use slm_infer::infer::{Before, Chat, Given, Memory, Turn};
use slm_infer::load_spec;
use slm_values::chat::{Message, Role};
use slm_values::keep_alive::KeepAlive;
use slm_values::template::ChatTemplate;
use slm_values::tools::{Tool, ToolCall};

/// Maximum number of tokens that are listed for one place.
const MAX_TOP: i64 = 20;

/// A request to `/api/generate`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ollama::GenerateRequest)]
pub struct GenerateRequest {
    pub model: String,
    /// An empty prompt only loads the model, unless there is a `suffix`.
    pub prompt: Option<String>,
    /// The text after the gap to fill; the prompt is the text before it. For code models.
    pub suffix: Option<String>,
    /// Replaces the Modelfile's.
    pub system: Option<String>,
    /// Replaces the model's chat template; in Go's language or in Jinja.
    pub template: Option<String>,
    /// Whether the prompt is sent to the model without a template; special tokens in it count as such.
    pub raw: Option<bool>,
    /// The `context` of an earlier answer to continue.
    #[schema(value_type = Option<Vec<i32>>)]
    pub context: Option<Vec<Value>>,
    /// One line per piece (the default), or one object.
    pub stream: Option<bool>,
    /// `"json"` for what the model's Modelfile says, as JSON, and without that any object; or a JSON schema. Without it a label of a
    /// Modelfile's list comes without quotes.
    #[schema(value_type = Option<Format>)]
    pub format: Option<Value>,
    #[schema(value_type = Option<Options>)]
    pub options: Option<Map<String, Value>>,
    #[schema(value_type = Option<KeepAliveText>)]
    pub keep_alive: Option<KeepAlive>,
    /// Whether the model thinks before it answers; every level means yes.
    #[schema(value_type = Option<Think>)]
    pub think: Option<Value>,
    /// Whether tokens are returned with their log-probabilities.
    pub logprobs: Option<bool>,
    /// Number of likely tokens to list for each token.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 20)]
    pub top_logprobs: Option<Whole>,
    /// `false`: the model's own probabilities, without the fit that its labels gave it. By default answers in the format that
    /// the fit was made for are fitted.
    pub fit: Option<bool>,
    /// What a bare label is replaced with where the fit leaves the answer to a person; by default nothing. In JSON it is null.
    pub abstain: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// A request to `/api/chat`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ollama::ChatRequest)]
pub struct ChatRequest {
    pub model: String,
    /// The oldest first; an empty list only loads the model.
    pub messages: Option<Vec<ChatMessage>>,
    /// The tools that the model may call.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Value>,
    /// One line per piece (the default), or one object.
    pub stream: Option<bool>,
    /// `"json"` for what the model's Modelfile says, as JSON, and without that any object; or a JSON schema. Without it a label of a
    /// Modelfile's list comes without quotes.
    #[schema(value_type = Option<Format>)]
    pub format: Option<Value>,
    #[schema(value_type = Option<Options>)]
    pub options: Option<Map<String, Value>>,
    #[schema(value_type = Option<KeepAliveText>)]
    pub keep_alive: Option<KeepAlive>,
    /// Whether the model thinks before it answers; every level means yes.
    #[schema(value_type = Option<Think>)]
    pub think: Option<Value>,
    /// Whether tokens are returned with their log-probabilities.
    pub logprobs: Option<bool>,
    /// Number of likely tokens to list for each token.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 20)]
    pub top_logprobs: Option<Whole>,
    /// `false`: the model's own probabilities, without the fit that its labels gave it. By default answers in the format that
    /// the fit was made for are fitted.
    pub fit: Option<bool>,
    /// What a bare label is replaced with where the fit leaves the answer to a person; by default nothing. In JSON it is null.
    pub abstain: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// Whether a model thinks: on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[serde(untagged)]
#[schema(as = ollama::Think)]
#[allow(dead_code)] // Only described.
pub enum Think {
    Flag(bool),
    Level(ThinkLevel),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ollama::ThinkLevel)]
#[allow(dead_code)] // Only described.
pub enum ThinkLevel {
    Low,
    Medium,
    High,
}

/// One message of a conversation.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ollama::ChatMessage)]
pub struct ChatMessage {
    #[schema(value_type = String, pattern = "^(system|user|assistant|tool)$")]
    pub role: Role,
    pub content: Option<String>,
    /// What an assistant thought before it answered.
    pub thinking: Option<String>,
    /// The calls that an assistant made.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<Value>,
    /// The tool that answers. Without it, results belong to the calls before them in their order.
    pub tool_name: Option<String>,
    /// Another name of `tool_name`; has no effect in other messages.
    pub name: Option<String>,
    pub tool_call_id: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

const OF_TEXT: &str = "models here read and write text";
const OF_GAPS: &str = "a gap is not filled within a conversation; remove it or `suffix`";
const OF_PICTURES: &str = "models here write text, not pictures";
const REFUSED: [Refused; 6] = [
    ("images", OF_TEXT),
    ("width", OF_PICTURES),
    ("height", OF_PICTURES),
    ("steps", OF_PICTURES),
    ("_debug_render_only", "prompts are not shown over the network"),
    ("tools", "`/api/generate` answers one text; ask `/api/chat`"),
];

/// What a request is after.
#[derive(Debug, Clone)]
pub enum RequestPurpose {
    /// The model is to be there, or to go, and nothing is asked of it.
    Nothing(Box<TurnRequest>),
    Answer(Box<TurnRequest>),
}

impl GenerateRequest {
    /// What is asked of the model.
    ///
    /// # Errors
    /// What cannot be understood or kept, by its field's name.
    pub fn wanted(self) -> Result<RequestPurpose, Problem> {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (system, template, suffix) = (said(self.system), said(self.template), said(self.suffix));
        let context = fields::tokens(self.context.unwrap_or_default(), "context")?;
        let prompt = self.prompt.unwrap_or_default();
        let is_empty = prompt.is_empty() && suffix.is_none();
        let fitting = Fitting { fit: self.fit, abstain: self.abstain };
        let GenerateRequest { model, raw, format, options, keep_alive, think, logprobs, top_logprobs, rest, .. } = self;
        let object = Object::Generate;
        let common = Common { object, format, options, keep_alive, logprobs, top_logprobs, fitting, rest };
        let think = self::think(think)?;
        // What only a conversation has.
        let conversed = [
            ("template", template.is_some()),
            ("system", system.is_some()),
            ("context", !context.is_empty()),
            ("think", think == Some(true)),
        ];
        let conversed = conversed.into_iter().find_map(|(name, is_said)| is_said.then_some(name));
        let before = match (raw == Some(true), suffix, conversed) {
            (false, None, _) => {
                let system = system.map(|system| Message::new(Role::System, system));
                let messages = system.into_iter().chain([Message::new(Role::User, prompt)]).collect();
                let template = template.map(|text| self::template(&text)).transpose()?;
                Chat { think, memory: Memory::Tokens(context), template, ..Chat::of(messages) }.into()
            }
            (false, Some(behind), None) => Before::Prompt(Given::Infill { before: prompt, behind }),
            (false, Some(_), Some(name)) => return Err(Problem::unsupported(name, OF_GAPS)),
            (true, None, None) => Before::Prompt(Given::Raw(prompt)),
            (true, Some(_), _) => return Err(Problem::unsupported("suffix", "write the whole of a raw prompt")),
            (true, None, Some("think")) => {
                return Err(Problem::unsupported("think", "write the whole of a raw prompt"));
            }
            // In Ollama's words.
            (true, None, Some(name)) => {
                let message = "raw mode does not support template, system, or context";
                return Err(Problem::unsupported_value(message.to_owned(), name));
            }
        };
        let ask = common.ask(model, before)?;
        Ok(if is_empty { RequestPurpose::Nothing(Box::new(ask)) } else { RequestPurpose::Answer(Box::new(ask)) })
    }
}

impl ChatRequest {
    /// What is asked of the model.
    ///
    /// # Errors
    /// What cannot be understood or kept, by its field's name.
    pub fn wanted(self) -> Result<RequestPurpose, Problem> {
        let messages = self.messages.unwrap_or_default().into_iter().enumerate();
        let read = |(number, message): (usize, ChatMessage)| message.read(&format!("messages[{number}]"));
        let messages = messages.map(read).collect::<Result<Vec<_>, _>>()?;
        let tools = self.tools.map(|tools| Tool::list(&tools, "tools")).transpose()?.unwrap_or_default();
        let is_empty = messages.is_empty();
        let fitting = Fitting { fit: self.fit, abstain: self.abstain };
        let ChatRequest { model, format, options, keep_alive, think, logprobs, top_logprobs, rest, .. } = self;
        let object = Object::OllamaChat;
        let common = Common { object, format, options, keep_alive, logprobs, top_logprobs, fitting, rest };
        let think = self::think(think)?;
        let ask = common.ask(model, Chat { tools, think, ..Chat::of(messages) }.into())?;
        Ok(if is_empty { RequestPurpose::Nothing(Box::new(ask)) } else { RequestPurpose::Answer(Box::new(ask)) })
    }
}

/// What both requests have.
struct Common {
    object: Object,
    format: Option<Value>,
    options: Option<Map<String, Value>>,
    keep_alive: Option<KeepAlive>,
    logprobs: Option<bool>,
    top_logprobs: Option<Whole>,
    fitting: Fitting,
    rest: Map<String, Value>,
}

impl Common {
    fn ask(self, model: String, before: Before) -> Result<TurnRequest, Problem> {
        let mut rest = self.rest;
        // Whether a full context continues without its beginning; here an answer ends, which is what `false` says.
        if rest.get("shift").is_some_and(Value::is_boolean) {
            rest.remove("shift");
        }
        fields::only_idle_left(&rest, "", self.object, &REFUSED)?;
        let detail = detail(self.logprobs.unwrap_or(false), self.top_logprobs)?;
        let parameters = options::read(self.options)?;
        let turn = self.fitting.of(Turn { before, parameters, detail, ..Turn::default() });
        Ok(TurnRequest { model, keep_alive: self.keep_alive, form: form(self.format)?, turn })
    }
}

impl ChatMessage {
    /// The message at this place of the request.
    ///
    /// # Errors
    /// What cannot be understood or kept, by its field's name.
    pub fn read(self, at: &str) -> Result<Message, Problem> {
        fields::none_left(&self.rest, at, &[("images", OF_TEXT)])?;
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        let tool_calls = match &self.tool_calls {
            Some(calls) => ToolCall::list(calls, &format!("{at}.tool_calls"))?,
            None => Vec::new(),
        };
        if self.role != Role::Assistant && !tool_calls.is_empty() {
            let place = format!("{at}.tool_calls");
            return Err(Problem::invalid(format!("`{place}` is only for messages of the role `assistant`")).of(place));
        }
        Ok(Message {
            thinking: said(self.thinking).filter(|_| self.role == Role::Assistant),
            tool_calls,
            tool_name: said(self.tool_name).or(said(self.name).filter(|_| self.role == Role::Tool)),
            tool_call_id: said(self.tool_call_id),
            ..Message::new(self.role, self.content.unwrap_or_default())
        })
    }
}

/// `format`: `"json"`, a schema, or nothing.
fn form(format: Option<Value>) -> Result<AskedForm, Problem> {
    match format {
        None | Some(Value::Null) => Ok(AskedForm::Own),
        Some(Value::String(text)) if text.is_empty() => Ok(AskedForm::Own),
        Some(Value::String(text)) if text == "json" => Ok(AskedForm::AnyJson),
        Some(schema @ Value::Object(_)) => AskedForm::schema(schema).map_err(|problem| problem.of("format")),
        Some(other) => {
            Err(Problem::invalid(format!("`format` cannot be {other}: give \"json\" or a JSON schema")).of("format"))
        }
    }
}

/// `template`: a chat template that writes what it is asked.
fn template(text: &str) -> Result<ChatTemplate, Problem> {
    load_spec::checked(text)
        .map_err(|error| Problem::invalid(format!("the template cannot be used: {error}")).of("template"))
}

/// `think`: yes, no, or how much, which is yes too.
fn think(think: Option<Value>) -> Result<Option<bool>, Problem> {
    match think {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(think)) => Ok(Some(think)),
        Some(Value::String(level)) if ["low", "medium", "high"].contains(&level.as_str()) => Ok(Some(true)),
        Some(other) => {
            let message = format!("`think` cannot be {other}: give true, false, \"low\", \"medium\" or \"high\"");
            Err(Problem::invalid(message).of("think"))
        }
    }
}

fn detail(logprobs: bool, top: Option<Whole>) -> Result<Detail, Problem> {
    let refused = |why: String| Err(Problem::invalid(format!("`top_logprobs` {why}")).of("top_logprobs"));
    match (logprobs, top.map_or(0, |Whole(n)| n)) {
        (_, n) if !(0..=MAX_TOP).contains(&n) => refused(format!("cannot be `{n}`: it is from 0 to {MAX_TOP}")),
        (false, 0) => Ok(Detail::Text),
        (false, _) => refused("needs `logprobs: true`".to_owned()),
        // Within 20, as was checked.
        (true, n) => Ok(Detail::Likely { n: n as u8 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use slm_values::template::Language;

    fn wanted(more: Value) -> Result<RequestPurpose, Problem> {
        let mut request = json!({"model": "m", "prompt": "a"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<GenerateRequest>(request).unwrap().wanted()
    }

    fn asked(more: Value) -> TurnRequest {
        match wanted(more).unwrap() {
            RequestPurpose::Answer(ask) => *ask,
            RequestPurpose::Nothing(ask) => panic!("nothing is asked: {ask:?}"),
        }
    }

    #[test]
    fn a_prompt_is_a_turn_unless_its_writer_made_it() {
        let ask =
            asked(json!({"system": "s", "template": "{{ .Prompt }}", "context": [1, 2.0], "raw": false, "suffix": ""}));
        let Before::Chat(chat) = ask.turn.before else { panic!("a turn of a conversation") };
        assert_eq!(chat.messages, [Message::new(Role::System, "s"), Message::new(Role::User, "a")]);
        assert_eq!(chat.template.map(|template| template.language()), Some(Language::Go));
        assert_eq!(chat.memory, Memory::Tokens(vec![1, 2]));
        let given = |more: Value| match asked(more).turn.before {
            Before::Prompt(given) => given,
            Before::Chat(chat) => panic!("a conversation: {chat:?}"),
        };
        let raw = given(json!({"raw": true, "system": "", "template": "", "context": [], "think": false}));
        assert_eq!(raw, Given::Raw("a".to_owned()));
        let infill = |before: &str| Given::Infill { before: before.to_owned(), behind: "z".to_owned() };
        assert_eq!(given(json!({"suffix": "z"})), infill("a"));
        assert_eq!(given(json!({"suffix": "z", "prompt": ""})), infill(""));
        for nothing in
            [json!({"prompt": ""}), json!({"prompt": "", "raw": true}), json!({"prompt": null, "system": "s"})]
        {
            assert!(matches!(wanted(nothing).unwrap(), RequestPurpose::Nothing(_)));
        }
    }

    #[test]
    fn a_tools_answer_names_its_tool_by_either_name() {
        for (more, tool_name) in [
            (json!({"role": "tool", "name": "get_weather", "tool_call_id": "call_1"}), Some("get_weather")),
            (json!({"role": "tool", "tool_name": "get_weather"}), Some("get_weather")),
            (json!({"role": "tool", "tool_name": "get_weather", "name": "other"}), Some("get_weather")),
            (json!({"role": "tool", "tool_name": "", "name": "get_weather"}), Some("get_weather")),
            (json!({"role": "tool"}), None),
            (json!({"role": "user", "name": "ada"}), None),
            (json!({"role": "assistant", "name": null, "thinking": "hm", "tool_calls": null, "images": null}), None),
        ] {
            let mut message = json!({"content": "rain"});
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let message = serde_json::from_value::<ChatMessage>(message).unwrap().read("messages[0]").unwrap();
            assert_eq!(message.tool_name.as_deref(), tool_name, "{more}");
            assert_eq!(message.tool_call_id.as_deref(), more["tool_call_id"].as_str(), "{more}");
        }
    }

    #[test]
    fn what_cannot_be_had_together_is_refused() {
        let raw = "raw mode does not support template, system, or context";
        let gap = "is not supported: a gap is not filled within a conversation; remove it or `suffix`";
        let expected = [
            (json!({"raw": true, "template": "x"}), raw.to_owned(), "template"),
            (json!({"raw": true, "system": "x"}), raw.to_owned(), "system"),
            (json!({"raw": true, "context": [1]}), raw.to_owned(), "context"),
            (
                json!({"raw": true, "think": true}),
                "`think` is not supported: write the whole of a raw prompt".to_owned(),
                "think",
            ),
            (
                json!({"raw": true, "suffix": "z"}),
                "`suffix` is not supported: write the whole of a raw prompt".to_owned(),
                "suffix",
            ),
            (json!({"suffix": "z", "system": "x"}), format!("`system` {gap}"), "system"),
            (json!({"suffix": "z", "context": [1]}), format!("`context` {gap}"), "context"),
            (
                json!({"context": [-5_000_000_000_i64]}),
                "`context[0]` is `-5000000000`, which is not a token id".to_owned(),
                "context[0]",
            ),
        ];
        for (more, message, field) in expected {
            let problem = wanted(more).unwrap_err();
            assert_eq!((problem.message, problem.field), (message, Some(field.to_owned())));
        }
    }
}
