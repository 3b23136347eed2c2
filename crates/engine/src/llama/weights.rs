//! Where llama.cpp reads weights from: a file, the files of a split model, or this process's own memory.

use std::ffi::CString;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;

use super::super::compute::{Compute, Paging, WeightsIn};
use super::super::{EngineError, Load, Weights};
use super::product::Layout;
use super::{log, mapped};
use slm_values::gguf::{GgufError, Header, Shard};

/// Weights that llama.cpp can open by their paths, for as long as this value lives.
pub enum WeightFiles {
    File(PathBuf),
    Shards(Vec<PathBuf>),
    /// An anonymous file in memory (`memfd_create`), so that a model inside the binary needs no disk.
    Memory {
        _file: File,
        path: PathBuf,
    },
}

/// How weights are loaded.
pub struct LoadSettings<'a> {
    pub load: Load,
    pub compute: &'a Compute,
    pub n_gpu_layers: u32,
    /// An empty list is the processor alone.
    pub gpus: &'a [usize],
    pub layout: Layout,
}

impl WeightFiles {
    pub fn new(weights: &Weights) -> Result<Self, EngineError> {
        let there = |path: &Path| match path.exists() {
            true => Ok(()),
            false => Err(failed(format!("`{}` does not exist", path.display()))),
        };
        match weights {
            Weights::File(path) => there(path).map(|()| WeightFiles::File(path.clone())),
            Weights::Shards(paths) => {
                paths.iter().try_for_each(|path| there(path))?;
                Ok(WeightFiles::Shards(paths.clone()))
            }
            Weights::Bytes(bytes) => {
                memory_file(bytes).map_err(|error| failed(format!("cannot create a file in memory: {error}")))
            }
        }
    }

    /// Loads the weights; llama.cpp's own words where it refuses them.
    ///
    /// It is given all paths: it would find shards by the pattern of their names, which blobs do not have. llama_cpp_2 has no
    /// function for that, nor for the layout.
    pub fn load(&self, _backend: &LlamaBackend, settings: &LoadSettings<'_>) -> Result<LlamaModel, EngineError> {
        let mut names = Vec::new();
        for path in self.paths() {
            use std::os::unix::ffi::OsStrExt as _;
            names.push(CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.to_string()))?);
        }
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: these take numbers and give values; a device of a number below their count is never null.
        let (mut params, mut devices) = unsafe {
            let n_devices = llama_cpp_sys_2::ggml_backend_dev_count();
            if let Some(gpu) = settings.gpus.iter().find(|&&gpu| gpu >= n_devices) {
                return Err(failed(format!("there is no device {gpu}")));
            }
            let devices: Vec<_> = settings.gpus.iter().map(|&gpu| llama_cpp_sys_2::ggml_backend_dev_get(gpu)).collect();
            (llama_cpp_sys_2::llama_model_default_params(), devices)
        };
        devices.push(std::ptr::null_mut());
        params.devices = devices.as_mut_ptr();
        params.vocab_only = settings.load == Load::Vocabulary;
        params.load_mode = match (settings.compute.weights_in, settings.compute.paging) {
            (WeightsIn::Mapping, Paging::Locked) => llama_cpp_sys_2::LLAMA_LOAD_MODE_MMAP_MLOCK,
            (WeightsIn::Mapping, _) => llama_cpp_sys_2::LLAMA_LOAD_MODE_MMAP,
            (_, Paging::Locked) => llama_cpp_sys_2::LLAMA_LOAD_MODE_MLOCK,
            _ => llama_cpp_sys_2::LLAMA_LOAD_MODE_NONE,
        };
        params.use_extra_bufts = settings.layout == Layout::Repacked;
        params.n_gpu_layers = i32::try_from(settings.n_gpu_layers).unwrap_or(i32::MAX);
        params.main_gpu = settings.compute.main_gpu.and_then(|gpu| i32::try_from(gpu).ok()).unwrap_or(0);
        let mut on_progress = (settings.layout == Layout::Repacked).then(|| mapped::on_progress(self.paths()));
        if let Some(on_progress) = &mut on_progress {
            params.progress_callback = Some(called(on_progress));
            params.progress_callback_user_data = std::ptr::from_mut(on_progress).cast();
        }
        // SAFETY: the names end with zero and outlive the call, as do the function that is told the progress and the list of
        // devices, which ends with null; the backend is there, for it was borrowed.
        let model =
            unsafe { llama_cpp_sys_2::llama_model_load_from_splits(pointers.as_mut_ptr(), pointers.len(), params) };
        let model = NonNull::new(model).ok_or_else(|| failed(log::reason("llama.cpp refused it")))?;
        // SAFETY: `LlamaModel` is a transparent wrapper of this very pointer (llama_cpp_2 is pinned to one version) and frees it
        // once, with the function that is right for models however they were loaded.
        Ok(unsafe { std::mem::transmute::<NonNull<llama_cpp_sys_2::llama_model>, LlamaModel>(model) })
    }

    /// The paths of all files.
    fn paths(&self) -> &[PathBuf] {
        match self {
            WeightFiles::File(path) | WeightFiles::Memory { path, .. } => std::slice::from_ref(path),
            WeightFiles::Shards(paths) => paths,
        }
    }

    /// The path of what is one file.
    pub fn path(&self) -> &Path {
        &self.paths()[0]
    }
}

/// A function for C that calls one of this type, whose address it is given.
fn called<F: FnMut(f32) -> bool>(_: &F) -> unsafe extern "C" fn(f32, *mut std::ffi::c_void) -> bool {
    unsafe extern "C" fn call<F: FnMut(f32) -> bool>(progress: f32, function: *mut std::ffi::c_void) -> bool {
        // SAFETY: whoever gives this function away gives the address of a live `F` with it, which nobody else uses meanwhile.
        unsafe { (*function.cast::<F>())(progress) }
    }
    call::<F>
}

/// The header of weights that adapters are to fit.
pub fn base_header(weights: &Weights) -> Result<Header, String> {
    let read = match weights {
        Weights::Bytes(bytes) => Header::read(bytes.as_ref(), bytes.len() as u64),
        Weights::File(path) => open(path).and_then(|(file, n_bytes)| Header::read(file, n_bytes)),
        Weights::Shards(paths) => {
            let shard = |path: &PathBuf| open(path).and_then(|(file, n_bytes)| Shard::read(file, n_bytes));
            paths.iter().map(shard).collect::<Result<_, _>>().and_then(Header::of_shards)
        }
    };
    read.map_err(|error| error.to_string())
}

fn open(path: &Path) -> Result<(BufReader<File>, u64), GgufError> {
    let file = File::open(path)?;
    let n_bytes = file.metadata()?.len();
    Ok((BufReader::new(file), n_bytes))
}

fn failed(reason: String) -> EngineError {
    EngineError::Load { reason }
}

#[cfg(target_os = "linux")]
pub fn memory_file(bytes: &[u8]) -> std::io::Result<WeightFiles> {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    let descriptor = rustix::fs::memfd_create("slm-model", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(descriptor);
    file.write_all(bytes)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(WeightFiles::Memory { _file: file, path })
}

#[cfg(not(target_os = "linux"))]
pub fn memory_file(bytes: &[u8]) -> std::io::Result<WeightFiles> {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(bytes)?;
    let (file, path) = file.keep()?;
    Ok(WeightFiles::Memory { _file: file, path })
}
