//! Tells the engine how it was built: ggml's switches, the compilers, llama.cpp's version, and two ids.
//!
//! The *build id* goes into the evaluation id: two builds with equal ids compute equal probabilities, to the last bit, on
//! equal machines (`src/facts.rs`). The *protocol id* is for processes that speak to each other: frames have no other
//! description than the types that are sent, so it changes with every source of these.

use std::path::Path;

use sha2::{Digest as _, Sha256};

#[path = "src/facts.rs"]
mod facts;

use facts::{BuildFacts, locked_version};

/// The switches that .cargo/config.toml and install.sh set.
const SWITCHES: [&str; 11] =
    ["SSE42", "AVX", "AVX2", "BMI2", "FMA", "F16C", "AVX_VNNI", "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16"];

/// The folders whose types are sent from process to process.
const SENT: [&str; 2] = ["src", "../values/src"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    for folder in SENT {
        println!("cargo::rerun-if-changed={folder}");
    }

    let switches = switches();
    let compilers = compilers();
    let backends: Vec<&str> = [("CUDA", "cuda"), ("METAL", "metal"), ("VULKAN", "vulkan")]
        .into_iter()
        .filter(|(feature, _)| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some())
        .map(|(_, name)| name)
        .collect();
    let lock = std::fs::read_to_string("../../Cargo.lock").expect("Cargo.lock is committed");
    let facts = BuildFacts {
        llama_cpp: locked_version(&lock, "llama-cpp-sys-2"),
        switches: &switches,
        backends: &backends.join(" "),
        compilers: &compilers,
        target: &std::env::var("TARGET").expect("cargo sets TARGET"),
    };

    println!("cargo::rustc-env=SLM_BUILD_ID={}", facts.id());
    println!("cargo::rustc-env=SLM_PROTOCOL_ID={}", protocol_id(&lock));
    println!("cargo::rustc-env=SLM_GGML_SWITCHES={}", facts.switches);
    println!("cargo::rustc-env=SLM_GGML_BACKENDS={}", facts.backends);
    println!("cargo::rustc-env=SLM_RUSTC={}", version_of(&variable("RUSTC", "rustc")));
    println!("cargo::rustc-env=SLM_COMPILERS={}", facts.compilers);
    println!("cargo::rustc-env=SLM_TARGET={}", facts.target);
    println!("cargo::rustc-env=SLM_LLAMA_CPP={}", facts.llama_cpp);
}

/// The names of ggml's switches that are on, separated by spaces.
fn switches() -> String {
    for name in SWITCHES {
        println!("cargo::rerun-if-env-changed=GGML_{name}");
    }
    let mut switches: Vec<String> = std::env::vars()
        .filter(|(name, value)| name.starts_with("GGML_") && value == "ON")
        .map(|(name, _)| name["GGML_".len()..].to_owned())
        .collect();
    switches.sort();
    switches.join(" ")
}

/// ggml is C++ and C; flags of the environment reach both compilers.
fn compilers() -> String {
    let flags = ["CXXFLAGS", "CFLAGS"].map(|name| variable(name, "")).join(" ");
    let compilers = [("CXX", "c++"), ("CC", "cc")].map(|(name, usual)| version_of(&variable(name, usual))).join(", ");
    if flags.trim().is_empty() { compilers } else { format!("{compilers} with {}", flags.trim()) }
}

fn variable(name: &str, otherwise: &str) -> String {
    println!("cargo::rerun-if-env-changed={name}");
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// The first line that a program says of its version.
fn version_of(program: &str) -> String {
    let output = std::process::Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// An id of everything that the bytes of a frame depend on.
fn protocol_id(lock: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(lock);
    for folder in SENT {
        hash_folder(Path::new(folder), &mut hash);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Every file below `folder`, by name.
fn hash_folder(folder: &Path, hash: &mut Sha256) {
    let entries = std::fs::read_dir(folder).expect("a source folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            hash_folder(&path, hash);
        } else {
            hash.update(std::fs::read(&path).expect("a readable source file"));
        }
    }
}
