//! A suite: the YAML file that says what is evaluated on what; it reads no data and knows no model.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_yaml::Spanned;

use crate::encoding::{self, EncodingError};

/// The most bytes that a suite, or a schema that it names, may have.
pub const MAX_BYTES: usize = 1 << 20;

/// What is evaluated on what.
///
/// ```yaml
/// model: triage             # a model's name
/// data: tickets.jsonl       # .jsonl or .csv; relative to the suite
/// input: text               # the field, or column, with the text that the model reads
/// expect: [queue, urgency]  # the answer's fields, in columns of the same names; or a map, `queue: true_queue`;
///                           # or, where the contract is one bare value, the name of one column
/// format: {enum: [a, b]}    # optional: a JSON schema, or `"@schema.json"`; else the model's own
/// system: Read the ticket.  # optional: replaces the model's own system message
/// parameters: {num_ctx: 2048} # optional: Ollama's names
/// limit: 100                # optional: only the first rows
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    pub model: String,
    /// As written: relative to the suite's folder, see [`Suite::data_in`].
    pub data: PathBuf,
    /// The field of the data that holds the text.
    pub input: String,
    /// At least one; no field twice.
    pub expect: Vec<ExpectedField>,
    pub format: Option<Format>,
    pub system: Option<String>,
    /// By Ollama's names; whether there is such a parameter is not checked here.
    pub parameters: Map<String, Value>,
    /// At least 1.
    pub limit: Option<usize>,
}

/// A field of the answer and the column of the data that says what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedField {
    pub field: String,
    pub column: String,
}

/// The contract of the answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// A JSON Schema, its keys in the order of the file.
    Schema(Value),
    /// `@file`: where a schema is, relative to the suite's folder.
    File(PathBuf),
}

/// Why a suite cannot be used. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{bytes} bytes are too many for a suite or a schema; the most is {MAX_BYTES}")]
    TooLarge { bytes: usize },
    #[error("line {line}: {message}")]
    Yaml { line: u64, message: String },
    #[error("line {line}: more nesting, values, aliases or documents than a suite may have")]
    Bounds { line: u64 },
    #[error("line {line}: unknown key `{key}`; the keys of a suite are {KNOWN}")]
    UnknownKey { line: u64, key: String },
    #[error("the suite has no `{key}`; it needs `model`, `data`, `input` and `expect`")]
    MissingKey { key: &'static str },
    #[error("line {line}: `{key}` {problem}")]
    Value { line: u64, key: &'static str, problem: String },
    #[error("`expect` names `{field}`, which is no field of the answer; its fields are {known}")]
    UnknownField { field: String, known: String },
    #[error("`expect` names {count} fields, but the answer is one value; name the column that holds it")]
    BareAnswer { count: usize },
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    #[error("the schema is not JSON: {source}")]
    Schema { source: serde_json::Error },
    #[error("`{}`: {source}", path.display())]
    In { path: PathBuf, source: Box<SuiteError> },
}

const KNOWN: &str = "`model`, `data`, `input`, `expect`, `format`, `system`, `parameters`, `limit`";

impl Suite {
    /// Reads and parses the suite at `path`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or as [`Suite::parse`]; both with the path.
    pub fn load(path: &Path) -> Result<Self, SuiteError> {
        let text = read(path)?;
        Suite::parse(&text).map_err(|source| SuiteError::In { path: path.to_owned(), source: Box::new(source) })
    }

    /// Parses a suite's YAML. Aliases that multiply, deep nesting and a second document are refused; `yes`, `no`, `on`
    /// and `off` are texts (YAML 1.2), so that they can be labels.
    ///
    /// # Errors
    ///
    /// It is not YAML, has an unknown key, lacks one or has one of the wrong kind; with the line where there is one.
    pub fn parse(yaml: &str) -> Result<Self, SuiteError> {
        if yaml.len() > MAX_BYTES {
            return Err(SuiteError::TooLarge { bytes: yaml.len() });
        }
        if yaml.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#')) {
            return Err(SuiteError::MissingKey { key: "model" });
        }
        let raw: Raw = serde_yaml::from_str_with_options(yaml, options()).map_err(refused)?;
        Ok(Suite {
            model: named("model", raw.model)?,
            data: named("data", raw.data)?.into(),
            input: named("input", raw.input)?,
            expect: expect(raw.expect)?,
            format: raw.format.map(format).transpose()?,
            system: raw.system,
            parameters: raw.parameters.map(parameters).transpose()?.unwrap_or_default(),
            limit: raw.limit.map(limit).transpose()?,
        })
    }

    /// Where the data is, for a suite in `folder`.
    #[must_use]
    pub fn data_in(&self, folder: &Path) -> PathBuf {
        folder.join(&self.data)
    }

    /// The contract that the suite pins, read from its file where it names one, for a suite in `folder`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is not JSON; whether it is a schema is not checked here.
    pub fn schema_in(&self, folder: &Path) -> Result<Option<Value>, SuiteError> {
        match &self.format {
            None => Ok(None),
            Some(Format::Schema(schema)) => Ok(Some(schema.clone())),
            Some(Format::File(file)) => {
                let path = folder.join(file);
                let schema = serde_json::from_str(&read(&path)?);
                schema.map(Some).map_err(|source| SuiteError::In { path, source: SuiteError::Schema { source }.into() })
            }
        }
    }

    /// Checks, before any row is answered, that each expected field is one of the answer's `fields`; an answer that is one
    /// bare value has the field `None`.
    ///
    /// # Errors
    ///
    /// The first that is not, with those that exist.
    pub fn check_fields(&self, fields: &[Option<&str>]) -> Result<(), SuiteError> {
        if fields == [None] {
            let count = self.expect.len();
            return if count == 1 { Ok(()) } else { Err(SuiteError::BareAnswer { count }) };
        }
        match self.expect.iter().find(|e| !fields.contains(&Some(&e.field))) {
            None => Ok(()),
            Some(ExpectedField { field, .. }) => {
                let known = list(fields.iter().flatten());
                Err(SuiteError::UnknownField { field: field.clone(), known })
            }
        }
    }
}

