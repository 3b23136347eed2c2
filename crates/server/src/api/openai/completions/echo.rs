//! The prompt that an answer begins with, and how likely its own tokens are.

use super::logprobs::{CompletionLogprobs, TextOffset};
use slm_engine::PromptTokenLogprob;
use slm_infer::infer::Given;

/// What the answers to one prompt begin with.
#[derive(Debug, Clone, Default)]
pub struct Echo {
    pub text: String,
    /// Of the prompt's tokens, where they are told.
    pub logprobs: Option<CompletionLogprobs>,
    /// Where an answer goes on.
    pub end: TextOffset,
}

impl Echo {
    /// The prompt alone.
    #[must_use]
    pub fn of_text(text: String) -> Echo {
        let mut end = TextOffset::default();
        end.pass(text.as_bytes());
        Echo { text, logprobs: None, end }
    }

    /// The prompt with its tokens.
    #[must_use]
    pub fn of_tokens(given: &Given, tokens: &[PromptTokenLogprob]) -> Echo {
        let bytes: Vec<&[u8]> = tokens.iter().map(|token| token.bytes.as_slice()).collect();
        let (text, written) = match given {
            Given::Raw(text) => (text.clone(), written(text, &bytes)),
            Given::Tokens(_) | Given::Infill { .. } => {
                (String::from_utf8_lossy(&bytes.concat()).into_owned(), bytes.clone())
            }
        };
        let mut end = TextOffset::default();
        let logprobs = CompletionLogprobs::of_prompt(tokens, &written, &mut end);
        Echo { text, logprobs: Some(logprobs), end }
    }
}

/// What each of a text's tokens wrote in it. What a tokenizer puts before a text wrote nothing: the token that begins every
/// text, SentencePiece's space.
fn written<'t>(text: &str, tokens: &[&'t [u8]]) -> Vec<&'t [u8]> {
    let mut rest = text.as_bytes();
    let mut wrote = |number: usize, bytes: &'t [u8]| -> &'t [u8] {
        let n_skipped = if rest.starts_with(bytes) {
            0
        } else if bytes.first() == Some(&b' ') && rest.starts_with(&bytes[1..]) {
            1
        } else if number == 0 {
            bytes.len()
        } else {
            // A tokenizer that changes texts: as much of the text as the token is long.
            bytes.len() - bytes.len().min(rest.len())
        };
        let own = &bytes[n_skipped..];
        rest = &rest[own.len()..];
        own
    };
    tokens.iter().enumerate().map(|(number, bytes)| wrote(number, bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use slm_engine::LikelyToken;

    fn texts<'t>(text: &str, tokens: &[&'t str]) -> Vec<&'t str> {
        let bytes: Vec<&[u8]> = tokens.iter().map(|token| token.as_bytes()).collect();
        written(text, &bytes).into_iter().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect()
    }

    #[test]
    fn what_a_tokenizer_puts_before_a_text_wrote_nothing_in_it() {
        assert_eq!(texts("ab c", &["ab", " c"]), ["ab", " c"]);
        assert_eq!(texts("ab", &["<s>", "a", "b"]), ["", "a", "b"]);
        assert_eq!(texts("<s>ab", &["<s>", " ab"]), ["<s>", "ab"]);
        assert_eq!(texts("ab c", &["<s>", " ab", " c"]), ["", "ab", " c"]);
        assert_eq!(texts("\na", &["<s>", " ", "\n", "a"]), ["", "", "\n", "a"]);
        assert_eq!(texts(" a", &["<s>", " ", " a"]), ["", " ", "a"]);
        // What it changed keeps its length, as far as there is text.
        assert_eq!(texts("ABC", &["ab", "cd"]), ["", "cd"]);
        assert_eq!(texts("A", &["x", "ab", "c"]), ["", "b", ""]);
    }

    fn token(bytes: &str, logprob: Option<f64>) -> PromptTokenLogprob {
        let likely = logprob.map(|_| LikelyToken { id: 9, bytes: b"z".to_vec(), logprob: -0.25 });
        PromptTokenLogprob { id: 1, bytes: bytes.into(), logprob, likely: likely.into_iter().collect() }
    }

    #[test]
    fn the_first_token_has_no_probability() {
        let tokens = [token("<s>", None), token(" é", Some(-1.0)), token("b", Some(-2.0))];
        let mut echo = Echo::of_tokens(&Given::Raw("éb".to_owned()), &tokens);
        let expected = json!({"text_offset": [0, 0, 1], "token_logprobs": [null, -1.0, -2.0], "tokens": ["<s>", " é", "b"],
            "top_logprobs": [null, {"z": -0.25, " é": -1.0}, {"z": -0.25, "b": -2.0}]});
        assert_eq!((json!(echo.logprobs), echo.text.as_str()), (expected, "éb"));
        assert_eq!(echo.end.pass(b"x"), 2);
        // Tokens are written as they are.
        let mut echo = Echo::of_tokens(&Given::Tokens(vec![1, 2]), &tokens[..2]);
        assert_eq!((echo.text.as_str(), echo.end.pass(b"x")), ("<s> é", 5));
        assert_eq!(Echo::of_text("éb".to_owned()).end.pass(b""), 2);
    }
}
