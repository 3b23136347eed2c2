//! LoRA adapters in native memory: each file loaded once, when a request first asks for it, and put on a context as a set.
//!
//! A set of several adapters is merged into one before llama.cpp sees it (see [`merge`]), so that a context never has more
//! than one. Every file's header is checked against the base's before native code opens it.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::ptr::NonNull;
use std::rc::Rc;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};

use super::super::EngineError;
use super::super::adapters::{Adapter, AdapterSet};
use super::super::merge::{MergeInput, merge};
use super::weights::{base_header, memory_file};
use super::{Model, failed, log};
use slm_values::gguf::{AdapterHeader, Header};

/// Sets and single adapters that stay loaded; the ones used least recently go first.
const KEPT: usize = 16;
/// A file that is merged is read whole.
const MAX_FILE_BYTES: u64 = 8 << 30;

/// The adapters of one model.
pub struct Adapters<'m> {
    model: &'m Model,
    /// The base's header, read when the first adapter comes.
    base: Option<Header>,
    /// Least recently used first.
    loaded: Vec<(AdapterSet, Rc<Native<'m>>)>,
}

/// What is on a context.
#[derive(Default)]
pub struct Applied<'m> {
    set: AdapterSet,
    /// Held for as long as the context uses it.
    native: Option<Rc<Native<'m>>>,
}

impl Applied<'_> {
    pub fn set(&self) -> &AdapterSet {
        &self.set
    }
}

impl<'m> Adapters<'m> {
    pub fn new(model: &'m Model) -> Self {
        Adapters { model, base: None, loaded: Vec::new() }
    }

    /// Puts exactly this set on a context, whose current set is `applied`. Nothing happens where it is on already; an error
    /// leaves the context as it was. The caller must discard what the context has evaluated with another set.
    ///
    /// # Errors
    /// [`EngineError::Adapter`] where a file cannot be read or does not fit the base.
    pub fn apply(
        &mut self,
        context: &mut LlamaContext<'m>,
        applied: &mut Applied<'m>,
        set: &AdapterSet,
    ) -> Result<(), EngineError> {
        if applied.set == *set {
            return Ok(());
        }
        match set.as_slice() {
            [] => {
                // llama.cpp takes all adapters off, whichever one it is shown.
                if let Some(native) = &applied.native {
                    let removed = context.lora_adapter_remove(&mut native.handle());
                    removed.map_err(|error| failed(&error.to_string()))?;
                }
                *applied = Applied::default();
            }
            adapters => {
                let native = self.loaded(set)?;
                // A merged adapter has its scales in its numbers.
                let scale = if let [one] = adapters { one.scale } else { 1.0 };
                let placed = context.lora_adapter_set(&mut native.handle(), scale);
                placed.map_err(|error| failed(&error.to_string()))?;
                *applied = Applied { set: set.clone(), native: Some(native) };
            }
        }
        Ok(())
    }

    /// Loads a set without putting it anywhere.
    ///
    /// # Errors
    /// [`EngineError::Adapter`].
    pub fn load(&mut self, set: &AdapterSet) -> Result<(), EngineError> {
        if set.is_empty() { Ok(()) } else { self.loaded(set).map(drop) }
    }

