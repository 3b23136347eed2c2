//! Schemas by the thousand: whatever is accepted is written under its grammar, and every finished answer meets the schema.
//!
//! Tests only. The committed run takes a few hundred generated schemas; the ignored one takes `SLM_N_SCHEMAS` of them (2,000)
//! and every schema in the JSON files below the folders in `SLM_SCHEMAS` (a path list: schemas alone, or test suites with a
//! `schema` in each case), and prints what was accepted and refused, what was finished and valid, and the times of masks.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};

use super::constraint::{Compiler, Constraint};
use super::llama::testing;
use super::{Engine, Event, Finish, GenerateRequest, Grammar, Request, Token};
use slm_values::contract::{Form, Open};
use slm_values::sampling::{AnswerShape, Parameters};

/// Tokens of an answer before its writer looks for an end, and before it is given up.
const LONG: usize = 40;
const TOO_LONG: usize = 300;

const PATTERNS: [&str; 18] = [
    "^[A-Z]{2,4}-[0-9]{3}$",
    "^(a|b)+$",
    "colou?r",
    "^\\d{1,3}(\\.\\d{2})?$",
    "^.{3}$",
    "[^a-z]",
    "^$",
    "\\w+@\\w+",
    "(a+)+$",
    "^\\S+$",
    "é|日本",
    "(?=a)b",
    "\\bword\\b",
    "^[\\\\\"]{1,3}$",
    "x{1000}",
    "^[\\x00-\\x7f]{2}$",
    "^a\\x01b$",
    "^a[\\x00-\\x08]b$",
];
const FORMATS: [&str; 12] =
    ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri", "iri", "regex"];

/// Schemas of the kept subset and some beyond it, small ones first.
fn schema() -> impl Strategy<Value = Value> {
    let inner = leaf().prop_recursive(3, 20, 4, |inner| {
        let some = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            5 => object(inner.clone()),
            3 => array(inner),
            2 => (prop::sample::select(vec!["anyOf", "oneOf", "allOf"]), some).prop_map(|(key, parts)| json!({ key: parts })),
        ]
    });
    (inner, any::<bool>()).prop_map(|(schema, is_recursive)| {
        let mut schema = schema;
        if let Value::Object(map) = &mut schema {
            let next = if is_recursive {
                json!({"type": "array", "items": {"$ref": "#/$defs/node"}})
            } else {
                json!({"type": "string"})
            };
            map.insert(
                "$defs".to_owned(),
                json!({"node": {"type": "object", "properties": {"next": next}, "required": ["next"]}}),
            );
        }
        schema
    })
}

/// Schemas that hold no others.
fn leaf() -> impl Strategy<Value = Value> {
    let pattern = prop::sample::select(PATTERNS.to_vec());
    let format = prop::sample::select(FORMATS.to_vec());
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1000i64..1000).prop_map(Value::from),
        (-1000i64..1000).prop_map(|n| json!(n as f64 / 8.0)),
        ".{0,5}".prop_map(Value::from),
    ];
    let listed = prop::collection::vec(scalar.clone(), 1..5).prop_map(|values| json!({ "enum": values }));
    prop_oneof![
        4 => text(),
        3 => number(),
        2 => pattern.prop_map(|pattern| json!({"type": "string", "pattern": pattern})),
        2 => format.prop_map(|format| json!({"type": "string", "format": format})),
        3 => listed,
        1 => scalar.prop_map(|value| json!({ "const": value })),
        1 => Just(json!({"type": "boolean"})),
        1 => Just(json!({"type": ["null", "string"]})),
        1 => Just(json!({"type": "object"})),
        1 => Just(json!({"type": "array"})),
        1 => prop_oneof![Just(json!({})), Just(json!(true)), Just(json!(false))],
        1 => Just(json!({"$ref": "#/$defs/node"})),
        1 => prop_oneof![
            Just(json!({"type": "array", "uniqueItems": true})), Just(json!({"not": {"type": "null"}})),
            Just(json!({"type": "strin"})), Just(json!({"type": "object", "minProperties": 2})),
        ],
    ]
}

fn text() -> impl Strategy<Value = Value> {
    let n = || 0u64..6;
    (prop::option::of(n()), prop::option::of(n())).prop_map(|(least, most)| {
        let mut map = json!({"type": "string"});
        map.as_object_mut().unwrap().extend(least.map(|n| ("minLength".to_owned(), n.into())));
        map.as_object_mut().unwrap().extend(most.map(|n| ("maxLength".to_owned(), (n + 2).into())));
        map
    })
}

fn number() -> impl Strategy<Value = Value> {
    let number = (any::<bool>(), prop::option::of(-50i64..50), prop::option::of(-40i64..90), prop::option::of(1u64..9));
    number.prop_map(|(is_whole, least, most, step)| {
        let mut map = json!({"type": if is_whole { "integer" } else { "number" }});
        let object = map.as_object_mut().unwrap();
        object.extend(least.map(|n| (if n % 3 == 0 { "exclusiveMinimum" } else { "minimum" }.to_owned(), n.into())));
        object.extend(most.map(|n| (if n % 3 == 0 { "exclusiveMaximum" } else { "maximum" }.to_owned(), n.into())));
        object.extend(step.map(|n| ("multipleOf".to_owned(), if is_whole { n.into() } else { json!(n as f64 / 4.0) })));
        map
    })
}

