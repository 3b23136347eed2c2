//! llama.cpp's quantizer: called with a job, and heard by its log, which is the only way in which it tells how far it is.

use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use llama_cpp_sys_2 as ggml;

use super::{backend, log};
use crate::quantize::{ImatrixEntry, QuantizeError, QuantizeEvent, QuantizeJob, Requantize, imatrix_entries};
use slm_values::imatrix::Imatrix;
use slm_values::quantization::TensorOverride;

/// What llama.cpp says of a plan that cannot be carried out as it is.
const NEEDS_IMATRIX: &str = "will require an imatrix";
/// The bytes of a text in a key's value, with the zero at its end.
const MAX_VALUE_BYTES: usize = 128;

/// Does a job, or plans it where it has no target. What is told comes on whatever thread llama.cpp speaks from.
///
/// # Errors
/// llama.cpp's own words where it refuses, or the importance matrix cannot be read.
pub fn quantize(job: &QuantizeJob, tell: impl FnMut(QuantizeEvent) + Send + 'static) -> Result<(), QuantizeError> {
    backend().map_err(|error| QuantizeError::Refused(error.to_string()))?;
    let source = path(&job.source)?;
    let target = path(job.target.as_deref().unwrap_or(Path::new("")))?;
    let imatrix = job.imatrix.as_ref().map(|file| {
        let refused = |reason: String| QuantizeError::Imatrix { path: file.path.clone(), reason };
        let bytes = std::fs::read(&file.path).map_err(|error| refused(format!("cannot be read: {error}")))?;
        Imatrix::parse(&bytes).map_err(|error| refused(error.to_string())).map(|imatrix| (file, imatrix))
    });
    let imatrix = imatrix.transpose()?;
    let importance = imatrix.as_ref().map(|(_, imatrix)| Importance::of(imatrix)).transpose()?;
    let entries = imatrix.as_ref().map(|(file, imatrix)| metadata(&imatrix_entries(file, imatrix)));
    let overrides = Overrides::of(job)?;
    // SAFETY: it takes nothing and gives a value.
    let mut params = unsafe { ggml::llama_model_quantize_default_params() };
    params.nthread = i32::try_from(job.n_threads).unwrap_or(1);
    params.ftype = job.file_type as ggml::llama_ftype;
    params.allow_requantize = job.requantize == Requantize::Allow;
    params.dry_run = job.target.is_none();
    params.max_buf_size = usize::try_from(job.max_buffer_bytes).unwrap_or(usize::MAX);
    params.tt_overrides = overrides.list.as_ptr();
    if let Some(importance) = &importance {
        params.imatrix = importance.list.as_ptr();
    }
    if let Some(entries) = &entries {
        params.kv_overrides = entries.as_ptr();
    }
    log::clear();
    let (heard, tell) = (Mutex::new(Hearing::default()), Mutex::new(tell));
    let listening = log::listen(move |text| {
        let event = heard.lock().unwrap_or_else(PoisonError::into_inner).hear(text);
        let mut tell = tell.lock().unwrap_or_else(PoisonError::into_inner);
        event.into_iter().for_each(&mut *tell);
    });
    // SAFETY: the paths end with zero; the lists end with an entry of nothing; they and what they point to outlive the call.
    let code = unsafe { ggml::llama_model_quantize(source.as_ptr(), target.as_ptr(), &params) };
    drop(listening);
    match code {
        0 => Ok(()),
        _ => Err(QuantizeError::Refused(log::reason("llama.cpp refused to quantize it"))),
    }
}

fn path(path: &Path) -> Result<CString, QuantizeError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| QuantizeError::Path(path.to_owned()))
}

/// The patterns as llama.cpp takes them: a list that ends with none.
struct Overrides {
    list: Vec<ggml::llama_model_tensor_override>,
    _patterns: Vec<CString>,
}

impl Overrides {
    fn of(job: &QuantizeJob) -> Result<Overrides, QuantizeError> {
        let refused = |_| QuantizeError::Refused("a pattern of a tensor's name has a zero in it".to_owned());
        let pattern = |one: &TensorOverride| CString::new(one.pattern.as_str());
        let patterns: Vec<CString> = job.overrides.iter().map(pattern).collect::<Result<_, _>>().map_err(refused)?;
        let one = |(pattern, one): (&CString, &TensorOverride)| ggml::llama_model_tensor_override {
            pattern: pattern.as_ptr(),
            type_: one.kind.id as ggml::ggml_type,
        };
        let mut list: Vec<_> = patterns.iter().zip(&job.overrides).map(one).collect();
        list.push(ggml::llama_model_tensor_override { pattern: std::ptr::null(), type_: ggml::GGML_TYPE_COUNT });
        Ok(Overrides { list, _patterns: patterns })
    }
}

