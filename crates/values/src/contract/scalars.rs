//! Texts, numbers and listed values of a schema, tightened to those that a grammar can spell exactly.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::error::{ContractError, Pointer};
use super::formats;
use super::validator::validator;

/// Whole numbers up to here are exact in JSON's usual arithmetic.
pub(super) const LARGEST: f64 = 1e15;
/// Numbers with a few decimals are exact enough up to here to differ from their neighbours.
pub(super) const LARGEST_IN_STEPS: f64 = 1e9;

pub(super) fn values_of(values: &Value, types: &[String], at: &Pointer) -> Result<Value, ContractError> {
    let at = at.below("enum");
    let list = values.as_array().ok_or_else(|| at.refused("`enum` is not a list"))?;
    if list.is_empty() {
        return Err(at.refused("`enum` is empty: give at least one value"));
    }
    let mut seen = HashSet::new();
    for value in list {
        check_value(value, &at, "enum")?;
        if !types.is_empty() && !types.iter().any(|name| is_of(value, name)) {
            return Err(at.refused(format!("{value} in `enum` is not of the schema's `type`")));
        }
        if !seen.insert(value.to_string()) {
            return Err(at.refused(format!("{value} is given twice")));
        }
    }
    Ok(values.clone())
}

pub(super) fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}

/// Characters that no text of an answer holds: JSON spells them as `\u001b`, which the grammar leaves out.
pub(super) fn is_unspelled(c: char) -> bool {
    c == '\u{7f}' || (c < ' ' && !matches!(c, '\n' | '\r' | '\t' | '\u{8}' | '\u{c}'))
}

/// Values must be ones that a grammar can spell exactly.
pub(super) fn check_value(value: &Value, at: &Pointer, keyword: &str) -> Result<(), ContractError> {
    match value {
        Value::Number(number) => {
            let n = number.as_f64().unwrap_or(f64::INFINITY);
            let n_decimals = number.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
            if n.abs() > LARGEST || number.to_string().contains('e') || n_decimals > 15 {
                return Err(at.refused(format!("{number} in `{keyword}` has too many digits: at most 15 are kept")));
            }
            Ok(())
        }
        Value::String(text) => match text.chars().find(|&c| is_unspelled(c)) {
            Some(c) => Err(
                at.refused(format!("a text in `{keyword}` holds the control character {c:?}, which is never written"))
            ),
            None => Ok(()),
        },
        Value::Array(list) => list.iter().try_for_each(|value| check_value(value, at, keyword)),
        Value::Object(map) => map.values().try_for_each(|value| check_value(value, at, keyword)),
        _ => Ok(()),
    }
}

pub(super) fn read_string(
    map: &Map<String, Value>,
    at: &Pointer,
    strict: &mut Map<String, Value>,
) -> Result<(), ContractError> {
    let (least, most) = (count(map, "minLength", at)?, count(map, "maxLength", at)?);
    check_order(least, most, "minLength", "maxLength", at)?;
    for (name, n) in [("minLength", least), ("maxLength", most)] {
        strict.extend(n.map(|n| (name.to_owned(), Value::from(n))));
    }
    let mut patterns = Vec::new();
    if let Some(pattern) = map.get("pattern") {
        let at = at.below("pattern");
        let pattern = pattern.as_str().ok_or_else(|| at.refused("`pattern` is not a text"))?;
        check_pattern(pattern, &at)?;
        patterns.push(pattern.to_owned());
        if names_controls(pattern) {
            // llguidance leaves a character that it cannot spell out of the text, where it must leave out the text.
            patterns.push("^[^\\x00-\\x07\\x0b\\x0e-\\x1f\\x7f]*$".to_owned());
        }
    }
    if let Some(format) = map.get("format") {
        let at = at.below("format");
        patterns.push(format.as_str().and_then(formats::pattern).ok_or_else(|| {
            at.refused(format!("`format` {format} cannot be kept; these can: {}", formats::NAMES.join(", ")))
        })?);
    }
    let mut patterns = patterns.into_iter();
    strict.extend(patterns.next().map(|pattern| ("pattern".to_owned(), Value::from(pattern))));
    let more: Vec<Value> = patterns.map(|pattern| json!({"type": "string", "pattern": pattern})).collect();
    if !more.is_empty() {
        strict.insert("allOf".to_owned(), Value::Array(more));
    }
    Ok(())
}

