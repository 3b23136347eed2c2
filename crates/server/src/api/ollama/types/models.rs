//! The wire types of requests about stored models.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::problem::Problem;
use slm_infer::model_info::{ModelDescription, ModelDetails, ModelSummary};
use slm_values::sampling::Parameters;

/// A model's name, which older clients call `name`. Some send both; `model` is what counts then, as it does for Ollama.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct Named {
    pub model: Option<String>,
    /// The older word for `model`.
    pub name: Option<String>,
}

impl Named {
    /// The name that was said.
    ///
    /// # Errors
    /// None was.
    pub fn one(self) -> Result<String, Problem> {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        let name = said(self.model).or_else(|| said(self.name));
        name.ok_or_else(|| Problem::invalid("there is no `model`; give a model's name").of("model"))
    }
}

/// The answer to `/api/tags`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TagsResponse {
    /// The newest first.
    pub models: Vec<ModelSummary>,
}

/// The answer to `/api/ps`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PsResponse {
    pub models: Vec<LoadedModel>,
}

/// A model in memory.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LoadedModel {
    pub name: String,
    pub model: String,
    /// Bytes of its engine; of one that several models share, this model's part.
    pub size: u64,
    /// The SHA-256 of its manifest.
    pub digest: String,
    pub details: ModelDetails,
    /// RFC 3339; a time in the 23rd century for a model that is never unloaded.
    pub expires_at: String,
    /// Bytes of it on GPUs.
    pub size_vram: u64,
    pub context_length: u32,
    /// Number of requests that it is answering.
    pub answering: usize,
}

/// A request to `/api/show`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowRequest {
    pub model: Option<String>,
    /// The older word for `model`.
    pub name: Option<String>,
    /// Include long lists in `model_info`, and the tensors.
    pub verbose: Option<bool>,
    /// Not supported.
    pub system: Option<String>,
    /// Not supported.
    pub template: Option<String>,
    /// Not supported.
    #[schema(value_type = Option<Object>)]
    pub options: Option<Map<String, Value>>,
}

/// The answer to `/api/show`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ShowResponse {
    /// One line per parameter, as in a Modelfile.
    pub parameters: String,
    /// RFC 3339.
    pub modified_at: String,
    /// What it can be used for: `completion`, `embedding`, `tools`, `thinking`, `insert`.
    #[schema(value_type = Vec<String>)]
    pub capabilities: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<Vec<Tensor>>,
    #[serde(flatten)]
    pub card: ModelDescription,
}

/// A tensor of a model's file.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Tensor {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub shape: Vec<u64>,
}

/// A request to `/api/copy`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyRequest {
    pub source: String,
    pub destination: String,
}

/// A request to `/api/delete`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    pub model: Option<String>,
    /// The older word for `model`.
    pub name: Option<String>,
}

/// The answer to `/api/version`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VersionResponse {
    pub version: String,
}

impl ShowRequest {
    /// The model and how much is to be told of it.
    ///
    /// # Errors
    /// There is no name, or something is asked for that is not supported.
    pub fn wanted(self) -> Result<(String, bool), Problem> {
        let is_said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let others = [
            ("system", is_said(&self.system)),
            ("template", is_said(&self.template)),
            ("options", self.options.is_some_and(|options| !options.is_empty())),
        ];
        if let Some((field, _)) = others.into_iter().find(|(_, is_said)| *is_said) {
            return Err(Problem::unsupported(field, "a model is shown as it is stored; leave it out"));
        }
        Ok((Named { model: self.model, name: self.name }.one()?, self.verbose.unwrap_or(false)))
    }
}

/// Parameters as `/api/show` has them: a line each, texts in quotes.
#[must_use]
pub fn parameter_lines(parameters: &Parameters) -> String {
    let line = |name: &str, value: &Value| format!("{name:<30} {value}");
    let lines = parameters.to_map().into_iter().flat_map(|(name, value)| match value {
        Value::Array(values) => values.iter().map(|value| line(&name, value)).collect(),
        value => vec![line(&name, &value)],
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn name_stands_for_model() {
        let one = |json: Value| serde_json::from_value::<Named>(json).unwrap().one().map_err(|problem| problem.message);
        assert_eq!(one(json!({"model": "a"})), Ok("a".to_owned()));
        assert_eq!(one(json!({"name": "a"})), Ok("a".to_owned()));
        // As Ollama's own command line sends it.
        assert_eq!(one(json!({"model": "", "name": "a"})), Ok("a".to_owned()));
        assert_eq!(one(json!({"model": "a", "name": "b"})), Ok("a".to_owned()));
        assert_eq!(one(json!({"model": ""})), Err("there is no `model`; give a model's name".to_owned()));
    }

    #[test]
    fn parameters_are_lines() {
        let parameters =
            Parameters::from_json(&json!({"temperature": 0.5, "stop": ["a", "\""], "num_ctx": 9})).unwrap();
        let padded = |name: &str, value: &str| format!("{name:<30} {value}");
        let lines =
            [padded("num_ctx", "9"), padded("stop", r#""a""#), padded("stop", r#""\"""#), padded("temperature", "0.5")];
        assert_eq!(parameter_lines(&parameters), lines.join("\n"));
        assert_eq!(parameter_lines(&Parameters::default()), "");
    }
}
