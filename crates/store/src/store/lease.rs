//! What a running pull needs: a list of digests on disk that is valid while its process lives.
//!
//! A lease is a file of digests, a line each, that its owner keeps locked; a killed process lets go of the lock, so a
//! lease that is not locked belongs to nobody. Leases are taken by those who hold the store's lock as writers, and read
//! by those who hold it alone: a blob that its owner finds after it has taken the lease stays until the lease is gone.

use super::disk::{self, io_error};
use super::{Store, StoreError};
use slm_values::digest::Digest;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = "lease-";
/// A lease of every blob that a manifest could name.
const MAX_LEASE_BYTES: u64 = 4 << 20;

/// Keeps blobs from being removed, by this process or another, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    /// The file of digests and its lock; none on a disk that takes nothing, where nobody can remove anything either.
    held: Option<(PathBuf, File)>,
}

/// The leases of a store, as one who holds its lock alone finds them.
#[derive(Debug, Default)]
pub(super) struct Leases {
    pub kept: HashSet<Digest>,
    /// The files of leases whose owners are dead.
    pub stale: Vec<PathBuf>,
}

impl Store {
    /// Keeps these blobs, those that are there and those that will be. Take it before you look which of them are there:
    /// what was there before may be gone.
    ///
    /// # Errors
    /// [`StoreError`] where the disk refuses.
    pub fn lease(&self, digests: impl IntoIterator<Item = Digest>) -> Result<Lease, StoreError> {
        let _writing = match self.begin_writing() {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                return Ok(Lease { held: None });
            }
            writing => writing?,
        };
        let folder = self.downloads();
        disk::create_folder(&folder, &self.root)?;
        let (path, mut file) = create_in(&folder)?;
        // Someone who only looks may have it locked for an instant.
        let locked = match file.lock() {
            // A disk without locks is used without.
            Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(io_error("lock", &path)(error)),
            _ => Ok(()),
        };
        let lines: String = digests.into_iter().map(|digest| format!("{digest}\n")).collect();
        let written = locked.and_then(|()| file.write_all(lines.as_bytes()).map_err(io_error("write", &path)));
        // What could not be written goes with it.
        let lease = Lease { held: Some((path, file)) };
        written?;
        Ok(lease)
    }

    /// What leases keep, and those that nobody holds any more.
    pub(super) fn leases(&self) -> Result<Leases, StoreError> {
        let mut leases = Leases::default();
        for path in self.lease_files() {
            let lease = match File::open(&path) {
                Ok(lease) => lease,
                // Its owner is done.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io_error("read", &path)(error)),
            };
            if lease.try_lock_shared().is_ok() {
                leases.stale.push(path);
                continue;
            }
            // In use, or on a disk without locks, where nobody can say.
            let bytes = disk::read(&path, MAX_LEASE_BYTES)?.unwrap_or_default();
            let digests = String::from_utf8_lossy(&bytes);
            leases.kept.extend(digests.lines().filter_map(|line| line.parse::<Digest>().ok()));
        }
        Ok(leases)
    }

    fn lease_files(&self) -> Vec<PathBuf> {
        let files = disk::regular_files(&self.downloads());
        files.filter(|(name, _)| name.starts_with(PREFIX)).map(|(_, path)| path).collect()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((path, _lock)) = &self.held {
            // Before the lock is let go of with the file. One that stays is nobody's.
            let _ = fs::remove_file(path);
        }
    }
}

