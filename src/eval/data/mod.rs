//! The rows of a suite, from files or from the suite itself: each readable row, or why it is not; it asks no model.

mod cells;
mod column;
mod error;
mod formats;
pub mod hygiene;
pub mod parquet;
mod selection;
mod template;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

pub use column::{Column, columns};
pub use error::{DataError, MAX_BYTES};
pub use selection::{Selection, Shard, ShardError};

use super::label::Expected;
use super::suite::{ExpectedField, Source, Suite, list};
use crate::digest::Digest;
use cells::{Cells, RawRow};
use formats::{Table, Wanted};
use template::Maker;

/// The rows in their files' order; a row that could not be read keeps its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    pub rows: Vec<Row>,
    /// The files, as the suite names them; rows of the suite itself are of a file without a name.
    pub sources: Vec<String>,
    /// Lines of nothing but white space among a JSONL file's rows; they are no rows.
    pub n_blank_lines: u64,
    /// Rows whose input another row before has too.
    pub n_duplicates: u64,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Stays with the row wherever it stands: as given, or a hash of the input.
    pub id: String,
    pub place: Place,
    /// Or why it cannot be read.
    pub content: Result<Content, String>,
}

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Of [`Data::sources`].
    pub source: usize,
    /// The line that it starts on, from 1 (a CSV's header is line 1); where there are no lines, which row it is.
    pub line: u64,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    pub input: String,
    /// For each of the suite's variants the text that its model reads, where that is not the input.
    pub prompts: Vec<Option<String>>,
    /// One for each of the suite's expected fields, in their order.
    pub expected: Vec<Expected>,
}

impl Content {
    /// What the model of the first variant reads.
    #[must_use]
    pub fn text(&self) -> &str {
        self.prompts.first().and_then(Option::as_deref).unwrap_or(&self.input)
    }
}

impl Data {
    /// Reads the rows that `suite`, in `folder`, asks for; those of Parquet files with `parquet`.
    ///
    /// # Errors
    ///
    /// A file cannot be read, is of another kind or lacks a column; no row is left, or none can be read; an id is there twice.
    pub fn load(
        folder: &Path,
        suite: &Suite,
        selection: &Selection,
        parquet: parquet::Reader<'_>,
    ) -> Result<Self, DataError> {
        let reader = RowReader::of(suite, selection)?;
        let mut data = Data { rows: Vec::new(), sources: Vec::new(), n_blank_lines: 0, n_duplicates: 0 };
        let limit = selection.limit.unwrap_or(usize::MAX);
        for source in &suite.data {
            let table = match source {
                Source::File(path) => {
                    data.sources.push(path.display().to_string());
                    let most = if selection.reads_all() { usize::MAX } else { limit - data.rows.len() };
                    let wanted = Wanted { columns: Some(&reader.columns()), limit: most };
                    formats::read(&folder.join(path), wanted, parquet)?
                }
                Source::Rows(rows) => {
                    data.sources.push(String::new());
                    formats::of_objects(rows.iter().cloned())
                }
            };
            reader.check_columns(&table, data.sources.last().expect("pushed above"))?;
            data.n_blank_lines += table.n_blank_lines;
            let of = data.sources.len() - 1;
            let rows = table.rows.into_iter().filter_map(|raw| reader.row(raw, of));
            data.rows.extend(rows.take(limit - data.rows.len()));
        }
        data.n_duplicates = data.identify(suite.id.is_some())?;
        data.check(selection)?;
        Ok(data)
    }

    /// Where a row stands, in words.
    #[must_use]
    pub fn place(&self, Place { source, line }: Place) -> String {
        let name = self.sources.get(source).map_or("", String::as_str);
        let unit = if name.is_empty() || name.ends_with(".json") || parquet::is_parquet(Path::new(name)) {
            "row"
        } else {
            "line"
        };
        match name {
            "" => format!("row {line} of the suite"),
            name if self.sources.len() > 1 => format!("`{name}`, {unit} {line}"),
            _ => format!("{unit} {line}"),
        }
    }

    /// The files in words.
    #[must_use]
    pub fn name(&self) -> String {
        let name = |source: &String| if source.is_empty() { "the suite".to_owned() } else { source.clone() };
        self.sources.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// Gives rows of one id different ones where the id is a hash, and refuses them where it was given. Counts the rows whose
    /// input was there before.
    fn identify(&mut self, is_given: bool) -> Result<u64, DataError> {
        let mut first: HashMap<String, Place> = HashMap::new();
        let mut n_of_input: HashMap<String, u64> = HashMap::new();
        for at in 0..self.rows.len() {
            let row = &self.rows[at];
            if let Ok(content) = &row.content {
                *n_of_input.entry(content.input.clone()).or_default() += 1;
            }
            let (mut id, mut n) = (row.id.clone(), 1);
            while let Some(before) = first.get(&id) {
                if is_given && row.content.is_ok() {
                    let (first, second) = (self.place(*before), self.place(row.place));
                    return Err(DataError::RepeatedId { id, first, second });
                }
                n += 1;
                id = format!("{}-{n}", row.id);
            }
            first.insert(id.clone(), row.place);
            self.rows[at].id = id;
        }
        Ok(n_of_input.values().map(|n| n - 1).sum())
    }

    fn check(&self, selection: &Selection) -> Result<(), DataError> {
        let name = self.name();
        match self.rows.first() {
            None if selection.reads_all() => Err(DataError::NoneLeft { name, by: selection.describe() }),
            None => Err(DataError::Empty { name }),
            Some(Row { content: Err(reason), place, .. }) if self.rows.iter().all(|row| row.content.is_err()) => {
                Err(DataError::Unreadable { name, place: self.place(*place), reason: reason.clone() })
            }
            Some(_) => Ok(()),
        }
    }
}

/// What is read of each row.
struct RowReader<'a> {
    suite: &'a Suite,
    selection: &'a Selection,
    input: Maker,
    /// One for each variant, where it has a template of its own.
    prompts: Vec<Option<Maker>>,
}