fn object(inner: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b", "name", "é\"x", "a b", "items"]);
    let named = prop::collection::vec((name(), inner.clone(), any::<bool>()), 0..4);
    let object = (named, prop::option::weighted(0.3, inner.clone()), prop::option::weighted(0.1, inner));
    object.prop_map(|(named, more, matching)| {
        let required: Vec<&str> =
            named.iter().filter(|(_, _, is_required)| *is_required).map(|(name, ..)| *name).collect();
        let required: std::collections::BTreeSet<&str> = required.into_iter().collect();
        let properties: Map<String, Value> =
            named.iter().map(|(name, schema, _)| ((*name).to_owned(), schema.clone())).collect();
        let mut map = json!({"type": "object", "properties": properties, "required": required});
        map.as_object_mut().unwrap().extend(more.map(|more| ("additionalProperties".to_owned(), more)));
        map.as_object_mut()
            .unwrap()
            .extend(matching.map(|schema| ("patternProperties".to_owned(), json!({"^x_": schema}))));
        map
    })
}

fn array(inner: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Value> {
    let array = (inner.clone(), 0u64..3, prop::option::of(0u64..4), prop::option::weighted(0.3, inner));
    array.prop_map(|(items, least, most, first)| {
        let mut map = json!({"type": "array", "items": items, "minItems": least});
        map.as_object_mut().unwrap().extend(most.map(|n| ("maxItems".to_owned(), n.into())));
        map.as_object_mut().unwrap().extend(first.map(|first| ("prefixItems".to_owned(), json!([first]))));
        map
    })
}

fn generated(n: usize) -> Vec<Value> {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = schema();
    (0..n).map(|_| strategy.new_tree(&mut runner).expect("nothing is filtered").current()).collect()
}

/// The schemas in every JSON file below a folder.
fn public(folder: &Path, found: &mut Vec<Value>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            public(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            match serde_json::from_str(&text) {
                Ok(Value::Array(cases)) => found.extend(cases.iter().filter_map(|case| case.get("schema")).cloned()),
                Ok(schema @ Value::Object(_)) => found.push(schema),
                _ => {}
            }
        }
    }
    found.dedup();
}

/// What came of some schemas.
#[derive(Debug, Default)]
struct Tally {
    n_schemas: usize,
    n_closed: usize,
    n_refused: usize,
    /// Refused by the engine alone, with a vocabulary at hand.
    n_engine_refused: usize,
    n_answers: usize,
    n_finished: usize,
    n_stuck: usize,
    masks: Vec<Duration>,
    compiles: Vec<Duration>,
    invalid: Vec<String>,
}

impl Tally {
    fn open(&mut self, schema: &Value) -> Option<Open> {
        self.n_schemas += 1;
        self.n_closed += usize::from(matches!(Form::from_schema(schema.clone()), Ok(Form::Closed(_))));
        let open = Open::from_schema(schema.clone()).ok();
        self.n_refused += usize::from(open.is_none());
        open
    }

    fn check(&mut self, schema: &Value, open: &Open, text: &str) {
        self.n_finished += 1;
        if let Err(violation) = open.check(text) {
            self.invalid.push(format!("{violation}\n    answer {text}\n    schema {schema}"));
        }
    }

    fn say(&mut self, of: &str) {
        let quantile = |times: &mut Vec<Duration>, q: f64| {
            times.sort();
            times.get(((times.len() as f64 - 1.0).max(0.0) * q) as usize).copied().unwrap_or_default()
        };
        eprintln!(
            "{of}: {} schemas, {} accepted ({} of them closed as well), {} refused by keyword and place, {} by the engine; \
             {} answers, {} finished, {} of these valid, {} came to no end, {} stuck; masks {}: p50 {:?}, p99 {:?}, most {:?}; \
             compiled: p50 {:?}, p99 {:?}",
            self.n_schemas,
            self.n_schemas - self.n_refused,
            self.n_closed,
            self.n_refused,
            self.n_engine_refused,
            self.n_answers,
            self.n_finished,
            self.n_finished - self.invalid.len(),
            self.n_answers - self.n_finished - self.n_stuck,
            self.n_stuck,
            self.masks.len(),
            quantile(&mut self.masks, 0.5),
            quantile(&mut self.masks, 0.99),
            quantile(&mut self.masks, 1.0),
            quantile(&mut self.compiles, 0.5),
            quantile(&mut self.compiles, 0.99),
        );
        for invalid in &self.invalid {
            eprintln!("  invalid: {invalid}");
        }
    }
}

