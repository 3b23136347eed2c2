//! Names in any case: which stored model a name means if no model has exactly that name.

use super::{Store, StoreError};
use slm_values::model_ref::ModelRef;

impl Store {
    /// The name under which there is the model that someone means: as it is written, or in another case where only one model
    /// has that. A name that nothing has stays as it is.
    ///
    /// What is removed, replaced or sent away is named as it is written: nobody loses a model by a guess.
    ///
    /// # Errors
    /// [`StoreError::Spelling`] where several names differ from it in case alone.
    pub fn spelled(&self, name: &ModelRef) -> Result<ModelRef, StoreError> {
        let is_embedded = self.embedded.is_some_and(|embedded| embedded.name() == *name);
        if is_embedded || self.manifest_path(name).exists() {
            return Ok(name.clone());
        }
        let mut alike: Vec<ModelRef> = self.names().into_iter().filter(|known| known.is_spelt_like(name)).collect();
        match alike.len() {
            0 => Ok(name.clone()),
            1 => Ok(alike.remove(0)),
            _ => Err(StoreError::Spelling { name: name.clone(), alike }),
        }
    }
}
