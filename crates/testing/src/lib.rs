//! What the tests of all crates share: skipped tests that are counted, and reference data beside the checkout.

pub mod schemas;

use std::fmt::Arguments;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Says that the test of this thread cannot run here, or not in full, and why, as `format!` writes it.
#[macro_export]
macro_rules! skipped {
    ($($why:tt)*) => { $crate::skipped(::std::format_args!($($why)*)) };
}

/// As [`skipped!`]. The reason goes to standard error, and as a line with the test's name after the file that the variable
/// `SLM_SKIPPED_TESTS` names: the test runner shows nothing of a test that passes.
///
/// # Panics
/// The file cannot be written.
pub fn skipped(why: Arguments<'_>) {
    eprintln!("skipped: {why}");
    let Some(file) = std::env::var_os("SLM_SKIPPED_TESTS") else { return };
    let thread = std::thread::current();
    let line = format!("{}: {why}\n", thread.name().unwrap_or("a thread of a test"));
    let file = OpenOptions::new().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("SLM_SKIPPED_TESTS names a writable file");
}

/// A file or folder of the reference data, which are in `SLM_SHARED` or beside the checkout; `None` where they are not, and
/// then the test is skipped.
#[must_use]
pub fn shared(path: impl AsRef<Path>) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("SLM_SHARED").map_or_else(beside, PathBuf::from).join(path);
    if path.exists() {
        return Some(path);
    }
    skipped!("`{}` does not exist", path.display());
    None
}

/// Random numbers that are the same everywhere, from a seed.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `n`; 0 where `n` is 0. (A linear congruential generator with Knuth's constants.)
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}
