//! `--csv` and `--tsv`: a table in, the same table out with the answer's columns added.

use serde_json::json;

use crate::slm::{Home, allowed};

/// What a spreadsheet writes: quotes, line ends and delimiters in cells.
const TABLE: &str = "id,\"the text\",note\n\
    1,\"I was charged twice,\nand \"\"nobody\"\" helps\",\"keep, this\"\n\
    2,my parcel never came,\n\
    3,,empty\n\
    4,too,many,cells\n\
    5,\"open,end\n";

fn cells(table: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(table.as_bytes());
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn a_table_comes_back_with_labels() {
    let home = Home::new();
    let args = ["run", "triage", "--csv", "the text", "--choices", "billing,shipping,legal"];
    let said = home.slm(args).stdin(TABLE).ends(1);
    let table = cells(&said.stdout);
    assert_eq!(table[0], ["id", "the text", "note", "label", "probability", "label_mass", "error"]);
    // Rows keep their own writing.
    let written = "1,\"I was charged twice,\nand \"\"nobody\"\" helps\",\"keep, this\",billing,";
    assert!(said.stdout.contains(written), "{}", said.stdout);
    assert_eq!(table[1][..4], ["1", "I was charged twice,\nand \"nobody\" helps", "keep, this", "billing"]);
    assert_eq!(table[2][3], "shipping");
    let p: Vec<f64> = table[1..3].iter().map(|row| row[4].parse().unwrap()).collect();
    let alone = ["run", "triage", "--choices", "billing,shipping,legal", "--json", "my parcel never came"];
    assert_eq!(json!(p[1]), home.slm(alone).json()["probability"]);
    assert_eq!(table[3], ["3", "", "empty", "", "", "", "`the text` is empty"]);
    assert_eq!(table[4], ["", "", "", "", "", "", "the row has 4 cells and the header 3"]);
    assert_eq!(table[5], ["", "", "", "", "", "", "a quote is not closed"]);
    // The line is that of the row's beginning in the file.
    assert!(said.stderr.contains("slm: line 5: `the text` is empty\n"), "{}", said.stderr);
}

#[test]
fn fields_of_an_object_are_columns_with_their_probabilities() {
    let home = Home::new();
    let said = home.slm(["run", "triage", "--tsv", "body"]).stdin("body\tqueue\nmy parcel never came\tx\n").succeeds();
    let mut lines = said.lines();
    // The table has a column of one of their names.
    let header = "body\tqueue\tslm_queue\tslm_queue_probability\tslm_urgency\tslm_urgency_probability\tslm_refund\t\
                  slm_refund_probability\tslm_error";
    assert_eq!(lines.next(), Some(header));
    assert!(lines.next().unwrap().starts_with("my parcel never came\tx\tshipping\t0."), "{said}");
    assert_eq!(lines.next(), None);
}

#[test]
fn a_table_that_was_stopped_continues() {
    let home = Home::new();
    let args = ["run", "triage", "--csv", "text", "--choices", "billing,shipping,legal", "--output", "out.csv"];
    let rows = |n: usize| (0..n).map(|n| format!("{n},\"I was charged\n{n} times\"\n")).collect::<String>();
    let (begun, table) = (format!("id,text\n{}", rows(11)), format!("id,text\n{}", rows(20)));
    home.slm(args).stdin(&table).succeeds();
    let path = home.path().join("out.csv");
    let whole = std::fs::read_to_string(&path).unwrap();
    home.slm([&args[..], &["--overwrite"]].concat()).stdin(&begun).succeeds();
    // As after a kill: a row that was not written to its end, and lines that end in cells.
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"11,\"I was charged\n11 ti").unwrap();
    home.slm([&args[..], &["--resume"]].concat()).stdin(&table).succeeds();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    let other = table.replacen("id,", "no,", 1);
    let said = home.slm([&args[..], &["--resume"]].concat()).stdin(&other).ends(1);
    assert!(said.stderr.starts_with("slm: cannot continue `out.csv`"), "{}", said.stderr);
}

#[test]
fn tables_and_lists_that_cannot_be_read_are_refused_with_what_is_there() {
    let home = Home::new();
    let refused = |args: &[&str], input: &str, why: &str| {
        home.slm([&["run", "triage"], args].concat()).stdin(input).fails(2, &format!("slm: {why}\n"));
    };
    refused(&["--csv", "text"], "id,body\n1,x\n", "the table has no column `text`; it has `id`, `body`");
    refused(&["--csv", "a"], "a,a\n1,x\n", "the table has two columns `a`");
    refused(&["--csv", "a"], "", "there is no table on standard input");
    let hint = "--delimiter: `::` cannot separate cells; give one character, for example `;`";
    refused(&["--csv", "a", "--delimiter", "::"], "a\n", hint);
    let one = "`--choices a`: one choice is not enough; give two or more, separated by commas";
    refused(&["--choices", "a", "text"], "", one);
}

#[test]
fn choices_come_from_a_file() {
    let home = Home::new();
    home.file("labels.txt", "billing\tmoney, invoices, refunds\n\nshipping\r\n legal \n");
    let asked = |more: &[&str]| home.slm([&["run", "triage", "--choices", "@labels.txt"], more].concat());
    assert_eq!(asked(&["I was charged twice"]).succeeds(), "billing\n");
    home.file("Modelfile", "FROM triage\nTEMPLATE {% for m in messages %}{{ m['content'] }}{% endfor %}");
    home.slm(["create", "free"]).succeeds();
    let prompt = home.slm(["run", "free", "--choices", "@labels.txt", "--dry-run", "--json", "text"]).json();
    assert!(prompt["prompt"].as_str().unwrap().contains("money, invoices, refunds"), "{prompt}");
    let found = asked(&["--json", "text"]).json();
    assert_eq!(allowed(&found), ["billing", "shipping", "legal"]);
}
