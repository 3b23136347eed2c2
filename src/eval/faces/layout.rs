//! Lines of a terminal: columns by the width of their characters, long text cut or wrapped, figures with as many digits everywhere.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::eval::figures::cost::Cost;
use crate::eval::figures::rate::Figure;

pub const WIDTH: usize = 80;

/// The width of a column of these cells and of the heading of a table of labels.
pub fn column<'a>(cells: impl Iterator<Item = &'a str>) -> usize {
    cells.map(|c| c.width()).max().unwrap_or(0).max("expected \\ answered".len())
}

/// `text` and spaces up to `width` columns; a format's own width counts characters, and some take two columns.
pub fn pad(text: &str, width: usize) -> String {
    text.to_owned() + &" ".repeat(width.saturating_sub(text.width()))
}

/// `text` in at most `most` columns.
pub fn cut(text: &str, most: usize) -> String {
    if text.width() <= most {
        return text.to_owned();
    }
    let n_bytes = fitting(text, most - 1);
    format!("{}…", &text[..n_bytes])
}

/// The bytes of the longest beginning of `text` that fits `room` columns.
fn fitting(text: &str, room: usize) -> usize {
    let mut used = 0;
    let too_far = |&(_, c): &(usize, char)| {
        // The emoji selector widens the character before it; other sequences are never wider than their parts.
        used += if c == '\u{fe0f}' { 1 } else { c.width().unwrap_or(0) };
        used > room
    };
    text.char_indices().find(too_far).map_or(text.len(), |(at, _)| at)
}

pub fn line(out: &mut String, text: String) {
    let _ = writeln!(out, "{}", text.trim_end());
}

/// `text` in lines of at most [`WIDTH`] columns, broken between words where that is possible; later lines go two deeper.
pub fn wrap(out: &mut String, indent: &str, text: &str) {
    let deeper = format!("{indent}  ");
    let mut current = indent.to_owned();
    let mut is_empty = true;
    // Split after each space, so that the spaces between two figures are kept.
    for mut word in text.split_inclusive(' ') {
        while current.width() + word.trim_end_matches(' ').width() > WIDTH {
            if is_empty {
                // No character is wider than two columns, so that each line takes at least one.
                let (now, later) = word.split_at(fitting(word, WIDTH - current.width()));
                current.push_str(now);
                word = later;
            }
            line(out, std::mem::replace(&mut current, deeper.clone()));
            is_empty = true;
        }
        current.push_str(word);
        is_empty &= word.is_empty();
    }
    line(out, current);
}

/// Three digits behind the point, or a dash in their place.
pub fn three(value: Option<f64>) -> String {
    value.map_or_else(|| "    -".to_owned(), |value| format!("{value:.3}"))
}

/// The cost of a thousand rows: with four digits behind the point, or so many as it takes to be more than 0.
pub fn cost(cost: Option<&Cost>) -> String {
    match cost.map(|cost| cost.per_thousand_rows) {
        None => "-".to_owned(),
        Some(cost) if cost > 0.0 && cost < 0.001 => format!("{cost:.1e}"),
        Some(cost) => format!("{cost:.4}"),
    }
}

/// Memory, as people say it: in millions or billions of bytes.
pub fn bytes(n: u64) -> String {
    let mb = n as f64 / 1e6;
    if mb < 999.5 { format!("{mb:.0} MB") } else { format!("{:.1} GB", mb / 1e3) }
}

/// An interval, or room for one.
pub fn interval(figure: Figure) -> String {
    match (figure.low, figure.high) {
        (Some(low), Some(high)) => format!("{low:.3} to {high:.3}"),
        _ => " ".repeat(14),
    }
}

#[cfg(test)]
mod tests {
    use super::{WIDTH, cut, wrap};
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr as _;

    #[test]
    fn long_text_goes_on_two_columns_deeper() {
        let check = |text: &str, expect: &str| {
            let mut out = String::new();
            wrap(&mut out, "  ", text);
            assert_eq!(out, expect);
        };
        check("short  and  spaced", "  short  and  spaced\n");
        check(&"word ".repeat(20), &format!("  {}\n    {}\n", "word ".repeat(14) + "word", "word word word word word"));
        check(&"x".repeat(90), &format!("  {}\n    {}\n", "x".repeat(78), "x".repeat(12)));
        check(&format!("a {}", "x".repeat(80)), &format!("  a\n    {}\n    xxxx\n", "x".repeat(76)));
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_a_terminal(text in "[a \u{263a}\u{fe0f}\u{fe0e}\u{200d}\u{1f469}\u{1f680}\u{8acb}\u{644}\u{627}\u{338}<]{0,200}", most in 2..40_usize) {
            let mut out = String::new();
            wrap(&mut out, "  ", &text);
            prop_assert!(out.lines().all(|line| line.width() <= WIDTH), "{}", out);
            prop_assert!(cut(&text, most).width() <= most);
        }
    }
}
