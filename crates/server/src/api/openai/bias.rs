//! `logit_bias`: what is added to the logits of tokens.

use serde_json::{Map, Value};

use crate::api::fields::below;
use crate::api::problem::Problem;
use slm_engine::Token;

const FIELD: &str = "logit_bias";

/// Reads the biases by their tokens' numbers; which numbers there are the model's vocabulary knows.
///
/// # Errors
/// A name that is not a number, or a bias beyond 100.
pub fn read(bias: Option<&Map<String, Value>>) -> Result<Vec<(Token, f32)>, Problem> {
    bias.into_iter().flatten().map(|(token, bias)| one(token, bias)).collect()
}

fn one(token: &str, bias: &Value) -> Result<(Token, f32), Problem> {
    let Ok(id) = token.parse::<Token>() else {
        let message = format!("`{FIELD}` cannot have `{token}`: its keys are token ids");
        return Err(Problem::invalid(message).of(FIELD));
    };
    match bias.as_f64() {
        #[allow(clippy::cast_possible_truncation)] // within 100
        Some(bias) if (-100.0..=100.0).contains(&bias) => Ok((id, bias as f32)),
        _ => {
            let place = below(FIELD, token);
            let message = format!("`{place}` cannot be `{bias}`: it must be a number from -100 to 100");
            Err(Problem::invalid(message).of(FIELD))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bias(value: &Value) -> Result<Vec<(Token, f32)>, String> {
        read(value.as_object()).map_err(|problem| problem.message)
    }

    #[test]
    fn tokens_have_numbers_and_biases() {
        assert_eq!(bias(&json!({"263": -100, "7": 0.5})).unwrap(), [(263, -100.0), (7, 0.5)]);
        assert_eq!(bias(&Value::Null).unwrap(), []);
        for (value, message) in [
            (json!({"The": 1}), "`logit_bias` cannot have `The`: its keys are token ids"),
            (json!({"7": 101}), "`logit_bias.7` cannot be `101`: it must be a number from -100 to 100"),
            (json!({"7": "x"}), "`logit_bias.7` cannot be `\"x\"`: it must be a number from -100 to 100"),
        ] {
            assert_eq!(bias(&value).unwrap_err(), message);
        }
    }
}
