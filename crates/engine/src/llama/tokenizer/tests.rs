//! Real vocabularies give llama.cpp's own tokens, and nobody's text gives a special one.

use super::*;
use crate::llama::Model;
use crate::{Compute, Cut, Load, Options, Weights};
use slm_testing::shared;
use slm_values::chat::{Message, Role};
use slm_values::gguf::Footprint;
use slm_values::prompt::{Prompt, Run};
use slm_values::template::{ChatTemplate, Date, Inputs, Language};

/// The vocabulary of that name beside the checkout.
pub fn model(name: &str) -> Option<Model> {
    let path = shared(format!("vocabs/ggml-vocab-{name}.gguf"))?;
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
        vec![message(Role::System, "Label the ticket."), message(Role::User, "  two spaces,\n\na gap\tand 日本 é 🦙 ")],
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
        let Some(template) = shared(format!("vectors/chat/{template}.jinja")) else { return };
        let tokenizer = model.tokenizer();
        let source = std::fs::read_to_string(&template).unwrap();
        let template = ChatTemplate::parse(Language::Jinja, &source, tokenizer.specials()).unwrap();
        for messages in conversations() {
            let prompt = template
                .render(&Inputs {
                    messages: &messages,
                    n_beside: 0,
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

/// Nothing is added to tokens, and a conversation that continues after them has one beginning.
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
