//! The devices of llama.cpp's backends, and the model and context parameters that choose among them.

use llama_cpp_2::context::params::KvCacheType;
use llama_cpp_2::{LlamaBackendDevice, LlamaBackendDeviceType, list_llama_ggml_backend_devices};

use super::super::EngineError;
use super::super::compute::{Device, DeviceKind, KvType};

/// Every device of this build on this machine.
///
/// # Errors
/// llama.cpp does not start.
pub fn devices() -> Result<Vec<Device>, EngineError> {
    super::backend()?;
    Ok(list_llama_ggml_backend_devices().into_iter().map(device).collect())
}

fn device(device: LlamaBackendDevice) -> Device {
    let kind = match device.device_type {
        LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu => DeviceKind::Gpu,
        // Accelerators help the processor with its own memory.
        _ => DeviceKind::Processor,
    };
    Device {
        index: device.index,
        name: device.name,
        description: device.description,
        kind,
        memory_free: device.memory_free as u64,
    }
}

pub fn kv_cache_type(kind: KvType) -> KvCacheType {
    match kind {
        KvType::F32 => KvCacheType::F32,
        KvType::F16 => KvCacheType::F16,
        KvType::Bf16 => KvCacheType::BF16,
        KvType::Q8_0 => KvCacheType::Q8_0,
        KvType::Q5_1 => KvCacheType::Q5_1,
        KvType::Q5_0 => KvCacheType::Q5_0,
        KvType::Q4_1 => KvCacheType::Q4_1,
        KvType::Q4_0 => KvCacheType::Q4_0,
        KvType::Iq4Nl => KvCacheType::IQ4_NL,
    }
}
