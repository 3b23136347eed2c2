//! The requests of a batch's file: all of them checked, where each stands, and in which order they are asked. It keeps no request,
//! so that memory does not grow with their texts.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead};
use std::os::unix::fs::FileExt as _;

use super::line::{BatchLine, Endpoint, LineError, MAX_LINE_BYTES};
use slm_values::digest::{Digest, Hasher};

/// Mistakes of a file that are told one by one.
const MAX_MISTAKES: usize = 20;

/// A `custom_id`, as far as telling ids apart needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdMark(u128);

/// Where a request stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    pub id: IdMark,
    /// Its line, from 1.
    pub line: u64,
    at: u64,
    n_bytes: usize,
    /// The numbers of its model and of its prompt's beginning, in the order in which they first come.
    group: (usize, usize),
}

/// The requests of a file.
#[derive(Debug)]
pub struct Plan {
    /// Those that are wanted, in the file's order at first.
    pub requests: Vec<Planned>,
    pub counts: Vec<Count>,
    /// Requests in the whole file, and their digest.
    pub n_lines: u64,
    pub digest: Digest,
    /// The digest of the first so many requests as the rules ask about; `None` where the file has fewer.
    pub digest_before: Option<Digest>,
}

/// How many of the wanted requests ask the same path of the same model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    pub endpoint: Endpoint,
    pub model: Option<String>,
    pub n: u64,
    pub first_line: u64,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub line: u64,
    pub error: LineError,
}

/// What holds for all lines of a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanRules {
    /// The only path that may be asked.
    pub endpoint: Option<Endpoint>,
    pub max_requests: Option<u64>,
    /// Of how many requests [`Plan::digest_before`] is.
    pub border: Option<u64>,
}

/// Why a file has no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The first of the mistakes, and how many there are.
    #[error("{n} lines are wrong")]
    Mistakes { first: Vec<Mistake>, n: u64 },
}

impl IdMark {
    #[must_use]
    pub fn of(custom_id: &str) -> IdMark {
        let hex = Digest::of(custom_id.as_bytes()).hex();
        IdMark(u128::from_str_radix(&hex[..32], 16).expect("a digest has 64 hex digits"))
    }
}

impl Planned {
    /// Reads the request, with its line.
    ///
    /// # Errors
    /// The file cannot be read, or was changed since it was planned.
    pub fn fetch(&self, file: &File) -> io::Result<(BatchLine, String)> {
        let mut line = vec![0; self.n_bytes];
        file.read_exact_at(&mut line, self.at)?;
        let read = BatchLine::read(&line).ok().filter(|read| IdMark::of(&read.custom_id) == self.id);
        let changed = || io::Error::new(io::ErrorKind::InvalidData, format!("line {} was changed", self.line));
        read.zip(String::from_utf8(line).ok()).ok_or_else(changed)
    }
}

impl Plan {
    /// Reads a file to its end; blank lines are skipped. `wants` says of an id whether its request is wanted.
    ///
    /// # Errors
    /// It cannot be read, or lines of it are wrong.
    pub fn read(
        mut reader: impl BufRead,
        rules: PlanRules,
        mut wants: impl FnMut(&str) -> bool,
    ) -> Result<Plan, PlanError> {
        let mut reading = Reading::new(rules);
        let (mut at, mut number, mut line) = (0, 0, Vec::new());
        loop {
            line.clear();
            let n_bytes = read_line(&mut reader, &mut line)?;
            if n_bytes == 0 {
                return reading.end();
            }
            number += 1;
            if !line.trim_ascii().is_empty() {
                let read = match usize::try_from(n_bytes) {
                    Ok(n) if n <= MAX_LINE_BYTES => BatchLine::read(&line),
                    n => Err(LineError::TooLong(n.unwrap_or(usize::MAX))),
                };
                match read.and_then(|read| reading.check(read, number)) {
                    Ok(read) => {
                        let is_wanted = wants(&read.custom_id);
                        reading.take(&read, is_wanted.then_some((number, at, line.len())));
                    }
                    Err(error) => reading.wrong(number, error),
                }
                reading.passed(&line);
            }
            at += n_bytes;
        }
    }

