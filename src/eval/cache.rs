//! Answers that were given before, kept so that nothing is asked twice: a file for each way of asking, appended to as answers
//! come. It knows no model: whoever asks says what identifies a question.
//!
//! A file begins with nothing and holds one answer a line, each with the key of what computed it and of its input. A torn last
//! line, of a process that was killed, is cut off. Probabilities are kept as the bits of their floats.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::answer::{Cost, Failed, Given, Said, Scores, Why};
use crate::digest::Digest;

/// The most bytes that all files together may have; those that were not used for longest go first.
const MAX_BYTES: u64 = 1 << 30;
/// How much work a loss of power may cost; a killed process loses nothing that it was given.
const SAVED_EVERY: Duration = Duration::from_secs(1);
const EXTENSION: &str = "answers";

/// The answers of one way of asking.
#[derive(Debug)]
pub struct Cache {
    /// `None` where another process writes it, or nothing is to be kept.
    file: Option<File>,
    /// By what computed them and the input.
    known: HashMap<(String, String), Given>,
    /// What computed the last answer in the file.
    last: Option<String>,
    saved: Instant,
}

/// What identifies a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What computes it, so far as only a loaded model knows: evaluation id, prompt without the text.
    pub by: String,
    /// The digest of the text.
    pub input: String,
}

/// The scores of a closed field: the number of the answer, the bits of the label mass, and those of each answer's probability.
type FieldScores = (usize, Option<u64>, Vec<u64>);

/// One line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    by: String,
    input: String,
    ms: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<f64>,
    tokens: [u64; 3],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<Vec<FieldScores>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<(Why, String)>,
    /// The state's numbers in little-endian order, as base64: a third of what they take as decimal numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

impl Cache {
    /// Opens the answers to questions that are asked in the way of which `asking` is the digest, in `folder`.
    ///
    /// # Errors
    ///
    /// The folder or the file cannot be made or read.
    pub fn open(folder: &Path, asking: Digest) -> io::Result<Cache> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}.{EXTENSION}", asking.id()));
        prune(folder, &path)?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let is_ours = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        if is_ours && whole < bytes.len() {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
        }
        let mut cache =
            Cache { file: is_ours.then_some(file), known: HashMap::new(), last: None, saved: Instant::now() };
        for line in bytes[..whole].split(|&byte| byte == b'\n') {
            // A line of another version, or a damaged one, is no answer.
            if let Ok(line) = serde_json::from_slice::<Line>(line) {
                cache.last = Some(line.by.clone());
                let question = (line.by.clone(), line.input.clone());
                cache.known.insert(question, line.given());
            }
        }
        Ok(cache)
    }

    /// A cache that keeps nothing.
    #[must_use]
    pub fn none() -> Cache {
        Cache { file: None, known: HashMap::new(), last: None, saved: Instant::now() }
    }

    /// Forgets what is known, so that everything is asked again; what comes takes its place.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// What computed the last answer that was kept.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    #[must_use]
    pub fn get(&self, question: &Question) -> Option<&Given> {
        self.known.get(&(question.by.clone(), question.input.clone()))
    }

    /// Keeps an answer. What may end otherwise the next time is not kept.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn put(&mut self, question: &Question, given: &Given) -> io::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| !given.said.is_transient()) else { return Ok(()) };
        let mut line = serde_json::to_vec(&Line::of(question, given))?;
        line.push(b'\n');
        file.write_all(&line)?;
        if self.saved.elapsed() >= SAVED_EVERY {
            file.sync_data()?;
            self.saved = Instant::now();
        }
        Ok(())
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Without it a loss of power costs some answers, which are then asked again.
            let _ = file.sync_data();
        }
    }
}

impl Line {
    fn of(question: &Question, Given { said, cost, state }: &Given) -> Line {
        let (mut closed, mut text, mut cut, mut failed) = (None, None, false, None);
        match said {
            Said::Closed(scores) => {
                let bits = |p: &[f64]| p.iter().map(|p| p.to_bits()).collect();
                let one = |s: &Scores| (s.best, s.label_mass.map(f64::to_bits), bits(&s.probabilities));
                closed = Some(scores.iter().map(one).collect());
            }
            Said::Text { text: written, is_cut } => (text, cut) = (Some(written.clone()), *is_cut),
            Said::Failed(Failed { why, reason }) => failed = Some((*why, reason.clone())),
        }
        let Question { by, input } = question.clone();
        let tokens = [cost.n_prompt, cost.n_reused, cost.n_written];
        let bytes = |state: &Vec<f32>| state.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let state = state.as_ref().map(|state| STANDARD.encode(bytes(state)));
        Line { by, input, ms: cost.latency_ms, first: cost.first_token_ms, tokens, closed, text, cut, failed, state }
    }

