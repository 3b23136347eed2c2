//! JSON as it is most common in training data: on one line, with a space after each comma and colon.

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use std::io;

/// JSON on one line with `, ` and `: `, as Python writes it and models have read it most.
pub(crate) fn spaced(json: &impl Serialize) -> String {
    let mut out = Vec::new();
    let written = json.serialize(&mut Serializer::with_formatter(&mut out, Spaced));
    written.expect("JSON has texts for keys, and a vector takes everything");
    String::from_utf8(out).expect("serde_json writes UTF-8")
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
