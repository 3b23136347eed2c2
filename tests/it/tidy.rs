//! The rules of the house that a program can check.

use std::path::{Path, PathBuf};

use crate::slm::Home;

/// The floors, from below; a module uses only floors below its own. `embedded` to `gguf` are values.
const FLOORS: [&[&str]; 5] = [
    &[
        "chat",
        "contract",
        "digest",
        "embedded",
        "gguf",
        "keep_alive",
        "limits",
        "manifest",
        "model_ref",
        "modelfile",
        "peft",
        "progress",
        "sampling",
        "source",
        "template",
        "thinking",
        "tools",
    ],
    &["engine", "registry", "store"],
    &["card", "decide", "extract", "infer", "opening", "transfer"],
    &["batch", "bench", "eval", "residents"],
    &["api", "cli", "failure", "ui"],
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    found.into_iter().map(|(path, text)| (path.strip_prefix(&root).unwrap().to_owned(), text)).collect()
}

/// The top-level module that a file belongs to.
fn module(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The crate's modules that a text uses, by `crate::name`, without its tests.
fn uses(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let names = code.split("crate::").skip(1);
    names.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn modules_use_only_floors_below_their_own() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let from = module(&path);
        if from == "lib" || from == "main" {
            continue;
        }
        let Some(own) = floor(&from) else {
            wrong.push(format!("{from} is on no floor"));
            continue;
        };
        for used in uses(&text) {
            let allowed = used == from
                || match floor(&used) {
                    // Values and the rooms of the top floor may know each other; the rest not.
                    Some(below) if below == own => own == 0 || own == 4 || own == 2,
                    Some(below) => below < own,
                    None => false,
                };
            if !allowed {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path).collect();
    assert_eq!(silent, Vec::<PathBuf>::new());
}

#[test]
fn only_its_own_folder_imports_llama_cpp() {
    let imports = |text: &str| text.contains("llama_cpp_2::") || text.contains("llama_cpp_sys_2::");
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| imports(text) && !path.starts_with("engine/llama"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(wrong, Vec::<PathBuf>::new());
}

#[test]
fn completions_are_those_of_the_binary() {
    let home = Home::new();
    for (shell, file) in [("bash", "slm.bash"), ("zsh", "_slm"), ("fish", "slm.fish")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(file);
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let generated = home.slm(["completions", shell]).succeeds();
        assert!(committed == generated, "write them again: slm completions {shell} > completions/{file}");
    }
}

/// The README's `sh` blocks that call slm, run as scripts one after the other in one home.
#[test]
fn the_readmes_commands_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let home = Home::new();
    home.file("tickets.txt", "I was charged twice\nmy parcel never came\n");
    home.file("tickets.jsonl", "{\"id\": 7, \"body\": \"I was charged twice\"}\n");
    std::fs::create_dir(home.path().join("Modelfiles")).unwrap();
    std::os::unix::fs::symlink(root.join("Modelfiles/triage"), home.path().join("Modelfiles/triage")).unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_slm")).parent().unwrap();
    let mut n_blocks = 0;
    for block in readme.split("```sh\n").skip(1) {
        let script = block.split("```").next().unwrap();
        if !script.lines().any(|line| line.starts_with("slm ")) {
            continue;
        }
        n_blocks += 1;
        let output = std::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .current_dir(home.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{script}");
        assert!(!output.stdout.is_empty(), "{script}");
    }
    assert!(n_blocks >= 5, "the README shows too little");
}