/// Names in backticks, with commas between them.
pub(super) fn list(names: impl IntoIterator<Item = impl fmt::Display>) -> String {
    names.into_iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

/// What the YAML may hold. Kinds that serde would name poorly are checked by hand, with the line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    model: Spanned<String>,
    data: Spanned<String>,
    input: Spanned<String>,
    expect: Spanned<Value>,
    format: Option<Spanned<Value>>,
    system: Option<String>,
    parameters: Option<Spanned<Value>>,
    limit: Option<Spanned<Value>>,
}

/// Bounds that no honest suite comes near.
fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_events: 50_000,
            max_nodes: 20_000,
            max_aliases: 200,
            max_anchors: 200,
            max_depth: 32,
            flow_nesting_limit: 32,
            max_documents: 1,
            max_total_scalar_bytes: MAX_BYTES,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
        },
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn read(path: &Path) -> Result<String, SuiteError> {
    let failed = |source| SuiteError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // A byte more than allowed tells that there are more.
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let text = if bytes.len() > MAX_BYTES {
        Err(SuiteError::TooLarge { bytes: bytes.len() })
    } else {
        encoding::decode(&bytes).map_err(SuiteError::from)
    };
    text.map_err(|source| SuiteError::In { path: path.to_owned(), source: Box::new(source) })
}

fn refused(mut error: serde_yaml::Error) -> SuiteError {
    let line = error.location().map_or(1, |l| l.line().max(1));
    while let serde_yaml::Error::AliasError { error: cause, .. } = error {
        error = *cause;
    }
    match error {
        serde_yaml::Error::SerdeUnknownField { field, .. } => SuiteError::UnknownKey { line, key: field },
        serde_yaml::Error::SerdeMissingField { field, .. } => SuiteError::MissingKey { key: field },
        serde_yaml::Error::DuplicateMappingKey { key, .. } => {
            SuiteError::Yaml { line, message: format!("the key `{}` is there twice", key.unwrap_or_default()) }
        }
        serde_yaml::Error::Budget { .. }
        | serde_yaml::Error::AliasReplayLimitExceeded { .. }
        | serde_yaml::Error::AliasReplayStackDepthExceeded { .. } => SuiteError::Bounds { line },
        other => {
            let message = one_line(&other.render_with_formatter(&serde_yaml::UserMessageFormatter));
            SuiteError::Yaml { line, message }
        }
    }
}

