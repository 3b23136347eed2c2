//! Dates as people write them.

pub use jiff::civil::Date;

/// Which of two numbers before a year is the day, where both could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DayMonth {
    /// `03/04/2024` is the third of April.
    #[default]
    DayFirst,
    /// `03/04/2024` is the fourth of March.
    MonthFirst,
}

/// The date in a text, which has nothing but it:
///
/// - year first, with `-`, `/` or `.` between or nothing: `2024-03-12`, `2024/3/12`, `20240312`;
/// - a month in English words, whole or in three letters (`Sept` too), with the day before or after it: `12 March 2024`, `March
///   12th, 2024`, `12-Mar-2024`, `the 12th of March 2024`;
/// - numbers with the year last: with `.` the day is first (`12.3.2024`), with `/` or `-` as `order` says, unless only one
///   order is a date;
/// - a year of two digits is 1969 to 2068;
/// - before it a weekday, which must not be right, and after it a time of day with zone do not count.
///
/// `None` for anything else, dates that no calendar has included.
#[must_use]
pub fn parse_date(text: &str, order: DayMonth) -> Option<Date> {
    let text = text.to_ascii_lowercase();
    let words: Vec<&str> = without_time(text.trim())
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
        .collect();
    let words = match words.as_slice() {
        [weekday, rest @ ..] if is_weekday(weekday) => rest,
        all => all,
    };
    if let [one] = words
        && let Some(date) = of_one_word(one, order)
    {
        return Some(date);
    }
    let parts: Vec<&str> = words.iter().flat_map(|word| word.split(['-', '/', '.'])).collect();
    of_words(&parts)
}

/// Without `t10:30:00z`, ` 10:30` and what follows.
fn without_time(text: &str) -> &str {
    let Some(colon) = text.find(':') else { return text };
    let hours = text[..colon].trim_end_matches(|c: char| c.is_ascii_digit());
    let before = hours.trim_end_matches(|c: char| c.is_whitespace() || c == ',');
    if before.len() == hours.len() && !hours.ends_with('t') {
        return text;
    }
    let date = before.strip_suffix('t').unwrap_or(before);
    // `at 10:30` has lost its `t`.
    date.strip_suffix(" a").unwrap_or(date)
}

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let word = word.trim_end_matches('.');
    DAYS.iter().any(|day| *day == word || word.len() >= 3 && word.len() <= 5 && day.starts_with(word))
}

/// Numbers and marks in one word.
fn of_one_word(word: &str, order: DayMonth) -> Option<Date> {
    if word.len() == 8 && word.bytes().all(|b| b.is_ascii_digit()) {
        return date(&word[..4], month_number(&word[4..6])?, &word[6..]);
    }
    let mark = word.chars().find(|c| !c.is_ascii_alphanumeric())?;
    let parts: Vec<&str> = word.split(mark).collect();
    let [first, second, third] = parts[..] else { return None };
    if is_year(first) {
        return date(first, month_number(second)?, third);
    }
    let day_first = || date(third, month_number(second)?, first);
    let month_first = || date(third, month_number(first)?, second);
    match (mark, order) {
        ('.', _) => day_first(),
        ('/' | '-', DayMonth::DayFirst) => day_first().or_else(month_first),
        ('/' | '-', DayMonth::MonthFirst) => month_first().or_else(day_first),
        _ => None,
    }
}

/// A month in words among a day and a year.
fn of_words(parts: &[&str]) -> Option<Date> {
    let parts: Vec<&str> =
        parts.iter().copied().filter(|part| !part.is_empty() && !["the", "of"].contains(part)).collect();
    match parts[..] {
        [first, month, last] if month_name(month).is_some() => {
            let month = month_name(month)?;
            if is_year(first) { date(first, month, day(last)) } else { date(last, month, day(first)) }
        }
        [month, second, year] => date(year, month_name(month)?, day(second)),
        _ => None,
    }
}

fn month_name(word: &str) -> Option<i8> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let at = MONTHS.iter().position(|month| {
        *month == word || word.len() == 3 && month.starts_with(word) || word == "sept" && *month == "september"
    })?;
    i8::try_from(at + 1).ok()
}

