//! What this binary was built for, what this machine has, and the id under which probabilities are comparable.

use std::collections::BTreeMap;

use super::super::compute::FlashAttention;
use slm_values::digest::Hasher;

/// Constants of the score lane that change results: a change here is another evaluation id.
const LANE: &str = "f16 kv, unified, batch 512, rows 64, branches 63";

/// How the binary was built.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    pub version: &'static str,
    /// The llama-cpp-sys-2 package's version; it carries its llama.cpp.
    pub llama_cpp: &'static str,
    /// ggml's processor switches, separated by spaces: `AVX AVX2 …`.
    pub ggml_switches: &'static str,
    pub rustc: &'static str,
    pub cxx: &'static str,
    pub target: &'static str,
    pub id: &'static str,
}

/// This binary's build.
#[must_use]
pub fn build() -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION"),
        llama_cpp: env!("SLM_LLAMA_CPP"),
        ggml_switches: env!("SLM_GGML_SWITCHES"),
        rustc: env!("SLM_RUSTC"),
        cxx: env!("SLM_CXX"),
        target: env!("SLM_TARGET"),
        id: env!("SLM_BUILD_ID"),
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
        "this binary was built for processors with {}, which this one lacks; build it here with `./install.sh`",
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

/// What of a model's loading changes the bits of its probabilities.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    pub weights_id: &'a str,
    pub n_threads: u32,
    pub n_gpu_layers: u32,
    pub devices: &'a [String],
    pub flash_attention: FlashAttention,
}

/// The id under which probabilities are equal to the last bit: build, processor type, threads, backend and weights.
/// Batch sizes and the type of keys and values are the generation lane's own and not in it.
pub fn evaluation_id(setting: &Setting<'_>) -> String {
    let Setting { weights_id, n_threads, n_gpu_layers, devices, flash_attention } = setting;
    let (threads, layers) = (n_threads.to_string(), n_gpu_layers.to_string());
    let (devices, flash) = (devices.join(", "), format!("flash attention {flash_attention}"));
    let mut hash = Hasher::new();
    for part in [build().id, &processor(), &threads, &layers, &devices, weights_id, &flash, LANE] {
        hash.update(&part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finish().id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_names_everything_that_changes_bits() {
        let devices = ["a GPU".to_owned()];
        let own = Setting {
            weights_id: "a",
            n_threads: 2,
            n_gpu_layers: 0,
            devices: &[],
            flash_attention: FlashAttention::Auto,
        };
        assert_eq!(evaluation_id(&own), evaluation_id(&own.clone()));
        let others = [
            Setting { weights_id: "b", ..own },
            Setting { n_threads: 1, ..own },
            Setting { n_gpu_layers: 3, ..own },
            Setting { devices: &devices, ..own },
            Setting { flash_attention: FlashAttention::Off, ..own },
        ];
        for other in others {
            assert_ne!(evaluation_id(&other), evaluation_id(&own), "{other:?}");
        }
    }

    #[test]
    fn this_machine_can_run_what_was_built() {
        assert_eq!(check_processor(), Ok(()));
    }
}
