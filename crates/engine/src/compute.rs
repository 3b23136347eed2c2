//! How a model is loaded and computed: devices, threads, batches, and how keys and values are kept. It asks no device.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Tokens of one decode by default; in the score lane always: one chunk is one decode.
pub const DEFAULT_BATCH: u32 = 512;

/// What a model is computed with. The defaults suit most machines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compute {
    /// Threads of every decode; `None` takes one for each physical core that this process may use, and one thread alone
    /// for a model of few parameters.
    pub n_threads: Option<u32>,
    /// Layers that go to the devices; `None` means as many as fit.
    pub n_gpu_layers: Option<u32>,
    pub devices: Devices,
    /// Of several devices, the one that holds small tensors, counted from 0.
    pub main_gpu: Option<u32>,
    /// How the generation lane keeps keys and values. The score lane always keeps F16: its probabilities
    /// are compared across runs.
    pub kv_type: KvType,
    pub flash_attention: FlashAttention,
    /// Tokens that one decode of the generation lane may have.
    pub n_batch: Option<u32>,
    /// Tokens of it that are computed at once.
    pub n_ubatch: Option<u32>,
    pub weights_in: WeightsIn,
    pub paging: Paging,
    pub kernels: Kernels,
}

/// Which devices compute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Devices {
    /// Every GPU that the build has a backend for, else the processor.
    #[default]
    Every,
    /// The processor alone.
    Processor,
    /// These, by name or number; the processor helps.
    These(Vec<String>),
}

/// Where the weights are while they are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WeightsIn {
    /// The mapped file, shared with other processes.
    #[default]
    Mapping,
    /// Memory of this process, read from the file once.
    Memory,
}

/// Whether the system may take the weights' memory back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Paging {
    #[default]
    Allowed,
    Locked,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlashAttention {
    /// On; off for the few architectures that refuse it.
    #[default]
    Auto,
    On,
    Off,
}

/// Whether slm's own kernels compute on processors that have what they need; ggml's do where they are off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kernels {
    #[default]
    On,
    Off,
}

/// The type of a key or value in the cache; names and sizes are ggml's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvType {
    F32,
    #[default]
    F16,
    Bf16,
    Q8_0,
    Q5_1,
    Q5_0,
    Q4_1,
    Q4_0,
    Iq4Nl,
}

/// A device, as the backend describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number among all.
    pub index: usize,
    /// The backend's short name: `CPU`, `CUDA0`.
    pub name: String,
    /// The maker's name of it.
    pub description: String,
    pub kind: DeviceKind,
    pub memory_free: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    Processor,
    Gpu,
}

/// Why settings contradict each other, or cannot be used on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ComputeError {
    #[error("a KV cache of type `{0}` needs flash attention, which is off; turn it on, or use `f16`")]
    QuantizedWithoutFlashAttention(KvType),
    #[error("{n_ubatch} tokens at once are more than a batch of {n_batch}")]
    UbatchAboveBatch { n_ubatch: u32, n_batch: u32 },
    #[error("there is no device `{name}`; the devices are {known}, and `none` for the CPU only")]
    NoSuchDevice { name: String, known: String },
    #[error("there is no GPU {main_gpu}: {n_gpus} are used, counted from 0")]
    NoSuchGpu { main_gpu: u32, n_gpus: usize },
    #[error("`{layers}` layers cannot go to a GPU, because only the CPU is used")]
    LayersWithoutDevice { layers: u32 },
    #[error("there is no KV cache type `{0}`; the types are {names}", names = KvType::names())]
    NoSuchKvType(String),
    #[error("flash attention is `on`, `off` or `auto`, not `{0}`")]
    NoSuchFlashAttention(String),
    #[error("kernels are `on` or `off`, not `{0}`")]
    NoSuchKernels(String),
}

impl Compute {
    /// Tokens of one decode of the generation lane, and those that are computed at once.
    #[must_use]
    pub fn batches(&self) -> (u32, u32) {
        let n_batch = self.n_batch.unwrap_or_else(|| DEFAULT_BATCH.max(self.n_ubatch.unwrap_or(0))).max(1);
        (n_batch, self.n_ubatch.unwrap_or(DEFAULT_BATCH).clamp(1, n_batch))
    }

