//! Which processor features this binary was built for, and which of them this machine has.

use std::collections::BTreeMap;

/// How the binary was built.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    pub version: &'static str,
    /// The llama-cpp-sys-2 package's version; it carries its llama.cpp.
    pub llama_cpp: &'static str,
    /// ggml's processor switches, separated by spaces: `AVX AVX2 …`.
    pub ggml_switches: &'static str,
    /// ggml's backends beside the processor's, separated by spaces.
    pub ggml_backends: &'static str,
    /// The version of the kernels in `ggml-x86`; `None` where there are none for this target.
    pub kernels: Option<u32>,
    pub rustc: &'static str,
    /// The compilers of C++ and C, with their flags.
    pub compilers: &'static str,
    pub target: &'static str,
    /// Of what can change the bits of a result: ggml and llama.cpp, their switches and compilers.
    pub id: &'static str,
    /// Of what the bytes between two processes depend on: only builds that are equal in it speak to each other.
    pub protocol: &'static str,
}

#[cfg(all(target_arch = "x86_64", unix))]
const KERNELS: Option<u32> = Some(ggml_x86::VERSION);
#[cfg(not(all(target_arch = "x86_64", unix)))]
const KERNELS: Option<u32> = None;

/// This binary's build.
#[must_use]
pub fn build() -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION"),
        llama_cpp: env!("SLM_LLAMA_CPP"),
        ggml_switches: env!("SLM_GGML_SWITCHES"),
        ggml_backends: env!("SLM_GGML_BACKENDS"),
        kernels: KERNELS,
        rustc: env!("SLM_RUSTC"),
        compilers: env!("SLM_COMPILERS"),
        target: env!("SLM_TARGET"),
        id: env!("SLM_BUILD_ID"),
        protocol: env!("SLM_PROTOCOL_ID"),
    }
}

impl Build {
    /// ggml's switches that this processor does not have; where any is missing, ggml's code must not run.
    #[must_use]
    pub fn missing_on_this_processor(&self) -> Vec<&'static str> {
        let has = processor_features();
        self.ggml_switches.split_whitespace().filter(|switch| has.get(switch) == Some(&false)).collect()
    }

    /// ggml's switches that this processor has and the build does not use.
    #[must_use]
    pub fn unused_on_this_processor(&self) -> Vec<&'static str> {
        let built: Vec<&str> = self.ggml_switches.split_whitespace().collect();
        processor_features()
            .into_iter()
            .filter(|(name, has)| *has && !built.contains(name))
            .map(|(name, _)| name)
            .collect()
    }
}

/// Says in a sentence why ggml's code cannot run here, if so.
pub fn check_processor() -> Result<(), String> {
    let missing = build().missing_on_this_processor();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "this binary was built for processors with {}, which this one does not have; build it here with `./install.sh`",
        missing.join(", ")
    ))
}

/// For every ggml switch whether this processor has what it turns on.
#[cfg(target_arch = "x86_64")]
fn processor_features() -> BTreeMap<&'static str, bool> {
    use std::arch::is_x86_feature_detected as has;
    let avx512 = has!("avx512f") && has!("avx512cd") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw");
    BTreeMap::from([
        ("SSE42", has!("sse4.2")),
        ("AVX", has!("avx")),
        ("AVX2", has!("avx2")),
        ("BMI2", has!("bmi2")),
        ("FMA", has!("fma")),
        ("F16C", has!("f16c")),
        ("AVX_VNNI", has!("avxvnni")),
        ("AVX512", avx512),
        ("AVX512_VBMI", avx512 && has!("avx512vbmi")),
        ("AVX512_VNNI", avx512 && has!("avx512vnni")),
        ("AVX512_BF16", avx512 && has!("avx512bf16")),
    ])
}

#[cfg(not(target_arch = "x86_64"))]
fn processor_features() -> BTreeMap<&'static str, bool> {
    BTreeMap::new()
}

/// The processor's type: vendor, family, model and stepping, without its frequency or number.
#[must_use]
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split(':').nth(1)).map(|value| value.trim().to_owned())
    };
    let parts = ["vendor_id", "model name", "cpu family", "model", "stepping", "CPU implementer", "CPU part"];
    let known: Vec<String> = parts.into_iter().filter_map(field).collect();
    if known.is_empty() { std::env::consts::ARCH.to_owned() } else { known.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{BuildFacts, locked_version};

    fn lock() -> String {
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap()
    }

    /// The id that a build with this Cargo.lock has; all else is as in this one.
    fn id(lock: &str) -> String {
        let Build { ggml_switches, ggml_backends, compilers, target, .. } = build();
        let llama_cpp = locked_version(lock, "llama-cpp-sys-2");
        BuildFacts { llama_cpp, switches: ggml_switches, backends: ggml_backends, compilers, target }.id()
    }

    /// Cargo.lock with another version of a package.
    fn with_other(package: &str) -> String {
        let lock = lock();
        let entry = format!("name = \"{package}\"\nversion = \"{}\"", locked_version(&lock, package));
        assert_eq!(lock.matches(&entry).count(), 1, "{package}");
        lock.replace(&entry, &format!("name = \"{package}\"\nversion = \"99.0.0\""))
    }

    /// What this build says of itself gives its id: nothing else came in, no source and no other package.
    #[test]
    fn comments_and_packages_that_compute_nothing_leave_the_id_as_it_is() {
        assert_eq!(id(&lock()), build().id);
        for package in ["indicatif", "clap", "serde", "slm-engine"] {
            assert_eq!(id(&with_other(package)), build().id, "{package}");
        }
        assert_ne!(id(&with_other("llama-cpp-sys-2")), build().id);
    }

    #[test]
    fn the_id_names_everything_that_a_build_can_change_bits_by() {
        let own = BuildFacts { llama_cpp: "1", switches: "AVX2", backends: "", compilers: "c++ 12", target: "x86_64" };
        let others = [
            BuildFacts { llama_cpp: "2", ..own },
            BuildFacts { switches: "AVX2 FMA", ..own },
            BuildFacts { backends: "cuda", ..own },
            BuildFacts { compilers: "c++ 12 with -ffast-math", ..own },
            BuildFacts { target: "aarch64", ..own },
        ];
        for other in others {
            assert_ne!(other.id(), own.id(), "{other:?}");
        }
    }

    #[test]
    fn this_machine_can_run_what_was_built() {
        assert_eq!(check_processor(), Ok(()));
    }
}
