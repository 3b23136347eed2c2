//! What an engine is asked: plain data, which may come from another process.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Token;
use super::adapters::AdapterSet;
use super::event::GeneratedToken;
use slm_values::prompt::Prompt;
use slm_values::sampling::Sampling;

/// A request to an engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    Tokenize(Prompt),
    /// The longest beginning of the text that is at most `n_tokens` long.
    Cut {
        text: String,
        n_tokens: usize,
    },
    /// Load these adapters, so that an invalid one is found before the first prompt.
    Prepare(AdapterSet),
    Score(ScoreRequest),
    PromptLogprobs(PromptLogprobsRequest),
    Embed(EmbedRequest),
    Generate(GenerateRequest),
    /// Answered by [`Event::Scored`](super::Event::Scored) with a group for every point.
    Probe(ProbeRequest),
    Measure(Measure),
}

/// One closed question: how the answer begins, and the ways in which it may continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What stands around every candidate: at least one spelling. A candidate's probability is the sum of those that it has
    /// in each.
    pub spellings: Vec<Spelling>,
    /// The texts of the candidates.
    pub candidates: Vec<String>,
    pub ending: Ending,
}

/// What stands around a candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spelling {
    /// The beginning that is taken as given (`queue:`): its probability is not counted, but against other spellings.
    pub before: String,
    pub after: String,
}

impl Group {
    /// Candidates that end the answer.
    #[must_use]
    pub fn new(prefix: &str, candidates: impl IntoIterator<Item = impl Into<String>>) -> Group {
        let candidates = candidates.into_iter().map(Into::into).collect();
        let spelling = Spelling { before: prefix.to_owned(), after: String::new() };
        Group { spellings: vec![spelling], candidates, ending: Ending::Turn }
    }
}

/// What follows a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The answer ends: its end is a part of the candidate.
    Turn,
    /// The answer continues. What ends a candidate is a part of its text, and none is the beginning of another.
    Text,
}

/// What the probability of a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Reading {
    /// The product of the choices that lead to it: after each beginning that candidates share, the probability of its way
    /// among the ways to candidates. It is what decoding under a grammar of the candidates draws from; what is certain is not
    /// evaluated.
    #[default]
    Choices,
    /// That of its whole text and of its end, normalised over the candidates.
    Likelihood,
}

/// How many of the choices are read, where the reading is [`Reading::Choices`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Search {
    /// The likely ones first, until no probability is further than [`UNREAD`](super::UNREAD) from the exact one and the most
    /// probable candidate is known.
    #[default]
    BestFirst,
    /// All of them.
    Exact,
}

/// Which of the model's hidden states is told beside the scores. Chosen by what a logistic regression learns from each, with
/// `examples/states.rs` of slm-infer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StateAt {
    /// The last layer's output after its norm (llama.cpp's `result_norm`), from which the logits are computed, at the token after
    /// which the answer is chosen: the last one that all candidates share of the first group that has several, in all its
    /// spellings. It is the same token whatever the reading is. `n_embd` numbers.
    Choice,
    /// The mean, over the tokens from where the row begins to the end of what all candidates share, of the output of the layer
    /// before the last. `n_embd` numbers.
    Row,
    /// Both, one after the other.
    #[default]
    ChoiceAndRow,
    /// What the first so many layers make of the row: the mean of their last one's output over the prompt's tokens from where the row
    /// begins, and then its output at the prompt's last token. `2 * n_embd` numbers, from 1 layer to all but the last one. It is asked
    /// for without candidates, and the layers after it are not computed (on a GPU they are, for nothing).
    Layers(u32),
}

/// A request for exact log-probabilities of a prompt's continuations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScoreRequest {
    pub prompt: Prompt,
    /// None where a state is wanted by [`StateAt::Layers`].
    pub groups: Vec<Group>,
    pub reading: Reading,
    pub search: Search,
    pub adapters: AdapterSet,
    /// The text of the special token that ends an answer; `None` takes the model's own end of turn.
    pub turn_end: Option<String>,
    /// Where a state is wanted, the question is evaluated alone, as for [`Lane::Canonical`].
    pub lane: Lane,
    /// The hidden state that is told too: it changes no bit of a log-probability. `None` costs nothing.
    pub state: Option<StateAt>,
}

impl ScoreRequest {
    /// The same prompt, of which only a state after the first so many layers is wanted.
    #[must_use]
    pub fn only_layers(&self, n_layers: u32) -> ScoreRequest {
        let state = Some(StateAt::Layers(n_layers));
        let (prompt, adapters, turn_end) = (self.prompt.clone(), self.adapters.clone(), self.turn_end.clone());
        let ScoreRequest { reading, search, lane, .. } = *self;
        ScoreRequest { prompt, groups: Vec::new(), reading, search, adapters, turn_end, lane, state }
    }

