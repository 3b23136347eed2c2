//! Where a model's layers, keys and values go.

use super::super::compute::{Device, DeviceKind};
use super::super::memory::layers_that_fit;
use super::super::{DEFAULT_CONTEXT, EngineError, Options};
use super::devices;

/// Where a model goes, decided before it is loaded.
pub struct Placement {
    /// The numbers of the GPUs that compute.
    pub gpus: Vec<usize>,
    pub n_gpu_layers: u32,
    pub n_ctx: u32,
    pub cells: KvPlacement,
    /// The makers' names of the devices that compute.
    pub devices: Vec<String>,
}

impl Placement {
    pub fn new(options: &Options) -> Result<Placement, EngineError> {
        let all = devices::devices()?;
        let Options { compute, footprint, .. } = options;
        let gpus = compute.check(&all)?;
        let n_ctx = options.n_ctx.unwrap_or(DEFAULT_CONTEXT);
        // Zero means that the header was not read.
        let n_ctx_train = u32::try_from(footprint.n_ctx_train).unwrap_or(u32::MAX);
        let n_ctx = if n_ctx_train > 0 { n_ctx.min(n_ctx_train) } else { n_ctx };
        let free: Vec<u64> = all.iter().filter(|device| gpus.contains(&device.index)).map(|d| d.memory_free).collect();
        let fit = match footprint.weights {
            _ if gpus.is_empty() => 0,
            0 => u32::MAX,
            _ => layers_that_fit(footprint, n_ctx, compute.kv_type, &free),
        };
        let n_gpu_layers = if gpus.is_empty() { 0 } else { compute.n_gpu_layers.unwrap_or(fit) };
        let cells = if n_gpu_layers == 0 { KvPlacement::Here } else { KvPlacement::OnDevices };
        let computes = |device: &&Device| device.kind == DeviceKind::Processor || gpus.contains(&device.index);
        let devices = all.iter().filter(computes).map(|device| device.description.clone()).collect();
        Ok(Placement { gpus, n_gpu_layers: n_gpu_layers.min(i32::MAX as u32), n_ctx, cells, devices })
    }
}

/// Whose memory holds the keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvPlacement {
    Here,
    OnDevices,
}
