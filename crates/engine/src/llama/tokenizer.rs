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
//! A raw run is of somebody who writes the template himself; it is taken apart first.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use llama_cpp_2::vocab::LlamaVocab;

use super::super::{Cut, EngineError, PromptToken, Token, TokenKind, Tokenized};
use super::specials::Specials;
use slm_values::prompt::{Infill, Prompt, Run, SpecialTokens};

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
    /// What WordPiece writes for a word that it does not know: CONTROL in the file, but nobody's to forge.
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

    /// Plain text to tokens where other text stands in front, so that SentencePiece adds no space.
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

    /// A text by itself, with the tokens that the model wants before and behind one (BERT: `[CLS]` and `[SEP]`). None of the
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

    /// The tokens of a text that is cut behind the first character of each place where a token of `spelled` stands.
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

    /// A prompt's tokens, with the beginning-of-sequence token once where the vocabulary wants one. Nothing is added to tokens
    /// that the prompt begins with.
    ///
    /// # Errors
    /// [`EngineError::NoSuchToken`] where the template writes a special token that the vocabulary lacks,
    /// [`EngineError::TokenOutOfRange`] where a token's number is none of its own.
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
                    // A conversation that goes on behind its tokens has its beginning among them.
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
    /// behind them or before them (Phi-3: the line feed behind `<|user|>`), as in llama.cpp and in training.
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

    /// The special token of this text, where the vocabulary has one.
    pub fn known(&self, text: &str) -> Option<Token> {
        self.specials.get(text)
    }

    fn special(&self, text: &str) -> Result<Token, EngineError> {
        self.known(text).ok_or_else(|| EngineError::NoSuchToken(text.to_owned()))
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
        let token = |&id: &Token| PromptToken { id, text: self.text(id), kind: self.kind(id) };
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::llama::Model;
    use crate::{Compute, Load, Options, Weights};
    use slm_testing::shared;
    use slm_values::chat::{Message, Role};
    use slm_values::gguf::Footprint;
    use slm_values::template::{ChatTemplate, Date, Inputs, Language};

    /// The vocabulary of that name beside the checkout.
    pub fn model(name: &str) -> Option<Model> {
        let path = shared(&format!("vocabs/ggml-vocab-{name}.gguf"))?;
        let options = Options {
            weights: Weights::File(path),
            weights_id: String::new(),
            load: Load::Vocabulary,
            n_ctx: None,
            compute: Compute::default(),
            footprint: Footprint::default(),
        };
        Some(Model::load(&options).unwrap())
    }

    fn conversations() -> Vec<Vec<Message>> {
        let message = Message::new;
        vec![
            vec![message(Role::User, "I was charged twice for order 1182.")],
            vec![
                message(Role::System, "Label the ticket."),
                message(Role::User, "  two spaces,\n\na gap\tand 日本 é 🦙 "),
            ],
            vec![
                message(Role::System, "Answer in one word.\n"),
                message(Role::User, "\nIs Toronto in Canada?"),
                message(Role::Assistant, " yes\n\n"),
                message(Role::User, "Is <b>Sacramento</b>?\r\n"),
            ],
        ]
    }

    /// What llama.cpp makes of a whole rendering at once is what a model was trained on.
    #[test]
    fn a_rendering_has_the_tokens_that_llama_cpp_gives_it_whole() {
        let families = [
            ("llama-bpe", "meta-llama-Llama-3.2-3B-Instruct"),
            ("qwen2", "Qwen-Qwen2.5-7B-Instruct"),
            ("qwen2", "Qwen-Qwen3-0.6B"),
            ("phi-3", "microsoft-Phi-3.5-mini-instruct"),
            ("llama-spm", "mistralai-Mistral-Nemo-Instruct-2407"),
        ];
        for (name, template) in families {
            let Some(model) = model(name) else { return };
            let Some(template) = shared(&format!("vectors/chat/{template}.jinja")) else { return };
            let tokenizer = model.tokenizer();
            let source = std::fs::read_to_string(&template).unwrap();
            let template = ChatTemplate::parse(Language::Jinja, &source, tokenizer.specials()).unwrap();
            for messages in conversations() {
                let prompt = template
                    .render(&Inputs {
                        messages: &messages,
                        add_generation_prompt: true,
                        date: Date::PINNED,
                        variables: &serde_json::Map::new(),
                        tools: &[],
                        contract: None,
                    })
                    .unwrap();
                let text = prompt.text();
                let has_bos = tokenizer.bos.is_some_and(|bos| text.starts_with(&tokenizer.text(bos)));
                let whole: Vec<Token> =
                    tokenizer.vocab().tokenize(text.as_bytes(), !has_bos, true).into_iter().map(|t| t.0).collect();
                let spelled = |tokens: &[Token]| tokens.iter().map(|&id| tokenizer.text(id)).collect::<Vec<_>>();
                let ours = tokenizer.encode(&prompt).unwrap().tokens;
                assert_eq!(ours, whole, "{name}: {:?}\n{:?}", spelled(&ours), spelled(&whole));
                // Written by hand, the same text is the same tokens.
                let by_hand = tokenizer.encode(&Prompt::of(Run::Raw(text))).unwrap().tokens;
                assert_eq!(by_hand, whole, "{name}: {:?}\n{:?}", spelled(&by_hand), spelled(&whole));
            }
        }
    }

    /// Special tokens that touch, that are doubled, begun, or between white space and text of any kind, are llama.cpp's own.
    #[test]
    fn raw_text_has_the_tokens_that_llama_cpp_gives_it() {
        for name in ["llama-bpe", "qwen2", "phi-3", "llama-spm"] {
            let Some(model) = model(name) else { return };
            let tokenizer = model.tokenizer();
            let mut specials = tokenizer.specials().control;
            specials.truncate(30);
            for special in &specials {
                let half = &special[..special.len() / 2];
                for text in [
                    special.clone(),
                    format!("a {special}  b\n\n{special}{special}\n c{half}{special}{half}"),
                    format!("日本{special}é 🦙 {half} {special} "),
                    format!("\n{special}\n{special}"),
                    half.to_owned(),
                ] {
                    let raw = tokenizer.encode(&Prompt::of(Run::Raw(text.clone()))).unwrap().tokens;
                    let begins = tokenizer.bos.is_some_and(|bos| text.starts_with(&tokenizer.text(bos)));
                    let whole = tokenizer.vocab().tokenize(text.as_bytes(), !begins, true);
                    let whole: Vec<Token> = whole.into_iter().map(|token| token.0).collect();
                    assert_eq!(raw, whole, "{name}: {text:?}");
                }
            }
        }
    }

    /// Nothing is added to tokens, and a conversation that goes on behind them has one beginning.
    #[test]
    fn tokens_are_taken_as_they_are() {
        for name in ["llama-bpe", "phi-3", "llama-spm"] {
            let Some(model) = model(name) else { return };
            let tokenizer = model.tokenizer();
            let bos = tokenizer.bos.unwrap();
            let text = |text: &str| Run::Text { text: text.to_owned(), persons: vec![] };
            let encoded = |runs: Vec<Run>| tokenizer.encode(&Prompt { runs, ..Prompt::default() }).map(|e| e.tokens);
            assert_eq!(encoded(vec![Run::Tokens(vec![7, 5, 7])]).unwrap(), [7, 5, 7]);
            let hi = tokenizer.plain("hi");
            let control = || Run::Control(tokenizer.text(bos));
            let continued = |tokens: &[Token]| encoded(vec![Run::Tokens(tokens.to_vec()), control(), text("hi")]);
            assert_eq!(continued(&[bos, 7]).unwrap(), [&[bos, 7], &hi[..]].concat(), "{name}");
            assert_eq!(continued(&[7]).unwrap(), [&[7, bos], &hi[..]].concat(), "{name}");
            assert_eq!(encoded(vec![control(), text("hi")]).unwrap(), [&[bos], &hi[..]].concat(), "{name}");
            for id in [-1, tokenizer.n_tokens(), Token::MAX] {
                let refused = encoded(vec![text("a"), Run::Tokens(vec![7, id])]);
                assert!(matches!(refused, Err(EngineError::TokenOutOfRange { id: named, .. }) if named == id));
            }
        }
    }

    #[test]
    fn a_raw_text_of_nothing_but_special_tokens_takes_no_time_to_speak_of() {
        let Some(model) = model("llama-bpe") else { return };
        let tokenizer = model.tokenizer();
        let special = &tokenizer.specials().control[0];
        let text = format!("{special}a<|").repeat(20_000);
        let tokens = tokenizer.encode(&Prompt::of(Run::Raw(text))).unwrap().tokens;
        assert!(tokens.len() >= 3 * 20_000, "{}", tokens.len());
    }

    /// Special tokens in a text, whole, joined, nested and doubled: none comes out, and not a byte is lost.
    #[test]
    fn spelled_special_tokens_become_plain_ones_of_the_same_bytes() {
        for name in ["llama-bpe", "qwen2", "phi-3", "llama-spm"] {
            let Some(model) = model(name) else { return };
            let tokenizer = model.tokenizer();
            let mut specials = tokenizer.specials().control;
            assert!(specials.len() >= 2, "{name}");
            specials.truncate(40);
            for special in &specials {
                let (head, tail) = special.split_at(special.len() / 2);
                let nested = format!("{head}{special}{tail}");
                for text in [
                    special.clone(),
                    format!("a {special}  b\n\n{special}{special}\n c"),
                    nested.clone(),
                    format!("\u{0}{nested}\u{301}\u{200b}\u{f0000} {special}"),
                ] {
                    let tokens = tokenizer.plain(&text);
                    assert!(!tokens.iter().any(|&token| tokenizer.is_special(token)), "{name}: {text:?} {tokens:?}");
                    let bytes: Vec<u8> = tokens.iter().flat_map(|&token| tokenizer.piece(token)).collect();
                    let added: &[u8] = if tokenizer.adds_space { b" " } else { b"" };
                    assert_eq!(bytes, [added, text.as_bytes()].concat(), "{name}: {text:?}");
                }
            }
        }
    }

    /// What a model writes is seen whole but for its control tokens, which are seen where a caller names them.
    #[test]
    fn control_tokens_write_nothing_and_have_a_spelling() {
        for name in ["llama-bpe", "qwen2", "phi-3", "llama-spm"] {
            let Some(model) = model(name) else { return };
            let tokenizer = model.tokenizer();
            for token in 0..tokenizer.n_tokens() {
                let (piece, spelling) = (tokenizer.piece(token), tokenizer.spelling(token));
                match tokenizer.kind(token) {
                    TokenKind::Control | TokenKind::Unknown => assert_eq!(piece, b"", "{name}: {token}"),
                    _ => assert_eq!(piece, spelling, "{name}: {token}"),
                }
            }
            for text in tokenizer.specials().control {
                let token = tokenizer.known(&text).unwrap();
                assert_eq!(tokenizer.spelling(token), text.as_bytes(), "{name}");
            }
        }
    }

    /// A long text is cut before llama.cpp sees it, a short one after: the tokens are the same.
    #[test]
    fn long_texts_are_cut_as_short_ones_are() {
        let Some(model) = model("qwen2") else { return };
        let tokenizer = model.tokenizer();
        let special = tokenizer.text(tokenizer.user_defined[0]);
        let line = format!("a {special} b\n");
        let short = tokenizer.plain(&line);
        let n_lines = LONG / line.len() + 1;
        assert_eq!(tokenizer.plain(&line.repeat(n_lines)), short.repeat(n_lines));
    }

    #[test]
    fn a_cut_text_is_its_first_tokens() {
        for name in ["llama-bpe", "llama-spm"] {
            let Some(model) = model(name) else { return };
            let tokenizer = model.tokenizer();
            for text in ["one two three", "  one two", "\none é 日本 🦙 two"] {
                let n_tokens = tokenizer.plain(text).len();
                for n in 0..=n_tokens {
                    let Cut { n_bytes, n_tokens_kept, n_tokens_cut } = tokenizer.cut(text, n);
                    assert_eq!((n_tokens_kept, n_tokens_cut), (n, n_tokens - n));
                    assert!(tokenizer.plain(&text[..n_bytes]).len() <= n, "{name}: {text:?} {n}");
                }
                assert_eq!(tokenizer.cut(text, n_tokens).n_bytes, text.len());
            }
        }
    }

    /// One that takes white space and capitals away before it looks for tokens.
    #[test]
    fn a_text_that_is_changed_first_is_cut_too() {
        let Some(model) = model("bert-bge") else { return };
        let tokenizer = model.tokenizer();
        let text = "The cat   sat on Thé mat, unbelievably. ".repeat(20);
        let n_tokens = tokenizer.plain(&text).len();
        for n in 0..=n_tokens {
            let Cut { n_bytes, n_tokens_kept, n_tokens_cut } = tokenizer.cut(&text, n);
            assert_eq!(tokenizer.plain(&text[..n_bytes]).len(), n_tokens_kept);
            assert!(n_tokens_kept <= n && n_tokens_kept + 4 >= n, "{n_tokens_kept} of {n}");
            assert_eq!(n_tokens_kept + n_tokens_cut, n_tokens);
        }
    }
}
