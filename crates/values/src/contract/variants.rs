//! What one node of a schema allows, as a list of variants: values that are listed, or values of one type that some nodes
//! constrain. References are followed, `allOf` is met, `anyOf` and `oneOf` become more variants.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::document::Document;
use super::error::{ContractError, Pointer};
use super::keywords::{self, Kind, TYPES, constrains};
use super::shapes::{Apart, Listed, NodeId, Origin, Typed, Unevaluated, Variant, Variants};

/// Applicators inside each other, references counted.
const MAX_DEPTH: usize = 64;
/// Variants of one node.
const MAX_VARIANTS: usize = 1000;
/// Listed values of one node.
const MAX_VALUES: usize = 20_000;

/// What keeps the parts of a `oneOf` apart, for each of them: `overlap::check`.
///
/// # Errors
/// [`ContractError::Schema`]: they may overlap.
pub(super) type OneOf = fn(&mut Document<'_>, &[NodeId], &Pointer) -> Result<Vec<Apart>, ContractError>;

/// Everything.
pub(super) fn anything() -> Variants {
    TYPES.iter().filter(|name| **name != "integer").map(|name| of_type(name)).collect()
}

fn of_type(name: &str) -> Variant {
    let listed = |value, origin| Listed { value, description: None, origin };
    let typed = |kind, is_whole| {
        let (nodes, unevaluated, apart) = (Vec::new(), Vec::new(), Apart::default());
        Variant::Typed(Typed { kind, is_whole, nodes, unevaluated, apart })
    };
    match name {
        "null" => Variant::Values(vec![listed(Value::Null, Origin::Named)]),
        "boolean" => Variant::Values([true, false].map(|value| listed(Value::Bool(value), Origin::Boolean)).to_vec()),
        "integer" => typed(Kind::Number, true),
        "number" => typed(Kind::Number, false),
        "string" => typed(Kind::Text, false),
        "array" => typed(Kind::List, false),
        _ => typed(Kind::Object, false),
    }
}

/// What a node allows. Listed values are not yet held against the rest of what stands around them: see `domain`.
///
/// # Errors
/// [`ContractError::Schema`] with the place and the keyword.
pub(super) fn of(
    document: &mut Document<'_>,
    id: NodeId,
    depth: usize,
    one_of: OneOf,
) -> Result<Rc<Variants>, ContractError> {
    match document.variants.get(&id) {
        Some(Some(known)) => return Ok(Rc::clone(known)),
        Some(None) => return Err(document.at(id).refused("its references form a cycle")),
        None => {}
    }
    if depth > MAX_DEPTH {
        return Err(document.at(id).refused(format!("schemas are nested more than {MAX_DEPTH} deep")));
    }
    document.variants.insert(id, None);
    let read = match document.schema(id) {
        Value::Bool(true) => Ok(anything()),
        Value::Object(map) => read(document, id, (map, depth), one_of),
        _ => Ok(Vec::new()),
    };
    match read {
        Ok(variants) => {
            let variants = Rc::new(variants);
            document.variants.insert(id, Some(Rc::clone(&variants)));
            Ok(variants)
        }
        Err(error) => {
            document.variants.remove(&id);
            Err(error)
        }
    }
}

fn read<'s>(
    document: &mut Document<'s>,
    id: NodeId,
    (map, depth): (&'s Map<String, Value>, usize),
    one_of: OneOf,
) -> Result<Variants, ContractError> {
    let at = document.at(id).clone();
    keywords::check(map, &at)?;
    let mut variants = own(id, map, &at)?;
    for keyword in ["not", "if", "then", "else"] {
        if let Some(schema) = map.get(keyword) {
            // What it allows is the validator's matter; that it does not refer to itself in place is seen here.
            let part = document.node(at.below(keyword), schema)?;
            of(document, part, depth + 1, one_of)?;
        }
    }
    // Nothing here has an `$id` of its own: in one resource a dynamic reference is a reference.
    for keyword in ["$ref", "$dynamicRef"] {
        let Some(reference) = map.get(keyword) else { continue };
        let target = document.target(reference, &at.below(keyword))?;
        variants = meet(&of(document, target, depth + 1, one_of)?, &variants, &at)?;
    }
    if let Some(parts) = map.get("allOf") {
        for part in document.list(&at.below("allOf"), parts)? {
            variants = meet(&of(document, part, depth + 1, one_of)?, &variants, &at)?;
        }
    }
    for choice in ["anyOf", "oneOf"] {
        let Some(parts) = map.get(choice) else { continue };
        let at = at.below(choice);
        let parts = document.list(&at, parts)?;
        let mut any = Vec::new();
        for &part in &parts {
            let variants = of(document, part, depth + 1, one_of)?;
            any.push(described(&variants, document.map(part)));
        }
        if choice == "oneOf" {
            keep_apart(&mut any, &one_of(document, &parts, &at)?);
        }
        let any: Variants = any.into_iter().flatten().collect();
        check_size(&any, &at)?;
        variants = meet(&any, &variants, &at)?;
    }
    leave_unevaluated(document, map, &at, &mut variants)?;
    Ok(variants)
}

/// Notes in the objects of each part what keeps it out of the others.
fn keep_apart(parts: &mut [Variants], apart: &[Apart]) {
    for (part, apart) in parts.iter_mut().zip(apart) {
        for variant in part {
            if let Variant::Typed(typed) = variant
                && typed.kind == Kind::Object
            {
                typed.apart.add(apart);
            }
        }
    }
}

/// What a node allows by its own `type`, `enum` and `const`.
fn own(id: NodeId, map: &Map<String, Value>, at: &Pointer) -> Result<Variants, ContractError> {
    let mut variants: Variants = types(map, at)?.into_iter().map(of_type).collect();
    for variant in &mut variants {
        if let Variant::Typed(typed) = variant
            && constrains(map, typed.kind)
        {
            typed.nodes.push(id);
        }
    }
    for keyword in ["enum", "const"] {
        if let Some(listed) = listed(map, keyword, at)? {
            variants = meet(&[Variant::Values(listed)], &variants, at)?;
        }
    }
    Ok(variants)
}

/// The names of the types that a node allows, in its order.
fn types<'m>(map: &'m Map<String, Value>, at: &Pointer) -> Result<Vec<&'m str>, ContractError> {
    let place = at.below("type");
    let known = |name: &'m Value| match name.as_str() {
        Some(name) if TYPES.contains(&name) => Ok(name),
        _ => Err(place.refused(format!("{name} is not a type of JSON Schema"))),
    };
    let mut names = match map.get("type") {
        None => TYPES.to_vec(),
        Some(Value::Array(names)) if !names.is_empty() => names.iter().map(known).collect::<Result<_, _>>()?,
        Some(name) => vec![known(name)?],
    };
    match map.get("nullable") {
        Some(Value::Bool(true)) if map.get("type").is_some_and(Value::is_string) => names.push("null"),
        None | Some(Value::Bool(_)) => {}
        Some(other) => return Err(at.below("nullable").refused(format!("`nullable` is {other}, not true or false"))),
    }
    let mut unique = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    if unique.contains(&"number") {
        unique.retain(|name| *name != "integer");
    }
    Ok(unique)
}

