//! How a model is asked for what is missing between two texts. It knows three tokens by their texts and no vocabulary.

use serde::{Deserialize, Serialize};

use super::{Prompt, Run};

/// The special tokens around a gap: before the text before it, before the text after it, and where the answer begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Infill {
    pub prefix: String,
    pub suffix: String,
    pub middle: String,
}

impl Infill {
    /// The prompt whose answer belongs between `before` and `after`. Neither text can write special tokens.
    #[must_use]
    pub fn prompt(&self, before: &str, after: &str) -> Prompt {
        let control = |token: &String| Run::Control(token.clone());
        let text = |text: &str| Run::Text { text: text.to_owned(), persons: std::iter::once(0..text.len()).collect() };
        let all = [control(&self.prefix), text(before), control(&self.suffix), text(after), control(&self.middle)];
        Prompt { runs: all.into_iter().filter(|run| !run.text().is_empty()).collect(), ..Prompt::default() }
    }
}
