//! That a header's vocabulary is one that llama.cpp can tokenize with. It aborts the process on some that are not: two
//! tokens of one text (`id_to_token.size() == token_to_id.size()`), a text that has no tokens at all, a beginning token
//! that does not exist (`src/llama-vocab.cpp`).

use super::error::GgufError;
use super::header::Header;
use super::value::{Array, MetadataValue, Strings};
use std::borrow::Cow;
use std::collections::HashSet;

const TOKENS: &str = "tokenizer.ggml.tokens";
const BYTE: i128 = 6;

/// The tokenizers that are checked below. llama.cpp has others, whose data it reads with less care.
const TOKENIZERS: [&str; 4] = ["llama", "gpt2", "bert", "gemma4"];

/// Checks the vocabulary of a file that has one.
pub(super) fn check(header: &Header) -> Result<(), GgufError> {
    let Some(model) = header.get("tokenizer.ggml.model") else {
        return Ok(());
    };
    let model = model.as_str().ok_or_else(|| wrong("tokenizer.ggml.model", model, "text"))?;
    if !TOKENIZERS.contains(&model) {
        return Err(GgufError::Tokenizer(model.escape_default().take(100).collect()));
    }
    let tokens = tokens(header)?;
    check_unique(tokens)?;
    check_types(header, model, tokens)?;
    check_scores(header, tokens.iter().count())?;
    check_merges(header, model)?;
    check_special_tokens(header, model)?;
    match header.get("tokenizer.chat_template") {
        Some(template) if template.as_str().is_none() => Err(wrong("tokenizer.chat_template", template, "text")),
        _ => Ok(()),
    }
}

fn tokens(header: &Header) -> Result<&Strings, GgufError> {
    let value = header.get(TOKENS).ok_or_else(|| GgufError::MissingKey(TOKENS.to_owned()))?;
    let tokens = value.as_array().and_then(Array::strings);
    tokens.filter(|tokens| tokens.get(0).is_some()).ok_or_else(|| wrong(TOKENS, value, "a list of texts"))
}

/// llama.cpp reads a token up to its first zero byte and gives empty ones a text; two tokens of one text abort it.
fn check_unique(tokens: &Strings) -> Result<(), GgufError> {
    let mut seen = HashSet::new();
    for (id, token) in tokens.iter().enumerate() {
        let text = token.split('\0').next().unwrap_or_default();
        let text = if text.is_empty() { Cow::Owned(format!("[EMPTY_{id}]")) } else { Cow::Borrowed(text) };
        if !seen.insert(text) {
            return Err(vocabulary(format!("has the token `{}` twice, the second time as {id}", clipped(token))));
        }
    }
    Ok(())
}

fn check_types(header: &Header, model: &str, tokens: &Strings) -> Result<(), GgufError> {
    const KEY: &str = "tokenizer.ggml.token_type";
    let types = list_of(header, KEY, tokens.iter().count())?;
    for (id, (token, kind)) in tokens.iter().zip(types.map(Array::numbers).into_iter().flatten()).enumerate() {
        let kind = kind.as_i128().ok_or_else(|| wrong(KEY, &kind, "a list of whole numbers"))?;
        if !(0..=BYTE).contains(&kind) {
            return Err(vocabulary(format!("has token {id} of type {kind}; 0 to 6 are possible")));
        }
        // llama.cpp reads the number of a byte token without looking, and aborts on any in WordPiece.
        if kind == BYTE && (model == "bert" || byte_of(token).is_none()) {
            return Err(vocabulary(format!("has the token `{}` as a byte, which it is not", clipped(token))));
        }
    }
    if model == "llama" {
        // A character that is not a token falls back to byte tokens; if one is missing, the process aborts.
        let present: HashSet<u8> = tokens.iter().filter_map(byte_of).collect();
        let is_token = |byte: u8| {
            present.contains(&byte) || (byte.is_ascii() && tokens.iter().any(|token| token.as_bytes() == [byte]))
        };
        if let Some(missing) = (0..=u8::MAX).find(|&byte| !is_token(byte)) {
            return Err(vocabulary(format!("has no token for the byte `<0x{missing:02X}>`")));
        }
    }
    Ok(())
}

