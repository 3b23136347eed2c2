//! Writes the places of an answer as a schema that a grammar keeps exactly.
//!
//! Every answer to it is an answer to the schema as it was given. What is stricter: properties without a name are written only
//! where the schema speaks of them, and items after a tuple's likewise; numbers are bounded (`numbers`); formats are those of
//! `formats`; values of which nothing is asked nest at most [`FREE_DEPTH`] deep.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::error::{ContractError, Pointer};
use super::numbers;
use super::places::{Place, Places};
use super::shapes::{Conjunction, ListRules, ObjectRules, Shape};
use super::spelling::check_value;
use super::unique;

/// Lists and objects inside each other, where nothing is asked of a value.
const FREE_DEPTH: usize = 8;
/// Properties of one object that have a name: a grammar's cost grows with their square.
const MAX_PROPERTIES: usize = 1000;
/// Ways to choose the properties of an object that are counted.
const MAX_CHOICES: usize = 200;

/// A schema that a grammar keeps.
#[derive(Debug)]
pub(super) struct Strict {
    /// The schema, references as `#/$defs/…`.
    pub schema: Value,
    /// Every part of it with its place in the given schema, inner ones first; each without `$defs`.
    pub parts: Vec<(Pointer, Value)>,
    /// Texts of which more than one thing is asked: whether there is one, only their regular expressions tell.
    pub texts: Vec<(Pointer, Value)>,
}

/// Writes the schema.
///
/// # Errors
/// [`ContractError::Schema`] with the place and the keyword that cannot be enforced.
pub(super) fn write(places: &Places) -> Result<Strict, ContractError> {
    let mut writer = Writer { places, written: HashSet::new(), left: Vec::new(), texts: Vec::new() };
    let mut root = writer.body(places.get(0))?;
    let mut defs = Map::new();
    let mut parts = vec![(places.get(0).at.clone(), root.clone())];
    while let Some(id) = writer.left.pop() {
        let body = writer.body(places.get(id))?;
        parts.push((places.get(id).at.clone(), body.clone()));
        defs.insert(name(id), body);
    }
    parts.reverse();
    defs.extend(free());
    root.as_object_mut().expect("bodies are objects").insert("$defs".to_owned(), Value::Object(defs));
    Ok(Strict { schema: root, parts, texts: writer.texts })
}

fn name(id: usize) -> String {
    format!("p{id}")
}

/// Values of which nothing is asked, bounded in depth.
fn free() -> Map<String, Value> {
    let scalar = json!({"anyOf": [{"type": ["null", "boolean", "string"]}, numbers::any().strict()]});
    let mut defs = Map::from_iter([("scalar".to_owned(), scalar)]);
    for depth in 0..=FREE_DEPTH {
        let mut kinds = vec![json!({"$ref": "#/$defs/scalar"})];
        if depth < FREE_DEPTH {
            let inner = json!({ "$ref": format!("#/$defs/free{}", depth + 1) });
            kinds.push(json!({"type": "array", "items": inner}));
            kinds.push(json!({"type": "object", "additionalProperties": inner}));
        }
        defs.insert(format!("free{depth}"), json!({ "anyOf": kinds }));
    }
    defs
}

struct Writer<'p> {
    places: &'p Places,
    /// Places that have a definition, or will.
    written: HashSet<usize>,
    left: Vec<usize>,
    texts: Vec<(Pointer, Value)>,
}

