//! One typed question about a state: what it says to a model, what is scored, and what the scores answer.
//!
//! The kinds are those of System One's and OpenAI's decisions. A question is answered by itself: nothing of it depends on
//! which other questions are asked of the same state.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{FieldAnswer, chosen};
use slm_engine::{Group, GroupScores};

/// Options of one choice.
pub const MAX_CHOICES: usize = 255;
/// Questions of one request.
pub const MAX_QUESTIONS: usize = 400;
/// Labels of more characters, or of several lines, are written as JSON.
const MAX_BARE_CHARS: usize = 200;

/// What is asked, and the answers that there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub instructions: String,
    kind: Kind,
    options: Vec<Answerable>,
    /// The names of a score's levels.
    legend: Vec<String>,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of the options.
    Choice,
    /// A level, from 0.
    Score,
    /// Whether it is so.
    Predicate,
}

#[derive(Debug, Clone, PartialEq)]
struct Answerable {
    value: Value,
    /// What the model would write.
    label: String,
    description: Option<String>,
}

/// Why a question cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    #[error("a choice has 2 to {MAX_CHOICES} options, not {0}")]
    Choices(usize),
    #[error("a score has 2 to {most} levels, not {n}")]
    Levels { n: usize, most: usize },
    #[error("`criteria` of a yes/no question is an object with `true` and `false`, or a text")]
    Meanings,
    #[error("an option is empty")]
    Empty,
    #[error("the option {0} is given twice")]
    Twice(String),
}

impl Question {
    /// One of these values, which are texts or booleans, with their descriptions.
    ///
    /// # Errors
    /// Too few or too many of them, an empty one, or one given twice.
    pub fn choice(
        instructions: String,
        options: impl IntoIterator<Item = (Value, Option<String>)>,
    ) -> Result<Question, QuestionError> {
        let options: Vec<(Value, Option<String>)> = options.into_iter().collect();
        if !(2..=MAX_CHOICES).contains(&options.len()) {
            return Err(QuestionError::Choices(options.len()));
        }
        for (number, (value, _)) in options.iter().enumerate() {
            if value.as_str().is_some_and(|text| text.trim().is_empty()) {
                return Err(QuestionError::Empty);
            }
            if options[..number].iter().any(|(earlier, _)| earlier == value) {
                return Err(QuestionError::Twice(value.to_string()));
            }
        }
        let labels = labels(options.iter().map(|(value, _)| value));
        let with_label = |((value, description), label)| Answerable { value, label, description };
        let options = options.into_iter().zip(labels).map(with_label).collect();
        Ok(Question { instructions, kind: Kind::Choice, options, legend: Vec::new() })
    }

    /// A level of a scale, the lowest first: each with its name and what it means.
    ///
    /// # Errors
    /// Too few or too many levels.
    pub fn score(
        instructions: String,
        levels: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> Result<Question, QuestionError> {
        let levels: Vec<(String, Option<String>)> = levels.into_iter().collect();
        if !(2..=MAX_CHOICES).contains(&levels.len()) {
            return Err(QuestionError::Levels { n: levels.len(), most: MAX_CHOICES });
        }
        let legend = levels.iter().map(|(name, _)| name.clone()).collect();
        let option = |(number, (name, means)): (usize, (String, Option<String>))| Answerable {
            value: number.into(),
            label: number.to_string(),
            description: Some(means.map_or(name.clone(), |means| format!("{name}: {means}"))).filter(|d| !d.is_empty()),
        };
        let options = levels.into_iter().enumerate().map(option).collect();
        Ok(Question { instructions, kind: Kind::Score, options, legend })
    }

    /// Whether something is so, with what either answer means.
    #[must_use]
    pub fn predicate(instructions: String, when_true: Option<String>, when_false: Option<String>) -> Question {
        let option = |value: bool, label: &str, description| Answerable {
            value: value.into(),
            label: label.to_owned(),
            description,
        };
        let options = vec![option(true, "yes", when_true), option(false, "no", when_false)];
        Question { instructions, kind: Kind::Predicate, options, legend: Vec::new() }
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The question in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = self.instructions.trim().to_owned();
        if !text.is_empty() {
            text.push('\n');
        }
        text += "Answer with exactly one of the following, and nothing else:\n";
        for option in &self.options {
            let description = option.description.as_deref().map(|d| format!(" ({d})")).unwrap_or_default();
            let _ = writeln!(text, "- {}{description}", option.label);
        }
        text.trim_end().to_owned()
    }

    /// What is scored; `lead` is between the prompt and the answer.
    #[must_use]
    pub fn group(&self, lead: &str) -> Group {
        Group::new("", self.options.iter().map(|option| format!("{lead}{}", option.label)))
    }

    /// The question as a schema, for a template that describes contracts itself.
    #[must_use]
    pub fn schema(&self) -> Value {
        let option = |option: &Answerable| match &option.description {
            Some(description) => json!({ "const": option.value, "description": description }),
            None => json!({ "const": option.value }),
        };
        json!({ "description": self.instructions, "oneOf": self.options.iter().map(option).collect::<Vec<_>>() })
    }

    /// The answer that the options' scores give.
    #[must_use]
    pub fn answer(&self, scores: &GroupScores) -> FieldAnswer {
        let values: Vec<Value> = self.options.iter().map(|option| option.value.clone()).collect();
        chosen(None, &values, scores)
    }

    /// What each level is called, for a score.
    pub fn legend(&self) -> impl Iterator<Item = &str> {
        self.legend.iter().map(String::as_str)
    }
}

/// What the model would write for each value: the text itself, or JSON where that could not be told from other lines, or
/// from another value's text.
fn labels<'v>(values: impl Iterator<Item = &'v Value> + Clone) -> Vec<String> {
    let bare = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_clear = |value: &Value| match value {
        Value::String(text) => {
            let is_line = text.trim() == text && !text.contains(['\n', '\r']) && text.chars().count() <= MAX_BARE_CHARS;
            is_line && !values.clone().any(|other| !other.is_string() && bare(other) == *text)
        }
        _ => true,
    };
    values.clone().map(|value| if is_clear(value) { bare(value) } else { value.to_string() }).collect()
}

