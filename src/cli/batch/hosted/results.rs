//! The results of a hosted batch, found by `custom_id`: where each stands in its file is remembered, and not what it says.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::api::batches::plan::IdMark;
use crate::failure::Failure;
use crate::infer::HostedResult;

/// The characters of a server's message that are told.
const MAX_SAID: usize = 300;

/// Results of one or several files.
#[derive(Debug, Default)]
pub struct Results {
    files: Vec<File>,
    places: HashMap<IdMark, ResultPlace>,
}

#[derive(Debug, Clone, Copy)]
struct ResultPlace {
    file: usize,
    at: u64,
    n_bytes: usize,
    is_answer: bool,
}

/// A line as OpenAI and `vllm run-batch` write it.
#[derive(Deserialize)]
struct WireResult {
    custom_id: String,
    response: Option<WireResponse>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct WireResponse {
    status_code: u16,
    #[serde(default)]
    body: Value,
}

impl WireResult {
    fn is_answer(&self) -> bool {
        self.error.is_none() && self.response.as_ref().is_some_and(|response| response.status_code == 200)
    }
}

impl Results {
    /// Reads files of results and of errors. An answer wins over an error of the same request.
    ///
    /// # Errors
    /// A file cannot be read, or a line of it is not a result.
    pub fn read(paths: &[PathBuf]) -> Result<Results, Failure> {
        let mut results = Results::default();
        for path in paths {
            let shown = path.display();
            let failed = |error: std::io::Error| Failure::failed(format!("cannot read `{shown}`: {error}"));
            let file = File::open(path).map_err(failed)?;
            let mut reader = BufReader::with_capacity(1 << 16, file.try_clone().map_err(failed)?);
            let (mut line, mut at, mut number) = (Vec::new(), 0, 0_u64);
            loop {
                line.clear();
                let n = reader.read_until(b'\n', &mut line).map_err(failed)?;
                if n == 0 {
                    break;
                }
                number += 1;
                if !line.trim_ascii().is_empty() {
                    let read: WireResult = serde_json::from_slice(&line).map_err(|error| {
                        Failure::failed(format!(
                            "`{shown}`: line {number} is not a result of a batch: {error}; give the files that the server wrote"
                        ))
                    })?;
                    let place = ResultPlace { file: results.files.len(), at, n_bytes: n, is_answer: read.is_answer() };
                    let known = results.places.entry(IdMark::of(&read.custom_id)).or_insert(place);
                    if place.is_answer || !known.is_answer {
                        *known = place;
                    }
                }
                at += n as u64;
            }
            results.files.push(file);
        }
        Ok(results)
    }

    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.places.contains_key(&IdMark::of(key))
    }

    /// The result of the request with this key; `None` where the files have no such key.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<HostedResult> {
        let place = self.places.get(&IdMark::of(key))?;
        let mut line = vec![0; place.n_bytes];
        if let Err(error) = self.files[place.file].read_exact_at(&mut line, place.at) {
            return Some(HostedResult::Failed(format!("its results cannot be read: {error}")));
        }
        let Ok(WireResult { response, error, .. }) = serde_json::from_slice(&line) else {
            return Some(HostedResult::Failed("its results were changed while they were read".to_owned()));
        };
        Some(match (response, error) {
            (Some(WireResponse { status_code: 200, body }), None) => HostedResult::Answered(body),
            (response, error) => HostedResult::Failed(said(response, error)),
        })
    }
}

/// What a server says of a request without an answer.
fn said(response: Option<WireResponse>, error: Option<Value>) -> String {
    let (status, body) = response.map_or((None, Value::Null), |response| (Some(response.status_code), response.body));
    let words = |value: &Value, at: &str| value.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let error = error.unwrap_or_default();
    let message =
        words(&error, "/message").or_else(|| words(&body, "/error/message")).or_else(|| words(&body, "/message"));
    let code = words(&error, "/code").or_else(|| status.map(|status| format!("status {status}")));
    let parts: Vec<String> = [code, message].into_iter().flatten().collect();
    if parts.is_empty() {
        return "its result is neither an answer nor an error".to_owned();
    }
    parts.join(": ").chars().take(MAX_SAID).collect()
}