/// An importance matrix as llama.cpp takes it: the mean square of each column of each tensor's input.
struct Importance {
    list: Vec<ggml::llama_model_imatrix_data>,
    _means: HashMap<CString, Vec<f32>>,
}

impl Importance {
    fn of(imatrix: &Imatrix) -> Result<Importance, QuantizeError> {
        let refused =
            |_| QuantizeError::Refused("a tensor's name in the importance matrix has a zero in it".to_owned());
        let named = |(name, entry): (&String, &slm_values::imatrix::Importance)| {
            CString::new(name.as_str()).map(|name| (name, entry.means()))
        };
        let means: HashMap<CString, Vec<f32>> =
            imatrix.entries.iter().map(named).collect::<Result<_, _>>().map_err(refused)?;
        let one = |(name, means): (&CString, &Vec<f32>)| ggml::llama_model_imatrix_data {
            name: name.as_ptr(),
            data: means.as_ptr(),
            size: means.len(),
        };
        let mut list: Vec<_> = means.iter().map(one).collect();
        list.push(ggml::llama_model_imatrix_data { name: std::ptr::null(), data: std::ptr::null(), size: 0 });
        Ok(Importance { list, _means: means })
    }
}

/// Keys and values that the new file gets, as llama.cpp takes them: a list that ends with an empty key.
fn metadata(entries: &[(&'static str, ImatrixEntry)]) -> Vec<ggml::llama_model_kv_override> {
    // SAFETY: a structure of numbers and a union of plain values, for which zero bytes are a value: an empty key.
    let empty = || unsafe { std::mem::zeroed::<ggml::llama_model_kv_override>() };
    let fill = |into: &mut [c_char], text: &str| {
        let bytes = &text.as_bytes()[..text.floor_char_boundary(text.len().min(MAX_VALUE_BYTES - 1))];
        into.iter_mut().zip(bytes).for_each(|(into, &byte)| *into = byte as c_char);
    };
    let one = |(key, value): &(&'static str, ImatrixEntry)| {
        let mut entry = empty();
        fill(&mut entry.key, key);
        match value {
            ImatrixEntry::Number(number) => {
                entry.tag = ggml::LLAMA_KV_OVERRIDE_TYPE_INT;
                entry.__bindgen_anon_1.val_i64 = *number;
            }
            ImatrixEntry::Text(text) => {
                entry.tag = ggml::LLAMA_KV_OVERRIDE_TYPE_STR;
                // SAFETY: all of the union's bytes are zero, and the array of bytes spans it.
                fill(unsafe { &mut entry.__bindgen_anon_1.val_str }, text);
            }
        }
        entry
    };
    entries.iter().map(one).chain([empty()]).collect()
}

/// Makes events of the pieces in which llama.cpp writes a line for each tensor.
#[derive(Default)]
struct Hearing {
    tensor: Option<String>,
}

impl Hearing {
    /// `[  12/ 290] blk.0.attn_k.weight  - [ 896,  128, 1, 1], type =    f16, ` begins a tensor, and in a plan
    /// `size =  0.22 MiB ->  0.06 MiB (q4_K)` ends it, without the arrow where it stays as it is.
    fn hear(&mut self, text: &str) -> Option<QuantizeEvent> {
        if text.contains(NEEDS_IMATRIX) {
            return Some(QuantizeEvent::NeedsImatrix);
        }
        let begun = text.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("] "));
        if let Some((_, rest)) = begun
            && let Some((name, _)) = rest.rsplit_once(" - [")
        {
            let tensor = name.trim().to_owned();
            self.tensor = Some(tensor.clone());
            return Some(QuantizeEvent::Begun { tensor });
        }
        if !text.trim_start().starts_with("size =") {
            return None;
        }
        let kind = text.contains("->").then(|| text.rsplit_once('(')).flatten();
        let kind = kind.and_then(|(_, kind)| kind.trim_end().strip_suffix(')')).map(str::to_owned);
        self.tensor.take().map(|tensor| QuantizeEvent::Planned { tensor, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slm_values::quantization::Quantization;

    #[test]
    fn lines_of_the_log_are_heard() {
        let mut hearing = Hearing::default();
        let mut hear = |text: &str| hearing.hear(text);
        let tensor = || "blk.0.attn_k.weight".to_owned();
        let begun = "[  12/ 290] blk.0.attn_k.weight                  - [  896,   128,     1,     1], type =    f16, ";
        assert_eq!(hear(begun), Some(QuantizeEvent::Begun { tensor: tensor() }));
        let kind = Some("q4_K".to_owned());
        assert_eq!(
            hear("size =     0.22 MiB ->     0.06 MiB (q4_K)\n"),
            Some(QuantizeEvent::Planned { tensor: tensor(), kind })
        );
        assert_eq!(hear("size =     0.22 MiB ->     0.06 MiB (q4_K)\n"), None, "no tensor has begun");
        assert_eq!(hear("converting to q4_K .. "), None);
    }

    #[test]
    fn types_have_llama_cpps_numbers() {
        let expected = [
            ("Q1_0", ggml::LLAMA_FTYPE_MOSTLY_Q1_0),
            ("Q2_0", ggml::LLAMA_FTYPE_MOSTLY_Q2_0),
            ("Q4_0", ggml::LLAMA_FTYPE_MOSTLY_Q4_0),
            ("Q4_1", ggml::LLAMA_FTYPE_MOSTLY_Q4_1),
            ("MXFP4_MOE", ggml::LLAMA_FTYPE_MOSTLY_MXFP4_MOE),
            ("Q5_0", ggml::LLAMA_FTYPE_MOSTLY_Q5_0),
            ("Q5_1", ggml::LLAMA_FTYPE_MOSTLY_Q5_1),
            ("IQ2_XXS", ggml::LLAMA_FTYPE_MOSTLY_IQ2_XXS),
            ("IQ2_XS", ggml::LLAMA_FTYPE_MOSTLY_IQ2_XS),
            ("IQ2_S", ggml::LLAMA_FTYPE_MOSTLY_IQ2_S),
            ("IQ2_M", ggml::LLAMA_FTYPE_MOSTLY_IQ2_M),
            ("IQ1_S", ggml::LLAMA_FTYPE_MOSTLY_IQ1_S),
            ("IQ1_M", ggml::LLAMA_FTYPE_MOSTLY_IQ1_M),
            ("TQ1_0", ggml::LLAMA_FTYPE_MOSTLY_TQ1_0),
            ("TQ2_0", ggml::LLAMA_FTYPE_MOSTLY_TQ2_0),
            ("Q2_K", ggml::LLAMA_FTYPE_MOSTLY_Q2_K),
            ("Q2_K_S", ggml::LLAMA_FTYPE_MOSTLY_Q2_K_S),
            ("IQ3_XXS", ggml::LLAMA_FTYPE_MOSTLY_IQ3_XXS),
            ("IQ3_S", ggml::LLAMA_FTYPE_MOSTLY_IQ3_S),
            ("IQ3_M", ggml::LLAMA_FTYPE_MOSTLY_IQ3_M),
            ("IQ3_XS", ggml::LLAMA_FTYPE_MOSTLY_IQ3_XS),
            ("Q3_K_S", ggml::LLAMA_FTYPE_MOSTLY_Q3_K_S),
            ("Q3_K_M", ggml::LLAMA_FTYPE_MOSTLY_Q3_K_M),
            ("Q3_K_L", ggml::LLAMA_FTYPE_MOSTLY_Q3_K_L),
            ("IQ4_NL", ggml::LLAMA_FTYPE_MOSTLY_IQ4_NL),
            ("IQ4_XS", ggml::LLAMA_FTYPE_MOSTLY_IQ4_XS),
            ("Q4_K_S", ggml::LLAMA_FTYPE_MOSTLY_Q4_K_S),
            ("Q4_K_M", ggml::LLAMA_FTYPE_MOSTLY_Q4_K_M),
            ("Q5_K_S", ggml::LLAMA_FTYPE_MOSTLY_Q5_K_S),
            ("Q5_K_M", ggml::LLAMA_FTYPE_MOSTLY_Q5_K_M),
            ("Q6_K", ggml::LLAMA_FTYPE_MOSTLY_Q6_K),
            ("Q8_0", ggml::LLAMA_FTYPE_MOSTLY_Q8_0),
            ("F16", ggml::LLAMA_FTYPE_MOSTLY_F16),
            ("BF16", ggml::LLAMA_FTYPE_MOSTLY_BF16),
            ("F32", ggml::LLAMA_FTYPE_ALL_F32),
        ];
        let known: Vec<_> = Quantization::all().map(|kind| (kind.name, kind.file_type as ggml::llama_ftype)).collect();
        assert_eq!(known, expected);
    }
}
