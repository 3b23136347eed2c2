//! A closed answer as text and as tokens: each field's value is one token, and the other allowed answers are its alternatives.

use serde_json::Value;

use super::ask::LabelSpelling;
use crate::decide::{Answer, FieldAnswer};
use slm_engine::{LikelyToken, Token, TokenLogprob};

/// What no vocabulary holds: these tokens are whole answers.
const NO_TOKEN: Token = -1;

/// How a closed answer is written.
#[derive(Debug, Clone, Default)]
pub struct Spelling {
    pub label: LabelSpelling,
    /// What is written in the place of a bare label that is withheld.
    pub abstained: String,
}

impl Spelling {
    /// A whole answer: a text without its quotes where it is to be bare. Inside an object all is JSON.
    fn whole(&self, value: &Value) -> String {
        match (value, self.label) {
            (Value::Null, LabelSpelling::Bare) => self.abstained.clone(),
            (value, label) => spelled(value, label),
        }
    }

    /// What is written for a field.
    fn field(&self, field: &FieldAnswer) -> String {
        match field.given() {
            // A label can be null, too.
            Some(value) => spelled(value, self.label),
            None => self.whole(&Value::Null),
        }
    }
}

/// The answer as it is written.
#[must_use]
pub fn text(answer: &Answer, spelling: &Spelling) -> String {
    match answer.fields.as_slice() {
        [field @ FieldAnswer { name: None, .. }] => spelling.field(field),
        _ => answer.json.to_string(),
    }
}

/// The answer's text in pieces that join to all of it: what the schema leaves no choice about has the log-probability 0,
/// a field's value that of its probability, with at most `n` of the allowed answers. What stands in the place of a withheld
/// value has the log-probability of the best guess, so that nobody takes it for more certain than that.
#[must_use]
pub fn tokens(answer: &Answer, n: usize, spelling: &Spelling) -> Vec<TokenLogprob> {
    if let [field @ FieldAnswer { name: None, .. }] = answer.fields.as_slice() {
        return vec![token(field, n, spelling)];
    }
    let mut writer = Writer { fields: answer.fields.iter().peekable(), n, fixed: String::new(), tokens: Vec::new() };
    writer.write(&answer.json, None);
    writer.flush();
    writer.tokens
}

struct Writer<'a, I: Iterator<Item = &'a FieldAnswer>> {
    fields: std::iter::Peekable<I>,
    n: usize,
    /// Written and not yet a token.
    fixed: String,
    tokens: Vec<TokenLogprob>,
}

impl<'a, I: Iterator<Item = &'a FieldAnswer>> Writer<'a, I> {
    /// Writes the value at a path; fields come in the order in which they are in the answer.
    fn write(&mut self, value: &Value, path: Option<String>) {
        if let Some(field) = self.fields.next_if(|field| field.name == path) {
            self.flush();
            self.tokens.push(token(field, self.n, &Spelling::default()));
            return;
        }
        let Value::Object(object) = value else {
            self.fixed += &value.to_string();
            return;
        };
        self.fixed.push('{');
        for (number, (name, value)) in object.iter().enumerate() {
            if number > 0 {
                self.fixed.push(',');
            }
            self.fixed += &Value::from(name.as_str()).to_string();
            self.fixed.push(':');
            self.write(value, Some(path.as_ref().map_or_else(|| name.clone(), |path| format!("{path}.{name}"))));
        }
        self.fixed.push('}');
    }

    fn flush(&mut self) {
        if !self.fixed.is_empty() {
            let bytes = std::mem::take(&mut self.fixed).into_bytes();
            self.tokens.push(TokenLogprob { id: NO_TOKEN, bytes, logprob: 0.0, likely: Vec::new() });
        }
    }
}

/// A whole answer as it is written: a text without its quotes where it is to be bare. Inside an object all is JSON.
pub fn spelled(value: &Value, spelling: LabelSpelling) -> String {
    match (value, spelling) {
        (Value::String(text), LabelSpelling::Bare) => text.clone(),
        (value, LabelSpelling::Bare | LabelSpelling::Json) => value.to_string(),
    }
}

