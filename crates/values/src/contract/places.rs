//! The places of an answer: what each may be, and which other places are inside it. References that go round lead back to a
//! place that is known.

use std::collections::HashMap;

use super::document::Document;
use super::domain;
use super::error::{ContractError, Pointer};
use super::shapes::{Conjunction, Domain, Shape};

/// Places in an answer.
const MAX_PLACES: usize = 20_000;
/// Places inside each other, until one is known.
const MAX_DEPTH: usize = 64;

/// Every place that an answer may have, by what is asked there. At each of them some finite value can stand.
pub(super) struct Places {
    places: Vec<Place>,
    ids: HashMap<Conjunction, usize>,
}

/// One place.
pub(super) struct Place {
    pub at: Pointer,
    /// `None` where nothing is asked.
    pub domain: Option<Domain>,
    depth: usize,
    /// Whether some finite value can be there.
    ends: bool,
}

impl Places {
    /// All places of a schema; the answer itself is the first.
    ///
    /// # Errors
    /// [`ContractError::Schema`]: something cannot be enforced, or nothing is allowed.
    pub fn explore(document: &mut Document<'_>) -> Result<Self, ContractError> {
        let root = document.root()?;
        let root = document.conjunction([root]);
        let mut places = Places { places: Vec::new(), ids: HashMap::new() };
        let mut left = vec![(root, 0)];
        let mut next = 0;
        while let Some((nodes, depth)) = left.get(next).cloned() {
            next += 1;
            if places.ids.contains_key(&nodes) {
                continue;
            }
            let at = nodes.first().map_or_else(Pointer::root, |&id| document.at(id).clone());
            if depth > MAX_DEPTH {
                return Err(at.refused(format!("schemas are nested more than {MAX_DEPTH} deep")));
            }
            if places.places.len() == MAX_PLACES {
                return Err(at.refused(format!("an answer would have more than {MAX_PLACES} different places")));
            }
            let domain = if nodes.is_empty() { None } else { Some(domain::of(document, &nodes)?) };
            let inner = domain.iter().flat_map(|domain| &domain.shapes).flat_map(children);
            left.extend(inner.filter(|nodes| !places.ids.contains_key(*nodes)).map(|nodes| (nodes.clone(), depth + 1)));
            places.ids.insert(nodes, places.places.len());
            places.places.push(Place { at, domain, depth, ends: false });
        }
        places.find_ends();
        places.check()?;
        Ok(places)
    }

    /// The number of the place at which this is asked.
    pub fn id(&self, nodes: &Conjunction) -> usize {
        self.ids[nodes]
    }

    pub fn get(&self, id: usize) -> &Place {
        &self.places[id]
    }

    /// Whether a finite value can have a shape.
    fn has_end(&self, shape: &Shape) -> bool {
        let ends = |nodes: &Conjunction| self.places[self.ids[nodes]].ends;
        match shape {
            Shape::Values(_) | Shape::Number(_) | Shape::Text(_) => true,
            Shape::List(rules) => {
                let least = usize::try_from(rules.least).unwrap_or(usize::MAX);
                rules.first.iter().take(least).all(ends)
                    && (rules.first.len() >= least || rules.rest.as_ref().is_some_and(ends))
            }
            Shape::Object(rules) => {
                let n_ending = rules.named.iter().filter(|named| ends(&named.nodes)).count();
                let has_more = rules.rest.iter().chain(rules.matching.iter().map(|(_, nodes)| nodes)).any(ends);
                rules.named.iter().filter(|named| named.is_required).all(|named| ends(&named.nodes))
                    && (n_ending as u64 >= rules.least || has_more)
            }
        }
    }

    /// A place ends where one of its shapes does: nothing is assumed, and what follows is found in rounds.
    fn find_ends(&mut self) {
        loop {
            let is_found = |place: &Place| match &place.domain {
                None => true,
                Some(domain) => domain.shapes.iter().any(|shape| self.has_end(shape)),
            };
            let found: Vec<usize> =
                (0..self.places.len()).filter(|&id| !self.places[id].ends && is_found(&self.places[id])).collect();
            if found.is_empty() {
                return;
            }
            for id in found {
                self.places[id].ends = true;
            }
        }
    }

    /// Refuses an answer that no value can be, and properties that no value can have: a schema that says so is a mistake.
    fn check(&self) -> Result<(), ContractError> {
        // The innermost first: it is the cause of those around it.
        let mut endless: Vec<&Place> = self.places.iter().filter(|place| !place.ends).collect();
        endless.sort_by_key(|place| std::cmp::Reverse(place.depth));
        let cause = endless.iter().find(|place| place.domain.as_ref().is_some_and(|domain| domain.shapes.is_empty()));
        if let Some(Place { domain: Some(Domain { why: Some(empty), .. }), .. }) = cause {
            return Err(empty.at.refused(format!("no answer can satisfy it: {}", empty.reason)));
        }
        match endless.first() {
            None => Ok(()),
            Some(place) => Err(place.at.refused(
                "it refers to itself without an end: add a property that is not required or a list that may be \
                 empty",
            )),
        }
    }
}

/// What is asked of the places inside a shape.
fn children(shape: &Shape) -> Vec<&Conjunction> {
    match shape {
        Shape::Values(_) | Shape::Number(_) | Shape::Text(_) => Vec::new(),
        Shape::List(rules) => rules.first.iter().chain(&rules.rest).collect(),
        Shape::Object(rules) => {
            let named = rules.named.iter().map(|named| &named.nodes);
            named.chain(rules.matching.iter().map(|(_, nodes)| nodes)).chain(&rules.rest).collect()
        }
    }
}
