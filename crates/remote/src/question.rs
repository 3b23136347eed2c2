//! What a remote is asked, in no dialect.

use slm_values::contract::Form;

/// What a remote is asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub system: Option<String>,
    pub text: String,
    /// What the answer may be.
    pub form: Form,
}