impl<'a> RowReader<'a> {
    fn of(suite: &'a Suite, selection: &'a Selection) -> Result<Self, DataError> {
        let prompts = suite.variants.iter().map(|v| v.prompt.as_deref().map(Maker::template).transpose());
        let prompts = prompts.collect::<Result<_, _>>()?;
        Ok(RowReader { suite, selection, input: Maker::of_input(&suite.input)?, prompts })
    }

    fn columns(&self) -> Vec<&str> {
        let mut columns = self.input.columns();
        columns.extend(self.suite.expect.iter().filter_map(|e| e.column.as_deref()));
        columns.extend(self.suite.id.as_deref());
        columns.extend(self.selection.filter.iter().map(|(column, _)| column.as_str()));
        columns.extend(self.prompts.iter().flatten().flat_map(Maker::columns));
        columns
    }

    /// A name that no record has is a mistake in the suite, not in every row.
    fn check_columns(&self, table: &Table, source: &str) -> Result<(), DataError> {
        const MOST: usize = 20;
        let is_unknown = |column: &&str| !table.columns.iter().any(|known| known == column);
        // A file of which no record can be read says so by its rows.
        let has_records = table.rows.iter().any(|row| row.cells.is_ok()) || !table.columns.is_empty();
        let Some(column) = self.columns().into_iter().find(is_unknown).filter(|_| has_records) else { return Ok(()) };
        let mut shown = list(table.columns.iter().take(MOST));
        if table.columns.len() > MOST {
            shown = format!("{shown} and {} more", table.columns.len() - MOST);
        }
        let name = if source.is_empty() { "the suite" } else { source }.to_owned();
        Err(DataError::MissingColumn { name, column: column.to_owned(), columns: shown })
    }

    /// The row of a record; `None` where it is not among those that are asked for.
    fn row(&self, raw: RawRow, source: usize) -> Option<Row> {
        let place = Place { source, line: raw.line };
        let unread = format!("{source}:{}", raw.line);
        let row = match raw.cells {
            Ok(cells) if !self.selection.takes(&cells) => return None,
            Ok(cells) => {
                let content = self.content(&cells);
                let id = self.suite.id.as_ref().and_then(|id| Some(cells.get(id).ok()??.text()));
                let id = match (&self.suite.id, id, &content) {
                    (Some(_), Some(id), _) if !id.trim().is_empty() => Ok(id),
                    (Some(column), ..) => Err(format!("the row has no `{column}`, which is its id")),
                    (None, _, Ok(content)) => Ok(Digest::of(content.input.as_bytes()).short()),
                    (None, _, Err(_)) => Ok(unread.clone()),
                };
                match id {
                    Ok(id) => Row { id, place, content },
                    Err(reason) => Row { id: unread, place, content: Err(reason) },
                }
            }
            Err(reason) => Row { id: unread, place, content: Err(reason) },
        };
        self.selection.shard.is_none_or(|shard| shard.has(&row.id)).then_some(row)
    }

    fn content(&self, cells: &Cells) -> Result<Content, String> {
        let input = self.input.make(cells, None)?;
        let expected = self.suite.expect.iter().map(|field| expected(cells, field)).collect::<Result<_, _>>()?;
        let prompt = |maker: &Option<Maker>| maker.as_ref().map(|maker| maker.make(cells, Some(&input))).transpose();
        let prompts = self.prompts.iter().map(prompt).collect::<Result<_, _>>()?;
        Ok(Content { input, prompts, expected })
    }
}

fn expected(cells: &Cells, ExpectedField { column, judge, .. }: &ExpectedField) -> Result<Expected, String> {
    // Nothing is expected but that limits are kept.
    let Some(column) = column else { return Ok(Expected::Json(serde_json::Value::Null)) };
    match cells.get(column)? {
        // What nobody wrote down is expected to be missing.
        None if !judge.is_label() => Ok(Expected::Json(serde_json::Value::Null)),
        None => Err(format!("the row has no `{column}`")),
        Some(cell) => match cell.expected() {
            Expected::Json(value) if judge.is_label() && (value.is_array() || value.is_object()) => {
                Err(format!("`{column}` is {}, not a label", cells::kind(&value)))
            }
            expected => Ok(expected),
        },
    }
}

/// How often each text is there, most frequent first.
fn counted(texts: impl Iterator<Item = String>) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    counts
}

#[cfg(test)]
mod tests;
