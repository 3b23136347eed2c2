//! Prompts to tokens, so that nobody's words become control tokens. It knows runs of text, no messages and no templates.
//!
//! A run that the template wrote as one special token is looked up; every other run is tokenized in one call with
//! `parse_special` off. llama.cpp still matches USER_DEFINED tokens then, and its SentencePiece may merge a CONTROL
//! token's text, so what comes out is checked token by token: where a special one was spelled, the text is cut inside
//! the spelling and tokenized again in parts.
//!
//! What the template wrote becomes the tokens of llama.cpp's own way, `parse_special` over the whole rendering; a test
//! below holds that. White space that a vocabulary lists as USER_DEFINED tokens (Gemma: runs of line feeds and spaces)
//! is text here, as it is for templates: it forges nothing, and models are trained on these very tokens.
//!
//! A raw run comes from a caller who renders prompts himself; its special tokens are found first.

mod encode;
#[cfg(test)]
pub mod tests;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use llama_cpp_2::vocab::LlamaVocab;

use super::super::{EngineError, Token, TokenKind};
use super::specials::Specials;
pub use encode::Encoded;
use slm_values::prompt::{Infill, SpecialTokens};

/// Bytes from which on a text is searched for USER_DEFINED tokens before llama.cpp does it, whose time grows with the
/// square of what it finds.
const LONG: usize = 1 << 14;

/// One model's vocabulary with what tokenizing safely needs to know of it.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    /// Every CONTROL, USER_DEFINED and end-of-generation token by its text, white space aside.
    specials: Specials,
    /// The same by number.
    is_special: Vec<bool>,
    /// Those of them that are USER_DEFINED.
    user_defined: Vec<Token>,
    /// Plain tokens of one byte each, where the vocabulary has them; made when a text first needs them.
    bytes: OnceLock<Vec<Option<Token>>>,
    /// What WordPiece writes for a word that it does not know: CONTROL in the file, but harmless in a text.
    unknown: Option<Token>,
    /// Whether a space goes before every text (SentencePiece).
    adds_space: bool,
    bos: Option<Token>,
    adds_bos: bool,
    eos: Option<Token>,
    turn_end: Option<Token>,
}

/// The vocabulary of a model, with the model that it points into.
#[derive(Debug)]
struct Vocabulary {
    vocab: LlamaVocab<'static>,
    _model: Arc<LlamaModel>,
}

impl Tokenizer {
    /// The tokenizer of `model`.
    pub fn new(model: Arc<LlamaModel>) -> Self {
        // SAFETY: `Vocabulary` keeps the model alive beside it; the vocabulary is only read.
        let vocab = unsafe { std::mem::transmute::<LlamaVocab<'_>, LlamaVocab<'static>>(model.vocab()) };
        let valid = |token: LlamaToken| (0..vocab.n_tokens()).contains(&token.0).then_some(token.0);
        let (bos, eos) = (valid(vocab.bos()), valid(vocab.eos()));
        let said = |key: &str| model.meta_val_str(key).ok();
        let unknown = said("tokenizer.ggml.model").filter(|kind| kind == "bert");
        let unknown = unknown.and_then(|_| said("tokenizer.ggml.unknown_token_id")?.parse().ok());
        let space = vocab.tokenize(b"a", false, false);
        let adds_space = space.first().is_some_and(|&token| vocab.token_to_piece(token, false, None).starts_with(b" "));
        let mut tokenizer = Tokenizer {
            specials: Specials::default(),
            is_special: Vec::new(),
            user_defined: Vec::new(),
            bytes: OnceLock::new(),
            unknown: unknown.and_then(|id| valid(LlamaToken(id))),
            adds_space,
            bos,
            adds_bos: vocab.should_add_bos(),
            eos,
            turn_end: valid(vocab.eot()).or(eos),
            vocabulary: Vocabulary { vocab, _model: model },
        };
        tokenizer.find_specials();
        tokenizer
    }

    /// Goes over the whole vocabulary once, asking for a text only where a token is special.
    fn find_specials(&mut self) {
        let n_tokens = self.vocab().n_tokens();
        let mut specials = Vec::new();
        self.is_special = vec![false; usize::try_from(n_tokens).unwrap_or(0)];
        for (index, id) in (0..n_tokens).enumerate() {
            if Some(id) == self.unknown || !is_marked(self.vocab(), LlamaToken(id)) {
                continue;
            }
            let text = self.text(id);
            if text.is_empty() || !text.chars().all(char::is_whitespace) {
                self.is_special[index] = true;
                if self.kind(id) == TokenKind::UserDefined {
                    self.user_defined.push(id);
                }
                specials.push((text, id));
            }
        }
        self.specials = Specials::new(specials.into_iter());
    }

