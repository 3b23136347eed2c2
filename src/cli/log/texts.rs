//! Texts that the log has only the hash of, found in a file of the user's.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::files::unreadable;
use crate::digest::Digest;
use crate::encoding;
use crate::failure::Failure;

/// Texts by their SHA-256.
#[derive(Debug, Default)]
pub struct Texts(HashMap<String, String>);

impl Texts {
    /// Every line of a file of text; every text in a JSONL or CSV file, whatever its column.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> Result<Texts, Failure> {
        let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
        let text = encoding::decode(&bytes)
            .map_err(|error| Failure::failed(format!("cannot read `{}`: {error}", path.display())))?;
        let mut texts = Texts::default();
        let extension = path.extension().and_then(|one| one.to_str()).unwrap_or_default().to_ascii_lowercase();
        match extension.as_str() {
            "csv" | "tsv" => texts.take_table(path, &text, if extension == "tsv" { b'\t' } else { b',' })?,
            "json" => {
                let value = serde_json::from_str(&text);
                let value = value.map_err(|error| Failure::failed(format!("`{}`: {error}", path.display())))?;
                texts.take_value(value);
            }
            _ => {
                for line in text.lines() {
                    match serde_json::from_str::<Value>(line) {
                        Ok(value @ (Value::Object(_) | Value::Array(_))) => {
                            // A decision may be about the object itself.
                            texts.take(line.to_owned());
                            texts.take_value(value);
                        }
                        _ => texts.take(line.to_owned()),
                    }
                }
            }
        }
        Ok(texts)
    }

    fn take_table(&mut self, path: &Path, text: &str, delimiter: u8) -> Result<(), Failure> {
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
        for record in reader.records() {
            let record = record.map_err(|error| Failure::failed(format!("`{}`: {error}", path.display())))?;
            record.iter().for_each(|cell| self.take(cell.to_owned()));
        }
        Ok(())
    }

    fn take_value(&mut self, value: Value) {
        match value {
            Value::String(text) => self.take(text),
            Value::Array(list) => list.into_iter().for_each(|value| self.take_value(value)),
            Value::Object(map) => map.into_iter().for_each(|(_, value)| self.take_value(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn take(&mut self, text: String) {
        self.0.insert(Digest::of(text.as_bytes()).to_string(), text);
    }

    /// The text with this digest.
    #[must_use]
    pub fn of(&self, digest: &str) -> Option<&str> {
        self.0.get(digest).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::Texts;
    use crate::digest::Digest;

    #[test]
    fn texts_are_found_whatever_the_file_is() {
        let folder = tempfile::tempdir().unwrap();
        for (name, contents) in [
            ("a.txt", "one\ntwo, \"three\"\n"),
            ("a.jsonl", "{\"id\": 1, \"of\": {\"body\": \"two, \\\"three\\\"\"}}\n"),
            ("a.csv", "id,body\n1,\"two, \"\"three\"\"\"\n"),
            ("a.json", "[{\"body\": \"two, \\\"three\\\"\"}]"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, contents).unwrap();
            let text = "two, \"three\"";
            let texts = Texts::read(&path).unwrap();
            assert_eq!(texts.of(&Digest::of(text.as_bytes()).to_string()), Some(text), "{name}");
        }
    }
}
