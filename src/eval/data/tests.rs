//! Data of every kind, good and broken.

use super::{Content, Data, Place, Row, Selection};
use crate::encoding::NotText;
use crate::eval::label::Expected;
use crate::eval::suite::{Source, Suite};
use proptest::prelude::*;
use serde_json::json;
use std::path::Path;

fn suite(more: &str) -> Suite {
    Suite::parse(&format!("model: m\ndata: d\ninput: text\nexpect: [queue, urgency]\n{more}")).expect("a good suite")
}

/// The data of a file of this name and content; its path is written `DATA` in messages.
fn load(name: &str, content: &[u8], suite: &Suite) -> Result<Data, String> {
    let selection = Selection { limit: suite.limit, ..Selection::default() };
    select(name, content, suite, &selection)
}

fn select(name: &str, content: &[u8], suite: &Suite, selection: &Selection) -> Result<Data, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join(name), content).expect("written");
    let suite = Suite { data: vec![Source::File(name.into())], ..suite.clone() };
    let folder_name = format!("{}/", folder.path().display());
    let named = |error: super::DataError| error.to_string().replace(&folder_name, "").replace(name, "DATA");
    Data::load(folder.path(), &suite, selection, &crate::eval::data::parquet::read_here).map_err(named)
}

/// The rows without their ids.
fn contents(data: Data) -> Vec<(u64, Result<Content, String>)> {
    data.rows.into_iter().map(|row| (row.place.line, row.content)).collect()
}

fn good(line: u64, input: &str, expected: Vec<Expected>) -> (u64, Result<Content, String>) {
    (line, Ok(Content { input: input.to_owned(), prompts: vec![None], expected }))
}

fn bad(line: u64, reason: &str) -> (u64, Result<Content, String>) {
    (line, Err(reason.to_owned()))
}

