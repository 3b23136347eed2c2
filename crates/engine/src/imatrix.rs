//! Importance matrices from texts: what is to be read, as plain data. It reads no file.

use slm_values::prompt::Prompt;

/// The texts that a model reads while it is watched.
#[derive(Debug, Clone)]
pub enum ImatrixTexts {
    /// Each from an empty context, as a request would read it.
    Prompts(Vec<Prompt>),
    /// One text in chunks of so many tokens, each from an empty context; what is left at its end is not read. As llama.cpp's own
    /// tool reads a file.
    Chunks { text: String, n_tokens: u32 },
}
