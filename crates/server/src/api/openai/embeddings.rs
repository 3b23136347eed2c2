//! `/v1/embeddings`: texts to vectors.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Refusals;
use crate::api::body::Body;
use crate::api::fields::{self, TextOr, Whole};
use crate::api::idle_fields::Object;
use crate::api::problem::Problem;
use crate::api::service::{Embed, Service};
use crate::api::vectors;
use slm_engine::Embeddings;
use slm_infer::infer::TooLong;
use slm_values::sampling::Parameters;

/// The most texts of one request, as many as OpenAI takes.
const MAX_TEXTS: usize = 2048;

/// A request for the vectors of texts.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::EmbeddingRequest)]
pub struct EmbeddingRequest {
    pub model: String,
    /// A text, or a list of at most 2048.
    #[schema(value_type = TextOr<String>)]
    pub input: TextOr<Value>,
    pub encoding_format: Option<Encoding>,
    /// Dimensions to keep, from the beginning of the vector, which is normalised again.
    #[schema(value_type = Option<i64>, minimum = 1)]
    pub dimensions: Option<Whole>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// The encoding of vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = openai::Encoding)]
pub enum Encoding {
    /// A list of numbers.
    #[default]
    Float,
    /// 32-bit floats, the smallest byte first, in base64.
    Base64,
}

/// The vectors of texts, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::EmbeddingList)]
pub struct EmbeddingList {
    #[schema(pattern = "^list$")]
    pub object: &'static str,
    pub data: Vec<EmbeddingItem>,
    pub model: String,
    pub usage: EmbeddingUsage,
}

/// A text's vector.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::EmbeddingItem)]
pub struct EmbeddingItem {
    #[schema(pattern = "^embedding$")]
    pub object: &'static str,
    pub index: usize,
    pub embedding: Written,
}

/// A vector in the requested encoding.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = openai::Written)]
pub enum Written {
    Numbers(Vec<f32>),
    Base64(String),
}

/// Total number of tokens of the texts, with the model's start and end tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::EmbeddingUsage)]
pub struct EmbeddingUsage {
    pub prompt_tokens: usize,
    pub total_tokens: usize,
}

/// Embeds texts.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "openai",
    request_body = EmbeddingRequest,
    responses((status = 200, body = EmbeddingList), Refusals)
)]
pub async fn embed(
    State(service): State<Arc<Service>>,
    Body(request): Body<EmbeddingRequest>,
) -> Result<Json<EmbeddingList>, Problem> {
    let (model, encoding) = (request.model.clone(), request.encoding_format.unwrap_or_default());
    let dimensions = service.read(&model, request.dimensions.map(vectors::dimensions).transpose())?;
    let embed = Embed {
        model: model.clone(),
        texts: service.read(&model, request.texts())?,
        too_long: TooLong::Refused,
        parameters: Parameters::default(),
        keep_alive: None,
    };
    let embeddings = service.embed(embed).await?.embeddings;
    Ok(Json(EmbeddingList::new(model, embeddings, dimensions, encoding)?))
}

impl EmbeddingRequest {
    fn texts(self) -> Result<Vec<String>, Problem> {
        fields::only_idle_left(&self.rest, "", Object::Embedding, &[])?;
        let list = self.input.into_list(Value::String);
        if list.is_empty() || list.len() > MAX_TEXTS {
            let message = format!("`input` has {} texts: give 1 to {MAX_TEXTS}", list.len());
            return Err(Problem::invalid(message).of("input"));
        }
        let text = |(number, text): (usize, Value)| match text {
            Value::String(text) => Ok(text),
            // LangChain's are numbers of another model's vocabulary, which would give vectors without sense.
            Value::Number(_) | Value::Array(_) => Err(Problem::unsupported_value(
                "`input` is a list of tokens: give texts; LangChain's `OpenAIEmbeddings` sends them \
                 with `check_embedding_ctx_length=False`"
                    .to_owned(),
                "input",
            )),
            other => {
                let at = format!("input[{number}]");
                Err(Problem::invalid(format!("`{at}` is `{other}`: give a text")).of(at))
            }
        };
        list.into_iter().enumerate().map(text).collect()
    }
}

