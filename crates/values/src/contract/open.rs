//! Open contracts: a grammar that text is written under, and an independent check of what was written.
//!
//! A schema is tightened (`strict`), compiled once by llguidance to find what it cannot keep, and the finished answer is
//! checked against the schema as it was given by another implementation (the `jsonschema` crate, without a network and
//! without files). White space is bounded: `, ` and `: ` and nothing else, as Python's `json.dumps` writes objects on one
//! line. That is what models have read most, common vocabularies have a token for each, and a model that is unsure
//! cannot go on with line feeds for ever.

use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use llguidance::{GrammarBuilder, JsonCompileOptions, Logger, regex_to_lark};
use serde_json::{Map, Value, json};

use super::strict::{Strict, tighten};
use super::{ContractError, Place, parse};

/// Parts up to which each is compiled by itself, so that an error names its place and no part is impossible.
const MAX_PARTS: usize = 500;
/// Bytes of a compiled regular expression of the validator.
const REGEX_BYTES: usize = 1 << 20;
/// Stack of the thread that compiles: schemas are descended into by recursion.
const STACK_BYTES: usize = 256 << 20;
/// The most bytes of a schema's text.
const MAX_SCHEMA_BYTES: usize = 8 << 20;

/// A contract for text. Its large parts are shared: every row of a run has a clone.
#[derive(Debug, Clone)]
pub struct Open {
    schema: Option<Arc<Value>>,
    regex: Option<String>,
    grammar: Arc<str>,
    check: Check,
}

/// How a finished text is checked.
#[derive(Debug, Clone)]
enum Check {
    /// It is JSON that satisfies the schema.
    Json(Arc<Validator>),
    /// As a string it satisfies the schema.
    Text(Arc<Validator>),
    /// The grammar alone says what it is.
    Grammar,
}

/// How a text breaks its contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    #[error("the answer{at} does not meet the schema: {reason}")]
    Schema { at: Place, reason: String },
    #[error("the answer does not match the regular expression")]
    Regex,
    #[error("the answer is unfinished: it came to the limit of tokens; raise --num-predict or --num-ctx")]
    Length,
}

impl Open {
    /// The contract of a schema.
    ///
    /// # Errors
    /// [`ContractError`], naming the place in the schema and the keyword that cannot be kept.
    pub fn from_schema(schema: Value) -> Result<Self, ContractError> {
        let (grammar, validator) = on_stack(|| read(&schema)).map_err(|reason| Place::root().refused(reason))??;
        let (schema, grammar) = (Some(Arc::new(schema)), grammar.into());
        Ok(Open { schema, regex: None, grammar, check: Check::Json(Arc::new(validator)) })
    }

    /// Any JSON object.
    #[must_use]
    pub fn json() -> Self {
        Self::from_schema(json!({"type": "object"})).expect("a constant that a test reads")
    }

    /// Text that as a whole matches a regular expression. `\d` and `\w` are ASCII, as in JSON Schema.
    ///
    /// # Errors
    /// [`ContractError::Regex`].
    pub fn regex(regex: &str) -> Result<Self, ContractError> {
        let body = whole(regex);
        let refused = |reason: String| ContractError::Regex(format!("`{regex}`: {reason}"));
        if body.is_empty() {
            return Err(refused("it is empty".to_owned()));
        }
        let validator = validator(&json!({"type": "string", "pattern": format!("^(?:{body})$")}))
            .map_err(|_| refused("no look-around, no references back, at most 1 MB compiled".to_owned()))?;
        let grammar = format!("start: /{}/", regex_to_lark(body, "dw"));
        on_stack(|| compile(TopLevelGrammar::from_lark(grammar.clone())))
            .and_then(|compiled| compiled)
            .map_err(refused)?;
        Ok(Open {
            schema: None,
            regex: Some(body.to_owned()),
            grammar: grammar.into(),
            check: Check::Text(Arc::new(validator)),
        })
    }

