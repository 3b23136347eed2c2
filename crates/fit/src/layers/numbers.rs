//! Named lists of numbers as safetensors: in the order of their names, all of one dimension.
//!
//! The format and its reader are Hugging Face's crate, which every model goes through elsewhere: it checks offsets and sizes, and the
//! numbers of a fit can be read by any other tool.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::FitLayerError;

/// No number of a fit is near it, and sums and products of smaller ones are finite.
const LARGEST: f64 = 1e9;

/// Collects lists.
#[derive(Default)]
pub(super) struct Writer {
    lists: BTreeMap<String, (Dtype, usize, Vec<u8>)>,
}

impl Writer {
    pub fn f64s(&mut self, name: String, values: &[f64]) {
        self.put(name, Dtype::F64, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    pub fn f32s(&mut self, name: String, values: &[f32]) {
        self.put(name, Dtype::F32, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    pub fn u32s(&mut self, name: String, values: &[u32]) {
        self.put(name, Dtype::U32, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    fn put(&mut self, name: String, dtype: Dtype, n: usize, bytes: Vec<u8>) {
        self.lists.insert(name, (dtype, n, bytes));
    }

    pub fn bytes(self) -> Vec<u8> {
        let views = self.lists.iter().map(|(name, (dtype, n, bytes))| {
            let view = TensorView::new(*dtype, vec![*n], bytes).expect("a list has as many bytes as its numbers");
            (name.as_str(), view)
        });
        safetensors::serialize(views, None).expect("lists have names that differ")
    }
}

/// Gives lists by their names.
pub(super) struct Reader<'a> {
    tensors: Option<SafeTensors<'a>>,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, FitLayerError> {
        // A fit that does nothing to any field needs no numbers.
        if bytes.is_empty() {
            return Ok(Reader { tensors: None });
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| FitLayerError::Numbers(error.to_string()))?;
        Ok(Reader { tensors: Some(tensors) })
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.as_ref().is_some_and(|tensors| tensors.tensor(name).is_ok())
    }

    /// `n` numbers of this name, or any number of them.
    pub fn f64s(&self, name: &str, n: Option<usize>) -> Result<Vec<f64>, FitLayerError> {
        let values: Vec<f64> = self.list(name, Dtype::F64, n, |bytes: [u8; 8]| f64::from_le_bytes(bytes))?;
        match values.iter().find(|value| value.is_nan() || value.abs() > LARGEST) {
            Some(&value) => Err(FitLayerError::OutOfRange { name: name.to_owned(), value }),
            None => Ok(values),
        }
    }

    pub fn f32s(&self, name: &str, n: Option<usize>) -> Result<Vec<f32>, FitLayerError> {
        let values: Vec<f32> = self.list(name, Dtype::F32, n, |bytes: [u8; 4]| f32::from_le_bytes(bytes))?;
        match values.iter().find(|value| value.is_nan() || f64::from(value.abs()) > LARGEST) {
            Some(&value) => Err(FitLayerError::OutOfRange { name: name.to_owned(), value: value.into() }),
            None => Ok(values),
        }
    }

    pub fn u32s(&self, name: &str, n: usize) -> Result<Vec<u32>, FitLayerError> {
        self.list(name, Dtype::U32, Some(n), |bytes: [u8; 4]| u32::from_le_bytes(bytes))
    }

    fn list<T, const N: usize>(
        &self,
        name: &str,
        dtype: Dtype,
        n: Option<usize>,
        number: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, FitLayerError> {
        let missing = || FitLayerError::Missing(name.to_owned());
        let view = self.tensors.as_ref().and_then(|tensors| tensors.tensor(name).ok()).ok_or_else(missing)?;
        let of = |shape: &[usize]| shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
        let is_right = view.dtype() == dtype && view.shape().len() == 1 && n.is_none_or(|n| view.shape()[0] == n);
        if !is_right {
            return Err(FitLayerError::Shape {
                name: name.to_owned(),
                found: format!("{} numbers of type {:?}", of(view.shape()), view.dtype()),
                wanted: format!("{} of type {dtype:?}", n.map_or("some".to_owned(), |n| n.to_string())),
            });
        }
        let chunks = view.data().chunks_exact(N);
        Ok(chunks.map(|chunk| number(chunk.try_into().expect("chunks have that length"))).collect())
    }
}
