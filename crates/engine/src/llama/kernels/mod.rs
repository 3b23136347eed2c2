//! Which kernels compute ggml's most costly operations on the processor: ggml's own, or those of `ggml-x86` where it has some.
//!
//! ggml has one set of kernels for all models of a process, so the first model that is loaded chooses.

#[cfg(all(target_arch = "x86_64", unix))]
mod hook;
#[cfg(all(target_arch = "x86_64", unix))]
mod task;
#[cfg(all(test, target_arch = "x86_64", unix))]
mod tests;

use std::sync::OnceLock;

use super::super::EngineError;
use super::super::compute::Kernels;
use super::product::Layout;

/// What was chosen for this process, and the version of the kernels of `ggml-x86` where they compute.
static CHOSEN: OnceLock<(Kernels, Option<u32>)> = OnceLock::new();

/// Chooses for this process, and tells the version of the kernels of `ggml-x86` where they compute from now on. Call it before
/// a model is loaded.
///
/// # Errors
/// An earlier model of this process was loaded with the other choice.
pub fn choose(kernels: Kernels) -> Result<Option<u32>, EngineError> {
    let (chosen, version) = *CHOSEN.get_or_init(|| match kernels {
        Kernels::On => (kernels, install()),
        Kernels::Off => (kernels, None),
    });
    if chosen != kernels {
        let reason = format!("this process computes with kernels `{chosen}`, and cannot with `{kernels}` as well");
        return Err(EngineError::Load { reason });
    }
    Ok(version)
}

/// How the chosen kernels read weights. Those of `ggml-x86` unpack them as they multiply, from whatever layout as fast, and for the few
/// rows that they leave to ggml its kernels are limited by the memory in either: repacking would only cost its time at every
/// load, and memory that processes do not share.
pub fn layout() -> Layout {
    match CHOSEN.get() {
        Some((_, Some(_))) => Layout::AsInFile,
        _ => Layout::Repacked,
    }
}

#[cfg(all(target_arch = "x86_64", unix))]
fn install() -> Option<u32> {
    hook::install().then_some(ggml_x86::VERSION)
}

#[cfg(not(all(target_arch = "x86_64", unix)))]
fn install() -> Option<u32> {
    None
}
