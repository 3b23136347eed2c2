//! Parts of requests that several dialects share: a text or a list, whole numbers however they are written, fields that
//! nobody knows. They are values; which of them a dialect takes is its own affair.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::idle_fields::{self, Object};
use super::problem::Problem;
use slm_engine::Token;
use slm_infer::infer::{FitUse, Turn};
use slm_values::sampling::{ParameterError, Parameters};

/// The part of the path that a route leaves open, decoded.
#[derive(Debug)]
pub struct InPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for InPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<InPath, Problem> {
        let read = Path::<String>::from_request_parts(parts, state).await;
        read.map(|Path(text)| InPath(text)).map_err(|error| Problem::invalid(error.body_text()))
    }
}

/// A text, or a list in its place.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TextOr<T> {
    Text(String),
    List(Vec<T>),
}

impl<T> TextOr<T> {
    /// The list; a text is a list of one.
    pub fn into_list(self, from_text: impl FnOnce(String) -> T) -> Vec<T> {
        match self {
            TextOr::Text(text) => vec![from_text(text)],
            TextOr::List(list) => list,
        }
    }
}

/// By hand, so that an error names the place in the list and what is wrong there.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextOr<T>, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<TextOr<T>, E> {
                Ok(TextOr::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<TextOr<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(TextOr::List)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// A whole number, also where another language writes it as `40.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(transparent)]
pub struct Whole(pub i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: Error>(self, n: i64) -> Result<Whole, E> {
                Ok(Whole(n))
            }

            fn visit_u64<E: Error>(self, n: u64) -> Result<Whole, E> {
                i64::try_from(n).map(Whole).map_err(|_| E::custom(format!("{n} is too large a number")))
            }

            fn visit_f64<E: Error>(self, n: f64) -> Result<Whole, E> {
                const EXACT: f64 = 9_007_199_254_740_992.0;
                #[allow(clippy::cast_possible_truncation)] // whole and within 2^53
                let whole = (n.fract() == 0.0 && n.abs() < EXACT).then_some(Whole(n as i64));
                whole.ok_or_else(|| E::invalid_value(Unexpected::Float(n), &self))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

/// What a request says of the model's fit.
#[derive(Debug, Clone, Default)]
pub struct Fitting {
    pub fit: Option<bool>,
    pub abstain: Option<String>,
}

impl Fitting {
    /// A turn with what was said.
    #[must_use]
    pub fn of(self, turn: Turn) -> Turn {
        let fit = if self.fit == Some(false) { FitUse::None } else { FitUse::Own };
        Turn { fit, abstained: self.abstain.unwrap_or_default(), ..turn }
    }
}

/// Puts a part of a text after the others, on a line of its own.
pub fn add_line(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push('\n');
    }
    *text += more;
}

/// A field that is known and not supported, with the reason.
pub type Refused = (&'static str, &'static str);

/// Refuses what is left of an object when all its known fields are taken. `null` says nothing, and of fields that are known
/// and not supported every empty value says nothing too.
///
/// # Errors
/// The first field that says something, by its place: `at` is that of the object, empty for the request itself.
pub fn none_left(rest: &Map<String, Value>, at: &str, refused: &[Refused]) -> Result<(), Problem> {
    left(rest.iter(), at, refused)
}

/// As [`none_left`], for an object that may have fields without an effect: these are taken, and told.
///
/// # Errors
/// As [`none_left`].
pub fn only_idle_left(rest: &Map<String, Value>, at: &str, object: Object, refused: &[Refused]) -> Result<(), Problem> {
    let is_idle = |name: &str, value: &Value| idle_fields::is_idle(object, name, &below(at, name), value);
    left(rest.iter().filter(|(name, value)| !is_idle(name, value)), at, refused)
}

fn left<'r>(rest: impl Iterator<Item = (&'r String, &'r Value)>, at: &str, refused: &[Refused]) -> Result<(), Problem> {
    for (name, value) in rest.filter(|(_, value)| !value.is_null()) {
        let place = below(at, name);
        match refused.iter().find(|(known, _)| known == name) {
            Some(_) if is_empty(value) => {}
            Some((_, why)) => return Err(Problem::unsupported(&place, why)),
            None => return Err(Problem::unknown(&place)),
        }
    }
    Ok(())
}

/// The place of a field of the object at `at`.
#[must_use]
pub fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_set) => !is_set,
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Sets a sampling parameter that the dialect calls `field`; `None` says nothing.
///
/// # Errors
/// The value is out of range, or no parameter has this name; the message has the dialect's name of it.
pub fn set(parameters: &mut Parameters, field: &str, name: &str, value: Option<Value>) -> Result<(), Problem> {
    let Some(value) = value else { return Ok(()) };
    parameters.set_json(name, &value).map_err(|error| match error {
        ParameterError::Invalid { value, expected, .. } => {
            Problem::invalid(format!("`{field}` cannot be `{value}`: it must be {expected}")).of(field)
        }
        error => Problem::invalid(error.to_string()).of(field),
    })
}

