//! What is known about each field of a generated answer: how sure the model was, and where it is in the input.
//!
//! Pure: it walks the answer's text with its schema beside it, and maps fields to bytes, bytes to tokens and their
//! probabilities, texts to places in the input, and `enum` and `boolean` fields to the points at which an engine is asked
//! for the probability of each option.

mod source;
mod spans;

use std::ops::Range;

use serde_json::Value;

use crate::decide::FieldAnswer;
use slm_engine::{GeneratedToken, GroupScores, Point};

pub use source::{Found, Likeness, Source};
pub use spans::{Leaf, Step, leaves};

/// Options of a field whose probabilities are asked for.
const MAX_OPTIONS: usize = 255;
/// References and choices followed one after the other.
const MAX_DEPTH: usize = 32;

/// What an answer's text and tokens tell, before the engine is asked for more.
#[derive(Debug)]
pub struct Reading {
    fields: Vec<Field>,
    /// The places at which options are to be compared, for the engine.
    pub points: Vec<Point>,
}

/// A field of a written answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The names that lead to it, with dots (`items.0.sku`); `None` where the answer is one value.
    pub name: Option<String>,
    pub value: Value,
    pub certainty: Certainty,
}

/// How sure a field is.
#[derive(Debug, Clone, PartialEq)]
pub enum Certainty {
    /// A text or a number: the probabilities of the tokens that wrote it, and its place in the input.
    Written { tokens: Option<TokenProbabilities>, found: Option<Found> },
    /// One of few options: the probability of each; `None` until the engine has been asked.
    Chosen { options: Vec<Value>, answer: Option<FieldAnswer> },
    /// Nothing is known of it: it is `null`, or the schema allows nothing else.
    Plain,
}

/// The probabilities that the model gave to the tokens of a value before any of them was ruled out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenProbabilities {
    pub mean: f64,
    pub min: f64,
    /// Tokens that the model chose; those that the grammar forced are not counted.
    pub n_tokens: usize,
}

/// Reads an answer that was written under a schema.
///
/// `tokens` are the answer's, their bytes its own; `input` is what it was extracted from. Nothing where the answer is no
/// JSON.
#[must_use]
pub fn read(schema: &Value, answer: &str, tokens: &[GeneratedToken], input: &str) -> Option<Reading> {
    let source = Source::new(input);
    let mut reading = Reading { fields: Vec::new(), points: Vec::new() };
    for leaf in leaves(answer)? {
        let options = Schema { root: schema }.options(&leaf.path).filter(|options| options.contains(&leaf.value));
        let certainty = match (options, &leaf.value) {
            // What the schema fixes was not extracted.
            (Some(options), _) if options.len() == 1 => Certainty::Plain,
            (Some(options), _) => {
                reading.points.push(point(&leaf, &options, answer));
                Certainty::Chosen { options, answer: None }
            }
            (None, Value::String(text)) => {
                Certainty::Written { tokens: probabilities(tokens, &leaf.content()), found: source.find(text) }
            }
            (None, Value::Number(_)) => {
                let found = source.find(&answer[leaf.bytes.clone()]);
                Certainty::Written { tokens: probabilities(tokens, &leaf.content()), found }
            }
            (None, _) => Certainty::Plain,
        };
        reading.fields.push(Field { name: leaf.name(), value: leaf.value, certainty });
    }
    Some(reading)
}

impl Reading {
    /// The fields, with what the engine said of each of the points: the scores of every option.
    #[must_use]
    pub fn with(mut self, scores: &[GroupScores]) -> Vec<Field> {
        let mut scores = scores.iter();
        for field in &mut self.fields {
            if let Certainty::Chosen { options, answer } = &mut field.certainty {
                let said = scores.next().filter(|said| said.logprobs.len() == options.len());
                *answer = said.map(|said| crate::decide::chosen(field.name.clone(), options, said));
            }
        }
        self.fields
    }

    /// The fields without the engine's word on options.
    #[must_use]
    pub fn alone(self) -> Vec<Field> {
        self.fields
    }
}

/// The place of a choice. A number's candidates are distinguished by what is after it in the answer: `1` begins `12`.
fn point(leaf: &Leaf, options: &[Value], answer: &str) -> Point {
    let behind = answer[leaf.bytes.end..].chars().next().filter(|_| options.iter().any(Value::is_number));
    let candidate = |option: &Value| {
        let mut text = option.to_string();
        text.extend(behind);
        text
    };
    Point { at: leaf.bytes.start, candidates: options.iter().map(candidate).collect() }
}

