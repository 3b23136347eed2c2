//! The results of a batch: one line each, as OpenAI's and `vllm run-batch`'s readers expect them, and files that they are appended to. A
//! result names its request, so that a file of them says what is done, in whatever order.

use std::fs::File;
use std::io::{self, BufRead as _, Seek as _, SeekFrom, Write as _};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::plan::IdMark;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchResult {
    /// What a server answered, be it an error.
    Answered(HttpAnswer),
    /// It was never answered.
    Failed { code: &'static str, message: String },
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    pub request_id: String,
    pub body: bytes::Bytes,
}

impl BatchResult {
    #[must_use]
    pub fn is_failed(&self) -> bool {
        !matches!(self, BatchResult::Answered(HttpAnswer { status: 200, .. }))
    }

    /// The line for the request with this id, without its end.
    #[must_use]
    pub fn line(&self, custom_id: &str) -> String {
        let (response, error) = match self {
            BatchResult::Answered(HttpAnswer { status, request_id, body }) => {
                let response = format!(
                    "{{\"status_code\":{status},\"request_id\":{},\"body\":{}}}",
                    Value::from(request_id.as_str()),
                    on_one_line(body)
                );
                (response, Value::Null)
            }
            BatchResult::Failed { code, message } => ("null".to_owned(), json!({ "code": code, "message": message })),
        };
        let id = format!("batch_req_{:032x}", fastrand::u128(..));
        let custom_id = Value::from(custom_id);
        format!("{{\"id\":\"{id}\",\"custom_id\":{custom_id},\"response\":{response},\"error\":{error}}}")
    }
}

/// A body as JSON without line ends; what is not JSON becomes a text.
fn on_one_line(body: &[u8]) -> String {
    match (std::str::from_utf8(body), serde_json::from_slice::<IgnoredAny>(body)) {
        (Ok(text), Ok(_)) if !text.contains(['\n', '\r']) => text.to_owned(),
        (Ok(_), Ok(_)) => serde_json::from_slice::<Value>(body).unwrap_or_default().to_string(),
        _ => Value::from(String::from_utf8_lossy(body)).to_string(),
    }
}

/// What a written result says of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub id: IdMark,
    pub custom_id: String,
    pub is_failed: bool,
}

#[derive(Deserialize)]
struct WireResult {
    custom_id: String,
    response: Option<WireResponse>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct WireResponse {
    status_code: u16,
}

impl Done {
    /// `None` where the line is no result.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Done> {
        let wire: WireResult = serde_json::from_slice(line).ok()?;
        let is_answered = wire.response.as_ref().is_some_and(|response| response.status_code == 200);
        let is_failed = wire.error.is_some() || !is_answered;
        Some(Done { id: IdMark::of(&wire.custom_id), custom_id: wire.custom_id, is_failed })
    }
}

/// How much of a file is results: its complete lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Complete {
    pub n_lines: u64,
    pub n_bytes: u64,
}

impl Complete {
    /// Reads a file up to its first line that is not a complete result, which a kill or a loss of power has left.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(file: &File, mut each: impl FnMut(Done, &[u8])) -> io::Result<Complete> {
        let (mut complete, mut line) = (Complete::default(), Vec::new());
        let mut reader = io::BufReader::with_capacity(1 << 16, file);
        reader.seek(SeekFrom::Start(0))?;
        loop {
            line.clear();
            let n = reader.read_until(b'\n', &mut line)?;
            let done = if line.ends_with(b"\n") { Done::read(&line) } else { None };
            let Some(done) = done else { return Ok(complete) };
            each(done, &line);
            complete.n_lines += 1;
            complete.n_bytes += n as u64;
        }
    }
}

/// A file that results are appended to.
#[derive(Debug)]
pub struct ResultFile {
    file: File,
    complete: Complete,
}

