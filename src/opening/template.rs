//! Which chat template renders a model's prompts: its TEMPLATE, else the one in its GGUF, else none.

use serde_json::Map;

use super::OpeningError;
use crate::chat::{Message, Role};
use crate::gguf::Header;
use crate::manifest::model_config;
use crate::prompt::SpecialTokens;
use crate::store::Model;
use crate::template::{ChatTemplate, Date, Inputs, Language, TemplateError};

/// Where a model's prompts come from.
#[derive(Debug)]
pub enum Choice {
    /// The TEMPLATE of the Modelfile or the manifest.
    Template(Box<ChatTemplate>),
    /// The Jinja template in the GGUF; there is no TEMPLATE.
    Own,
    /// The Jinja template in the GGUF, because Ollama has a program that writes the prompt in place of the TEMPLATE.
    OwnForRenderer(String),
    /// The Jinja template in the GGUF, because the TEMPLATE is none.
    OwnInstead(TemplateError),
    /// The TEMPLATE is none, and the GGUF has no template either.
    Broken(TemplateError),
    /// There is no template at all: texts are given as they are.
    Plain,
}

impl Choice {
    /// The choice for a model of that header.
    #[must_use]
    pub fn of(model: &Model, header: &Header) -> Choice {
        let has_own = header.chat_template().is_some();
        if let (Some(renderer), true) = (model.config.text(model_config::RENDERER), has_own) {
            return Choice::OwnForRenderer(renderer);
        }
        // An empty one says nothing, as in Ollama.
        match model.template.as_deref().filter(|text| !text.trim().is_empty()).map(checked) {
            Some(Ok(template)) => Choice::Template(Box::new(template)),
            Some(Err(error)) if has_own => Choice::OwnInstead(error),
            Some(Err(error)) => Choice::Broken(error),
            None if has_own => Choice::Own,
            None => Choice::Plain,
        }
    }

    /// The choice in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Choice::Template(template) => {
                format!("TEMPLATE of the Modelfile ({})", template.language().as_str())
            }
            Choice::Own => "the GGUF's own (Jinja)".to_owned(),
            Choice::OwnForRenderer(renderer) => {
                format!("the GGUF's own (Jinja); Ollama has its own renderer `{renderer}` for it")
            }
            Choice::OwnInstead(error) => format!("the GGUF's own (Jinja); the TEMPLATE cannot be used: {error}"),
            Choice::Broken(error) => format!("none that can be used: of the TEMPLATE, {error}"),
            Choice::Plain => "none: texts are given as they are".to_owned(),
        }
    }

    /// The template itself; `None` where there is none that can be used.
    #[must_use]
    pub fn parsed(self, header: &Header) -> Option<ChatTemplate> {
        match self {
            Choice::Template(template) => Some(*template),
            Choice::Own | Choice::OwnForRenderer(_) | Choice::OwnInstead(_) => {
                ChatTemplate::parse(Language::Jinja, header.chat_template()?, SpecialTokens::default()).ok()
            }
            Choice::Broken(_) | Choice::Plain => None,
        }
    }

    /// The template that takes the place of the GGUF's own, where one does.
    ///
    /// # Errors
    /// The model has a TEMPLATE that is none, and nothing else.
    pub fn given(self, model: &Model) -> Result<Option<ChatTemplate>, OpeningError> {
        match self {
            Choice::Template(template) => Ok(Some(*template)),
            Choice::Own | Choice::OwnForRenderer(_) | Choice::OwnInstead(_) | Choice::Plain => Ok(None),
            Choice::Broken(error) => Err(OpeningError::Template { name: model.name.to_string(), error }),
        }
    }
}

/// A TEMPLATE's text, parsed, and known to write what it is asked.
///
/// # Errors
/// It is none, or drops the user's words.
pub fn checked(text: &str) -> Result<ChatTemplate, TemplateError> {
    let template = ChatTemplate::parse(Language::of(text), text, SpecialTokens::default())?;
    let (messages, variables) = ([Message::new(Role::User, PROBE)], Map::new());
    let inputs = Inputs {
        messages: &messages,
        add_generation_prompt: true,
        date: Date::PINNED,
        variables: &variables,
        tools: &[],
        contract: None,
    };
    // A template may refuse this very conversation; that is told when it matters.
    if let Ok(prompt) = template.render(&inputs)
        && !prompt.text().contains(PROBE)
    {
        return Err(TemplateError::Failed { reason: "it writes nothing of what the user says".to_owned() });
    }
    Ok(template)
}

/// What a template must hand on.
const PROBE: &str = "question7";