    /// The numbers of the GPUs among `devices` that are asked for; none is the processor alone.
    ///
    /// # Errors
    /// Settings that contradict each other, or a device that is not there.
    pub fn check(&self, devices: &[Device]) -> Result<Vec<usize>, ComputeError> {
        if self.kv_type.is_quantized() && self.flash_attention == FlashAttention::Off {
            return Err(ComputeError::QuantizedWithoutFlashAttention(self.kv_type));
        }
        if let (Some(n_ubatch), Some(n_batch)) = (self.n_ubatch, self.n_batch)
            && n_ubatch > n_batch
        {
            return Err(ComputeError::UbatchAboveBatch { n_ubatch, n_batch });
        }
        let is_gpu = |device: &&Device| device.kind == DeviceKind::Gpu;
        let gpus: Vec<usize> = match &self.devices {
            Devices::Every => devices.iter().filter(is_gpu).map(|device| device.index).collect(),
            Devices::Processor => Vec::new(),
            Devices::These(names) => {
                let found: Vec<&Device> = names.iter().map(|name| find(devices, name)).collect::<Result<_, _>>()?;
                found.into_iter().filter(is_gpu).map(|device| device.index).collect()
            }
        };
        if let Some(main_gpu) = self.main_gpu
            && self.devices != Devices::Every
            && main_gpu as usize >= gpus.len()
        {
            return Err(ComputeError::NoSuchGpu { main_gpu, n_gpus: gpus.len() });
        }
        if let (Some(layers @ 1..), Devices::Processor) = (self.n_gpu_layers, &self.devices) {
            return Err(ComputeError::LayersWithoutDevice { layers });
        }
        Ok(gpus)
    }
}

fn find<'a>(devices: &'a [Device], name: &str) -> Result<&'a Device, ComputeError> {
    let number = name.parse::<usize>().ok();
    let is_it = |device: &&Device| device.name.eq_ignore_ascii_case(name) || Some(device.index) == number;
    devices.iter().find(is_it).ok_or_else(|| ComputeError::NoSuchDevice {
        name: name.to_owned(),
        known: devices
            .iter()
            .map(|Device { index, name, description, .. }| format!("`{name}` ({index}, {description})"))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

impl FromStr for Devices {
    type Err = std::convert::Infallible;

    /// `none`, or names and numbers separated by commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        Ok(if text.trim() == "none" { Devices::Processor } else { Devices::These(names) })
    }
}

impl KvType {
    pub const ALL: [KvType; 9] = [
        KvType::F32,
        KvType::F16,
        KvType::Bf16,
        KvType::Q8_0,
        KvType::Q5_1,
        KvType::Q5_0,
        KvType::Q4_1,
        KvType::Q4_0,
        KvType::Iq4Nl,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Bf16 => "bf16",
            KvType::Q8_0 => "q8_0",
            KvType::Q5_1 => "q5_1",
            KvType::Q5_0 => "q5_0",
            KvType::Q4_1 => "q4_1",
            KvType::Q4_0 => "q4_0",
            KvType::Iq4Nl => "iq4_nl",
        }
    }

    /// Bytes of `n` numbers, which are whole blocks of 32 where the type is quantized.
    #[must_use]
    pub fn bytes(self, n: u64) -> u64 {
        let per_32: u64 = match self {
            KvType::F32 => 128,
            KvType::F16 | KvType::Bf16 => 64,
            KvType::Q8_0 => 34,
            KvType::Q5_1 => 24,
            KvType::Q5_0 => 22,
            KvType::Q4_1 => 20,
            KvType::Q4_0 | KvType::Iq4Nl => 18,
        };
        u64::try_from(u128::from(n) * u128::from(per_32) / 32).unwrap_or(u64::MAX)
    }

    #[must_use]
    pub fn is_quantized(self) -> bool {
        !matches!(self, KvType::F32 | KvType::F16 | KvType::Bf16)
    }

    fn names() -> String {
        KvType::ALL.map(|kind| format!("`{kind}`")).join(", ")
    }
}

impl fmt::Display for KvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KvType {
    type Err = ComputeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_it = |kind: &KvType| kind.as_str().eq_ignore_ascii_case(text.trim());
        KvType::ALL.into_iter().find(is_it).ok_or_else(|| ComputeError::NoSuchKvType(text.to_owned()))
    }
}