    /// Text that follows a grammar in llguidance's dialect of Lark. What a vocabulary decides of it, the engine says.
    ///
    /// # Errors
    /// [`ContractError::Grammar`]: it is no grammar, or too large a one.
    pub fn lark(grammar: &str) -> Result<Self, ContractError> {
        on_stack(|| compile(TopLevelGrammar::from_lark(grammar.to_owned())))
            .and_then(|compiled| compiled)
            .map_err(ContractError::Grammar)?;
        Ok(Open { schema: None, regex: None, grammar: grammar.into(), check: Check::Grammar })
    }

    /// The schema as it was given, where it was one.
    #[must_use]
    pub fn schema(&self) -> Option<&Value> {
        self.schema.as_deref()
    }

    /// The regular expression, where it was one.
    #[must_use]
    pub fn regex_text(&self) -> Option<&str> {
        self.regex.as_deref()
    }

    /// The grammar in Lark.
    #[must_use]
    pub fn grammar(&self) -> &str {
        &self.grammar
    }

    /// The same text without copying it.
    #[must_use]
    pub fn shared_grammar(&self) -> Arc<str> {
        Arc::clone(&self.grammar)
    }

    /// Checks a finished text; JSON comes back parsed, other text as a string.
    ///
    /// # Errors
    /// [`Violation`]: how it breaks the contract.
    pub fn check(&self, text: &str) -> Result<Value, Violation> {
        match &self.check {
            Check::Grammar => Ok(Value::from(text)),
            Check::Text(validator) => {
                let value = Value::from(text);
                if validator.is_valid(&value) { Ok(value) } else { Err(Violation::Regex) }
            }
            Check::Json(validator) => {
                let value = serde_json::from_str(text).map_err(|error| Violation::NotJson(error.to_string()))?;
                match validator.validate(&value) {
                    Ok(()) => Ok(value),
                    Err(error) => {
                        let at = Place(error.instance_path().to_string());
                        let reason: String = error.to_string().chars().take(300).collect();
                        Err(Violation::Schema { at, reason })
                    }
                }
            }
        }
    }
}

/// Runs work that descends deeply on a thread of its own, for its stack.
fn on_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("contract".to_owned()).stack_size(STACK_BYTES);
        let work = thread.spawn_scoped(scope, work).map_err(|error| format!("no thread could be started: {error}"))?;
        work.join().map_err(|_| "it cannot be read".to_owned())
    })
}

fn read(schema: &Value) -> Result<(String, Validator), ContractError> {
    let size = schema.to_string().len();
    if size > MAX_SCHEMA_BYTES {
        return Err(Place::root().refused(format!("it has {size} bytes, at most {MAX_SCHEMA_BYTES} are read")));
    }
    let Strict { schema: strict, parts } = tighten(schema)?;
    let defs = strict.get("$defs").cloned().unwrap_or_default();
    let whole = with_options(&strict);
    let compiled = compile(TopLevelGrammar::from_json_schema(whole.clone()));
    // Every part by itself, inner ones first: the error is then at its place, and a part that no answer satisfies is
    // found where it is optional too, and would never be written.
    if compiled.is_err() || parts.len() <= MAX_PARTS {
        for (at, part) in parts.into_iter().take(4 * MAX_PARTS) {
            let mut part = part;
            part.as_object_mut().expect("parts are objects").insert("$defs".to_owned(), defs.clone());
            build(part).map_err(|reason| at.refused(reason))?;
        }
    }
    compiled.map_err(|reason| Place::root().refused(reason))?;
    let mut plain = schema.clone();
    if let Value::Object(map) = &mut plain {
        // Read as the draft that this file speaks; names would change what references mean.
        map.remove("$schema");
        map.remove("$id");
    }
    let validator = validator(&plain).map_err(|reason| Place::root().refused(reason))?;
    Ok((format!("start: %json {whole}"), validator))
}

