//! The formats of strings that are kept, as regular expressions.
//!
//! Each accepts a part of what its format allows (RFC 3339 for dates and times, 5321 for addresses of mail, 1123 for hosts,
//! 4291 for IPv6, 4122 for UUIDs, 3986 for URIs), so that whatever is written is right: a 29th of February only in a leap
//! year, no leap second, names of hosts without two hyphens in a row.

/// A year from 1000 to 9999 with its month and day.
const DATE: &str = "(?:[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|\
    02-(?:0[1-9]|1[0-9]|2[0-8]))|\
    (?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)";
const TIME: &str =
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
const LABEL: &str = "[A-Za-z0-9]{1,15}(?:-[A-Za-z0-9]{1,15}){0,2}";
const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const NUMBER: &str = "[0-9]{1,9}";

/// The names of the formats, for people.
pub const NAMES: [&str; 10] =
    ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

/// A regular expression for the whole string, with its anchors; `None` for a format that is not kept.
#[must_use]
pub fn pattern(name: &str) -> Option<String> {
    let body = match name {
        "date" => DATE.to_owned(),
        "time" => TIME.to_owned(),
        "date-time" => format!("{DATE}T{TIME}"),
        "duration" => {
            let n = NUMBER;
            let days = format!("(?:{n}Y(?:{n}M(?:{n}D)?)?|{n}M(?:{n}D)?|{n}D)");
            let time = format!("T(?:{n}H(?:{n}M(?:{n}S)?)?|{n}M(?:{n}S)?|{n}S)");
            format!("P(?:{n}W|{days}(?:{time})?|{time})")
        }
        "email" => {
            let word = "[A-Za-z0-9_+-]{1,20}";
            format!("{word}(?:\\.{word}){{0,2}}@{LABEL}(?:\\.{LABEL}){{1,3}}")
        }
        "hostname" => format!("{LABEL}(?:\\.{LABEL}){{0,4}}"),
        "ipv4" => format!("{OCTET}(?:\\.{OCTET}){{3}}"),
        "ipv6" => {
            let group = "[0-9a-f]{1,4}";
            format!("(?:(?:{group}:){{7}}{group}|(?:{group}:){{1,6}}:{group}|::(?:{group})?)")
        }
        "uuid" => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".to_owned(),
        "uri" => {
            let part = "[A-Za-z0-9._~!$&'()*+,;=:@-]{0,200}";
            let web = format!(
                "[a-z][a-z0-9+.-]{{1,15}}://{LABEL}(?:\\.{LABEL}){{0,4}}(?::[1-9][0-9]{{0,3}})?(?:/{part}){{0,20}}(?:\\?{part})?(?:#{part})?"
            );
            format!("(?:{web}|(?:mailto|urn|tel):[A-Za-z0-9._+@:-]{{1,200}})")
        }
        _ => return None,
    };
    Some(format!("^{body}$"))
}
