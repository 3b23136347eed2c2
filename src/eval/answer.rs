//! What one subject answered to one row: as it came, which is kept and can be judged anew, and as values of the suite's fields.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::suite::{ExpectedField, Judge};
use crate::contract::{Contract, Form, Violation};
use crate::decide::Answer;

/// What came, with what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    pub said: Said,
    pub cost: Cost,
    /// The hidden state before a closed answer, where it was asked for.
    pub state: Option<Vec<f32>>,
}

/// What a row took. All of it is 0 for what asks no model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// From the row's turn to its answer: waiting for rows before it is not in it.
    pub latency_ms: f64,
    /// Milliseconds from the row's turn to the first token of a written answer; `None` for scored answers, and if the time is not known.
    pub first_token_ms: Option<f64>,
    /// Tokens of the prompt, those of them that were taken over from an earlier evaluation, and those that were written.
    pub n_prompt: u64,
    pub n_reused: u64,
    pub n_written: u64,
}

/// An answer before anybody has judged it.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// One for each field of a closed contract, in its order.
    Closed(Vec<Scores>),
    /// Written text, JSON where the form is closed; `is_cut` where it came to the limit of tokens.
    Text {
        text: String,
        is_cut: bool,
    },
    Failed(Failed),
}

/// The probabilities of a closed field's options, in the contract's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    pub best: usize,
    pub probabilities: Vec<f64>,
    /// `None` where whoever answered does not tell.
    pub label_mass: Option<f64>,
    /// Whether the best is no answer, because a fit leaves it to a person.
    pub is_withheld: bool,
}

/// Why there is no answer that can be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub why: Why,
    pub reason: String,
}

/// The kinds of failure, which are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The row itself cannot be read.
    Unreadable,
    /// The prompt does not fit the model's context.
    TooLong,
    /// The answer came to its limit of tokens.
    Truncated,
    /// The answer declines to answer, see [`is_refusal`].
    Refused,
    /// The answer does not meet the format.
    Format,
    /// There was no answer.
    NoAnswer,
}

impl Why {
    pub const ALL: [Why; 6] = [Why::Unreadable, Why::TooLong, Why::Truncated, Why::Refused, Why::Format, Why::NoAnswer];

    /// For people, of a number of rows.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Why::Unreadable => "not read",
            Why::TooLong => "too long for the context",
            Why::Truncated => "cut at the limit of tokens",
            Why::Refused => "refused",
            Why::Format => "broke the format",
            Why::NoAnswer => "no answer",
        }
    }
}

/// The answer to one of the suite's fields.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldAnswer {
    /// Null where the answer leaves it out.
    pub value: Value,
    /// The probability of each of the field's candidates; empty where there are none.
    pub probabilities: Vec<f64>,
    /// The raw probability that the answer is one of the candidates.
    pub label_mass: Option<f64>,
    /// Whether the subject leaves the answer to a person; the value is then its best guess.
    pub is_withheld: bool,
}

impl Scores {
    /// The scores of an answer's fields, which are those of `contract`.
    #[must_use]
    pub fn of(answer: &Answer) -> Vec<Scores> {
        let scores = answer.fields.iter().map(|field| Scores {
            best: field.probabilities.iter().position(|(value, _)| *value == field.value).unwrap_or_default(),
            probabilities: field.probabilities.iter().map(|(_, p)| *p).collect(),
            label_mass: field.label_mass,
            is_withheld: field.abstention().is_some(),
        });
        scores.collect()
    }
}

impl Said {
    /// Whether the next try may end otherwise, so that it is not kept.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Said::Failed(Failed { why: Why::NoAnswer, .. }))
    }

    /// The values of the suite's fields in what was said under `form`; `candidates` has for each field the labels by which
    /// its probabilities are ordered.
    ///
    /// # Errors
    ///
    /// Why the answer counts as failed.
    pub fn fields(
        &self,
        form: &Form,
        expect: &[ExpectedField],
        candidates: &[Vec<Value>],
    ) -> Result<Vec<FieldAnswer>, Failed> {
        match (self, form) {
            (Said::Failed(failed), _) => Err(failed.clone()),
            (Said::Closed(scores), Form::Closed(contract)) => Ok(closed(scores, contract, expect, candidates)),
            (Said::Text { is_cut: true, .. }, _) => {
                Err(Failed { why: Why::Truncated, reason: "the answer came to its limit of tokens".to_owned() })
            }
            (Said::Text { text, .. }, Form::Closed(contract)) => told(text, contract, expect),
            (Said::Text { text, .. }, _) if is_refusal(text) => {
                Err(Failed { why: Why::Refused, reason: format!("the answer declines: {}", beginning(text)) })
            }
            (Said::Text { text, .. }, Form::Open(open)) => match open.check(text) {
                Ok(value) => Ok(expect.iter().map(|field| open_field(&value, field)).collect()),
                Err(Violation::Length) => Err(Failed { why: Why::Truncated, reason: Violation::Length.to_string() }),
                Err(violation) => Err(Failed { why: Why::Format, reason: violation.to_string() }),
            },
            (Said::Text { text, .. }, Form::Free) => Ok(expect.iter().map(|_| plain(text.trim().into())).collect()),
            (Said::Closed(_), _) => {
                Err(Failed { why: Why::NoAnswer, reason: "the kept answer is of another form".to_owned() })
            }
        }
    }
}