/// llguidance reads its options inside the schema.
fn with_options(strict: &Value) -> Value {
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
fn compile(grammar: TopLevelGrammar) -> Result<(), String> {
    let limits = ParserLimits { verbose_errors: false, ..ParserLimits::default() };
    let compile = || GrammarInit::Serialized(grammar).to_cgrammar(None, &mut Logger::new(0, 0), limits, vec![]);
    sentence(llguidance::panic_utils::catch_unwind(std::panic::AssertUnwindSafe(compile)).map(drop))
}

/// Builds a part of a grammar, which is cheaper than compiling it.
fn build(part: Value) -> Result<(), String> {
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
    Err(if line.contains("oneOf constraints are not supported") {
        "the options of `oneOf` may overlap, and nothing can be both; write `anyOf`".to_owned()
    } else if let Some((_, reason)) = line.split_once("Unsatisfiable schema: ") {
        format!("no answer can satisfy it: {reason}")
    } else if let Some(reason) = line.strip_prefix("panic: ") {
        format!("llguidance gave up ({reason})")
    } else {
        line
    })
}

/// The independent check: no network, no files, bounded regular expressions.
pub(super) fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES))
        .offline()
        .build(schema)
        .map_err(|error| error.to_string().chars().take(300).collect())
}

/// A regular expression without the anchors at its two ends, which a whole match does not need.
fn whole(regex: &str) -> &str {
    let Some(body) = regex.strip_prefix('^') else { return regex };
    let Some(body) = body.strip_suffix('$') else { return regex };
    let n_escapes = body.len() - body.trim_end_matches('\\').len();
    if body.contains('|') || n_escapes % 2 == 1 { regex } else { body }
}

