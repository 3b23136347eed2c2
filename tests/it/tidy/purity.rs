//! Values and figures are pure: no clock, environment, file, network, process or output is used where they are parsed and made.

use super::modules::Modules;
use super::{name, root};

/// What of the standard library reads or changes the world around a program.
const IMPURE: [&[&str]; 14] = [
    &["env"],
    &["fs"],
    &["net"],
    &["os"],
    &["process"],
    &["io", "stdin"],
    &["io", "stdout"],
    &["io", "stderr"],
    &["thread", "current"],
    &["thread", "sleep"],
    &["thread", "spawn"],
    &["time", "Instant"],
    &["time", "SystemTime"],
    &["time", "UNIX_EPOCH"],
];

const OUTPUT: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// The crates that values are parsed and made with. None of them reads a clock, a file or the network, as it is used here.
const PURE: [&str; 16] = [
    "csv",
    "gotmpl",
    "half",
    "jsonschema",
    "llguidance",
    "minijinja",
    "minijinja-contrib",
    "regex",
    "safetensors",
    "serde",
    "serde_json",
    "sha2",
    "strsim",
    "thiserror",
    "unicode-segmentation",
    "url",
];

#[test]
fn values_read_nothing_from_the_world() {
    let modules = Modules::read(root());
    let mut found: Vec<String> = Vec::new();
    let is_pure = |path: &[String]| ["slm_stats", "slm_values"].contains(&path[0].as_str());
    for (path, module) in modules.all.iter().filter(|(path, _)| is_pure(path)) {
        let is_impure = |names: &Vec<String>| {
            let begins = |impure: &&[&str]| names[1..].iter().take(impure.len()).eq(impure.iter());
            names[0] == "std" && IMPURE.iter().any(begins)
        };
        let used = modules.foreign(path).filter(is_impure);
        found.extend(used.map(|names| format!("{} uses {}", name(path), name(&names))));
        let written = module.macros.iter().filter(|called| OUTPUT.contains(&called.as_str()));
        found.extend(written.map(|called| format!("{} uses {called}!", name(path))));
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn values_depend_on_pure_crates_only() {
    let manifest = std::fs::read_to_string(root().join("crates/values/Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let names: Vec<&str> = section.lines().map(|line| line.split(['.', ' ']).next().unwrap_or_default()).collect();
    assert_eq!(names, PURE);
}