    fn loaded(&mut self, set: &AdapterSet) -> Result<Rc<Native<'m>>, EngineError> {
        // One adapter is loaded once for all its scales.
        let key = match set.as_slice() {
            [one] => AdapterSet::new([Adapter { scale: 1.0, ..one.clone() }]),
            _ => set.clone(),
        };
        if let Some(at) = self.loaded.iter().position(|(known, _)| *known == key) {
            let known = self.loaded.remove(at);
            self.loaded.push(known);
        } else {
            let native = Rc::new(self.load_new(set.as_slice())?);
            if self.loaded.len() == KEPT {
                self.loaded.remove(0);
            }
            self.loaded.push((key, native));
        }
        Ok(Rc::clone(&self.loaded.last().expect("pushed above").1))
    }

    fn load_new(&mut self, adapters: &[Adapter]) -> Result<Native<'m>, EngineError> {
        let mut headers = Vec::new();
        for adapter in adapters {
            if !adapter.scale.is_finite() {
                return Err(refused(&adapter.path, format!("its scale is {}", adapter.scale)));
            }
            let header = self.checked(&adapter.path);
            headers.push(header.map_err(|reason| refused(&adapter.path, reason))?);
        }
        if let [one] = adapters {
            return Native::load(self.model, &one.path).map_err(|reason| refused(&one.path, reason));
        }
        let mut files = Vec::new();
        for adapter in adapters {
            files.push(read(&adapter.path).map_err(|reason| refused(&adapter.path, reason))?);
        }
        let parts: Vec<MergeInput<'_>> = (adapters.iter().zip(&headers).zip(&files))
            .map(|((adapter, header), file)| MergeInput { adapter: header, file, scale: adapter.scale })
            .collect();
        let last = &adapters.last().expect("an empty set is not loaded").path;
        let merged = merge(&parts).map_err(|reason| refused(last, reason))?;
        drop(files);
        let opened = memory_file(&merged).map_err(|error| refused(last, error.to_string()))?;
        Native::load(self.model, opened.path()).map_err(|reason| refused(last, reason))
    }

    /// The header of a file that fits the base.
    fn checked(&mut self, path: &Path) -> Result<AdapterHeader, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let n_bytes = file.metadata().map_err(|error| error.to_string())?.len();
        let header = AdapterHeader::read(BufReader::new(file), n_bytes).map_err(|error| error.to_string())?;
        if self.base.is_none() {
            self.base = Some(base_header(&self.model.weights).map_err(|error| format!("its base: {error}"))?);
        }
        let base = self.base.as_ref().expect("read above");
        header.check_base(base).map_err(|error| error.to_string())?;
        Ok(header)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn refused(path: &Path, reason: impl Into<String>) -> EngineError {
    EngineError::Adapter { path: path.to_owned(), reason: reason.into() }
}

/// An adapter that llama.cpp holds; freed with its last user, and before its model.
pub struct Native<'m> {
    adapter: NonNull<llama_cpp_sys_2::llama_adapter_lora>,
    model: PhantomData<&'m LlamaModel>,
}

impl<'m> Native<'m> {
    fn load(model: &'m Model, path: &Path) -> Result<Native<'m>, String> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        log::clear();
        // SAFETY: llama.cpp wants a model that it may change, and llama_cpp_2 therefore `&mut LlamaModel`, which contexts
        // that borrow the model exclude. What changes is one set in the model (`loras`), of which contexts count the
        // members when they plan a graph. Adapters, contexts and decodes of a model live on the engine's one thread
        // (`Native` is not `Send`), so nothing reads the set while it changes (the tokenizer's other users read the
        // vocabulary only), and no Rust reference covers it: the `LlamaModel` is only a pointer to it.
        let adapter = unsafe { llama_cpp_sys_2::llama_adapter_lora_init(pointer(&model.llama), path.as_ptr()) };
        match NonNull::new(adapter) {
            Some(adapter) => Ok(Native { adapter, model: PhantomData }),
            None => Err(log::reason("llama.cpp refused it")),
        }
    }

    /// The adapter as llama_cpp_2's contexts take it.
    fn handle(&self) -> ManuallyDrop<LlamaLoraAdapter> {
        // SAFETY: `LlamaLoraAdapter` is a transparent wrapper of this very pointer (llama_cpp_2 is pinned to one version),
        // it does nothing when it is dropped, and a later version that frees it is kept from that.
        ManuallyDrop::new(unsafe {
            std::mem::transmute::<NonNull<llama_cpp_sys_2::llama_adapter_lora>, LlamaLoraAdapter>(self.adapter)
        })
    }
}

impl Drop for Native<'_> {
    fn drop(&mut self) {
        // SAFETY: loaded above, freed nowhere else, and its model is still there; a context that had it on is gone or has
        // another set on, for `Applied` holds it until then. As for loading, this is the model's thread.
        unsafe { llama_cpp_sys_2::llama_adapter_lora_free(self.adapter.as_ptr()) }
    }
}

/// The pointer inside a model.
fn pointer(model: &LlamaModel) -> *mut llama_cpp_sys_2::llama_model {
    // SAFETY: `LlamaModel` is a transparent wrapper of a pointer that is not null; it is copied, not changed.
    unsafe { *std::ptr::from_ref(model).cast::<*mut llama_cpp_sys_2::llama_model>() }
}