    /// Puts requests of one model, and of these those whose prompts begin alike, one after the other.
    pub fn group(&mut self) {
        self.requests.sort_by_key(|request| (request.group, request.line));
    }
}

/// Reads a line with its end, and keeps as much of it as a line may have; gives the bytes that were read.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let mut n_bytes = 0;
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() {
            return Ok(n_bytes);
        }
        let end = buffer.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let n = end.unwrap_or(buffer.len());
        n_bytes += n as u64;
        if n_bytes <= MAX_LINE_BYTES as u64 {
            line.extend_from_slice(&buffer[..n]);
        }
        reader.consume(n);
        if end.is_some() {
            return Ok(n_bytes);
        }
    }
}

/// A plan while its file is read.
struct Reading {
    rules: PlanRules,
    plan: Plan,
    hasher: Hasher,
    /// The line of each id.
    ids: HashMap<IdMark, u64>,
    models: HashMap<Option<String>, usize>,
    beginnings: HashMap<u64, usize>,
    mistakes: Vec<Mistake>,
    n_mistakes: u64,
}

impl Reading {
    fn new(rules: PlanRules) -> Reading {
        let digest = Digest::of(b"");
        let plan = Plan { requests: Vec::new(), counts: Vec::new(), n_lines: 0, digest, digest_before: None };
        Reading {
            rules,
            plan,
            hasher: Hasher::new(),
            ids: HashMap::new(),
            models: HashMap::new(),
            beginnings: HashMap::new(),
            mistakes: Vec::new(),
            n_mistakes: 0,
        }
    }

    /// Holds a request against the rules and those before it.
    fn check(&mut self, read: BatchLine, number: u64) -> Result<BatchLine, LineError> {
        if let Some(max) = self.rules.max_requests.filter(|max| self.plan.n_lines >= *max) {
            return Err(LineError::TooMany { max });
        }
        if let Some(endpoint) = self.rules.endpoint.filter(|endpoint| *endpoint != read.endpoint) {
            return Err(LineError::OtherUrl { url: read.endpoint, endpoint });
        }
        match self.ids.insert(IdMark::of(&read.custom_id), number) {
            Some(first) => Err(LineError::IdTwice { id: read.custom_id, first }),
            None => Ok(read),
        }
    }

    /// Takes a request that is right, with its place where it is wanted.
    fn take(&mut self, read: &BatchLine, place: Option<(u64, u64, usize)>) {
        let Some((line, at, n_bytes)) = place else { return };
        let n_models = self.models.len();
        let model = *self.models.entry(read.model.clone()).or_insert(n_models);
        let n_beginnings = self.beginnings.len();
        let beginning = *self.beginnings.entry(read.prompt_beginning()).or_insert(n_beginnings);
        let id = IdMark::of(&read.custom_id);
        self.plan.requests.push(Planned { id, line, at, n_bytes, group: (model, beginning) });
        let same = |count: &&mut Count| count.endpoint == read.endpoint && count.model == read.model;
        match self.plan.counts.iter_mut().find(same) {
            Some(count) => count.n += 1,
            None => {
                let (endpoint, model) = (read.endpoint, read.model.clone());
                self.plan.counts.push(Count { endpoint, model, n: 1, first_line: line });
            }
        }
    }

