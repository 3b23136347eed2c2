//! Where a chunked body ends: its sizes are read strictly as the bytes go by, and nothing is kept of them.

/// A place in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In a chunk's size, with the digits that were read.
    Size {
        n_digits: u8,
        size: u64,
    },
    /// In what follows a size after a semicolon: read over, as it must be.
    Extension {
        size: u64,
        n_bytes: u16,
    },
    /// At the line feed behind a size.
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// At the carriage return, then the line feed, behind a chunk's bytes.
    DataReturn,
    DataEnd,
    /// At the carriage return, then the line feed, behind the last chunk.
    LastReturn,
    LastEnd,
    Done,
}

/// More digits would be a chunk of 2^60 bytes.
const MAX_DIGITS: u8 = 15;
const MAX_EXTENSION_BYTES: u16 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChunkError {
    #[error("a chunk's size is not a hexadecimal number")]
    Size,
    #[error("a chunk's extension is too long or holds control characters")]
    Extension,
    #[error("a chunk does not end in CRLF where its size says that it does")]
    End,
    #[error("fields behind the last chunk are not read")]
    Trailer,
}

impl Chunks {
    pub(super) const START: Chunks = Chunks::Size { n_digits: 0, size: 0 };

    /// Goes on over `bytes` and gives how many of them are of this body: fewer than all only when it is done.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<usize, ChunkError> {
        let mut at = 0;
        while at < bytes.len() && *self != Chunks::Done {
            if let Chunks::Data { left } = self {
                let here = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                at += here;
                *left -= here as u64;
                if *left == 0 {
                    *self = Chunks::DataReturn;
                }
                continue;
            }
            *self = self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn step(self, byte: u8) -> Result<Chunks, ChunkError> {
        Ok(match (self, byte) {
            (Chunks::Size { n_digits, size }, byte) if byte.is_ascii_hexdigit() => {
                if n_digits == MAX_DIGITS {
                    return Err(ChunkError::Size);
                }
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                Chunks::Size { n_digits: n_digits + 1, size: size << 4 | digit }
            }
            (Chunks::Size { n_digits: 1.., size }, b'\r') => Chunks::SizeEnd { size },
            (Chunks::Size { n_digits: 1.., size }, b';') => Chunks::Extension { size, n_bytes: 0 },
            (Chunks::Size { .. }, _) => return Err(ChunkError::Size),
            (Chunks::Extension { size, .. }, b'\r') => Chunks::SizeEnd { size },
            (Chunks::Extension { size, n_bytes }, byte) => {
                if n_bytes == MAX_EXTENSION_BYTES || byte.is_ascii_control() {
                    return Err(ChunkError::Extension);
                }
                Chunks::Extension { size, n_bytes: n_bytes + 1 }
            }
            (Chunks::SizeEnd { size: 0 }, b'\n') => Chunks::LastReturn,
            (Chunks::SizeEnd { size }, b'\n') => Chunks::Data { left: size },
            (Chunks::DataReturn, b'\r') => Chunks::DataEnd,
            (Chunks::DataEnd, b'\n') => Chunks::START,
            (Chunks::LastReturn, b'\r') => Chunks::LastEnd,
            (Chunks::LastEnd, b'\n') => Chunks::Done,
            (Chunks::LastReturn, _) => return Err(ChunkError::Trailer),
            (Chunks::Data { .. } | Chunks::Done, _) => self,
            (Chunks::SizeEnd { .. } | Chunks::DataReturn | Chunks::DataEnd | Chunks::LastEnd, _) => {
                return Err(ChunkError::End);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ChunkError, Chunks};

    #[test]
    fn a_body_ends_where_its_last_chunk_does_however_it_is_cut() {
        let body = b"5\r\nhello\r\nA;name=value\r\n0123456789\r\n00\r\n\r\n";
        let with_next = [body.as_slice(), b"GET / HTTP/1.1\r\n"].concat();
        for piece in 1..=with_next.len() {
            let (mut chunks, mut passed) = (Chunks::START, 0);
            for bytes in with_next.chunks(piece) {
                passed += chunks.pass(bytes).unwrap();
            }
            assert_eq!((chunks, passed), (Chunks::Done, body.len()), "pieces of {piece}");
        }
    }

    #[test]
    fn what_is_not_exactly_a_chunk_is_refused() {
        for (body, expected) in [
            ("\r\n", ChunkError::Size),
            ("g\r\n", ChunkError::Size),
            ("0x5\r\n", ChunkError::Size),
            ("-1\r\n", ChunkError::Size),
            (" 5\r\n", ChunkError::Size),
            ("5 \r\n", ChunkError::Size),
            ("5\nhello\r\n", ChunkError::Size),
            ("1234567890abcdef\r\n", ChunkError::Size),
            ("5;a\nb\r\n", ChunkError::Extension),
            ("5\rhello", ChunkError::End),
            ("5\r\nhello0\r\n", ChunkError::End),
            ("5\r\nhello\n0\r\n", ChunkError::End),
            ("5\r\nhello\rX", ChunkError::End),
            ("0\r\nx: y\r\n\r\n", ChunkError::Trailer),
            ("0\r\n\n", ChunkError::Trailer),
        ] {
            let mut chunks = Chunks::START;
            assert_eq!(chunks.pass(body.as_bytes()), Err(expected), "{body:?}");
        }
        let long = format!("5;{}\r\n", "a".repeat(300));
        assert_eq!({ Chunks::START }.pass(long.as_bytes()), Err(ChunkError::Extension));
    }
}