fn plain(value: Value) -> FieldAnswer {
    FieldAnswer { value, probabilities: Vec::new(), label_mass: None, is_withheld: false }
}

/// The values of a closed answer that came as JSON, without probabilities.
fn told(text: &str, contract: &Contract, expect: &[ExpectedField]) -> Result<Vec<FieldAnswer>, Failed> {
    let broken = |violation: Violation| Failed { why: Why::Format, reason: violation.to_string() };
    let answer: Value = serde_json::from_str(text).map_err(|error| broken(Violation::NotJson(error.to_string())))?;
    contract.check(&answer).map_err(broken)?;
    let field = |expected: &ExpectedField| {
        let own = contract.fields().iter().find(|field| field.name().as_deref() == Some(&expected.field));
        match own {
            // A name of the answer may have a dot in it.
            Some(field) => {
                let value = field.path.iter().try_fold(&answer, |at, name| at.get(name));
                plain(value.cloned().unwrap_or_default())
            }
            None => open_field(&answer, expected),
        }
    };
    Ok(expect.iter().map(field).collect())
}

fn closed(
    scores: &[Scores],
    contract: &Contract,
    expect: &[ExpectedField],
    candidates: &[Vec<Value>],
) -> Vec<FieldAnswer> {
    let named: Vec<(Option<String>, usize)> =
        contract.fields().iter().enumerate().map(|(at, field)| (field.name(), at)).collect();
    let value = |at: usize| {
        let option = contract.fields()[at].options.get(scores.get(at)?.best)?;
        Some(option.value.clone())
    };
    let field = |(nth, expected): (usize, &ExpectedField)| {
        let of = named.iter().find(|(name, _)| name.as_deref() == Some(&expected.field) || contract.is_bare());
        match of {
            Some(&(_, at)) => {
                let options: Vec<&Value> = contract.fields()[at].options.iter().map(|option| &option.value).collect();
                let Some(scores) = scores.get(at) else { return plain(Value::Null) };
                let of_candidate = |(nth, candidate): (usize, &Value)| {
                    // Nearly always the candidates are this contract's options.
                    let same = (options.get(nth) == Some(&candidate)).then_some(nth);
                    let at = same.or_else(|| options.iter().position(|option| *option == candidate));
                    at.and_then(|at| scores.probabilities.get(at)).copied().unwrap_or(0.0)
                };
                FieldAnswer {
                    value: value(at).unwrap_or_default(),
                    probabilities: candidates.get(nth).into_iter().flatten().enumerate().map(of_candidate).collect(),
                    label_mass: scores.label_mass,
                    is_withheld: scores.is_withheld,
                }
            }
            // Tags that are booleans below the field's name.
            None => {
                let prefix = if expected.field == "*" { String::new() } else { format!("{}.", expected.field) };
                let tags = named.iter().filter(|(_, at)| value(*at) == Some(Value::Bool(true)));
                let tag =
                    |(name, _): &(Option<String>, usize)| Some(Value::from(name.as_deref()?.strip_prefix(&prefix)?));
                plain(Value::Array(tags.filter_map(tag).collect()))
            }
        }
    };
    expect.iter().enumerate().map(field).collect()
}

/// A field of a JSON answer by its path; tags may be the names of true fields.
fn open_field(answer: &Value, expected: &ExpectedField) -> FieldAnswer {
    let mut at = Some(answer);
    if expected.field != "*" && (answer.is_object() || expected.field.contains('.')) {
        for name in expected.field.split('.') {
            at = at.and_then(|value| value.get(name));
        }
    }
    let value = at.cloned().unwrap_or_default();
    match (&expected.judge, &value) {
        (Judge::Tags, Value::Object(map)) => {
            let tags =
                map.iter().filter(|(_, is)| **is == Value::Bool(true)).map(|(name, _)| Value::from(name.as_str()));
            plain(Value::Array(tags.collect()))
        }
        _ => plain(value),
    }
}

