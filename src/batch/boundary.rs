//! Where one record of an input ends: at a line's end, in a table at one that no quotes enclose (RFC 4180).

/// Looks for the ends of records, byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    Lines,
    Table { delimiter: u8, cell: Cell },
}

/// Where in a cell of a table the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cell {
    #[default]
    Start,
    Plain,
    Quoted,
    /// After a quote in a quoted cell: the cell's end, or the first of two that stand for one.
    AfterQuote,
}

impl Boundary {
    #[must_use]
    pub fn of_table(delimiter: u8) -> Boundary {
        Boundary::Table { delimiter, cell: Cell::Start }
    }

    /// Whether a record ends with this byte, which is the next one.
    pub fn ends_with(&mut self, byte: u8) -> bool {
        let Boundary::Table { delimiter, cell } = self else { return byte == b'\n' };
        let is_quoted = *cell == Cell::Quoted;
        *cell = match (*cell, byte) {
            (Cell::Start | Cell::AfterQuote, b'"') => Cell::Quoted,
            (Cell::Quoted, b'"') => Cell::AfterQuote,
            (Cell::Quoted, _) => Cell::Quoted,
            (_, b'\n') => Cell::Start,
            (_, byte) if byte == *delimiter => Cell::Start,
            _ => Cell::Plain,
        };
        byte == b'\n' && !is_quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8], mut boundary: Boundary) -> Vec<Vec<u8>> {
        bytes.split_inclusive(|&byte| boundary.ends_with(byte)).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn quoted_line_ends_end_no_record() {
        let found = split(b"id,text\n1,\"a\nb \"\"c\"\"\n\"\n2,5\" tall\n", Boundary::of_table(b','));
        assert_eq!(found, [b"id,text\n".to_vec(), b"1,\"a\nb \"\"c\"\"\n\"\n".to_vec(), b"2,5\" tall\n".to_vec()]);
        assert_eq!(split(b"a\"\nb\"\n", Boundary::Lines).len(), 2);
    }

    proptest! {
        /// As many records as the csv crate finds in what it has written, whatever the cells hold.
        #[test]
        fn records_are_those_of_the_csv_crate(
            rows in prop::collection::vec(prop::collection::vec("[a\", ;\t\r\n\u{e9}]{0,6}", 2..4), 1..8),
            delimiter in prop::sample::select(vec![b',', b';', b'\t']),
        ) {
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(Vec::new());
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            let bytes = writer.into_inner().unwrap();
            prop_assert_eq!(split(&bytes, Boundary::of_table(delimiter)).len(), rows.len());
        }
    }
}
