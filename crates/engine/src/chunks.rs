//! Where a scored prompt is cut into decodes, and how much of one question serves the next.
//!
//! Pure: it sees tokens and positions only. llama.cpp's results depend on how many rows a decode has, so a chunk is the
//! unit that is evaluated, kept and restored: whole or not at all.

use std::ops::Range;

use super::Token;

/// The decodes of a trunk of `n_tokens`: cut at the stable border and every `n_batch` tokens from each cut.
///
/// Depends on the prompt alone, never on what a lane holds. A border outside the prompt is not a border.
#[must_use]
pub fn chunks(n_tokens: usize, border: usize, n_batch: usize) -> Vec<Range<usize>> {
    let border = if border < n_tokens { border } else { 0 };
    let mut chunks = Vec::new();
    for segment in [0..border, border..n_tokens] {
        let mut from = segment.start;
        while from < segment.end {
            let to = (from + n_batch).min(segment.end);
            chunks.push(from..to);
            from = to;
        }
    }
    chunks
}

/// Tokens of `resident` (whole chunks, by their lengths) that the new trunk's chunks begin with exactly.
#[must_use]
pub fn common_chunks(resident: &[Vec<Token>], tokens: &[Token], chunks: &[Range<usize>]) -> usize {
    resident.iter().zip(chunks).take_while(|(kept, chunk)| kept.as_slice() == &tokens[(*chunk).clone()]).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chunks_start_at_the_border() {
        assert_eq!(chunks(10, 4, 8), [0..4, 4..10]);
        assert_eq!(chunks(10, 0, 4), [0..4, 4..8, 8..10]);
        assert_eq!(chunks(10, 10, 8), [0..8, 8..10]);
        assert_eq!(chunks(9, 5, 4), [0..4, 4..5, 5..9]);
        assert!(chunks(0, 0, 4).is_empty());
    }

    #[test]
    fn only_whole_identical_chunks_are_common() {
        let resident = vec![vec![1, 2], vec![3]];
        assert_eq!(common_chunks(&resident, &[1, 2, 3, 4], &[0..2, 2..4]), 1);
        assert_eq!(common_chunks(&resident, &[1, 2, 3, 4], &[0..2, 2..3, 3..4]), 2);
        assert_eq!(common_chunks(&resident, &[1, 9, 3], &[0..2, 2..3]), 0);
    }

    proptest! {
        #[test]
        fn chunks_cover_the_prompt_in_order(n in 1usize..3000, border in 0usize..3000, batch in 1usize..600) {
            let chunks = chunks(n, border, batch);
            prop_assert_eq!(chunks[0].start, 0);
            prop_assert_eq!(chunks[chunks.len() - 1].end, n);
            prop_assert!(chunks.windows(2).all(|w| w[0].end == w[1].start));
            prop_assert!(chunks.iter().all(|c| !c.is_empty() && c.len() <= batch));
            prop_assert!(border == 0 || border >= n || chunks.iter().any(|c| c.start == border));
        }
    }
}
