//! Which chat template renders a model's prompts: its TEMPLATE, else the one in its GGUF, else none.

use serde_json::Map;

use super::OpeningError;
use crate::chat::{Message, Role};
use crate::gguf::Header;
use crate::manifest::model_config;
use crate::prompt::SpecialTokens;
use crate::store::Model;
use crate::template::{ChatTemplate, Date, Inputs, Language, TemplateError, TemplateSource};

/// Where a model's prompts come from.
#[derive(Debug)]
pub enum Choice {
    /// The TEMPLATE of the Modelfile or the manifest.
    Template(TemplateSource),
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
            Some(Ok(source)) => Choice::Template(source),
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
            Choice::Template(source) => format!("TEMPLATE of the Modelfile ({})", source.language.as_str()),
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
        let (language, text) = match self {
            Choice::Template(source) => (source.language, source.text),
            Choice::Own | Choice::OwnForRenderer(_) | Choice::OwnInstead(_) => {
                (Language::Jinja, header.chat_template()?.to_owned())
            }
            Choice::Broken(_) | Choice::Plain => return None,
        };
        ChatTemplate::parse(language, &text, SpecialTokens::default()).ok()
    }

    /// The template that takes the place of the GGUF's own, where one does.
    ///
    /// # Errors
    /// The model has a TEMPLATE that is none, and nothing else.
    pub fn given(self, model: &Model) -> Result<Option<TemplateSource>, OpeningError> {
        match self {
            Choice::Template(source) => Ok(Some(source)),
            Choice::Own | Choice::OwnForRenderer(_) | Choice::OwnInstead(_) | Choice::Plain => Ok(None),
            Choice::Broken(error) => Err(OpeningError::Template { name: model.name.to_string(), error }),
        }
    }
}

/// A TEMPLATE's text as a template that can be parsed, and that writes what it is asked.
///
/// # Errors
/// It is none, or drops the user's words.
pub fn checked(text: &str) -> Result<TemplateSource, TemplateError> {
    let language = Language::of(text);
    let template = ChatTemplate::parse(language, text, SpecialTokens::default())?;
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
    Ok(TemplateSource { language, text: text.to_owned() })
}

/// What a template must hand on.
const PROBE: &str = "question7";
