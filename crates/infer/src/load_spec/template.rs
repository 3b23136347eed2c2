//! Which chat template renders a model's prompts: its TEMPLATE, else the one in its GGUF, else none.

use serde_json::Map;

use super::LoadSpecError;
use slm_store::store::Model;
use slm_values::chat::{Message, Role};
use slm_values::gguf::Header;
use slm_values::manifest::model_config;
use slm_values::prompt::SpecialTokens;
use slm_values::template::{ChatTemplate, Date, Inputs, Language, TemplateError};

/// Where a model's prompts come from.
#[derive(Debug)]
pub enum TemplateChoice {
    /// The TEMPLATE of the Modelfile or the manifest.
    Template(Box<ChatTemplate>),
    /// The Jinja template in the GGUF; there is no TEMPLATE.
    Own,
    /// The Jinja template in the GGUF, because Ollama has a program that writes the prompt in place of the TEMPLATE.
    OwnForRenderer(String),
    /// The Jinja template in the GGUF, because the TEMPLATE cannot be used.
    OwnInstead(TemplateError),
    /// The TEMPLATE cannot be used, and the GGUF has no template.
    Broken(TemplateError),
    /// There is no template at all: texts are given as they are.
    Plain,
}

impl TemplateChoice {
    /// The choice for a model of that header.
    #[must_use]
    pub fn of(model: &Model, header: &Header) -> TemplateChoice {
        let has_own = header.chat_template().is_some();
        if let (Some(renderer), true) = (model.config.text(model_config::RENDERER), has_own) {
            return TemplateChoice::OwnForRenderer(renderer);
        }
        // An empty one says nothing, as in Ollama.
        match model.template.as_deref().filter(|text| !text.trim().is_empty()).map(checked) {
            Some(Ok(template)) => TemplateChoice::Template(Box::new(template)),
            Some(Err(error)) if has_own => TemplateChoice::OwnInstead(error),
            Some(Err(error)) => TemplateChoice::Broken(error),
            None if has_own => TemplateChoice::Own,
            None => TemplateChoice::Plain,
        }
    }

    /// The choice in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            TemplateChoice::Template(template) => {
                format!("TEMPLATE of the Modelfile ({})", template.language().as_str())
            }
            TemplateChoice::Own => "the GGUF's own (Jinja)".to_owned(),
            TemplateChoice::OwnForRenderer(renderer) => {
                format!("the GGUF's own (Jinja); Ollama has its own renderer `{renderer}` for it")
            }
            TemplateChoice::OwnInstead(error) => {
                format!("the GGUF's own (Jinja); the TEMPLATE cannot be used: {error}")
            }
            TemplateChoice::Broken(error) => format!("none: the TEMPLATE cannot be used: {error}"),
            TemplateChoice::Plain => "none: texts are given as they are".to_owned(),
        }
    }

    /// The template itself; `None` if the model has no template that can be used.
    #[must_use]
    pub fn parsed(self, header: &Header) -> Option<ChatTemplate> {
        match self {
            TemplateChoice::Template(template) => Some(*template),
            TemplateChoice::Own | TemplateChoice::OwnForRenderer(_) | TemplateChoice::OwnInstead(_) => {
                ChatTemplate::parse(Language::Jinja, header.chat_template()?, SpecialTokens::default()).ok()
            }
            TemplateChoice::Broken(_) | TemplateChoice::Plain => None,
        }
    }

    /// The template that takes the place of the GGUF's own, where one does.
    ///
    /// # Errors
    /// The model has a TEMPLATE that cannot be used, and no other template.
    pub fn given(self, model: &Model) -> Result<Option<ChatTemplate>, LoadSpecError> {
        match self {
            TemplateChoice::Template(template) => Ok(Some(*template)),
            TemplateChoice::Own
            | TemplateChoice::OwnForRenderer(_)
            | TemplateChoice::OwnInstead(_)
            | TemplateChoice::Plain => Ok(None),
            TemplateChoice::Broken(error) => Err(LoadSpecError::Template { name: model.name.to_string(), error }),
        }
    }
}

/// A TEMPLATE's text, parsed, and known to write what it is asked.
///
/// # Errors
/// The text is not a template, or it drops the user's words.
pub fn checked(text: &str) -> Result<ChatTemplate, TemplateError> {
    let template = ChatTemplate::parse(Language::of(text), text, SpecialTokens::default())?;
    let (messages, variables) = ([Message::new(Role::User, PROBE)], Map::new());
    let inputs = Inputs {
        messages: &messages,
        n_beside: 0,
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
        return Err(TemplateError::Failed { reason: "it ignores the user's text".to_owned() });
    }
    Ok(template)
}

/// What a template must hand on.
const PROBE: &str = "question7";
