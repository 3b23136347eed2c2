//! Requests to `/v1/completions`, converted to what is asked of a model.

use serde::Deserialize;
use serde_json::{Map, Number, Value};
use utoipa::ToSchema;

use crate::api::fields::{self, Fitting, Refused, TextOr, Whole};
use crate::api::idle_fields::Object;
use crate::api::openai::bias;
use crate::api::openai::chat::request::{MAX_CHOICES, StreamOptions, WithUsage, n_choices, set_of_peers, stop, stream};
use crate::api::problem::Problem;
use crate::api::service::{AskedForm, TurnRequest};
use slm_engine::Detail;
use slm_infer::infer::{Before, Given, Turn};
use slm_values::sampling::Parameters;

/// A request for completions.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::CompletionRequest)]
pub struct CompletionRequest {
    /// A model's name, as `/v1/models` gives it.
    pub model: String,
    /// A text, in which special tokens count as such, or tokens; or a list of these. By default empty.
    #[schema(value_type = Option<Prompts>)]
    pub prompt: Option<Value>,
    /// The text after the gap to fill; the prompt is the text before it. Special tokens in both are plain
    /// text.
    pub suffix: Option<String>,
    /// Maximum number of tokens of an answer; by default the Modelfile's, else 16.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub max_tokens: Option<Whole>,
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
    /// Number of answers to each prompt; at most 128 answers for all prompts.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 128)]
    pub n: Option<Whole>,
    /// Has no effect: it equals `n`, because all answers are returned.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 128)]
    pub best_of: Option<Whole>,
    /// Whether answers begin with their prompts; with `logprobs` the prompts' tokens are told as well, and prompts may be tokens.
    pub echo: Option<bool>,
    #[schema(minimum = -100, maximum = 100)]
    pub presence_penalty: Option<f64>,
    #[schema(minimum = -100, maximum = 100)]
    pub frequency_penalty: Option<f64>,
    /// Added to the logits of tokens, by token id; -100 excludes a token.
    #[schema(value_type = Option<std::collections::HashMap<String, f64>>)]
    pub logit_bias: Option<Map<String, Value>>,
    /// Number of likely tokens to list for each token; by default no probabilities are returned.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 5)]
    pub logprobs: Option<Whole>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    /// Sample from that many most likely tokens; 0 and -1: from all.
    #[schema(value_type = Option<i64>, minimum = -1, maximum = 2_147_483_647)]
    pub top_k: Option<Whole>,
    /// Drop tokens below this fraction of the most likely token's probability.
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f64>,
    /// Divides the logits of repeated tokens; 1 is off.
    #[schema(minimum = 0.001, maximum = 100)]
    pub repetition_penalty: Option<f64>,
    /// `false`: the model's own probabilities, without the fit that its labels gave it. By default answers in the format that
    /// the fit was made for are fitted.
    pub fit: Option<bool>,
    /// What a bare label is replaced with where the fit leaves the answer to a person; by default nothing. In JSON it is null.
    pub abstain: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// Prompts, each with its own answers.
#[derive(Debug, Clone, ToSchema)]
#[serde(untagged)]
#[schema(as = openai::Prompts)]
#[allow(dead_code)] // Only described.
pub enum Prompts {
    Text(String),
    Texts(Texts),
    Tokens(Tokens),
    TokenLists(TokenLists),
}

#[derive(Debug, Clone, ToSchema)]
#[schema(as = openai::PromptTexts, min_items = 1, max_items = 128)]
#[allow(dead_code)] // Only described.
pub struct Texts(Vec<String>);

/// A prompt as token ids.
#[derive(Debug, Clone, ToSchema)]
#[schema(as = openai::PromptTokens, min_items = 1)]
#[allow(dead_code)] // Only described.
pub struct Tokens(Vec<i32>);

#[derive(Debug, Clone, ToSchema)]
#[schema(as = openai::PromptTokenLists, min_items = 1, max_items = 128)]
#[allow(dead_code)] // Only described.
pub struct TokenLists(Vec<Tokens>);

/// What a request wants.
#[derive(Debug)]
pub struct ParsedCompletions {
    pub model: String,
    /// One for each prompt, otherwise alike.
    pub asks: Vec<TurnRequest>,
    /// Answers to each prompt.
    pub n_each: usize,
    /// Likely tokens that are told of each token; `None` tells no probabilities.
    pub n_top: Option<u8>,
    pub echo: Echoed,
    pub stream: Option<WithUsage>,
}

/// What answers begin with.
#[derive(Debug, Clone, PartialEq)]
pub enum Echoed {
    Nothing,
    /// The prompts.
    Texts(Vec<String>),
    /// The prompts, with what is known of their tokens.
    Tokens(Vec<Given>),
}

/// The most likely tokens that are told, as many as OpenAI tells here.
const MAX_TOP: i64 = 5;

const REFUSED: [Refused; 4] = [
    ("messages", "ask `/v1/chat/completions`"),
    ("response_format", "ask `/v1/chat/completions`"),
    ("max_completion_tokens", "give `max_tokens`"),
    ("top_logprobs", "give a number as `logprobs`"),
];

impl CompletionRequest {
    /// Reads the request.
    ///
    /// # Errors
    /// Something in it cannot be honoured; the problem names it.
    pub fn wanted(mut self) -> Result<ParsedCompletions, Problem> {
        fields::only_idle_left(&self.rest, "", Object::Completion, &REFUSED)?;
        let n_each = n_choices(self.n)?;
        if let Some(Whole(best_of)) = self.best_of.filter(|Whole(n)| usize::try_from(*n) != Ok(n_each)) {
            let message = format!(
                "`best_of` cannot be `{best_of}`: every answer is returned, so it must equal `n`, here `{n_each}`"
            );
            return Err(Problem::unsupported_value(message, "best_of"));
        }
        let n_top = n_top(self.logprobs)?;
        let stream = stream(self.stream, self.stream_options.take())?;
        let (parameters, bias) = (self.parameters()?, bias::read(self.logit_bias.as_ref())?);
        let given = given(self.prompt.take(), self.suffix.take().filter(|suffix| !suffix.is_empty()))?;
        if given.len() * n_each > MAX_CHOICES as usize {
            let n_prompts = given.len();
            let message =
                format!("`prompt` has {n_prompts} prompts, each with {n_each} answers: ask for at most {MAX_CHOICES}");
            return Err(Problem::invalid(message).of("prompt"));
        }
        let echo = if self.echo == Some(true) { echoed(&given, n_top)? } else { Echoed::Nothing };
        let detail = n_top.map_or(Detail::Text, |n| Detail::Likely { n });
        let fitting = Fitting { fit: self.fit, abstain: self.abstain.take() };
        let turn = fitting.of(Turn { parameters, detail, bias, ..Turn::default() });
        let ask = |given| TurnRequest {
            model: self.model.clone(),
            keep_alive: None,
            form: AskedForm::Own,
            turn: Turn { before: Before::Prompt(given), ..turn.clone() },
        };
        let asks = given.into_iter().map(ask).collect();
        Ok(ParsedCompletions { model: self.model, asks, n_each, n_top, echo, stream })
    }

