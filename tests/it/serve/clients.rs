//! The clients that people have, each against a server of its own, and the table of endpoints by clients.

use std::collections::BTreeMap;

use crate::registry::docker::{Access, DockerRegistry};
use crate::serve::Server;
use crate::serve::scripts::{Judgement, Outcome, Script, stock};
use crate::slm::Home;

const PYTHON: [&str; 6] = [
    "ollama_client.py",
    "openai_client.py",
    "anthropic_client.py",
    "systemone_client.py",
    "langchain_ollama_client.py",
    "langchain_openai_client.py",
];
const NODE: [&str; 2] = ["ollama_client.mjs", "openai_client.mjs"];

#[test]
fn the_clients_that_people_have_find_what_they_expect() {
    let python = PYTHON.into_iter().map_while(Script::python);
    let scripts: Vec<Script> = python.chain(NODE.into_iter().map_while(Script::node)).collect();
    let registry = DockerRegistry::start(Access::Everybody);
    let judgements: Vec<Judgement> = scripts.into_iter().map(|script| judge(script, registry.as_ref())).collect();
    print_table(&judgements);
    let complaints: String = judgements.iter().filter_map(Judgement::complaint).collect();
    assert!(complaints.is_empty(), "{complaints}");
}

fn judge(script: Script, registry: Option<&DockerRegistry>) -> Judgement {
    let home = Home::new();
    let gguf = stock(&home);
    let mut script = script.env("SLM_GGUF", gguf.display().to_string());
    if let Some(registry) = registry {
        script = script.env("SLM_TEST_REGISTRY", registry.host());
    }
    script.judge(&Server::of(&home))
}

/// Endpoints down, clients across; in a cell how many checks passed, of how many where not all did.
fn print_table(judgements: &[Judgement]) {
    let mut endpoints: BTreeMap<(&str, &str), Vec<(usize, usize)>> = BTreeMap::new();
    for (column, judgement) in judgements.iter().enumerate() {
        for (outcome, name) in judgement.lines.iter().filter(|(outcome, _)| *outcome != Outcome::Skipped) {
            let endpoint = name.split(": ").next().unwrap_or(name);
            let (method, path) = endpoint.split_once(' ').unwrap_or(("", endpoint));
            let row = endpoints.entry((path, method)).or_insert_with(|| vec![(0, 0); judgements.len()]);
            row[column].0 += usize::from(*outcome == Outcome::Ok);
            row[column].1 += 1;
        }
    }
    let clients: Vec<&str> = judgements.iter().map(|judgement| judgement.client.as_str()).collect();
    println!("| endpoint | {} |\n|---{}|", clients.join(" | "), "|---".repeat(clients.len()));
    for ((path, method), row) in endpoints {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| match cell {
                (_, 0) => String::new(),
                (passed, all) if passed == all => format!("{passed}"),
                (passed, all) => format!("{passed} of {all}"),
            })
            .collect();
        println!("| {method} {path} | {} |", cells.join(" | "));
    }
}
