//! Whether a schema that refers to itself has answers that end.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::error::{ContractError, Pointer};

/// Refuses a schema whose every answer would be endless. `targets` are the names of the definitions, and where each is in
/// the schema as it was given.
pub(super) fn check_ends(
    root: &Value,
    defs: &Map<String, Value>,
    targets: &[(String, Pointer)],
) -> Result<(), ContractError> {
    let mut ending: HashSet<String> = HashSet::new();
    loop {
        let n_known = ending.len();
        let found: Vec<String> =
            defs.iter().filter(|(_, def)| ends(def, &ending)).map(|(name, _)| name.clone()).collect();
        ending.extend(found);
        if ending.len() == n_known {
            break;
        }
    }
    if ends(root, &ending) {
        return Ok(());
    }
    let endless = targets.iter().find(|(name, _)| !ending.contains(name));
    let at = endless.map_or_else(Pointer::root, |(_, place)| place.clone());
    Err(at.refused(
        "it needs itself again without an end: let it end somewhere, with a property that is not required or a \
                    list that may be empty",
    ))
}

/// Whether some finite answer satisfies a strict schema; `known` are the definitions of which that is known.
fn ends(schema: &Value, known: &HashSet<String>) -> bool {
    let Value::Object(map) = schema else { return true };
    if map.contains_key("enum") || map.contains_key("const") {
        return true;
    }
    let inner = |key: &str| map.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let reference = map.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix("#/$defs/"));
    let is_known = reference.is_none_or(|name| name.starts_with("free") || known.contains(name));
    let is_one = |key: &str| !map.contains_key(key) || inner(key).iter().any(|part| ends(part, known));
    if !(is_known && inner("allOf").iter().all(|part| ends(part, known)) && is_one("anyOf") && is_one("oneOf")) {
        return false;
    }
    let kinds = inner("type");
    kinds.is_empty()
        || kinds.iter().any(|kind| match kind.as_str() {
            Some("object") => {
                let named = |name: &Value| map.get("properties")?.get(name.as_str()?);
                inner("required").iter().filter_map(named).all(|property| ends(property, known))
            }
            Some("array") => {
                let least = map.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
                let first = inner("prefixItems");
                let rest = map.get("items").is_none_or(|items| ends(items, known));
                first.iter().take(least).all(|item| ends(item, known)) && (first.len() >= least || rest)
            }
            _ => true,
        })
}
