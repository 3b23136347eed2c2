//! The file of requests: opened, kept where it can be read twice, and planned.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::args::BatchArgs;
use crate::api::batches::plan::{Plan, PlanError, PlanRules};
use crate::cli::environment::Environment;
use crate::digest::Digest;
use crate::encoding::Utf8Reader;
use crate::failure::Failure;
use crate::store::StoreError;
use crate::ui::table::counted;

/// A file of requests that can be read at any place.
#[derive(Debug)]
pub struct RequestsFile {
    pub file: File,
    /// What it is called.
    pub name: String,
}

impl RequestsFile {
    /// Opens the file; one that cannot be read twice, or is UTF-16, is copied into a temporary file first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path) -> Result<RequestsFile, Failure> {
        let (name, opened) = if path == Path::new("-") {
            if io::stdin().is_terminal() {
                return Err(Failure::usage(
                    "there are no requests on standard input; give a file, or `slm batch - < FILE`",
                ));
            }
            ("standard input".to_owned(), spooled(io::stdin()))
        } else {
            (format!("`{}`", path.display()), File::open(path).and_then(readable_twice))
        };
        match opened {
            Ok(file) => Ok(RequestsFile { file, name }),
            Err(error) => Err(unreadable(&name, &error)),
        }
    }

    /// Checks every line, and plans the requests of this part.
    ///
    /// # Errors
    /// Lines are wrong: all that is wrong, by line.
    pub fn plan(&self, args: &BatchArgs, border: Option<u64>) -> Result<Plan, Failure> {
        let shard = args.shard()?;
        let rules = PlanRules { border, ..PlanRules::default() };
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        reader.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&self.name, &error))?;
        let plan = Plan::read(reader, rules, |id| shard.is_none_or(|shard| shard.has(id)));
        match plan {
            Ok(plan) if plan.n_lines == 0 => Err(Failure::failed(format!("{} has no requests", self.name))),
            Ok(plan) => Ok(plan),
            Err(PlanError::Read(error)) => Err(unreadable(&self.name, &error)),
            Err(PlanError::Mistakes { first, n }) => {
                let lines =
                    first.iter().map(|mistake| format!("{}: line {}: {}", self.name, mistake.line, mistake.error));
                let more = n - first.len() as u64;
                let more = (more > 0).then(|| format!("and {more} more"));
                let what = if n == 1 { "1 line is".to_owned() } else { format!("{n} lines are") };
                let end = format!("{what} wrong, so nothing was asked");
                Err(Failure::failed(lines.chain(more).chain([end]).collect::<Vec<_>>().join("\n")))
            }
        }
    }

    /// Finds every model that is asked, each with its digest.
    ///
    /// # Errors
    /// A model is not in the store, or its name is invalid.
    pub fn models(&self, plan: &Plan, environment: &Environment) -> Result<Vec<(String, Digest)>, Failure> {
        let store = environment.store()?;
        let mut models: Vec<(String, Digest)> = Vec::new();
        for count in &plan.counts {
            let Some(name) = &count.model else { continue };
            let at = |failure: Failure| Failure {
                message: format!("{}: line {}: `body.model`: {}", self.name, count.first_line, failure.message),
                ..failure
            };
            let reference = name
                .parse()
                .map_err(|error: crate::model_ref::ModelRefError| at(Failure::failed(error.to_string())))?;
            let found = store.resolve(&reference).map_err(|error: StoreError| at(error.into()))?;
            models.push((found.name.to_string(), found.digest));
        }
        models.sort();
        models.dedup();
        Ok(models)
    }
}

/// The file itself where it is a regular one of UTF-8.
fn readable_twice(mut file: File) -> io::Result<File> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    if !metadata.is_file() {
        return spooled(file);
    }
    let mut beginning = Vec::new();
    (&file).take(2).read_to_end(&mut beginning)?;
    file.seek(SeekFrom::Start(0))?;
    if [&b"\xff\xfe"[..], b"\xfe\xff"].contains(&beginning.as_slice()) { spooled(file) } else { Ok(file) }
}

/// A copy in a temporary file, as UTF-8.
fn spooled(from: impl io::Read) -> io::Result<File> {
    let mut copy = tempfile::tempfile()?;
    io::copy(&mut Utf8Reader::new(BufReader::new(from)), &mut copy)?;
    copy.seek(SeekFrom::Start(0))?;
    Ok(copy)
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot read {name}: {error}"))
}

/// How many requests of each path and model there are, as a table.
#[must_use]
pub fn described(plan: &Plan) -> String {
    let rows: Vec<Vec<String>> = plan
        .counts
        .iter()
        .map(|count| {
            let model = count.model.clone().unwrap_or_else(|| "(the only one)".to_owned());
            vec![count.endpoint.to_string(), model, count.n.to_string()]
        })
        .collect();
    let n = plan.requests.len() as u64;
    let part = if n == plan.n_lines { String::new() } else { format!(" of {}", plan.n_lines) };
    format!(
        "{}{}{part}; every line is right\n",
        crate::ui::table::table(&["URL", "MODEL", "REQUESTS"], &rows),
        counted(n, "request")
    )
}
