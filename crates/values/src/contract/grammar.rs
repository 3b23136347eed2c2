//! Schemas and grammars compiled by llguidance, to find what it does not support.

use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use llguidance::{GrammarBuilder, JsonCompileOptions, Logger};
use serde_json::{Map, Value, json};

/// Stack of the thread that compiles: schemas are descended into by recursion.
const STACK_BYTES: usize = 256 << 20;

/// Runs work that descends deeply on a thread of its own, for its stack.
pub(super) fn on_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("contract".to_owned()).stack_size(STACK_BYTES);
        let work = thread.spawn_scoped(scope, work).map_err(|error| format!("cannot start a thread: {error}"))?;
        work.join().map_err(|_| "it cannot be read".to_owned())
    })
}

/// llguidance reads its options inside the schema.
pub(super) fn with_options(strict: &Value) -> Value {
    let mut map = match strict {
        Value::Object(map) => map.clone(),
        // `true` and `false` take no options; nothing satisfies `false`, and `true` never comes alone.
        other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
    };
    // Without \u a property's name has one spelling: a name that is taken cannot come again in disguise.
    map.insert(
        "x-guidance".to_owned(),
        json!({
            "whitespace_flexible": false,
            "item_separator": ", ",
            "key_separator": ": ",
            "json_allowed_escapes": "nrtbf\\\"",
        }),
    );
    Value::Object(map)
}

/// Compiles a grammar without a vocabulary.
pub(super) fn compile(grammar: TopLevelGrammar) -> Result<(), String> {
    let limits = ParserLimits { verbose_errors: false, ..ParserLimits::default() };
    let compile = || GrammarInit::Serialized(grammar).to_cgrammar(None, &mut Logger::new(0, 0), limits, vec![]);
    sentence(llguidance::panic_utils::catch_unwind(std::panic::AssertUnwindSafe(compile)).map(drop))
}

/// Builds a part of a grammar, which is cheaper than compiling it.
pub(super) fn build(part: Value) -> Result<(), String> {
    let limits = ParserLimits { verbose_errors: false, ..ParserLimits::default() };
    let build = || {
        JsonCompileOptions::default()
            .json_to_llg_with_overrides(GrammarBuilder::new(None, limits), with_options(&part))
            .map(drop)
    };
    sentence(llguidance::panic_utils::catch_unwind(std::panic::AssertUnwindSafe(build)))
}

/// llguidance's words in one line, with what to do where that is known.
fn sentence<E: std::fmt::Display>(result: Result<(), E>) -> Result<(), String> {
    let Err(error) = result else { return Ok(()) };
    let text = format!("{error:#}");
    let text = text.split("<backtrace>").next().unwrap_or_default();
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    Err(if line.contains("Regex is empty") {
        "no answer can satisfy it: no text fits these patterns and lengths together".to_owned()
    } else if line.contains("regex parse error") {
        "its `pattern` has an unsupported character, or is too large".to_owned()
    } else if line.contains("not disjoint") {
        "one name may match two of its `patternProperties`, which cannot be enforced".to_owned()
    } else if line.contains("lookarounds not supported") {
        "its `pattern` looks around, with `\\b` for example, which cannot be enforced".to_owned()
    } else if let Some((_, reason)) = line.split_once("Unsatisfiable schema: ") {
        format!("no answer can satisfy it: {reason}")
    } else if let Some(reason) = line.strip_prefix("panic: ") {
        format!("llguidance gave up ({reason})")
    } else {
        line
    })
}
