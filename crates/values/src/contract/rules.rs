//! What the rules of all types of values share: the keywords of one node, counts with bounds, and why nothing is allowed.

use serde_json::{Map, Value};

use super::error::{ContractError, Pointer};

/// A place at which no value is allowed, and why.
#[derive(Debug, Clone)]
pub(super) struct Empty {
    pub at: Pointer,
    pub reason: String,
}

impl Empty {
    pub fn new(at: &Pointer, reason: impl Into<String>) -> Self {
        Empty { at: at.clone(), reason: reason.into() }
    }
}

/// Rules, or why no value keeps them all; the error is that they cannot be enforced.
pub(super) type Ruled<T> = Result<Result<T, Empty>, ContractError>;

/// The keywords of one node that hold for a shape.
#[derive(Clone, Copy)]
pub(super) struct Part<'d, 's> {
    pub at: &'d Pointer,
    pub map: &'s Map<String, Value>,
}

/// A count such as `minItems`.
fn count(map: &Map<String, Value>, name: &str, at: &Pointer) -> Result<Option<u64>, ContractError> {
    let Some(value) = map.get(name) else { return Ok(None) };
    let whole = value.as_u64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64));
    let n = whole.filter(|&n| n < 1_000_000_000);
    n.map(Some).ok_or_else(|| at.below(name).refused(format!("`{name}` is {value}, not a whole number below 10^9")))
}

/// The narrower of two bounds of a count.
pub(super) fn narrowed(
    part: Part<'_, '_>,
    names: [&str; 2],
    bounds: (u64, Option<u64>),
) -> Result<(u64, Option<u64>), ContractError> {
    let (least, most) = (count(part.map, names[0], part.at)?, count(part.map, names[1], part.at)?);
    Ok((bounds.0.max(least.unwrap_or(0)), bounds.1.into_iter().chain(most).min()))
}

/// Bounds of a count that no count keeps.
pub(super) fn crossed(names: [&str; 2], bounds: (u64, Option<u64>), at: &Pointer) -> Option<Empty> {
    let (least, most) = (bounds.0, bounds.1?);
    (least > most).then(|| Empty::new(at, format!("`{}` {least} is more than `{}` {most}", names[0], names[1])))
}
