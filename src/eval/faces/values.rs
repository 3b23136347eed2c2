//! What is told of written values in one model's details: the items of lists, and the limits of texts.

use super::layout::{column, cut, line, pad, three, wrap};
use crate::eval::figures::limits::LimitFigures;
use crate::eval::figures::lists::{KeyFigures, ListFigures};
use crate::eval::figures::rate::Rate;
use crate::eval::label::harmless;

/// The most columns that a field's name takes.
const NAME: usize = 32;

/// Writes what became of a list's items.
pub fn lists(out: &mut String, lists: &ListFigures) {
    let f1 = three(lists.item_f1.value);
    let (precision, recall) = (three(lists.item_precision.value), three(lists.item_recall.value));
    wrap(
        out,
        "  ",
        &format!(
            "items: {} expected, {} given, {} of these right as a whole",
            lists.expected_items, lists.given_items, lists.whole_items
        ),
    );
    wrap(
        out,
        "  ",
        &format!(
            "by the fields that are right  F1 {}  precision {}  recall {}",
            f1.trim(),
            precision.trim(),
            recall.trim()
        ),
    );
    if let Some(by_key) = &lists.by_key {
        self::by_key(out, by_key);
    }
}

fn by_key(out: &mut String, by_key: &KeyFigures) {
    let key = harmless(&by_key.key);
    wrap(
        out,
        "  ",
        &format!(
            "by `{key}`: {} of {} expected items missed, {} of {} given ones invented",
            by_key.missed.hits, by_key.missed.rows, by_key.invented.hits, by_key.invented.rows
        ),
    );
    if by_key.fields.is_empty() {
        return;
    }
    let names: Vec<String> = by_key.fields.iter().map(|field| cut(&harmless(&field.name), NAME)).collect();
    let width = column(names.iter().map(String::as_str));
    line(out, format!("\n  {}   wrong  missed  invented", pad("of the items found", width)));
    for (name, field) in names.iter().zip(&by_key.fields) {
        let of = |rate: Rate| three(rate.value);
        let figures = format!("{}   {}     {}", of(field.wrong), of(field.missed), of(field.invented));
        line(out, format!("  {}   {figures}", pad(name, width)));
    }
}

/// Writes how many answers keep each limit.
pub fn limits(out: &mut String, limits: &LimitFigures) {
    let named = [
        ("words", limits.words),
        ("sentences", limits.sentences),
        ("characters", limits.characters),
        ("pattern", limits.pattern),
    ];
    let kept = format!("all {} of {}", limits.kept.hits, limits.kept.rows);
    let each = named.iter().filter_map(|(name, rate)| Some(format!("{name} {}", (*rate)?.hits)));
    wrap(out, "  ", &format!("limits kept: {}", [kept].into_iter().chain(each).collect::<Vec<_>>().join("  ")));
}
