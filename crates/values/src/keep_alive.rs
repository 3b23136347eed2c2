//! How long a model stays in memory after its last request, as people write it: seconds, or a duration as Go writes it.
//! It knows no clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// How long a model stays after its last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeepAlive {
    /// Nothing at all is said by `0`: it goes with its last request.
    For(Duration),
    /// Written as a negative number.
    Forever,
}

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a duration: give seconds (`300`), a duration (`10m`, `1h30m`), `0` (not at all), or `-1` \
     (forever)"
)]
pub struct KeepAliveError {
    text: String,
}

/// The units of Go's durations, in nanoseconds. `m` is after `ms`, which begins like it.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Go counts nanoseconds in 63 bits: what is longer than these 292 years is forever.
const LONGEST: f64 = i64::MAX as f64;

impl KeepAlive {
    /// What holds where nobody says anything.
    pub const DEFAULT: KeepAlive = KeepAlive::For(Duration::from_secs(300));

    /// A number of seconds; below zero it is forever. `None` where it is not a number.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Option<KeepAlive> {
        if seconds.is_nan() { None } else { Some(KeepAlive::from_nanoseconds(seconds * 1e9)) }
    }

    fn from_nanoseconds(n: f64) -> KeepAlive {
        if !(0.0..LONGEST).contains(&n) {
            return KeepAlive::Forever;
        }
        // Below 2^63 and not negative: the cast is exact to what a double holds.
        KeepAlive::For(Duration::from_nanos(n.round() as u64))
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        KeepAlive::DEFAULT
    }
}

impl FromStr for KeepAlive {
    type Err = KeepAliveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let given = text.trim();
        let (unsigned, negative) = match given.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (given.strip_prefix('+').unwrap_or(given), false),
        };
        let n = nanoseconds(unsigned).ok_or_else(|| KeepAliveError { text: shown(text) })?;
        Ok(if negative && n > 0.0 { KeepAlive::Forever } else { KeepAlive::from_nanoseconds(n) })
    }
}

/// A bare number is of seconds; else numbers with units, which add up.
fn nanoseconds(text: &str) -> Option<f64> {
    if let Some((seconds, "")) = number(text) {
        return Some(seconds * 1e9);
    }
    let (mut rest, mut sum) = (text, 0.0);
    loop {
        let (value, behind) = number(rest)?;
        let (unit, size) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit))?;
        sum += value * *size as f64;
        rest = &behind[unit.len()..];
        if rest.is_empty() {
            return Some(sum);
        }
    }
}

/// Digits with at most one point at the beginning of a text, and what is after them.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, behind) = text.split_at(end);
    // Rust's own reader refuses a second point and a point alone.
    Some((digits.parse().ok()?, behind))
}

/// The beginning of what someone wrote, for a message.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

impl fmt::Display for KeepAlive {
    /// As Go writes a duration: `5m0s`, `1.5s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeepAlive::For(duration) = self else { return f.write_str("-1") };
        let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}", seconds % 60)?;
        if nanoseconds > 0 {
            write!(f, ".{}", format!("{nanoseconds:09}").trim_end_matches('0'))?;
        }
        f.write_str("s")
    }
}

/// A duration as text where it is between two processes of slm, whose frames say nothing of types.
pub mod as_text {
    use super::{Deserialize, Deserializer, KeepAlive, Serialize, Serializer, de};

    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(keep_alive: &Option<KeepAlive>, serializer: S) -> Result<S::Ok, S::Error> {
        keep_alive.map(|keep_alive| keep_alive.to_string()).serialize(serializer)
    }