/// Whether a word is a year of four digits.
fn is_year(word: &str) -> bool {
    word.len() == 4 && number(word, 4).is_some()
}

fn month_number(digits: &str) -> Option<i8> {
    number(digits, 2)?.try_into().ok()
}

/// The digits of a day, without the ending of its order.
fn day(word: &str) -> &str {
    ["st", "nd", "rd", "th"].iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word)
}

fn date(year: &str, month: i8, day: &str) -> Option<Date> {
    let year = match (year.len(), number(year, 4)?) {
        (4, year) => year,
        (2, year @ 69..) => 1900 + year,
        (2, year) => 2000 + year,
        _ => return None,
    };
    Date::new(year, month, number(day, 2)?.try_into().ok()?).ok()
}

/// A number of at most `longest` digits.
fn number(digits: &str, longest: usize) -> Option<i16> {
    let is_right = (1..=longest).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_right.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{DayMonth, parse_date};
    use proptest::prelude::*;

    #[test]
    fn dates_as_people_write_them() {
        for text in [
            "2024-03-12",
            "2024/3/12",
            "2024.03.12",
            "20240312",
            "2024-03-12T10:30:00Z",
            "2024-03-12 10:30",
            "12 March 2024",
            "12th March, 2024",
            "the 12th of March 2024",
            "12-Mar-2024",
            "12. March 2024",
            "March 12, 2024",
            "mar 12th 2024",
            "2024 March 12",
            "Tuesday, 12 March 2024",
            "Tue, 12 Mar 2024 10:30:00 +0100",
            "March 12, 2024 at 10:30",
            "12.03.2024",
            "12.3.24",
            "12/03/2024",
            " 12-03-2024 ",
        ] {
            let found = parse_date(text, DayMonth::DayFirst).map(|date| date.to_string());
            assert_eq!(found.as_deref(), Some("2024-03-12"), "{text:?}");
        }
    }

    #[test]
    fn the_order_counts_only_where_both_are_dates() {
        let iso = |text, order| parse_date(text, order).map(|date| date.to_string());
        assert_eq!(iso("03/04/2024", DayMonth::DayFirst).as_deref(), Some("2024-04-03"));
        assert_eq!(iso("03/04/2024", DayMonth::MonthFirst).as_deref(), Some("2024-03-04"));
        assert_eq!(iso("25/04/2024", DayMonth::MonthFirst).as_deref(), Some("2024-04-25"));
        assert_eq!(iso("04/25/2024", DayMonth::DayFirst).as_deref(), Some("2024-04-25"));
        assert_eq!(iso("03.04.2024", DayMonth::MonthFirst).as_deref(), Some("2024-04-03"));
        assert_eq!(iso("1 Sept 69", DayMonth::DayFirst).as_deref(), Some("1969-09-01"));
        assert_eq!(iso("1 sep 68", DayMonth::DayFirst).as_deref(), Some("2068-09-01"));
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "soon",
            "2024",
            "March 2024",
            "30 February 2024",
            "2024-13-01",
            "32/01/2024",
            "12/03",
            "1/2/3/4",
            "12 Marc 2024",
            "10:30",
            "2024-03-12-05",
            "12 March 2024 or so",
            "123/01/2024",
            "2024-03-012",
        ] {
            assert_eq!(parse_date(text, DayMonth::DayFirst), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,24}") {
            let _ = parse_date(&text, DayMonth::MonthFirst);
        }

        #[test]
        fn every_day_is_read_again(year in 1000_i16..=9999, month in 1_i8..=12, day in 1_i8..=28) {
            let date = super::Date::new(year, month, day).expect("all months have 28 days");
            prop_assert_eq!(parse_date(&date.to_string(), DayMonth::DayFirst), Some(date));
            prop_assert_eq!(parse_date(&date.strftime("%A, %B %d, %Y").to_string(), DayMonth::DayFirst), Some(date));
        }
    }
}
