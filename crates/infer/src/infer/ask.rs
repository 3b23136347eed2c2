//! A request to a model: plain values, which [`Session::ask`](super::Session::ask) answers.

use std::sync::Arc;

use super::memory::Memory;
use crate::decide::{Question, Wording};
use slm_engine::{Detail, Drafts, Lane, Reading, Search, StateAt, Token};
use slm_values::chat::{Message, Role};
use slm_values::contract::Form;
use slm_values::sampling::Parameters;
use slm_values::template::{ChatTemplate, Date};
use slm_values::tools::{Tool, ToolChoice};

/// What is asked of a model.
#[derive(Debug, Clone)]
pub enum Ask {
    /// What the model says next.
    Turn(Box<Turn>),
    /// The answer to one typed question about a state. Which other questions are asked about it changes nothing.
    Question {
        /// Replaces the Modelfile's.
        system: Option<String>,
        state: String,
        question: Arc<Question>,
        scoring: Scoring,
    },
    /// How likely the tokens of a prompt are, and what comes next ([`End::prompt_tokens`](super::End)).
    Prompt(Box<PromptReading>),
    /// The vectors of texts, in their order.
    Vectors { texts: Vec<String> },
}

/// What a model says next: in a conversation, or after a prompt that its writer made.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    pub before: Before,
    pub form: Form,
    /// What the caller said; the Modelfile and the defaults fill the rest. They change generated text alone.
    pub parameters: Parameters,
    /// Added to the logits of these tokens; a closed form is refused with it.
    pub bias: Vec<(Token, f32)>,
    pub drafts: Drafts,
    /// What is told of the answer beside its text. [`Detail::Tokens`] also tells what is known of each field of an answer
    /// that was written under a schema.
    pub detail: Detail,
    /// How the answers of a closed form are found.
    pub scoring: Scoring,
    /// How the answer to a closed form that is one text is written.
    pub spelling: LabelSpelling,
    /// Whether a closed answer is fitted.
    pub fit: FitUse,
    /// The hidden state that is told beside a closed answer, for who learns from it; [`StateAt::Layers`] is told alone, without an
    /// answer.
    pub state: Option<StateAt>,
    /// What is written in the place of a bare label that is withheld; in JSON that is null.
    pub abstained: String,
}

/// Whether answers are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FitUse {
    /// By the model's own fit, where it has one for answers in the contract that is asked for.
    #[default]
    Own,
    /// They are the model's own.
    None,
}

/// How an answer that is one text is written; all others are JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelSpelling {
    /// In quotes.
    #[default]
    Json,
    /// The text alone.
    Bare,
}

/// How the answer to a closed form is found among the allowed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scoring {
    pub wording: Wording,
    pub reading: Reading,
    pub search: Search,
    /// Where they are evaluated.
    pub lane: Lane,
}

/// What is before an answer.
#[derive(Debug, Clone)]
pub enum Before {
    Chat(Box<Chat>),
    Prompt(Given),
}

/// What was said so far.
#[derive(Debug, Clone, Default)]
pub struct Chat {
    /// The oldest first; a first one of the system's takes the place of the Modelfile's. A last one of the assistant's is
    /// the beginning of the answer, which continues from there.
    pub messages: Vec<Message>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    pub tool_choice: ToolChoice,
    /// Whether the model thinks before it answers; `None` leaves it to the template.
    pub think: Option<bool>,
    /// How the conversation is kept between this and the next request.
    pub memory: Memory,
    /// Takes the place of the model's chat template.
    pub template: Option<ChatTemplate>,
    /// The vector of the user's last words, where the model's examples are found by vectors; whoever makes the prompt computes it
    /// where it is missing.
    pub vector: Option<Arc<[f32]>>,
    /// Today, for templates that print the date in generated answers.
    pub today: Option<Date>,
}

/// A prompt that its writer made, without a chat template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Text in which special tokens are what they say.
    Raw(String),
    /// Tokens by their numbers.
    Tokens(Vec<Token>),
    /// A gap to be filled.
    Infill { before: String, behind: String },
}

/// A prompt whose tokens are to be read. No form is kept: what stands there is given.
#[derive(Debug, Clone)]
pub struct PromptReading {
    pub given: Given,
    /// How many of the likeliest tokens are told in each one's place.
    pub n_likely: u8,
    /// The token after the prompt is the reply's text; `None` where none is wanted.
    pub next: Option<NextOf>,
}

/// How the token after a prompt is chosen.
#[derive(Debug, Clone, Default)]
pub struct NextOf {
    /// What the caller said; the Modelfile and the defaults fill the rest.
    pub parameters: Parameters,
    pub bias: Vec<(Token, f32)>,
}

impl Ask {
    /// What is asked about; nothing of a prompt or of texts to embed.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Ask::Turn(turn) => turn.chat().map_or("", Chat::last_text),
            Ask::Question { state, .. } => state,
            Ask::Prompt(_) | Ask::Vectors { .. } => "",
        }
    }
}

impl Turn {
    /// The answer to one text of a user's.
    #[must_use]
    pub fn to_text(system: Option<&str>, text: &str) -> Turn {
        let system = system.map(|system| Message::new(Role::System, system));
        let messages = system.into_iter().chain([Message::new(Role::User, text)]).collect();
        Turn { before: Chat::of(messages).into(), ..Turn::default() }
    }

    /// The conversation before the answer, where it is one.
    #[must_use]
    pub fn chat(&self) -> Option<&Chat> {
        match &self.before {
            Before::Chat(chat) => Some(chat),
            Before::Prompt(_) => None,
        }
    }

    /// As [`Turn::chat`].
    #[must_use]
    pub fn chat_mut(&mut self) -> Option<&mut Chat> {
        match &mut self.before {
            Before::Chat(chat) => Some(chat),
            Before::Prompt(_) => None,
        }
    }
}

impl Chat {
    #[must_use]
    pub fn of(messages: Vec<Message>) -> Chat {
        Chat { messages, ..Chat::default() }
    }

    /// The tools that may be called in the next turn.
    pub(super) fn callable(&self) -> &[Tool] {
        if self.tool_choice == ToolChoice::None { &[] } else { &self.tools }
    }

    /// The turns before the answer, and the beginning of the answer where someone gave one.
    pub(super) fn turns(&self) -> (&[Message], Option<&str>) {
        match self.messages.split_last() {
            Some((last, turns)) if last.role == Role::Assistant && last.tool_calls.is_empty() => {
                (turns, Some(&last.content))
            }
            _ => (&self.messages, None),
        }
    }

    /// The user's last words.
    pub(super) fn last_text(&self) -> &str {
        let user = self.messages.iter().rev().find(|message| message.role == Role::User);
        user.map_or("", |message| &message.content)
    }
}

impl Before {
    /// The user's last words, or all of a prompt that its writer made; `None` where that is not text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Before::Chat(chat) => Some(chat.last_text()),
            Before::Prompt(Given::Raw(text)) => Some(text),
            Before::Prompt(Given::Tokens(_) | Given::Infill { .. }) => None,
        }
    }
}

impl Default for Before {
    fn default() -> Self {
        Chat::default().into()
    }
}

impl From<Turn> for Ask {
    fn from(turn: Turn) -> Ask {
        Ask::Turn(Box::new(turn))
    }
}

impl From<Chat> for Before {
    fn from(chat: Chat) -> Before {
        Before::Chat(Box::new(chat))
    }
}
