//! Random schemas of every keyword: whatever is accepted is answered within the schema, by either lane, and whatever is
//! refused is refused at a place that exists.
//!
//! The judge is the `jsonschema` crate, which neither lane reads its answers from. Answers of open contracts are written by
//! dice under the grammar that the engine gets, a byte at a time. `SLM_N_SCHEMAS` sets how many schemas are tried (10,000).

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities};
use llguidance::{Matcher, ParserFactory};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use slm_testing::Dice;
use slm_testing::schemas::{self, Choices};

use super::modern::modern;
use super::validator::validator;
use super::{Contract, ContractError, Form, Open};

/// Bytes of an answer before its writer looks for an end, and before it is given up.
const LONG: usize = 60;
const TOO_LONG: usize = 4000;

static FACTORY: LazyLock<ParserFactory> = LazyLock::new(|| {
    let env = ApproximateTokEnv::single_byte_env();
    let slices = llguidance::earley::SlicedBiasComputer::general_slices();
    let mut factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices).unwrap();
    factory.quiet();
    *factory.limits_mut() =
        ParserLimits { max_lexer_states: 100_000, verbose_errors: false, ..ParserLimits::default() };
    factory
});

#[derive(Debug, Default)]
struct Tally {
    n_schemas: usize,
    n_closed: usize,
    n_open: usize,
    n_refused: usize,
    n_closed_answers: usize,
    n_open_answers: usize,
    n_unfinished: usize,
    reads: Vec<Duration>,
}

#[test]
fn accepted_schemas_are_met_and_refused_ones_have_a_place() {
    let n = std::env::var("SLM_N_SCHEMAS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let seed = std::env::var("SLM_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0u8);
    let config = Config { cases: n, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let tally = std::sync::Mutex::new(Tally::default());
    let outcome = runner.run(&prop::collection::vec(any::<u8>(), 1..160), |bytes| {
        let schema = schemas::schema(&mut Choices::new(&bytes));
        let mut one = Tally::default();
        judge(&schema, &mut one).map_err(|fault| TestCaseError::fail(format!("{fault}\n    schema {schema}")))?;
        tally.lock().unwrap().add(one);
        Ok(())
    });
    let mut tally = tally.into_inner().unwrap();
    tally.reads.sort();
    let quantile = |q: f64| tally.reads[((tally.reads.len() - 1) as f64 * q) as usize];
    eprintln!(
        "{} schemas: {} closed, {} open, {} refused; answers: {} closed, {} open, {} unfinished; read in p50 {:?}, p99 {:?}, most {:?}",
        tally.n_schemas,
        tally.n_closed,
        tally.n_open,
        tally.n_refused,
        tally.n_closed_answers,
        tally.n_open_answers,
        tally.n_unfinished,
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
    );
    outcome.unwrap();
    assert!(tally.n_closed * 20 > tally.n_schemas && tally.n_open * 5 > tally.n_schemas, "these schemas tell nothing");
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.n_schemas += other.n_schemas;
        self.n_closed += other.n_closed;
        self.n_open += other.n_open;
        self.n_refused += other.n_refused;
        self.n_closed_answers += other.n_closed_answers;
        self.n_open_answers += other.n_open_answers;
        self.n_unfinished += other.n_unfinished;
        self.reads.extend(other.reads);
    }
}

/// Holds one schema to the promise.
fn judge(schema: &Value, tally: &mut Tally) -> Result<(), String> {
    let started = Instant::now();
    let form = Form::from_schema(schema.clone());
    tally.n_schemas += 1;
    tally.reads.push(started.elapsed());
    match form {
        Ok(Form::Closed(contract)) => {
            tally.n_closed += 1;
            // What is listed can be written too, and the same answers meet it.
            closed(schema, &contract, tally)?;
            match Open::from_schema(schema.clone()) {
                Ok(open) => written(schema, &open, tally),
                Err(_) => Ok(()),
            }
        }
        Ok(Form::Open(open)) => {
            tally.n_open += 1;
            written(schema, &open, tally)
        }
        Ok(Form::Free) => Err("it is free".to_owned()),
        Err(ContractError::Schema { at, reason }) => {
            tally.n_refused += 1;
            if std::env::var_os("SLM_SAY_REFUSED").is_some() {
                eprintln!("refused: {}: {reason}", at.as_str());
            }
            let is_named = reason.len() > 10
                && !["llguidance gave up", "panic", "cannot be read"].iter().any(|sign| reason.contains(sign));
            let is_there = schema.pointer(at.as_str()).is_some();
            if is_named && is_there { Ok(()) } else { Err(format!("refused at `{}`: {reason}", at.as_str())) }
        }
        Err(other) => Err(other.to_string()),
    }
}