/// The probabilities of the tokens that wrote some of these bytes.
fn probabilities(tokens: &[GeneratedToken], bytes: &Range<usize>) -> Option<TokenProbabilities> {
    let mut at = 0;
    let mut chosen = Vec::new();
    for token in tokens {
        let from = at;
        at += token.n_bytes;
        // An empty text is its closing quote.
        let is_inside =
            if bytes.is_empty() { (from..at).contains(&bytes.start) } else { from < bytes.end && at > bytes.start };
        if let (true, Some(logprob)) = (is_inside, token.logprob) {
            chosen.push(logprob.exp());
        }
    }
    let min = chosen.iter().copied().reduce(f64::min)?;
    Some(TokenProbabilities { mean: chosen.iter().sum::<f64>() / chosen.len() as f64, min, n_tokens: chosen.len() })
}

/// A schema that is walked along a path.
#[derive(Clone, Copy)]
struct Schema<'s> {
    root: &'s Value,
}

impl<'s> Schema<'s> {
    /// Every value that the schema allows at a path, where they can be listed and are few.
    fn options(self, path: &[Step]) -> Option<Vec<Value>> {
        let mut options: Vec<Value> = Vec::new();
        let mut places = vec![self.root];
        for step in path {
            places = places.into_iter().flat_map(|place| self.below(place, step, 0)).collect();
        }
        if places.is_empty() {
            return None;
        }
        for place in places {
            for value in self.listed(place, 0)? {
                if !options.contains(&value) {
                    options.push(value);
                }
            }
        }
        (1..=MAX_OPTIONS).contains(&options.len()).then_some(options)
    }

