//! Whether a model thinks before it answers, as far as its template shows, and what turns that on and off.

use serde_json::{Map, Value as Json};

use super::probe::BareTemplate;
use crate::chat::{Message, Role};
use crate::thinking::Tags;

/// Whether a model thinks before it answers, as its template shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThinkingSupport {
    /// It says nothing about thinking: the model does not think.
    Never,
    /// The template writes thoughts, and nothing turns them off.
    Always(Tags),
    /// A variable of the template turns it on and off.
    Switched {
        tags: Tags,
        variable: &'static str,
        /// Whether the model thinks if the request does not say.
        by_default: bool,
    },
}

/// Why a wish about thinking cannot be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ThinkingError {
    #[error("this model does not think before it answers")]
    Never,
    #[error("this model always thinks before it answers, and its template cannot turn that off")]
    Always,
}

impl ThinkingSupport {
    /// The tags around a thought, if the model thinks.
    #[must_use]
    pub fn tags(&self) -> Option<Tags> {
        match self {
            ThinkingSupport::Never => None,
            ThinkingSupport::Always(tags) | ThinkingSupport::Switched { tags, .. } => Some(*tags),
        }
    }

    /// The template's variables for a wish; `None` leaves it to the template.
    ///
    /// # Errors
    /// [`ThinkingError`]: the model cannot do that.
    pub fn variables(&self, wish: Option<bool>) -> Result<Map<String, Json>, ThinkingError> {
        match (self, wish) {
            (_, None) | (ThinkingSupport::Never, Some(false)) | (ThinkingSupport::Always(_), Some(true)) => {
                Ok(Map::new())
            }
            (ThinkingSupport::Never, Some(true)) => Err(ThinkingError::Never),
            (ThinkingSupport::Always(_), Some(false)) => Err(ThinkingError::Always),
            (ThinkingSupport::Switched { variable, .. }, Some(wish)) => {
                Ok(Map::from_iter([((*variable).to_owned(), Json::Bool(wish))]))
            }
        }
    }

    /// Found by rendering with each of the variables that templates use. `known` are the tags that the source mentions.
    pub(super) fn of(template: BareTemplate, known: &[Tags]) -> ThinkingSupport {
        let messages = [Message::new(Role::User, "Hello.")];
        let render = |variables: &[(&str, bool)]| {
            let variables = variables.iter().map(|(name, on)| ((*name).to_owned(), Json::Bool(*on))).collect();
            template.render(&messages, &[], &variables).unwrap_or_default()
        };
        let default = render(&[]);
        let opened = Tags::ALL.into_iter().find(|tags| tags.are_open_at_the_end(&default));
        let tags = opened.or_else(|| Tags::ALL.into_iter().find(|tags| known.contains(tags)));
        for variable in ["enable_thinking", "thinking", "think"] {
            let [on, off] = [true, false].map(|on| render(&[(variable, on)]));
            if on != off {
                // A Go template can tell an unset variable from both values: the model then does as it was trained.
                let by_default = default != off;
                return ThinkingSupport::Switched { tags: tags.unwrap_or(Tags::ALL[0]), variable, by_default };
            }
        }
        tags.map_or(ThinkingSupport::Never, ThinkingSupport::Always)
    }
}
