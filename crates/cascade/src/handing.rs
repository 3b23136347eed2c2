//! What a tier is told of the answers before it, and in which words.

use serde_json::Value;

/// What stands for the earlier answer in words.
pub const PLACEHOLDER: &str = "{draft}";

/// The most probable answers of a field that are told.
const MAX_TOLD: usize = 5;

/// What a tier is told of the last answer before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HandOn {
    pub given: Given,
    /// The words around it, with [`PLACEHOLDER`] in its place; `None` takes ours.
    pub words: Option<String>,
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Given {
    #[default]
    Nothing,
    /// The value of the answer.
    Label,
    /// The value, and for each field the most probable ones with their probabilities.
    Probabilities,
    /// All that the tier wrote.
    Draft,
}

/// An answer that may be handed on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Draft {
    pub text: String,
    /// `None` of text without a form.
    pub value: Option<Value>,
    pub probabilities: Vec<RankedField>,
}

/// A field's answers with their probabilities, the most probable first; the name is `None` where the answer is one value.
pub type RankedField = (Option<String>, Vec<(Value, f64)>);

impl Draft {
    /// Of an answer's value, what was written, and its probabilities.
    #[must_use]
    pub fn new(value: Option<Value>, written: &str, probabilities: Vec<RankedField>) -> Draft {
        let text = match &value {
            // A label without quotes, whatever the request wants.
            Some(Value::String(label)) => label.clone(),
            Some(value) => value.to_string(),
            None => written.to_owned(),
        };
        Draft { text, value, probabilities }
    }
}

impl HandOn {
    /// The text with what is told of the draft after it.
    #[must_use]
    pub fn added(&self, text: &str, draft: Option<&Draft>) -> String {
        let Some(told) = draft.and_then(|draft| self.told(draft)) else { return text.to_owned() };
        let words = self.words.as_deref().unwrap_or("A smaller model's answer to this, which may be wrong: {draft}");
        format!("{text}\n\n{}", words.replace(PLACEHOLDER, &told))
    }

    fn told(&self, draft: &Draft) -> Option<String> {
        let value = || draft.value.as_ref().map_or_else(|| draft.text.clone(), Value::to_string);
        match self.given {
            Given::Nothing => None,
            Given::Draft => Some(draft.text.clone()),
            Given::Label => Some(value()),
            Given::Probabilities => {
                let field = |(name, of): &RankedField| {
                    let of: Vec<String> =
                        of.iter().take(MAX_TOLD).map(|(value, p)| format!("{value} {p:.2}")).collect();
                    name.as_ref().map_or_else(|| of.join(", "), |name| format!("{name}: {}", of.join(", ")))
                };
                let fields: Vec<String> = draft.probabilities.iter().map(field).collect();
                Some(if fields.is_empty() { value() } else { format!("{} ({})", value(), fields.join("; ")) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn so_much_is_told_as_is_said() {
        let of = vec![(json!("billing"), 0.6), (json!("legal"), 0.4)];
        let draft = Draft {
            text: "{\"queue\":\"billing\"}".to_owned(),
            value: Some(json!({"queue": "billing"})),
            probabilities: vec![(Some("queue".to_owned()), of)],
        };
        let words = Some("Draft: {draft}".to_owned());
        let added = |given| HandOn { given, words: words.clone() }.added("text", Some(&draft));
        assert_eq!(added(Given::Nothing), "text");
        assert_eq!(added(Given::Label), "text\n\nDraft: {\"queue\":\"billing\"}");
        let probabilities = "text\n\nDraft: {\"queue\":\"billing\"} (queue: \"billing\" 0.60, \"legal\" 0.40)";
        assert_eq!(added(Given::Probabilities), probabilities);
        assert_eq!(HandOn { given: Given::Draft, words: None }.added("text", None), "text");
        let own = HandOn { given: Given::Draft, words: None }.added("text", Some(&draft));
        assert_eq!(own, "text\n\nA smaller model's answer to this, which may be wrong: {\"queue\":\"billing\"}");
    }
}
