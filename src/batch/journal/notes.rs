//! What lies beside a file of answers: what was asked for them, and how far the file was when that was written down.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::Foreign;
use crate::digest::Digest;

/// Notes of another version identify work in another way.
const VERSION: u32 = 2;
/// Notes are short.
const MAX_BYTES: u64 = 1 << 16;

/// What was asked: the same record gets the same answer on the same line where all of this is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The model's name, for people; what counts is its digest.
    pub model: String,
    pub model_digest: Digest,
    /// The prompt without the record's text: template, system message, examples and the description of the format.
    pub prompt: Digest,
    /// What an answer must be: schema or grammar, limits of the text, and what becomes of answers that break them.
    pub form: Digest,
    /// How tokens are chosen, and how much of a record's text is read.
    pub sampling: Digest,
    pub adapters: Digest,
    /// Under which equal questions have equal probabilities.
    pub evaluation_id: String,
    /// How records are read and answers written.
    pub rows: Digest,
}

impl Identity {
    /// What this work asks otherwise than the one that wrote `notes`.
    pub fn check(&self, notes: &Identity) -> Result<(), Foreign> {
        let same = |is_same, why| if is_same { Ok(()) } else { Err(why) };
        same(self.model_digest == notes.model_digest, Foreign::Model(notes.model.clone()))?;
        same(self.rows == notes.rows, Foreign::Rows)?;
        same(self.form == notes.form, Foreign::Form)?;
        same(self.adapters == notes.adapters, Foreign::Adapters)?;
        same(self.prompt == notes.prompt, Foreign::Prompt)?;
        same(self.sampling == notes.sampling, Foreign::Sampling)?;
        let (then, now) = (notes.evaluation_id.clone(), self.evaluation_id.clone());
        same(then == now, Foreign::EvaluationId { then, now })
    }
}

/// What lies beside a file of answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Notes {
    pub asked: Identity,
    /// The records that the first `bytes` of the file answer, and their digest.
    pub records: u64,
    pub bytes: u64,
    pub input: Digest,
}

/// What tells notes of another version, whatever else they hold.
#[derive(Deserialize)]
struct Versioned {
    version: Option<u32>,
    /// In notes of the first version, which had no number.
    settings: Option<IgnoredAny>,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    notes: &'a Notes,
}

impl Notes {
    /// Reads a file of notes.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn read(path: &Path) -> io::Result<Result<Notes, Foreign>> {
        let mut json = String::new();
        match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut json)) {
            Ok(_) => {}
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::InvalidData].contains(&error.kind()) => {
                return Ok(Err(Foreign::NoNotes(path.to_owned())));
            }
            Err(error) => return Err(error),
        }
        let is_of_another_version = match serde_json::from_str::<Versioned>(&json) {
            Ok(Versioned { version: Some(version), .. }) => version != VERSION,
            Ok(Versioned { version: None, settings }) => settings.is_some(),
            Err(_) => false,
        };
        if is_of_another_version {
            return Ok(Err(Foreign::OtherVersion(path.to_owned())));
        }
        Ok(serde_json::from_str(&json).map_err(|_| Foreign::NoNotes(path.to_owned())))
    }

    /// Writes the notes, so that they outlast a loss of power.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let partial = with_ending(path, ".partial");
        let json = serde_json::to_string(&Written { version: VERSION, notes: self }).expect("notes are plain data");
        let mut file = File::create(&partial)?;
        file.write_all(format!("{json}\n").as_bytes())?;
        file.sync_data()?;
        std::fs::rename(&partial, path)?;
        File::open(path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// The path of the notes about a file.
pub fn beside(path: &Path) -> PathBuf {
    with_ending(path, ".slm")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}
