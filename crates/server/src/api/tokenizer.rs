//! A model's tokenizer over HTTP, at vLLM's paths: texts to tokens and back, and what a client needs to know of the
//! vocabulary. lm-evaluation-harness asks it where it has no tokenizer of its own.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::body::Body;
use super::fields;
use super::problem::Problem;
use super::request_context::RequestContext;
use super::service::{Opened, Service};
use slm_engine::Token;
use slm_values::prompt::{Prompt, Run};
use slm_values::sampling::Parameters;

/// The routes of this room.
pub fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .route("/tokenizer_info", get(info))
}

/// This room's part of the API's description.
#[derive(Debug, OpenApi)]
#[openapi(paths(tokenize, detokenize, info))]
pub struct Document;

/// A text to be taken apart.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct TokenizeRequest {
    /// Without it the only model that is loaded, else the only one that there is.
    pub model: Option<String>,
    /// Special tokens in it are what they say.
    pub prompt: String,
    /// Whether the token that begins every text is added, where the vocabulary has one; without it, it is.
    pub add_special_tokens: Option<bool>,
    /// Whether the tokens' texts are told.
    pub return_token_strs: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// A text's tokens.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Tokenized {
    pub count: usize,
    /// Positions of the context.
    pub max_model_len: u32,
    pub tokens: Vec<Token>,
    /// `null` where they are not asked for.
    #[schema(required)]
    pub token_strs: Option<Vec<String>>,
}

/// Tokens to be written as a text.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct DetokenizeRequest {
    /// As in `/tokenize`.
    pub model: Option<String>,
    #[schema(value_type = Vec<i32>)]
    pub tokens: Vec<Value>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// The text of tokens.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Detokenized {
    /// The texts of special tokens are part of it.
    pub prompt: String,
}

/// Which model's vocabulary is asked about.
#[derive(Debug, Clone, Deserialize, IntoParams)]
pub struct OfModel {
    /// As in `/tokenize`.
    pub model: Option<String>,
}

/// What a vocabulary is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenizerInfo {
    pub model: String,
    /// The token that begins a text.
    #[schema(required)]
    pub bos_token: Option<String>,
    /// The token that ends one.
    #[schema(required)]
    pub eos_token: Option<String>,
    /// In Jinja, as the model's file has it.
    #[schema(required)]
    pub chat_template: Option<String>,
    pub model_max_length: u32,
}

/// Takes a text apart.
#[utoipa::path(post, path = "/tokenize", tag = "tokenizer", request_body = TokenizeRequest,
    responses((status = 200, body = Tokenized)))]
pub async fn tokenize(
    State(service): State<Arc<Service>>,
    Body(request): Body<TokenizeRequest>,
) -> Result<Json<Tokenized>, Problem> {
    fields::none_left(&request.rest, "", &[("messages", "ask `/v1/messages/count_tokens`, or give `prompt`")])?;
    let opened = open(&service, request.model.as_deref()).await?;
    // Nothing is added to what begins with tokens, and be it none of them.
    let bare = (request.add_special_tokens == Some(false)).then(|| Run::Tokens(Vec::new()));
    let runs = bare.into_iter().chain([Run::Raw(request.prompt)]).collect();
    let engine = opened.responder.session()?.engine();
    let prompt = Prompt { runs, ..Prompt::default() };
    let tokens = RequestContext::current().within(engine.tokenizing(prompt)).await??.tokens;
    let wants_texts = request.return_token_strs == Some(true);
    Ok(Json(Tokenized {
        count: tokens.len(),
        max_model_len: engine.info().n_ctx,
        token_strs: wants_texts.then(|| tokens.iter().map(|token| token.text().into_owned()).collect()),
        tokens: tokens.iter().map(|token| token.id).collect(),
    }))
}

/// Writes tokens as a text.
#[utoipa::path(post, path = "/detokenize", tag = "tokenizer", request_body = DetokenizeRequest,
    responses((status = 200, body = Detokenized)))]
pub async fn detokenize(
    State(service): State<Arc<Service>>,
    Body(request): Body<DetokenizeRequest>,
) -> Result<Json<Detokenized>, Problem> {
    fields::none_left(&request.rest, "", &[])?;
    let tokens = fields::tokens(request.tokens, "tokens")?;
    let opened = open(&service, request.model.as_deref()).await?;
    let prompt = Prompt { runs: vec![Run::Tokens(tokens)], ..Prompt::default() };
    let tokens =
        RequestContext::current().within(opened.responder.session()?.engine().tokenizing(prompt)).await??.tokens;
    let bytes: Vec<u8> = tokens.into_iter().flat_map(|token| token.bytes).collect();
    Ok(Json(Detokenized { prompt: String::from_utf8_lossy(&bytes).into_owned() }))
}

/// Tells of a vocabulary
#[utoipa::path(get, path = "/tokenizer_info", tag = "tokenizer", params(OfModel),
    responses((status = 200, body = TokenizerInfo)))]
pub async fn info(
    State(service): State<Arc<Service>>,
    Query(of): Query<OfModel>,
) -> Result<Json<TokenizerInfo>, Problem> {
    let opened = open(&service, of.model.as_deref()).await?;
    let info = opened.responder.session()?.engine().info();
    let token = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Ok(Json(TokenizerInfo {
        model: opened.model.to_string(),
        bos_token: token(&info.specials.bos),
        eos_token: token(&info.specials.eos),
        chat_template: info.chat_template.clone(),
        model_max_length: info.n_ctx,
    }))
}

async fn open(service: &Service, model: Option<&str>) -> Result<Opened, Problem> {
    let model = match model {
        Some(model) => model.to_owned(),
        None => service.model_at_hand().await?,
    };
    service.open(&model, &Parameters::default(), None).await
}
