//! Frames between processes: a length of four bytes, little-endian, and a value in postcard. It reads and writes no file.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of one value: the vectors of ten thousand texts, or a prompt that no context holds.
pub const MAX_BYTES: usize = 256 << 20;

/// Memory that a buffer keeps while it is empty.
const KEPT: usize = 64 << 10;

/// Bytes of the length in front of a value.
const LENGTH: usize = 4;

/// Why a value cannot go, or bytes are no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a message of {n_bytes} bytes is longer than the {MAX_BYTES} that may go to another process")]
    TooLong { n_bytes: usize },
    #[error("a message of {n_bytes} bytes cannot be read: {reason}")]
    Unreadable { n_bytes: usize, reason: String },
    #[error("a message cannot be written: {reason}")]
    Unwritable { reason: String },
}

/// Values on their way out, as bytes.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    /// Of these, how many are gone.
    n_gone: usize,
}

impl Outgoing {
    /// Appends a value to those that wait.
    ///
    /// # Errors
    /// It is too long; then nothing of it goes.
    pub fn push<T: Serialize>(&mut self, value: &T) -> Result<(), FrameError> {
        let start = self.bytes.len();
        self.bytes.extend([0; LENGTH]);
        let written = postcard::to_extend(value, Behind(&mut self.bytes)).map(|_| ());
        let n_bytes = self.bytes.len() - start - LENGTH;
        let refused = match written {
            Err(error) => Some(FrameError::Unwritable { reason: error.to_string() }),
            Ok(()) if n_bytes > MAX_BYTES => Some(FrameError::TooLong { n_bytes }),
            Ok(()) => None,
        };
        if let Some(error) = refused {
            self.bytes.truncate(start);
            return Err(error);
        }
        let length = u32::try_from(n_bytes).expect("the most bytes are fewer than a u32 counts").to_le_bytes();
        self.bytes[start..start + LENGTH].copy_from_slice(&length);
        Ok(())
    }

    /// What is to go next; empty where nothing waits.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.n_gone..]
    }

    /// Tells that the first `n_bytes` of [`Outgoing::bytes`] are gone.
    pub fn gone(&mut self, n_bytes: usize) {
        self.n_gone += n_bytes;
        if self.n_gone >= self.bytes.len() {
            self.n_gone = 0;
            empty(&mut self.bytes);
        }
    }
}

/// Writes to the end of what is there.
struct Behind<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Behind<'_> {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        self.0.extend(bytes);
    }
}

/// Bytes that came in, until they are whole values.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    /// Of these, how many were taken as values.
    n_taken: usize,
}

impl Incoming {
    /// Where to put more bytes: after what is there. It has room for some, however long a frame claims to be, so that memory
    /// is taken for bytes that came and not for a number.
    pub fn room(&mut self) -> &mut Vec<u8> {
        if self.n_taken > 0 {
            self.bytes.drain(..self.n_taken);
            self.n_taken = 0;
        }
        if self.bytes.is_empty() {
            empty(&mut self.bytes);
        }
        self.bytes.reserve(KEPT);
        &mut self.bytes
    }

    /// The next value, if all of it has come.
    ///
    /// # Errors
    /// The bytes are not a frame of such a value; what follows them cannot be read.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let bytes = &self.bytes[self.n_taken..];
        let Some((&length, rest)) = bytes.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let n_bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if n_bytes > MAX_BYTES {
            return Err(FrameError::TooLong { n_bytes });
        }
        let Some(frame) = rest.get(..n_bytes) else { return Ok(None) };
        let unreadable = |reason: String| FrameError::Unreadable { n_bytes, reason };
        let (value, rest) = postcard::take_from_bytes(frame).map_err(|error| unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable(format!("it has {} bytes too many", rest.len())));
        }
        self.n_taken += LENGTH + n_bytes;
        Ok(Some(value))
    }
}

/// Empties a buffer, and gives back the memory of an unusually long value.
fn empty(bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.shrink_to(KEPT);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Value = (u64, String, Vec<f64>);

    fn all(incoming: &mut Incoming) -> Vec<Value> {
        std::iter::from_fn(|| incoming.take().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn values_arrive_in_order_however_the_bytes_are_cut(
            values in proptest::collection::vec(any::<(u64, String, Vec<f64>)>(), 0..8),
            cuts in proptest::collection::vec(1_usize..40, 1..20),
        ) {
            let (mut outgoing, mut incoming) = (Outgoing::default(), Incoming::default());
            values.iter().for_each(|value| outgoing.push(value).unwrap());
            let mut arrived = Vec::new();
            let mut cuts = cuts.iter().cycle();
            while !outgoing.bytes().is_empty() {
                let n = outgoing.bytes().len().min(*cuts.next().unwrap());
                incoming.room().extend_from_slice(&outgoing.bytes()[..n]);
                outgoing.gone(n);
                arrived.extend(all(&mut incoming));
            }
            prop_assert_eq!(format!("{arrived:?}"), format!("{values:?}"));
        }

        #[test]
        fn other_bytes_are_an_error_or_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut incoming = Incoming::default();
            incoming.room().extend_from_slice(&bytes);
            while let Ok(Some(_)) = incoming.take::<Value>() {}
        }
    }

    #[test]
    fn a_length_alone_takes_no_memory() {
        let mut incoming = Incoming::default();
        incoming.room().extend_from_slice(&u32::try_from(MAX_BYTES).unwrap().to_le_bytes());
        assert_eq!(incoming.take::<Value>(), Ok(None));
        assert!(incoming.room().capacity() < 4 * KEPT);
        let mut incoming = Incoming::default();
        incoming.room().extend_from_slice(&[0xff; 4]);
        let refused = incoming.take::<Value>().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a message of 4294967295 bytes is longer than the 268435456 that may go to another process"
        );
    }

    #[test]
    fn what_is_too_long_does_not_go_and_harms_nothing_before_it() {
        let mut outgoing = Outgoing::default();
        outgoing.push(&1_u64).unwrap();
        let before = outgoing.bytes().to_vec();
        let long = "x".repeat(MAX_BYTES);
        assert_eq!(outgoing.push(&long), Err(FrameError::TooLong { n_bytes: MAX_BYTES + 5 }));
        assert_eq!(outgoing.bytes(), before);
        // Nor is its memory kept once the rest is gone.
        outgoing.gone(before.len());
        assert!(outgoing.bytes.capacity() <= KEPT);
    }

    #[test]
    fn bytes_after_a_value_are_refused() {
        let mut incoming = Incoming::default();
        incoming.room().extend_from_slice(&[2, 0, 0, 0, 7, 7]);
        assert_eq!(
            incoming.take::<u64>(),
            Err(FrameError::Unreadable { n_bytes: 2, reason: "it has 1 bytes too many".to_owned() })
        );
    }
}
