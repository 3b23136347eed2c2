//! Whether a model thinks before it answers, as far as its template tells, and what turns that on and off.

use serde_json::{Map, Value as Json};

use super::{ChatTemplate, Language};
use crate::chat::{Message, Role};
use crate::thinking::Tags;

/// What a template tells of thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// Nothing: the model does not think.
    Never,
    /// The template knows thoughts, and nothing turns them off.
    Always(Tags),
    /// A variable of the template turns it on and off.
    Switched {
        tags: Tags,
        variable: &'static str,
        /// Whether the model thinks where nobody says anything.
        by_default: bool,
    },
}

/// Why a wish about thinking cannot be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ThinkingError {
    #[error("`think`: this model does not think before it answers; leave `think` away")]
    Never,
    #[error(
        "`think`: this model always thinks before it answers, and its template cannot turn that off; leave `think` away"
    )]
    Always,
}

impl Thinking {
    /// What a thought stands between, where there are any.
    #[must_use]
    pub fn tags(&self) -> Option<Tags> {
        match self {
            Thinking::Never => None,
            Thinking::Always(tags) | Thinking::Switched { tags, .. } => Some(*tags),
        }
    }

    /// The template's variables for a wish; `None` leaves it to the template.
    ///
    /// # Errors
    /// [`ThinkingError`]: the model cannot do that.
    pub fn variables(&self, wish: Option<bool>) -> Result<Map<String, Json>, ThinkingError> {
        match (self, wish) {
            (_, None) | (Thinking::Never, Some(false)) | (Thinking::Always(_), Some(true)) => Ok(Map::new()),
            (Thinking::Never, Some(true)) => Err(ThinkingError::Never),
            (Thinking::Always(_), Some(false)) => Err(ThinkingError::Always),
            (Thinking::Switched { variable, .. }, Some(wish)) => {
                Ok(Map::from_iter([((*variable).to_owned(), Json::Bool(wish))]))
            }
        }
    }
}

impl ChatTemplate {
    /// Whether the model thinks, found by rendering with each of the variables that templates use.
    #[must_use]
    pub fn thinking(&self) -> Thinking {
        *self.thinking.get_or_init(|| {
            let messages = [Message::new(Role::User, "Hello.")];
            let render = |variables: &[(&str, bool)]| {
                let variables = variables.iter().map(|(name, on)| ((*name).to_owned(), Json::Bool(*on))).collect();
                self.bare(&messages, &[], &variables).unwrap_or_default()
            };
            let unsaid = render(&[]);
            let opened = Tags::ALL.into_iter().find(|tags| tags.are_open_at_the_end(&unsaid));
            let known = Tags::ALL.into_iter().find(|tags| self.says.contains(tags));
            let tags = opened.or(known);
            for variable in ["enable_thinking", "thinking", "think"] {
                let [on, off] = [true, false].map(|on| render(&[(variable, on)]));
                if on != off {
                    // Go's templates tell what nobody said from both: the model then does as it was made to.
                    let by_default = unsaid != off;
                    return Thinking::Switched { tags: tags.unwrap_or(Tags::ALL[0]), variable, by_default };
                }
            }
            tags.map_or(Thinking::Never, Thinking::Always)
        })
    }

    /// What a model can do with this template, in the words of Ollama's API. `can_insert` says whether its vocabulary has
    /// tokens to fill in a middle with.
    #[must_use]
    pub fn capabilities(&self, can_insert: bool) -> Vec<&'static str> {
        let reads_suffix = self.language == Language::Go && self.renderer.names("Suffix");
        let has = [
            ("completion", true),
            ("tools", self.tool_use().tools),
            ("insert", can_insert || reads_suffix),
            ("thinking", self.thinking() != Thinking::Never),
        ];
        has.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
    }
}
