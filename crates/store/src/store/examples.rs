//! Labelled texts of a model: the file that a Modelfile names, held against the format, and the layers that are made of it.

use super::blobs::path_in;
use super::disk::{self, Writing};
use super::embedder::{Embedder, StoredEmbedder};
use super::{Store, StoreError};
use slm_values::contract::Form;
use slm_values::digest::Digest;
use slm_values::encoding;
use slm_values::examples::{self, LabelledText};
use slm_values::manifest::{Layer, media_type};
use slm_values::modelfile::{ExamplesSource, Format, FoundBy};
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
    /// The embedding model that finds them; `None` where they are found by their words.
    pub by: Option<StoredEmbedder>,
}

/// Examples that are not yet layers.
#[derive(Debug, Clone)]
pub struct NewExamples {
    path: PathBuf,
    rows: Vec<LabelledText>,
    k: u8,
    by: Option<Embedder>,
    /// A vector for each row, one after the other.
    vectors: Vec<f32>,
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
    #[must_use]
    pub fn rows(&self) -> &[LabelledText] {
        &self.rows
    }

    /// The embedding model that is to find them, whose vectors of the rows are then wanted.
    #[must_use]
    pub fn by(&self) -> Option<&Embedder> {
        self.by.as_ref()
    }

    /// The vectors of the rows, one after the other; empty where there are none.
    #[must_use]
    pub fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// With the embedding model's vectors of the rows, in their order.
    #[must_use]
    pub fn with_vectors(self, vectors: &[Vec<f32>]) -> NewExamples {
        NewExamples { vectors: vectors.concat(), ..self }
    }

    /// Holds that every example is an answer that the format allows.
    ///
    /// # Errors
    /// [`StoreError::Examples`] with the first that is not.
    pub fn check(&self, format: Option<&Format>) -> Result<(), StoreError> {
        check(&self.rows, format, &self.path)
    }

    fn refused(&self, reason: String) -> StoreError {
        StoreError::Examples { path: self.path.clone(), reason }
    }
}

/// Whether a layer is one of those of examples.
pub(super) fn is_of_examples(layer: &Layer) -> bool {
    [media_type::EXAMPLES, media_type::EXAMPLES_EMBEDDER, media_type::EXAMPLES_VECTORS]
        .iter()
        .any(|kind| layer.is(kind))
}

impl Store {
    /// Reads the file of labelled texts that a Modelfile names, and finds the embedding model that it names for them.
    ///
    /// # Errors
    /// [`StoreError`] where the file has no such texts, or there is no such embedding model.
    pub fn read_examples(&self, source: &ExamplesSource, folder: &Path) -> Result<NewExamples, StoreError> {
        let path = path_in(folder, &source.path)?;
        let refused = |reason: String| StoreError::Examples { path: path.clone(), reason };
        let bytes = disk::read(&path, MAX_BYTES)?.ok_or_else(|| refused("it does not exist".to_owned()))?;
        let text = encoding::decode(&bytes).map_err(|error| refused(format!("it cannot be read: {error}")))?;
        let rows = examples::read(&text, &source.text, &source.label).map_err(|error| refused(error.to_string()))?;
        let by = self.embedder(&source.by)?;
        Ok(NewExamples { path, rows, k: source.k, by, vectors: Vec::new() })
    }

    /// Labelled texts that are in no file of their own; `path` says in messages where they come from.
    ///
    /// # Errors
    /// [`StoreError`] where there is no such embedding model.
    pub fn examples_of(
        &self,
        rows: Vec<LabelledText>,
        k: u8,
        by: &FoundBy,
        path: &Path,
    ) -> Result<NewExamples, StoreError> {
        Ok(NewExamples { path: path.to_owned(), rows, k, by: self.embedder(by)?, vectors: Vec::new() })
    }

    /// The layers of examples, their blobs written.
    pub(super) fn examples_layers(&self, new: &NewExamples, writing: &Writing) -> Result<Vec<Layer>, StoreError> {
        let bytes = examples::written(&new.rows).into_bytes();
        let n_bytes = bytes.len() as u64;
        if n_bytes > MAX_BYTES {
            let most = MAX_BYTES;
            return Err(new.refused(format!("it has {n_bytes} bytes of texts and labels; at most {most} are kept")));
        }
        let mut layers = vec![Layer::examples(self.put(&bytes, writing)?, n_bytes, new.k)];
        if let Some(embedder) = &new.by {
            let kept = self.vectors_layer(&new.vectors, new.rows.len(), writing);
            let vectors = kept?.map_err(|reason| new.refused(reason))?;
            layers.extend([self.embedder_layer(embedder)?, vectors]);
        }
        Ok(layers)
    }
}
