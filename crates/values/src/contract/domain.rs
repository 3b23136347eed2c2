//! Which values several nodes of a schema allow together: shapes of one type each, with the nodes that hold for what is inside.

use serde_json::{Map, Value};

use super::closed_schema::MAX_OPTIONS;
use super::document::{Document, NodeId};
use super::error::{ContractError, Pointer};
use super::keywords::{self, Kind};
use super::lists::{self, ListRules};
use super::numbers::{self, NumberRules};
use super::objects::{self, ObjectRules};
use super::texts::{self, TextRules};
use super::variants::{self, Listed, Origin, Typed, Variant};

/// Nodes that hold together, each once, in order; empty where nothing is asked.
pub(super) type Conjunction = Vec<NodeId>;

/// What a conjunction allows.
#[derive(Debug, Clone)]
pub(super) struct Domain {
    /// Together they are all that is allowed; empty where nothing is.
    pub shapes: Vec<Shape>,
    /// Why nothing is allowed, or less than was written.
    pub why: Option<Empty>,
}

/// Some of the values that are allowed.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Values(Vec<Listed>),
    Number(NumberRules),
    Text(TextRules),
    List(ListRules),
    Object(ObjectRules),
}

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

/// The nodes in order and each once, without those that allow everything.
pub(super) fn conjunction(document: &Document<'_>, nodes: impl IntoIterator<Item = NodeId>) -> Conjunction {
    let is_asked = |id: &NodeId| match document.schema(*id) {
        Value::Bool(allowed) => !allowed,
        Value::Object(map) => !keywords::is_trivial(map),
        _ => true,
    };
    let mut nodes: Conjunction = nodes.into_iter().filter(is_asked).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Whether one of the nodes is the schema `false`.
pub(super) fn is_forbidden(document: &Document<'_>, nodes: &[NodeId]) -> bool {
    nodes.iter().any(|&id| document.schema(id) == &Value::Bool(false))
}

/// What the nodes allow together.
///
/// # Errors
/// [`ContractError::Schema`]: something that is asked cannot be enforced.
pub(super) fn of(document: &mut Document<'_>, nodes: &[NodeId]) -> Result<Domain, ContractError> {
    let at = nodes.first().map_or_else(Pointer::root, |&id| document.at(id).clone());
    let mut variants = match nodes.first() {
        Some(&id) => variants::of(document, id, 0)?.as_ref().clone(),
        None => variants::anything(),
    };
    for &id in nodes.iter().skip(1) {
        variants = variants::meet(&variants, &variants::of(document, id, 0)?, &at)?;
    }
    document.pay(1 + nodes.len() * variants.len(), &at)?;
    let mut domain = Domain { shapes: Vec::new(), why: None };
    for variant in variants {
        match variant {
            Variant::Values(values) => add_values(document, nodes, values, &at, &mut domain)?,
            Variant::Typed(typed) => add_typed(document, nodes, &typed, &at, &mut domain)?,
        }
    }
    leave_unkept_texts(&mut domain)?;
    if domain.shapes.is_empty() && domain.why.is_none() {
        domain.why = Some(Empty::new(&at, "no value is of all the types that it asks for"));
    }
    Ok(domain)
}

/// Listed values, held against all that is asked by the independent validator.
fn add_values(
    document: &mut Document<'_>,
    nodes: &[NodeId],
    values: Vec<Listed>,
    at: &Pointer,
    domain: &mut Domain,
) -> Result<(), ContractError> {
    let is_plain = nodes.iter().all(|&id| document.map(id).is_some_and(keywords::is_plain_list));
    let mut allowed = Vec::new();
    for listed in values {
        let mut is_allowed = true;
        for &id in if is_plain { &[] } else { nodes } {
            is_allowed = is_allowed && document.allows(id, &listed.value)?;
        }
        if is_allowed {
            allowed.push(listed);
        }
    }
    if allowed.is_empty() {
        domain.why = Some(Empty::new(at, "it allows none of the values that it lists"));
        return Ok(());
    }
    // Values that follow each other are one list, in their order.
    if let Some(Shape::Values(known)) = domain.shapes.last_mut() {
        allowed.retain(|listed| !known.iter().any(|other| other.value == listed.value));
        known.extend(allowed);
    } else {
        domain.shapes.push(Shape::Values(allowed));
    }
    Ok(())
}

fn add_typed(
    document: &mut Document<'_>,
    nodes: &[NodeId],
    typed: &Typed,
    at: &Pointer,
    domain: &mut Domain,
) -> Result<(), ContractError> {
    let ruled = shape(document, typed, at)?;
    let shape = match ruled {
        Ok(shape) => shape,
        Err(empty) => {
            domain.why = Some(empty);
            return Ok(());
        }
    };
    let refusal = typed.nodes.iter().find_map(|&id| {
        let map = document.map(id)?;
        let keyword = keywords::general(map).or_else(|| keywords::unheld(map, typed.kind))?;
        Some(keywords::refused(keyword, document.at(id)))
    });
    match (refusal, shape) {
        (None, shape) => domain.shapes.push(shape),
        // Few enough to be listed, each can be held against anything.
        (Some(refusal), Shape::Number(rules)) => {
            let listed = rules.listed(MAX_OPTIONS).ok_or(refusal)?;
            let named =
                listed.into_iter().map(|n| Listed { value: Value::from(n), description: None, origin: Origin::Named });
            add_values(document, nodes, named.collect(), at, domain)?;
        }
        (Some(refusal), _) => return Err(refusal),
    }
    Ok(())
}

fn shape(document: &mut Document<'_>, typed: &Typed, at: &Pointer) -> Ruled<Shape> {
    for &id in &typed.nodes {
        if document.map(id).is_some_and(|map| map.contains_key("pattern") || map.contains_key("patternProperties")) {
            document.pay_validator(at)?;
        }
    }
    let at = typed.nodes.first().map_or_else(|| at.clone(), |&id| document.at(id).clone());
    match typed.kind {
        Kind::Number => Ok(numbers::rules(&parts(document, typed), &at, typed.is_whole)?.map(Shape::Number)),
        Kind::Text => Ok(texts::rules(&parts(document, typed), &at)?.map(Shape::Text)),
        Kind::List => Ok(lists::rules(document, typed, &at)?.map(Shape::List)),
        Kind::Object => Ok(objects::rules(document, typed, &at)?.map(Shape::Object)),
    }
}

fn parts<'d, 's>(document: &'d Document<'s>, typed: &Typed) -> Vec<Part<'d, 's>> {
    let part = |&id: &NodeId| Some(Part { at: document.at(id), map: document.map(id)? });
    typed.nodes.iter().filter_map(part).collect()
}

/// A number that may be written as a text too, as Pydantic's `Decimal`, is written as a number where the pattern of the text
/// cannot be enforced.
fn leave_unkept_texts(domain: &mut Domain) -> Result<(), ContractError> {
    let has_number = domain.shapes.iter().any(|shape| matches!(shape, Shape::Number(_)));
    let mut refusal = None;
    domain.shapes.retain(|shape| match shape {
        Shape::Text(TextRules { unkept: Some(error), .. }) => {
            refusal = Some(error.clone());
            false
        }
        _ => true,
    });
    refusal.filter(|_| !has_number).map_or(Ok(()), Err)
}

/// A count such as `minItems`.
///
/// # Errors
/// [`ContractError::Schema`]: it is not one.
pub(super) fn count(map: &Map<String, Value>, name: &str, at: &Pointer) -> Result<Option<u64>, ContractError> {
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
