//! Tokens with their log-probabilities, as chat completions return them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::fields::finite;

/// An answer's tokens and their alternatives.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::ChatLogprobs)]
pub struct ChatLogprobs {
    #[schema(required)]
    pub content: Option<Vec<TokenLogprob>>,
    /// Always `null`: refusals are part of the text.
    #[schema(required)]
    pub refusal: Option<Vec<TokenLogprob>>,
}

/// A token with its natural log-probability.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::TokenLogprob)]
pub struct TokenLogprob {
    pub token: String,
    pub logprob: f64,
    /// The token's bytes: a token may be a part of a character.
    pub bytes: Vec<u8>,
    /// The most likely tokens at this position, the most likely first.
    pub top_logprobs: Vec<TopLogprob>,
}

/// An alternative token.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::TopLogprob)]
pub struct TopLogprob {
    pub token: String,
    pub logprob: f64,
    pub bytes: Vec<u8>,
}

impl ChatLogprobs {
    #[must_use]
    pub fn of(tokens: Vec<TokenLogprob>) -> ChatLogprobs {
        ChatLogprobs { content: Some(tokens), refusal: None }
    }

    /// Of what was written: nothing where no tokens are told.
    #[must_use]
    pub fn written(tokens: &[slm_engine::TokenLogprob], n_top: Option<u8>) -> Option<ChatLogprobs> {
        n_top.map(|_| ChatLogprobs::of(tokens.iter().map(TokenLogprob::from).collect()))
    }
}

impl From<&slm_engine::TokenLogprob> for TokenLogprob {
    fn from(token: &slm_engine::TokenLogprob) -> TokenLogprob {
        let TopLogprob { token: text, logprob, bytes } = TopLogprob::of(&token.bytes, token.logprob);
        let likely = token.likely.iter().map(|likely| TopLogprob::of(&likely.bytes, likely.logprob));
        TokenLogprob { token: text, logprob, bytes, top_logprobs: likely.collect() }
    }
}

impl TopLogprob {
    #[must_use]
    pub fn of(bytes: &[u8], logprob: f64) -> TopLogprob {
        TopLogprob {
            token: String::from_utf8_lossy(bytes).into_owned(),
            logprob: finite(logprob),
            bytes: bytes.to_owned(),
        }
    }
}
