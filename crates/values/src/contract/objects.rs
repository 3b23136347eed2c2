//! Objects: which properties they have, and what each is.

use std::collections::{HashMap, HashSet};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::document::{Allowed, Document};
use super::error::{ContractError, Pointer};
use super::rules::{self, Empty, Part, Ruled};
use super::shapes::{Conjunction, Named, NodeId, ObjectRules, Shape, Typed};
use super::texts;
use super::validator::validator;

const COUNTS: [&str; 2] = ["minProperties", "maxProperties"];

/// The properties that one node speaks of.
struct Properties {
    node: NodeId,
    named: Vec<(String, NodeId)>,
    /// The same by name.
    by_name: HashMap<String, NodeId>,
    matching: Vec<Matching>,
    more: Option<NodeId>,
}

/// The properties whose names match an expression.
struct Matching {
    pattern: String,
    node: NodeId,
    names: Validator,
}

/// Everything that several nodes say, as it is there.
struct Said {
    at: Pointer,
    all: Vec<Properties>,
    /// `propertyNames`.
    names: Vec<NodeId>,
    required: IndexOfNames,
    has_names: bool,
}

/// The rules that several nodes make together.
///
/// # Errors
/// [`ContractError::Schema`]: the value of a keyword is invalid, or a keyword cannot be enforced.
pub(super) fn rules(document: &mut Document<'_>, typed: &Typed, at: &Pointer, allowed: Allowed) -> Ruled<ObjectRules> {
    let mut counts = (0, None);
    let mut said = Said {
        at: at.clone(),
        all: Vec::new(),
        names: Vec::new(),
        required: IndexOfNames::default(),
        has_names: false,
    };
    for &node in &typed.nodes {
        let Some(map) = document.map(node) else { continue };
        let at = document.at(node).clone();
        counts = rules::narrowed(Part { at: &at, map }, COUNTS, counts)?;
        said.read(document, node, map, &at)?;
    }
    typed.apart.present.iter().for_each(|name| said.required.add(name));
    if let Some(empty) = rules::crossed(COUNTS, counts, at) {
        return Ok(Err(empty));
    }
    let names = said.allowed_names(document, allowed)?;
    let (named, forbidden) = match said.named(document, typed, &names)? {
        Ok(named) => named,
        Err(empty) => return Ok(Err(empty)),
    };
    let Others { matching, rest } = said.others(document, typed, &names);
    let (least, most) = counts;
    if matching.is_empty() && rest.is_none() && least > named.len() as u64 {
        let (n, n_required) = (named.len(), named.iter().filter(|named| named.is_required).count());
        let reason = format!("`minProperties` is {least}, with {n_required} required of {n} properties");
        return Ok(Err(Empty::new(at, reason)));
    }
    Ok(Ok(ObjectRules { at: at.clone(), named, forbidden, matching, rest, least, most }))
}

/// Properties without a name.
struct Others {
    matching: Vec<(String, Conjunction)>,
    rest: Option<Conjunction>,
}

/// Names in their order, each once.
#[derive(Default)]
struct IndexOfNames {
    names: Vec<String>,
    known: HashSet<String>,
}

impl IndexOfNames {
    fn add(&mut self, name: &str) {
        if self.known.insert(name.to_owned()) {
            self.names.push(name.to_owned());
        }
    }
}

/// Which names `propertyNames` allows.
enum Names {
    Any,
    /// These alone.
    Listed(Vec<String>),
    /// Those that match.
    Matching(String),
}

