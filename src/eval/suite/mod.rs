//! A suite: the YAML file that says what is evaluated on what; it reads no data and knows no model.

mod error;
mod expect;
mod gate;
mod limits;
mod metric;
mod raw;
mod variant;
mod yaml;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub(crate) use error::list;
pub use error::{MAX_BYTES, SuiteError};
pub use expect::{ExpectedField, Judge};
pub use gate::{Bound, End, Gate, Limit};
pub use limits::{TextLimit, TextLimits};
pub use metric::Metric;
pub use variant::{Format, RemoteSource, Variant, Whom};
use yaml::{named, read};

/// What is evaluated on what.
///
/// ```yaml
/// model: triage             # a model's name; or `models:`, a list of names or of maps with `model`, `name`, `prompt`,
///                           # `system`, `format`, `parameters`, `adapters`; or with `remote` (docs/remotes.md) for `model`
/// data: tickets.jsonl       # .jsonl, .json, .csv, .tsv, .parquet; relative to the suite; or a list of files and of rows
/// input: text               # the column with the text that the model reads, or a template over columns: "{{ title }}"
/// expect: [queue, urgency]  # the answer's fields, in columns of the same names; or a map, `queue: true_queue`, or
///                           # `total: {column: amount, as: number, tolerance: 0.01}`;
///                           # or, where the contract is one bare value, the name of one column
/// limits: {max_words: 30}   # optional: what a written answer is to keep; of several fields `limits: {summary: {max_words: 30}}`.
///                           # Then `expect` may be missing
/// id: ticket                # optional: the column of a row's id; else it is a hash of the input
/// format: {enum: [a, b]}    # optional: a JSON schema, or `"@schema.json"`; else the model's own
/// system: Read the ticket.  # optional: replaces the model's own system message
/// prompt: "Ticket: {{ input }}" # optional: a template over the row's columns and `input`
/// parameters: {num_ctx: 2048} # optional: Ollama's names
/// adapters: [tone.gguf]     # optional, as `--adapter` takes them
/// filter: {split: test}     # optional: only rows with these values
/// limit: 100                # optional: only the first rows
/// baselines: none           # optional: or a list of `majority` and `words`, which are both on otherwise
/// gate: {accuracy: {at_least: 0.9, bound: lower}} # optional: what must hold
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    /// At least one; no name twice.
    pub variants: Vec<Variant>,
    /// What the suite says of every model, for those that are named elsewhere.
    pub defaults: Variant,
    /// At least one; files as written: relative to the suite's folder.
    pub data: Vec<Source>,
    /// A column, or a template over columns.
    pub input: String,
    pub id: Option<String>,
    /// At least one; no field twice.
    pub expect: Vec<ExpectedField>,
    /// Columns and the values that rows must have in them.
    pub filter: Vec<(String, String)>,
    /// At least 1.
    pub limit: Option<usize>,
    pub baselines: Vec<Baseline>,
    pub gate: Gate,
}

/// Files that are data, whatever stands in them.
const DATA: [&str; 5] = ["csv", "jsonl", "ndjson", "tsv", "parquet"];

/// Where rows come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    File(PathBuf),
    /// Written in the suite itself, behind the files before it.
    Rows(Vec<Map<String, Value>>),
}

/// What needs no model and is measured beside them, because a model that does not beat it is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// The most frequent label, always.
    Majority,
    /// A bag of words, learned and tried on the rows themselves by cross-validation.
    Words,
}

impl Baseline {
    pub const ALL: [Baseline; 2] = [Baseline::Majority, Baseline::Words];

    /// The name in a suite and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Baseline::Majority => "majority",
            Baseline::Words => "words",
        }
    }
}

impl Suite {
    /// Reads and parses the suite at `path`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or as [`Suite::parse`]; both with the path.
    pub fn load(path: &Path) -> Result<Self, SuiteError> {
        let text = read(path)?;
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let suite = if DATA.contains(&extension.as_str()) { Err(SuiteError::NotASuite) } else { Suite::parse(&text) };
        suite.map_err(|source| SuiteError::In { path: path.to_owned(), source: Box::new(source) })
    }

