//! A long input as UTF-8, decoded as it is read.

use std::io::{self, BufRead, Read};

use super::decoder::Decoder;

/// An input's text as UTF-8, without its byte order mark. What is not text in it is not UTF-8 here either: it is found by
/// [`checked`](super::checked) in the line that has it.
#[derive(Debug)]
pub struct Utf8Reader<R> {
    input: R,
    decoder: Decoder,
    /// Decoded, and read up to here.
    text: Vec<u8>,
    at: usize,
    n_bytes: u64,
}

impl<R: BufRead> Utf8Reader<R> {
    pub fn new(input: R) -> Self {
        Utf8Reader { input, decoder: Decoder::default(), text: Vec::new(), at: 0, n_bytes: 0 }
    }

    /// How many bytes of the input became the text that was read.
    pub fn position(&self) -> u64 {
        if self.n_bytes > 0 { self.decoder.n_mark_bytes() + self.n_bytes } else { 0 }
    }
}

impl<R: BufRead> BufRead for Utf8Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.text.len() {
            self.text.clear();
            self.at = 0;
        }
        while self.text.is_empty() {
            let bytes = self.input.fill_buf()?;
            let n = bytes.len();
            if n == 0 {
                self.decoder.finish(&mut self.text);
                break;
            }
            self.decoder.push(bytes, &mut self.text);
            self.input.consume(n);
        }
        Ok(&self.text[self.at..])
    }

    fn consume(&mut self, n: usize) {
        let read = &self.text[self.at..self.at + n];
        self.n_bytes += self.decoder.n_bytes_of(read);
        self.at += n;
    }
}

impl<R: BufRead> Read for Utf8Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}
