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

const BASE64: &str = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?";
const BASE64_URL: &str = "[A-Za-z0-9_-]{0,1000}";

/// Formats of JSON Schema, of Pydantic and of Zod that have a pattern here.
const NAMES: [&str; 42] = [
    "date",
    "time",
    "date-time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "ipvanyaddress",
    "ipv4network",
    "ipv4interface",
    "ipvanynetwork",
    "ipvanyinterface",
    "cidrv4",
    "uuid",
    "uuid1",
    "uuid3",
    "uuid4",
    "uuid5",
    "uuid7",
    "guid",
    "uri",
    "url",
    "iri",
    "multi-host-uri",
    "uri-reference",
    "iri-reference",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
    "regex",
    "base64",
    "base64url",
    "jwt",
    "e164",
    "ulid",
    "nanoid",
    "cuid",
    "cuid2",
    "color",
];

/// The known format that an unknown name was probably meant to be: it differs by one letter, or only in case and punctuation.
/// Other unknown formats allow every text, as in JSON Schema.
pub(super) fn misspelt(name: &str) -> Option<&'static str> {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let bare = plain(name);
    let is_near = |known: &&&str| {
        let known = plain(known);
        known == bare || (bare.len() > 5 && strsim::osa_distance(&known, &bare) == 1)
    };
    NAMES.iter().filter(|known| **known != name).find(is_near).copied()
}

/// A regular expression for the whole string, with its anchors; `None` for a format that is not kept.
#[must_use]
pub(super) fn pattern(name: &str) -> Option<String> {
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
        "email" | "idn-email" => {
            let word = "[A-Za-z0-9_+-]{1,20}";
            format!("{word}(?:\\.{word}){{0,2}}@{LABEL}(?:\\.{LABEL}){{1,3}}")
        }
        "hostname" | "idn-hostname" => format!("{LABEL}(?:\\.{LABEL}){{0,4}}"),
        "ipv4" | "ipvanyaddress" => format!("{OCTET}(?:\\.{OCTET}){{3}}"),
        "cidrv4" | "ipv4interface" | "ipvanyinterface" => {
            format!("{OCTET}(?:\\.{OCTET}){{3}}/(?:3[0-2]|[12]?[0-9])")
        }
        // The bits of the host are 0.
        "ipv4network" | "ipvanynetwork" => {
            format!(
                "(?:{OCTET}\\.0\\.0\\.0/8|{OCTET}\\.{OCTET}\\.0\\.0/16|(?:{OCTET}\\.){{3}}0/24|{OCTET}(?:\\.{OCTET}){{3}}/32)"
            )
        }
        "ipv6" => {
            let group = "[0-9a-f]{1,4}";
            format!("(?:(?:{group}:){{7}}{group}|(?:{group}:){{1,6}}:{group}|::(?:{group})?)")
        }
        "uuid" | "guid" => uuid("[1-8]"),
        "uuid1" | "uuid3" | "uuid4" | "uuid5" | "uuid7" => uuid(&name[4..]),
        "uri" | "url" | "iri" | "multi-host-uri" | "uri-template" => {
            let part = "[A-Za-z0-9._~!$&'()*+,;=:@-]{0,200}";
            let web = format!(
                "[a-z][a-z0-9+.-]{{1,15}}://{LABEL}(?:\\.{LABEL}){{0,4}}(?::[1-9][0-9]{{0,3}})?(?:/{part}){{0,20}}(?:\\?{part})?(?:#{part})?"
            );
            format!("(?:{web}|(?:mailto|urn|tel):[A-Za-z0-9._+@:-]{{1,200}})")
        }
        "uri-reference" | "iri-reference" => "/(?:[A-Za-z0-9._~-]{1,100}/){0,20}[A-Za-z0-9._~-]{0,100}".to_owned(),
        // Expressions without a character that has a meaning.
        "regex" => "[A-Za-z0-9 _,;:@-]{1,200}".to_owned(),
        "relative-json-pointer" => "(?:0|[1-9][0-9]{0,2})(?:/[A-Za-z0-9_.-]{1,40}){0,10}".to_owned(),
        "json-pointer" => "(?:/[A-Za-z0-9_.-]{1,40}){0,10}".to_owned(),
        "base64" => BASE64.to_owned(),
        "base64url" => BASE64_URL.to_owned(),
        "jwt" => "eyJ[A-Za-z0-9_-]{10,500}\\.eyJ[A-Za-z0-9_-]{10,500}\\.[A-Za-z0-9_-]{10,500}".to_owned(),
        "e164" => "\\+[1-9][0-9]{6,14}".to_owned(),
        "ulid" => "[0-7][0-9A-HJKMNP-TV-Z]{25}".to_owned(),
        "nanoid" => "[A-Za-z0-9_-]{21}".to_owned(),
        "cuid" => "c[0-9a-z]{24}".to_owned(),
        "cuid2" => "[a-z][0-9a-z]{23}".to_owned(),
        "color" => "#[0-9a-f]{6}".to_owned(),
        _ => return None,
    };
    Some(format!("^{body}$"))
}

/// A text of every kind that the pattern of a format allows, for formats that others write with look-around.
pub(super) fn examples(name: &str) -> &'static [&'static str] {
    match name {
        "duration" => &[
            "P1W",
            "P12W",
            "P1Y",
            "P1M",
            "P1D",
            "P1Y2M",
            "P2M3D",
            "P1Y2M3D",
            "PT1H",
            "PT1M",
            "PT1S",
            "PT1H2M",
            "PT2M3S",
            "PT1H2M3S",
            "P1YT1H",
            "P1MT2M",
            "P1DT3S",
            "P1Y2M3DT4H5M6S",
            "P123456789D",
        ],
        _ => &[],
    }
}

/// A UUID of one version and RFC 9562's variant, in lower case.
fn uuid(version: &str) -> String {
    format!("[0-9a-f]{{8}}-[0-9a-f]{{4}}-{version}[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}")
}