    fn wrong(&mut self, line: u64, error: LineError) {
        self.n_mistakes += 1;
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(Mistake { line, error });
        }
    }

    /// A line that is not blank was gone through.
    fn passed(&mut self, line: &[u8]) {
        self.hasher.update(line.trim_ascii_end());
        self.hasher.update(b"\n");
        self.plan.n_lines += 1;
        if self.rules.border == Some(self.plan.n_lines) {
            self.plan.digest_before = Some(self.hasher.clone().finish());
        }
    }

    fn end(self) -> Result<Plan, PlanError> {
        if self.n_mistakes > 0 {
            return Err(PlanError::Mistakes { first: self.mistakes, n: self.n_mistakes });
        }
        Ok(Plan { digest: self.hasher.finish(), ..self.plan })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};

    use super::*;

    fn line(id: &str, model: &str, system: &str) -> String {
        let messages =
            format!("[{{\"role\":\"system\",\"content\":\"{system}\"}},{{\"role\":\"user\",\"content\":\"{id}\"}}]");
        format!(
            "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{{\"model\":\"{model}\",\
             \"messages\":{messages}}}}}\n"
        )
    }

    fn read(text: &str, rules: PlanRules) -> Result<Plan, PlanError> {
        Plan::read(BufReader::with_capacity(7, text.as_bytes()), rules, |id| id != "unwanted")
    }

    #[test]
    fn requests_that_begin_alike_are_asked_together_and_found_again() {
        let text = ["a m s", "b n s", "c m t", "unwanted m s", "d m s", "e n s"].map(|row| {
            let [id, model, system] = row.split(' ').collect::<Vec<_>>()[..] else { panic!() };
            line(id, model, system)
        });
        let text = format!("\u{feff}{}\n \r\n{}", text[..3].concat(), text[3..].concat());
        let mut plan = read(&text, PlanRules { border: Some(2), ..PlanRules::default() }).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let ids = |plan: &Plan| -> Vec<String> {
            let fetched = plan.requests.iter().map(|request| request.fetch(&file).unwrap().1);
            fetched.map(|line| BatchLine::read(line.as_bytes()).unwrap().custom_id).collect()
        };
        assert_eq!(ids(&plan), ["a", "b", "c", "d", "e"]);
        plan.group();
        assert_eq!(ids(&plan), ["a", "d", "c", "b", "e"]);
        assert_eq!(plan.requests.iter().map(|request| request.line).collect::<Vec<_>>(), [1, 7, 3, 2, 8]);
        let counts: Vec<_> =
            plan.counts.iter().map(|count| (count.model.as_deref(), count.n, count.first_line)).collect();
        assert_eq!(counts, [(Some("m"), 3, 1), (Some("n"), 2, 2)]);
        let before = read(&text[..text.find("{\"custom_id\":\"c\"").unwrap()], PlanRules::default()).unwrap();
        assert_eq!((plan.n_lines, plan.digest_before), (6, Some(before.digest)));
        file.set_len(10).unwrap();
        assert!(plan.requests[1].fetch(&file).is_err());
    }

    #[test]
    fn all_lines_are_checked_before_any_is_asked() {
        let many: String = (0..30).map(|_| "{}\n".to_owned()).collect();
        let text = format!("{}{}x\n{many}", line("a", "m", "s"), line("a", "m", "s"));
        let Err(PlanError::Mistakes { first, n }) = read(&text, PlanRules::default()) else { panic!() };
        let said: Vec<String> = first.iter().map(|mistake| format!("{}: {}", mistake.line, mistake.error)).collect();
        assert_eq!(said[0], "2: the `custom_id` `a` is also that of line 1; give every request its own");
        assert_eq!(said[1], "3: the line is not JSON: expected value at line 1 column 1");
        assert_eq!((said.len(), n), (MAX_MISTAKES, 32));

        let rules = PlanRules { endpoint: Some(Endpoint::Embeddings), max_requests: Some(1), border: None };
        let Err(PlanError::Mistakes { first, .. }) = read(&(line("a", "m", "s") + &line("b", "m", "s")), rules) else {
            panic!()
        };
        let said: Vec<String> = first.iter().map(|mistake| mistake.error.to_string()).collect();
        let other = "`url` is `/v1/chat/completions`, and the batch asks `/v1/embeddings`; give one `url` to all lines of a batch";
        assert_eq!(said, [other, "there are more than 1 requests; divide the file"]);
    }

    #[test]
    fn a_line_without_end_is_not_held_in_memory() {
        let text = format!("{}\n{}", "x".repeat(MAX_LINE_BYTES + 1), line("a", "m", "s"));
        let Err(PlanError::Mistakes { first, .. }) = read(&text, PlanRules::default()) else { panic!() };
        let said: Vec<String> = first.iter().map(|mistake| format!("{}: {}", mistake.line, mistake.error)).collect();
        assert_eq!(said, ["1: the line has 16777218 bytes, more than 16777216"]);
    }
}
