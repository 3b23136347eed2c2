//! Tables of written values: what was read out of texts, the items of lists, and the limits of texts.

use std::fmt::Write as _;

use super::{escaped, figure};
use crate::eval::figures::extraction::ExtractionFigures;
use crate::eval::figures::limits::LimitFigures;
use crate::eval::figures::lists::{KeyFigures, ListFigures};

pub fn extraction(out: &mut String, extraction: &ExtractionFigures) {
    let mut columns = vec![
        ("wrong", figure(extraction.wrong.figure())),
        ("missed", figure(extraction.missed.figure())),
        ("invented", figure(extraction.invented.figure())),
    ];
    columns.extend(extraction.rouge_l.map(|rouge| ("ROUGE-L", figure(rouge))));
    table(out, "Values", &columns);
}

pub fn lists(out: &mut String, lists: &ListFigures) {
    let columns = [
        ("F1", figure(lists.item_f1)),
        ("precision", figure(lists.item_precision)),
        ("recall", figure(lists.item_recall)),
        ("expected", lists.expected_items.to_string()),
        ("given", lists.given_items.to_string()),
        ("right as a whole", lists.whole_items.to_string()),
    ];
    table(out, "Items, each by the part of its fields that is right", &columns);
    if let Some(by_key) = &lists.by_key {
        self::by_key(out, by_key);
    }
}

fn by_key(out: &mut String, by_key: &KeyFigures) {
    let key = escaped(&by_key.key);
    let _ = write!(
        out,
        "<table><caption>Items by {key}, and the other fields of those found</caption><thead><tr><th scope=\"col\">field</th>\
         <th scope=\"col\">wrong</th><th scope=\"col\">missed</th><th scope=\"col\">invented</th></tr></thead><tbody>\
         <tr><th scope=\"row\">{key}</th><td></td><td>{}</td><td>{}</td></tr>",
        figure(by_key.missed.figure()),
        figure(by_key.invented.figure())
    );
    for field in &by_key.fields {
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&field.name),
            figure(field.wrong.figure()),
            figure(field.missed.figure()),
            figure(field.invented.figure())
        );
    }
    out.push_str("</tbody></table>");
}

pub fn limits(out: &mut String, limits: &LimitFigures) {
    let named = [
        ("words", limits.words),
        ("sentences", limits.sentences),
        ("characters", limits.characters),
        ("pattern", limits.pattern),
    ];
    let mut columns = vec![("all", figure(limits.kept.figure()))];
    columns.extend(named.into_iter().filter_map(|(name, rate)| Some((name, figure(rate?.figure())))));
    table(out, "Answers that keep the limits", &columns);
}

/// A table of one row.
fn table(out: &mut String, caption: &str, columns: &[(&str, String)]) {
    let _ = write!(out, "<table><caption>{caption}</caption><thead><tr>");
    for (name, _) in columns {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr></thead><tbody><tr>");
    for (_, cell) in columns {
        let _ = write!(out, "<td>{cell}</td>");
    }
    out.push_str("</tr></tbody></table>");
}
