//! Prompts to tokens, so that nobody's words become control tokens.
//!
//! A run that the template wrote as one special token is looked up; every other run is tokenized in one call with
//! `parse_special` off. llama.cpp still matches USER_DEFINED tokens then, so what comes out is checked token by token: a
//! special one that text spelled is taken apart into the vocabulary's single characters or bytes.

use std::collections::HashMap;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use llama_cpp_2::vocab::LlamaVocab;

use super::super::{Cut, EngineError, PromptToken, Token, TokenKind, Tokenized};
use crate::template::{Prompt, Run, SpecialTokens};

/// One model's vocabulary with what tokenizing safely needs to know of it.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    /// Every CONTROL, USER_DEFINED and end-of-generation token by its text.
    specials: HashMap<String, Token>,
    /// The same by number.
    is_special: Vec<bool>,
    /// Plain tokens of one byte each, where the vocabulary has them: what a special token's text is taken apart into.
    bytes: Vec<Option<Token>>,
    bos: Option<Token>,
    adds_bos: bool,
    eos: Option<Token>,
    turn_end: Option<Token>,
}

/// The vocabulary of a model that outlives it: a lane's tokenizer is used only beside its model.
#[derive(Debug)]
struct Vocabulary(LlamaVocab<'static>);

/// A prompt's tokens and the borders in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub tokens: Vec<Token>,
    /// Tokens of the stable part; 0 where there is none.
    pub border: usize,
    /// The text behind the last special token and the number of its tokens: what a candidate continues.
    pub tail: String,
    pub n_tail: usize,
}

impl Tokenizer {
    /// The tokenizer of `model`, which must live longer.
    pub fn new(model: &LlamaModel) -> Self {
        // SAFETY: `Model` owns both and drops the tokenizer with the model; the vocabulary is only read.
        let vocab = unsafe { std::mem::transmute::<LlamaVocab<'_>, LlamaVocab<'static>>(model.vocab()) };
        let n_tokens = usize::try_from(vocab.n_tokens()).unwrap_or(0);
        let mut specials = HashMap::new();
        let mut is_special = vec![false; n_tokens];
        let mut bytes = vec![None; 256];
        for id in 0..vocab.n_tokens() {
            let token = LlamaToken(id);
            let kind = kind(&vocab, token);
            let index = usize::try_from(id).expect("counted from 0");
            is_special[index] = matches!(kind, TokenKind::Control | TokenKind::UserDefined) || vocab.is_eog(token);
            if is_special[index] {
                let text = String::from_utf8_lossy(&vocab.token_to_piece(token, true, None)).into_owned();
                if !text.is_empty() {
                    specials.entry(text).or_insert(id);
                }
            } else if let [byte] = vocab.token_to_piece(token, false, None)[..] {
                // A token of the byte kind is the fallback; the plain one is what a tokenizer would choose.
                let slot = &mut bytes[usize::from(byte)];
                if slot.is_none() || kind == TokenKind::Normal {
                    *slot = Some(id);
                }
            }
        }
        let valid = |token: LlamaToken| (0..vocab.n_tokens()).contains(&token.0).then_some(token.0);
        let (bos, eos) = (valid(vocab.bos()), valid(vocab.eos()));
        let turn_end = valid(vocab.eot()).or(eos);
        let adds_bos = vocab.should_add_bos();
        Tokenizer { vocabulary: Vocabulary(vocab), specials, is_special, bytes, bos, adds_bos, eos, turn_end }
    }