fn token(field: &FieldAnswer, n: usize, spelling: &Spelling) -> TokenLogprob {
    let mut likely: Vec<&(Value, f64)> = field.probabilities.iter().collect();
    // The sort is stable: of equals the schema's first comes first, as in the answer.
    likely.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let bytes = |value: &Value| spelled(value, spelling.label).into_bytes();
    let of = |(value, p): &(Value, f64)| LikelyToken { id: NO_TOKEN, bytes: bytes(value), logprob: p.ln() };
    let likely = likely.into_iter().take(n).map(of).collect();
    TokenLogprob { id: NO_TOKEN, bytes: spelling.field(field).into_bytes(), logprob: field.probability().ln(), likely }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide;
    use serde_json::json;
    use slm_engine::GroupScores;
    use slm_values::contract::Contract;

    fn answer(schema: Value, probabilities: &[&[f64]]) -> Answer {
        let scores = probabilities.iter().map(|p| GroupScores::likelihood(p.iter().map(|p| p.ln()).collect()));
        let scores: Vec<GroupScores> = scores.collect();
        decide::answer(&Contract::from_schema(schema).unwrap(), &scores)
    }

    fn spelling(label: LabelSpelling) -> Spelling {
        Spelling { label, ..Spelling::default() }
    }

    fn utf8(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn told(tokens: &[TokenLogprob]) -> Vec<(&str, f64, Vec<&str>)> {
        let percent = |logprob: f64| (logprob.exp() * 100.0).round();
        tokens
            .iter()
            .map(|token| {
                (utf8(&token.bytes), percent(token.logprob), token.likely.iter().map(|l| utf8(&l.bytes)).collect())
            })
            .collect()
    }

    #[test]
    fn a_bare_answer_is_one_token() {
        let answer = answer(json!({"enum": ["no", "yes", "maybe"]}), &[&[0.2, 0.6, 0.0]]);
        let quoted = tokens(&answer, 3, &spelling(LabelSpelling::Json));
        assert_eq!(told(&quoted), [("\"yes\"", 75.0, vec!["\"yes\"", "\"no\"", "\"maybe\""])]);
        assert_eq!(quoted[0].likely[2].logprob, f64::NEG_INFINITY);
        let bare = tokens(&answer, 2, &spelling(LabelSpelling::Bare));
        assert_eq!(told(&bare), [("yes", 75.0, vec!["yes", "no"])]);
        let texts = [LabelSpelling::Json, LabelSpelling::Bare].map(|label| text(&answer, &spelling(label)));
        assert_eq!(texts, ["\"yes\"", "yes"]);
    }

    /// The same, with its first field withheld.
    fn withheld(answer: Answer, schema: Value) -> Answer {
        let mut fields = answer.fields;
        fields[0].fitted = Some(decide::Fitted {
            fit: "id".into(),
            method: slm_fit::MethodName::Affine,
            depth: None,
            raw: None,
            threshold: None,
            abstention: Some(slm_fit::Abstention::AlwaysAPerson),
        });
        Answer::of(&Contract::from_schema(schema).unwrap(), fields)
    }

    #[test]
    fn what_is_withheld_is_null_or_what_was_asked_for_and_as_likely_as_the_guess() {
        let schema = || json!({"enum": ["no", "yes"]});
        let bare = withheld(answer(schema(), &[&[0.25, 0.75]]), schema());
        for (label, abstained, written) in
            [(LabelSpelling::Json, "?", "null"), (LabelSpelling::Bare, "", ""), (LabelSpelling::Bare, "?", "?")]
        {
            let spelling = Spelling { label, abstained: abstained.to_owned() };
            assert_eq!(text(&bare, &spelling), written);
            let tokens = tokens(&bare, 1, &spelling);
            assert_eq!((told(&tokens)[0].0, told(&tokens)[0].1), (written, 75.0));
        }
        let schema = || json!({"type": "object", "properties": {"a": {"enum": [1, 2]}, "b": {"type": "boolean"}}});
        let object = withheld(answer(schema(), &[&[0.25, 0.75], &[0.9, 0.1]]), schema());
        let spelling = Spelling { label: LabelSpelling::Bare, abstained: "?".to_owned() };
        assert_eq!(text(&object, &spelling), r#"{"a":null,"b":true}"#);
        let tokens = tokens(&object, 1, &spelling);
        assert_eq!(told(&tokens)[1], ("null", 75.0, vec!["2"]));
        assert_eq!(told(&tokens).iter().map(|token| token.0).collect::<String>(), text(&object, &spelling));
    }

    #[test]
    fn the_tokens_of_an_object_join_to_it() {
        let schema = json!({"type": "object", "properties": {
            "at": {"type": "object", "properties": {"queue": {"enum": ["a", "b"]}, "refund": {"type": "boolean"}}},
            "urgency": {"type": "integer", "minimum": 1, "maximum": 2},
        }});
        let answer = answer(schema, &[&[0.1, 0.3], &[0.5, 0.5], &[0.9, 0.1]]);
        let tokens = tokens(&answer, 1, &spelling(LabelSpelling::Bare));
        let expected = [
            ("{\"at\":{\"queue\":", 100.0, vec![]),
            ("\"b\"", 75.0, vec!["\"b\""]),
            (",\"refund\":", 100.0, vec![]),
            ("true", 50.0, vec!["true"]),
            ("},\"urgency\":", 100.0, vec![]),
            ("1", 90.0, vec!["1"]),
            ("}", 100.0, vec![]),
        ];
        assert_eq!(told(&tokens), expected);
        let joined: String = told(&tokens).iter().map(|token| token.0).collect();
        assert_eq!(
            [joined, text(&answer, &spelling(LabelSpelling::Bare))],
            [answer.json.to_string(), answer.json.to_string()]
        );
    }
}
