//! Whether the parts of `oneOf` exclude each other, as nothing may be two of them.

use super::document::{Allowed, Document};
use super::error::{ContractError, Pointer};
use super::keywords::Kind;
use super::shapes::{Apart, Listed, NodeId, ObjectRules, Shape, Variant};

/// Objects and lists inside each other that are looked into.
const MAX_DEPTH: usize = 8;
/// Parts that are compared with each other.
const MAX_PARTS: usize = 200;

/// Refuses parts that may overlap. Listed values may: each is held against the whole by the validator. Objects may where
/// more is asked of each: a property that tells them apart is there, or one that only the other requires is not.
///
/// # Errors
/// [`ContractError::Schema`].
pub(super) fn check(
    document: &mut Document<'_>,
    parts: &[NodeId],
    at: &Pointer,
    allowed: Allowed,
) -> Result<Vec<Apart>, ContractError> {
    let mut open = Vec::new();
    for &part in parts {
        let known = document.known_variants(part);
        let is_open = known.iter().flat_map(|known| known.iter()).any(|variant| matches!(variant, Variant::Typed(_)));
        open.push(is_open);
    }
    if parts.len() > MAX_PARTS && open.iter().any(|is_open| *is_open) {
        return Err(at.refused(format!("more than {MAX_PARTS} parts cannot be distinguished; write `anyOf`")));
    }
    let mut apart = vec![Apart::default(); parts.len()];
    for one in 0..parts.len() {
        for other in one + 1..parts.len() {
            if !(open[one] || open[other]) {
                continue;
            }
            let told = told_apart(document, parts[one], parts[other], allowed)?.ok_or_else(|| {
                at.refused(
                    "its parts may overlap, and a value must match only one; write `anyOf`, or distinguish objects by a property \
                     with a `const`",
                )
            })?;
            apart[one].add(&told[0]);
            apart[other].add(&told[1]);
        }
    }
    Ok(apart)
}

/// What is asked of the objects of two parts so that no value is both, but for values that both list; `None` where some may
/// be both whatever is asked.
fn told_apart(
    document: &mut Document<'_>,
    one: NodeId,
    other: NodeId,
    allowed: Allowed,
) -> Result<Option<[Apart; 2]>, ContractError> {
    let nodes = document.conjunction([one, other]);
    let Ok(both) = allowed(document, &nodes) else { return Ok(None) };
    let mut told = [Apart::default(), Apart::default()];
    for shape in &both.shapes {
        let is_apart = match shape {
            Shape::Values(values) => {
                let are_listed = |id| document.known_variants(id).is_some_and(|known| are_all_listed(&known, values));
                are_listed(one) && are_listed(other)
            }
            shape if is_empty(document, shape, MAX_DEPTH, allowed) => true,
            Shape::Object(rules) => match tag(document, rules, allowed) {
                Some(name) => {
                    told.iter_mut().for_each(|apart| apart.present.push(name.clone()));
                    true
                }
                None => forbid_others(document, [one, other], &mut told, allowed)?,
            },
            _ => false,
        };
        if !is_apart {
            return Ok(None);
        }
    }
    Ok(Some(told))
}

/// A property that no object of both parts can have.
fn tag(document: &mut Document<'_>, rules: &ObjectRules, allowed: Allowed) -> Option<String> {
    let tags = rules.named.iter().find(|named| allows_nothing(document, &named.nodes, MAX_DEPTH, allowed));
    tags.map(|named| named.name.clone())
}

/// Forbids each part a property that only the other requires; `false` where one requires all that the other does.
fn forbid_others(
    document: &mut Document<'_>,
    parts: [NodeId; 2],
    told: &mut [Apart; 2],
    allowed: Allowed,
) -> Result<bool, ContractError> {
    let some = always_required(document, parts[0], allowed)?;
    let others = always_required(document, parts[1], allowed)?;
    let only = |these: &[String], those: &[String]| these.iter().find(|name| !those.contains(name)).cloned();
    let (Some(first), Some(second)) = (only(&some, &others), only(&others, &some)) else { return Ok(false) };
    told[0].absent.push(second);
    told[1].absent.push(first);
    Ok(true)
}

/// The properties that every object of a node has.
fn always_required(document: &mut Document<'_>, id: NodeId, allowed: Allowed) -> Result<Vec<String>, ContractError> {
    let nodes = document.conjunction([id]);
    let mut common: Option<Vec<String>> = None;
    for shape in allowed(document, &nodes)?.shapes {
        if let Shape::Object(rules) = shape {
            let required: Vec<String> =
                rules.named.into_iter().filter(|named| named.is_required).map(|named| named.name).collect();
            common =
                Some(common.map_or(required.clone(), |known| {
                    known.into_iter().filter(|name| required.contains(name)).collect()
                }));
        }
    }
    Ok(common.unwrap_or_default())
}

/// Whether values come from lists alone, which are held against the whole `oneOf`; a grammar of their type is not.
fn are_all_listed(variants: &[Variant], values: &[Listed]) -> bool {
    let is_listed = |listed: &Listed| {
        variants
            .iter()
            .any(|v| matches!(v, Variant::Values(all) if all.iter().any(|other| other.value == listed.value)))
    };
    let is_written = |listed: &Listed| {
        variants.iter().any(|v| matches!(v, Variant::Typed(typed) if Some(typed.kind) == Kind::of(&listed.value)))
    };
    values.iter().all(|listed| is_listed(listed) && !is_written(listed))
}

/// Whether it is certain that no value has the shape.
fn is_empty(document: &mut Document<'_>, shape: &Shape, depth: usize, allowed: Allowed) -> bool {
    match shape {
        Shape::Object(rules) => rules
            .named
            .iter()
            .filter(|named| named.is_required)
            .any(|named| allows_nothing(document, &named.nodes, depth, allowed)),
        Shape::List(rules) => {
            let least = usize::try_from(rules.least).unwrap_or(usize::MAX);
            let needs_rest = least > rules.first.len();
            rules.first.iter().take(least).any(|nodes| allows_nothing(document, nodes, depth, allowed))
                || (needs_rest
                    && rules.rest.as_ref().is_none_or(|nodes| allows_nothing(document, nodes, depth, allowed)))
        }
        Shape::Values(_) | Shape::Number(_) | Shape::Text(_) => false,
    }
}

fn allows_nothing(document: &mut Document<'_>, nodes: &[NodeId], depth: usize, allowed: Allowed) -> bool {
    if depth == 0 {
        return false;
    }
    let Ok(domain) = allowed(document, nodes) else { return false };
    domain.shapes.iter().all(|shape| is_empty(document, shape, depth - 1, allowed))
}
