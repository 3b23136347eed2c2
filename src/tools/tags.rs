//! Calls in tags: `<function=..>` with a `<parameter=..>` for each argument.

use super::scan::Step;

/// What such a call begins and ends with.
pub(super) const FUNCTION: &str = "<function=";
const END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";

/// Where such a call ends that is still being written.
#[derive(Debug, Clone, Default)]
pub(super) struct TagScan {
    /// Bytes of the tag's beginning that were seen, and then of its end.
    n_begun: usize,
    n_ended: usize,
}

impl TagScan {
    pub(super) fn step(&mut self, byte: u8) -> Step {
        if self.n_begun < FUNCTION.len() {
            let fits = FUNCTION.as_bytes()[self.n_begun] == byte;
            self.n_begun += 1;
            return if fits { Step::More } else { Step::Bad };
        }
        // The end's first character stands nowhere else in it, so a match that breaks off begins anew or not at all.
        self.n_ended = match byte {
            _ if END.as_bytes()[self.n_ended] == byte => self.n_ended + 1,
            b'<' => 1,
            _ => 0,
        };
        if self.n_ended == END.len() { Step::End } else { Step::More }
    }
}

/// The name of a whole call, and what stands between its tags.
pub(super) fn split(call: &str) -> Option<(&str, &str)> {
    let (name, body) = call.strip_prefix(FUNCTION)?.strip_suffix(END)?.split_once('>')?;
    Some((name.trim(), body))
}

/// The arguments between the tags of a call, as they were written.
pub(super) fn arguments(body: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = body.trim_start();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (name, behind) = rest.strip_prefix(PARAMETER)?.split_once('>')?;
        let (value, behind) = behind.split_once(PARAMETER_END)?;
        let value = value.strip_prefix('\n').unwrap_or(value);
        found.push((name.trim(), value.strip_suffix('\n').unwrap_or(value)));
        rest = behind.trim_start();
    }
    Some(found)
}
