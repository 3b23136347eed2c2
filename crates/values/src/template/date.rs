//! A calendar day and how Python's `strftime` writes it; it never asks what day it is.

use std::fmt::Write as _;

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Date {
    /// The day that scored prompts carry, so that a probability is the same tomorrow.
    pub const PINNED: Date = Date { year: 2025, month: 1, day: 1 };

    /// The day, or nothing where the calendar has no such day; years 1 to 9999.
    #[must_use]
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let valid = (1..=9999).contains(&year) && (1..=12).contains(&month) && day >= 1;
        let date = Date { year, month, day };
        (valid && day <= date.days_in_month()).then_some(date)
    }

    /// The day that lies `days` days after 1970-01-01 (UTC's count of days), kept within years 1 to 9999.
    ///
    /// By counting eras of 400 years that start in March.
    #[must_use]
    pub fn from_unix_days(days: i64) -> Self {
        let days = days.clamp(-719_162, 2_932_896) + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let narrow = |n: i64| u16::try_from(n).expect("a day within years 1 to 9999 has small parts");
        let byte = |n: i64| u8::try_from(n).expect("months and days are below 32");
        Date { year: narrow(era * 400 + year + next), month: byte(month), day: byte(day) }
    }

    /// The day before; the calendar's first day has none and stays.
    #[must_use]
    pub fn previous(self) -> Date {
        match (self.day, self.month, self.year) {
            (2.., _, _) => Date { day: self.day - 1, ..self },
            (_, 2.., _) => {
                let last = Date { month: self.month - 1, ..self };
                Date { day: last.days_in_month(), ..last }
            }
            (_, _, 2..) => Date { year: self.year - 1, month: 12, day: 31 },
            _ => self,
        }
    }

    /// The day at midnight as Python's `strftime` writes it in the C locale; an unknown directive stays as it is.
    #[must_use]
    pub fn strftime(&self, format: &str) -> String {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('-') => match chars.next() {
                    Some(directive) => self.directive(directive, Padding::None, &mut out),
                    None => out.push_str("%-"),
                },
                Some(directive) => self.directive(directive, Padding::Zero, &mut out),
                None => out.push('%'),
            }
        }
        out
    }

    fn directive(&self, directive: char, padding: Padding, out: &mut String) {
        let month = MONTHS[usize::from(self.month - 1)];
        let day = DAYS[usize::from(self.weekday())];
        match directive {
            'Y' => number(self.year, 4, padding, out),
            'y' => number(self.year % 100, 2, padding, out),
            'm' => number(u16::from(self.month), 2, padding, out),
            'd' => number(u16::from(self.day), 2, padding, out),
            'e' => drop(write!(out, "{:2}", self.day)),
            'j' => number(self.day_of_year(), 3, padding, out),
            'H' | 'M' | 'S' => number(0, 2, padding, out),
            'I' => number(12, 2, padding, out),
            'f' => out.push_str("000000"),
            'p' => out.push_str("AM"),
            'B' => out.push_str(month),
            'b' | 'h' => out.push_str(&month[..3]),
            'A' => out.push_str(day),
            'a' => out.push_str(&day[..3]),
            'u' => number(u16::from((self.weekday() + 6) % 7 + 1), 1, padding, out),
            'w' => number(u16::from(self.weekday()), 1, padding, out),
            'F' => out.push_str(&self.strftime("%Y-%m-%d")),
            'D' | 'x' => out.push_str(&self.strftime("%m/%d/%y")),
            'T' | 'X' => out.push_str("00:00:00"),
            'R' => out.push_str("00:00"),
            'c' => out.push_str(&self.strftime("%a %b %e 00:00:00 %Y")),
            'Z' | 'z' => {}
            '%' => out.push('%'),
            other => out.extend(['%', other]),
        }
    }

    fn is_leap(&self) -> bool {
        self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400))
    }

    fn days_in_month(&self) -> u8 {
        match self.month {
            2 => 28 + u8::from(self.is_leap()),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn day_of_year(&self) -> u16 {
        let before = (1..self.month).map(|month| u16::from(Date { month, ..*self }.days_in_month())).sum::<u16>();
        before + u16::from(self.day)
    }

    /// 0 is Sunday.
    fn weekday(&self) -> u8 {
        let before = u32::from(self.year) - 1;
        let days = before * 365 + before / 4 - before / 100 + before / 400 + u32::from(self.day_of_year());
        u8::try_from(days % 7).expect("a remainder of 7 is below 7")
    }
}

#[derive(Clone, Copy)]
enum Padding {
    Zero,
    None,
}

fn number(n: u16, width: usize, padding: Padding, out: &mut String) {
    // Writing to a text cannot fail.
    match padding {
        Padding::Zero => drop(write!(out, "{n:0width$}")),
        Padding::None => drop(write!(out, "{n}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_as_python_writes_them() {
        let date = Date::new(2026, 11, 21).unwrap();
        assert_eq!(date.strftime("%B %d, %Y|%d %b %Y|%Y-%m-%d|%A|%a|%j|%-m/%-d/%y"), {
            "November 21, 2026|21 Nov 2026|2026-11-21|Saturday|Sat|325|11/21/26"
        });
        let leap = Date::new(2024, 3, 1).unwrap();
        assert_eq!(leap.strftime("%A %j %d %-d %e %H:%M %% %Q %"), "Friday 061 01 1  1 00:00 % %Q %");
    }

    #[test]
    fn a_day_that_is_none_is_refused() {
        for (year, month, day) in [(2026, 2, 29), (2026, 13, 1), (2026, 0, 1), (0, 1, 1), (2026, 4, 31), (1900, 2, 29)]
        {
            assert_eq!(Date::new(year, month, day), None);
        }
    }

    #[test]
    fn unix_days_count_every_day() {
        assert_eq!(Date::from_unix_days(0), Date::new(1970, 1, 1).unwrap());
        assert_eq!(Date::from_unix_days(20_778), Date::new(2026, 11, 21).unwrap());
        assert_eq!(Date::from_unix_days(i64::MAX), Date::new(9999, 12, 31).unwrap());
        assert_eq!(Date::from_unix_days(i64::MIN), Date::new(1, 1, 1).unwrap());
        for days in -1000..40_000 {
            let (date, next) = (Date::from_unix_days(days), Date::from_unix_days(days + 1));
            assert!(Date::new(date.year, date.month, date.day).is_some() && date < next, "{days}");
            assert_eq!(next.previous(), date);
        }
    }
}
