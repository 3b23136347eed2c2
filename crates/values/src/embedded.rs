//! A model inside the binary: its name, its weights and its Modelfile; it knows no store.

use crate::model_ref::ModelRef;

/// A model that lives in the binary's own memory.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedModel {
    name: &'static str,
    /// A whole GGUF file.
    pub gguf: &'static [u8],
    /// The Modelfile's text; what its `FROM` says is `gguf`.
    pub modelfile: &'static str,
}

impl EmbeddedModel {
    /// A model of that name, which is one that [`ModelRef`] parses.
    #[must_use]
    pub const fn new(name: &'static str, gguf: &'static [u8], modelfile: &'static str) -> EmbeddedModel {
        EmbeddedModel { name, gguf, modelfile }
    }

    #[must_use]
    pub fn name(&self) -> ModelRef {
        self.name.parse().expect("an embedded model's name is written in the source and tested")
    }
}

/// `triage`: a support ticket to its queue, urgency and refund, trained by us; see its card in `Modelfiles/triage/`.
pub const TRIAGE: EmbeddedModel = EmbeddedModel::new(
    "triage",
    include_bytes!("../../../Modelfiles/triage/triage.gguf"),
    include_str!("../../../Modelfiles/triage/Modelfile"),
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Header;
    use crate::modelfile::{Format, Modelfile};

    #[test]
    fn triage_is_a_model_with_a_contract() {
        assert_eq!(TRIAGE.name().to_string(), "triage:latest");
        let header = Header::read(TRIAGE.gguf, TRIAGE.gguf.len() as u64).unwrap();
        assert!(!header.tensors.is_empty() && header.chat_template().is_some());
        // What the binary may hold of it at most.
        assert!(TRIAGE.gguf.len() <= 4 << 20, "{} bytes", TRIAGE.gguf.len());
        let modelfile = Modelfile::parse(TRIAGE.modelfile).unwrap();
        assert!(matches!(modelfile.format, Some(Format::Schema(_))), "{:?}", modelfile.format);
    }
}