    fn given(self) -> Given {
        let Line { ms, first, tokens: [n_prompt, n_reused, n_written], closed, text, cut, failed, state, .. } = self;
        let scores = |(best, mass, bits): FieldScores| Scores {
            best,
            probabilities: bits.into_iter().map(f64::from_bits).collect(),
            label_mass: mass.map(f64::from_bits),
            is_withheld: false,
        };
        let said = match (closed, text, failed) {
            (Some(closed), ..) => Said::Closed(closed.into_iter().map(scores).collect()),
            (_, Some(text), _) => Said::Text { text, is_cut: cut },
            (_, _, Some((why, reason))) => Said::Failed(Failed { why, reason }),
            (None, None, None) => {
                Said::Failed(Failed { why: Why::NoAnswer, reason: "the kept answer is empty".to_owned() })
            }
        };
        let bytes = state.and_then(|state| STANDARD.decode(state).ok());
        let numbers =
            |bytes: Vec<u8>| bytes.chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect();
        let state = bytes.map(numbers);
        Given { said, cost: Cost { latency_ms: ms, first_token_ms: first, n_prompt, n_reused, n_written }, state }
    }
}

/// Removes files that were not used for longest until the rest fits; `kept` stays.
fn prune(folder: &Path, kept: &Path) -> io::Result<()> {
    let mut files: Vec<(std::time::SystemTime, u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let (path, metadata) = match entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) {
            Ok(found) => found,
            // Another process may prune as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if path.extension().is_some_and(|extension| extension == EXTENSION) && path != *kept {
            files.push((metadata.modified()?, metadata.len(), path));
        }
    }
    files.sort();
    let mut n_bytes: u64 = files.iter().map(|(_, n_bytes, _)| n_bytes).sum();
    for (_, size, path) in files {
        if n_bytes <= MAX_BYTES {
            break;
        }
        if std::fs::remove_file(&path).is_ok() {
            n_bytes -= size;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(by: &str, input: &str) -> Question {
        Question { by: by.to_owned(), input: input.to_owned() }
    }

    fn given(said: Said) -> Given {
        let cost = Cost { latency_ms: 1.5, first_token_ms: Some(0.5), n_prompt: 7, n_reused: 3, n_written: 2 };
        Given { said, cost, state: Some(vec![0.1, -3e-39, 7.5]) }
    }

    #[test]
    fn what_was_given_comes_back_to_the_last_bit_after_any_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let asking = Digest::of(b"asking");
        let third = 1.0_f64 / 3.0;
        let probabilities = vec![third, 1.0 - third, 0.1 + 0.2];
        let scores =
            |label_mass| Scores { best: 1, probabilities: probabilities.clone(), label_mass, is_withheld: false };
        let scores = vec![scores(Some(5e-324)), scores(None)];
        let answers = [
            ("a", given(Said::Closed(scores))),
            ("b", given(Said::Text { text: "x\n\"y\"".to_owned(), is_cut: true })),
            ("c", given(Said::Failed(Failed { why: Why::TooLong, reason: "9 tokens".to_owned() }))),
        ];
        let mut cache = Cache::open(folder.path(), asking).expect("opened");
        for (input, given) in &answers {
            cache.put(&question("m", input), given).expect("written");
        }
        let transient = given(Said::Failed(Failed { why: Why::NoAnswer, reason: "gone".to_owned() }));
        cache.put(&question("m", "d"), &transient).expect("not written");
        drop(cache);
        // What a killed process leaves.
        let path = folder.path().join(format!("{}.{EXTENSION}", asking.id()));
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"by\":\"m\",\"inp").unwrap();
        let mut cache = Cache::open(folder.path(), asking).expect("opened");
        for (input, given) in &answers {
            assert_eq!(cache.get(&question("m", input)), Some(given));
        }
        assert_eq!(
            (cache.get(&question("m", "d")), cache.get(&question("n", "a")), cache.last()),
            (None, None, Some("m"))
        );
        cache.put(&question("n", "a"), &answers[1].1).expect("written");
        assert!(Cache::open(folder.path(), asking).expect("read beside it").file.is_none());
        drop(cache);
        let cache = Cache::open(folder.path(), asking).expect("opened");
        assert_eq!((cache.last(), cache.get(&question("n", "a"))), (Some("n"), Some(&answers[1].1)));
    }
}