/// Random numbers that are the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// A writer that likes any allowed token, and after a while those that bring an end nearer.
fn write(
    constraint: &mut Constraint,
    tokenizer: &testing::Tokens,
    closers: &[bool],
    dice: &mut Dice,
    masks: &mut Vec<Duration>,
) -> Result<Option<String>, super::EngineError> {
    let mut bytes = Vec::new();
    for n_written in 0..TOO_LONG {
        let started = Instant::now();
        let mask = constraint.mask()?;
        masks.push(started.elapsed());
        let allowed: Vec<Token> = mask.iter().collect();
        let closes = |token: &&Token| closers[**token as usize];
        let closing: Vec<Token> = if n_written > LONG || dice.below(4) == 0 {
            allowed.iter().filter(closes).copied().collect()
        } else {
            Vec::new()
        };
        let choices = if closing.is_empty() { &allowed } else { &closing };
        let token = choices[dice.below(choices.len())];
        assert!(constraint.take(token)?, "a mask allowed what is refused");
        if tokenizer.is_end(token) {
            return Ok(Some(String::from_utf8(bytes).expect("grammars are of UTF-8")));
        }
        bytes.extend(tokenizer.piece(token));
        for token in constraint.forced()? {
            assert!(constraint.take(token)?, "a forced token is refused");
            bytes.extend(tokenizer.piece(token));
        }
    }
    Ok(None)
}

/// Writes answers to every schema by dice, over the vocabulary of a real model.
fn by_dice(compiler: &Compiler, tokenizer: &testing::Tokens, schemas: &[Value], n_answers: usize) -> Tally {
    let mut tally = Tally::default();
    let mut dice = Dice(7);
    let closes =
        |token| tokenizer.is_end(token) || tokenizer.piece(token).first().is_some_and(|byte| b"\"}],".contains(byte));
    let closers: Vec<bool> = (0..tokenizer.n_tokens()).map(closes).collect();
    for schema in schemas {
        let Some(open) = tally.open(schema) else { continue };
        let grammar = Grammar(open.shared_grammar());
        let started = Instant::now();
        let compiled = compiler.compile(&grammar);
        tally.compiles.push(started.elapsed());
        if let Err(error) = &compiled {
            tally.n_engine_refused += 1;
            eprintln!("  engine: {error}: {schema}");
            continue;
        }
        for _ in 0..n_answers {
            let mut constraint = compiler.compile(&grammar).expect("compiled above");
            tally.n_answers += 1;
            match write(&mut constraint, tokenizer, &closers, &mut dice, &mut tally.masks) {
                Ok(Some(text)) => tally.check(schema, &open, &text),
                Ok(None) => {}
                Err(error) => {
                    tally.n_stuck += 1;
                    eprintln!("  stuck: {error}: {schema}");
                }
            }
        }
    }
    tally
}

/// Lets a real model write.
fn by_model(engine: &Engine, schemas: &[Value], n_predict: i32) -> Tally {
    let mut tally = Tally::default();
    for schema in schemas {
        let Some(open) = tally.open(schema) else { continue };
        let said = Parameters { num_predict: Some(n_predict), ..Parameters::default() };
        let prompt = testing::prompt("Once upon a time");
        let request = GenerateRequest {
            grammar: Some(Grammar(open.shared_grammar())),
            drafts: super::Drafts::Off,
            ..GenerateRequest::new(prompt, said.resolve(AnswerShape::Formatted))
        };
        let mut events = engine.send(Request::Generate(request));
        let mut text = String::new();
        tally.n_answers += 1;
        loop {
            match events.blocking_recv() {
                Some(Event::Text(piece)) => text += &piece.text,
                Some(Event::Generated(done)) => {
                    if done.finish == Finish::Stop {
                        tally.check(schema, &open, &text);
                    }
                    break;
                }
                Some(Event::Failed(error)) => {
                    tally.n_stuck += 1;
                    eprintln!("  failed: {error}: {schema}");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    tally
}

#[test]
fn whatever_is_finished_meets_its_schema() {
    let Some((compiler, tokens)) = testing::compiler("llama-spm") else { return };
    let mut tally = by_dice(&compiler, &tokens, &generated(150), 2);
    tally.say("generated");
    assert!(tally.n_finished > 100 && tally.n_refused < tally.n_schemas, "these schemas tell nothing");
    assert!(tally.invalid.is_empty(), "{}", tally.invalid.join("\n"));
}

#[test]
#[ignore = "prints figures, for minutes"]
fn figures_of_thousands_of_schemas() {
    let n = std::env::var("SLM_N_SCHEMAS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let mut schemas = Vec::new();
    for folder in std::env::split_paths(&std::env::var_os("SLM_SCHEMAS").unwrap_or_default()) {
        public(&folder, &mut schemas);
    }
    let sets = [("generated", generated(n)), ("public", schemas)];
    let mut n_invalid = 0;
    for (name, schemas) in &sets {
        if let Some((compiler, tokens)) = testing::compiler("llama-bpe") {
            let mut tally = by_dice(&compiler, &tokens, schemas, 1);
            tally.say(&format!("{name}, by dice, a vocabulary of {}", tokens.n_tokens()));
            n_invalid += tally.invalid.len();
        }
        if let Some(engine) = testing::stories() {
            let mut tally = by_model(&engine, schemas, 120);
            tally.say(&format!("{name}, by a model"));
            n_invalid += tally.invalid.len();
        }
    }
    assert_eq!(n_invalid, 0);
}
