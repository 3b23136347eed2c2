//! Numbers as people write them, and when two are the same.

/// The number in a text, which has nothing but it:
///
/// - a sign before it (`+`, `-`, a minus sign or a dash), or brackets around it for less than 0, as in accounts;
/// - beside it a currency sign, a percent sign (the number stays as it is written: `12 %` is 12) or a code of three capitals
///   (`EUR 5`);
/// - of `.` and `,` the one that is written last and once is the decimal mark if both occur, the other groups digits;
/// - one that occurs several times groups digits; so does a single `,` between one to three digits (not a mere `0`) and just
///   three (`1,234` is 1234), and any other single mark is the decimal mark (`1.234` is 1.234, as in JSON; `3,5` is 3.5);
/// - blanks and apostrophes between digits group them; groups have three digits, after the first of one to three (in
///   Indian numbers two, and three at the end: `1,00,000`);
/// - a power of ten may follow (`1.5e3`).
///
/// `None` for anything else.
#[must_use]
pub fn parse_number(text: &str) -> Option<f64> {
    let (text, is_negative) = without_sign(without_unit(text));
    let text = without_unit(text);
    let (mantissa, power) = match text.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, Some(power.parse::<i32>().ok()?)),
        None => (text, None),
    };
    let plain = plain(mantissa)?;
    let written = power.map_or_else(|| plain.clone(), |power| format!("{plain}e{power}"));
    let number: f64 = written.parse().ok()?;
    number.is_finite().then_some(if is_negative { -number } else { number })
}

/// How far a number may be from the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tolerance {
    /// In the number's own unit.
    pub absolute: f64,
    /// As a part of the expected number: 0.01 for one in a hundred.
    pub relative: f64,
}

impl Tolerance {
    /// Whether `found` is within the larger of the two; without tolerance only the same number is.
    #[must_use]
    pub fn allows(self, expected: f64, found: f64) -> bool {
        expected == found || (expected - found).abs() <= self.absolute.max(self.relative * expected.abs())
    }
}

fn is_blank(c: char) -> bool {
    c.is_whitespace()
}

/// Without blanks and a unit at the ends.
fn without_unit(text: &str) -> &str {
    const SIGNS: [char; 10] = ['€', '$', '£', '¥', '₹', '₽', '₩', '¢', '%', '‰'];
    let mut text = text.trim_matches(is_blank);
    text = text.strip_prefix(SIGNS).or_else(|| text.strip_suffix(SIGNS)).unwrap_or(text).trim_matches(is_blank);
    let is_code = |code: &str| code.bytes().all(|b| b.is_ascii_uppercase());
    let is_beside = |c: Option<char>| c.is_some_and(|c| !c.is_alphabetic());
    if let Some((code, rest)) = text.split_at_checked(3)
        && is_code(code)
        && is_beside(rest.chars().next())
    {
        text = rest;
    } else if let Some((rest, code)) = text.len().checked_sub(3).and_then(|at| text.split_at_checked(at))
        && is_code(code)
        && is_beside(rest.chars().last())
    {
        text = rest;
    }
    text.trim_matches(is_blank)
}

/// Without a sign, and whether it said less than 0.
fn without_sign(text: &str) -> (&str, bool) {
    if let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        return (inner, true);
    }
    if let Some(rest) = text.strip_prefix(['-', '−', '–', '‐', '‑']) {
        return (rest, true);
    }
    (text.strip_prefix('+').unwrap_or(text), false)
}

