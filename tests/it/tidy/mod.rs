//! The rules of the house that a program can check.

mod circles;
mod clock;
mod modules;
mod purity;

use std::path::{Path, PathBuf};

use crate::slm::Home;
use modules::{ModulePath, Modules};

/// The floors of the binary's own crate, from below; a room uses only floors below its own. Those between crates are the
/// compiler's to hold.
const FLOORS: [&[&str]; 2] = [&["batch", "bench", "eval", "tune"], &["cli", "failure", "ui"]];

/// What a crate may use of `slm_values`, where that is not all.
const VALUES: [(&str, &[&str]); 1] =
    [("slm_engine", &["digest", "gguf", "imatrix", "prompt", "quantization", "sampling"])];

/// Rooms of one crate that do not know each other: the first uses none of the others.
const STRANGERS: [(&str, &str, &[&str]); 3] = [
    ("slm_store", "store", &["registry", "transfer"]),
    ("slm_store", "registry", &["store", "transfer"]),
    ("slm_server", "residents", &["api"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn name(path: &[String]) -> String {
    path.join("::")
}

/// Every use that `is_wrong` calls so, as `from uses used`.
fn wrong_uses(modules: &Modules, is_wrong: impl Fn(&ModulePath, &ModulePath) -> bool) -> Vec<String> {
    let uses = modules.all.keys().flat_map(|from| modules.uses(from).into_iter().map(move |used| (from, used)));
    let wrong = uses.filter(|(from, used)| is_wrong(from, used));
    wrong.map(|(from, used)| format!("{} uses {}", name(from), name(&used))).collect()
}

#[test]
fn rooms_use_only_floors_below_their_own() {
    let modules = Modules::read(root());
    let room = |path: &ModulePath| (path[0] == "slm").then(|| path.get(1).cloned()).flatten();
    let floor = |room: &str| FLOORS.iter().position(|floor| floor.contains(&room));
    let homeless: Vec<_> = modules.all.keys().filter_map(room).filter(|room| floor(room).is_none()).collect();
    assert_eq!(homeless, Vec::<String>::new(), "rooms on no floor");
    let wrong = wrong_uses(&modules, |from, used| match (room(from), room(used)) {
        // The top floor's rooms may know each other.
        (Some(from), Some(used)) if from != used => {
            let (own, below) = (floor(&from), floor(&used));
            below > own || below == own && own == Some(0)
        }
        _ => false,
    });
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn rooms_do_not_know_what_is_none_of_their_business() {
    let modules = Modules::read(root());
    let wrong = wrong_uses(&modules, |from, used| {
        let forbidden_value = VALUES.iter().any(|(own, allowed)| {
            from[0] == *own
                && used[0] == "slm_values"
                && !used.get(1).is_some_and(|room| allowed.contains(&room.as_str()))
        });
        let strangers = STRANGERS.iter().any(|(own, room, others)| {
            let is = |path: &ModulePath, room: &str| path[0] == *own && path.get(1).is_some_and(|name| name == room);
            is(from, room) && others.iter().any(|other| is(used, other))
        });
        forbidden_value || strangers
    });
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_file_says_what_it_is_for() {
    let modules = Modules::read(root());
    let silent = |file: &PathBuf| !std::fs::read_to_string(file).unwrap().starts_with("//! ");
    let silent: Vec<_> = modules.all.values().map(|module| &module.file).filter(|file| silent(file)).collect();
    assert_eq!(silent, Vec::<&PathBuf>::new());
}

#[test]
fn only_its_own_folder_imports_llama_cpp() {
    let modules = Modules::read(root());
    let wrong = wrong_uses(&modules, |from, used| {
        let is_native = ["llama_cpp_2", "llama_cpp_sys_2"].contains(&used[0].as_str());
        is_native && !(from[0] == "slm_engine" && from.get(1).is_some_and(|room| room == "llama"))
    });
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn completions_are_those_of_the_binary() {
    let home = Home::new();
    for (shell, file) in [("bash", "slm.bash"), ("zsh", "_slm"), ("fish", "slm.fish"), ("powershell", "slm.ps1")] {
        let path = root().join("completions").join(file);
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let generated = home.slm(["completions", shell]).succeeds();
        assert!(committed == generated, "write them again: slm completions {shell} > completions/{file}");
    }
}