impl ResultFile {
    /// Goes on behind what is complete; what follows it is cut off.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn continued(file: File, complete: Complete) -> io::Result<ResultFile> {
        file.set_len(complete.n_bytes)?;
        Ok(ResultFile { file, complete })
    }

    /// Appends a line in one piece.
    ///
    /// # Errors
    /// It cannot be written; the file keeps complete lines.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        let written =
            self.file.seek(SeekFrom::Start(self.complete.n_bytes)).and_then(|_| self.file.write_all(line.as_bytes()));
        if let Err(error) = written {
            // Where this fails too, whoever continues cuts the incomplete line off.
            let _ = self.file.set_len(self.complete.n_bytes);
            return Err(error);
        }
        self.complete.n_bytes += line.len() as u64;
        self.complete.n_lines += 1;
        Ok(())
    }

    /// Makes what was appended outlast a loss of power.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[must_use]
    pub fn complete(&self) -> Complete {
        self.complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &'static str) -> BatchResult {
        BatchResult::Answered(HttpAnswer { status, request_id: "r\"1".to_owned(), body: body.into() })
    }

    #[test]
    fn a_result_is_one_line_of_json_whatever_the_body_is() {
        for (result, response, error, is_failed) in [
            (
                answered(200, "{\"a\": 1.10}"),
                json!({"status_code": 200, "request_id": "r\"1", "body": {"a": 1.10}}),
                Value::Null,
                false,
            ),
            (
                answered(400, "{\n\"a\": 1}"),
                json!({"status_code": 400, "request_id": "r\"1", "body": {"a": 1}}),
                Value::Null,
                true,
            ),
            (
                answered(502, "<p>\n"),
                json!({"status_code": 502, "request_id": "r\"1", "body": "<p>\n"}),
                Value::Null,
                true,
            ),
            (
                BatchResult::Failed { code: "batch_expired", message: "late".to_owned() },
                Value::Null,
                json!({"code": "batch_expired", "message": "late"}),
                true,
            ),
        ] {
            let line = result.line("id \u{e9}\n");
            assert!(!line.contains('\n'), "{line}");
            let mut read: Value = serde_json::from_str(&line).unwrap();
            assert!(read["id"].take().as_str().unwrap().starts_with("batch_req_"));
            let expected = json!({"id": null, "custom_id": "id \u{e9}\n", "response": response, "error": error});
            assert_eq!(read, expected);
            let done = Done::read(line.as_bytes()).unwrap();
            assert_eq!((done.custom_id.as_str(), done.is_failed), ("id \u{e9}\n", is_failed));
            assert_eq!(result.is_failed(), is_failed);
        }
        assert!(
            answered(200, "{\"a\": 1.10}").line("x").contains("\"body\":{\"a\": 1.10}"),
            "numbers stay as they are"
        );
    }

    /// A file that was cut anywhere is continued behind its last whole line.
    #[test]
    fn a_file_cut_at_any_byte_goes_on_behind_its_last_result() {
        let lines: Vec<String> = ["a", "b", "c"].iter().map(|id| answered(200, "{}").line(id) + "\n").collect();
        let text = lines.concat();
        for n in 0..=text.len() {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&text.as_bytes()[..n]).unwrap();
            let mut ids = Vec::new();
            let complete = Complete::of(&file, |done, _| ids.push(done.custom_id)).unwrap();
            let whole = (0..=3).rev().find(|n_lines| lines[..*n_lines].concat().len() <= n).unwrap();
            assert_eq!((ids.len(), complete.n_lines), (whole, whole as u64));
            let mut results = ResultFile::continued(file.try_clone().unwrap(), complete).unwrap();
            results.append(lines[2].trim_end()).unwrap();
            let mut ids = Vec::new();
            assert_eq!(Complete::of(&file, |done, _| ids.push(done.custom_id)).unwrap(), results.complete());
            assert_eq!((ids.len(), ids.last().map(String::as_str)), (whole + 1, Some("c")));
        }
    }
}
