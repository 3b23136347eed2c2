//! Gives a model a second name: copies its manifest, not its blobs.

use super::{Model, Store, StoreError, disk};
use slm_values::manifest::MAX_MANIFEST_BYTES;
use slm_values::model_ref::ModelRef;
use slm_values::modelfile::{BaseSource, Modelfile};
use slm_values::progress::Silent;
use std::path::Path;

impl Store {
    /// Makes `destination` a name of the model that `source` names, in place of one that has it. The binary's own model is
    /// written into the store for it.
    ///
    /// # Errors
    /// [`StoreError`] where there is no such model, or it is broken; the destination is then as it was before.
    pub fn copy(&self, source: &ModelRef, destination: &ModelRef) -> Result<Model, StoreError> {
        // While a writer holds the lock nobody removes what it has just found.
        let writing = self.begin_writing()?;
        let source = &self.resolve(source)?.name;
        let Some(json) = disk::read(&self.manifest_path(source), MAX_MANIFEST_BYTES)? else {
            drop(writing);
            return self.create(
                destination,
                &Modelfile::new(BaseSource::Name(source.clone().into())),
                Path::new(""),
                &Silent,
            );
        };
        let place = self.manifest_path(destination);
        disk::create_folder(place.parent().expect("a manifest lies in four folders"), self.root())?;
        disk::write(&place, &json, &writing)?;
        drop(writing);
        self.resolve(destination)
    }
}