    /// Parses a suite's YAML.
    ///
    /// # Errors
    ///
    /// It is not YAML, has an unknown key, lacks one or has one of the wrong kind; with the line where there is one.
    pub fn parse(text: &str) -> Result<Self, SuiteError> {
        if text.len() <= MAX_BYTES && !text.lines().any(raw::is_key) {
            return Err(SuiteError::NotASuite);
        }
        let raw: raw::Raw = yaml::parse(text)?;
        let defaults = Variant {
            prompt: raw.prompt.map(|prompt| named("prompt", prompt)).transpose()?,
            system: raw.system,
            format: raw.format.map(variant::format).transpose()?,
            parameters: raw.parameters.map(variant::parameters).transpose()?.unwrap_or_default(),
            adapters: raw.adapters.unwrap_or_default(),
            ..Variant::default()
        };
        let mut expect = raw.expect.map(expect::parse).transpose()?.unwrap_or_default();
        if let Some(said) = &raw.limits {
            expect::set_limits(said, &mut expect)?;
        }
        if expect.is_empty() {
            return Err(SuiteError::MissingKey { key: "expect" });
        }
        let gate = raw.gate.map(gate::parse).transpose()?.unwrap_or_default();
        let ungated = |bound: &&Bound| bound.field.as_ref().is_some_and(|f| !expect.iter().any(|e| e.field == *f));
        if let Some(Bound { field: Some(field), .. }) = gate.bounds.iter().find(ungated) {
            let known = list(expect.iter().map(|e| &e.field));
            return Err(SuiteError::UngatedField { field: field.clone(), known });
        }
        Ok(Suite {
            variants: raw::variants(raw.model, raw.models, &defaults)?,
            defaults,
            data: raw::sources(raw.data)?,
            input: named("input", raw.input)?,
            id: raw.id.map(|id| named("id", id)).transpose()?,
            expect,
            filter: raw.filter.map(raw::filter).transpose()?.unwrap_or_default(),
            limit: raw.limit.map(raw::limit).transpose()?,
            baselines: raw.baselines.map(raw::baselines).transpose()?.unwrap_or_else(|| Baseline::ALL.to_vec()),
            gate,
        })
    }

    /// Asks these models in place of the suite's: a variant of that name, else what the suite says of every model. Remotes are
    /// asked as before.
    pub fn ask_instead(&mut self, models: &[String]) {
        let variant = |name: &String| {
            let known = self.variants.iter().find(|variant| variant.name == *name).cloned();
            known.unwrap_or_else(|| Variant {
                name: name.clone(),
                whom: Whom::Model(name.clone()),
                ..self.defaults.clone()
            })
        };
        let mut variants: Vec<Variant> = models.iter().map(variant).collect();
        let is_left = |one: &Variant| matches!(one.whom, Whom::Remote(_)) && !models.contains(&one.name);
        variants.extend(self.variants.iter().filter(|one| is_left(one)).cloned());
        self.variants = variants;
    }

    /// The data in words: its files, as they are written.
    #[must_use]
    pub fn data_name(&self) -> String {
        let name = |source: &Source| match source {
            Source::File(path) => path.display().to_string(),
            Source::Rows(rows) => format!("{} rows of the suite", rows.len()),
        };
        self.data.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// Checks, before any row is answered, that each expected field is one of the answer's closed `fields`; an answer that is
    /// one bare value has the field `None`. Tags may be the booleans below a name.
    ///
    /// # Errors
    ///
    /// The first that is not, with those that exist.
    pub fn check_fields(&self, fields: &[Option<&str>]) -> Result<(), SuiteError> {
        if fields == [None] {
            let count = self.expect.len();
            return if count == 1 { Ok(()) } else { Err(SuiteError::BareAnswer { count }) };
        }
        let is_known = |e: &ExpectedField| {
            let below = |field: &&str| e.field == "*" || field.starts_with(&format!("{}.", e.field));
            fields.contains(&Some(&e.field)) || e.judge == Judge::Tags && fields.iter().flatten().any(below)
        };
        match self.expect.iter().find(|e| !is_known(e)) {
            None => Ok(()),
            Some(ExpectedField { field, .. }) => {
                let known = list(fields.iter().flatten());
                Err(SuiteError::UnknownField { field: field.clone(), known })
            }
        }
    }

    /// As [`Suite::check_fields`], for an answer that is written: its outermost `names`.
    ///
    /// # Errors
    ///
    /// The first field that begins with none of them, with those that exist.
    pub fn check_properties(&self, names: &[&str]) -> Result<(), SuiteError> {
        let is_known =
            |e: &ExpectedField| e.field == "*" || names.contains(&e.field.split('.').next().unwrap_or_default());
        match self.expect.iter().find(|e| !is_known(e)) {
            None => Ok(()),
            Some(ExpectedField { field, .. }) => {
                Err(SuiteError::UnknownField { field: field.clone(), known: list(names) })
            }
        }
    }
}

impl Variant {
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
}

#[cfg(test)]
mod tests;