impl Open {
    /// Parses a schema's text.
    ///
    /// # Errors
    /// As [`Open::from_schema`].
    pub fn parse(text: &str) -> Result<Self, ContractError> {
        Self::from_schema(parse(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(schema: Value) -> String {
        Open::from_schema(schema.clone()).map(|_| ()).expect_err(&schema.to_string()).to_string()
    }

    fn check(schema: Value, text: &str) -> Result<Value, Violation> {
        Open::from_schema(schema).unwrap().check(text)
    }

    #[test]
    fn what_is_written_is_checked_against_the_schema_as_given() {
        let schema = json!({
            "type": "object",
            "properties": {"name": {"type": "string", "minLength": 2}, "when": {"type": "string", "format": "date"}},
            "required": ["name"],
        });
        assert_eq!(check(schema.clone(), r#"{"name": "Ada"}"#).unwrap(), json!({"name": "Ada"}));
        let say = |text: &str| check(schema.clone(), text).unwrap_err().to_string();
        assert_eq!(say("{}"), "the answer does not meet the schema: \"name\" is a required property");
        assert_eq!(
            say(r#"{"name": "A"}"#),
            "the answer at `/name` does not meet the schema: \"A\" is shorter than 2 characters"
        );
        assert_eq!(
            say(r#"{"name": "Ada", "when": "2023-02-29"}"#),
            "the answer at `/when` does not meet the schema: \"2023-02-29\" is not a \"date\""
        );
        assert!(say(r#"{"name": "#).starts_with("the answer is not JSON: "));
        assert_eq!(Open::json().check("{\"a\": [1]}").unwrap(), json!({"a": [1]}));
        assert!(Open::json().check("[1]").is_err());
    }

    #[test]
    fn regular_expressions_match_the_whole_text() {
        for regex in ["[0-9]{4}-[0-9]{2}", "^[0-9]{4}-[0-9]{2}$"] {
            let open = Open::regex(regex).unwrap();
            assert_eq!(open.grammar(), "start: /[0-9]{4}-[0-9]{2}/");
            assert_eq!(open.check("2024-05").unwrap(), json!("2024-05"));
            assert_eq!(open.check("x2024-05"), Err(Violation::Regex));
        }
        for regex in ["", "^$", "(", "(?=a)b", "a\\b", "(a)\\1"] {
            let said = Open::regex(regex).map(|_| ()).expect_err(regex).to_string();
            assert!(said.starts_with(&format!("the regular expression cannot be kept: `{regex}`: ")), "{said}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_its_keyword_and_place() {
        let below = |schema: Value| json!({"type": "object", "properties": {"a": schema}});
        let say = |schema: Value| refused(below(schema));
        let expect = [
            (json!({"type": "string", "minLength": 5, "maxLength": 2}), "`minLength` 5 is more than `maxLength` 2"),
            (json!({"type": "number", "minimum": 2, "maximum": 1}), "no number is between 2 and 1 as its bounds ask"),
            (
                json!({"type": "integer", "exclusiveMinimum": 1, "maximum": 1}),
                "no number is between 1 and 1 as its bounds ask",
            ),
            (json!({"type": "array", "minItems": 3, "maxItems": 2}), "`minItems` 3 is more than `maxItems` 2"),
            (json!([]), "a schema is a JSON object, `true` or `false`"),
            (json!({"type": "string", "allOf": [{"type": "number"}]}), "no answer can satisfy it: incompatible types"),
        ];
        for (schema, reason) in expect {
            assert_eq!(say(schema), format!("the schema at `/properties/a` cannot be kept: {reason}"));
        }
        let expect = [
            (
                json!({"type": "array", "uniqueItems": true}),
                "uniqueItems",
                "`uniqueItems` cannot be held while text is written; leave it away and check the answers yourself",
            ),
            (
                json!({"not": {"type": "string"}}),
                "not",
                "`not` cannot be held while text is written; say what is allowed with `anyOf`",
            ),
            (json!({"if": true}), "if", "`if` cannot be held while text is written; say what is allowed with `anyOf`"),
            (
                json!({"type": "string", "nullable": true}),
                "nullable",
                "`nullable` cannot be held while text is written; write `\"type\": [\"string\", \"null\"]`",
            ),
            (
                json!({"type": "string", "minlength": 3}),
                "minlength",
                "`minlength` cannot be held while text is written",
            ),
            (
                json!({"type": "string", "contentEncoding": "base64"}),
                "contentEncoding",
                "`contentEncoding` cannot be held while text is written",
            ),
            (
                json!({"type": "string", "format": "iri"}),
                "format",
                "`format` \"iri\" cannot be kept; these can: date, time, date-time, duration, email, hostname, ipv4, ipv6, uuid, uri",
            ),
            (
                json!({"type": "string", "pattern": "(?=a)b"}),
                "pattern",
                "`(?=a)b` is not a regular expression that can be kept (no look-around, no references back, at most 1 MB compiled)",
            ),
            (json!({"type": "strin"}), "type", "\"strin\" is not a type of JSON Schema"),
            (
                json!({"$ref": "https://example.com/x.json"}),
                "$ref",
                "\"https://example.com/x.json\" does not point into this schema, and nothing else is read",
            ),
            (
                json!({"$ref": "file:///etc/passwd"}),
                "$ref",
                "\"file:///etc/passwd\" does not point into this schema, and nothing else is read",
            ),
            (
                json!({"$ref": "#/$defs/none"}),
                "$ref",
                "\"#/$defs/none\" does not point into this schema, and nothing else is read",
            ),
            (json!({"enum": ["a", "a", {}]}), "enum", "\"a\" is given twice"),
            (
                json!({"type": "object", "properties": {"x": {"type": "string"}}, "required": ["y"], "additionalProperties": false}),
                "required",
                "`y` is required, and `additionalProperties` forbids it",
            ),
            (
                json!({"type": "object", "minProperties": 2}),
                "minProperties",
                "`minProperties` is kept only where every property has its name under `properties`, and `additionalProperties` is false",
            ),
            (
                json!({"const": "\u{1b}["}),
                "const",
                "a text in `const` holds the control character '\\u{1b}', which is never written",
            ),
            (
                json!({"type": "number", "multipleOf": 0}),
                "multipleOf",
                "`multipleOf` 0 is kept from 0.0001 to 9999, with four decimals at most",
            ),
        ];
        for (schema, keyword, reason) in expect {
            assert_eq!(say(schema), format!("the schema at `/properties/a/{keyword}` cannot be kept: {reason}"));
        }
        let overlap = json!({"oneOf": [{"type": "string", "minLength": 1}, {"type": "string", "maxLength": 3}]});
        assert_eq!(
            say(overlap),
            "the schema at `/properties/a` cannot be kept: the options of `oneOf` may overlap, and nothing can be both; write `anyOf`"
        );
        assert!(refused(json!(false)).contains("no answer can satisfy it"), "{}", refused(json!(false)));
    }

    /// What one part of `oneOf` leaves open must stay open: the other part may not be what it allows.
    #[test]
    fn the_parts_of_one_of_are_kept_apart_as_they_were_given() {
        let named =
            |name: &str| json!({"type": "object", "properties": {name: {"type": "integer"}}, "required": [name]});
        assert!(refused(json!({"oneOf": [named("a"), named("b")]})).contains("may overlap"));
        let untyped = json!({"properties": {"a": {"type": "integer"}}});
        assert!(refused(json!({"oneOf": [untyped, {"type": "string"}]})).contains("may overlap"));
        let kind = |value: &str| json!({"type": "object", "properties": {"kind": {"const": value}, "n": {"type": "integer"}}, "required": ["kind"]});
        assert!(Open::from_schema(json!({"oneOf": [kind("a"), kind("b")]})).is_ok());
    }

    #[test]
    fn recursion_needs_an_end() {
        let tree = |inner: Value| json!({"$defs": {"tree": {"type": "object", "properties": {"v": {"type": "string"}, "next": inner}, "required": ["v", "next"]}}, "$ref": "#/$defs/tree"});
        let itself = json!({"$ref": "#/$defs/tree"});
        assert_eq!(
            refused(tree(itself.clone())),
            "the schema at `/$defs/tree` cannot be kept: it needs itself again without an end: let it end somewhere, with a \
             property that is not required or a list that may be empty"
        );
        assert!(refused(tree(json!({"type": "array", "items": itself, "minItems": 1}))).contains("without an end"));
        assert!(Open::from_schema(tree(json!({"type": "array", "items": itself}))).is_ok());
        assert!(Open::from_schema(tree(json!({"anyOf": [itself, {"type": "null"}]}))).is_ok());
        assert!(refused(json!({"$ref": "#"})).contains("without an end"));
        assert!(
            refused(json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}))
                .contains("without an end")
        );
    }

    #[test]
    fn large_and_deep_schemas_end_in_bounded_time() {
        let started = std::time::Instant::now();
        let mut deep = json!({"type": "string"});
        for _ in 0..500 {
            deep = json!({"type": "array", "items": deep});
        }
        assert!(refused(deep).ends_with("schemas are nested more than 64 deep"));
        let many: Vec<String> = (0..10_000).map(|i| format!("value number {i}")).collect();
        assert!(Open::from_schema(json!({"type": "array", "items": {"enum": many}})).is_ok());
        let wide: Map<String, Value> = (0..50_000).map(|i| (format!("p{i}"), json!({"type": "string"}))).collect();
        assert!(
            refused(json!({"type": "object", "properties": wide})).ends_with("there are more than 20000 schemas in it")
        );
        let long = "x".repeat(9 << 20);
        assert!(refused(json!({"type": "string", "pattern": long})).contains("at most 8388608 are read"));
        for pattern in ["(a+)+$", "[a-z]{1,100000}", "(([a-z]{1,100}){1,100}){1,100}", "(.*a){30}"] {
            let _ = Open::from_schema(json!({"type": "string", "pattern": pattern}));
        }
        let mut exploding = Map::new();
        for i in 0..30 {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            exploding.insert(format!("d{i}"), json!({"allOf": [next, next]}));
        }
        exploding.insert("d30".to_owned(), json!({"type": "string"}));
        let _ = Open::from_schema(json!({"$defs": exploding, "$ref": "#/$defs/d0"}));
        assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    }
}
