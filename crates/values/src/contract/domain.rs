//! Which values several nodes of a schema allow together: shapes of one type each, with the nodes that hold for what is inside.

use serde_json::Value;

use super::closed::MAX_OPTIONS;
use super::document::Document;
use super::error::{ContractError, Pointer};
use super::keywords::{self, Kind};
use super::rules::{Empty, Part, Ruled};
use super::shapes::{Apart, Domain, Listed, NodeId, Origin, Shape, Typed, Variant};
use super::texts::TextRules;
use super::{lists, numbers, objects, overlap, texts, variants};

/// What the nodes allow together.
///
/// # Errors
/// [`ContractError::Schema`]: something that is asked cannot be enforced.
pub(super) fn of(document: &mut Document<'_>, nodes: &[NodeId]) -> Result<Domain, ContractError> {
    let at = nodes.first().map_or_else(Pointer::root, |&id| document.at(id).clone());
    let mut variants = match nodes.first() {
        Some(&id) => variants::of(document, id, 0, one_of)?.as_ref().clone(),
        None => variants::anything(),
    };
    for &id in nodes.iter().skip(1) {
        variants = variants::meet(&variants, &variants::of(document, id, 0, one_of)?, &at)?;
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
        domain.why = Some(Empty::new(&at, "no value has all the required types"));
    }
    Ok(domain)
}

fn one_of(document: &mut Document<'_>, parts: &[NodeId], at: &Pointer) -> Result<Vec<Apart>, ContractError> {
    overlap::check(document, parts, at, of)
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
        Kind::Object => Ok(objects::rules(document, typed, &at, of)?.map(Shape::Object)),
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
