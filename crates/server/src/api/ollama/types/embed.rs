//! The wire types of requests for vectors.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::KeepAliveText;
use super::options::{self, Options};
use super::reply::nanoseconds;
use crate::api::fields::{self, TextOr, Whole};
use crate::api::problem::Problem;
use crate::api::service::{Embed, Embedded};
use crate::api::vectors;
use slm_infer::infer::TooLong;
use slm_values::keep_alive::KeepAlive;

/// A request to `/api/embed`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ollama::EmbedRequest)]
pub struct EmbedRequest {
    pub model: String,
    /// A text, or a list; an empty list only loads the model.
    pub input: Option<TextOr<String>>,
    /// Whether a text that is too long is cut (the default), or the request refused.
    pub truncate: Option<bool>,
    /// Dimensions to keep, from the beginning of the vector, which is normalised again.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub dimensions: Option<Whole>,
    #[schema(value_type = Option<Options>)]
    pub options: Option<Map<String, Value>>,
    #[schema(value_type = Option<KeepAliveText>)]
    pub keep_alive: Option<KeepAlive>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// The answer to `/api/embed`.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = ollama::EmbedResponse)]
pub struct EmbedResponse {
    pub model: String,
    /// Of length 1, in the order of the texts.
    pub embeddings: Vec<Vec<f32>>,
    pub total_duration: u64,
    pub load_duration: u64,
    /// Total number of tokens of the texts, with the model's start and end tokens.
    pub prompt_eval_count: usize,
    /// Total number of tokens that were cut.
    #[serde(skip_serializing_if = "is_zero")]
    pub truncated_tokens: usize,
}

/// A request to `/api/embeddings`, the older form.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ollama::EmbeddingsRequest)]
pub struct EmbeddingsRequest {
    pub model: String,
    /// An empty prompt only loads the model.
    pub prompt: Option<String>,
    #[schema(value_type = Option<Options>)]
    pub options: Option<Map<String, Value>>,
    #[schema(value_type = Option<KeepAliveText>)]
    pub keep_alive: Option<KeepAlive>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// The answer to `/api/embeddings`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::EmbeddingsResponse)]
pub struct EmbeddingsResponse {
    pub embedding: Vec<f32>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl EmbedRequest {
    /// What is asked of the model, and how long its vectors are to be.
    ///
    /// # Errors
    /// What cannot be understood or kept, by its field's name.
    pub fn wanted(self) -> Result<(Embed, Option<usize>), Problem> {
        fields::none_left(&self.rest, "", &[])?;
        let dimensions = match self.dimensions {
            // As Ollama's own client writes "all".
            None | Some(Whole(0)) => None,
            Some(n) => Some(vectors::dimensions(n)?),
        };
        let texts = self.input.map(|input| input.into_list(|text| text)).unwrap_or_default();
        let too_long = if self.truncate == Some(false) { TooLong::Refused } else { TooLong::Cut };
        let parameters = options::read(self.options)?;
        let embed = Embed { model: self.model, texts, too_long, parameters, keep_alive: self.keep_alive };
        Ok((embed, dimensions))
    }
}

impl EmbeddingsRequest {
    /// What is asked of the model.
    ///
    /// # Errors
    /// What cannot be understood or kept, by its field's name.
    pub fn wanted(self) -> Result<Embed, Problem> {
        fields::none_left(&self.rest, "", &[])?;
        let parameters = options::read(self.options)?;
        let texts = self.prompt.filter(|prompt| !prompt.is_empty()).into_iter().collect();
        let too_long = TooLong::Cut;
        Ok(Embed { model: self.model, texts, too_long, parameters, keep_alive: self.keep_alive })
    }
}

impl EmbedResponse {
    /// The vectors, shortened where that is wanted.
    ///
    /// # Errors
    /// The model gives none, or shorter ones.
    pub fn new(model: String, embedded: Embedded, dimensions: Option<usize>) -> Result<EmbedResponse, Problem> {
        Ok(EmbedResponse {
            total_duration: nanoseconds(embedded.elapsed),
            load_duration: nanoseconds(embedded.load_duration),
            prompt_eval_count: embedded.embeddings.counts.prompt,
            truncated_tokens: embedded.n_tokens_cut,
            embeddings: vectors::shortened(&model, embedded.embeddings, dimensions)?,
            model,
        })
    }
}
