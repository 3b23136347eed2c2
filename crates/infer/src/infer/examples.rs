//! Labelled texts of a model, of which the nearest to a text come before it in its prompt. It finds them, and neither renders nor embeds.

use std::sync::Arc;

use slm_stats::words::{Baseline, Nearest};
use slm_values::digest::Hasher;
use slm_values::examples::LabelledText;

/// What a model's `EXAMPLES` gives each request.
#[derive(Debug, Clone)]
pub struct Examples(Arc<Indexed>);

#[derive(Debug)]
struct Indexed {
    rows: Vec<LabelledText>,
    k: usize,
    nearness: Nearness,
    id: String,
}

/// What says how near two texts are.
#[derive(Debug)]
enum Nearness {
    Words(Box<Nearest>),
    Vectors(Vectors),
}

/// An embedding model's vectors of labelled texts.
#[derive(Debug, Clone)]
pub struct Vectors {
    /// One after the other, all of one length, each of length 1.
    pub numbers: Vec<f32>,
    /// Identifies the embedding model.
    pub by: String,
}

impl Examples {
    /// `k` of these texts are to come before each text: those that share most words with it.
    #[must_use]
    pub fn new(rows: Vec<LabelledText>, k: u8) -> Examples {
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        // As the bag of words of evaluations: what tells labels apart also tells which texts are alike.
        let nearest = Nearest::of(&Baseline::default().terms, &texts);
        let id = hashed(&rows, k).finish().id();
        Examples(Arc::new(Indexed { rows, k: usize::from(k), nearness: Nearness::Words(Box::new(nearest)), id }))
    }

    /// `k` of these texts are to come before each text: those with the nearest vectors, of which `vectors` has one for each of them.
    #[must_use]
    pub fn by_vectors(rows: Vec<LabelledText>, k: u8, vectors: Vectors) -> Examples {
        let mut hash = hashed(&rows, k);
        hash.update(vectors.by.as_bytes());
        vectors.numbers.iter().for_each(|number| hash.update(&number.to_le_bytes()));
        let id = hash.finish().id();
        Examples(Arc::new(Indexed { rows, k: usize::from(k), nearness: Nearness::Vectors(vectors), id }))
    }

    /// Whether a text's own vector is needed to find its examples.
    #[must_use]
    pub fn are_by_vectors(&self) -> bool {
        matches!(self.0.nearness, Nearness::Vectors(_))
    }

    /// The examples of a text, the nearest last: what is read last counts most. A row with the text itself is never among them,
    /// so that an evaluation on these very rows says what other texts get. `vector` is the text's own, where that is needed.
    #[must_use]
    pub fn of(&self, text: &str, vector: Option<&[f32]>) -> Vec<&LabelledText> {
        let Indexed { rows, k, nearness, .. } = &*self.0;
        let is_other = |number: usize| rows[number].text.trim() != text.trim();
        let nearest = match nearness {
            Nearness::Words(nearest) => nearest.to(text, *k, is_other),
            Nearness::Vectors(vectors) => vectors.nearest(vector.unwrap_or_default(), rows.len(), *k, is_other),
        };
        nearest.into_iter().rev().map(|number| &rows[number]).collect()
    }

    /// Says which rows there are, how many of them are used and how they are found: a part of what a prompt is made of.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }
}

fn hashed(rows: &[LabelledText], k: u8) -> Hasher {
    let mut hash = Hasher::new();
    hash.update(&[k]);
    for row in rows {
        for text in [&row.text, &row.label.to_string()] {
            hash.update(&text.len().to_le_bytes());
            hash.update(text.as_bytes());
        }
    }
    hash
}

impl Vectors {
    /// The numbers of the `k` rows with the nearest vectors, the nearest first, and of equally near ones the first.
    fn nearest(&self, to: &[f32], n_rows: usize, k: usize, counts: impl Fn(usize) -> bool) -> Vec<usize> {
        let length = self.numbers.len() / n_rows.max(1);
        let product = |row: usize| -> f64 {
            let vector = &self.numbers[row * length..(row + 1) * length];
            vector.iter().zip(to).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
        };
        let mut rows: Vec<(usize, f64)> =
            (0..n_rows).filter(|&row| counts(row)).map(|row| (row, product(row))).collect();
        rows.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        rows.truncate(k);
        rows.into_iter().map(|(row, _)| row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows() -> Vec<LabelledText> {
        let row = |(text, label): (&str, &str)| LabelledText { text: text.to_owned(), label: json!(label) };
        [("my card was stolen", "card"), ("the top up failed", "top up"), ("someone stole my card", "card")]
            .map(row)
            .to_vec()
    }

    fn texts<'e>(examples: &'e Examples, text: &str, vector: Option<&[f32]>) -> Vec<&'e str> {
        examples.of(text, vector).into_iter().map(|row| row.text.as_str()).collect()
    }

    fn by_vectors(numbers: &[f32]) -> Examples {
        Examples::by_vectors(rows(), 2, Vectors { numbers: numbers.to_vec(), by: "mini".to_owned() })
    }

    #[test]
    fn the_nearest_comes_last_and_no_text_is_its_own_example() {
        let examples = Examples::new(rows(), 2);
        assert_eq!(texts(&examples, "a card was stolen", None), ["someone stole my card", "my card was stolen"]);
        assert_eq!(texts(&examples, " my card was stolen\n", None), ["the top up failed", "someone stole my card"]);
    }

    #[test]
    fn vectors_say_what_is_near_where_there_are_some() {
        let examples = by_vectors(&[1.0, 0.0, 0.8, 0.6, 0.0, 1.0]);
        assert!(examples.are_by_vectors() && !Examples::new(rows(), 2).are_by_vectors());
        assert_eq!(texts(&examples, "x", Some(&[0.6, 0.8])), ["someone stole my card", "the top up failed"]);
        assert_eq!(texts(&examples, "x", Some(&[1.0, 0.0])), ["the top up failed", "my card was stolen"]);
        assert_eq!(
            texts(&examples, "my card was stolen", Some(&[1.0, 0.0])),
            ["someone stole my card", "the top up failed"]
        );
    }

    #[test]
    fn other_rows_another_number_and_other_vectors_are_other_examples() {
        let id = |rows, k| Examples::new(rows, k).id().to_owned();
        let mut other = rows();
        other[0].label = json!("account");
        let vectors = [by_vectors(&[1.0; 6]), by_vectors(&[0.5; 6])].map(|examples| examples.id().to_owned());
        let [first, second] = vectors;
        let ids = [id(rows(), 2), id(rows(), 3), id(other, 2), id(rows()[..2].to_vec(), 2), first, second];
        assert_eq!(id(rows(), 2), ids[0]);
        assert!((1..6).all(|i| ids[..i].iter().all(|known| *known != ids[i])), "{ids:?}");
    }
}
