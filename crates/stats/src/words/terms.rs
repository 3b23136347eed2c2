//! The words and pieces of words of a text, as numbers that stand for them.

/// Which terms of a text count. Texts are in lower case first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// Runs of up to `longest` words that follow each other; a word is letters, digits and `_` (scikit-learn's
    /// `analyzer="word"` with `token_pattern=r"(?u)\b\w+\b"`).
    Words { longest: usize },
    /// Runs of `shortest` to `longest` characters within words between blanks, the blank before and after among them; a word
    /// shorter than that counts once as it is (`analyzer="char_wb"`).
    Pieces { shortest: usize, longest: usize },
}

impl Terms {
    /// Gives every term of a text to `each`, as a 64-bit number: two terms of one vocabulary have the same by a chance of less
    /// than one in a million for a million terms.
    pub(super) fn of(self, text: &str, each: impl FnMut(u64)) {
        let text = text.to_lowercase();
        match self {
            Terms::Words { longest } => words(&text, longest, each),
            Terms::Pieces { shortest, longest } => pieces(&text, shortest, longest, each),
        }
    }
}

fn words(text: &str, longest: usize, mut each: impl FnMut(u64)) {
    let words: Vec<&str> =
        text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
    for first in 0..words.len() {
        let mut hash = Hash::new(b'w');
        for word in &words[first..words.len().min(first + longest)] {
            // No word has a blank, so that runs of words differ where their words do.
            hash = hash.with(word.as_bytes()).with(b" ");
            each(hash.0);
        }
    }
}

fn pieces(text: &str, shortest: usize, longest: usize, mut each: impl FnMut(u64)) {
    for word in text.split_whitespace() {
        let padded = format!(" {word} ");
        let ends: Vec<usize> = padded.char_indices().map(|(at, _)| at).chain([padded.len()]).collect();
        let n_chars = ends.len() - 1;
        for length in shortest..=longest {
            let last = n_chars.saturating_sub(length);
            for first in 0..=last {
                each(Hash::new(b'p').with(&padded.as_bytes()[ends[first]..ends[(first + length).min(n_chars)]]).0);
            }
            if last == 0 {
                break;
            }
        }
    }
}

/// FNV-1a of 64 bits (Fowler, Noll and Vo; RFC 9923), the same everywhere.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn new(kind: u8) -> Self {
        Hash(0xcbf2_9ce4_8422_2325).with(&[kind])
    }

    fn with(self, bytes: &[u8]) -> Self {
        Hash(bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }
}

#[cfg(test)]
mod tests {
    use super::Terms;

    fn n_terms(terms: Terms, text: &str) -> (usize, usize) {
        let mut all = Vec::new();
        terms.of(text, |term| all.push(term));
        let n = all.len();
        all.sort_unstable();
        all.dedup();
        (n, all.len())
    }

    #[test]
    fn terms_are_those_of_scikit_learn() {
        // my, card, card, my card, card card
        assert_eq!(n_terms(Terms::Words { longest: 2 }, "My card; card!"), (5, 4));
        assert_eq!(n_terms(Terms::Words { longest: 1 }, "  ...  "), (0, 0));
        // " ca" "car" "ard" "rd " and " car" "card" "ard "
        assert_eq!(n_terms(Terms::Pieces { shortest: 3, longest: 4 }, "Card"), (7, 7));
        // " ü " has three characters: it counts once, with the shortest length that it has no more than.
        assert_eq!(n_terms(Terms::Pieces { shortest: 3, longest: 5 }, "Ü"), (1, 1));
        assert_eq!(n_terms(Terms::Pieces { shortest: 4, longest: 5 }, "a b"), (2, 2));
    }
}