impl EmbeddingList {
    fn new(
        model: String,
        embeddings: Embeddings,
        dimensions: Option<usize>,
        encoding: Encoding,
    ) -> Result<EmbeddingList, Problem> {
        let n_tokens = embeddings.counts.prompt;
        let rows = vectors::shortened(&model, embeddings, dimensions)?;
        let item = |(index, row): (usize, Vec<f32>)| EmbeddingItem {
            object: "embedding",
            index,
            embedding: Written::new(row, encoding),
        };
        let usage = EmbeddingUsage { prompt_tokens: n_tokens, total_tokens: n_tokens };
        let data = rows.into_iter().enumerate().map(item).collect();
        Ok(EmbeddingList { object: "list", data, model, usage })
    }
}

impl Written {
    fn new(row: Vec<f32>, encoding: Encoding) -> Written {
        match encoding {
            Encoding::Float => Written::Numbers(row),
            Encoding::Base64 => {
                Written::Base64(STANDARD.encode(row.iter().copied().flat_map(f32::to_le_bytes).collect::<Vec<u8>>()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use slm_engine::{Counts, EmbeddingKind, Timings};

    fn request(more: Value) -> EmbeddingRequest {
        let mut request = json!({"model": "m"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(request).unwrap()
    }

    fn list(dimensions: Option<usize>, encoding: Encoding) -> Result<Value, String> {
        let embeddings = Embeddings {
            kind: EmbeddingKind::UnitVectors,
            rows: vec![vec![0.6, 0.0, 0.8], vec![0.1, 0.0, 0.0]],
            counts: Counts { prompt: 7, ..Counts::default() },
            timings: Timings::default(),
        };
        let list = EmbeddingList::new("m".to_owned(), embeddings, dimensions, encoding);
        let list = list.map_err(|problem| problem.message)?;
        Ok(serde_json::from_str(&serde_json::to_string(&list).unwrap()).unwrap())
    }

    #[test]
    fn vectors_are_numbers_or_base64() {
        let expected = json!({"object": "list", "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}, "data": [
            {"object": "embedding", "index": 0, "embedding": [0.6, 0.0, 0.8]},
            {"object": "embedding", "index": 1, "embedding": [0.1, 0.0, 0.0]},
        ]});
        assert_eq!(list(None, Encoding::Float).unwrap(), expected);
        assert_eq!(list(None, Encoding::Base64).unwrap()["data"][0]["embedding"], "mpkZPwAAAADNzEw/");
    }

    #[test]
    fn a_shortened_vector_has_length_1() {
        let shortened = list(Some(2), Encoding::Float).unwrap();
        assert_eq!(
            (&shortened["data"][0]["embedding"], &shortened["data"][1]["embedding"]),
            (&json!([1.0, 0.0]), &json!([1.0, 0.0]))
        );
        let refused = list(Some(4), Encoding::Float).unwrap_err();
        assert_eq!(refused, "`dimensions` cannot be `4`: the vectors of `m` have 3");
    }

    #[test]
    fn inputs_are_texts() {
        assert_eq!(request(json!({"input": "a"})).texts().unwrap(), ["a"]);
        assert_eq!(request(json!({"input": ["a", "b"], "user": "u"})).texts().unwrap(), ["a", "b"]);
        let refused = |more: Value| request(more).texts().unwrap_err();
        for tokens in [json!([1, 2]), json!([[1, 2], [3]])] {
            let problem = refused(json!({ "input": tokens }));
            assert!(problem.message.contains("check_embedding_ctx_length=False"), "{}", problem.message);
            assert_eq!(problem.field.as_deref(), Some("input"));
        }
        assert_eq!(refused(json!({"input": []})).message, "`input` has 0 texts: give 1 to 2048");
        assert_eq!(refused(json!({"input": ["a", null]})).message, "`input[1]` is `null`: give a text");
        assert_eq!(refused(json!({"input": "a", "size": 3})).field.as_deref(), Some("size"));
        assert!(vectors::dimensions(request(json!({"input": "a", "dimensions": 0})).dimensions.unwrap()).is_err());
    }
}
