//! A conversation becomes a prompt by the model's chat template, in Jinja or in Go's language; it knows special tokens by
//! their texts, not by their numbers.
//!
//! # Who wrote what
//!
//! A person's text must never become a control token, and yet the rendering must be the one that the reference
//! (Jinja2 as the transformers library uses it) gives. So a conversation is rendered twice: plainly, and with every
//! character of every content exchanged for a *twin*, a private-use character that stands for it and that occurs
//! nowhere else. Translated back, both renderings must be equal; then the second says for each character who wrote it.
//! A special token in the second rendering consists of no twins, so that each of its characters was written by the
//! template, however contents were trimmed, joined, nested or repeated. Private-use characters that a content holds
//! itself get twins as all others do, and come back unchanged.
//!
//! A template can look into contents, and then the renderings differ. More is left as it was then, step by step: the
//! white space at a content's ends (templates trim) and then all of it, the characters that JSON escapes, and texts that the template
//! itself spells out (`/no_think`), unless they hold special tokens or could be joined to one. Only an assistant's
//! content, from which reasoning is cut at `</think>`, may keep such a text whole; a third rendering, with fences
//! around those texts, then tells the template's own from those of the content. Where all of this still gives another
//! rendering, the rendering of the twins is the prompt: safety before likeness.
//!
//! All words of tools and of their calls (names, descriptions, allowed values, arguments) are persons' words as contents
//! are, and so are those of a contract.
//!
//! Special tokens of nothing but white space (some vocabularies list runs of line feeds) stay text: they forge nothing.

mod chat_template;
mod conversation;
mod date;
mod described_tools;
mod error;
mod go;
mod jinja;
mod language;
mod probe;
mod renderer;
mod shown;
mod special_tokens;
mod system;
mod thinking;
mod turns;
mod twin_policy;
mod twins;
mod words;

pub use chat_template::ChatTemplate;
pub use date::Date;
pub use error::TemplateError;
pub use language::Language;
pub use probe::ToolUse;
pub use renderer::Inputs;
pub use system::fold_system;
pub use thinking::{ThinkingError, ThinkingSupport};
pub use turns::SystemRole;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tool_tests;
