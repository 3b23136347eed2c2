//! Where the complete records of a file are.

use std::fs::File;
use std::io::{self, BufRead as _, Seek as _, SeekFrom};

use crate::batch::boundary::Boundary;

/// Where a file's complete lines are.
#[derive(Debug, PartialEq, Eq)]
pub struct Lines {
    pub n: u64,
    /// Of these, lines that end in the first bytes that were asked about.
    pub n_before: u64,
    /// Where the last complete line begins.
    pub last: u64,
    /// Bytes up to and with the last complete line.
    pub end: u64,
}

impl Lines {
    /// Reads a file to its end, records being told apart by `boundary`; `border` is the number of bytes that are asked about.
    pub fn of(file: &File, border: u64, mut boundary: Boundary) -> io::Result<Lines> {
        let mut lines = Lines { n: 0, n_before: 0, last: 0, end: 0 };
        let mut reader = io::BufReader::with_capacity(1 << 16, file);
        reader.seek(SeekFrom::Start(0))?;
        let mut at = 0;
        loop {
            let buffer = reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(lines);
            }
            for (offset, _) in buffer.iter().enumerate().filter(|(_, byte)| boundary.ends_with(**byte)) {
                (lines.last, lines.end) = (lines.end, at + offset as u64 + 1);
                lines.n += 1;
                lines.n_before += u64::from(lines.end <= border);
            }
            let n_bytes = buffer.len();
            at += n_bytes as u64;
            reader.consume(n_bytes);
        }
    }
}
