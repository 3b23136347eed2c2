//! Numbers between bounds and in steps, and how a grammar writes them.
//!
//! A written number stays between -10^15 and 10^15 (10^9 where its steps have decimals), has no exponent and at most
//! [`N_DECIMALS`] decimals, so that it has an end.

use serde_json::{Map, Value, json};

use super::error::{ContractError, Pointer};
use super::rules::{Empty, Part, Ruled};

/// Whole numbers up to here are exact in JSON's usual arithmetic.
pub(super) const LARGEST: f64 = 1e15;
/// Numbers with a few decimals are exact enough up to here to differ from their neighbours.
const LARGEST_IN_STEPS: f64 = 1e9;
/// Decimals of a written number whose steps are not given.
const N_DECIMALS: i32 = 6;
/// Steps are counted in these: four decimals.
const STEP_UNIT: f64 = 10_000.0;

/// What is asked of a number.
#[derive(Debug, Clone)]
pub(super) struct NumberRules {
    pub is_whole: bool,
    least: Bound,
    most: Bound,
    /// Every number is a multiple of this many ten-thousandths.
    step: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    value: f64,
    is_exclusive: bool,
}

/// Any number that is written.
pub(super) fn any() -> NumberRules {
    let unbounded = |value| Bound { value, is_exclusive: false };
    NumberRules { is_whole: false, least: unbounded(f64::NEG_INFINITY), most: unbounded(f64::INFINITY), step: None }
}

/// The rules that several nodes make together.
///
/// # Errors
/// [`ContractError::Schema`]: a bound is not a number, or steps are too fine to be enforced.
pub(super) fn rules(parts: &[Part<'_, '_>], at: &Pointer, is_whole: bool) -> Ruled<NumberRules> {
    let unbounded = |value| Bound { value, is_exclusive: false };
    let NumberRules { mut least, mut most, mut step, .. } = any();
    for part in parts {
        for (keyword, over) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
            for bound in bounds(*part, keyword, over)? {
                let known = if keyword == "minimum" { &mut least } else { &mut most };
                let is_tighter =
                    if keyword == "minimum" { bound.value > known.value } else { bound.value < known.value };
                if is_tighter {
                    *known = bound;
                } else if bound.value == known.value {
                    known.is_exclusive |= bound.is_exclusive;
                }
            }
        }
        if let Some((low, high)) = format_bounds(*part)? {
            least = if least.value < low { unbounded(low) } else { least };
            most = if most.value > high { unbounded(high) } else { most };
        }
        if let Some(given) = part.map.get("multipleOf") {
            let units = step_units(given, &part.at.below("multipleOf"))?;
            step = Some(step.map_or(Ok(units), |known| common_step(known, units, part.at))?);
        }
    }
    if is_whole && let Some(units) = step {
        step = Some(common_step(units, STEP_UNIT as u64, at)?);
    }
    let rules = NumberRules { is_whole, least, most, step };
    Ok(match rules.emptiness() {
        Some(reason) => Err(Empty::new(at, reason)),
        None => Ok(rules),
    })
}

/// The bounds that a keyword and its exclusive form give; `true` under the latter is how OpenAPI 3.0 spells it.
fn bounds(part: Part<'_, '_>, keyword: &str, over: &str) -> Result<Vec<Bound>, ContractError> {
    let read = |name: &str| match part.map.get(name) {
        None | Some(Value::Bool(_)) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(n) => Ok(Some(n)),
            None => Err(part.at.below(name).refused(format!("`{name}` is {value}, not a number"))),
        },
    };
    if part.map.get(keyword).is_some_and(Value::is_boolean) {
        return Err(part.at.below(keyword).refused(format!("`{keyword}` is not a number")));
    }
    let is_exclusive = part.map.get(over) == Some(&Value::Bool(true));
    let plain = read(keyword)?.map(|value| Bound { value, is_exclusive });
    let exclusive = read(over)?.map(|value| Bound { value, is_exclusive: true });
    Ok(plain.into_iter().chain(exclusive).collect())
}