/// The mean level, each weighed by its probability; from 0.
#[must_use]
pub fn expected_level(answer: &FieldAnswer) -> f64 {
    answer.probabilities.iter().enumerate().map(|(level, (_, p))| level as f64 * p).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_lists_its_options_with_what_they_mean() {
        let options = [(json!("billing"), Some("money".to_owned())), (json!("other"), None)];
        let question = Question::choice("Who handles it?".to_owned(), options).unwrap();
        let expected = "Who handles it?\nAnswer with exactly one of the following, and nothing else:\n\
            - billing (money)\n- other";
        assert_eq!(question.describe(), expected);
        assert_eq!(question.group("").candidates, ["billing", "other"]);
    }

    #[test]
    fn labels_of_any_text_can_be_told_apart() {
        let values = [json!("true"), json!(true), json!("two\nlines"), json!(" spaced"), json!("plain")];
        let question = Question::choice(String::new(), values.map(|value| (value, None))).unwrap();
        assert_eq!(question.group("").candidates, ["\"true\"", "true", "\"two\\nlines\"", "\" spaced\"", "plain"]);
    }

    #[test]
    fn what_cannot_be_a_choice_is_refused() {
        let choice =
            |values: Vec<Value>| Question::choice(String::new(), values.into_iter().map(|value| (value, None)));
        assert_eq!(choice(vec![json!("a")]).unwrap_err(), QuestionError::Choices(1));
        assert_eq!(choice((0..256).map(|n| json!(n.to_string())).collect()).unwrap_err(), QuestionError::Choices(256));
        assert_eq!(choice(vec![json!("a"), json!("a")]).unwrap_err(), QuestionError::Twice("\"a\"".to_owned()));
        assert_eq!(choice(vec![json!("a"), json!(" ")]).unwrap_err(), QuestionError::Empty);
        assert!(choice((0..255).map(|n| json!(n.to_string())).collect()).is_ok());
    }

    #[test]
    fn a_score_is_the_mean_of_its_levels() {
        let levels = [("calm", None), ("urgent", Some("today")), ("on fire", None)];
        let levels = levels.map(|(name, means): (&str, Option<&str>)| (name.to_owned(), means.map(str::to_owned)));
        let question = Question::score("How urgent?".to_owned(), levels).unwrap();
        let answer = question.answer(&GroupScores::likelihood(vec![0.5f64.ln(), 0.25f64.ln(), 0.25f64.ln()]));
        assert!((expected_level(&answer) - 0.75).abs() < 1e-12);
        assert_eq!(question.legend().collect::<Vec<_>>(), ["calm", "urgent", "on fire"]);
        assert!(question.describe().contains("- 0 (calm)\n- 1 (urgent: today)\n- 2 (on fire)"));
    }
}