impl Said {
    fn read<'s>(
        &mut self,
        document: &mut Document<'s>,
        node: NodeId,
        map: &'s Map<String, Value>,
        at: &Pointer,
    ) -> Result<(), ContractError> {
        let named = named_schemas(document, map, "properties", at)?;
        let by_name = named.iter().cloned().collect();
        let mut matching = Vec::new();
        for (pattern, node) in named_schemas(document, map, "patternProperties", at)? {
            let place = document.at(node);
            texts::written(&pattern, place)?;
            if texts::names_controls(&pattern) {
                return Err(place.refused(
                    "escapes by character code are not supported in a pattern of names; write the characters",
                ));
            }
            let names = validator(&json!({ "pattern": pattern })).map_err(|reason| place.refused(reason))?;
            matching.push(Matching { pattern, node, names });
        }
        let mut properties = Properties { node, named, by_name, matching, more: None };
        if let Some(schema) = map.get("additionalProperties") {
            properties.more = Some(document.node(at.below("additionalProperties"), schema)?);
        }
        if let Some(schema) = map.get("propertyNames") {
            self.names.push(document.node(at.below("propertyNames"), schema)?);
        }
        required(map, &at.below("required"))?.iter().for_each(|name| self.required.add(name));
        self.has_names |= map.contains_key("properties") || !properties.matching.is_empty();
        self.all.push(properties);
        Ok(())
    }

    fn allowed_names(&self, document: &mut Document<'_>, allowed: Allowed) -> Result<Names, ContractError> {
        let asked = document.conjunction(self.names.iter().copied());
        let Some(&first) = asked.first() else { return Ok(Names::Any) };
        let reason = "rules for names are supported as one `enum`, or as one `pattern` where no property has a pattern of its own";
        let refused = document.at(first).refused(reason);
        let (mut listed, mut matching) = (Vec::new(), None);
        let shapes = allowed(document, &asked)?.shapes;
        for shape in shapes {
            match shape {
                Shape::Values(values) => {
                    listed.extend(values.iter().filter_map(|listed| listed.value.as_str().map(str::to_owned)));
                }
                Shape::Text(rules) if rules.is_free() => return Ok(Names::Any),
                Shape::Text(rules) => {
                    let pattern =
                        rules.as_pattern().filter(|pattern| matching.is_none() && !texts::names_controls(pattern));
                    matching = Some(pattern.ok_or_else(|| refused.clone())?);
                }
                _ => {}
            }
        }
        match matching {
            None => Ok(Names::Listed(listed)),
            Some(pattern) if listed.is_empty() && self.all.iter().all(|p| p.matching.is_empty()) => {
                Ok(Names::Matching(pattern))
            }
            Some(_) => Err(refused),
        }
    }

    /// The properties that have a name, and what is asked of each.
    fn named(&self, document: &mut Document<'_>, typed: &Typed, names: &Names) -> Ruled<(Vec<Named>, Vec<String>)> {
        let mut known = IndexOfNames::default();
        let given = self.all.iter().flat_map(|properties| &properties.named).map(|(name, _)| name);
        let listed = if let Names::Listed(names) = names { names.as_slice() } else { &[] };
        for name in given.chain(&self.required.names).chain(listed).chain(&typed.apart.absent) {
            known.add(name);
        }
        let (mut named, mut forbidden) = (Vec::new(), Vec::new());
        for name in known.names {
            let is_required = self.required.known.contains(&name);
            let nodes = self.nodes(document, typed, &name);
            let mut is_allowed = !document.is_forbidden(&nodes) && !typed.apart.absent.contains(&name);
            for &id in &self.names {
                is_allowed = is_allowed && document.allows(id, &Value::from(name.as_str()))?;
            }
            match (is_allowed, is_required) {
                (true, _) => named.push(Named { name, nodes, is_required }),
                (false, true) => {
                    let reason = format!("`{name}` is required, and a rule about other properties forbids it");
                    return Ok(Err(Empty::new(&self.at, reason)));
                }
                (false, false) => forbidden.push(name),
            }
        }
        Ok(Ok((named, forbidden)))
    }

    /// What is asked of a property.
    fn nodes(&self, document: &Document<'_>, typed: &Typed, name: &str) -> Conjunction {
        let mut nodes = Vec::new();
        let mut readers = Vec::new();
        for properties in &self.all {
            let mut found: Vec<NodeId> = properties.by_name.get(name).copied().into_iter().collect();
            let of_name = Value::from(name);
            let matching = properties.matching.iter().filter(|matching| matching.names.is_valid(&of_name));
            found.extend(matching.map(|matching| matching.node));
            if found.is_empty() {
                found.extend(properties.more);
            }
            if !found.is_empty() {
                readers.push(properties.node);
            }
            nodes.extend(found);
        }
        let is_left = |beside: &[NodeId]| !beside.iter().any(|node| readers.contains(node));
        nodes.extend(typed.unevaluated.iter().filter(|u| is_left(&u.beside)).map(|u| u.node));
        document.conjunction(nodes)
    }

    /// The properties without a name: those that match an expression, and the rest.
    fn others(&self, document: &Document<'_>, typed: &Typed, names: &Names) -> Others {
        let mut matching: Vec<(String, Conjunction)> = Vec::new();
        let has_more = |node: &NodeId| self.all.iter().any(|p| p.node == *node && p.more.is_some());
        let has_pattern = |node: &NodeId, pattern: &str| {
            self.all.iter().any(|p| p.node == *node && p.matching.iter().any(|known| known.pattern == pattern))
        };
        for Matching { pattern, .. } in self.all.iter().flat_map(|properties| &properties.matching) {
            if matching.iter().any(|(known, _)| known == pattern) {
                continue;
            }
            let of = |properties: &Properties| {
                let own = properties.matching.iter().find(|known| known.pattern == *pattern).map(|known| known.node);
                own.or(properties.more)
            };
            let left =
                typed.unevaluated.iter().filter(|u| !u.beside.iter().any(|n| has_more(n) || has_pattern(n, pattern)));
            let nodes = self.all.iter().filter_map(of).chain(left.map(|u| u.node));
            let nodes = document.conjunction(nodes.collect::<Vec<_>>());
            if !document.is_forbidden(&nodes) {
                matching.push((pattern.clone(), nodes));
            }
        }
        let left = typed.unevaluated.iter().filter(|u| !u.beside.iter().any(has_more)).map(|u| u.node);
        let asked: Vec<NodeId> = self.all.iter().filter_map(|properties| properties.more).chain(left).collect();
        // Properties that nothing is said of are written only where no property has a name.
        let is_said = !asked.is_empty() || !self.has_names;
        let rest = document.conjunction(asked);
        let rest = (is_said && !document.is_forbidden(&rest)).then_some(rest);
        match names {
            Names::Any => Others { matching, rest },
            Names::Listed(_) => Others { matching: Vec::new(), rest: None },
            Names::Matching(pattern) => {
                Others { matching: rest.into_iter().map(|nodes| (pattern.clone(), nodes)).collect(), rest: None }
            }
        }
    }
}

fn named_schemas<'s>(
    document: &mut Document<'s>,
    map: &'s Map<String, Value>,
    keyword: &str,
    at: &Pointer,
) -> Result<Vec<(String, NodeId)>, ContractError> {
    let Some(schemas) = map.get(keyword) else { return Ok(Vec::new()) };
    let at = at.below(keyword);
    let schemas = schemas.as_object().ok_or_else(|| at.refused("it is not an object of schemas"))?;
    schemas.iter().map(|(name, schema)| Ok((name.clone(), document.node(at.below(name), schema)?))).collect()
}

fn required(map: &Map<String, Value>, at: &Pointer) -> Result<Vec<String>, ContractError> {
    let Some(names) = map.get("required") else { return Ok(Vec::new()) };
    let names: Option<Vec<String>> =
        names.as_array().and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    names.ok_or_else(|| at.refused("`required` is not a list of names"))
}
