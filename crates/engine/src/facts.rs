//! The parts of a build that can change the bits of a result, and the id of that. The build script and the engine's tests compile this
//! file; no text of a source and no package that computes nothing comes in here.

use sha2::{Digest as _, Sha256};

/// The numerical code of a build: ggml and llama.cpp with all that they were compiled by and for. Two builds with equal facts
/// compute equal results on equal machines.
///
/// The version of rustc is not among them. Rust's floating point is IEEE 754's, one operation after the other as they are
/// written; compilers neither fuse nor reorder them, and what is vectorized is so by name, in `ggml-x86`, whose results are
/// held to a recorded digest. That crate's version, and that of what the engine itself computes, are in the evaluation id.
#[derive(Debug, Clone, Copy)]
pub struct BuildFacts<'a> {
    /// The version of llama-cpp-sys-2, which carries its llama.cpp.
    pub llama_cpp: &'a str,
    /// ggml's processor switches that are on.
    pub switches: &'a str,
    /// ggml's backends beside the processor's.
    pub backends: &'a str,
    /// The compilers of C++ and C, as they call themselves, and the flags that the environment gives them.
    pub compilers: &'a str,
    /// Rust's name of the system: another one has another C library.
    pub target: &'a str,
}

impl BuildFacts<'_> {
    /// Eight bytes of a digest, in hexadecimal.
    pub fn id(&self) -> String {
        let BuildFacts { llama_cpp, switches, backends, compilers, target } = self;
        let mut hash = Sha256::new();
        for part in [llama_cpp, switches, backends, compilers, target] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The version of a package in Cargo.lock.
pub fn locked_version<'a>(lock: &'a str, package: &str) -> &'a str {
    let at = lock.find(&format!("name = \"{package}\"\nversion = \"")).expect("a locked dependency");
    lock[at..].split('"').nth(3).expect("a version after the name")
}
