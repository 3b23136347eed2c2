//! Every row as a line of CSV: what it expects, and each subject's answer, for a spreadsheet.

use serde_json::Value;

use crate::eval::report::{Report, RowReport};

impl Report {
    /// The rows as CSV with a header; empty where the report has no rows.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let rows = self.rows.as_deref().unwrap_or_default();
        let fields: Vec<&str> = self
            .subjects
            .first()
            .map_or_else(Vec::new, |subject| subject.fields.iter().map(|field| field.name.as_str()).collect());
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut write = |record: Vec<String>| writer.write_record(record).expect("a vector takes everything");
        let mut header = vec!["id".to_owned(), "at".to_owned(), "input".to_owned()];
        header.extend(fields.iter().map(|field| format!("expected {field}")));
        for subject in &self.subjects {
            let name = &subject.name;
            header.push(format!("{name} correct"));
            for field in &fields {
                header.extend([format!("{name} {field}"), format!("{name} {field} probability")]);
            }
            header.push(format!("{name} error"));
        }
        write(header);
        rows.iter().for_each(|row| write(record(row, &fields)));
        String::from_utf8(writer.into_inner().expect("a vector takes everything")).expect("all of it was text")
    }
}

fn record(row: &RowReport, fields: &[&str]) -> Vec<String> {
    let mut record = vec![row.id.clone(), row.at.clone(), row.input.clone()];
    record.extend((0..fields.len()).map(|nth| row.expected.get(nth).map_or_else(String::new, bare)));
    for answer in &row.answers {
        record.push(answer.correct.to_string());
        for nth in 0..fields.len() {
            let field = answer.fields.get(nth);
            record.push(field.map_or_else(String::new, |field| bare(&field.answer)));
            record.push(field.and_then(|field| field.probability).map_or_else(String::new, |p| p.to_string()));
        }
        record.push(answer.error.clone().unwrap_or_default());
    }
    record
}

/// A text bare, nothing for null, all else as JSON.
fn bare(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
