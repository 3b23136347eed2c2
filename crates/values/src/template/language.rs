//! The languages that chat templates are written in.

/// What a chat template is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The `tokenizer.chat_template` of a GGUF, as the transformers library renders it.
    Jinja,
    /// Go's text/template, as Ollama renders it.
    Go,
}

impl Language {
    /// The language of a Modelfile's TEMPLATE: Go's has no `{%`.
    #[must_use]
    pub fn of(template: &str) -> Language {
        if template.contains("{%") { Language::Jinja } else { Language::Go }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Jinja => "Jinja",
            Language::Go => "Go",
        }
    }
}
