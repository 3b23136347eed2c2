//! Allowed origins of web pages: this machine's, those of desktop programs with their own pages, and those that were added.

use super::RulesError;

#[derive(Debug)]
pub(super) struct Origins(Vec<Pattern>);

/// An origin, or what comes before and after a star.
#[derive(Debug)]
struct Pattern {
    before: String,
    behind: Option<String>,
}

/// As Ollama's: a page on this machine on any port, and schemes that no web server can answer for.
const MACHINES: [&str; 4] = ["localhost", "127.0.0.1", "0.0.0.0", "[::1]"];
const PROGRAMS: [&str; 5] = ["app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"];

impl Origins {
    pub(super) fn new(others: &str) -> Result<Origins, RulesError> {
        let machines = MACHINES.iter().flat_map(|machine| {
            ["http", "https"]
                .into_iter()
                .flat_map(move |scheme| [format!("{scheme}://{machine}"), format!("{scheme}://{machine}:*")])
        });
        let known = machines.chain(PROGRAMS.map(str::to_owned)).filter_map(|origin| Pattern::read(&origin));
        let mut patterns: Vec<Pattern> = known.collect();
        for other in others.split(',').map(str::trim).filter(|other| !other.is_empty()) {
            patterns.push(Pattern::read(other).ok_or_else(|| RulesError::Origin(other.to_owned()))?);
        }
        Ok(Origins(patterns))
    }

    /// Whether pages of an origin may ask the server that they call `host`.
    pub(super) fn allow(&self, origin: &str, host: Option<&str>) -> bool {
        let origin = origin.to_ascii_lowercase();
        if !is_origin(&origin) {
            return false;
        }
        let is_own = || {
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            authority.is_some() && authority == host.map(str::to_ascii_lowercase).as_deref()
        };
        self.0.iter().any(|pattern| pattern.matches(&origin)) || is_own()
    }
}

/// Whether it is a scheme, a host and a port at most, as browsers write it: what has more after them could be read as another
/// host.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let is_plain = |text: &str| !text.contains(|c: char| !c.is_ascii_graphic() || "/\\?#@%".contains(c));
    let host = rest.rfind(']').map_or(rest, |end| &rest[end..]);
    let port = host.split_once(':').map_or("", |(_, port)| port);
    is_plain(scheme) && is_plain(rest) && port.bytes().all(|byte| byte.is_ascii_digit())
}

impl Pattern {
    fn read(text: &str) -> Option<Pattern> {
        let text = text.trim_end_matches('/').to_ascii_lowercase();
        if text != "*" && !text.contains("://") {
            return None;
        }
        match text.split_once('*') {
            Some((_, behind)) if behind.contains('*') => None,
            Some((before, behind)) => Some(Pattern { before: before.to_owned(), behind: Some(behind.to_owned()) }),
            None => Some(Pattern { before: text, behind: None }),
        }
    }

    fn matches(&self, origin: &str) -> bool {
        match &self.behind {
            None => origin == self.before,
            Some(behind) => origin.strip_prefix(&*self.before).is_some_and(|rest| rest.ends_with(&**behind)),
        }
    }
}