/// The bounds of the integer formats of OpenAPI and of other languages' types.
fn format_bounds(part: Part<'_, '_>) -> Result<Option<(f64, f64)>, ContractError> {
    let Some(format) = part.map.get("format") else { return Ok(None) };
    let signed = |bits: i32| Some((-(2f64.powi(bits - 1)), 2f64.powi(bits - 1) - 1.0));
    let unsigned = |bits: i32| Some((0.0, 2f64.powi(bits) - 1.0));
    match format.as_str() {
        Some("int8") => Ok(signed(8)),
        Some("int16") => Ok(signed(16)),
        Some("int32") => Ok(signed(32)),
        Some("int64" | "int" | "safeint" | "float" | "double" | "decimal" | "float32" | "float64" | "int128") => {
            Ok(None)
        }
        Some("uint8") => Ok(unsigned(8)),
        Some("uint16") => Ok(unsigned(16)),
        Some("uint32") => Ok(unsigned(32)),
        Some("uint64" | "uint" | "uint128") => Ok(Some((0.0, f64::INFINITY))),
        // Formats of texts say nothing of numbers.
        Some(_) => Ok(None),
        None => Err(part.at.below("format").refused(format!("`format` is {format}, not a text"))),
    }
}

fn step_units(given: &Value, at: &Pointer) -> Result<u64, ContractError> {
    let refused =
        || at.refused(format!("`multipleOf` {given} is supported from 0.0001 to 9999, with four decimals at most"));
    let step = given.as_f64().filter(|step| *step > 0.0 && *step < STEP_UNIT).ok_or_else(refused)?;
    let units = (step * STEP_UNIT).round();
    if units < 1.0 || (units / STEP_UNIT - step).abs() > f64::EPSILON * step {
        return Err(refused());
    }
    Ok(units as u64)
}

/// The steps that are steps of both.
fn common_step(one: u64, other: u64, at: &Pointer) -> Result<u64, ContractError> {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let units = one / gcd(one, other) * other;
    if units >= (STEP_UNIT * STEP_UNIT) as u64 {
        let step = units as f64 / STEP_UNIT;
        return Err(at.refused(format!("its `multipleOf` values combine to {step}, and at most 9999 is supported")));
    }
    Ok(units)
}

impl NumberRules {
    /// The largest number that is written.
    fn largest(&self) -> f64 {
        let has_decimals = self.step.is_some_and(|units| units % STEP_UNIT as u64 != 0);
        if has_decimals { LARGEST_IN_STEPS } else { LARGEST }
    }

    /// Why there is no such number.
    fn emptiness(&self) -> Option<String> {
        let (least, most) = (self.least, self.most);
        if least.value > most.value || (least.value == most.value && (least.is_exclusive || most.is_exclusive)) {
            return Some(format!("no number is within its bounds, {} and {}", least.value, most.value));
        }
        let largest = self.largest();
        if least.value > largest || most.value < -largest {
            let shown = if largest == LARGEST { "10^15" } else { "10^9" };
            return Some(format!("its bounds allow only numbers beyond {shown}, which are not supported"));
        }
        let (low, high) = self.grid();
        (low > high).then(|| {
            let step = 1.0 / self.unit();
            format!("no multiple of {step} is between {} and {}", least.value, most.value)
        })
    }

    /// In how many parts the numbers between two whole ones are distinguished.
    fn unit(&self) -> f64 {
        match self.step {
            Some(units) => STEP_UNIT / units as f64,
            None if self.is_whole => 1.0,
            None => 10f64.powi(N_DECIMALS),
        }
    }

    /// The first and the last number that is written, in units.
    fn grid(&self) -> (f64, f64) {
        let (unit, largest) = (self.unit(), self.largest());
        let scaled = |bound: Bound, edge: f64| {
            if bound.value.abs() > largest { (edge * unit, false) } else { on_grid(bound, unit) }
        };
        let (low, is_over) = scaled(self.least, -largest);
        let (high, is_under) = scaled(self.most, largest);
        let low = if low.fract() == 0.0 && is_over { low + 1.0 } else { low.ceil() };
        let high = if high.fract() == 0.0 && is_under { high - 1.0 } else { high.floor() };
        (low, high)
    }

    /// Every number, where they are whole and at most `n`.
    pub fn listed(&self, n: usize) -> Option<Vec<i64>> {
        let is_bounded = self.least.value.abs() <= LARGEST && self.most.value.abs() <= LARGEST;
        let (low, high) = self.grid();
        if !self.is_whole || !is_bounded || high - low >= n as f64 {
            return None;
        }
        let step = self.step.map_or(1, |units| (units / STEP_UNIT as u64) as i64);
        Some((low as i64..=high as i64).map(|number| number * step).collect())
    }

    /// The bounds as they are told to a person: the first and the last whole number, where both are given.
    pub fn ends(&self) -> Option<(f64, f64)> {
        (self.least.value.is_finite() && self.most.value.is_finite()).then_some((self.least.value, self.most.value))
    }

