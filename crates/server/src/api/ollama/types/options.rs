//! `options` of a request: how a model is loaded and how it samples.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::fields;
use crate::api::problem::Problem;
use slm_values::sampling::Parameters;

/// Options; the defaults are the Modelfile's, else Ollama's.
#[derive(Debug, Clone, ToSchema)]
#[schema(as = ollama::Options)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // Only described: a request's are read as a Modelfile's parameters are.
pub struct Options {
    /// Has no effect: a context is never shifted.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    num_keep: Option<i64>,
    /// Seed of the random numbers; -1 is random. A seed of more than 32 bits is folded into 32.
    seed: Option<i64>,
    /// Maximum number of tokens of an answer; -1: until its end, -2: until the context is full.
    #[schema(minimum = -2, maximum = 2_147_483_647)]
    num_predict: Option<i64>,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    top_k: Option<i64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    min_p: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    typical_p: Option<f64>,
    #[schema(minimum = -1, maximum = 2_147_483_647)]
    repeat_last_n: Option<i64>,
    #[schema(minimum = 0, maximum = 100)]
    temperature: Option<f64>,
    #[schema(minimum = 0.001, maximum = 100)]
    repeat_penalty: Option<f64>,
    #[schema(minimum = -100, maximum = 100)]
    presence_penalty: Option<f64>,
    #[schema(minimum = -100, maximum = 100)]
    frequency_penalty: Option<f64>,
    /// Texts that end an answer.
    stop: Option<Vec<String>>,
    /// Tokens of context.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    num_ctx: Option<i64>,
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    num_batch: Option<i64>,
    /// Layers to put on GPUs; -1: as many as fit.
    #[schema(minimum = -1, maximum = 2_147_483_647)]
    num_gpu: Option<i64>,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    main_gpu: Option<i64>,
    use_mmap: Option<bool>,
    /// Threads; 0: automatic.
    #[schema(minimum = 0, maximum = 512)]
    num_thread: Option<i64>,
}

/// Names that Ollama had once or that this engine has no use for, with the values that say nothing.
fn unused() -> [(&'static str, Value); 13] {
    [
        ("embedding_only", json!(false)),
        ("f16_kv", json!(true)),
        ("logits_all", json!(false)),
        ("low_vram", json!(false)),
        ("mirostat", json!(0.0)),
        ("mirostat_eta", json!(0.1)),
        ("mirostat_tau", json!(5.0)),
        ("numa", json!(false)),
        ("penalize_newline", json!(true)),
        ("tfs_z", json!(1.0)),
        ("use_mlock", json!(false)),
        ("use_mlx", json!(false)),
        ("vocab_only", json!(false)),
    ]
}

/// Reads `options`. What is `null` says nothing, whatever its name.
///
/// # Errors
/// An unknown name, one that is not supported any more, or a value of the wrong type or range.
pub fn read(options: Option<Map<String, Value>>) -> Result<Parameters, Problem> {
    let mut parameters = Parameters::default();
    let unused = unused();
    for (name, value) in options.unwrap_or_default() {
        if value.is_null() {
            continue;
        }
        match unused.iter().find(|(known, _)| *known == name) {
            Some((_, default)) if *default == value || value.as_f64().is_some_and(|n| default.as_f64() == Some(n)) => {}
            Some(_) => {
                let why = format!("`{value}` would have no effect; leave it out");
                return Err(Problem::unsupported(&format!("options.{name}"), &why));
            }
            None => fields::set(&mut parameters, &format!("options.{name}"), &name, Some(value))?,
        }
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: Value) -> Result<Parameters, String> {
        read(json.as_object().cloned()).map_err(|problem| problem.message)
    }

    #[test]
    fn what_says_nothing_passes() {
        // Every request of LangChain's embeddings class has these.
        let nothing = json!({
            "mirostat": null, "mirostat_eta": null, "mirostat_tau": null, "num_ctx": null, "num_gpu": null,
            "num_thread": null, "repeat_last_n": null, "repeat_penalty": null, "temperature": null, "stop": null,
            "tfs_z": null, "top_k": null, "top_p": null
        });
        assert_eq!(options(nothing).unwrap(), Parameters::default());
        assert_eq!(options(json!({"mirostat": 0, "tfs_z": 1, "low_vram": false})).unwrap(), Parameters::default());
        assert_eq!(read(None).unwrap(), Parameters::default());
    }

    #[test]
    fn numbers_may_be_written_as_floats() {
        let read = options(json!({"num_ctx": 1024.0, "seed": 7.0, "temperature": 0, "stop": "a"})).unwrap();
        assert_eq!((read.num_ctx, read.seed, read.temperature), (Some(1024), Some(7), Some(0.0)));
        assert_eq!(read.stop, Some(vec!["a".to_owned()]));
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let refused = |json: Value| options(json).unwrap_err();
        assert_eq!(
            refused(json!({"mirostat": 2})),
            "`options.mirostat` is not supported: `2` would have no effect; leave it out"
        );
        assert_eq!(
            refused(json!({"tempreature": 0})),
            "there is no parameter `tempreature`; did you mean `temperature`?"
        );
        let text = "`options.top_p` cannot be `\"0.7\"`: it must be a number from 0 to 1";
        assert_eq!(refused(json!({"top_p": "0.7"})), text);
        assert_eq!(refused(json!({"top_p": 2})), "`options.top_p` cannot be `2`: it must be a number from 0 to 1");
    }
}
