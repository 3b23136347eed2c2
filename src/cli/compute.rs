//! How a model is computed, from flags, Modelfile and environment, and its description for `--verbose`.

use super::environment::Environment;
use crate::engine::compute::{Compute, Devices, FlashAttention, Kernels, KvType, Paging, WeightsIn};
use crate::engine::waiting::{LONG, SHORT, Waiting};
use crate::engine::{self, ModelInfo};
use crate::failure::Failure;
use crate::load_spec;
use crate::sampling::Parameters;
use crate::ui::table::{counted, size};
use clap::Args;

/// How a model is loaded and computed; Ollama's names where it has one.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Compute")]
pub struct ComputeArgs {
    /// Context size in tokens
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_ctx: Option<String>,
    /// Threads [default: one per core that slm may use]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_thread: Option<String>,
    /// Layers to put on GPUs [default: as many as fit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_gpu: Option<String>,
    /// Devices to use, by name or number; `none`: the CPU only
    #[arg(long, value_name = "A,B")]
    pub device: Option<String>,
    /// The GPU that holds small tensors, if there are several
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub main_gpu: Option<String>,
    /// KV cache type for generated text: f16, q8_0, q4_0 …; scored answers always use f16
    #[arg(long, value_name = "TYPE")]
    pub kv_type: Option<String>,
    /// Flash attention; auto: wherever the model allows it
    #[arg(long, value_name = "on|off|auto")]
    pub flash_attn: Option<String>,
    /// Batch size in tokens for generated text and its prompts [default: 512]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_batch: Option<String>,
    /// Tokens of a batch to compute at once [default: 512]
    #[arg(long, value_name = "N")]
    pub num_ubatch: Option<u32>,
    /// Read the weights into memory instead of mapping the file
    #[arg(long)]
    pub no_mmap: bool,
    /// Lock the weights in RAM (never swap)
    #[arg(long)]
    pub mlock: bool,
}

/// Takes over the flags that are Ollama's parameters, checked as these.
///
/// # Errors
/// A value of the wrong type or range.
pub fn say(args: &ComputeArgs, parameters: &mut Parameters) -> Result<(), Failure> {
    let said = [
        ("num_ctx", &args.num_ctx),
        ("num_thread", &args.num_thread),
        ("num_gpu", &args.num_gpu),
        ("main_gpu", &args.main_gpu),
        ("num_batch", &args.num_batch),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            parameters.set(name, value)?;
        }
    }
    if args.no_mmap {
        parameters.use_mmap = Some(false);
    }
    Ok(())
}

/// How a model is computed: by the given parameters (`said`), else by its `own` Modelfile's, else by the environment's, else by defaults.
///
/// # Errors
/// Settings that contradict each other, or name a device that does not exist.
pub fn resolve(
    args: &ComputeArgs,
    said: &Parameters,
    own: &Parameters,
    environment: &Environment,
) -> Result<Compute, Failure> {
    let parameters = said.clone().over(own.clone());
    let kv_type = match (&args.kv_type, environment.kv_cache_type()) {
        (Some(text), _) => named("--kv-type", text)?,
        (None, Some(text)) => named("SLM_KV_CACHE_TYPE", text)?,
        (None, None) => KvType::default(),
    };
    let flash_attention = match (&args.flash_attn, environment.flash_attention()) {
        (Some(text), _) => named("--flash-attn", text)?,
        (None, Some(text)) => named("SLM_FLASH_ATTENTION", text)?,
        (None, None) => FlashAttention::default(),
    };
    let kernels = environment.kernels().map(|text| named("SLM_KERNELS", text)).transpose()?.unwrap_or(Kernels::On);
    if args.num_ubatch == Some(0) {
        return Err(Failure::usage("--num-ubatch cannot be `0`: it must be 1 or more"));
    }
    let base = Compute {
        devices: args.device.as_deref().map_or(Devices::Every, |text| match text.parse() {
            Ok(devices) => devices,
            Err(never) => match never {},
        }),
        kv_type,
        flash_attention,
        n_ubatch: args.num_ubatch,
        paging: if args.mlock { Paging::Locked } else { Paging::Allowed },
        kernels,
        ..Compute::default()
    };
    let compute = load_spec::compute(base, &parameters);
    compute.check(&engine::devices()?)?;
    Ok(compute)
}

/// The environment's settings of computing that are invalid.
#[must_use]
pub fn refused_settings(environment: &Environment) -> Vec<Failure> {
    let refused = [
        environment.kv_cache_type().and_then(|text| named::<KvType>("SLM_KV_CACHE_TYPE", text).err()),
        environment.flash_attention().and_then(|text| named::<FlashAttention>("SLM_FLASH_ATTENTION", text).err()),
        environment.kernels().and_then(|text| named::<Kernels>("SLM_KERNELS", text).err()),
    ];
    refused.into_iter().flatten().collect()
}

fn named<T: std::str::FromStr<Err = engine::compute::ComputeError>>(from: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error| Failure::usage(format!("{from}: {error}")))
}

/// The lines of `--verbose` on what computes and how.
#[must_use]
pub fn describe(info: &ModelInfo) -> String {
    let Compute { kv_type, flash_attention, weights_in, paging, .. } = &info.compute;
    let (n_batch, n_ubatch) = info.compute.batches();
    let layers = match info.n_gpu_layers {
        0 => String::new(),
        n => format!(", {n} of {} layers on GPUs", info.n_layers + 1),
    };
    let weights = match weights_in {
        WeightsIn::Mapping => "mapped",
        WeightsIn::Memory => "read into memory",
    };
    let waiting = match info.waiting {
        Waiting::Learned => {
            format!("waiting        spins for {LONG:?}, beside other work for {SHORT:?}, then sleeps\n")
        }
        Waiting::Set { n_turns } => {
            format!("waiting        spins {n_turns} times, as the environment sets, then sleeps\n")
        }
        Waiting::Unknown => String::new(),
    };
    let locked = if *paging == Paging::Locked { ", locked" } else { "" };
    format!(
        "runs on        {}, {}{layers}\n{waiting}weights        {weights}{locked}\n\
         keys, values   {kv_type}, {} in a full context; flash attention {flash_attention}\n\
         batches        {n_batch} tokens, {n_ubatch} at once\n",
        info.devices.join(", "),
        counted(info.n_threads.into(), "thread"),
        size(info.kv_bytes),
    )
}