/// Whether a pattern may speak of a character that no text of an answer holds.
pub(super) fn names_controls(pattern: &str) -> bool {
    let escapes = ["\\x", "\\u", "\\0", "\\c", "\\a", "\\v", "\\e"];
    pattern.chars().any(is_unspelled) || escapes.iter().any(|escape| pattern.contains(escape))
}

/// A pattern must be one for the validator too.
pub(super) fn check_pattern(pattern: &str, at: &Pointer) -> Result<(), ContractError> {
    validator(&json!({ "pattern": pattern })).map(drop).map_err(|_| {
        at.refused(format!(
            "`{pattern}` is not a regular expression that can be kept (no look-around, no \
                                        references back, at most 1 MB compiled)"
        ))
    })
}

pub(super) fn read_number(
    map: &Map<String, Value>,
    at: &Pointer,
    is_typed: bool,
    strict: &mut Map<String, Value>,
) -> Result<(), ContractError> {
    let bound = |name: &str| match map.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(n) => Ok(Some(n)),
            None => Err(at.below(name).refused(format!("`{name}` is {value}, not a number"))),
        },
    };
    let (low, over) = (bound("minimum")?, bound("exclusiveMinimum")?);
    let (high, under) = (bound("maximum")?, bound("exclusiveMaximum")?);
    let least = low.into_iter().chain(over).reduce(f64::max);
    let most = high.into_iter().chain(under).reduce(f64::min);
    if let (Some(least), Some(most)) = (least, most)
        && (least > most || (least == most && (over == Some(least) || under == Some(most))))
    {
        return Err(at.refused(format!("no number is between {least} and {most} as its bounds ask")));
    }
    let has_decimals = map.get("multipleOf").is_some_and(|step| step.as_f64().is_some_and(|step| step.fract() != 0.0));
    let (largest, shown) = if has_decimals { (LARGEST_IN_STEPS, "10^9") } else { (LARGEST, "10^15") };
    if least.is_some_and(|n| n > largest) || most.is_some_and(|n| n < -largest) {
        return Err(at.refused(format!("numbers are kept below {shown}, and its bounds ask for larger ones")));
    }
    for (name, value) in [("exclusiveMinimum", over), ("exclusiveMaximum", under)] {
        if value.is_some_and(|n| n.abs() <= largest) {
            strict.insert(name.to_owned(), map[name].clone());
        }
    }
    if is_typed || has_decimals || low.is_some() {
        let exact = low.filter(|n| n.abs() <= largest).map_or(json!(-largest), |_| map["minimum"].clone());
        strict.insert("minimum".to_owned(), exact);
    }
    if is_typed || has_decimals || high.is_some() {
        let exact = high.filter(|n| n.abs() <= largest).map_or(json!(largest), |_| map["maximum"].clone());
        strict.insert("maximum".to_owned(), exact);
    }
    if let Some(step) = bound("multipleOf")? {
        // llguidance keeps them as a whole number of 32 bits over a power of ten, and multiplies two of them.
        let digits = map["multipleOf"].to_string();
        let n_decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.trim_end_matches('0').len());
        if !(step > 0.0 && step < 10_000.0 && n_decimals <= 4 && !digits.contains('e')) {
            let reason = format!("`multipleOf` {digits} is kept from 0.0001 to 9999, with four decimals at most");
            return Err(at.below("multipleOf").refused(reason));
        }
        strict.insert("multipleOf".to_owned(), map["multipleOf"].clone());
    }
    Ok(())
}

pub(super) fn count(map: &Map<String, Value>, name: &str, at: &Pointer) -> Result<Option<u64>, ContractError> {
    let Some(value) = map.get(name) else { return Ok(None) };
    let whole = value.as_u64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64));
    let n = whole.filter(|&n| n < 1_000_000_000);
    n.map(Some).ok_or_else(|| at.below(name).refused(format!("`{name}` is {value}, not a whole number below 10^9")))
}

pub(super) fn check_order(
    least: Option<u64>,
    most: Option<u64>,
    least_name: &str,
    most_name: &str,
    at: &Pointer,
) -> Result<(), ContractError> {
    match (least, most) {
        (Some(least), Some(most)) if least > most => {
            Err(at.refused(format!("`{least_name}` {least} is more than `{most_name}` {most}")))
        }
        _ => Ok(()),
    }
}
