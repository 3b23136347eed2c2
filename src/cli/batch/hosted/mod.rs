//! The hosted batch of `slm batch`: what the remotes of cascades would be asked is written to a file for their server, and its results
//! answer the same requests later.

mod outgoing;
mod remotes;
mod results;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::args::BatchArgs;
use crate::api::batches::plan::IdMark;
use crate::cli::environment::Environment;
use crate::failure::Failure;
use crate::infer::HostedBatch;
use crate::ui::output::say;
use crate::ui::table::counted;
use outgoing::Outgoing;
use results::Results;

/// The most requests that OpenAI takes in a file.
const OPENAI_TAKES: u64 = 50_000;

/// Both sides of a hosted batch.
pub struct Hosted {
    pub batch: Arc<HostedBatch>,
    waiting: Arc<Waiting>,
    outgoing: Option<Outgoing>,
    /// Requests all of whose questions are in the file and wait there.
    done: HashSet<IdMark>,
    n_waiting: u64,
}

/// Lines by their keys, of requests by `custom_id`, until all that a request wants to ask is known.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<String, BTreeMap<String, String>>>);

impl Hosted {
    /// Opens the files that the flags name; `None` where none is.
    ///
    /// # Errors
    /// A file cannot be used, or the models have no remote to ask, or remotes of several servers.
    pub fn open(args: &BatchArgs, models: &[String], environment: &Environment) -> Result<Option<Hosted>, Failure> {
        if !args.is_hosted() {
            return Ok(None);
        }
        remotes::check(models, environment)?;
        let results = Arc::new(Results::read(&args.hosted_results)?);
        let outgoing = args.hosted_batch.as_deref().map(|path| Outgoing::open(path, args)).transpose()?;
        let waiting = Arc::<Waiting>::default();
        let write = outgoing.as_ref().map(|_| {
            let waiting = waiting.clone();
            let write = move |key: &str, path: &str, body: &Value| {
                waiting.take(key, path, body);
                Ok(())
            };
            Box::new(write) as _
        });
        let done = outgoing.as_ref().map_or_else(HashSet::new, |outgoing| outgoing.waiting(|key| results.has(key)));
        let batch = Arc::new(HostedBatch { result: Box::new(move |key| results.find(key)), write });
        Ok(Some(Hosted { batch, waiting, outgoing, done, n_waiting: 0 }))
    }

    /// Whether all that a request asks of remotes is in the file and has no result yet.
    #[must_use]
    pub fn waits(&self, id: &IdMark) -> bool {
        self.done.contains(id)
    }

    /// Writes down what a request wants to ask, all of it in one piece; false where it asks nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn wrote(&mut self, custom_id: &str) -> Result<bool, Failure> {
        let Some(lines) = self.waiting.locked().remove(custom_id) else { return Ok(false) };
        let Some(outgoing) = &mut self.outgoing else { return Ok(false) };
        outgoing.append(&lines)?;
        self.n_waiting += 1;
        Ok(true)
    }

    /// Says what is to be done with the file, once it is on the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn end(&mut self) -> Result<(), Failure> {
        let Some(outgoing) = &mut self.outgoing else { return Ok(()) };
        outgoing.save()?;
        let n = self.n_waiting + self.done.len() as u64;
        if n == 0 {
            return Ok(());
        }
        let wait = if n == 1 { "1 request waits".to_owned() } else { format!("{n} requests wait") };
        let lines = counted(outgoing.n_lines(), "line");
        let path = outgoing.path().display();
        say(format_args!(
            "{wait} for a hosted batch: send `{path}` ({lines}) to the remote's server, then give what comes back to --hosted-results, \
             with --resume"
        ));
        if outgoing.n_lines() > OPENAI_TAKES {
            say(format_args!(
                "OpenAI takes {OPENAI_TAKES} requests in a file: divide it with `split -l {OPENAI_TAKES} {path}`"
            ));
        }
        Ok(())
    }
}

impl Waiting {
    fn take(&self, key: &str, path: &str, body: &Value) {
        let line = json!({"custom_id": key, "method": "POST", "url": path, "body": body}).to_string();
        self.locked().entry(custom_id(key).to_owned()).or_default().insert(key.to_owned(), line);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request that a key is of: `infer::Hosted` appends what tells its questions apart.
fn custom_id(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(id, _)| id)
}

/// Whether two paths name one file.
fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let absolute = |path: &Path| std::path::absolute(path).ok();
    absolute(one) == absolute(other) || identity(one).is_some_and(|id| identity(other) == Some(id))
}
