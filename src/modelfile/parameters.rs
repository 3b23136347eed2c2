//! The parameters of a Modelfile and of a manifest's `params` layer; it does not know what a sampler does with them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

/// What a model runs with where a request does not say otherwise, under Ollama's names. What is `None` was not set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_ctx: Option<u32>,
    /// The most tokens of an answer; -1 is without limit, -2 until the context is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_predict: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typical_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// How many tokens the repeat penalty looks back; 0 is none, -1 the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_last_n: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_keep: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_batch: Option<u32>,
    /// How many layers go to the accelerator; -1 is all that fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_gpu: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_gpu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_mmap: Option<bool>,
    /// How many threads; 0 is slm's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_thread: Option<u32>,
    /// What a foreign manifest holds beyond these; kept, never used.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A parameter's type and range.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Whole { min: i64, max: i64 },
    Real { min: f64, max: f64 },
    Flag,
    Texts,
}

const INT_MAX: i64 = i32::MAX as i64;

const KNOWN: [(&str, Kind); 19] = [
    ("num_ctx", Kind::Whole { min: 1, max: INT_MAX }),
    ("num_predict", Kind::Whole { min: -2, max: INT_MAX }),
    ("temperature", Kind::Real { min: 0.0, max: 100.0 }),
    ("top_k", Kind::Whole { min: 0, max: INT_MAX }),
    ("top_p", Kind::Real { min: 0.0, max: 1.0 }),
    ("min_p", Kind::Real { min: 0.0, max: 1.0 }),
    ("typical_p", Kind::Real { min: 0.0, max: 1.0 }),
    ("seed", Kind::Whole { min: i64::MIN, max: i64::MAX }),
    ("stop", Kind::Texts),
    ("repeat_last_n", Kind::Whole { min: -1, max: INT_MAX }),
    ("repeat_penalty", Kind::Real { min: 0.0, max: 100.0 }),
    ("presence_penalty", Kind::Real { min: -100.0, max: 100.0 }),
    ("frequency_penalty", Kind::Real { min: -100.0, max: 100.0 }),
    ("num_keep", Kind::Whole { min: -1, max: INT_MAX }),
    ("num_batch", Kind::Whole { min: 1, max: INT_MAX }),
    ("num_gpu", Kind::Whole { min: -1, max: INT_MAX }),
    ("main_gpu", Kind::Whole { min: 0, max: INT_MAX }),
    ("use_mmap", Kind::Flag),
    ("num_thread", Kind::Whole { min: 0, max: 1024 }),
];

impl Parameters {
    /// Sets a parameter from a Modelfile's text; `stop` is added to those before it.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] where the name is unknown, the value of the wrong type or out of range, or set before.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), ParameterError> {
        let name = name.to_ascii_lowercase();
        let kind = kind_of(&name).ok_or_else(|| unknown(&name))?;
        let wrong = |expected: String| ParameterError::Value { name: name.clone(), value: text.to_owned(), expected };
        let value = match kind {
            Kind::Whole { .. } => text.parse::<i64>().map(Value::from).map_err(|_| wrong(kind.expected()))?,
            Kind::Real { .. } => text.parse::<f64>().map(Value::from).map_err(|_| wrong(kind.expected()))?,
            Kind::Flag => {
                text.to_ascii_lowercase().parse::<bool>().map(Value::from).map_err(|_| wrong(kind.expected()))?
            }
            Kind::Texts => Value::from(self.stop.iter().map(String::as_str).chain([text]).collect::<Vec<_>>()),
        };
        kind.check(&value).map_err(|()| wrong(kind.expected()))?;
        let mut map = self.to_map();
        if !matches!(kind, Kind::Texts) && map.contains_key(&name) {
            return Err(ParameterError::Twice(name));
        }
        map.insert(name, value);
        *self = Parameters::of_checked(map);
        Ok(())
    }

    /// The parameters of a JSON object: a manifest's layer or a request's options. Unknown names are kept in `other`.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] where a known parameter's value is of the wrong type or out of range.
    pub fn from_map(map: Map<String, Value>) -> Result<Parameters, ParameterError> {
        for (name, value) in &map {
            let Some(kind) = kind_of(name) else { continue };
            kind.check(value).map_err(|()| ParameterError::Value {
                name: name.clone(),
                value: value.to_string(),
                expected: kind.expected(),
            })?;
        }
        Ok(Parameters::of_checked(map))
    }

    /// The parameters that were set, in the order of their names, whole numbers without a fraction: as Ollama writes them.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        let Ok(Value::Object(map)) = serde_json::to_value(self) else {
            unreachable!("a struct of numbers, flags and text is an object")
        };
        let mut entries: Vec<_> = map.into_iter().map(|(name, value)| (name, whole_where_possible(value))).collect();
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        entries.into_iter().collect()
    }

    /// These parameters over those of `base`: what is set here wins, `stop` as a whole.
    #[must_use]
    pub fn over(&self, base: &Parameters) -> Parameters {
        let mut map = base.to_map();
        map.extend(self.to_map());
        Parameters::of_checked(map)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Parameters::default()
    }

    fn of_checked(map: Map<String, Value>) -> Parameters {
        serde_json::from_value(Value::Object(map)).expect("each kind's range lies within its field's type")
    }
}

