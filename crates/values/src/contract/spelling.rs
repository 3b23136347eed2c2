//! Which listed values a grammar can spell exactly.

use serde_json::Value;

use super::error::{ContractError, Pointer};
use super::numbers::LARGEST;
use super::texts::is_unspelled;

/// Refuses values that a grammar cannot spell exactly.
pub(super) fn check_value(value: &Value, at: &Pointer) -> Result<(), ContractError> {
    match value {
        Value::Number(number) => {
            let n = number.as_f64().unwrap_or(f64::INFINITY);
            let n_decimals = number.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
            if n.abs() > LARGEST || number.to_string().contains('e') || n_decimals > 15 {
                return Err(at.refused(format!("{number} has too many digits: at most 15 are supported")));
            }
            Ok(())
        }
        Value::String(text) => check_text(text, at),
        Value::Array(list) => list.iter().try_for_each(|value| check_value(value, at)),
        Value::Object(map) => map.iter().try_for_each(|(name, value)| {
            check_text(name, at)?;
            check_value(value, at)
        }),
        _ => Ok(()),
    }
}

fn check_text(text: &str, at: &Pointer) -> Result<(), ContractError> {
    match text.chars().find(|&c| is_unspelled(c)) {
        Some(c) => {
            Err(at.refused(format!("a listed text contains the control character {c:?}, which answers cannot contain")))
        }
        None => Ok(()),
    }
}