fn closed(schema: &Value, contract: &Contract, tally: &mut Tally) -> Result<(), String> {
    let judge = validator(&modern(schema))?;
    let n_most = contract.fields().iter().map(|field| field.options.len()).max().unwrap_or(0);
    let mut dice = Dice(3);
    for number in 0..2 * n_most {
        let mut pick = |n: usize| if number < n_most { number % n } else { dice.below(n) };
        let values: Vec<Value> =
            contract.fields().iter().map(|f| f.options[pick(f.options.len())].value.clone()).collect();
        let answer = contract.assemble(values);
        tally.n_closed_answers += 1;
        if !judge.is_valid(&answer) {
            return Err(format!("the closed answer {answer} is not valid"));
        }
    }
    Ok(())
}

fn written(schema: &Value, open: &Open, tally: &mut Tally) -> Result<(), String> {
    let judge = validator(&modern(schema))?;
    let grammar = TopLevelGrammar::from_lark(open.grammar().to_owned());
    let parser = FACTORY.create_parser(grammar).map_err(|error| format!("the engine refuses it: {error}"))?;
    let first = Matcher::new(Ok(parser));
    for seed in 0..2 {
        let mut matcher = first.deep_clone();
        let Some(text) = write(&mut matcher, &mut Dice(seed))? else {
            tally.n_unfinished += 1;
            continue;
        };
        tally.n_open_answers += 1;
        let answer: Value =
            serde_json::from_str(&text).map_err(|error| format!("the answer {text} is not JSON: {error}"))?;
        if !judge.is_valid(&answer) {
            return Err(format!("the open answer {text} is not valid"));
        }
        open.check(&text).map_err(|violation| format!("the open answer {text}: {violation}"))?;
    }
    Ok(())
}

/// A writer that likes any allowed byte, and after a while those that bring an end nearer.
fn write(matcher: &mut Matcher, dice: &mut Dice) -> Result<Option<String>, String> {
    let mut bytes: Vec<u8> = Vec::new();
    for _ in 0..TOO_LONG {
        if matcher.is_stopped() && !matcher.is_error() {
            return String::from_utf8(bytes).map(Some).map_err(|error| error.to_string());
        }
        let mask = matcher.compute_mask().map_err(|error| format!("no mask after {bytes:?}: {error}"))?;
        let allowed: Vec<u32> = mask.iter().collect();
        let is_end = |token: &u32| *token > 255;
        let is_long = bytes.len() > LONG;
        if allowed.iter().any(is_end) && (is_long || dice.below(3) == 0 || allowed.iter().all(is_end)) {
            return String::from_utf8(bytes).map(Some).map_err(|error| error.to_string());
        }
        let texts: Vec<u32> = allowed.into_iter().filter(|token| !is_end(token)).collect();
        let closing: Vec<u32> = texts.iter().copied().filter(|&b| b"\"}],".contains(&(b as u8))).collect();
        let last: Vec<u32> = closing.iter().copied().filter(|&b| b != u32::from(b',')).collect();
        let choices = match (is_long, last.is_empty(), closing.is_empty()) {
            (true, false, _) => &last,
            (true, true, false) => &closing,
            _ => &texts,
        };
        let Some(&token) = choices.get(dice.below(choices.len())) else {
            return Err(format!("nothing is allowed after {:?}", String::from_utf8_lossy(&bytes)));
        };
        matcher
            .consume_token(token)
            .map_err(|error| format!("after {:?}: {error}", String::from_utf8_lossy(&bytes)))?;
        bytes.push(token as u8);
    }
    Ok(None)
}

/// Answers of people, their properties turned round, are written as the engine's grammar has them.
#[test]
fn a_value_is_written_as_the_grammar_lets_it_be() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Modelfiles/tasks/invoice");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let schema: Value = serde_json::from_str(&read("invoice.schema.json")).unwrap();
    let open = Open::from_schema(schema.clone()).unwrap();
    let parser = FACTORY.create_parser(TopLevelGrammar::from_lark(open.grammar().to_owned())).unwrap();
    let first = Matcher::new(Ok(parser));
    let mut n = 0;
    for line in read("invoice.jsonl").lines() {
        let Value::Object(mut row) = serde_json::from_str(line).unwrap() else { panic!("{line}") };
        row.retain(|name, _| schema["properties"].get(name).is_some());
        // Of several readings of a name the first.
        row.values_mut().for_each(|value| {
            if let Some(Value::String(first)) = value.as_array().and_then(|several| several.first()).cloned() {
                *value = first.into();
            }
        });
        let turned = turned_round(&Value::Object(row));
        let text = open.text_of(&turned);
        if open.check(&text).is_err() {
            continue;
        }
        let mut matcher = first.deep_clone();
        for byte in text.bytes() {
            matcher.consume_token(u32::from(byte)).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        assert!(matcher.is_accepting().unwrap(), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), turned);
        n += 1;
    }
    assert!(n > 90, "{n} answers keep the schema");
}

fn turned_round(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().rev().map(|(name, value)| (name.clone(), turned_round(value))).collect(),
        Value::Array(items) => items.iter().map(turned_round).collect(),
        other => other.clone(),
    }
}