    /// What the base model gives these candidates after the prompt, alone and by their whole texts.
    #[must_use]
    pub fn new(prompt: Prompt, groups: Vec<Group>) -> ScoreRequest {
        ScoreRequest {
            prompt,
            groups,
            reading: Reading::Likelihood,
            search: Search::Exact,
            adapters: AdapterSet::NONE,
            turn_end: None,
            lane: Lane::Canonical,
            state: None,
        }
    }
}

/// A request for the log-probabilities of a prompt's own tokens, each after those before it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PromptLogprobsRequest {
    pub prompt: Prompt,
    /// How many of the likeliest tokens are told in each one's place.
    pub n_likely: u8,
    /// How the token is chosen that comes after the prompt; `None` where none is wanted.
    pub next: Option<NextToken>,
    pub adapters: AdapterSet,
}

/// How one token is chosen after a prompt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NextToken {
    pub sampling: Sampling,
    /// As [`GenerateRequest::bias`].
    pub bias: Vec<(Token, f32)>,
}

/// A request for the embeddings of texts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EmbedRequest {
    pub texts: Vec<String>,
    pub adapters: AdapterSet,
}

/// Where a closed question is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Lane {
    /// Alone: equal questions have equal log-probabilities, to the last bit.
    #[default]
    Canonical,
    /// In one batch with others: more rows per second, but the last digits depend on the rest of the batch.
    Throughput,
}

/// Exact log-probabilities of other continuations at positions of a generated text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// The prompt of the generation.
    pub prompt: Prompt,
    /// The adapters of the generation.
    pub adapters: AdapterSet,
    /// What was generated after it, from its beginning.
    pub generated: Vec<GeneratedToken>,
    /// In ascending order.
    pub points: Vec<Point>,
}

/// A position in a generated text and what might have come there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Bytes of the generated text before it.
    pub at: usize,
    /// Texts of which none begins another, so that their probabilities can be compared.
    pub candidates: Vec<String>,
}

/// The grammar of a generated text: a grammar in llguidance's dialect of Lark, beginning at its rule `start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Grammar(pub Arc<str>);

impl From<String> for Grammar {
    fn from(text: String) -> Grammar {
        Grammar(text.into())
    }
}

impl From<Grammar> for String {
    fn from(grammar: Grammar) -> String {
        grammar.0.as_ref().to_owned()
    }
}

/// A request for text after a prompt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GenerateRequest {
    pub prompt: Prompt,
    pub sampling: Sampling,
    pub adapters: AdapterSet,
    /// `None` leaves the text unconstrained.
    pub grammar: Option<Grammar>,
    pub detail: Detail,
    pub drafts: Drafts,
    /// What is added to these tokens' logits before penalties, grammar and sampling; reported probabilities are without it.
    pub bias: Vec<(Token, f32)>,
    /// Control tokens whose texts are shown where the model writes them (`[TOOL_CALLS]`); all others are hidden, and names
    /// that this vocabulary lacks are ignored. A token that ends an answer is never shown.
    pub visible: Vec<String>,
}

impl GenerateRequest {
    /// What the base model writes after the prompt, without a grammar, told as text alone.
    #[must_use]
    pub fn new(prompt: Prompt, sampling: Sampling) -> Self {
        GenerateRequest {
            prompt,
            sampling,
            adapters: AdapterSet::NONE,
            grammar: None,
            detail: Detail::default(),
            drafts: Drafts::default(),
            bias: Vec::new(),
            visible: Vec::new(),
        }
    }
}

/// Whether an answer's next tokens are drafted from the text so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Drafts {
    /// Where measured costs say that it pays. With greedy sampling the answer is the same.
    #[default]
    Auto,
    Off,
}

/// What is reported about a generation besides its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Detail {
    #[default]
    Text,
    /// Every token with its probability, at the end.
    Tokens,
    /// Every token with its probability and the `n` most likely ones in its place, as it is written.
    Likely { n: u8 },
}

/// Raw speed over an empty context, with the generation lane's settings and without sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// One sequence's prompt of random tokens.
    Prefill { n_tokens: u32 },
    /// `n_tokens` steps of `n_sequences` sequences at once.
    Decode { n_tokens: u32, n_sequences: u32, pass: Pass },
    /// The product of the model's most common matrix ([`Footprint::matrix`](slm_values::gguf::Footprint::matrix)) with `n_tokens` rows, alone: the fastest.
    Product { n_tokens: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pass {
    /// One step in the context of the whole measurement.
    WarmUp,
    Whole,
}