/// The digits of a number without power, with `.` as decimal mark and nothing else between.
fn plain(text: &str) -> Option<String> {
    let decimal_at = decimal_mark(text);
    let (whole, part) = match decimal_at {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let has_digits = whole.bytes().chain(part.bytes()).any(|b| b.is_ascii_digit());
    if !is_digits(part) || !has_digits {
        return None;
    }
    let whole = ungrouped(whole)?;
    Some(format!("{}.{part}", if whole.is_empty() { "0" } else { &whole }))
}

/// Where the decimal mark stands, if there is one.
fn decimal_mark(text: &str) -> Option<usize> {
    let last = |mark: char| text.rfind(mark).map(|at| (at, text.matches(mark).count()));
    match (last('.'), last(',')) {
        (Some((point, n)), Some((comma, _))) if point > comma => (n == 1).then_some(point),
        (Some(_), Some((comma, n))) => (n == 1).then_some(comma),
        (Some((point, 1)), None) => Some(point),
        (None, Some((comma, 1))) => (!is_thousand(&text[..comma], &text[comma + 1..])).then_some(comma),
        _ => None,
    }
}

/// Whether digits before and after a single comma are one number in groups.
fn is_thousand(before: &str, after: &str) -> bool {
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (1..=3).contains(&before.len())
        && is_digits(before)
        && !before.starts_with('0')
        && after.len() == 3
        && is_digits(after)
}

/// The digits without what groups them, where the groups are right and all parted by one mark.
fn ungrouped(text: &str) -> Option<String> {
    let Some(mark) = text.chars().find(|c| !c.is_ascii_digit()) else { return Some(text.to_owned()) };
    if !matches!(mark, '.' | ',' | '\'' | '’' | '_') && !is_blank(mark) {
        return None;
    }
    let groups: Vec<&str> = text.split(mark).collect();
    let is_group =
        |group: &&str, lengths: &[usize]| group.bytes().all(|b| b.is_ascii_digit()) && lengths.contains(&group.len());
    let (first, rest) = groups.split_first()?;
    let (last, middle) = rest.split_last()?;
    let is_right = is_group(first, &[1, 2, 3])
        && is_group(last, &[3])
        && (middle.iter().all(|group| is_group(group, &[3])) || middle.iter().all(|group| is_group(group, &[2])));
    is_right.then(|| groups.concat())
}

#[cfg(test)]
mod tests {
    use super::{Tolerance, parse_number};
    use proptest::prelude::*;

    #[test]
    fn numbers_as_people_write_them() {
        for (text, number) in [
            ("1234.5", 1234.5),
            ("1,234.50", 1234.5),
            ("1.234,50", 1234.5),
            ("1 234,50", 1234.5),
            ("1\u{202f}234\u{202f}567", 1_234_567.0),
            ("1'234'567.80", 1_234_567.8),
            ("1,00,000", 100_000.0),
            ("1,234,567", 1_234_567.0),
            ("1.234.567", 1_234_567.0),
            ("1,234", 1234.0),
            ("1.234", 1.234),
            ("0,123", 0.123),
            ("3,5", 3.5),
            ("12,34", 12.34),
            ("1234,567", 1234.567),
            (".5", 0.5),
            ("5.", 5.0),
            ("-3", -3.0),
            ("− 3", -3.0),
            ("(1,234.00)", -1234.0),
            ("$1,234.50", 1234.5),
            ("-$5", -5.0),
            ("5 €", 5.0),
            ("EUR 1.234,50", 1234.5),
            ("12 USD", 12.0),
            ("12 %", 12.0),
            ("1.5e3", 1500.0),
            ("2E-2", 0.02),
        ] {
            assert_eq!(parse_number(text), Some(number), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_no_number() {
        for text in [
            "",
            " ",
            "-",
            "$",
            "twelve",
            "1.2.3",
            "12,34,5",
            "1,23.4,5",
            "1 2",
            "12 34",
            "5 apples",
            "1e",
            "1e999",
            "NaN",
            "inf",
            "0x10",
            "1,2345,678",
            "--5",
            "٣",
            "é",
        ] {
            assert_eq!(parse_number(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_tolerance_is_the_larger_of_the_two() {
        let tolerance = Tolerance { absolute: 0.5, relative: 0.01 };
        assert!(tolerance.allows(10.0, 10.5) && !tolerance.allows(10.0, 10.6));
        assert!(tolerance.allows(-1000.0, -1010.0) && !tolerance.allows(-1000.0, -1010.1));
        assert!(Tolerance::default().allows(0.1, 0.1) && !Tolerance::default().allows(0.1, 0.1 + 1e-16 + 1e-15));
    }

    proptest! {
        #[test]
        fn json_numbers_are_read_as_json(number in -1e12_f64..1e12) {
            prop_assert_eq!(parse_number(&number.to_string()), Some(number));
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,20}") {
            let _ = parse_number(&text);
        }
    }
}