    fn vocab(&self) -> &LlamaVocab<'static> {
        &self.vocabulary.0
    }

    /// The special tokens' texts, for the chat template.
    pub fn specials(&self) -> SpecialTokens {
        let text = |token: Option<Token>| token.map(|token| self.text(token)).unwrap_or_default();
        let mut control: Vec<String> = self.specials.keys().cloned().collect();
        control.sort();
        SpecialTokens { bos: text(self.bos), eos: text(self.eos), control }
    }

    /// The token that ends an answer: `text`'s, else the model's own end of turn.
    ///
    /// # Errors
    /// [`EngineError::NoSuchToken`], [`EngineError::NoTurnEnd`].
    pub fn turn_end(&self, text: Option<&str>) -> Result<Token, EngineError> {
        match text {
            Some(text) => self.specials.get(text).copied().ok_or_else(|| EngineError::NoSuchToken(text.to_owned())),
            None => self.turn_end.ok_or(EngineError::NoTurnEnd),
        }
    }

    /// Whether the token ends a generation.
    pub fn is_end(&self, token: Token) -> bool {
        self.vocab().is_eog(LlamaToken(token))
    }

    /// The bytes that a generated token adds to the text; special tokens add none.
    pub fn piece(&self, token: Token) -> Vec<u8> {
        self.vocab().token_to_piece(LlamaToken(token), false, None)
    }

    fn text(&self, token: Token) -> String {
        String::from_utf8_lossy(&self.vocab().token_to_piece(LlamaToken(token), true, None)).into_owned()
    }

    /// Plain text to tokens, none of them special.
    pub fn plain(&self, text: &str) -> Vec<Token> {
        let raw = self.vocab().tokenize(text.as_bytes(), false, false);
        if !raw.iter().any(|token| self.is_special(token.0)) {
            return raw.into_iter().map(|token| token.0).collect();
        }
        raw.into_iter()
            .flat_map(|LlamaToken(id)| if self.is_special(id) { self.taken_apart(id) } else { vec![id] })
            .collect()
    }

    fn is_special(&self, token: Token) -> bool {
        usize::try_from(token).ok().and_then(|i| self.is_special.get(i)).copied().unwrap_or(false)
    }

    /// A special token's text in plain single-byte tokens; nothing where the vocabulary has none for a byte.
    fn taken_apart(&self, token: Token) -> Vec<Token> {
        let text = self.vocab().token_to_piece(LlamaToken(token), true, None);
        text.into_iter().filter_map(|byte| self.bytes[usize::from(byte)]).collect()
    }

    /// A prompt's tokens, with the beginning-of-sequence token once where the vocabulary wants one.
    ///
    /// # Errors
    /// [`EngineError::NoSuchToken`] where the template writes a special token that the vocabulary lacks.
    pub fn encode(&self, prompt: &Prompt) -> Result<Encoded, EngineError> {
        let row = prompt.row_start.map(|place| (place.run, place.offset));
        let mut encoded = Encoded { tokens: Vec::new(), border: 0, tail: String::new(), n_tail: 0 };
        let starts_with_bos = match prompt.runs.first() {
            Some(Run::Control(text)) => self.bos.is_some() && self.specials.get(text).copied() == self.bos,
            _ => false,
        };
        if let (true, false, Some(bos)) = (self.adds_bos, starts_with_bos, self.bos) {
            encoded.tokens.push(bos);
        }
        for (number, run) in prompt.runs.iter().enumerate() {
            let from = encoded.tokens.len();
            match run {
                Run::Control(text) => {
                    let token = self.specials.get(text).ok_or_else(|| EngineError::NoSuchToken(text.clone()))?;
                    encoded.tokens.push(*token);
                    encoded.tail.clear();
                    encoded.n_tail = 0;
                }
                Run::Text { text, .. } => {
                    encoded.tokens.extend(self.plain(text));
                    encoded.tail.clone_from(text);
                    encoded.n_tail = encoded.tokens.len() - from;
                }
            }
            if let Some((row_run, offset)) = row
                && row_run == number
            {
                let text = if let Run::Text { text, .. } = run { text.as_str() } else { "" };
                encoded.border = from + self.tokens_before_row(&encoded.tokens[from..], text, offset);
            }
        }
        Ok(encoded)
    }

    /// How many of a run's tokens end at or before the last newline in front of the row's first byte.
    fn tokens_before_row(&self, tokens: &[Token], text: &str, offset: usize) -> usize {
        let newline = text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let mut end = 0;
        let mut count = 0;
        for &token in tokens {
            end += self.width(token, text, end);
            if end > newline {
                break;
            }
            count += 1;
        }
        count
    }

    /// Bytes of `text` that `token` stands for when it begins at `at`: a leading space that the tokenizer put in front
    /// of the text is not of the text.
    fn width(&self, token: Token, text: &str, at: usize) -> usize {
        let piece = self.vocab().token_to_piece(LlamaToken(token), true, None);
        let added = at == 0 && piece.first() == Some(&b' ') && !text.starts_with(' ');
        piece.len() - usize::from(added)
    }

    /// A prompt's tokens with their texts and kinds, for people.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn describe(&self, prompt: &Prompt) -> Result<Tokenized, EngineError> {
        let encoded = self.encode(prompt)?;
        let token = |&id: &Token| PromptToken { id, text: self.text(id), kind: kind(self.vocab(), LlamaToken(id)) };
        Ok(Tokenized { tokens: encoded.tokens.iter().map(token).collect(), border: encoded.border })
    }

    /// The longest beginning of `text` that is at most `n_tokens` long, ending at a character's border.
    pub fn cut(&self, text: &str, n_tokens: usize) -> Cut {
        let tokens = self.plain(text);
        if tokens.len() <= n_tokens {
            return Cut { n_bytes: text.len(), n_tokens_kept: tokens.len(), n_tokens_cut: 0 };
        }
        let mut end = 0;
        for &token in &tokens[..n_tokens] {
            end += self.width(token, text, end);
        }
        let n_bytes = text.floor_char_boundary(end.min(text.len()));
        Cut { n_bytes, n_tokens_kept: n_tokens, n_tokens_cut: tokens.len() - n_tokens }
    }
}

fn kind(vocab: &LlamaVocab<'_>, token: LlamaToken) -> TokenKind {
    let attributes = vocab.attr(token);
    [
        (LlamaTokenAttr::Control, TokenKind::Control),
        (LlamaTokenAttr::UserDefined, TokenKind::UserDefined),
        (LlamaTokenAttr::Byte, TokenKind::Byte),
        (LlamaTokenAttr::Unknown, TokenKind::Unknown),
        (LlamaTokenAttr::Unused, TokenKind::Unused),
    ]
    .into_iter()
    .find(|(attribute, _)| attributes.contains(*attribute))
    .map_or(TokenKind::Normal, |(_, kind)| kind)
}
