//! Labels by the fields that have them.

use serde_json::Value;

/// Labels by the field that has them; the field without a name is that of an answer that is one value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labels(pub Vec<(Option<String>, Vec<Value>)>);

impl Labels {
    /// Whether a field of this name has one of them.
    #[must_use]
    pub fn has(&self, field: Option<&str>, label: &Value) -> bool {
        let is_of = |name: &Option<String>| name.as_deref() == field;
        self.0.iter().any(|(name, labels)| is_of(name) && labels.contains(label))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
