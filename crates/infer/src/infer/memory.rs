//! A conversation that continues after tokens: what is before a request's own messages.

use slm_engine::Token;
use slm_values::prompt::{Prompt, Run};

/// How a conversation is kept between two requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Memory {
    /// All of its messages come with every request.
    #[default]
    Messages,
    /// A request's own messages begin right after exactly these tokens, and its reply's end tells those with which the next
    /// begins. The Modelfile's system and examples are among them; where there are none, the conversation is new.
    Tokens(Vec<Token>),
}

impl Memory {
    /// Whether a conversation has begun before this request.
    pub(super) fn goes_on(&self) -> bool {
        matches!(self, Memory::Tokens(tokens) if !tokens.is_empty())
    }

    /// Puts what was said before in front of a request's own prompt.
    pub(super) fn lead(&self, prompt: &mut Prompt) {
        let Memory::Tokens(tokens) = self else { return };
        if tokens.is_empty() {
            return;
        }
        prompt.runs.insert(0, Run::Tokens(tokens.clone()));
        if let Some(place) = &mut prompt.row_start {
            place.run += 1;
        }
        if let Some(row) = &mut prompt.row {
            row.run += 1;
        }
    }
}
