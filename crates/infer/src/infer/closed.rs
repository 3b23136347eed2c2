//! A closed answer as tokens: each field's value is one token, and the other allowed answers are its alternatives.

use serde_json::Value;

use crate::decide::{Answer, FieldAnswer};
use slm_engine::{LikelyToken, Token, TokenLogprob};

/// What no vocabulary holds: these tokens are whole answers.
const NO_TOKEN: Token = -1;

/// The answer's JSON in pieces that join to all of it: what the schema leaves no choice about has the log-probability 0,
/// a field's value that of its probability, with at most `n` of the allowed answers.
#[must_use]
pub fn tokens(answer: &Answer, n: usize) -> Vec<TokenLogprob> {
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
            self.tokens.push(token(field, self.n));
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

fn token(field: &FieldAnswer, n: usize) -> TokenLogprob {
    let mut likely: Vec<&(Value, f64)> = field.probabilities.iter().collect();
    // The sort is stable: of equals the schema's first comes first, as in the answer.
    likely.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let spelled = |value: &Value| value.to_string().into_bytes();
    let of = |(value, p): &(Value, f64)| LikelyToken { id: NO_TOKEN, bytes: spelled(value), logprob: p.ln() };
    let p = field.probabilities.iter().find(|(value, _)| *value == field.value).map_or(0.0, |(_, p)| *p);
    let likely = likely.into_iter().take(n).map(of).collect();
    TokenLogprob { id: NO_TOKEN, bytes: spelled(&field.value), logprob: p.ln(), likely }
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

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn told(tokens: &[TokenLogprob]) -> Vec<(&str, f64, Vec<&str>)> {
        let percent = |logprob: f64| (logprob.exp() * 100.0).round();
        tokens
            .iter()
            .map(|token| {
                (text(&token.bytes), percent(token.logprob), token.likely.iter().map(|l| text(&l.bytes)).collect())
            })
            .collect()
    }

    #[test]
    fn a_bare_answer_is_one_token() {
        let answer = answer(json!({"enum": ["no", "yes", "maybe"]}), &[&[0.2, 0.6, 0.0]]);
        let tokens = tokens(&answer, 3);
        assert_eq!(told(&tokens), [("\"yes\"", 75.0, vec!["\"yes\"", "\"no\"", "\"maybe\""])]);
        assert_eq!(tokens[0].likely[2].logprob, f64::NEG_INFINITY);
    }

    #[test]
    fn the_tokens_of_an_object_join_to_it() {
        let schema = json!({"type": "object", "properties": {
            "at": {"type": "object", "properties": {"queue": {"enum": ["a", "b"]}, "refund": {"type": "boolean"}}},
            "urgency": {"type": "integer", "minimum": 1, "maximum": 2},
        }});
        let answer = answer(schema, &[&[0.1, 0.3], &[0.5, 0.5], &[0.9, 0.1]]);
        let tokens = tokens(&answer, 1);
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
        assert_eq!(told(&tokens).iter().map(|token| token.0).collect::<String>(), answer.json.to_string());
    }
}
