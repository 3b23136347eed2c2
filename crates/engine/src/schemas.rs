//! Schemas by the thousand: whatever is accepted is written under its grammar, and every finished answer meets the schema.
//!
//! Tests only: `slm-values` tries the same schemas by the thousand, a byte at a time; here they meet the vocabulary of a model.
//! The committed run takes a few hundred; the ignored one takes `SLM_N_SCHEMAS` of them (2,000) and every schema in the JSON
//! files below the folders in `SLM_SCHEMAS` (a path list: schemas alone, or test suites with a `schema` in each case), and
//! prints what was accepted and refused, what was finished and valid, and the times of masks.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::constraint::{Compiler, Constraint};
use super::llama::testing;
use super::{Engine, Event, Finish, GenerateRequest, Grammar, Request, Token};
use slm_testing::Dice;
use slm_testing::schemas::{self, Choices};
use slm_values::contract::{Form, Open};
use slm_values::sampling::{AnswerShape, Parameters};

/// Tokens of an answer before its writer looks for an end, and before it is given up.
const LONG: usize = 40;
const TOO_LONG: usize = 300;

fn generated(n: usize) -> Vec<Value> {
    let mut random = fastrand::Rng::with_seed(7);
    let schema = |random: &mut fastrand::Rng| {
        let bytes: Vec<u8> = (0..160).map(|_| random.u8(..)).collect();
        schemas::schema(&mut Choices::new(&bytes))
    };
    (0..n).map(|_| schema(&mut random)).collect()
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