    fn vocab(&self) -> &LlamaVocab<'static> {
        &self.vocabulary.vocab
    }

    /// The token that begins a text, where the vocabulary has one.
    pub fn bos(&self) -> Option<Token> {
        self.bos
    }

    /// The token that the model wants before every text, where it wants one.
    pub fn first(&self) -> Option<Token> {
        self.bos.filter(|_| self.adds_bos)
    }

    /// The special tokens' texts, for the chat template.
    pub fn specials(&self) -> SpecialTokens {
        let text = |token: Option<Token>| token.map(|token| self.text(token)).unwrap_or_default();
        let mut control: Vec<String> = self.specials.texts().cloned().collect();
        control.sort();
        SpecialTokens { bos: text(self.bos), eos: text(self.eos), control }
    }

    /// The tokens around a gap to fill, where there are all three.
    pub fn infill(&self) -> Option<Infill> {
        let vocab = self.vocab();
        let text = |token: LlamaToken| {
            self.check(token.0).ok()?;
            let text = self.text(token.0);
            (self.known(&text) == Some(token.0)).then_some(text)
        };
        Some(Infill { prefix: text(vocab.fim_pre())?, suffix: text(vocab.fim_suf())?, middle: text(vocab.fim_mid())? })
    }

    /// The token that ends an answer: `text`'s, else the model's own end of turn.
    ///
    /// # Errors
    /// [`EngineError::NoSuchToken`], [`EngineError::NoTurnEnd`].
    pub fn turn_end(&self, text: Option<&str>) -> Result<Token, EngineError> {
        match text {
            Some(text) => self.special(text),
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

    /// Whether a token of this number is in the vocabulary.
    ///
    /// # Errors
    /// [`EngineError::TokenOutOfRange`] where it is not.
    pub fn check(&self, token: Token) -> Result<(), EngineError> {
        let n_tokens = self.n_tokens();
        let is_known = (0..n_tokens).contains(&token);
        if is_known { Ok(()) } else { Err(EngineError::TokenOutOfRange { id: token, last: n_tokens - 1 }) }
    }

    /// The bytes of a token's text; those of a special token too.
    pub fn spelling(&self, token: Token) -> Vec<u8> {
        self.vocab().token_to_piece(LlamaToken(token), true, None)
    }

    fn text(&self, token: Token) -> String {
        String::from_utf8_lossy(&self.spelling(token)).into_owned()
    }

    /// Plain text to tokens, none of them special.
    pub fn plain(&self, text: &str) -> Vec<Token> {
        let mut spelled = if text.len() < LONG { BTreeSet::new() } else { self.user_defined_in(text) };
        let mut tokens = self.cut_inside(text, &spelled);
        loop {
            let n_known = spelled.len();
            spelled.extend(tokens.iter().copied().filter(|&token| self.is_special(token)));
            if spelled.len() == n_known {
                break;
            }
            tokens = self.cut_inside(text, &spelled);
        }
        if spelled.is_empty() {
            return tokens;
        }
        // What is left was spelled by something else than its own text, or is a single character.
        tokens.into_iter().flat_map(|id| if self.is_special(id) { self.taken_apart(id) } else { vec![id] }).collect()
    }

    /// Plain text to tokens where other text is in front, so that SentencePiece adds no space.
    pub fn continuation(&self, text: &str) -> Vec<Token> {
        self.without_space(text, |text| self.plain(text))
    }

    /// What `tokenize` makes of a text, without the space that SentencePiece adds in front.
    fn without_space(&self, text: &str, tokenize: impl Fn(&str) -> Vec<Token>) -> Vec<Token> {
        if !self.adds_space {
            return tokenize(text);
        }
        // It joins nothing to a line feed in front, which takes the space and is then left out.
        let guard = self.raw("\n");
        let guarded = tokenize(&format!("\n{text}"));
        guarded.strip_prefix(guard.as_slice()).map_or_else(|| tokenize(text), <[Token]>::to_vec)
    }

    /// Tokens of the vocabulary; their numbers begin at 0.
    pub fn n_tokens(&self) -> Token {
        self.vocab().n_tokens()
    }

    fn user_defined_in(&self, text: &str) -> BTreeSet<Token> {
        self.user_defined.iter().copied().filter(|&token| text.contains(&self.text(token))).collect()
    }

    /// A text by itself, with the tokens that the model wants before and after one (BERT: `[CLS]` and `[SEP]`). None of the
    /// text's own become special.
    pub fn whole_text(&self, text: &str) -> Vec<Token> {
        // What llama.cpp adds around a text, seen on one that it leaves as it is.
        let with = |special| self.vocab().tokenize(b"a", special, false).into_iter().map(|token| token.0);
        let (bare, whole): (Vec<Token>, Vec<Token>) = (with(false).collect(), with(true).collect());
        let at = whole.windows(bare.len().max(1)).position(|window| window == bare.as_slice()).unwrap_or(0);
        let behind = whole.get(at + bare.len()..).unwrap_or(&[]);
        [&whole[..at], &self.plain(text), behind].concat()
    }

    /// llama.cpp's tokens for a text by itself.
    fn raw(&self, text: &str) -> Vec<Token> {
        self.vocab().tokenize(text.as_bytes(), false, false).into_iter().map(|token| token.0).collect()
    }

    /// The tokens of a text that is cut after the first character of each place where a token of `spelled` stands.
    fn cut_inside(&self, text: &str, spelled: &BTreeSet<Token>) -> Vec<Token> {
        if spelled.is_empty() {
            return self.raw(text);
        }
        let specials: Vec<String> = spelled.iter().map(|&token| self.text(token)).collect();
        let stands = |at: usize| specials.iter().any(|special| text[at..].starts_with(special.as_str()));
        let mut tokens = Vec::new();
        let mut from = 0;
        for (at, c) in text.char_indices().filter(|&(at, _)| stands(at)) {
            let to = at + c.len_utf8();
            tokens.extend(self.part(text, from..to));
            from = to;
        }
        tokens.extend(self.part(text, from..text.len()));
        tokens
    }

    /// The tokens of a part of a text; only the first part gets the space that goes before a text.
    fn part(&self, text: &str, range: Range<usize>) -> Vec<Token> {
        if range.start == 0 { self.raw(&text[range]) } else { self.without_space(&text[range], |part| self.raw(part)) }
    }

    /// Whether the token is CONTROL, USER_DEFINED or an end, white space aside.
    pub fn is_special(&self, token: Token) -> bool {
        usize::try_from(token).ok().and_then(|i| self.is_special.get(i)).copied().unwrap_or(false)
    }

    /// A special token's text in plain single-byte tokens; nothing where the vocabulary has none for a byte.
    fn taken_apart(&self, token: Token) -> Vec<Token> {
        let bytes = self.bytes.get_or_init(|| self.single_bytes());
        self.spelling(token).into_iter().filter_map(|byte| bytes[usize::from(byte)]).collect()
    }

    fn single_bytes(&self) -> Vec<Option<Token>> {
        let mut bytes = vec![None; 256];
        let mut piece = Vec::new();
        for id in (0..self.vocab().n_tokens()).filter(|&id| !self.is_special(id)) {
            piece.clear();
            self.vocab().token_to_piece_into(LlamaToken(id), &mut piece, false, None);
            if let [byte] = piece[..] {
                // A token of the byte kind is the fallback; the plain one is what a tokenizer would choose.
                let slot = &mut bytes[usize::from(byte)];
                if slot.is_none() || self.kind(id) == TokenKind::Normal {
                    *slot = Some(id);
                }
            }
        }
        bytes
    }

    /// The special token of this text, where the vocabulary has one.
    pub fn known(&self, text: &str) -> Option<Token> {
        self.specials.get(text)
    }

    fn special(&self, text: &str) -> Result<Token, EngineError> {
        self.known(text).ok_or_else(|| EngineError::NoSuchToken(text.to_owned()))
    }

    /// What the vocabulary says a token is.
    pub fn kind(&self, token: Token) -> TokenKind {
        if Some(token) == self.unknown {
            return TokenKind::Unknown;
        }
        let attributes = self.vocab().attr(LlamaToken(token));
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
}

fn is_marked(vocab: &LlamaVocab<'_>, token: LlamaToken) -> bool {
    vocab.attr(token).intersects(LlamaTokenAttr::Control | LlamaTokenAttr::UserDefined) || vocab.is_eog(token)
}

/// What C's `isspace` says, which llama.cpp asks here.
fn is_c_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}