impl Writer<'_> {
    /// What stands for a place: itself where nothing is inside it, else a reference.
    fn place(&mut self, nodes: &Conjunction) -> Result<Value, ContractError> {
        let id = self.places.id(nodes);
        let place = self.places.get(id);
        let Some(domain) = &place.domain else { return Ok(json!({"$ref": "#/$defs/free0"})) };
        let is_scalar = |shape: &Shape| !matches!(shape, Shape::List(_) | Shape::Object(_));
        if domain.shapes.iter().all(is_scalar) {
            return self.body(place);
        }
        if self.written.insert(id) {
            self.left.push(id);
        }
        Ok(json!({ "$ref": format!("#/$defs/{}", name(id)) }))
    }

    fn body(&mut self, place: &Place) -> Result<Value, ContractError> {
        let Some(domain) = &place.domain else { return Ok(json!({"$ref": "#/$defs/free0"})) };
        let mut all = Vec::new();
        for shape in &domain.shapes {
            all.push(match shape {
                Shape::Values(values) => {
                    let values: Vec<&Value> = values.iter().map(|listed| &listed.value).collect();
                    values.iter().try_for_each(|value| check_value(value, &place.at))?;
                    json!({ "enum": values })
                }
                Shape::Number(rules) => rules.strict(),
                Shape::Text(rules) => {
                    let text = rules.strict();
                    if rules.patterns.len() + usize::from(rules.lengths != (0, None)) > 1 {
                        self.texts.push((place.at.clone(), text.clone()));
                    }
                    text
                }
                Shape::List(rules) => self.list(rules)?,
                Shape::Object(rules) => self.object(rules)?,
            });
        }
        Ok(if all.len() == 1 { all.remove(0) } else { json!({ "anyOf": all }) })
    }

    fn list(&mut self, rules: &ListRules) -> Result<Value, ContractError> {
        if let Some(at) = &rules.unique
            && rules.most.is_none_or(|most| most > 1)
        {
            return unique::write(self.places, rules, at);
        }
        let mut map = Map::from_iter([("type".to_owned(), Value::from("array"))]);
        if !rules.first.is_empty() {
            let first: Result<Vec<Value>, _> = rules.first.iter().map(|nodes| self.place(nodes)).collect();
            map.insert("prefixItems".to_owned(), Value::Array(first?));
        }
        map.insert("items".to_owned(), self.rest(&rules.rest)?);
        map.extend((rules.least > 0).then(|| ("minItems".to_owned(), Value::from(rules.least))));
        map.extend(rules.most.map(|most| ("maxItems".to_owned(), Value::from(most))));
        Ok(Value::Object(map))
    }

    /// What stands for items or properties without rules of their own; nothing satisfies `false`.
    fn rest(&mut self, rest: &Option<Conjunction>) -> Result<Value, ContractError> {
        rest.as_ref().map_or(Ok(Value::Bool(false)), |nodes| self.place(nodes))
    }

    fn object(&mut self, rules: &ObjectRules) -> Result<Value, ContractError> {
        let named = &rules.named;
        if named.len() > MAX_PROPERTIES {
            let n = named.len();
            return Err(rules
                .at
                .refused(format!("an object has {n} properties, at most {MAX_PROPERTIES} are supported")));
        }
        let mut map = Map::from_iter([("type".to_owned(), Value::from("object"))]);
        let mut properties = Map::new();
        for named in named {
            properties.insert(named.name.clone(), self.place(&named.nodes)?);
        }
        let is_shut = rules.matching.is_empty() && rules.rest.is_none();
        if !is_shut {
            properties.extend(rules.forbidden.iter().map(|name| (name.clone(), Value::Bool(false))));
        }
        let mut patterns = Map::new();
        for (pattern, nodes) in &rules.matching {
            patterns.insert(pattern.clone(), self.place(nodes)?);
        }
        if !patterns.is_empty() {
            map.insert("patternProperties".to_owned(), Value::Object(patterns));
        }
        map.insert("additionalProperties".to_owned(), self.rest(&rules.rest)?);
        let required: Vec<&str> = named.iter().filter(|n| n.is_required).map(|n| n.name.as_str()).collect();
        let optional: Vec<&str> = named.iter().filter(|n| !n.is_required).map(|n| n.name.as_str()).collect();
        let most = rules.most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let least = usize::try_from(rules.least).unwrap_or(usize::MAX);
        if is_shut {
            let choices = choices(&required, &optional, least, most, rules)?;
            let all: Vec<Value> = choices.iter().map(|choice| choice.write(&map, &properties)).collect();
            return Ok(if let [one] = all.as_slice() { one.clone() } else { json!({ "anyOf": all }) });
        }
        // A name that is written twice is one property: with free names only the first of them counts for certain.
        let n_certain = required.len() + usize::from(optional.is_empty());
        if least > n_certain || (most < usize::MAX && !optional.is_empty()) {
            let keyword = if least > n_certain { "minProperties" } else { "maxProperties" };
            let reason = format!(
                "`{keyword}` is supported only where every property has its name under `properties`, and `additionalProperties` is false"
            );
            return Err(rules.at.refused(reason));
        }
        if least > required.len() {
            map.insert("minProperties".to_owned(), Value::from(least));
        }
        map.extend((most < usize::MAX).then(|| ("maxProperties".to_owned(), Value::from(most))));
        Ok(Choice { required, left_out: Vec::new() }.write(&map, &properties))
    }
}

/// Which properties of an object are written always, and which never.
struct Choice<'n> {
    required: Vec<&'n str>,
    left_out: Vec<&'n str>,
}

impl Choice<'_> {
    fn write(&self, map: &Map<String, Value>, properties: &Map<String, Value>) -> Value {
        let mut map = map.clone();
        let is_kept = |name: &str| !self.left_out.contains(&name);
        let kept: Map<String, Value> = properties
            .iter()
            .filter(|(name, _)| is_kept(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        map.insert("properties".to_owned(), Value::Object(kept));
        map.insert("required".to_owned(), json!(self.required));
        Value::Object(map)
    }
}

/// The ways to have as many named properties as are asked for.
fn choices<'n>(
    required: &[&'n str],
    optional: &[&'n str],
    least: usize,
    most: usize,
    rules: &ObjectRules,
) -> Result<Vec<Choice<'n>>, ContractError> {
    let (n_required, n_all) = (required.len(), required.len() + optional.len());
    if most < n_required {
        let reason = format!(
            "no answer can satisfy it: `maxProperties` is {most}, with {n_required} required of {n_all} properties"
        );
        return Err(rules.at.refused(reason));
    }
    if least <= n_required && most >= n_all {
        return Ok(vec![Choice { required: required.to_vec(), left_out: Vec::new() }]);
    }
    let mut all = Vec::new();
    for n in least.max(n_required)..=most.min(n_all) {
        for chosen in subsets(optional, n - n_required) {
            let left_out = optional.iter().filter(|name| !chosen.contains(name)).copied().collect();
            let required = required.iter().chain(&chosen).copied().collect();
            all.push(Choice { required, left_out });
            if all.len() > MAX_CHOICES {
                return Err(rules.at.refused(format!(
                    "`minProperties` and `maxProperties` allow more than {MAX_CHOICES} ways to choose the properties"
                )));
            }
        }
    }
    Ok(all)
}

/// The subsets of `n`, in order, at most one more than are ever written.
fn subsets<'n>(all: &[&'n str], n: usize) -> Vec<Vec<&'n str>> {
    let mut found: Vec<(usize, Vec<&'n str>)> = vec![(0, Vec::new())];
    for _ in 0..n {
        found = found
            .into_iter()
            .flat_map(|(from, chosen)| {
                (from..all.len()).map(move |next| (next + 1, chosen.iter().copied().chain([all[next]]).collect()))
            })
            .take(100 * MAX_CHOICES)
            .collect();
    }
    found.into_iter().map(|(_, chosen)| chosen).collect()
}
