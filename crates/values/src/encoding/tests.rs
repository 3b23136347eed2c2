//! Tests of encodings: one text in each of them, whole and in pieces, and where what is no text is found.

use std::io::{BufReader, Read as _};

use proptest::prelude::*;

use super::*;

/// The same text in every encoding that is read.
fn coats(text: &str) -> [Vec<u8>; 4] {
    let utf16 = |order: fn(u16) -> [u8; 2]| [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(order).collect();
    let marked = format!("\u{feff}{text}").into_bytes();
    [text.as_bytes().to_vec(), marked, utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)]
}

/// What a reader gives of bytes that come `capacity` at once, and how many of them it has read.
fn read(bytes: &[u8], capacity: usize) -> (Vec<u8>, u64) {
    let mut reader = Utf8Reader::new(BufReader::with_capacity(capacity, bytes));
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    (text, reader.position())
}

#[track_caller]
fn refused(bytes: &[u8], line: usize, column: usize) {
    assert_eq!(decode(bytes), Err(EncodingError { line, column }), "{bytes:x?}");
    // A reader of rows finds it too.
    for capacity in 1..4 {
        assert_eq!(checked(read(bytes, capacity).0), Err(EncodingError { line, column }), "{bytes:x?}");
    }
}

#[test]
fn what_is_no_text_is_refused_where_it_is() {
    refused(b"FROM x\nSYSTEM \xE9t\xE9", 2, 8);
    refused(b"\xEF\xBB\xBFa\r\n\xFF", 2, 1);
    refused("\u{e9}\u{e9}\0".as_bytes(), 1, 3);
    // UTF-16 without a mark, UTF-32 with one, the beginning of a mark.
    refused(b"{\0}\0", 1, 2);
    refused(b"\0{\0}", 1, 1);
    refused(b"\xFF\xFE\0\0{\0\0\0", 1, 1);
    refused(b"\xEF\xBB", 1, 1);
    refused(b"\xFF", 1, 1);
    // Half of a pair before a character, at the end, the second half alone; half of a unit.
    refused(b"\xFE\xFF\0\n\xD8\x3D\0a", 2, 1);
    refused(b"\xFF\xFEa\0\x3D\xD8", 1, 2);
    refused(b"\xFF\xFEa\0\x00\xDE", 1, 2);
    refused(b"\xFF\xFEa\0\n\0b", 2, 1);
    let said = "line 2, column 8: the text here is neither UTF-8 nor UTF-16 with a byte order mark; save it as UTF-8";
    assert_eq!(EncodingError { line: 2, column: 8 }.to_string(), said);
}

#[test]
fn one_mark_is_no_part_of_a_text_and_a_second_one_is() {
    let marked = || Ok("\u{feff}a".to_owned());
    assert_eq!(coats("\u{feff}a").map(|bytes| decode(&bytes)), [Ok("a".to_owned()), marked(), marked(), marked()]);
    assert_eq!([without_mark("\u{feff}{}"), without_mark("{}"), without_mark("")], ["{}", "{}", ""]);
    assert_eq!(coats("").map(|bytes| decode(&bytes)), [const { Ok(String::new()) }; 4]);
}

#[test]
fn blank_lines_have_white_space_alone() {
    assert!([&b""[..], b"\n", b" \t\r\n"].into_iter().all(is_blank));
    assert!(![&b"{}"[..], b" 0 \n", "\u{a0}".as_bytes()].into_iter().any(is_blank));
}

proptest! {
    #[test]
    fn a_text_is_the_same_in_every_encoding_whole_and_in_pieces(text in "[^\0\u{feff}]{0,40}", capacity in 1_usize..9) {
        for bytes in coats(&text) {
            prop_assert_eq!(decode(&bytes), Ok(text.clone()));
            prop_assert_eq!(utf8(&bytes).into_owned(), text.as_bytes());
            let (read, position) = read(&bytes, capacity);
            prop_assert_eq!(read.as_slice(), text.as_bytes());
            prop_assert!(position == bytes.len() as u64 || text.is_empty());
        }
    }

    #[test]
    fn any_bytes_are_read_alike_whole_and_in_pieces(
        mark in prop::sample::select(vec![&b""[..], b"\xFF\xFE", b"\xFE\xFF", b"\xEF\xBB\xBF"]),
        rest in prop::collection::vec(any::<u8>(), 0..40),
        capacity in 1_usize..9,
    ) {
        let bytes = [mark, &rest].concat();
        let (read, _) = read(&bytes, capacity);
        prop_assert_eq!(&read, &utf8(&bytes).into_owned());
        prop_assert_eq!(checked(read), decode(&bytes));
    }

    /// What is half of a pair does not become another text.
    #[test]
    fn units_are_a_text_where_the_standard_library_says_so(
        units in prop::collection::vec(prop_oneof![any::<u16>(), 0xD800_u16..0xE000, 0x20_u16..0x7F], 0..20),
    ) {
        let bytes: Vec<u8> = [0xFEFF].into_iter().chain(units.iter().copied()).flat_map(u16::to_be_bytes).collect();
        let expected = String::from_utf16(&units).ok().filter(|text| !text.contains('\0'));
        prop_assert_eq!(decode(&bytes).ok(), expected);
    }
}