    fn parameters(&self) -> Result<Parameters, Problem> {
        let mut parameters = Parameters::default();
        let number = |n: Option<f64>| n.map(Value::from);
        if let Some(Whole(n)) = self.max_tokens.filter(|Whole(n)| *n < 0) {
            let message = format!("`max_tokens` cannot be `{n}`: it must be a whole number of at least 0");
            return Err(Problem::invalid(message).of("max_tokens"));
        }
        for (field, name, value) in [
            ("temperature", "temperature", number(self.temperature)),
            ("top_p", "top_p", number(self.top_p)),
            ("seed", "seed", self.seed.clone().map(Value::Number)),
            ("presence_penalty", "presence_penalty", number(self.presence_penalty)),
            ("frequency_penalty", "frequency_penalty", number(self.frequency_penalty)),
            ("min_p", "min_p", number(self.min_p)),
            ("stop", "stop", stop(self.stop.as_ref())),
            ("max_tokens", "num_predict", self.max_tokens.map(|Whole(n)| n.min(i64::from(i32::MAX)).into())),
        ] {
            fields::set(&mut parameters, field, name, value)?;
        }
        set_of_peers(&mut parameters, self.top_k, self.repetition_penalty)?;
        Ok(parameters)
    }
}

/// Likely tokens for each token; `None` where no probabilities are wanted.
fn n_top(logprobs: Option<Whole>) -> Result<Option<u8>, Problem> {
    match logprobs.map(|Whole(n)| n) {
        None => Ok(None),
        Some(n) if (0..=MAX_TOP).contains(&n) => Ok(u8::try_from(n).ok()),
        Some(n) => {
            let message = format!("`logprobs` cannot be `{n}`: it must be a whole number from 0 to {MAX_TOP}");
            Err(Problem::invalid(message).of("logprobs"))
        }
    }
}

/// The prompts, in their order.
fn given(prompt: Option<Value>, suffix: Option<String>) -> Result<Vec<Given>, Problem> {
    let list = match prompt {
        None | Some(Value::Null) => vec![Value::from("")],
        // One prompt of tokens, and not several.
        Some(Value::Array(list)) if list.first().is_some_and(Value::is_number) => {
            return one(Value::Array(list), "prompt", suffix.as_deref()).map(|given| vec![given]);
        }
        Some(Value::Array(list)) => list,
        Some(other) => return one(other, "prompt", suffix.as_deref()).map(|given| vec![given]),
    };
    if list.is_empty() {
        return Err(Problem::invalid("`prompt` is an empty list: give at least one prompt").of("prompt"));
    }
    let one = |(number, prompt)| one(prompt, &format!("prompt[{number}]"), suffix.as_deref());
    list.into_iter().enumerate().map(one).collect()
}

/// The prompt at this place of the request.
fn one(prompt: Value, at: &str, suffix: Option<&str>) -> Result<Given, Problem> {
    match (prompt, suffix) {
        (Value::String(text), None) => Ok(Given::Raw(text)),
        (Value::String(before), Some(behind)) => Ok(Given::Infill { before, behind: behind.to_owned() }),
        (Value::Array(_), Some(_)) => {
            let message = "`suffix` needs a prompt that is text, not tokens";
            Err(Problem::unsupported_value(message.to_owned(), "suffix"))
        }
        (Value::Array(list), None) if list.is_empty() => {
            Err(Problem::invalid(format!("`{at}` has no tokens: give at least one")).of(at))
        }
        (Value::Array(list), None) => fields::tokens(list, at).map(Given::Tokens),
        (other, _) => Err(Problem::invalid(format!("`{at}` is `{other}`: give a text or a list of tokens")).of(at)),
    }
}

/// The prompts that answers begin with.
fn echoed(given: &[Given], n_top: Option<u8>) -> Result<Echoed, Problem> {
    if n_top.is_some() {
        if given.iter().any(|given| matches!(given, Given::Infill { .. })) {
            let why = "the tokens around a gap are not told; leave `suffix` or `logprobs` away";
            return Err(Problem::unsupported("echo", why));
        }
        return Ok(Echoed::Tokens(given.to_vec()));
    }
    let echoed = |given: &Given| match given {
        Given::Raw(text) | Given::Infill { before: text, .. } => Ok(text.clone()),
        Given::Tokens(_) => Err(Problem::unsupported("echo", "token ids are written as text with `logprobs` only")),
    };
    given.iter().map(echoed).collect::<Result<_, _>>().map(Echoed::Texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(more: Value) -> Result<ParsedCompletions, Problem> {
        let mut request = json!({"model": "m"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<CompletionRequest>(request)
            .map_err(|error| Problem::invalid(error.to_string()))?
            .wanted()
    }

    fn prompts(more: Value) -> Vec<Given> {
        let given = |ask: TurnRequest| match ask.turn.before {
            Before::Prompt(given) => given,
            Before::Chat(chat) => panic!("a conversation: {chat:?}"),
        };
        wanted(more).unwrap().asks.into_iter().map(given).collect()
    }

    #[test]
    fn nothing_is_imposed() {
        let wanted = wanted(json!({"prompt": "a", "stop": null, "echo": false, "best_of": 1, "user": "u"})).unwrap();
        assert!(wanted.asks[0].turn.parameters.is_empty());
        assert_eq!((wanted.n_each, wanted.n_top, wanted.stream), (1, None, None));
        assert_eq!(wanted.echo, Echoed::Nothing);
    }

    #[test]
    fn prompts_are_texts_and_tokens_and_lists_of_them() {
        let raw = |text: &str| Given::Raw(text.to_owned());
        assert_eq!(prompts(json!({})), [raw("")]);
        assert_eq!(prompts(json!({"prompt": "a"})), [raw("a")]);
        assert_eq!(prompts(json!({"prompt": ["a", "b"]})), [raw("a"), raw("b")]);
        assert_eq!(prompts(json!({"prompt": [1, 2.0]})), [Given::Tokens(vec![1, 2])]);
        assert_eq!(prompts(json!({"prompt": [[1], [2, 3]]})), [Given::Tokens(vec![1]), Given::Tokens(vec![2, 3])]);
        let infill = |before: &str| Given::Infill { before: before.to_owned(), behind: "z".to_owned() };
        assert_eq!(prompts(json!({"prompt": ["a", "b"], "suffix": "z"})), [infill("a"), infill("b")]);
        assert_eq!(prompts(json!({"prompt": "a", "suffix": ""})), [raw("a")]);
    }

    #[test]
    fn everything_that_has_an_effect_is_read() {
        let wanted = wanted(json!({
            "prompt": ["a", "b"], "max_tokens": 0, "temperature": 0, "top_p": 0.5, "seed": 3.0, "stop": ["x"], "n": 2,
            "best_of": 2, "stream": true, "stream_options": {"include_usage": true}, "presence_penalty": 1,
            "frequency_penalty": -1, "logit_bias": {"7": -100}, "echo": true, "top_k": 3, "min_p": 0.1,
            "repetition_penalty": 1.1,
        }))
        .unwrap();
        let expected = json!({"num_predict": 0, "temperature": 0, "top_p": 0.5, "seed": 3, "stop": ["x"],
            "presence_penalty": 1, "frequency_penalty": -1, "top_k": 3, "min_p": 0.1, "repeat_penalty": 1.1});
        for ask in &wanted.asks {
            assert_eq!(ask.turn.parameters, Parameters::from_json(&expected).unwrap());
            assert_eq!(ask.turn.bias, [(7, -100.0)]);
        }
        assert_eq!((wanted.n_each, wanted.n_top, wanted.stream), (2, None, Some(WithUsage::Yes)));
        assert_eq!(wanted.echo, Echoed::Texts(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(super::n_top(Some(Whole(5))).unwrap(), Some(5));
    }

    #[test]
    fn with_logprobs_prompts_of_both_kinds_are_echoed() {
        let echoed = |prompt: Value| wanted(json!({"prompt": prompt, "echo": true, "logprobs": 1})).unwrap().echo;
        assert_eq!(echoed(json!("a")), Echoed::Tokens(vec![Given::Raw("a".to_owned())]));
        assert_eq!(echoed(json!([[1], [2]])), Echoed::Tokens(vec![Given::Tokens(vec![1]), Given::Tokens(vec![2])]));
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
        let expected = [
            (
                json!({"best_of": 3}),
                "`best_of` cannot be `3`: every answer is returned, so it must equal `n`, here `1`",
                "best_of",
            ),
            (json!({"logprobs": 6}), "`logprobs` cannot be `6`: it must be a whole number from 0 to 5", "logprobs"),
            (
                json!({"max_tokens": -1}),
                "`max_tokens` cannot be `-1`: it must be a whole number of at least 0",
                "max_tokens",
            ),
            (json!({"prompt": []}), "`prompt` is an empty list: give at least one prompt", "prompt"),
            (json!({"prompt": {}}), "`prompt` is `{}`: give a text or a list of tokens", "prompt"),
            (json!({"prompt": ["a", null]}), "`prompt[1]` is `null`: give a text or a list of tokens", "prompt[1]"),
            (json!({"prompt": [[]]}), "`prompt[0]` has no tokens: give at least one", "prompt[0]"),
            (json!({"prompt": [1, "a"]}), "`prompt[1]` is `\"a\"`, which is not a token id", "prompt[1]"),
            (
                json!({"prompt": [[5_000_000_000_i64]]}),
                "`prompt[0][0]` is `5000000000`, which is not a token id",
                "prompt[0][0]",
            ),
            (
                json!({"prompt": many, "n": 2}),
                "`prompt` has 65 prompts, each with 2 answers: ask for at most 128",
                "prompt",
            ),
            (json!({"prompt": [1], "suffix": "z"}), "`suffix` needs a prompt that is text, not tokens", "suffix"),
            (
                json!({"prompt": [1], "echo": true}),
                "`echo` is not supported: token ids are written as text with `logprobs` only",
                "echo",
            ),
            (
                json!({"prompt": "a", "suffix": "z", "echo": true, "logprobs": 1}),
                "`echo` is not supported: the tokens around a gap are not told; leave `suffix` or `logprobs` away",
                "echo",
            ),
            (json!({"messages": [1]}), "`messages` is not supported: ask `/v1/chat/completions`", "messages"),
            (json!({"colour": 1}), "`colour` is not known here; remove it", "colour"),
        ];
        for (more, message, field) in expected {
            let problem = wanted(more).unwrap_err();
            assert_eq!((problem.message.as_str(), problem.field.as_deref()), (message, Some(field)));
        }
    }
}