    /// The schema of what is written.
    pub fn strict(&self) -> Value {
        let mut map = Map::new();
        map.insert("type".to_owned(), Value::from(if self.is_whole { "integer" } else { "number" }));
        let unit = self.unit();
        let (low, high) = self.grid();
        for (name, bound, edge) in [("minimum", self.least, low), ("maximum", self.most, high)] {
            // An exclusive bound is written as the next number: llguidance 1.9 takes the bound itself in some ranges.
            let is_exact = bound.value.abs() <= self.largest() && !self.is_whole && !bound.is_exclusive;
            let is_large = bound.value.abs() > LARGEST_IN_STEPS && bound.value.is_finite();
            let value = match (is_exact, name) {
                (true, _) if has_few_decimals(bound.value) => bound.value,
                (false, "minimum") if is_large && !self.is_whole => (bound.value.floor() + 1.0).max(-self.largest()),
                (false, _) if is_large && !self.is_whole => (bound.value.ceil() - 1.0).min(self.largest()),
                _ => edge / unit,
            };
            map.insert(name.to_owned(), number(value));
        }
        let step = match self.step {
            Some(units) => Some(units as f64 / STEP_UNIT),
            None if self.is_whole => None,
            None => Some(10f64.powi(-N_DECIMALS)),
        };
        map.extend(step.map(|step| ("multipleOf".to_owned(), number(step))));
        Value::Object(map)
    }
}

/// A bound in units, and whether it is exclusive. What is a whole number of units but for rounding is one.
fn on_grid(bound: Bound, unit: f64) -> (f64, bool) {
    let scaled = bound.value * unit;
    let near = scaled.round();
    let is_on = near / unit == bound.value || (scaled - near).abs() < 1e-9 * near.abs().max(1e-3);
    (if is_on { near } else { scaled }, bound.is_exclusive)
}

fn has_few_decimals(n: f64) -> bool {
    let unit = 10f64.powi(N_DECIMALS);
    (n * unit).round() / unit == n
}

/// A number without a point where it is whole.
fn number(n: f64) -> Value {
    if n.fract() == 0.0 && n.abs() < 9e15 { json!(n as i64) } else { json!(n) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruled(schema: Value, is_whole: bool) -> Result<NumberRules, String> {
        let (at, map) = (Pointer::root(), schema.as_object().unwrap().clone());
        match rules(&[Part { at: &at, map: &map }], &at, is_whole) {
            Ok(ruled) => ruled.map_err(|empty| empty.reason),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn whole_numbers_lie_between_any_bounds() {
        let listed = |schema: Value| ruled(schema, true).map(|rules| rules.listed(100));
        assert_eq!(listed(json!({"minimum": 0.5, "maximum": 3.5})), Ok(Some(vec![1, 2, 3])));
        assert_eq!(listed(json!({"minimum": -1, "exclusiveMaximum": 1})), Ok(Some(vec![-1, 0])));
        assert_eq!(listed(json!({"minimum": 1, "exclusiveMinimum": true, "maximum": 2})), Ok(Some(vec![2])));
        assert_eq!(listed(json!({"minimum": 0, "maximum": 30, "multipleOf": 7.5})), Ok(Some(vec![0, 15, 30])));
        assert_eq!(listed(json!({"minimum": 0})), Ok(None));
        assert_eq!(listed(json!({"format": "uint8", "maximum": 1})), Ok(Some(vec![0, 1])));
        assert_eq!(
            listed(json!({"minimum": 4, "maximum": 6, "multipleOf": 7})),
            Err("no multiple of 7 is between 4 and 6".to_owned())
        );
    }

    #[test]
    fn written_numbers_have_an_end() {
        let strict = |schema: Value| ruled(schema, false).unwrap().strict();
        let written = json!({"type": "number", "minimum": -1_000_000_000_000_000i64, "maximum": 1_000_000_000_000_000i64, "multipleOf": 0.000_001});
        assert_eq!(strict(json!({})), written);
        assert_eq!(
            strict(json!({"exclusiveMinimum": 0, "maximum": 0.123_456_78})),
            json!({"type": "number", "minimum": 0.000_001, "maximum": 0.123_456, "multipleOf": 0.000_001})
        );
        assert!(ruled(json!({"minimum": 1e-9, "maximum": 2e-9}), false).unwrap_err().starts_with("no multiple of"));
    }
}
