//! What can compute here: this build, the processor, the kernels, accelerators, threads and memory.

use std::path::Path;

use serde_json::json;

use super::report::Finding;
use crate::cli::environment::Environment;
use crate::engine::compute::{Device, DeviceKind, Kernels};
use crate::engine::memory::{self, Limit, Room};
use crate::engine::{self, Build};
use crate::ui::table::{counted, size};

/// Free memory below which models of some hundred million parameters do not load.
const LITTLE_MEMORY: u64 = 1_000_000_000;

/// The findings in the order in which they are shown.
pub fn findings(environment: &Environment) -> Vec<Finding> {
    let build = engine::build();
    vec![
        version(&build),
        processor(&build),
        kernels(&build, environment),
        accelerators(&build),
        threads(environment),
        free_memory(&memory::rooms()),
    ]
}

fn version(build: &Build) -> Finding {
    let found = format!("{} with llama-cpp-sys-2 {} for {}", build.version, build.llama_cpp, build.target);
    let facts = json!({
        "version": build.version,
        "llama_cpp_sys_2": build.llama_cpp,
        "target": build.target,
        "rustc": build.rustc,
        "build_id": build.id,
    });
    Finding::new("slm", found, facts)
}

fn processor(build: &Build) -> Finding {
    let (missing, unused) = (build.missing_on_this_processor(), build.unused_on_this_processor());
    let built: Vec<&str> = build.ggml_switches.split_whitespace().collect();
    let mut found = engine::processor();
    if !built.is_empty() {
        found += &format!("; built for {}", built.join(" "));
    }
    if !unused.is_empty() {
        found += &format!("; not used: {}", unused.join(" "));
    }
    let facts = json!({
        "processor": engine::processor(),
        "built_for": built,
        "missing": missing,
        "not_used": unused,
    });
    let finding = Finding::new("processor", found, facts);
    if missing.is_empty() {
        return finding;
    }
    finding.fail(format!(
        "this slm was built for processors with {}, which this one does not have; build it here with `./install.sh`",
        missing.join(", ")
    ))
}

/// The kernels that a model would be computed with; chosen in this process, as a model's would.
fn kernels(build: &Build, environment: &Environment) -> Finding {
    // A value that cannot be read is one of the settings' problems.
    let wanted = environment.kernels().and_then(|text| text.parse().ok()).unwrap_or(Kernels::On);
    let facts = |version: Option<u32>| json!({ "slm_kernels": version.is_some(), "version": version });
    if !build.missing_on_this_processor().is_empty() {
        return Finding::new("kernels", "not tried on this processor", facts(None));
    }
    match engine::choose_kernels(wanted) {
        Ok(Some(version)) => {
            Finding::new("kernels", format!("slm's kernels compute prompts (ggml-x86 {version})"), facts(Some(version)))
        }
        Ok(None) => {
            let finding = |found: &str| Finding::new("kernels", found, facts(None));
            match wanted {
                Kernels::Off => finding("ggml's compute everything").warn(
                    "SLM_KERNELS turns slm's kernels off; without it, prompts are processed faster on most processors",
                ),
                Kernels::On if build.ggml_switches.contains("AVX512_VNNI") => {
                    finding("ggml's AVX512_VNNI kernels compute everything, as intended")
                }
                Kernels::On => finding("ggml's kernels compute everything: slm has none for this processor"),
            }
        }
        Err(error) => Finding::new("kernels", "", facts(None)).fail(error.to_string()),
    }
}

fn accelerators(build: &Build) -> Finding {
    let backends: Vec<&str> = build.ggml_backends.split_whitespace().collect();
    let devices = match engine::devices() {
        Ok(devices) => devices,
        Err(error) => {
            return Finding::new("accelerators", "", json!({ "backends": backends })).fail(error.to_string());
        }
    };
    let gpus: Vec<&Device> = devices.iter().filter(|device| device.kind == DeviceKind::Gpu).collect();
    let shown = |gpu: &&Device| format!("{} ({}, {} free)", gpu.name, gpu.description, size(gpu.memory_free));
    let found = match gpus.as_slice() {
        [] => "none: the CPU is used".to_owned(),
        gpus => gpus.iter().map(shown).collect::<Vec<_>>().join(", "),
    };
    let fact =
        |gpu: &&Device| json!({ "name": gpu.name, "description": gpu.description, "memory_free": gpu.memory_free });
    let facts = json!({ "backends": backends, "devices": gpus.iter().map(fact).collect::<Vec<_>>() });
    let finding = Finding::new("accelerators", found, facts);
    let has_nvidia = Path::new("/proc/driver/nvidia/version").exists() || Path::new("/dev/nvidiactl").exists();
    match (gpus.is_empty(), backends.as_slice()) {
        (true, []) if has_nvidia => finding.warn(
            "this machine has an NVIDIA driver and this slm was built without CUDA; build it with `./install.sh --features cuda`",
        ),
        (true, [_, ..]) => finding.warn(format!(
            "this slm was built for {} and finds no device; check that its driver is installed and that this user may use it",
            backends.join(", ")
        )),
        _ => finding,
    }
}

fn threads(environment: &Environment) -> Finding {
    let granted = engine::granted();
    let quota = granted.allowed.filter(|&allowed| allowed > granted.processors);
    let mut parts = vec![granted.threads.to_string()];
    parts.extend(granted.cores.map(|n| format!("for {}", counted(n as u64, "core"))));
    parts.push(match quota {
        Some(allowed) => format!("with a quota of {} of {}", granted.processors, counted(allowed as u64, "processor")),
        None => format!("with {}", counted(granted.processors as u64, "processor")),
    });
    let found = parts.join(" ");
    let facts = json!({
        "threads": granted.threads,
        "cores": granted.cores,
        "processors": granted.processors,
        "processors_by_affinity": granted.allowed,
        "quota": quota.is_some(),
        "waiting_is_set": environment.sets_waiting(),
    });
    let finding = Finding::new("threads", found, facts);
    if environment.sets_waiting() {
        return finding.warn(
            "GOMP_SPINCOUNT or OMP_WAIT_POLICY sets how threads wait; unset them to let slm wait briefly beside other programs",
        );
    }
    finding
}

fn free_memory(rooms: &[Room]) -> Finding {
    let Some(least) = rooms.iter().min_by_key(|room| room.bytes) else {
        return Finding::new("memory", "this system does not report free memory", json!({ "free": null }));
    };
    let limited_by = match least.limit {
        Limit::Machine => "machine",
        Limit::Group => "control group",
        Limit::AddressSpace => "ulimit -v",
    };
    let what = match least.limit {
        Limit::Machine => "free".to_owned(),
        _ => format!("free within the limit of the {limited_by}"),
    };
    let facts = json!({ "free": least.bytes, "limited_by": limited_by });
    let finding = Finding::new("memory", format!("{} {what}", size(least.bytes)), facts);
    if least.bytes >= LITTLE_MEMORY {
        return finding;
    }
    finding.warn("only the smallest models fit; end other programs, or raise the limit")
}