impl fmt::Display for FlashAttention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FlashAttention::Auto => "auto",
            FlashAttention::On => "on",
            FlashAttention::Off => "off",
        })
    }
}

impl FromStr for FlashAttention {
    type Err = ComputeError;

    /// The three words, and what Ollama's variable takes: `1`, `0`, `true`, `false`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(FlashAttention::Auto),
            "on" | "1" | "true" | "t" => Ok(FlashAttention::On),
            "off" | "0" | "false" | "f" => Ok(FlashAttention::Off),
            _ => Err(ComputeError::NoSuchFlashAttention(text.to_owned())),
        }
    }
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kernels::On => "on",
            Kernels::Off => "off",
        })
    }
}

impl FromStr for Kernels {
    type Err = ComputeError;

    /// As [`FlashAttention`] is written.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "on" | "1" | "true" | "t" => Ok(Kernels::On),
            "off" | "0" | "false" | "f" => Ok(Kernels::Off),
            _ => Err(ComputeError::NoSuchKernels(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Vec<Device> {
        let device = |index, name: &str, kind| Device {
            index,
            name: name.to_owned(),
            description: format!("a {name}"),
            kind,
            memory_free: 0,
        };
        vec![
            device(0, "CUDA0", DeviceKind::Gpu),
            device(1, "CUDA1", DeviceKind::Gpu),
            device(2, "CPU", DeviceKind::Processor),
        ]
    }

    fn asked(devices: &str) -> Compute {
        Compute { devices: devices.parse().unwrap(), ..Compute::default() }
    }

    #[test]
    fn devices_are_found_by_name_and_by_number() {
        let gpus = |compute: Compute| compute.check(&devices()).unwrap();
        assert_eq!(gpus(Compute::default()), [0, 1]);
        assert_eq!(gpus(asked("none")), Vec::<usize>::new());
        assert_eq!(gpus(asked("cpu")), Vec::<usize>::new());
        assert_eq!(gpus(asked("cuda1, 0")), [1, 0]);
        assert_eq!(
            asked("Metal").check(&devices()[1..]).unwrap_err().to_string(),
            "there is no device `Metal`; the devices are `CUDA1` (1, a CUDA1), `CPU` (2, a CPU), and `none` for the CPU only"
        );
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let refused = |compute: Compute| compute.check(&devices()).unwrap_err().to_string();
        let off = FlashAttention::Off;
        assert_eq!(
            refused(Compute { kv_type: KvType::Q8_0, flash_attention: off, ..Compute::default() }),
            "a KV cache of type `q8_0` needs flash attention, which is off; turn it on, or use `f16`"
        );
        assert_eq!(
            refused(Compute { n_batch: Some(64), n_ubatch: Some(128), ..Compute::default() }),
            "128 tokens at once are more than a batch of 64"
        );
        assert_eq!(
            refused(Compute { n_gpu_layers: Some(3), ..asked("none") }),
            "`3` layers cannot go to a GPU, because only the CPU is used"
        );
        assert_eq!(
            refused(Compute { main_gpu: Some(1), ..asked("CUDA0") }),
            "there is no GPU 1: 1 are used, counted from 0"
        );
        assert!(Compute { flash_attention: off, n_gpu_layers: Some(0), ..asked("none") }.check(&devices()).is_ok());
    }

    #[test]
    fn one_batch_size_fits_itself_to_the_other() {
        let sizes = |n_batch, n_ubatch| Compute { n_batch, n_ubatch, ..Compute::default() }.batches();
        assert_eq!(sizes(None, None), (512, 512));
        assert_eq!(sizes(Some(64), None), (64, 64));
        assert_eq!(sizes(Some(2048), None), (2048, 512));
        assert_eq!(sizes(None, Some(1024)), (1024, 1024));
    }

    #[test]
    fn types_are_named_and_sized_as_ggml_does() {
        for kind in KvType::ALL {
            assert_eq!(kind.as_str().to_uppercase().parse(), Ok(kind));
        }
        assert_eq!((KvType::F16.bytes(64), KvType::Q8_0.bytes(64), KvType::Q4_0.bytes(64)), (128, 68, 36));
        assert!("q3_k".parse::<KvType>().unwrap_err().to_string().starts_with("there is no KV cache type `q3_k`"));
    }
}
