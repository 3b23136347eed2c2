//! What a remote is asked, in no dialect.

use slm_values::chat::Message;
use slm_values::contract::Form;
use slm_values::sampling::Parameters;

/// What a remote is asked.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub system: Option<String>,
    /// What was said between the system's words and the text, the oldest first: examples, and a conversation so far.
    pub earlier: Vec<Message>,
    pub text: String,
    /// What the answer may be.
    pub form: Form,
    /// Those that a dialect has a field for are sent; without a temperature it is 0.
    pub parameters: Parameters,
}