impl Kind {
    fn check(self, value: &Value) -> Result<(), ()> {
        let is_right = match self {
            Kind::Whole { min, max } => value.as_i64().is_some_and(|number| (min..=max).contains(&number)),
            Kind::Real { min, max } => value.as_f64().is_some_and(|number| (min..=max).contains(&number)),
            Kind::Flag => value.is_boolean(),
            Kind::Texts => value
                .as_array()
                .is_some_and(|texts| texts.iter().all(|text| text.as_str().is_some_and(|text| !text.is_empty()))),
        };
        if is_right { Ok(()) } else { Err(()) }
    }

    fn expected(self) -> String {
        match self {
            Kind::Whole { min: i64::MIN, .. } => "a whole number".to_owned(),
            Kind::Whole { min, max: INT_MAX } => format!("a whole number of {min} or more"),
            Kind::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Real { min, max } => format!("a number from {min} to {max}"),
            Kind::Flag => "`true` or `false`".to_owned(),
            Kind::Texts => "text that is not empty".to_owned(),
        }
    }
}

/// A parameter that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    #[error("there is no parameter `{name}`; the nearest is `{nearest}`")]
    Unknown { name: String, nearest: &'static str },
    #[error("parameter `{name}` is `{value}`, but takes {expected}")]
    Value { name: String, value: String, expected: String },
    #[error("parameter `{0}` is set twice; keep one of them")]
    Twice(String),
}

fn kind_of(name: &str) -> Option<Kind> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

fn unknown(name: &str) -> ParameterError {
    let nearest = KNOWN
        .iter()
        .map(|(known, _)| *known)
        .min_by_key(|known| strsim::levenshtein(known, name))
        .expect("there are known parameters");
    ParameterError::Unknown { name: name.to_owned(), nearest }
}

/// `1.0` as `1`, which is how Go writes it.
fn whole_where_possible(value: Value) -> Value {
    match value.as_f64() {
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() < 1e15 => {
            // Exact: a whole number below 2^53.
            Value::Number(Number::from(number as i64))
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn refused(name: &str, text: &str, expected: &str) {
        let error = Parameters::default().set(name, text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn sets_what_is_known_and_in_range() {
        let mut parameters = Parameters::default();
        for (name, text) in
            [("temperature", "1"), ("Top_P", "0.9"), ("stop", "<|eot|>"), ("stop", "b"), ("use_mmap", "False")]
        {
            parameters.set(name, text).unwrap();
        }
        assert_eq!(
            serde_json::to_string(&parameters.to_map()).unwrap(),
            r#"{"stop":["<|eot|>","b"],"temperature":1,"top_p":0.9,"use_mmap":false}"#
        );
        assert_eq!(parameters.temperature, Some(1.0));
    }

    #[test]
    fn refuses_with_the_range() {
        refused("temprature", "1", "there is no parameter `temprature`; the nearest is `temperature`");
        refused("num_ctx", "0", "parameter `num_ctx` is `0`, but takes a whole number of 1 or more");
        refused("num_ctx", "4294967296", "parameter `num_ctx` is `4294967296`, but takes a whole number of 1 or more");
        refused("top_p", "1.5", "parameter `top_p` is `1.5`, but takes a number from 0 to 1");
        refused("temperature", "NaN", "parameter `temperature` is `NaN`, but takes a number from 0 to 100");
        refused("use_mmap", "1", "parameter `use_mmap` is `1`, but takes `true` or `false`");
        refused("num_thread", "-1", "parameter `num_thread` is `-1`, but takes a whole number from 0 to 1024");
        refused("stop", "", "parameter `stop` is ``, but takes text that is not empty");
        let mut parameters = Parameters { seed: Some(1), ..Parameters::default() };
        assert_eq!(
            parameters.set("seed", "2").unwrap_err().to_string(),
            "parameter `seed` is set twice; keep one of them"
        );
    }

    #[test]
    fn keeps_foreign_parameters_and_merges_by_name() {
        let map = |json: Value| Parameters::from_map(json.as_object().unwrap().clone());
        let base = map(serde_json::json!({"num_gqa": 8, "temperature": 0.5, "stop": ["a"]})).unwrap();
        let over = map(serde_json::json!({"temperature": 0, "stop": ["b"]})).unwrap();
        assert_eq!(
            Value::Object(over.over(&base).to_map()),
            serde_json::json!({"num_gqa": 8, "stop": ["b"], "temperature": 0})
        );
        assert!(map(serde_json::json!({"temperature": "hot"})).is_err());
        assert!(map(serde_json::json!({"stop": "a"})).is_err());
    }

    proptest! {
        #[test]
        fn any_value_is_answered(name in 0usize..KNOWN.len(), text in "-?[0-9.e]{0,24}|true|.*") {
            let mut parameters = Parameters::default();
            if parameters.set(KNOWN[name].0, &text).is_ok() {
                prop_assert_eq!(Parameters::from_map(parameters.to_map()), Ok(parameters));
            }
            let json = serde_json::from_str(&text).unwrap_or(Value::Null);
            let _ = Parameters::from_map(Map::from_iter([(KNOWN[name].0.to_owned(), json)]));
        }
    }
}