/// The byte of `<0x0A>`, upper case only: other spellings are not found by llama.cpp.
fn byte_of(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_hex = hex.len() == 2 && hex.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    if is_hex { u8::from_str_radix(hex, 16).ok() } else { None }
}

fn check_scores(header: &Header, n_tokens: usize) -> Result<(), GgufError> {
    const KEY: &str = "tokenizer.ggml.scores";
    let scores = list_of(header, KEY, n_tokens)?;
    let mut scores = scores.map(Array::numbers).into_iter().flatten();
    // A score that is not a number has no place in the tokenizer's queue.
    match scores.find(|score| score.as_f64().or(score.as_i128().map(|n| n as f64)).is_none_or(f64::is_nan)) {
        Some(score) => Err(wrong(KEY, &score, "a list of numbers")),
        None => Ok(()),
    }
}

fn check_merges(header: &Header, model: &str) -> Result<(), GgufError> {
    const KEY: &str = "tokenizer.ggml.merges";
    match (header.get(KEY), model) {
        (None, "gpt2" | "gemma4") => Err(GgufError::MissingKey(KEY.to_owned())),
        (Some(merges), _) if merges.as_array().and_then(Array::strings).is_none() => {
            Err(wrong(KEY, merges, "a list of texts"))
        }
        // A pre-tokenizer that leaves spaces inside words, on which the merging asserts.
        _ if header.text("tokenizer.ggml.pre") == Some("whitespace") => {
            Err(GgufError::Tokenizer("whitespace".to_owned()))
        }
        _ => Ok(()),
    }
}

fn check_special_tokens(header: &Header, model: &str) -> Result<(), GgufError> {
    let n_tokens = header.n_tokens() as u64;
    // Others that are out of range (padding, separators of infilling) are common, and llama.cpp ignores them.
    for name in ["bos", "eos", "eot", "eom", "unknown"] {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let Some(value) = header.get(&key) else { continue };
        match value.as_i128() {
            // Some converters write -1 for a token that the model does not have.
            Some(-1) => {}
            Some(id) if (0..i128::from(n_tokens)).contains(&id) || id == i128::from(u32::MAX) => {}
            _ => return Err(wrong(&key, value, &format!("the number of one of its {n_tokens} tokens"))),
        }
    }
    // What llama.cpp takes where a file does not say, and then needs.
    let needed: &[(&str, Option<u64>)] = match model {
        "llama" => &[("bos", Some(1)), ("eos", Some(2)), ("unknown", Some(0))],
        "gpt2" => &[("bos", Some(11)), ("eos", Some(11))],
        "bert" => &[("bos", Some(101)), ("seperator", Some(102)), ("unknown", Some(100))],
        _ => &[("bos", None), ("eos", None)],
    };
    for (name, default) in needed {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let said = header.number(&key).filter(|&id| id < n_tokens);
        if said.or(*default).is_none_or(|id| id >= n_tokens) {
            return Err(GgufError::MissingKey(key));
        }
    }
    Ok(())
}

/// The list under `key` where there is one: as long as the vocabulary.
fn list_of<'a>(header: &'a Header, key: &str, n_tokens: usize) -> Result<Option<&'a Array>, GgufError> {
    let Some(value) = header.get(key) else { return Ok(None) };
    let list = value.as_array().filter(|list| list.len() == n_tokens && list.strings().is_none());
    list.map(Some).ok_or_else(|| wrong(key, value, &format!("a list of {n_tokens} numbers, one for each token")))
}

fn wrong(key: &str, value: &MetadataValue, expected: &str) -> GgufError {
    GgufError::Key { key: key.to_owned(), value: value.describe(), expected: expected.to_owned() }
}

fn vocabulary(reason: String) -> GgufError {
    GgufError::Vocabulary(reason)
}

fn clipped(token: &str) -> String {
    token.escape_debug().take(100).collect()
}
