//! The wire types of requests that pull, push and create models.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::models::Named;
use super::request::ChatMessage;
use crate::api::fields::{self, Refused, TextOr};
use crate::api::problem::Problem;
use slm_values::chat::{Message, Role};
use slm_values::digest::Digest;
use slm_values::model_ref::ModelRef;
use slm_values::modelfile::{self, AdapterSource, Format, Modelfile};
use slm_values::sampling::{self, Parameters};
use slm_values::source::{Reference, Source, shard, shard_names};

/// A request to `/api/pull` or `/api/push`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ollama::TransferRequest)]
pub struct TransferRequest {
    pub model: Option<String>,
    /// The older word for `model`.
    pub name: Option<String>,
    /// Whether connections without TLS are allowed.
    pub insecure: Option<bool>,
    /// One line per event (the default), or one object at the end.
    pub stream: Option<bool>,
    /// Have no effect: credentials are where Docker and Ollama keep them.
    #[schema(ignore)]
    pub username: Option<String>,
    #[schema(ignore)]
    pub password: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// The last line of a stream, and the whole answer without one.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::StatusResponse)]
pub struct StatusResponse {
    #[schema(pattern = "^success$")]
    pub status: &'static str,
}

impl StatusResponse {
    pub const SUCCESS: StatusResponse = StatusResponse { status: "success" };
}

/// A request to `/api/create`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ollama::CreateRequest)]
pub struct CreateRequest {
    pub model: Option<String>,
    /// The older word for `model`.
    pub name: Option<String>,
    /// One line per event (the default), or one object at the end.
    pub stream: Option<bool>,
    /// The model to build on; downloaded if it is missing.
    pub from: Option<String>,
    /// GGUF files to build on, by their names: the digests of blobs that were uploaded.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub files: Option<Map<String, Value>>,
    /// LoRA adapters, by their names: the digests of blobs that were uploaded.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub adapters: Option<Map<String, Value>>,
    /// A chat template, in Go's language or in Jinja.
    pub template: Option<String>,
    pub license: Option<TextOr<String>>,
    pub system: Option<String>,
    #[schema(value_type = Option<super::options::Options>)]
    pub parameters: Option<Map<String, Value>>,
    /// Turns before the user's.
    pub messages: Option<Vec<ChatMessage>>,
    /// The form of every answer: a JSON schema, or `"json"`.
    #[schema(value_type = Option<super::Format>)]
    pub format: Option<Value>,
    /// The version of Ollama that the model needs.
    pub requires: Option<String>,
    /// Ollama's built-in code that writes prompts; has no effect here.
    pub renderer: Option<String>,
    /// Ollama's built-in code that reads answers; has no effect here.
    pub parser: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

const KEPT_AS_THEY_ARE: &str = "weights are kept as they are; quantize them before they are uploaded";
const REFUSED: [Refused; 5] = [
    ("quantize", KEPT_AS_THEY_ARE),
    ("quantization", KEPT_AS_THEY_ARE),
    ("modelfile", "give its instructions as fields: `from`, `system`, `parameters` and so on"),
    ("path", "files come by `/api/blobs`; `slm create` reads a Modelfile of this machine"),
    ("remote_host", "models here run on this machine"),
];

/// What a model is made of, as a request says.
#[derive(Debug, Clone)]
pub struct Made {
    pub name: ModelRef,
    pub modelfile: Modelfile,
    /// The files that the Modelfile's paths mean, each a blob.
    pub files: Vec<(String, Digest)>,
}

/// The folders of [`Made::files`].
const WEIGHTS: &str = "weights";
const ADAPTERS: &str = "adapters";

impl TransferRequest {
    /// What is to come or go, and whether without TLS.
    ///
    /// # Errors
    /// The name is missing or invalid.
    pub fn wanted(self) -> Result<(Source, bool), Problem> {
        let said = |text: Option<String>| text.is_some_and(|text| !text.is_empty());
        if said(self.username) || said(self.password) {
            return Err(
                Problem::unsupported("username", "credentials are read from Docker's config.json").of("username")
            );
        }
        fields::none_left(&self.rest, "", &[])?;
        let name = Named { model: self.model, name: self.name }.one()?;
        let source: Source = name.parse()?;
        if let Source::Path(path) = &source {
            let message =
                format!("`{path}` is a path; give a model's name, and files by `/api/blobs` and `/api/create`");
            return Err(Problem::invalid(message).of("model"));
        }
        Ok((source, self.insecure.unwrap_or(false)))
    }
}

impl CreateRequest {
    /// What the model is made of.
    ///
    /// # Errors
    /// What cannot be understood or kept, by its field's name.
    pub fn wanted(self) -> Result<Made, Problem> {
        fields::none_left(&self.rest, "", &REFUSED)?;
        let name = Named { model: self.model, name: self.name }.one()?.parse()?;
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        let weights = blobs(self.files, "files")?;
        let from = from(said(self.from), &weights)?;
        let adapters = blobs(self.adapters, "adapters")?;
        let requires = said(self.requires).map(modelfile::version).transpose();
        let modelfile = Modelfile {
            parameters: parameters(self.parameters)?,
            template: said(self.template),
            system: said(self.system),
            messages: messages(self.messages)?,
            licenses: self.license.map(|license| license.into_list(|text| text)).unwrap_or_default(),
            format: format(self.format)?,
            adapters: adapter_sources(&adapters)?,
            requires: requires.map_err(|error| Problem::invalid(error.to_string()).of("requires"))?,
            renderer: said(self.renderer),
            parser: said(self.parser),
            ..Modelfile::new(from)
        };
        let within = |folder: &'static str| move |(name, digest)| (format!("{folder}/{name}"), digest);
        let files = weights.into_iter().map(within(WEIGHTS)).chain(adapters.into_iter().map(within(ADAPTERS)));
        Ok(Made { name, modelfile, files: files.collect() })
    }
}

/// The files of a request: names without a folder, and digests.
fn blobs(files: Option<Map<String, Value>>, field: &str) -> Result<Vec<(String, Digest)>, Problem> {
    let blob = |(name, digest): (String, Value)| {
        let at = format!("{field}.{name}");
        let is_name = !name.is_empty() && name.len() <= 255 && !name.starts_with(['.', '~']);
        if !is_name || name.contains(['/', '\\', '\0']) {
            let message = format!("`{name}` in `{field}` is not a file name: give one without a folder");
            return Err(Problem::invalid(message).of(at));
        }
        let digest = digest.as_str().and_then(|digest| digest.parse().ok().or_else(|| Digest::from_file_name(digest)));
        let none =
            || Problem::invalid(format!("`{at}` is not a digest: give `sha256:` and 64 hex digits")).of(at.clone());
        Ok((name, digest.ok_or_else(none)?))
    };
    files.unwrap_or_default().into_iter().map(blob).collect()
}

/// What the model is built on: a model, a file, or the shards of one.
fn from(from: Option<String>, weights: &[(String, Digest)]) -> Result<modelfile::BaseSource, Problem> {
    let refused = |message: String, field: &str| Err(Problem::invalid(message).of(field));
    let names: Vec<&str> = weights.iter().map(|(name, _)| name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| name.to_ascii_lowercase().ends_with(".safetensors")) {
        return refused(
            format!("`{name}` is not a GGUF file; convert it with llama.cpp's convert_hf_to_gguf.py"),
            "files",
        );
    }
    match (from, names.as_slice()) {
        (None, []) => refused("there is neither `from` nor `files`: give what to build on".to_owned(), "from"),
        (Some(_), [_, ..]) => refused("there are `from` and `files`: give one of them".to_owned(), "files"),
        // Never a path: nothing of this machine is read because someone asks over the network.
        (Some(from), []) => match from.parse::<Reference>() {
            Ok(reference) => Ok(modelfile::BaseSource::Name(reference)),
            Err(error) => refused(error.to_string(), "from"),
        },
        (None, [only]) => Ok(modelfile::BaseSource::Path(format!("./{WEIGHTS}/{only}"))),
        (None, several) => {
            let first = several.iter().find(|name| shard(name).is_some_and(|shard| shard.number == 1));
            let all = first.map(|first| shard_names(first)).unwrap_or_default();
            if all.len() != several.len() || !several.iter().all(|name| all.iter().any(|known| known == name)) {
                let message = "`files` are several and not the shards of one model: give one GGUF file, or all of \
                               `name-00001-of-0000N.gguf`";
                return refused(message.to_owned(), "files");
            }
            Ok(modelfile::BaseSource::Path(format!("./{WEIGHTS}/{}", all[0])))
        }
    }
}

/// An adapter for each file; a configuration belongs to the safetensors beside it.
fn adapter_sources(adapters: &[(String, Digest)]) -> Result<Vec<AdapterSource>, Problem> {
    let is_tensors = |name: &str| name.to_ascii_lowercase().ends_with(".safetensors");
    let is_config = |name: &str| name == "adapter_config.json";
    let n_tensors = adapters.iter().filter(|(name, _)| is_tensors(name)).count();
    if n_tensors > 1 || (n_tensors == 1) != adapters.iter().any(|(name, _)| is_config(name)) {
        let message =
            "`adapters` of PEFT are `adapter_model.safetensors` and `adapter_config.json` together, one such pair";
        return Err(Problem::invalid(message).of("adapters"));
    }
    let source = |name: &String| AdapterSource { path: format!("./{ADAPTERS}/{name}"), scale: 1.0 };
    Ok(adapters.iter().filter(|(name, _)| !is_config(name)).map(|(name, _)| source(name)).collect())
}

/// Parameters as a Modelfile takes them: old names of Ollama's are kept without an effect.
fn parameters(said: Option<Map<String, Value>>) -> Result<Parameters, Problem> {
    let mut parameters = Parameters::default();
    for (name, value) in said.unwrap_or_default().into_iter().filter(|(_, value)| !value.is_null()) {
        let field = format!("parameters.{name}");
        if sampling::names().any(|known| known == name) {
            fields::set(&mut parameters, &field, &name, Some(value))?;
        } else {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            parameters.set_in_file(&name, &text).map_err(|error| Problem::invalid(error.to_string()).of(field))?;
        }
    }
    Ok(parameters)
}

fn messages(messages: Option<Vec<ChatMessage>>) -> Result<Vec<Message>, Problem> {
    let read = |(number, message): (usize, ChatMessage)| {
        let at = format!("messages[{number}]");
        let message = message.read(&at)?;
        if message.role == Role::Tool || message != Message::new(message.role, message.content.as_str()) {
            let why = "a model's own messages are texts of the system, the user and the assistant";
            return Err(Problem::unsupported(&at, why));
        }
        Ok(message)
    };
    messages.unwrap_or_default().into_iter().enumerate().map(read).collect()
}

fn format(format: Option<Value>) -> Result<Option<Format>, Problem> {
    match format {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text == "json" => Ok(Some(Format::Json)),
        Some(schema @ Value::Object(_)) => Ok(Some(Format::Schema(schema))),
        Some(other) => {
            Err(Problem::invalid(format!("`format` cannot be {other}: give \"json\" or a JSON schema")).of("format"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(more: Value) -> Result<Made, String> {
        let mut request = json!({"model": "m"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request: CreateRequest = serde_json::from_value(request).unwrap();
        request.wanted().map_err(|problem| problem.message)
    }

    fn digest() -> String {
        Digest::of(b"a").to_string()
    }

    #[test]
    fn a_request_is_a_modelfile() {
        let made = made(json!({
            "from": "triage", "system": "s", "template": "{{ .Prompt }}", "license": ["a", "b"], "format": {"enum": ["x"]},
            "parameters": {"temperature": 0, "stop": ["."], "mirostat": 1, "top_k": null}, "requires": "v0.14.0",
            "messages": [{"role": "user", "content": "hi", "images": []}]
        }));
        let modelfile = made.unwrap().modelfile;
        let written = "FROM triage\nREQUIRES 0.14.0\nSYSTEM s\nTEMPLATE {{ .Prompt }}\nPARAMETER mirostat 1\nPARAMETER stop .\n\
                       PARAMETER temperature 0\nMESSAGE user hi\nFORMAT {\"enum\":[\"x\"]}\nLICENSE a\nLICENSE b\n";
        assert_eq!(modelfile, Modelfile::parse(written).unwrap());
    }

    #[test]
    fn files_are_blobs_under_names() {
        let of = |more: Value| made(more).map(|made| (made.modelfile.from.to_string(), made.files.len()));
        assert_eq!(of(json!({"files": {"a.gguf": digest()}})), Ok(("./weights/a.gguf".to_owned(), 1)));
        let shards = json!({"a-00002-of-00002.gguf": digest(), "a-00001-of-00002.gguf": digest().replace(':', "-")});
        assert_eq!(of(json!({"files": shards})), Ok(("./weights/a-00001-of-00002.gguf".to_owned(), 2)));
        let adapters = json!({"adapter_model.safetensors": digest(), "adapter_config.json": digest()});
        let peft = made(json!({"from": "m", "adapters": adapters})).unwrap();
        assert_eq!(
            peft.modelfile.adapters,
            [AdapterSource { path: "./adapters/adapter_model.safetensors".into(), scale: 1.0 }]
        );
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let refused = |more: Value| made(more).unwrap_err();
        assert_eq!(refused(json!({})), "there is neither `from` nor `files`: give what to build on");
        assert_eq!(
            refused(json!({"from": "m", "quantize": "q4_K_M"})),
            "`quantize` is not supported: weights are kept as they are; quantize them before they are uploaded"
        );
        assert_eq!(
            refused(json!({"from": "m", "files": {"a": digest()}})),
            "there are `from` and `files`: give one of them"
        );
        for name in ["../a.gguf", "/etc/passwd", "", ".", "..", "~a", "a\\b"] {
            let message = refused(json!({"files": {name: digest()}}));
            assert_eq!(message, format!("`{name}` in `files` is not a file name: give one without a folder"));
        }
        assert!(refused(json!({"files": {"a.gguf": "sha256:12"}})).starts_with("`files.a.gguf` is not a digest"));
        for path in ["./model.gguf", "/etc/passwd", "../x"] {
            assert!(made(json!({ "from": path })).is_err(), "{path}");
        }
        assert!(refused(json!({"files": {"a.gguf": digest(), "b.gguf": digest()}})).starts_with("`files` are several"));
        assert!(
            refused(json!({"from": "m", "adapters": {"adapter_config.json": digest()}}))
                .starts_with("`adapters` of PEFT")
        );
        assert_eq!(
            refused(json!({"from": "m", "parameters": {"tempreature": 0}})),
            "there is no parameter `tempreature`; did you mean `temperature`?"
        );
        let call = json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]);
        assert!(refused(json!({"from": "m", "messages": call})).starts_with("`messages[0]` is not supported"));
    }
}
