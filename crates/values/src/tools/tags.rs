//! Calls in tags: `<function=..>` with a `<parameter=..>` for each argument, or `<function name="..">` with `<param name="..">`.

use super::scan::{ScanStep, is_name_byte};

/// What such a call begins and ends with.
pub(super) const FUNCTION: &str = "<function=";
pub(super) const NAMED_FUNCTION: &str = "<function name=\"";
const END: &str = "</function>";
/// What is around an argument's name and its value.
const PARAMETER: [&str; 3] = ["<parameter=", ">", "</parameter>"];
const NAMED_PARAMETER: [&str; 3] = ["<param name=\"", "\">", "</param>"];
/// What is around a value that holds characters of tags.
const CDATA: [&str; 2] = ["<![CDATA[", "]]>"];

/// Finds the end of such a call while it is being written.
#[derive(Debug, Clone)]
pub(super) struct TagScan {
    begin: &'static str,
    /// Bytes of the tag's beginning that were seen, whether the name is whole, and bytes of the tag's end.
    n_begun: usize,
    is_named: bool,
    n_ended: usize,
}

impl TagScan {
    /// A scan of a call that begins so.
    pub(super) fn new(begin: &'static str) -> Self {
        TagScan { begin, n_begun: 0, is_named: false, n_ended: 0 }
    }

    pub(super) fn step(&mut self, byte: u8) -> ScanStep {
        if self.n_begun < self.begin.len() {
            let fits = self.begin.as_bytes()[self.n_begun] == byte;
            self.n_begun += 1;
            return if fits { ScanStep::More } else { ScanStep::Bad };
        }
        if !self.is_named {
            self.is_named = byte == b'>';
            return if self.is_named || byte == b'"' || is_name_byte(byte) { ScanStep::More } else { ScanStep::Bad };
        }
        // The end's first character occurs nowhere else in it, so a match that breaks off starts again at this byte or not at all.
        self.n_ended = match byte {
            _ if END.as_bytes()[self.n_ended] == byte => self.n_ended + 1,
            b'<' => 1,
            _ => 0,
        };
        if self.n_ended == END.len() { ScanStep::End } else { ScanStep::More }
    }
}

/// The name of a whole call, and what is between its tags.
pub(super) fn split(call: &str) -> Option<(&str, &str)> {
    let call = call.strip_suffix(END)?;
    let (name, body) = match call.strip_prefix(NAMED_FUNCTION) {
        Some(call) => call.split_once("\">")?,
        None => call.strip_prefix(FUNCTION)?.split_once('>')?,
    };
    Some((name.trim(), body))
}

/// The arguments between the tags of a call, as they were written.
pub(super) fn arguments(body: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = body.trim_start();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let is_begun = |tags: &[&str; 3]| rest.starts_with(tags[0]);
        let [begin, middle, end] = [PARAMETER, NAMED_PARAMETER].into_iter().find(is_begun)?;
        let (name, after) = rest.strip_prefix(begin)?.split_once(middle)?;
        let (value, after) = match after.strip_prefix(CDATA[0]).and_then(|value| value.split_once(CDATA[1])) {
            Some((value, after)) => (value, after.strip_prefix(end)?),
            None => after.split_once(end).map(|(value, after)| (unwrapped(value), after))?,
        };
        found.push((name.trim(), value));
        rest = after.trim_start();
    }
    Some(found)
}

/// A value without the line feeds that separate it from its tags.
fn unwrapped(value: &str) -> &str {
    let value = value.strip_prefix('\n').unwrap_or(value);
    value.strip_suffix('\n').unwrap_or(value)
}

/// A call in `<function name="..">`.
pub(super) fn write_named(name: &str, arguments: impl Iterator<Item = (String, String)>) -> String {
    let [begin, middle, end] = NAMED_PARAMETER;
    let argument = |(name, value): (String, String)| match value.contains(['<', '&', '\n']) {
        true => format!("{begin}{name}{middle}{}{value}{}{end}", CDATA[0], CDATA[1]),
        false => format!("{begin}{name}{middle}{value}{end}"),
    };
    let arguments: String = arguments.map(argument).collect();
    format!("{NAMED_FUNCTION}{name}\">{arguments}{END}")
}
