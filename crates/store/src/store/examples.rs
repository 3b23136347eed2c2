//! Labelled texts of a model: the file that a Modelfile names, held against the format, and the layer that is made of it.

use super::blobs::path_in;
use super::disk::{self, Writing};
use super::{Store, StoreError};
use slm_values::contract::Form;
use slm_values::digest::Digest;
use slm_values::encoding;
use slm_values::examples::{self, LabelledText};
use slm_values::manifest::Layer;
use slm_values::modelfile::{ExamplesSource, Format};
use std::path::{Path, PathBuf};

/// The most bytes of a file of examples, and of the layer.
const MAX_BYTES: u64 = 4 << 20;

/// The examples of a stored model.
#[derive(Debug, Clone)]
pub struct StoredExamples {
    pub path: PathBuf,
    pub digest: Digest,
    pub rows: Vec<LabelledText>,
    /// How many of the nearest come before a text.
    pub k: u8,
}

/// Examples that are not yet a blob.
pub(super) struct NewExamples {
    path: PathBuf,
    rows: Vec<LabelledText>,
    k: u8,
}

/// Reads the file that a Modelfile names.
pub(super) fn read(source: &ExamplesSource, folder: &Path) -> Result<NewExamples, StoreError> {
    let path = path_in(folder, &source.path)?;
    let refused = |reason: String| StoreError::Examples { path: path.clone(), reason };
    let bytes = disk::read(&path, MAX_BYTES)?.ok_or_else(|| refused("it does not exist".to_owned()))?;
    let text = encoding::decode(&bytes).map_err(|error| refused(format!("it cannot be read: {error}")))?;
    let rows = examples::read(&text, &source.text, &source.label).map_err(|error| refused(error.to_string()))?;
    Ok(NewExamples { path, rows, k: source.k })
}

/// Holds that every example is an answer that the format allows.
pub(super) fn check(rows: &[LabelledText], format: Option<&Format>, path: &Path) -> Result<(), StoreError> {
    let form = match format {
        Some(Format::Schema(schema)) => match Form::from_schema(schema.clone()) {
            Ok(form) => form,
            // Whoever uses the schema says what is wrong with it.
            Err(_) => return Ok(()),
        },
        Some(Format::Json) => Form::json(),
        Some(Format::File(_)) | None => return Ok(()),
    };
    for (number, row) in (1..).zip(rows) {
        form.check_example(&row.answer()).map_err(|violation| {
            let label: String = row.answer().chars().take(100).collect();
            let reason = format!("example {number}: the label `{label}` breaks the FORMAT: {violation}");
            StoreError::Examples { path: path.to_owned(), reason }
        })?;
    }
    Ok(())
}

impl NewExamples {
    /// As [`check`].
    pub(super) fn check(&self, format: Option<&Format>) -> Result<(), StoreError> {
        check(&self.rows, format, &self.path)
    }
}

impl Store {
    /// The layer of examples, its blob written.
    pub(super) fn examples_layer(&self, new: &NewExamples, writing: &Writing) -> Result<Layer, StoreError> {
        let bytes = examples::written(&new.rows).into_bytes();
        let n_bytes = bytes.len() as u64;
        if n_bytes > MAX_BYTES {
            let reason = format!("it has {n_bytes} bytes of texts and labels; at most {MAX_BYTES} are kept");
            return Err(StoreError::Examples { path: new.path.clone(), reason });
        }
        Ok(Layer::examples(self.put(&bytes, writing)?, n_bytes, new.k))
    }
}