/// The values that `enum` or `const` lists, each once.
fn listed(map: &Map<String, Value>, keyword: &str, at: &Pointer) -> Result<Option<Vec<Listed>>, ContractError> {
    let Some(given) = map.get(keyword) else { return Ok(None) };
    let place = at.below(keyword);
    let (values, described) = if keyword == "const" {
        (std::slice::from_ref(given), None)
    } else {
        let values = given.as_array().ok_or_else(|| place.refused("`enum` is not a list"))?;
        (values.as_slice(), map.get("enumDescriptions").and_then(Value::as_array))
    };
    if values.is_empty() {
        return Err(place.refused("`enum` is empty: give at least one value"));
    }
    if values.len() > MAX_VALUES {
        return Err(place.refused(format!("there are more than {MAX_VALUES} values in it")));
    }
    let mut seen = std::collections::HashSet::new();
    let mut all = Vec::new();
    let own = map.get("description").filter(|_| keyword == "const");
    for (number, value) in values.iter().enumerate() {
        let value = plain(value);
        let description = described.and_then(|all| all.get(number)).or(own).and_then(Value::as_str).map(str::to_owned);
        if seen.insert(value.to_string()) {
            all.push(Listed { value, description, origin: Origin::Named });
        }
    }
    Ok(Some(all))
}

/// A value with whole numbers as such: `1.0` and `1` are one value.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => match number.as_f64() {
            Some(n) if n.fract() == 0.0 && n.abs() < 9e15 => Value::from(n as i64),
            _ => value.clone(),
        },
        Value::Array(list) => Value::Array(list.iter().map(plain).collect()),
        Value::Object(map) => Value::Object(map.iter().map(|(name, value)| (name.clone(), plain(value))).collect()),
        _ => value.clone(),
    }
}

