//! Corrections of decisions: which labels people say are right, in a file beside the log that is only ever appended to.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::unreadable;
use crate::api::decision_log::DecisionLine;
use crate::failure::Failure;
use crate::ui::output::say;

/// What one person said of one field. A later line about the same field takes the place of an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// RFC 3339, in UTC.
    pub time: String,
    /// Of the decision.
    pub id: String,
    /// The SHA-256 of the text that it is about: a client may have given two requests one id.
    pub input: String,
    /// `null` where the whole answer is one value.
    pub field: Option<String>,
    pub label: Value,
}

/// The right labels of a decision, by the fields that have them.
pub type Corrected = Vec<(Option<String>, Value)>;

/// All corrections of a log.
#[derive(Debug, Default)]
pub struct Corrections(HashMap<(String, String), Corrected>);

impl Corrections {
    /// Reads the file beside the log, where there is one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(log: &Path) -> Result<Corrections, Failure> {
        let path = beside(log);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Corrections::default()),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let (mut all, mut n_unreadable) = (Corrections::default(), 0_u64);
        for line in String::from_utf8_lossy(&bytes).lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str::<Correction>(line) {
                Ok(correction) => all.take(correction),
                Err(_) => n_unreadable += 1,
            }
        }
        if n_unreadable > 0 {
            say(format_args!("`{}`: {n_unreadable} lines are not corrections and are left out", path.display()));
        }
        Ok(all)
    }

    fn take(&mut self, correction: Correction) {
        let Correction { id, input, field, label, .. } = correction;
        let labels = self.0.entry((id, input)).or_default();
        match labels.iter_mut().find(|(name, _)| *name == field) {
            Some((_, before)) => *before = label,
            None => labels.push((field, label)),
        }
    }

    /// What is right of a line: of a request for several answers, what is about its fields.
    #[must_use]
    pub fn of(&self, line: &DecisionLine) -> Corrected {
        let Some(labels) = self.0.get(&(line.id.clone(), line.input.digest.clone())) else { return Vec::new() };
        let is_its =
            |name: &Option<String>| line.fields.is_empty() || line.fields.iter().any(|field| field.name == *name);
        labels.iter().filter(|(name, _)| is_its(name)).cloned().collect()
    }

    #[must_use]
    pub fn n(&self) -> usize {
        self.0.len()
    }
}

/// The file of a log's corrections.
#[must_use]
pub fn beside(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".corrections");
    name.into()
}

/// Appends corrections in one piece, and waits for the disk.
///
/// # Errors
/// They cannot be written.
pub fn append(log: &Path, corrections: &[Correction]) -> Result<(), Failure> {
    let path = beside(log);
    let failed = |error: std::io::Error| Failure::failed(format!("cannot write `{}`: {error}", path.display()));
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
    let mut lines = Vec::new();
    // A torn last line is given its end.
    if file.seek(SeekFrom::End(0)).map_err(failed)? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(failed)?;
        if last != *b"\n" {
            lines.push(b'\n');
        }
    }
    for correction in corrections {
        lines.extend(serde_json::to_vec(correction).expect("a correction is plain data"));
        lines.push(b'\n');
    }
    file.write_all(&lines).and_then(|()| file.sync_data()).map_err(failed)
}
