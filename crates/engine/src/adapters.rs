//! The LoRA adapters of a request and their scales: plain data in a fixed order.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::wire;
use slm_values::digest;

/// One adapter of a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Adapter {
    /// A GGUF file; it is checked before native code reads it.
    #[serde(with = "wire::path")]
    pub path: PathBuf,
    /// Identifies the adapter's weights: the file's digest.
    pub id: String,
    /// Multiplies what the adapter adds to the model; 1 is what it was trained for.
    pub scale: f32,
}

/// The adapters that apply together. Two sets are equal where they change a model in the same way: the same adapters at
/// the same scales, in whatever order someone named them and wherever their files are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Adapter>")]
pub struct AdapterSet(Vec<Adapter>);

impl AdapterSet {
    /// The base model alone.
    pub const NONE: AdapterSet = AdapterSet(Vec::new());

    /// A set of adapters. Scales of one adapter that is named twice add up; a scale of zero changes nothing.
    #[must_use]
    pub fn new(adapters: impl IntoIterator<Item = Adapter>) -> AdapterSet {
        let mut set: Vec<Adapter> = Vec::new();
        for adapter in adapters {
            match set.iter_mut().find(|known| known.id == adapter.id) {
                Some(known) => known.scale += adapter.scale,
                None => set.push(adapter),
            }
        }
        set.retain(|adapter| adapter.scale != 0.0);
        set.sort_by(|one, other| one.id.cmp(&other.id));
        AdapterSet(set)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The adapters in the order of their ids.
    #[must_use]
    pub fn as_slice(&self) -> &[Adapter] {
        &self.0
    }

    /// The evaluation id of answers that these adapters have part in, from the model's own.
    #[must_use]
    pub fn evaluation_id(&self, of_model: &str) -> String {
        if self.is_empty() {
            return of_model.to_owned();
        }
        let mut hash = digest::Hasher::new();
        hash.update(of_model.as_bytes());
        for adapter in &self.0 {
            hash.update(&adapter.id.len().to_le_bytes());
            hash.update(adapter.id.as_bytes());
            hash.update(&adapter.scale.to_bits().to_le_bytes());
        }
        hash.finish().id()
    }
}

impl From<Vec<Adapter>> for AdapterSet {
    fn from(adapters: Vec<Adapter>) -> AdapterSet {
        AdapterSet::new(adapters)
    }
}

impl PartialEq for Adapter {
    fn eq(&self, other: &Adapter) -> bool {
        self.id == other.id && self.scale.to_bits() == other.scale.to_bits()
    }
}

impl Eq for Adapter {}

impl Hash for Adapter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        self.scale.to_bits().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(adapters: &[(&str, f32)]) -> AdapterSet {
        let adapter = |&(id, scale): &(&str, f32)| Adapter { path: PathBuf::from(id), id: id.to_owned(), scale };
        AdapterSet::new(adapters.iter().map(adapter))
    }

    #[test]
    fn sets_are_equal_where_they_do_the_same() {
        assert_eq!(set(&[("a", 1.0), ("b", 0.5)]), set(&[("b", 0.5), ("a", 1.0)]));
        assert_eq!(set(&[("a", 0.25), ("b", 0.0), ("a", 0.75)]), set(&[("a", 1.0)]));
        assert_eq!(set(&[("a", 0.0)]), AdapterSet::NONE);
        assert_ne!(set(&[("a", 1.0)]), set(&[("a", -1.0)]));
    }

    #[test]
    fn the_evaluation_id_names_digests_and_scales() {
        let id = |adapters: &[(&str, f32)]| set(adapters).evaluation_id("model");
        assert_eq!(id(&[]), "model");
        assert_eq!(id(&[("a", 1.0), ("b", 0.5)]), id(&[("b", 0.5), ("a", 1.0)]));
        let ids = [id(&[]), id(&[("a", 1.0)]), id(&[("a", 0.5)]), id(&[("b", 1.0)]), id(&[("a", 1.0), ("b", 1.0)])];
        assert!(ids.iter().enumerate().all(|(n, id)| !ids[..n].contains(id)), "{ids:?}");
    }
}
