//! `slm serve --decisions`: a line of JSON for every closed answer, for audits and for drift. A request never waits for it and
//! never fails because of it: what cannot be written is counted and dropped.

mod file;
mod line;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use file::RotatedFile;

pub use file::nth;
pub use line::{Below, DecisionLine, Input, LineStep, LineTokens};

/// Lines that may wait for the disk; with more of them a new one is dropped.
const MAX_WAITING: usize = 4096;
/// As long as a file gets, and how many older ones are kept, where nobody says.
pub const DEFAULT_BYTES: u64 = 100_000_000;
pub const DEFAULT_KEPT: u32 = 9;

/// Where decisions are written, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub path: PathBuf,
    pub texts: Texts,
    /// A file that would have more is renamed, and another begun.
    pub max_bytes: u64,
    /// Older files, `FILE.1` the youngest.
    pub n_kept: u32,
}

/// What a line says of the text that was decided about, beside its digest and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    Left,
    Written,
}

/// Takes decisions. Its clones write to one file; dropping the last waits until all lines are written.
#[derive(Debug, Clone)]
pub struct DecisionLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    texts: Texts,
    counts: Arc<Counts>,
    /// `None` while it is dropped.
    lines: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
}

/// Lines since the start.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
}

/// As [`DecisionLog`] counts, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecisionCounts {
    pub written: u64,
    pub dropped: u64,
}

/// An id for a decision that no request has given one.
#[must_use]
pub fn new_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}

impl DecisionLog {
    /// Begins to write, after what is in the file already.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread started.
    pub fn open(settings: Settings) -> std::io::Result<DecisionLog> {
        let texts = settings.texts;
        let mut file = RotatedFile::open(settings)?;
        let counts = Arc::<Counts>::default();
        let (lines, waiting) = sync_channel::<Vec<u8>>(MAX_WAITING);
        let counted = Arc::clone(&counts);
        let work = move || {
            let mut is_broken = false;
            while let Ok(line) = waiting.recv() {
                match file.append(&line) {
                    Ok(()) => {
                        counted.written.fetch_add(1, Ordering::Relaxed);
                        if std::mem::take(&mut is_broken) {
                            tracing::info!("decisions are written again");
                        }
                    }
                    Err(error) => {
                        counted.dropped.fetch_add(1, Ordering::Relaxed);
                        if !std::mem::replace(&mut is_broken, true) {
                            let path = file.path().display();
                            tracing::warn!("decisions are dropped and counted: cannot write `{path}`: {error}");
                        }
                    }
                }
            }
            file.close();
        };
        let writer = std::thread::Builder::new().name("decisions".to_owned()).spawn(work)?;
        Ok(DecisionLog(Arc::new(Shared { texts, counts, lines: Some(lines), writer: Some(writer) })))
    }

    /// Whether lines have the texts themselves.
    #[must_use]
    pub fn texts(&self) -> Texts {
        self.0.texts
    }

    /// Writes a decision soon; where too many wait already it is dropped and counted.
    pub fn record(&self, line: &DecisionLine) {
        let mut json = serde_json::to_vec(line).expect("a decision is plain data");
        json.push(b'\n');
        let sent = self.0.lines.as_ref().is_some_and(|lines| lines.try_send(json).is_ok());
        if !sent {
            self.0.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[must_use]
    pub fn counts(&self) -> DecisionCounts {
        let Counts { written, dropped } = &*self.0.counts;
        DecisionCounts { written: written.load(Ordering::Relaxed), dropped: dropped.load(Ordering::Relaxed) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            // It panics nowhere; if it did, its lines are lost either way.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn settings(path: &Path, max_bytes: u64) -> Settings {
        Settings { path: path.to_owned(), texts: Texts::Left, max_bytes, n_kept: 2 }
    }

    fn line(id: usize) -> DecisionLine {
        DecisionLine { id: format!("{id:04}"), ..DecisionLine::default() }
    }

    fn ids(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<DecisionLine>(line).unwrap().id).collect()
    }

    #[test]
    fn lines_are_whole_in_their_order_and_old_files_are_renamed_and_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decisions.jsonl");
        let n_bytes = serde_json::to_vec(&line(0)).unwrap().len() as u64 + 1;
        let log = DecisionLog::open(settings(&path, 3 * n_bytes)).unwrap();
        (0..7).for_each(|id| log.record(&line(id)));
        drop(log);
        // It goes on behind what is there.
        let log = DecisionLog::open(settings(&path, 3 * n_bytes)).unwrap();
        (7..11).for_each(|id| log.record(&line(id)));
        drop(log);
        let nth = |n: &str| ids(&folder.path().join(format!("decisions.jsonl{n}")));
        assert_eq!(
            (nth(""), nth(".1"), nth(".2")),
            (
                vec!["0009".to_owned(), "0010".to_owned()],
                vec!["0006".to_owned(), "0007".to_owned(), "0008".to_owned()],
                vec!["0003".to_owned(), "0004".to_owned(), "0005".to_owned()],
            )
        );
        assert!(nth(".3").is_empty());
    }

    #[test]
    fn a_file_that_somebody_else_moved_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("a"), folder.path().join("b"));
        let log = DecisionLog::open(settings(&path, 1 << 20)).unwrap();
        log.record(&line(1));
        while log.counts().written < 1 {
            std::thread::yield_now();
        }
        std::fs::rename(&path, &moved).unwrap();
        log.record(&line(2));
        drop(log);
        assert_eq!((ids(&moved), ids(&path)), (vec!["0001".to_owned()], vec!["0002".to_owned()]));
    }

    /// Every write to `/dev/full` fails as one to a full disk does.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_costs_lines_and_they_are_counted() {
        let log = DecisionLog::open(settings(Path::new("/dev/full"), 1 << 20)).unwrap();
        (0..3).for_each(|id| log.record(&line(id)));
        while log.counts().dropped < 3 {
            std::thread::yield_now();
        }
        assert_eq!(log.counts(), DecisionCounts { written: 0, dropped: 3 });
    }
}
