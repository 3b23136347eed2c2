//! What an answer took, as a remote counted it.

/// Tokens, as the remote counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
}
