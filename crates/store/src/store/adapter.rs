//! Adapters that a Modelfile names: GGUF files as they are, PEFT's and MLX's folders and safetensors converted, all as blobs.

use super::blobs::{Imported, adapter_header, open_regular, path_in};
use super::disk::{self, Writing};
use super::{Store, StoreError, mlx};
use slm_values::gguf::Header;
use slm_values::manifest::Layer;
use slm_values::modelfile::AdapterSource;
use slm_values::peft;
use slm_values::progress::Progress;
use std::path::{Path, PathBuf};

const TENSORS: &str = "adapter_model.safetensors";
/// The same of MLX's.
const MLX_TENSORS: &str = "adapters.safetensors";
const CONFIG: &str = "adapter_config.json";
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// An adapter of PEFT's is read whole.
const MAX_TENSORS_BYTES: u64 = 8 << 30;

/// An adapter that fits its base, before it is a blob.
pub(super) struct Checked {
    source: PathBuf,
    /// The GGUF of what was PEFT's; `None` where the file is one itself.
    converted: Option<Vec<u8>>,
    scale: f32,
}

/// Reads what a Modelfile names and checks it against the base; writes nothing.
pub(super) fn checked(adapters: &[AdapterSource], folder: &Path, base: &Header) -> Result<Vec<Checked>, StoreError> {
    let check = |AdapterSource { path, scale }: &AdapterSource| {
        let source = path_in(folder, path)?;
        let converted = match peft_files(&source)? {
            Some([config, tensors]) => Some(convert(&config, &tensors, base)?),
            None => {
                let header = adapter_header(&mut open_regular(&source)?, &source)?;
                header.check_base(base).map_err(|error| StoreError::Adapter { path: source.clone(), source: error })?;
                None
            }
        };
        Ok(Checked { source, converted, scale: *scale })
    };
    adapters.iter().map(check).collect()
}

impl Store {
    /// A layer for each adapter, its blob written.
    pub(super) fn adapter_layers(
        &self,
        adapters: &[Checked],
        progress: &dyn Progress,
        writing: &Writing,
    ) -> Result<Vec<Layer>, StoreError> {
        let mut layers: Vec<Layer> = Vec::new();
        for Checked { source, converted, scale } in adapters {
            let layer = match converted {
                Some(bytes) => Layer::adapter(self.put(bytes, writing)?, bytes.len() as u64, *scale),
                None => {
                    let Imported { digest, n_bytes, .. } = self.import(source, &adapter_header, progress, writing)?;
                    Layer::adapter(digest, n_bytes, *scale)
                }
            };
            if layers.iter().any(|known| known.digest == layer.digest) {
                return Err(StoreError::AdapterTwice(source.clone()));
            }
            layers.push(layer);
        }
        Ok(layers)
    }
}

/// The configuration and the tensors of PEFT's or MLX's, where a path means these.
fn peft_files(path: &Path) -> Result<Option<[PathBuf; 2]>, StoreError> {
    if path.is_dir() {
        let known = [TENSORS, MLX_TENSORS].map(|name| path.join(name)).into_iter().find(|tensors| tensors.exists());
        return match known {
            Some(tensors) => Ok(Some([path.join(CONFIG), tensors])),
            None => Err(StoreError::NoAdapter(path.to_owned())),
        };
    }
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        return Ok(Some([path.with_file_name(CONFIG), path.to_owned()]));
    }
    Ok(None)
}

/// The adapter in a folder that PEFT or MLX-LM wrote, as a GGUF for the model with this header.
///
/// # Errors
/// The folder has no adapter, or the model's architecture or the adapter's kind is not known.
pub fn converted(folder: &Path, base: &Header) -> Result<Vec<u8>, StoreError> {
    let Some([config, tensors]) = peft_files(folder)? else { return Err(StoreError::NoAdapter(folder.to_owned())) };
    convert(&config, &tensors, base)
}

fn convert(config: &Path, tensors: &Path, base: &Header) -> Result<Vec<u8>, StoreError> {
    let config = whole(config, MAX_CONFIG_BYTES)?;
    let bytes = whole(tensors, MAX_TENSORS_BYTES)?;
    let converted = if mlx::is_mlx(&config) {
        mlx::to_peft(&config, &bytes).and_then(|[config, bytes]| peft::convert(&config, &bytes, base))
    } else {
        peft::convert(&config, &bytes, base)
    };
    converted.map_err(|source| StoreError::Peft { path: tensors.to_owned(), source })
}

fn whole(path: &Path, max_bytes: u64) -> Result<Vec<u8>, StoreError> {
    let missing = || disk::io_error("read", path)(std::io::ErrorKind::NotFound.into());
    disk::read(path, max_bytes)?.ok_or_else(missing)
}