/// Whether a text declines instead of answering: among its first words, in any case, are such as `I cannot`, `I'm sorry` or
/// `as an AI`. An answer in a format is never one.
#[must_use]
pub fn is_refusal(text: &str) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "i'm sorry",
        "i am sorry",
        "sorry,",
        "i cannot",
        "i can't",
        "i can not",
        "i'm unable",
        "i am unable",
        "i'm not able",
        "i am not able",
        "i won't",
        "i will not",
        "as an ai",
        "as a language model",
    ];
    let text = text.trim_start().to_lowercase().replace('\u{2019}', "'");
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

/// The first words of a text, for a message.
fn beginning(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::eval::suite::Suite;

    fn expect(said: &str) -> Vec<ExpectedField> {
        Suite::parse(&format!("model: m\ndata: d.csv\ninput: text\nexpect: {said}\n")).expect("a good suite").expect
    }

    fn values(said: &Said, form: &Form, of: &str) -> Result<Vec<Value>, Why> {
        let expect = expect(of);
        let none = vec![Vec::new(); expect.len()];
        let fields = said.fields(form, &expect, &none).map_err(|failed| failed.why)?;
        Ok(fields.into_iter().map(|field| field.value).collect())
    }

    #[test]
    fn a_written_answer_is_read_by_its_form() {
        let form = Form::from_schema(json!({"type": "object", "properties": {"a": {"type": "object", "properties":
            {"b": {"type": "string"}}}, "tags": {"type": "array", "items": {"type": "string"}}}}));
        let form = form.expect("a schema");
        let text = |text: &str| Said::Text { text: text.to_owned(), is_cut: false };
        let said = text(r#"{"a": {"b": "x"}, "tags": ["t"]}"#);
        assert_eq!(values(&said, &form, "[a.b, a.c, tags]"), Ok(vec![json!("x"), json!(null), json!(["t"])]));
        assert_eq!(values(&text("{"), &form, "a.b"), Err(Why::Format));
        assert_eq!(values(&text("I\u{2019}m sorry, but no."), &form, "a.b"), Err(Why::Refused));
        assert_eq!(values(&Said::Text { text: "{".to_owned(), is_cut: true }, &form, "a.b"), Err(Why::Truncated));
        assert_eq!(values(&text(" as I said "), &Form::Free, "answer"), Ok(vec![json!("as I said")]));
        assert!(!is_refusal("The customer is sorry."));
    }

    #[test]
    fn a_closed_answer_has_the_probabilities_of_the_candidates_in_their_order() {
        let contract = Contract::from_schema(json!({"type": "object", "properties": {
            "queue": {"enum": ["a", "b"]}, "is.open": {"type": "boolean"}, "t": {"type": "object", "properties": {
                "x": {"type": "boolean"}, "y": {"type": "boolean"}}}}}))
        .expect("closed");
        let form = Form::Closed(contract.into());
        let scores = |best, p: [f64; 2]| {
            let (probabilities, label_mass) = (p.to_vec(), Some(0.5));
            Scores { best, probabilities, label_mass, is_withheld: false }
        };
        let said = Said::Closed(vec![
            scores(1, [0.25, 0.75]),
            scores(0, [0.9, 0.1]),
            scores(0, [0.6, 0.4]),
            scores(1, [0.3, 0.7]),
        ]);
        let expect = expect("{queue: queue, t: {column: tags, as: tags}}");
        let candidates = [vec![json!("b"), json!("c"), json!("a")], Vec::new()];
        let Form::Closed(contract) = &form else { panic!("closed") };
        let is_true_first = contract.fields()[2].options[0].value == json!(true);
        let fields = said.fields(&form, &expect, &candidates).expect("an answer");
        assert_eq!(fields[0].probabilities, [0.75, 0.0, 0.25]);
        assert_eq!((&fields[0].value, fields[0].label_mass), (&json!("b"), Some(0.5)));
        assert_eq!(fields[1].value, if is_true_first { json!(["x"]) } else { json!(["y"]) });

        let text = r#"{"queue": "b", "is.open": true, "t": {"x": false, "y": true}}"#;
        let said = Said::Text { text: text.to_owned(), is_cut: false };
        let fields = said.fields(&form, &expect, &candidates).expect("an answer");
        let values: Vec<&Value> = fields.iter().map(|field| &field.value).collect();
        assert_eq!(values, [&json!("b"), &json!(["y"])]);
        assert!(fields.iter().all(|field| field.probabilities.is_empty() && field.label_mass.is_none()));
        let said = Said::Text { text: text.replace("\"b\"", "\"c\""), is_cut: false };
        assert_eq!(said.fields(&form, &expect, &candidates).map_err(|failed| failed.why), Err(Why::Format));
    }
}