/// The parser's message without its own mention of the place, which ours opens with.
fn one_line(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    let message = message.split_once(": line ").map_or(message, |(before, _)| before);
    message.split_once(" at line ").map_or(message, |(before, _)| before).trim_end_matches('.').to_owned()
}

fn invalid<T, V>(key: &'static str, at: &Spanned<T>, problem: impl Into<String>) -> Result<V, SuiteError> {
    Err(SuiteError::Value { line: at.referenced.line().max(1), key, problem: problem.into() })
}

fn named(key: &'static str, value: Spanned<String>) -> Result<String, SuiteError> {
    if value.value.trim().is_empty() { invalid(key, &value, "is empty") } else { Ok(value.value) }
}

fn expect(value: Spanned<Value>) -> Result<Vec<ExpectedField>, SuiteError> {
    const KINDS: &str = "is neither a column's name, nor a list of fields, nor a map of fields to columns";
    let same = |name: &String| ExpectedField { field: name.clone(), column: name.clone() };
    let fields: Option<Vec<ExpectedField>> = match &value.value {
        Value::String(column) => Some(vec![same(column)]),
        Value::Array(names) => {
            names.iter().map(|n| if let Value::String(name) = n { Some(same(name)) } else { None }).collect()
        }
        Value::Object(map) => {
            let pair = |(field, column): (&String, &Value)| {
                Some(ExpectedField { field: field.clone(), column: column.as_str()?.to_owned() })
            };
            map.iter().map(pair).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    };
    let Some(fields) = fields else { return invalid("expect", &value, KINDS) };
    if fields.is_empty() {
        return invalid("expect", &value, "names no field");
    }
    if fields.iter().any(|f| f.field.trim().is_empty() || f.column.is_empty()) {
        return invalid("expect", &value, "has an empty name");
    }
    let repeated = fields.iter().enumerate().find(|(i, f)| fields[..*i].iter().any(|e| e.field == f.field));
    if let Some((_, ExpectedField { field, .. })) = repeated {
        return invalid("expect", &value, format!("names `{field}` twice"));
    }
    Ok(fields)
}

fn format(value: Spanned<Value>) -> Result<Format, SuiteError> {
    match &value.value {
        Value::Object(_) => Ok(Format::Schema(value.value)),
        Value::String(text) => match text.strip_prefix('@') {
            Some(file) if !file.is_empty() => Ok(Format::File(file.into())),
            _ => invalid("format", &value, format!("is `{text}`; write a JSON schema, or `\"@file\"` that holds one")),
        },
        _ => invalid("format", &value, "is neither a JSON schema nor `\"@file\"`"),
    }
}

fn parameters(value: Spanned<Value>) -> Result<Map<String, Value>, SuiteError> {
    match value.value {
        Value::Object(map) => Ok(map),
        ref other => {
            let problem = format!("is `{other}`; write a map of names to values, such as `num_ctx: 2048`");
            invalid("parameters", &value, problem)
        }
    }
}

fn limit(value: Spanned<Value>) -> Result<usize, SuiteError> {
    match value.value.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(n) if n > 0 => Ok(n),
        _ => {
            let problem = format!("is `{}`; write a whole number of rows, 1 or more", value.value);
            invalid("limit", &value, problem)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ExpectedField, Format, MAX_BYTES, Suite};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::fmt::Write as _;
    use std::path::Path;

    const SMALL: &str = "model: triage\ndata: tickets.jsonl\ninput: text\nexpect: queue\n";

    fn refused(yaml: &str) -> String {
        Suite::parse(yaml).expect_err(yaml).to_string()
    }

    /// The small suite with one of its lines replaced.
    fn with(key: &str, value: &str) -> String {
        let other = |line: &&str| !line.starts_with(&format!("{key}:"));
        let rest: Vec<&str> = SMALL.lines().filter(other).collect();
        format!("{key}: {value}\n{}\n", rest.join("\n"))
    }

    #[test]
    fn a_full_suite() {
        let suite = Suite::parse(
            "# How good is it?
model: hf.co/user/repo:Q4_K_M
data: data/tickets.csv
input: text
expect: {queue: true_queue, urgency: urgency}
format:
  type: object
  properties:
    queue: {enum: [no, billing, 'yes']}
    urgency: {type: integer, minimum: 1, maximum: 3}
system: Read the ticket.
parameters: {num_ctx: 2048, stop: [a], temperature: 0.5}
limit: 100
",
        )
        .expect("a good suite");
        let field = |field: &str, column: &str| ExpectedField { field: field.into(), column: column.into() };
        assert_eq!(suite.model, "hf.co/user/repo:Q4_K_M");
        assert_eq!(suite.data_in(Path::new("suites")), Path::new("suites/data/tickets.csv"));
        assert_eq!(suite.input, "text");
        assert_eq!(suite.expect, [field("queue", "true_queue"), field("urgency", "urgency")]);
        let schema = suite.schema_in(Path::new("")).expect("inline").expect("there is one");
        let text = r#"{"type":"object","properties":{"queue":{"enum":["no","billing","yes"]},"#.to_owned()
            + r#""urgency":{"type":"integer","minimum":1,"maximum":3}}}"#;
        assert_eq!(schema.to_string(), text, "order kept, `no` a text");
        assert_eq!(suite.system.as_deref(), Some("Read the ticket."));
        assert_eq!(Value::Object(suite.parameters), json!({"num_ctx": 2048, "stop": ["a"], "temperature": 0.5}));
        assert_eq!(suite.limit, Some(100));
    }

    #[test]
    fn what_is_expected_in_three_forms() {
        let fields = |value: &str| {
            let suite = Suite::parse(&with("expect", value)).expect(value);
            suite.expect.into_iter().map(|e| (e.field, e.column)).collect::<Vec<_>>()
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(fields("queue"), [pair("queue", "queue")]);
        assert_eq!(fields("[queue, urgency]"), [pair("queue", "queue"), pair("urgency", "urgency")]);
        assert_eq!(fields("{queue: b, urgency: a}"), [pair("queue", "b"), pair("urgency", "a")]);
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_the_way_out() {
        let check = |yaml: &str, expect: &str| assert_eq!(refused(yaml), expect, "{yaml}");
        let known = "`model`, `data`, `input`, `expect`, `format`, `system`, `parameters`, `limit`";
        check(&format!("{SMALL}modle: x\n"), &format!("line 5: unknown key `modle`; the keys of a suite are {known}"));
        check(
            "model: a\ndata: b\nexpect: c\n",
            "the suite has no `input`; it needs `model`, `data`, `input` and `expect`",
        );
        check(&with("model", "''"), "line 1: `model` is empty");
        check(
            &with("expect", "3"),
            "line 1: `expect` is neither a column's name, nor a list of fields, nor a map of fields to columns",
        );
        check(
            &with("expect", "[a, 3]"),
            "line 1: `expect` is neither a column's name, nor a list of fields, nor a map of fields to columns",
        );
        check(&with("expect", "[]"), "line 1: `expect` names no field");
        check(&with("expect", "[a, b, a]"), "line 1: `expect` names `a` twice");
        check(&with("expect", "[a, '']"), "line 1: `expect` has an empty name");
        check(
            &format!("{SMALL}format: json\n"),
            "line 5: `format` is `json`; write a JSON schema, or `\"@file\"` that holds one",
        );
        check(&format!("{SMALL}format: [a]\n"), "line 5: `format` is neither a JSON schema nor `\"@file\"`");
        check(&format!("{SMALL}limit: 0\n"), "line 5: `limit` is `0`; write a whole number of rows, 1 or more");
        check(
            &format!("{SMALL}limit: many\n"),
            "line 5: `limit` is `\"many\"`; write a whole number of rows, 1 or more",
        );
        check(
            &format!("{SMALL}parameters: [1]\n"),
            "line 5: `parameters` is `[1]`; write a map of names to values, such as `num_ctx: 2048`",
        );
    }

    #[test]
    fn what_is_no_yaml_of_one_suite_is_refused_with_its_line() {
        for (yaml, line) in [
            (format!("{SMALL}model: again\n"), "line 5: "),
            (format!("{SMALL}system: [a\n"), "line "),
            (format!("{SMALL}format: {{enum: [!include a]}}\n"), "line 5: "),
            (format!("{SMALL}---\n{SMALL}"), "line "),
            (format!("{SMALL}system: *nothing\n"), "line 5: "),
            (format!("{SMALL}parameters: {{a: .nan}}\n"), "line 5: "),
            ("just a text".to_owned(), "line 1: "),
            (String::new(), "the suite has no `model`"),
            ("# nothing yet\n".to_owned(), "the suite has no `model`"),
        ] {
            let message = refused(&yaml);
            assert!(message.starts_with(line), "{yaml}\n{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn hostile_yaml_is_refused_at_once() {
        let mut bomb = format!("{SMALL}parameters:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..30 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            writeln!(bomb, "  a{level}: &a{level} [{aliases}]").expect("a string takes it");
        }
        let nested =
            |open: &str, close: &str| format!("{SMALL}format: {}{}", open.repeat(10_000), close.repeat(10_000));
        let blocks: String = (0..5000).map(|depth| format!("{}a:\n", " ".repeat(depth + 1))).collect();
        for yaml in [
            bomb.clone(),
            nested("[", "]"),
            nested("{a: ", "}"),
            format!("{SMALL}format:\n{blocks}"),
            format!("{SMALL}parameters: &a {{b: *a}}\n"),
            format!("{SMALL}parameters: [{}]\n", "x,".repeat(100_000)),
            format!("{SMALL}system: {}\n", "x".repeat(MAX_BYTES)),
        ] {
            let message = refused(&yaml);
            assert!(message.len() < 300, "{message}");
        }
        assert_eq!(refused(&bomb), "line 10: more nesting, values, aliases or documents than a suite may have");
    }

    #[test]
    fn a_schema_comes_from_its_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let suite = Suite::parse(&format!("{SMALL}format: '@schema.json'\n")).expect("a good suite");
        assert_eq!(suite.format, Some(Format::File("schema.json".into())));
        let path = folder.path().join("schema.json");
        let missing = suite.schema_in(folder.path()).expect_err("no file yet").to_string();
        assert!(missing.starts_with(&format!("cannot read `{}`: ", path.display())), "{missing}");
        std::fs::write(&path, "{").expect("written");
        let broken = suite.schema_in(folder.path()).expect_err("broken").to_string();
        assert!(broken.starts_with(&format!("`{}`: the schema is not JSON: ", path.display())), "{broken}");
        std::fs::write(&path, r#"{"enum": ["b", "a"]}"#).expect("written");
        assert_eq!(suite.schema_in(folder.path()).expect("good"), Some(json!({"enum": ["b", "a"]})));
    }

    #[test]
    fn a_file_is_named_in_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("suite.yaml");
        std::fs::write(&path, SMALL).expect("written");
        assert_eq!(Suite::load(&path).expect("good"), Suite::parse(SMALL).expect("good"));
        std::fs::write(&path, "x: 1").expect("written");
        let message = Suite::load(&path).expect_err("bad").to_string();
        assert!(message.starts_with(&format!("`{}`: line 1: unknown key `x`", path.display())), "{message}");
        std::fs::write(&path, vec![b'#'; MAX_BYTES + 5]).expect("written");
        let message = Suite::load(&path).expect_err("large").to_string();
        let expect = format!(
            "`{}`: {} bytes are too many for a suite or a schema; the most is {MAX_BYTES}",
            path.display(),
            MAX_BYTES + 1
        );
        assert_eq!(message, expect);
    }

    #[test]
    fn fields_are_checked_against_the_contract() {
        let suite = Suite::parse(&with("expect", "[queue, refund]")).expect("good");
        assert!(suite.check_fields(&[Some("refund"), Some("urgency"), Some("queue")]).is_ok());
        assert_eq!(
            suite.check_fields(&[Some("queue"), Some("urgency")]).expect_err("no refund").to_string(),
            "`expect` names `refund`, which is no field of the answer; its fields are `queue`, `urgency`"
        );
        assert_eq!(
            suite.check_fields(&[None]).expect_err("bare").to_string(),
            "`expect` names 2 fields, but the answer is one value; name the column that holds it"
        );
        assert!(Suite::parse(SMALL).expect("good").check_fields(&[None]).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = Suite::parse(&text);
        }

        #[test]
        fn no_yaml_like_text_panics(text in "(model|data|input|expect|format|limit|[-&*!|>:?#{}\\[\\], \n'\"a1~%@`]){0,60}") {
            let _ = Suite::parse(&text);
            let _ = Suite::parse(&format!("{SMALL}format: {text}"));
        }
    }
}
