//! What both languages' templates have in common: what they are given, and what is asked of them.

use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use super::date::Date;
use super::error::TemplateError;
use crate::chat::Message;
use crate::prompt::SpecialTokens;
use crate::tools::Tool;

/// The most bytes that one rendering may write.
pub(super) const MAX_OUTPUT: usize = 64 << 20;

/// Words that no template writes by itself. The first is also an id that Mistral's templates accept.
pub(super) const PROBE: &str = "qxjvprobe";
pub(super) const PROBE_USER: &str = "qxjvuser";

/// One language's template, which renders whatever texts it is given.
pub(super) trait Renderer: Debug + Send + Sync {
    /// Renders the conversation with its contents as they are given here.
    fn render(&self, conversation: &Conversation) -> Result<String, TemplateError>;

    /// Whether the template reads the variable and does not set it itself.
    fn reads(&self, variable: &str) -> bool;

    /// Whether the template's source names the variable or field at all.
    fn names(&self, variable: &str) -> bool;

    /// A conversation that shows what ends an answer. The first message is the question [`PROBE_USER`], the second the
    /// answer [`PROBE`].
    fn finished(&self) -> Vec<Message>;
}

/// A conversation as a renderer sees it: its words are the persons' own, or their twins.
pub(super) struct Conversation<'a> {
    pub messages: &'a [Message],
    pub tools: &'a [Json],
    pub contract: Option<&'a Json>,
    pub inputs: &'a Inputs<'a>,
    pub specials: &'a SpecialTokens,
    /// What each twin stands for: the renderer escapes a twin as it would escape that character.
    pub twins: &'a Originals,
}

/// Twins and what they stand for.
pub(super) type Originals = Arc<HashMap<char, char>>;

/// What a template renders.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub messages: &'a [Message],
    /// How many messages right before the last of the user's vary with it, as its examples do: the row begins with them.
    pub n_beside: usize,
    /// End with the header of an assistant's turn (the templates' own name for it).
    pub add_generation_prompt: bool,
    /// The date of `strftime_now`; pinned where prompts must be the same tomorrow.
    pub date: Date,
    /// Further variables, such as `enable_thinking`. The operator's: they may write control tokens.
    pub variables: &'a Map<String, Json>,
    /// What the model may call; a template that knows no tools is not shown them.
    pub tools: &'a [Tool],
    /// What the answer may be, as the variable `contract`; its texts cannot write control tokens.
    pub contract: Option<&'a Json>,
}