/// A part of a choice is described by its own `description`, where it is one value.
fn described(variants: &Variants, map: Option<&Map<String, Value>>) -> Variants {
    let mut variants = variants.clone();
    let description = map.and_then(|map| map.get("description")).and_then(Value::as_str);
    if let ([Variant::Values(values)], Some(description)) = (variants.as_mut_slice(), description)
        && let [one] = values.as_mut_slice()
        && one.description.is_none()
    {
        one.description = Some(description.to_owned());
    }
    variants
}

/// What both allow. Listed values come in the order of the first, then in that of the others.
pub(super) fn meet(some: &[Variant], others: &[Variant], at: &Pointer) -> Result<Variants, ContractError> {
    let lists = lists_of(others);
    let mut both: Variants = Vec::new();
    for one in some {
        match one {
            Variant::Values(values) => {
                let allowed = values.iter().filter_map(|listed| match lists.get(&listed.value.to_string()) {
                    Some(other) => Some(named(listed, other)),
                    None => is_typed(&listed.value, others).then(|| listed.clone()),
                });
                push_values(&mut both, allowed.collect());
            }
            Variant::Typed(typed) => both.extend(others.iter().filter_map(|other| match other {
                Variant::Typed(other) => merged(typed, other).map(Variant::Typed),
                Variant::Values(_) => None,
            })),
        }
        check_size(&both, at)?;
    }
    let lists = lists_of(some);
    for other in others {
        if let Variant::Values(values) = other {
            let is_new = |value: &Value| !lists.contains_key(&value.to_string()) && is_typed(value, some);
            push_values(&mut both, values.iter().filter(|listed| is_new(&listed.value)).cloned().collect());
        }
    }
    check_size(&both, at)?;
    Ok(both)
}

fn lists_of(variants: &[Variant]) -> HashMap<String, &Listed> {
    let listed = variants.iter().filter_map(|variant| match variant {
        Variant::Values(values) => Some(values),
        Variant::Typed(_) => None,
    });
    listed.flatten().map(|listed| (listed.value.to_string(), listed)).collect()
}

fn push_values(variants: &mut Variants, values: Vec<Listed>) {
    if !values.is_empty() {
        variants.push(Variant::Values(values));
    }
}

/// Whether one of the variants allows a value by its type.
fn is_typed(value: &Value, variants: &[Variant]) -> bool {
    variants.iter().any(|variant| matches!(variant, Variant::Typed(typed) if is_of(value, typed)))
}

/// Values of one type that both constrain.
fn merged(one: &Typed, other: &Typed) -> Option<Typed> {
    if one.kind != other.kind {
        return None;
    }
    let mut typed = one.clone();
    typed.is_whole |= other.is_whole;
    for &node in &other.nodes {
        if !typed.nodes.contains(&node) {
            typed.nodes.push(node);
        }
    }
    for unevaluated in &other.unevaluated {
        if !typed.unevaluated.contains(unevaluated) {
            typed.unevaluated.push(unevaluated.clone());
        }
    }
    typed.apart.add(&other.apart);
    Some(typed)
}

/// One value that two lists name.
fn named(one: &Listed, other: &Listed) -> Listed {
    Listed {
        value: one.value.clone(),
        description: one.description.clone().or_else(|| other.description.clone()),
        origin: if one.origin == other.origin { one.origin } else { Origin::Named },
    }
}

fn is_of(value: &Value, typed: &Typed) -> bool {
    let is_whole = || value.as_f64().is_some_and(|n| n.fract() == 0.0);
    Kind::of(value) == Some(typed.kind) && (!typed.is_whole || is_whole())
}

fn check_size(variants: &[Variant], at: &Pointer) -> Result<(), ContractError> {
    let n_values: usize = variants.iter().map(|v| if let Variant::Values(values) = v { values.len() } else { 0 }).sum();
    if variants.len() > MAX_VARIANTS || n_values > MAX_VALUES {
        return Err(at.refused(format!(
            "it has too many cases: at most {MAX_VARIANTS} choices and {MAX_VALUES} listed values are supported"
        )));
    }
    Ok(())
}

/// Notes what `unevaluatedProperties` and `unevaluatedItems` say of the rest.
fn leave_unevaluated<'s>(
    document: &mut Document<'s>,
    map: &'s Map<String, Value>,
    at: &Pointer,
    variants: &mut Variants,
) -> Result<(), ContractError> {
    for (keyword, kind) in [("unevaluatedProperties", Kind::Object), ("unevaluatedItems", Kind::List)] {
        let Some(schema) = map.get(keyword) else { continue };
        let node = document.node(at.below(keyword), schema)?;
        for variant in variants.iter_mut() {
            if let Variant::Typed(typed) = variant
                && typed.kind == kind
            {
                typed.unevaluated.push(Unevaluated { node, beside: typed.nodes.clone() });
            }
        }
    }
    Ok(())
}
