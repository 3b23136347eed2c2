//! How work reports its progress; it knows neither terminals nor progress bars.

/// A listener to one piece of work at a time.
pub trait Progress {
    /// Work begins: `what` is a short phrase (`copying weights`), `total_bytes` its size.
    fn start(&self, what: &str, total_bytes: u64);

    /// `n_bytes` more are done.
    fn advance(&self, n_bytes: u64);

    /// The work that was started is over.
    fn finish(&self);
}

/// Listens and shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _what: &str, _total_bytes: u64) {}

    fn advance(&self, _n_bytes: u64) {}

    fn finish(&self) {}
}