fn create_in(folder: &Path) -> Result<(PathBuf, File), StoreError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{PREFIX}{}-{n}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            // A dead process's, or one of the same number in another container on the same disk.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("create", &path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slm_values::gguf::testing::tiny_llama;
    use slm_values::modelfile::Modelfile;
    use slm_values::progress::Silent;
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::AtomicBool;

    const HOLDER: &str = "store::lease::tests::holds_a_lease_until_it_is_killed";
    const HOLDER_STORE: &str = "SLM_TEST_LEASE_STORE";

    fn store(folder: &Path) -> Store {
        fs::write(folder.join("tiny.gguf"), tiny_llama().bytes()).unwrap();
        Store::open(folder.join("store"))
    }

    fn create(store: &Store, folder: &Path, name: &str) -> slm_values::manifest::Manifest {
        let modelfile = Modelfile::parse("FROM ./tiny.gguf\nSYSTEM a").unwrap();
        store.create(&name.parse().unwrap(), &modelfile, folder, &Silent).unwrap().manifest
    }

    fn leases(store: &Store) -> usize {
        store.lease_files().len()
    }

    #[test]
    fn what_is_leased_outlives_its_model_and_no_longer_than_the_lease() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let manifest = create(&store, folder.path(), "a");
        let [weights, system] = [0, 1].map(|n| manifest.layers[n].digest);
        let lease = store.lease([weights, Digest::of(b"to come")]).unwrap();
        store.remove(&"a".parse().unwrap()).unwrap();
        assert!(store.blob_path(&weights).exists());
        assert!(!store.blob_path(&system).exists());
        assert_eq!(leases(&store), 1);
        drop(lease);
        assert_eq!(leases(&store), 0);
        create(&store, folder.path(), "a");
        store.remove(&"a".parse().unwrap()).unwrap();
        assert!(!store.blob_path(&weights).exists());
    }

    #[test]
    fn whoever_finds_a_blob_under_a_lease_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let weights = create(&store, folder.path(), "kept").layers[0].digest;
        store.remove(&"kept".parse().unwrap()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    create(&store, folder.path(), "other");
                    store.remove(&"other".parse().unwrap()).unwrap();
                }
            });
            let mut n_found = 0;
            for _ in 0..100_000 {
                let _lease = store.lease([weights]).unwrap();
                if store.blob_path(&weights).exists() {
                    n_found += 1;
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    assert!(store.blob_path(&weights).exists());
                }
                if n_found == 50 {
                    break;
                }
            }
            done.store(true, Ordering::Relaxed);
            assert_eq!(n_found, 50);
        });
    }

    /// Not a test: the process that the next one kills.
    #[test]
    #[ignore = "a child of another test"]
    fn holds_a_lease_until_it_is_killed() {
        let Some(root) = std::env::var_os(HOLDER_STORE) else { return };
        let store = Store::open(PathBuf::from(root));
        let leased = store.names().into_iter().flat_map(|name| {
            let digests: Vec<Digest> = store.resolve(&name).unwrap().manifest.digests().collect();
            digests
        });
        let _lease = store.lease(leased).unwrap();
        loop {
            std::thread::park();
        }
    }

    struct Holder(Child);

    impl Holder {
        fn of(store: &Store) -> Holder {
            let before = leases(store);
            let child = Command::new(std::env::current_exe().unwrap())
                .args([HOLDER, "--exact", "--ignored"])
                .env(HOLDER_STORE, store.root())
                .stdout(Stdio::null())
                .spawn();
            let holder = Holder(child.unwrap());
            let is_written = |path: &PathBuf| fs::metadata(path).is_ok_and(|lease| lease.len() > 0);
            while store.lease_files().iter().filter(|path| is_written(path)).count() == before {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            holder
        }
    }

    impl Drop for Holder {
        fn drop(&mut self) {
            // SIGKILL: nothing of the process's own runs after it.
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn a_killed_process_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let weights = create(&store, folder.path(), "a").layers[0].digest;
        let holder = Holder::of(&store);
        store.remove(&"a".parse().unwrap()).unwrap();
        assert!(store.blob_path(&weights).exists());
        drop(holder);
        assert_eq!(leases(&store), 1);
        create(&store, folder.path(), "a");
        store.remove(&"a".parse().unwrap()).unwrap();
        assert!(!store.blob_path(&weights).exists());
        assert_eq!(leases(&store), 0);
    }
}
