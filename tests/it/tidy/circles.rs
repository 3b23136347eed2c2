//! Rooms that need each other are one room: no circles among the modules of any module.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{ModulePath, Modules};
use super::{name, root};

/// For every module the uses between its children, each with all that is below it.
fn siblings(modules: &Modules) -> BTreeMap<ModulePath, BTreeMap<String, BTreeSet<String>>> {
    let mut all: BTreeMap<ModulePath, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for from in modules.all.keys() {
        for used in modules.uses(from) {
            let n_common = from.iter().zip(&used).take_while(|(one, other)| one == other).count();
            if let (Some(one), Some(other)) = (from.get(n_common), used.get(n_common))
                && n_common > 0
            {
                let parent = all.entry(from[..n_common].to_vec()).or_default();
                parent.entry(one.clone()).or_default().insert(other.clone());
            }
        }
    }
    all
}

fn reached<'g>(graph: &'g BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'g str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = graph.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        if found.insert(name) {
            next.extend(graph.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    found
}

#[test]
fn no_room_needs_one_that_needs_it() {
    let mut circles = BTreeSet::new();
    for (parent, graph) in siblings(&Modules::read(root())) {
        for one in graph.keys().filter(|one| reached(&graph, one).contains(one.as_str())) {
            let circle: Vec<&str> = graph
                .keys()
                .map(String::as_str)
                .filter(|other| reached(&graph, one).contains(other) && reached(&graph, other).contains(one.as_str()))
                .collect();
            circles.insert(format!("{}: {}", name(&parent), circle.join(", ")));
        }
    }
    assert_eq!(circles, BTreeSet::new());
}
