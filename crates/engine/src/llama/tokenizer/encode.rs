//! A whole prompt as tokens, with the borders in it, and texts cut to a number of tokens.

use std::ops::Range;

use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;

use super::{Tokenizer, is_c_space};
use crate::{Cut, EngineError, PromptToken, Token, Tokenized};
use slm_values::prompt::{Prompt, Run};

/// A prompt's tokens and the borders in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub tokens: Vec<Token>,
    /// Tokens of the stable part; 0 if the prompt has no stable part.
    pub border: usize,
    /// The text after the last special token and the number of its tokens: what a candidate continues.
    pub tail: String,
    pub n_tail: usize,
}

impl Tokenizer {
    /// A prompt's tokens, with the beginning-of-sequence token once where the vocabulary wants one. Nothing is added to tokens
    /// that the prompt begins with.
    ///
    /// # Errors
    /// [`EngineError::NoSuchToken`] where the template writes a special token that the vocabulary lacks,
    /// [`EngineError::TokenOutOfRange`] where a token's number is outside the vocabulary.
    pub fn encode(&self, prompt: &Prompt) -> Result<Encoded, EngineError> {
        let prompt = self.specials.parsed(prompt);
        let row = prompt.row_start.map(|place| (place.run, place.offset));
        let mut encoded = Encoded { tokens: Vec::new(), border: 0, tail: String::new(), n_tail: 0 };
        let wants_bos = match prompt.runs.first() {
            Some(Run::Control(text)) => self.known(text) != self.bos,
            Some(Run::Tokens(_)) => false,
            _ => true,
        };
        if let (true, true, Some(bos)) = (self.adds_bos, wants_bos, self.bos) {
            encoded.tokens.push(bos);
        }
        for (number, run) in prompt.runs.iter().enumerate() {
            let from = encoded.tokens.len();
            let (text, n_swallowed) = match run {
                Run::Control(special) => {
                    let token = self.special(special)?;
                    // A conversation that continues after its tokens has its BOS among them.
                    let goes_on = number > 0 && matches!(prompt.runs[number - 1], Run::Tokens(_));
                    if !(goes_on && Some(token) == self.bos && encoded.tokens.first() == Some(&token)) {
                        encoded.tokens.push(token);
                    }
                    ("", 0)
                }
                Run::Tokens(tokens) => {
                    tokens.iter().try_for_each(|&token| self.check(token))?;
                    encoded.tokens.extend(tokens);
                    ("", 0)
                }
                Run::Text { text, .. } | Run::Raw(text) => {
                    let range = self.unswallowed(&prompt, number)?;
                    encoded.tokens.extend(self.plain(&text[range.clone()]));
                    (&text[range.clone()], range.start)
                }
            };
            text.clone_into(&mut encoded.tail);
            encoded.n_tail = if text.is_empty() { 0 } else { encoded.tokens.len() - from };
            if let Some((row_run, offset)) = row
                && row_run == number
            {
                let offset = offset.saturating_sub(n_swallowed).min(text.len());
                encoded.border = from + self.tokens_before_row(&encoded.tokens[from..], text, offset);
            }
        }
        Ok(encoded)
    }

    /// The part of a text run that its neighbours leave of it: some vocabularies' special tokens take the white space
    /// after or before them (Phi-3: the line feed after `<|user|>`), as in llama.cpp and in training.
    fn unswallowed(&self, prompt: &Prompt, number: usize) -> Result<Range<usize>, EngineError> {
        let text = prompt.runs[number].text();
        let swallows = |run: Option<&Run>, attribute| match run {
            Some(Run::Control(special)) => {
                self.special(special).map(|token| self.vocab().attr(LlamaToken(token)).contains(attribute))
            }
            _ => Ok(false),
        };
        let before = number.checked_sub(1).and_then(|before| prompt.runs.get(before));
        let front = swallows(before, LlamaTokenAttr::RStrip)?;
        let start = if front { text.len() - text.trim_start_matches(is_c_space).len() } else { 0 };
        let back = swallows(prompt.runs.get(number + 1), LlamaTokenAttr::LStrip)?;
        let end = if back { text.trim_end_matches(is_c_space).len() } else { text.len() };
        Ok(start..end.max(start))
    }

    /// How many of a run's tokens end at or before the last newline in front of the row's first byte.
    fn tokens_before_row(&self, tokens: &[Token], text: &str, offset: usize) -> usize {
        let newline = text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        self.ends(tokens).take_while(|&end| end <= newline).count()
    }

    /// For each of a text's tokens the byte of the text at which it ends: the space that SentencePiece puts in front of
    /// a text is not of the text.
    fn ends<'t>(&'t self, tokens: &'t [Token]) -> impl Iterator<Item = usize> + 't {
        tokens.iter().enumerate().scan(0, |end, (index, &token)| {
            let piece = self.spelling(token);
            let is_added = self.adds_space && index == 0 && piece.starts_with(b" ");
            *end += piece.len() - usize::from(is_added);
            Some(*end)
        })
    }

    /// A prompt's tokens with their texts and kinds, for people.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn describe(&self, prompt: &Prompt) -> Result<Tokenized, EngineError> {
        let encoded = self.encode(prompt)?;
        let token = |&id: &Token| PromptToken { id, bytes: self.spelling(id), kind: self.kind(id) };
        Ok(Tokenized { tokens: encoded.tokens.iter().map(token).collect(), border: encoded.border })
    }

    /// The longest beginning of `text` that is at most `n_tokens` long, ending at a character's border.
    pub fn cut(&self, text: &str, n_tokens: usize) -> Cut {
        let tokens = self.plain(text);
        if tokens.len() <= n_tokens {
            return Cut { n_bytes: text.len(), n_tokens_kept: tokens.len(), n_tokens_cut: 0 };
        }
        // Where the tokens spell the text, they tell where it is to be cut.
        if self.ends(&tokens).last() == Some(text.len()) {
            let end = self.ends(&tokens[..n_tokens]).last().unwrap_or(0);
            let n_bytes = text.floor_char_boundary(end);
            return Cut { n_bytes, n_tokens_kept: n_tokens, n_tokens_cut: tokens.len() - n_tokens };
        }
        let n_bytes = self.longest(text, n_tokens);
        let n_tokens_kept = self.plain(&text[..n_bytes]).len();
        Cut { n_bytes, n_tokens_kept, n_tokens_cut: tokens.len() - n_tokens_kept }
    }

    /// The bytes of a beginning of `text` that is at most `n_tokens` long, found by trying: some vocabularies change texts
    /// before they take them apart.
    fn longest(&self, text: &str, n_tokens: usize) -> usize {
        let fits = |n_bytes: usize| self.plain(&text[..n_bytes]).len() <= n_tokens;
        let (mut fitting, mut step) = (0, n_tokens.max(1) * 4);
        while fitting + step < text.len() && fits(text.floor_char_boundary(fitting + step)) {
            fitting = text.floor_char_boundary(fitting + step);
            step *= 2;
        }
        let mut beyond = (fitting + step).min(text.len());
        while beyond - fitting > 1 {
            let middle = text.floor_char_boundary(fitting.midpoint(beyond));
            if middle == fitting {
                // Inside one character.
                break;
            }
            if fits(middle) {
                fitting = middle;
            } else {
                beyond = middle;
            }
        }
        fitting
    }
}
