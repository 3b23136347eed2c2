//! Labelled texts of a model, of which the nearest to a text come before it in its prompt. It finds them, and renders nothing.

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
    nearest: Nearest,
    id: String,
}

impl Examples {
    /// `k` of these texts are to come before each text.
    #[must_use]
    pub fn new(rows: Vec<LabelledText>, k: u8) -> Examples {
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        // As the bag of words of evaluations: what tells labels apart also tells which texts are alike.
        let nearest = Nearest::of(&Baseline::default().terms, &texts);
        let mut hash = Hasher::new();
        hash.update(&[k]);
        for row in &rows {
            for text in [&row.text, &row.label.to_string()] {
                hash.update(&text.len().to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
        let id = hash.finish().id();
        Examples(Arc::new(Indexed { rows, k: usize::from(k), nearest, id }))
    }

    /// The examples of a text, the nearest last: what is read last counts most. A row with the text itself is never among them,
    /// so that an evaluation on these very rows says what other texts get.
    #[must_use]
    pub fn of(&self, text: &str) -> Vec<&LabelledText> {
        let Indexed { rows, k, nearest, .. } = &*self.0;
        let is_other = |number: usize| rows[number].text.trim() != text.trim();
        nearest.to(text, *k, is_other).into_iter().rev().map(|number| &rows[number]).collect()
    }

    /// Says which rows there are and how many of them are used: a part of what a prompt is made of.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
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

    fn texts<'e>(examples: &'e Examples, text: &str) -> Vec<&'e str> {
        examples.of(text).into_iter().map(|row| row.text.as_str()).collect()
    }

    #[test]
    fn the_nearest_comes_last_and_no_text_is_its_own_example() {
        let examples = Examples::new(rows(), 2);
        assert_eq!(texts(&examples, "a card was stolen"), ["someone stole my card", "my card was stolen"]);
        assert_eq!(texts(&examples, " my card was stolen\n"), ["the top up failed", "someone stole my card"]);
    }

    #[test]
    fn other_rows_and_another_number_are_other_examples() {
        let id = |rows, k| Examples::new(rows, k).id().to_owned();
        let mut other = rows();
        other[0].label = json!("account");
        let ids = [id(rows(), 2), id(rows(), 3), id(other, 2), id(rows()[..2].to_vec(), 2)];
        assert_eq!(id(rows(), 2), ids[0]);
        assert!((1..4).all(|i| ids[..i].iter().all(|known| *known != ids[i])), "{ids:?}");
    }
}
