//! What cascades have cost in a day, and how many of their texts may go on, in all processes together. Costs are a line for each
//! amount, so that two who write at once lose nothing.
//!
//! How many may go on is a number in `.slm-spending/<hex>-share`, which one process at a time changes. The lines of costs are in `.slm-spending/<hex>-<day>`, named for what the cascade's layer says and for the day since 1970.

use super::disk::{self, io_error};
use super::{Store, StoreError};
use slm_values::digest::Digest;
use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

const FOLDER: &str = ".slm-spending";
/// More lines than a day has.
const MAX_BYTES: u64 = 64 << 20;

impl Store {
    /// What a cascade has cost on a day.
    ///
    /// # Errors
    /// The note cannot be read.
    pub fn spent(&self, cascade: &Digest, day: i64) -> Result<f64, StoreError> {
        let bytes = disk::read(&self.spending(cascade, day), MAX_BYTES)?.unwrap_or_default();
        // The last line may still be on its way.
        Ok(String::from_utf8_lossy(&bytes).lines().filter_map(|line| line.parse::<f64>().ok()).sum())
    }

    /// Adds an amount to what a cascade has cost on a day. The days before it are forgotten.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn spend(&self, cascade: &Digest, day: i64, amount: f64) -> Result<(), StoreError> {
        disk::create_folder(&self.root.join(FOLDER), &self.root)?;
        let path = self.spending(cascade, day);
        if !path.exists() {
            let earlier = format!("{}-", cascade.hex());
            let is_earlier = |name: &str| {
                name.strip_prefix(&earlier).and_then(|of| of.parse::<i64>().ok()).is_some_and(|of| of < day)
            };
            disk::regular_files(&self.root.join(FOLDER))
                .filter(|(name, _)| is_earlier(name))
                .for_each(|(_, path)| disk::remove_leftover(&path));
        }
        let mut file = OpenOptions::new().append(true).create(true).open(&path).map_err(io_error("write", &path))?;
        // One write of a few bytes to the end of a file.
        file.write_all(format!("{amount}\n").as_bytes()).map_err(io_error("write", &path))
    }

    /// Changes how many texts of a cascade may go on, of which `change` is told what it was, if it was ever noted. Others who do
    /// so at the same time wait.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn change_allowance<T>(
        &self,
        cascade: &Digest,
        change: impl FnOnce(Option<f64>) -> (f64, T),
    ) -> Result<T, StoreError> {
        disk::create_folder(&self.root.join(FOLDER), &self.root)?;
        let path = self.root.join(FOLDER).join(format!("{}-share", cascade.hex()));
        let failed = io_error("write", &path);
        let change_file = || {
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            file.lock()?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let (allowance, given) = change(text.trim().parse().ok().filter(|n: &f64| n.is_finite()));
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(format!("{allowance}\n").as_bytes())?;
            Ok(given)
        };
        change_file().map_err(failed)
    }

    fn spending(&self, cascade: &Digest, day: i64) -> PathBuf {
        self.root.join(FOLDER).join(format!("{}-{day}", cascade.hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_changed_by_one_at_a_time_and_outlives_them() {
        let folder = tempfile::tempdir().unwrap();
        let (store, cascade) = (Store::open(folder.path().to_owned()), Digest::of(b"desk"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        store.change_allowance(&cascade, |n| (n.unwrap_or(1.0) + 0.5, ())).unwrap();
                    }
                });
            }
        });
        let store = Store::open(folder.path().to_owned());
        assert_eq!(store.change_allowance(&cascade, |n| (0.0, n)).unwrap(), Some(101.0));
        assert_eq!(store.change_allowance(&Digest::of(b"other"), |n| (0.0, n)).unwrap(), None);
    }

    #[test]
    fn amounts_of_a_day_add_up_whoever_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let (store, cascade) = (Store::open(folder.path().to_owned()), Digest::of(b"desk"));
        assert_eq!(store.spent(&cascade, 7).unwrap(), 0.0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| store.spend(&cascade, 7, 0.25).unwrap()));
            }
        });
        assert_eq!(store.spent(&cascade, 7).unwrap(), 100.0);
        assert_eq!(store.spent(&Digest::of(b"other"), 7).unwrap(), 0.0);
        store.spend(&cascade, 8, 1.5).unwrap();
        assert_eq!((store.spent(&cascade, 8).unwrap(), store.spent(&cascade, 7).unwrap()), (1.5, 0.0));
    }
}
