//! The environment variables that slm reads: which are set, which are invalid, which are misspelt.

use serde_json::json;

use super::report::Finding;
use crate::cli::environment::{Environment, NAMES};
use crate::cli::serve;

/// How alike a name must be to one that is read, to be a misspelling of it.
const ALIKE: f64 = 0.8;

/// The variables, by name; values are shown only where they are wrong and no secret.
pub fn finding(environment: &Environment) -> Finding {
    let set = environment.set();
    let found = if set.is_empty() { "defaults".to_owned() } else { set.join(", ") };
    let finding = Finding::new("settings", found, json!({ "variables": set }));
    let finding = serve::refused_settings(environment)
        .into_iter()
        .fold(finding, |finding, refused| finding.fail(refused.message));
    set.iter().filter_map(|name| misspelt(name)).fold(finding, Finding::warn)
}

/// The warning about a variable named `SLM_…` that slm does not read.
fn misspelt(name: &str) -> Option<String> {
    let rest = name.strip_prefix("SLM_").filter(|rest| !NAMES.contains(rest))?;
    let alike = NAMES.iter().map(|known| (strsim::jaro_winkler(rest, known), known));
    let (likeness, nearest) = alike.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (likeness >= ALIKE).then(|| format!("slm does not read `{name}`; did you mean `SLM_{nearest}`?"))
}

#[cfg(test)]
mod tests {
    use super::misspelt;

    #[test]
    fn a_name_that_is_nearly_one_of_ours_is_a_misspelling() {
        assert_eq!(
            misspelt("SLM_KEEPALIVE").as_deref(),
            Some("slm does not read `SLM_KEEPALIVE`; did you mean `SLM_KEEP_ALIVE`?")
        );
        // The first is read, and the second is someone else's.
        assert_eq!((misspelt("SLM_KEEP_ALIVE"), misspelt("SLM_ZZZ")), (None, None));
    }
}
