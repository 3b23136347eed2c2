//! Tables of cells with a delimiter between them (RFC 4180): the column with the text, and rows as they were written with
//! columns added.

use super::boundary::Boundary;

/// A table by its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub delimiter: u8,
    /// The header as it was written.
    header: String,
    names: Vec<String>,
    /// The column with the text, from 0.
    column: usize,
    /// The columns that are added.
    added: Vec<String>,
}

/// Why a table cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("the table has no column `{column}`; it has {}", listed(names))]
    NoColumn { column: String, names: Vec<String> },
    #[error("the table has two columns `{0}`")]
    TwoColumns(String),
    #[error("the header of the table cannot be read: {0}")]
    Header(String),
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Table {
    /// Of a header and the name of the column with the text.
    ///
    /// # Errors
    /// There is no such column, or more than one.
    pub fn new(header: &str, delimiter: u8, column: &str) -> Result<Table, TableError> {
        let names = cells(header, delimiter).map_err(TableError::Header)?;
        let mut found = names.iter().enumerate().filter(|(_, name)| name.trim() == column.trim()).map(|(at, _)| at);
        let (first, second) = (found.next(), found.next());
        match (first, second) {
            (Some(_), Some(_)) => Err(TableError::TwoColumns(column.to_owned())),
            (None, _) => Err(TableError::NoColumn { column: column.to_owned(), names }),
            (Some(at), None) => {
                Ok(Table { delimiter, header: header.to_owned(), names, column: at, added: Vec::new() })
            }
        }
    }

    /// The same with columns for answers. Where the table has one of their names, all of them begin with `slm_`.
    #[must_use]
    pub fn with_columns(self, added: &[String]) -> Table {
        let is_taken = |name: &String| self.names.contains(name);
        let prefix = if added.iter().any(is_taken) { "slm_" } else { "" };
        let added = added.iter().map(|name| format!("{prefix}{name}")).collect();
        Table { added, ..self }
    }

    /// The header with the added columns.
    #[must_use]
    pub fn header_line(&self) -> String {
        self.extended(&self.header, &self.added)
    }

    /// The text of a row.
    ///
    /// # Errors
    /// It has other columns than the header, or no text.
    pub fn text(&self, row: &str) -> Result<String, String> {
        let mut cells = self.cells(row)?;
        let text = cells.swap_remove(self.column);
        if text.trim().is_empty() { Err(format!("`{}` is empty", self.names[self.column])) } else { Ok(text) }
    }

    /// The cells of a row, as many as the header has.
    fn cells(&self, row: &str) -> Result<Vec<String>, String> {
        let mut boundary = Boundary::of_table(self.delimiter);
        row.bytes().for_each(|byte| _ = boundary.ends_with(byte));
        if !boundary.ends_with(b'\n') {
            return Err("a quote is not closed".to_owned());
        }
        let cells = cells(row, self.delimiter)?;
        if cells.len() != self.names.len() {
            return Err(format!("the row has {} cells and the header {}", cells.len(), self.names.len()));
        }
        Ok(cells)
    }

    /// A row as it was written, with more cells; those that are missing are empty.
    #[must_use]
    pub fn extended(&self, row: &str, more: &[String]) -> String {
        let missing = self.added.len().saturating_sub(more.len());
        let more = more.iter().map(String::as_str).chain(std::iter::repeat_n("", missing));
        format!("{row}{}{}", char::from(self.delimiter), written(more, self.delimiter))
    }

    /// A row that has no answer: the reason is in the last of the added columns. The cells of a row that are too few, too many or
    /// not closed are left out: they would shift it.
    #[must_use]
    pub fn failed(&self, row: Option<&str>, reason: &str) -> String {
        let row = row.filter(|row| self.cells(row).is_ok());
        let empty = String::from(char::from(self.delimiter)).repeat(self.names.len().saturating_sub(1));
        let mut more = vec![String::new(); self.added.len()];
        if let Some(last) = more.last_mut() {
            reason.clone_into(last);
        }
        self.extended(row.unwrap_or(&empty), &more)
    }
}

/// The cells of one record.
fn cells(record: &str, delimiter: u8) -> Result<Vec<String>, String> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(record.as_bytes());
    match reader.records().next() {
        Some(Ok(cells)) => Ok(cells.iter().map(str::to_owned).collect()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it is empty".to_owned()),
    }
}

/// Cells as one record, in quotes where they need them.
fn written<'c>(cells: impl Iterator<Item = &'c str>, delimiter: u8) -> String {
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    writer.write_record(cells).expect("a vector takes everything");
    let record = writer.into_inner().expect("a vector takes everything");
    String::from_utf8_lossy(record.strip_suffix(b"\n").unwrap_or(&record)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> Table {
        Table::new("id,\"the text\",x", b',', "the text").unwrap().with_columns(&["label".into(), "error".into()])
    }

    #[test]
    fn rows_keep_their_own_writing() {
        let table = table();
        assert_eq!(table.header_line(), "id,\"the text\",x,label,error");
        let row = "1,\"a \"\"b\"\"\nc\", 7";
        assert_eq!(table.text(row).unwrap(), "a \"b\"\nc");
        assert_eq!(table.extended(row, &["yes, it is".into()]), format!("{row},\"yes, it is\","));
        assert_eq!(table.failed(Some(row), "too \"long\""), format!("{row},,\"too \"\"long\"\"\""));
        assert_eq!(table.failed(Some("1,2"), "short"), ",,,,short");
        assert_eq!(table.text("1,2").unwrap_err(), "the row has 2 cells and the header 3");
        assert_eq!(table.text("1, ,3").unwrap_err(), "`the text` is empty");
    }

    #[test]
    fn columns_are_found_by_name_and_added_beside_their_own() {
        let error = Table::new("a,b", b',', "c").unwrap_err();
        assert_eq!(error.to_string(), "the table has no column `c`; it has `a`, `b`");
        assert_eq!(Table::new("a,a", b',', "a").unwrap_err(), TableError::TwoColumns("a".to_owned()));
        let taken = Table::new("label\ttext", b'\t', "text").unwrap().with_columns(&["label".into(), "error".into()]);
        assert_eq!(taken.header_line(), "label\ttext\tslm_label\tslm_error");
    }

    proptest! {
        /// What is added is read back by the csv crate, and so are the row's own cells.
        #[test]
        fn what_is_added_is_read_back(
            row in prop::collection::vec("[a\",;\t\r\n\u{e9}]{1,6}", 3), more in prop::collection::vec("[a\",;\t\r\n]{0,5}", 2),
            delimiter in prop::sample::select(vec![b',', b';', b'\t']),
        ) {
            let line = |cells: &[String]| written(cells.iter().map(String::as_str), delimiter);
            let header = line(&["a".into(), "b".into(), "c".into()]);
            let table = Table::new(&header, delimiter, "b").unwrap().with_columns(&["x".into(), "y".into()]);
            let found = cells(&table.extended(&line(&row), &more), delimiter).unwrap();
            prop_assert_eq!(found, [row, more].concat());
        }
    }
}
