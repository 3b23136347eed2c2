//! Tells the binary how it was built: ggml's switches, the compiler, llama.cpp's version, and an id of all of it.
//!
//! The id goes into the evaluation id: two builds with equal ids compute equal probabilities, to the last bit, on equal
//! machines.

use std::path::Path;

use sha2::{Digest as _, Sha256};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=../ggml-x86/src");

    let mut switches: Vec<String> = std::env::vars()
        .filter(|(name, value)| name.starts_with("GGML_") && value == "ON")
        .map(|(name, _)| name["GGML_".len()..].to_owned())
        .collect();
    switches.sort();
    for name in SWITCHES {
        println!("cargo::rerun-if-env-changed=GGML_{name}");
    }

    let lock = std::fs::read_to_string("../../Cargo.lock").expect("Cargo.lock is committed");
    let rustc = version_of(&std::env::var("RUSTC").expect("cargo sets RUSTC"), "--version");
    let compiler = version_of(&std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned()), "--version");
    let backends: Vec<&str> = [("CUDA", "cuda"), ("METAL", "metal"), ("VULKAN", "vulkan")]
        .into_iter()
        .filter(|(feature, _)| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some())
        .map(|(_, name)| name)
        .collect();

    let mut id = Sha256::new();
    for part in [&lock, &rustc, &compiler, &switches.join(" "), &backends.join(" ")] {
        id.update(part.len().to_le_bytes());
        id.update(part);
    }
    hash_folder(Path::new("src"), &mut id);
    hash_folder(Path::new("../ggml-x86/src"), &mut id);
    let id: String = id.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();

    println!("cargo::rustc-env=SLM_BUILD_ID={id}");
    println!("cargo::rustc-env=SLM_GGML_SWITCHES={}", switches.join(" "));
    println!("cargo::rustc-env=SLM_RUSTC={rustc}");
    println!("cargo::rustc-env=SLM_CXX={compiler}");
    println!("cargo::rustc-env=SLM_TARGET={}", std::env::var("TARGET").expect("cargo sets TARGET"));
    println!("cargo::rustc-env=SLM_LLAMA_CPP={}", locked_version(&lock, "llama-cpp-sys-2"));
}

/// The switches that .cargo/config.toml and install.sh set.
const SWITCHES: [&str; 11] =
    ["SSE42", "AVX", "AVX2", "BMI2", "FMA", "F16C", "AVX_VNNI", "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16"];

/// The first line that a program says of its version.
fn version_of(program: &str, flag: &str) -> String {
    let output = std::process::Command::new(program).arg(flag).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn locked_version<'a>(lock: &'a str, package: &str) -> &'a str {
    let at = lock.find(&format!("name = \"{package}\"\nversion = \"")).expect("a locked dependency");
    lock[at..].split('"').nth(3).expect("a version behind the name")
}

/// Every file below `folder`, by name, so that an edited engine is another build.
fn hash_folder(folder: &Path, id: &mut Sha256) {
    let entries = std::fs::read_dir(folder).expect("a source folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            hash_folder(&path, id);
        } else {
            id.update(std::fs::read(&path).expect("a readable source file"));
        }
    }
}