    /// The schemas that a schema has for one of its parts, through references and choices.
    fn below(self, schema: &'s Value, step: &Step, depth: usize) -> Vec<&'s Value> {
        let (Some(map), true) = (schema.as_object(), depth < MAX_DEPTH) else { return Vec::new() };
        let mut found = Vec::new();
        let own = match step {
            Step::Name(name) => {
                map.get("properties").and_then(|named| named.get(name)).or_else(|| map.get("additionalProperties"))
            }
            Step::Index(index) => {
                map.get("prefixItems").and_then(|first| first.get(index)).or_else(|| map.get("items"))
            }
        };
        found.extend(own.filter(|schema| schema.is_object()));
        for inner in self.in_place(map) {
            found.extend(self.below(inner, step, depth + 1));
        }
        found
    }

    /// The values that a schema lists; nothing where it allows others.
    fn listed(self, schema: &'s Value, depth: usize) -> Option<Vec<Value>> {
        let map = schema.as_object().filter(|_| depth < MAX_DEPTH)?;
        if let Some(values) = map.get("enum").and_then(Value::as_array) {
            let is_scalar = values.iter().all(|value| !value.is_array() && !value.is_object());
            return is_scalar.then(|| values.clone());
        }
        if let Some(value) = map.get("const") {
            return Some(vec![value.clone()]);
        }
        let of_type = |name: &str| match name {
            "boolean" => Some(vec![Value::Bool(true), Value::Bool(false)]),
            "null" => Some(vec![Value::Null]),
            _ => None,
        };
        match map.get("type") {
            Some(Value::String(name)) => return of_type(name),
            Some(Value::Array(names)) => {
                let lists: Option<Vec<_>> = names.iter().map(|name| of_type(name.as_str()?)).collect();
                return lists.map(|lists| lists.concat());
            }
            _ => {}
        }
        if map.contains_key("allOf") {
            return None;
        }
        let lists: Option<Vec<_>> = self.in_place(map).into_iter().map(|inner| self.listed(inner, depth + 1)).collect();
        lists.map(|lists| lists.concat()).filter(|values| !values.is_empty())
    }

    /// The schemas that speak of the same value.
    fn in_place(self, map: &'s serde_json::Map<String, Value>) -> Vec<&'s Value> {
        let reference = map.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
        let mut found: Vec<&Value> = reference.and_then(|pointer| self.root.pointer(pointer)).into_iter().collect();
        for choice in ["allOf", "anyOf", "oneOf"] {
            found.extend(map.get(choice).and_then(Value::as_array).into_iter().flatten());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tokens(pieces: &[(&str, Option<f64>)]) -> Vec<GeneratedToken> {
        pieces
            .iter()
            .map(|(piece, p)| GeneratedToken { id: 0, n_bytes: piece.len(), logprob: p.map(f64::ln) })
            .collect()
    }

    #[test]
    fn fields_carry_their_tokens_and_their_place() {
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}, "none": {"type": "string"}}});
        let pieces = [
            ("{\"name\": \"", None),
            ("Jane", Some(0.9)),
            (" D", Some(0.5)),
            ("oe\", \"", Some(0.4)),
            ("n\": ", None),
            ("1182", Some(0.8)),
            (", \"none\": \"", None),
            ("\"", Some(0.25)),
            ("}", None),
        ];
        let answer: String = pieces.iter().map(|(piece, _)| *piece).collect();
        let reading = read(&schema, &answer, &tokens(&pieces), "from JANE  DOE, order 1182").unwrap();
        assert!(reading.points.is_empty());
        let fields = reading.alone();
        let written = |field: &Field| match &field.certainty {
            Certainty::Written { tokens, found } => {
                let TokenProbabilities { mean, min, n_tokens } = tokens.unwrap();
                (
                    (mean * 1e6).round() / 1e6,
                    (min * 1e6).round() / 1e6,
                    n_tokens,
                    found.as_ref().map(|f| f.bytes.clone()),
                )
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(written(&fields[0]), (0.6, 0.4, 3, Some(5..14)));
        assert_eq!(written(&fields[1]), (0.8, 0.8, 1, Some(22..26)));
        assert_eq!(written(&fields[2]), (0.25, 0.25, 1, None));
        assert_eq!(fields[0].name.as_deref(), Some("name"));
    }

    #[test]
    fn choices_become_points_and_points_probabilities() {
        let schema = json!({
            "$defs": {"kind": {"enum": ["dog", "dogfish"]}},
            "type": "object",
            "properties": {
                "kind": {"$ref": "#/$defs/kind"},
                "ok": {"type": "boolean"},
                "list": {"type": "array", "items": {"anyOf": [{"enum": [1, 12]}, {"type": "null"}]}},
                "always": {"const": "x"},
                "text": {"anyOf": [{"type": "string"}, {"enum": [1]}]},
            },
        });
        let answer = r#"{"kind": "dog", "ok": true, "list": [1, null], "always": "x", "text": "y"}"#;
        let reading = read(&schema, answer, &[], "").unwrap();
        let expect = [
            (9, vec![r#""dog""#, r#""dogfish""#]),
            (22, vec!["true", "false"]),
            (37, vec!["1,", "12,", "null,"]),
            (40, vec!["1]", "12]", "null]"]),
        ];
        let points: Vec<(usize, Vec<&str>)> = reading
            .points
            .iter()
            .map(|point| (point.at, point.candidates.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(points, expect);
        for point in &reading.points {
            let texts = &point.candidates;
            assert!(texts.iter().all(|a| texts.iter().all(|b| a == b || !b.starts_with(a.as_str()))), "{texts:?}");
            assert!(texts.iter().any(|text| answer[point.at..].starts_with(text.as_str())), "{texts:?}");
        }
        let logs = |ps: &[f64]| GroupScores::likelihood(ps.iter().map(|p| p.ln()).collect());
        let said = [logs(&[0.6, 0.2]), logs(&[0.5, 0.5]), logs(&[0.1, 0.1, 0.2]), logs(&[0.0, 0.0, 1.0])];
        let fields = reading.with(&said);
        let Certainty::Chosen { answer: Some(kind), .. } = &fields[0].certainty else { panic!("{fields:?}") };
        assert_eq!((kind.name.as_deref(), &kind.value), (Some("kind"), &json!("dog")));
        assert!(
            (kind.probabilities[0].1 - 0.75).abs() < 1e-12 && (kind.label_mass.unwrap() - 0.8).abs() < 1e-12,
            "{kind:?}"
        );
        let names: Vec<&str> = fields.iter().filter_map(|field| field.name.as_deref()).collect();
        assert_eq!(names, ["kind", "ok", "list.0", "list.1", "always", "text"]);
        assert_eq!(fields[4].certainty, Certainty::Plain);
        assert!(matches!(fields[5].certainty, Certainty::Written { .. }));
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        assert!(read(&json!({"type": "object"}), "{\"a\": ", &[], "").is_none());
    }
}
