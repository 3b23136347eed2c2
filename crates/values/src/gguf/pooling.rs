//! How an embedding model makes one vector of a text's rows, as its header says it.

use super::header::Header;

/// llama.cpp's `llama_pooling_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// A row for each token.
    None,
    Mean,
    /// The first token's row.
    Cls,
    /// The last token's row.
    Last,
    /// A classifier's scores for the whole text: a reranker.
    Rank,
}

/// Architectures that look ahead and so cannot write text.
const ENCODERS: [&str; 11] = [
    "bert",
    "clef",
    "eurobert",
    "gemma-embedding",
    "jina-bert-v2",
    "jina-bert-v3",
    "llama-embed",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
];

impl Pooling {
    /// The pooling of llama.cpp's number.
    #[must_use]
    pub fn of(number: u64) -> Option<Pooling> {
        [Pooling::None, Pooling::Mean, Pooling::Cls, Pooling::Last, Pooling::Rank]
            .get(usize::try_from(number).ok()?)
            .copied()
    }

    /// Whether models of an architecture embed and cannot write.
    #[must_use]
    pub fn is_encoder(architecture: &str) -> bool {
        ENCODERS.contains(&architecture)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Pooling::None => "none",
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
            Pooling::Last => "last",
            Pooling::Rank => "rank",
        }
    }
}

impl Header {
    /// How the model pools, where it is one for embeddings: its header names a pooling, or its architecture can do nothing
    /// else.
    #[must_use]
    pub fn embeds(&self) -> Option<Pooling> {
        let said = self.number(&self.of_architecture("pooling_type")).and_then(Pooling::of);
        match said {
            Some(pooling) if pooling != Pooling::None => Some(pooling),
            _ => Pooling::is_encoder(self.architecture()).then_some(Pooling::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::testing::tiny_llama;

    #[test]
    fn a_model_embeds_where_its_header_says_so() {
        let embeds = |number: Option<u32>| {
            let writer = tiny_llama();
            let bytes = number.map_or(writer.clone(), |n| writer.number("llama.pooling_type", n)).bytes();
            Header::read(bytes.as_slice(), bytes.len() as u64).unwrap().embeds()
        };
        assert_eq!([embeds(None), embeds(Some(0))], [None; 2]);
        assert_eq!([embeds(Some(3)), embeds(Some(4))], [Some(Pooling::Last), Some(Pooling::Rank)]);
        assert!(Pooling::is_encoder("nomic-bert") && !Pooling::is_encoder("llama"));
    }
}
