//! Real vocabularies and a real model for the tests of other rooms; nothing where the files are not beside the checkout.

use super::super::constraint::Compiler;
use super::super::{Compute, Engine, Load, Options, Token, Weights};
use super::tokenizer::tests::model;
use super::{Model, token_env};
use slm_testing::shared;
use slm_values::gguf::Footprint;
use slm_values::prompt::{Prompt, Run};

/// A vocabulary's tokens as text.
pub struct Tokens(Model);

impl Tokens {
    pub fn piece(&self, token: Token) -> Vec<u8> {
        self.0.tokenizer().piece(token)
    }

    pub fn is_end(&self, token: Token) -> bool {
        self.0.tokenizer().is_end(token)
    }

    pub fn n_tokens(&self) -> Token {
        self.0.tokenizer().n_tokens()
    }
}

/// A compiler of grammars for a vocabulary.
pub fn compiler(vocabulary: &str) -> Option<(Compiler, Tokens)> {
    let model = model(vocabulary)?;
    let compiler = Compiler::new(token_env::vocabulary(std::sync::Arc::clone(&model.tokenizer))).unwrap();
    Some((compiler, Tokens(model)))
}

/// A small model that writes English.
pub fn stories() -> Option<Engine> {
    let weights = Weights::File(shared("models/stories260K.gguf")?);
    let options = Options {
        weights,
        weights_id: String::new(),
        load: Load::Everything,
        n_ctx: Some(400),
        compute: Compute::default(),
        footprint: Footprint::default(),
    };
    Some(Engine::load(options).unwrap())
}

pub fn prompt(text: &str) -> Prompt {
    Prompt { runs: vec![Run::Text { text: text.to_owned(), persons: vec![] }], row_start: None, row: None }
}