#[test]
fn jsonl_keeps_types_and_lines_and_bad_rows_their_places() {
    let content = "\u{feff}{\"text\": \"a\", \"queue\": \"x\", \"urgency\": 2}\r
\n  \n{\"text\": \"b\", \"queue\": null}
not json
[1]
{\"text\": 7, \"queue\": \"x\", \"urgency\": 1}
{\"text\": \"c\", \"queue\": [\"x\"], \"urgency\": 1}
{\"text\": \"d\", \"queue\": null, \"urgency\": true, \"more\": {}}";
    let rows = load("d.jsonl", content.as_bytes(), &suite("")).map(contents).expect("two good rows");
    let row =
        |line, input: &str, queue, urgency| good(line, input, vec![Expected::Json(queue), Expected::Json(urgency)]);
    assert_eq!(
        rows,
        [
            row(1, "a", json!("x"), json!(2)),
            bad(4, "the row has no `urgency`"),
            bad(5, "the row is not JSON: expected ident at column 2"),
            bad(6, "the row is a list, not an object"),
            bad(7, "`text` is a number, not a text"),
            bad(8, "`queue` is a list, not a label"),
            row(9, "d", json!(null), json!(true)),
        ]
    );
}

#[test]
fn csv_keeps_cells_and_lines_and_bad_rows_their_places() {
    let content = b"\xef\xbb\xbfqueue,text,urgency,note\r\nx,\"two\r\nlines, quoted\",2,\r\n\r\n\r\nx,short,1\r\ny,,3,n\r\n\xff,a,1,n\r\nx,\xff,1,n\r\nx,a,1,\xff\r\n";
    let rows = load("d.CSV", content, &suite("")).map(contents).expect("three good rows");
    let row = |line, input: &str, queue: &str, urgency: &str| {
        good(line, input, vec![Expected::Text(queue.into()), Expected::Text(urgency.into())])
    };
    assert_eq!(
        rows,
        [
            row(2, "two\r\nlines, quoted", "x", "2"),
            bad(6, "cells in the row: 3; in the header: 4"),
            row(7, "", "y", "3"),
            bad(8, &format!("`queue`: {NotText}")),
            bad(9, &format!("`text`: {NotText}")),
            row(10, "a", "x", "1"),
        ]
    );
}

#[test]
fn data_that_cannot_be_used_is_refused_with_what_is_there() {
    let check = |name: &str, content: &str, expect: &str| {
        assert_eq!(load(name, content.as_bytes(), &suite("")).expect_err(content), expect, "{content}");
    };
    check(
        "d.txt",
        "",
        "the data `DATA` is none of `.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`; convert it, or rename it to what it is",
    );
    for (name, content) in [("d.jsonl", ""), ("d.jsonl", "\n \r\n"), ("d.csv", ""), ("d.csv", "text,queue,urgency\n")] {
        check(name, content, "the data `DATA` has no rows");
    }
    let missing = "the data `DATA` has no column `urgency`, which the suite reads; its columns are `text`, `queue`";
    check("d.csv", "text,queue\na,x\n", missing);
    check(
        "d.jsonl",
        "{\"text\": 1}\n{\"queue\": \"x\"}\nnonsense\n",
        &missing.replace("`text`, `queue`", "`queue`, `text`"),
    );
    check("d.csv", "text,queue,urgency,text\na,x,1,b\n", "the data `DATA` has the column `text` twice; rename one");
    check(
        "d.jsonl",
        "{\"text\nnonsense\n",
        "no row of the data `DATA` can be read; line 1: the row is not JSON: EOF while parsing a string at column 6",
    );
    let many: String = (0..30).map(|i| format!("c{i},")).collect();
    let message = load("d.csv", format!("{many}\n{many}\n").as_bytes(), &suite("")).expect_err("no column");
    assert!(message.ends_with("`c18`, `c19` and 11 more"), "{message}");
    let none = Suite { data: vec![Source::File("no/such.csv".into())], ..suite("") };
    let message = Data::load(Path::new(""), &none, &Selection::default(), &crate::eval::data::parquet::read_here)
        .expect_err("no file")
        .to_string();
    assert!(message.starts_with("cannot read the data `no/such.csv`: "), "{message}");
}

#[test]
fn a_limit_takes_the_first_rows() {
    let jsonl = "{\"text\": \"a\", \"queue\": 1, \"urgency\": 1}\nbad\n".repeat(5);
    assert_eq!(load("d.jsonl", jsonl.as_bytes(), &suite("limit: 3")).expect("good").rows.len(), 3);
    let csv = format!("text,queue,urgency\n{}", "a,1,1\n".repeat(10));
    assert_eq!(load("d.csv", csv.as_bytes(), &suite("limit: 3")).expect("good").rows.len(), 3);
}

#[test]
fn every_format_gives_the_same_rows() {
    let rows = |name: &str, content: &str| {
        let data = load(name, content.as_bytes(), &suite("")).expect(name);
        let show = |row: Row| (row.id, row.content.map(|c| (c.input, c.expected[1].resolve(&[json!(1), json!(2)]))));
        data.rows.into_iter().map(show).collect::<Vec<_>>()
    };
    let expected = rows("d.csv", "text,queue,urgency\na,x,1\n\"b\tc\",y,2\n");
    assert_eq!(expected[0].1, Ok(("a".to_owned(), json!(1))));
    assert_eq!(expected[0].0.len(), 12);
    assert_eq!(rows("d.tsv", "text\tqueue\turgency\na\tx\t1\n\"b\tc\"\ty\t2\n"), expected);
    let objects =
        "{\"text\": \"a\", \"queue\": \"x\", \"urgency\": 1},\n{\"text\": \"b\\tc\", \"queue\": \"y\", \"urgency\": 2}";
    assert_eq!(rows("d.json", &format!("[{objects}]")), expected);
    assert_eq!(rows("d.jsonl", &objects.replace("},", "}")), expected);
}

#[test]
fn ids_stay_with_their_rows_and_differ() {
    let with_id = suite("id: n");
    let csv = "text,queue,urgency,n\na,x,1,7\na,x,1,8\nb,x,1,9\n";
    let data = load("d.csv", csv.as_bytes(), &with_id).expect("good");
    let ids = |data: &Data| data.rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&data), data.n_duplicates), (vec!["7".to_owned(), "8".into(), "9".into()], 1));
    let message = load("d.csv", csv.replace(",8", ",7").as_bytes(), &with_id).expect_err("twice");
    assert_eq!(message, "the id `7` is there twice: line 2, and line 3; ids must differ");
    let hashed = ids(&load("d.csv", csv.as_bytes(), &suite("")).expect("good"));
    assert_eq!(hashed[1], format!("{}-2", hashed[0]));
}

#[test]
fn parts_share_no_row_and_leave_none_out() {
    let csv: String = (0..60).map(|i| format!("t{i},x,1\n")).collect();
    let csv = format!("text,queue,urgency\n{csv}");
    let ids = |shard: Option<&str>| {
        let shard = shard.map(|shard| shard.parse().expect("a part"));
        let selection = Selection { shard, ..Selection::default() };
        let data = select("d.csv", csv.as_bytes(), &suite(""), &selection).expect("good");
        data.rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let mut parts = [ids(Some("1/3")), ids(Some("2/3")), ids(Some("3/3"))].concat();
    let mut all = ids(None);
    parts.sort();
    all.sort();
    assert_eq!(parts, all);
    assert!(["0/3", "4/3", "a/3", "3"].iter().all(|wrong| wrong.parse::<super::Shard>().is_err()));
}

#[test]
fn a_filter_takes_rows_before_the_limit() {
    let csv = "text,queue,urgency,split\na,x,1,train\nb,x,1,test\nc,x,1,test\n";
    let filter = |value: &str| Selection {
        filter: vec![("split".to_owned(), value.to_owned())],
        limit: Some(1),
        ..Selection::default()
    };
    let data = select("d.csv", csv.as_bytes(), &suite(""), &filter("test")).expect("good");
    assert_eq!(data.rows.iter().map(|row| row.place).collect::<Vec<_>>(), [Place { source: 0, line: 3 }]);
    let message = select("d.csv", csv.as_bytes(), &suite(""), &filter("dev")).expect_err("none");
    assert_eq!(message, "no row of the data `DATA` is left by `split=dev`");
}

#[test]
fn templates_fill_columns_in() {
    let suite = Suite::parse(
            "models: [m, {model: m, name: n, prompt: 'Q: {{ input }} ({{ urgency }})'}]\ndata: d\ninput: '{{ text }}, {{ queue }}'\n\
             expect: [queue, urgency]\n",
        )
        .expect("a good suite");
    let data = load("d.csv", b"text,queue,urgency\na,x,1\n", &suite).expect("good");
    let content = data.rows[0].content.as_ref().expect("good");
    assert_eq!((content.input.as_str(), &content.prompts), ("a, x", &vec![None, Some("Q: a, x (1)".to_owned())]));
    let message = load("d.csv", b"text,queue,urgenc\na,x,1\n", &suite).expect_err("no column");
    assert!(message.starts_with("the data `DATA` has no column `urgency`"), "{message}");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}\":,a\n0]{0,80}") {
        let good = b"text,queue,urgency\n";
        let _ = load("d.csv", &[good.as_slice(), &bytes].concat(), &suite(""));
        let _ = load("d.jsonl", &bytes, &suite(""));
        let _ = load("d.jsonl", json.as_bytes(), &suite(""));
    }

    #[test]
    fn a_csv_row_is_on_the_line_where_it_starts(blank in prop::collection::vec(0_usize..3, 1..8), crlf in any::<bool>()) {
        let end = if crlf { "\r\n" } else { "\n" };
        let (mut content, mut line, mut lines) = (format!("text,queue,urgency{end}"), 2, Vec::new());
        for n in blank {
            content += &end.repeat(n);
            content += &format!("\"a{end}b\",x,1{end}");
            lines.push(line + n as u64);
            line += n as u64 + 2;
        }
        let rows = load("d.csv", content.as_bytes(), &suite("")).expect("good rows").rows;
        let found: Vec<u64> = rows.into_iter().map(|row| row.place.line).collect();
        prop_assert_eq!(found, lines);
    }
}
