//! Lists: what their items are, how many they are, and whether each comes once.

use super::document::Document;
use super::error::{ContractError, Pointer};
use super::modern::is_tuple;
use super::rules::{self, Empty, Part, Ruled};
use super::shapes::{ListRules, NodeId, Typed};

const COUNTS: [&str; 2] = ["minItems", "maxItems"];

/// The items that one node speaks of.
struct Items {
    node: NodeId,
    first: Vec<NodeId>,
    rest: Option<NodeId>,
}

impl Items {
    fn of(&self, number: usize) -> Option<NodeId> {
        self.first.get(number).copied().or(self.rest)
    }
}

/// The rules that several nodes make together.
///
/// # Errors
/// [`ContractError::Schema`]: the value of a keyword is invalid.
pub(super) fn rules(document: &mut Document<'_>, typed: &Typed, at: &Pointer) -> Ruled<ListRules> {
    let mut items = Vec::new();
    let mut list = ListRules { at: at.clone(), first: Vec::new(), rest: None, least: 0, most: None, unique: None };
    let mut counts = (0, None);
    for &node in &typed.nodes {
        let Some(map) = document.map(node) else { continue };
        let at = document.at(node).clone();
        counts = rules::narrowed(Part { at: &at, map }, COUNTS, counts)?;
        match map.get("uniqueItems") {
            None | Some(serde_json::Value::Bool(false)) => {}
            Some(serde_json::Value::Bool(true)) => list.unique = Some(at.clone()),
            Some(other) => {
                return Err(at.below("uniqueItems").refused(format!("`uniqueItems` is {other}, not true or false")));
            }
        }
        items.push(read(document, node, &at)?);
    }
    if let Some(empty) = rules::crossed(COUNTS, counts, at) {
        return Ok(Err(empty));
    }
    (list.least, list.most) = counts;
    let n_first = items.iter().map(|items| items.first.len()).max().unwrap_or(0);
    let items_of = &items;
    let unevaluated = |number: Option<usize>| {
        let is_read = move |node: &NodeId| {
            let known = items_of.iter().find(|items| items.node == *node);
            known.is_some_and(|items| items.rest.is_some() || number.is_some_and(|n| n < items.first.len()))
        };
        typed.unevaluated.iter().filter(move |u| !u.beside.iter().any(is_read)).map(|u| u.node)
    };
    for number in 0..n_first {
        let nodes = items.iter().filter_map(|items| items.of(number)).chain(unevaluated(Some(number)));
        let nodes = document.conjunction(nodes.collect::<Vec<_>>());
        if document.is_forbidden(&nodes) {
            list.most = Some(list.most.unwrap_or(u64::MAX).min(number as u64));
            break;
        }
        list.first.push(nodes);
    }
    let asked: Vec<NodeId> = items.iter().filter_map(|items| items.rest).chain(unevaluated(None)).collect();
    // A tuple ends with its last item, unless something is said of more.
    let has_more = n_first == 0 || !asked.is_empty() || list.least > n_first as u64;
    let rest = document.conjunction(asked);
    list.rest = (has_more && !document.is_forbidden(&rest)).then_some(rest);
    Ok(list.closed())
}

/// The items that a node speaks of; drafts before 2020-12 list those of a tuple under `items`.
fn read(document: &mut Document<'_>, node: NodeId, at: &Pointer) -> Result<Items, ContractError> {
    let mut items = Items { node, first: Vec::new(), rest: None };
    let Some(map) = document.map(node) else { return Ok(items) };
    let (first, rest) = if is_tuple(map) { ("items", "additionalItems") } else { ("prefixItems", "items") };
    if let Some(schemas) = map.get(first).filter(|schemas| schemas.as_array().is_none_or(|list| !list.is_empty())) {
        items.first = document.list(&at.below(first), schemas)?;
    }
    if let Some(schema) = map.get(rest) {
        items.rest = Some(document.node(at.below(rest), schema)?);
    }
    Ok(items)
}

impl ListRules {
    /// The rules with a bound where there can be no more items.
    fn closed(mut self) -> Result<Self, Empty> {
        if self.rest.is_none() {
            let n = self.first.len() as u64;
            self.most = Some(self.most.map_or(n, |most| most.min(n)));
        }
        if self.most.is_some_and(|most| most <= self.first.len() as u64) {
            self.rest = None;
        }
        match self.most {
            Some(most) if self.least > most => {
                let reason = format!("it needs {} items, and only {most} are allowed", self.least);
                Err(Empty { at: self.at, reason })
            }
            _ => Ok(self),
        }
    }
}