/// A number that must be at least 1: how many tokens are wanted at most.
///
/// # Errors
/// It is less, or more than any answer has.
pub fn set_most_tokens(parameters: &mut Parameters, field: &str, value: Option<Whole>) -> Result<(), Problem> {
    match value {
        Some(Whole(n)) if n < 1 => {
            Err(Problem::invalid(format!("`{field}` cannot be `{n}`: at least 1 token must be allowed")).of(field))
        }
        // More than fits is until the context is full, whatever the number.
        Some(Whole(n)) => set(parameters, field, "num_predict", Some(n.min(i64::from(i32::MAX)).into())),
        None => Ok(()),
    }
}

/// Tokens by their numbers; which there are the model's vocabulary knows.
///
/// # Errors
/// Something in the list is not a token's number; it is named by its place.
pub fn tokens(list: Vec<Value>, at: &str) -> Result<Vec<Token>, Problem> {
    let token = |(number, value): (usize, Value)| {
        let id = Whole::deserialize(&value).ok().and_then(|Whole(id)| Token::try_from(id).ok());
        id.ok_or_else(|| {
            let place = format!("{at}[{number}]");
            Problem::invalid(format!("`{place}` is `{value}`, which is not a token id")).of(place)
        })
    };
    list.into_iter().enumerate().map(token).collect()
}

/// The log-probability of what is impossible, which JSON has no number for; OpenAI writes this in its place.
const IMPOSSIBLE: f64 = -9999.0;

/// A log-probability that JSON can hold.
#[must_use]
pub fn finite(logprob: f64) -> f64 {
    if logprob.is_finite() { logprob.max(IMPOSSIBLE) } else { IMPOSSIBLE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    struct Wire {
        stop: Option<TextOr<String>>,
        seed: Option<Whole>,
        #[serde(flatten)]
        rest: Map<String, Value>,
    }

    fn wire(value: Value) -> Result<Wire, String> {
        serde_json::from_value(value).map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn a_text_or_a_list() {
        assert_eq!(wire(json!({"stop": "a"})).unwrap().stop, Some(TextOr::Text("a".into())));
        assert_eq!(wire(json!({"stop": ["a", "b"]})).unwrap().stop, Some(TextOr::List(vec!["a".into(), "b".into()])));
        assert_eq!(wire(json!({"stop": null})).unwrap().stop, None);
        assert_eq!(wire(json!({"stop": 1})).unwrap_err(), "invalid type: integer `1`, expected a string or a list");
        assert_eq!(wire(json!({"stop": [1]})).unwrap_err(), "invalid type: integer `1`, expected a string");
    }

    #[test]
    fn whole_numbers_however_written() {
        for seed in [json!(7), json!(7.0)] {
            assert_eq!(wire(json!({ "seed": seed })).unwrap().seed, Some(Whole(7)));
        }
        let refused = "invalid value: floating point `7.5`, expected a whole number";
        assert_eq!(wire(json!({"seed": 7.5})).unwrap_err(), refused);
        assert_eq!(wire(json!({"seed": u64::MAX})).unwrap_err(), "18446744073709551615 is too large a number");
        assert_eq!(wire(json!({"seed": "7"})).unwrap_err(), "invalid type: string \"7\", expected a whole number");
    }

    #[test]
    fn what_is_left_is_refused_by_name() {
        let refused = [("audio", "answers are text")];
        let rest = |value: Value| wire(value).unwrap().rest;
        assert_eq!(none_left(&rest(json!({"audio": null, "x": null})), "", &refused), Ok(()));
        assert_eq!(none_left(&rest(json!({"audio": {}})), "", &refused), Ok(()));
        let problem = none_left(&rest(json!({"audio": {"voice": "v"}})), "", &refused).unwrap_err();
        assert_eq!(problem.message, "`audio` is not supported: answers are text");
        assert_eq!(problem.field.as_deref(), Some("audio"));
        let problem = none_left(&rest(json!({"x": false})), "messages[0]", &refused).unwrap_err();
        assert_eq!(problem.message, "`messages[0].x` is not known here; remove it");
    }

    #[test]
    fn parameters_are_refused_under_the_dialects_name() {
        let mut parameters = Parameters::default();
        set_most_tokens(&mut parameters, "max_tokens", Some(Whole(1 << 40))).unwrap();
        assert_eq!(parameters.num_predict, Some(i32::MAX));
        let problem = set_most_tokens(&mut parameters, "max_tokens", Some(Whole(0))).unwrap_err();
        assert_eq!(problem.message, "`max_tokens` cannot be `0`: at least 1 token must be allowed");
        let problem = set(&mut parameters, "temperature", "temperature", Some(json!(-1))).unwrap_err();
        assert_eq!(problem.message, "`temperature` cannot be `-1`: it must be a number from 0 to 100");
        assert_eq!(problem.field.as_deref(), Some("temperature"));
    }
}
