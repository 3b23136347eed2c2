//! What cascades have cost in a day, in all processes together: a line for each amount, so that two who write at once lose nothing.
//!
//! The lines are in `.slm-spending/<hex>-<day>`, named for what the cascade's layer says and for the day since 1970.

use super::disk::{self, io_error};
use super::{Store, StoreError};
use slm_values::digest::Digest;
use std::fs::OpenOptions;
use std::io::Write as _;
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

    fn spending(&self, cascade: &Digest, day: i64) -> PathBuf {
        self.root.join(FOLDER).join(format!("{}-{day}", cascade.hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