    /// # Errors
    /// The text is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KeepAlive>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}

impl<'de> Deserialize<'de> for KeepAlive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = KeepAlive;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds, or a duration such as `10m`")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<KeepAlive, E> {
                Ok(u64::try_from(seconds).map_or(KeepAlive::Forever, |n| KeepAlive::from_nanoseconds(n as f64 * 1e9)))
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<KeepAlive, E> {
                Ok(KeepAlive::from_nanoseconds(seconds as f64 * 1e9))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<KeepAlive, E> {
                KeepAlive::from_seconds(seconds).ok_or_else(|| E::custom("seconds that are not a number"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<KeepAlive, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> KeepAlive {
        text.parse().unwrap()
    }

    fn seconds(n: f64) -> KeepAlive {
        KeepAlive::For(Duration::from_secs_f64(n))
    }

    #[test]
    fn it_is_read_as_ollama_reads_it() {
        for (text, expected) in [
            ("300", seconds(300.0)),
            ("10m", seconds(600.0)),
            ("1h30m", seconds(5400.0)),
            ("1.5h", seconds(5400.0)),
            ("1h0m0.5s", seconds(3600.5)),
            (".5s", seconds(0.5)),
            ("250ms", seconds(0.25)),
            ("3us", seconds(0.000_003)),
            ("3µs", seconds(0.000_003)),
            ("7ns", KeepAlive::For(Duration::from_nanos(7))),
            ("0", seconds(0.0)),
            ("-0", seconds(0.0)),
            ("0s", seconds(0.0)),
            ("+5s", seconds(5.0)),
            (" 5m ", seconds(300.0)),
            ("-1", KeepAlive::Forever),
            ("-10m", KeepAlive::Forever),
            ("9999999h", KeepAlive::Forever),
            ("99999999999999999999999999999999999999999", KeepAlive::Forever),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_would_be_one() {
        for text in ["", "-", "m", "5 m", "5x", "1.2.3s", ".", "5m3", "1e3", "inf", "NaN", "ten minutes", "--1", "٣s"]
        {
            assert!(text.parse::<KeepAlive>().is_err(), "{text}");
        }
        assert_eq!(
            "5x".parse::<KeepAlive>().unwrap_err().to_string(),
            "`5x` is not a duration: give seconds (`300`), a duration (`10m`, `1h30m`), `0` (not at all), or \
             `-1` (forever)"
        );
    }

    #[test]
    fn json_has_numbers_and_texts() {
        let read = |json: &str| serde_json::from_str::<KeepAlive>(json);
        assert_eq!(read("30").unwrap(), seconds(30.0));
        assert_eq!(read("0.5").unwrap(), seconds(0.5));
        assert_eq!(read("-1").unwrap(), KeepAlive::Forever);
        assert_eq!(read("-0.5").unwrap(), KeepAlive::Forever);
        assert_eq!(read("1e300").unwrap(), KeepAlive::Forever);
        assert_eq!(read("18446744073709551615").unwrap(), KeepAlive::Forever);
        assert_eq!(read("\"10m\"").unwrap(), seconds(600.0));
        assert!(read("true").is_err());
        assert!(read("{}").is_err());
        assert!(read("\"soon\"").unwrap_err().to_string().starts_with("`soon` is not a duration"));
    }

    #[test]
    fn it_is_written_as_go_writes_it() {
        for (keep_alive, expected) in [
            (KeepAlive::DEFAULT, "5m0s"),
            (seconds(5400.0), "1h30m0s"),
            (seconds(3600.0), "1h0m0s"),
            (seconds(1.5), "1.5s"),
            (seconds(0.0), "0s"),
            (KeepAlive::Forever, "-1"),
        ] {
            assert_eq!(keep_alive.to_string(), expected);
            assert_eq!(read(expected), keep_alive);
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again_it_is_the_same(seconds in 0..10_000_000_u64, milliseconds in 0..1000_u64) {
            let keep_alive = KeepAlive::For(Duration::from_millis(seconds * 1000 + milliseconds));
            prop_assert_eq!(read(&keep_alive.to_string()), keep_alive);
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC*") {
            let _ = text.parse::<KeepAlive>();
        }
    }
}
